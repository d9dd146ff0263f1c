#!/bin/sh
# The page docs/study.md, the reports and pictures that it links, and the evidence of methods: from result files alone.
# Runs in runs/study that have ended since are packed into docs/results/study first.
set -eu
cd "$(dirname "$0")/../python"
../.venv/bin/python -m study
../.venv/bin/python ../scripts/update-methods-page.py
