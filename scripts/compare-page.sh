#!/bin/sh
# The page docs/compare.md: its experiment (trained only where result files are missing), its pictures and its tables.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/python -m speediff compare fashion-mnist --methods uniform,speed --seeds 0,1,2,3,4 --tune lr=1e-3,2e-3,4e-3 \
  --measure fd,accuracy,loss --images 200 --sample-steps 20 --reference-images 10000 --validation-images 500 \
  --steps 600 --measure-every 75 --hidden 64 --depth 3 --heads 2 --batch-size 32 \
  --out docs/results/compare --resume
.venv/bin/python scripts/update-compare-page.py
