#!/bin/sh
# What `make demo` shows once everything is installed: the plan of the paper's setting, and the same small network trained
# uniformly and with SpeeD, side by side. No PyTorch.
set -eu
cd "$(dirname "$0")/.."
out=${OUT:-runs/demo}
mkdir -p "$out"
# A demo starts from the beginning; `speediff compare --resume` is for runs of one's own.
rm -rf "$out/experiment.json" "$out/results" "$out/runs"
echo
echo "== The paper's setting: a linear schedule of 1000 steps, k = 5, lambda = 0.6 =="
.venv/bin/speediff plan --plot "$out/plan.png"
echo
echo "== A class-conditional DiT on Fashion-MNIST, trained twice: uniformly, and with SpeeD =="
.venv/bin/speediff compare fashion-mnist --methods uniform,speed --steps 2500 --precision auto --cfg-scale 2 --out "$out"
cat <<END

This is one seed, one learning rate and the validation loss. For the quality of the images, with each method at its
best learning rate and the spread over seeds (an hour or more on two cores):

  .venv/bin/pip install -e 'python[evaluate]'
  .venv/bin/speediff compare fashion-mnist --methods uniform,speed --seeds 0,1,2 --tune lr=1e-3,2e-3,4e-3 \\
    --measure fd,kid,accuracy,loss --steps 1500 --out runs/quality

docs/compare.md says how to read it.
END
