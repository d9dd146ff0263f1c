#!/bin/sh
# What `make demo` shows once everything is installed: the plan of the paper's setting, and a training run with it.
set -eu
cd "$(dirname "$0")/.."
out=${OUT:-runs/demo}
mkdir -p "$out"
# A demo starts from the beginning; `train_dit.py --resume` is for runs of one's own.
rm -f "$out/checkpoint.pt"
echo
echo "== The paper's setting: a linear schedule of 1000 steps, k = 5, lambda = 0.6 =="
.venv/bin/speediff plan --plot "$out/plan.png"
echo
echo "== A class-conditional DiT on Fashion-MNIST, trained with SpeeD for a few minutes =="
.venv/bin/python python/examples/train_dit.py --method speed --out "$out"
