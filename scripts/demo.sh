#!/bin/sh
# What `make demo` shows once everything is installed: the plan of the paper's setting, and the same small network trained
# uniformly and with SpeeD, side by side. No PyTorch.
set -eu
cd "$(dirname "$0")/.."
out=${OUT:-runs/demo}
mkdir -p "$out"
# A demo starts from the beginning; `speediff compare --resume` is for runs of one's own.
rm -f "$out/uniform/run.safetensors" "$out/speed/run.safetensors"
echo
echo "== The paper's setting: a linear schedule of 1000 steps, k = 5, lambda = 0.6 =="
.venv/bin/speediff plan --plot "$out/plan.png"
echo
echo "== A class-conditional DiT on Fashion-MNIST, trained twice: uniformly, and with SpeeD =="
.venv/bin/speediff compare fashion-mnist --methods uniform,speed --steps 2500 --precision auto --out "$out"
