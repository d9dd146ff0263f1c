#!/bin/sh
# Runs one experiment of the study, or goes on with it, and keeps its small result files in docs/results/study.
#
#   scripts/study.sh precision          # docs/results/study/plan.md says what each experiment is
#   NICE=10 scripts/study.sh main
#
# Checkpoints and features of the reference are in runs/study. Without them, finished runs are taken from docs/results/study.
# At the end, and when it is stopped, docs/study.md is made again.
set -eu
cd "$(dirname "$0")/.."
name=${1:?one of the experiments of docs/results/study}
kept=docs/results/study/$name
out=runs/study/$name
data=fashion-mnist
measure=fd,accuracy,loss
# In float32, but for what the plan says.
case $name in
  precision) set -- --seeds 0,1,2 --steps 2000 --measure-every 250 ;;
  averaging) set -- --seeds 1000,1001 --steps 2000 --measure-every 1000 ;;
  main)
    measure=fd,kid,accuracy,loss
    set -- --seeds 0,1,2,3,4 --steps 2000 --measure-every 500 --features kid:efficientnet-lite0 \
      --tune lr=2e-3,4e-3,8e-3,... --tune-tolerance 0.05 --tune-steps 1000 --tune-seeds 1000
    ;;
  search)
    set -- --seeds 2000 --steps 500 --measure-every 500 --lr 4e-3 --precision bfloat16
    ;;
  variance)
    set -- --seeds 0,1,2 --steps 2000 --measure-every 500 --precision bfloat16 \
      --tune lr=2e-3,4e-3 --tune-tolerance 0.05 --tune-steps 1000 --tune-seeds 1000
    ;;
  confirm)
    data=openclipart
    measure=fd,kid,accuracy,loss
    set -- --seeds 0,1,2,3,4 --steps 2000 --measure-every 500 --precision bfloat16 \
      --features classifier=openclipart --features kid:efficientnet-lite0 \
      --tune lr=2e-3,4e-3,8e-3,... --tune-tolerance 0.05 --tune-steps 1000 --tune-seeds 1000
    ;;
  targets)
    set -- --seeds 0,1 --steps 2000 --measure-every 500 \
      --tune lr=2e-3,4e-3,... --tune-tolerance 0.05 --tune-steps 1000 --tune-seeds 1000
    ;;
  *) echo "no experiment $name" >&2 && exit 2 ;;
esac
set -- "$@" --measure "$measure" --images 1000 --sample-steps 20 --reference-images 10000
mkdir -p "$out"
if [ -e "$kept/experiment.json" ] && [ ! -e "$out/experiment.json" ]; then
  cp -R "$kept/experiment.json" "$kept/results" "$out"
fi
trap scripts/study-page.sh EXIT
trap 'exit 130' INT TERM
compare() {
  resume=
  [ ! -e "$out/experiment.json" ] || resume=--resume
  nice -n "${NICE:-0}" .venv/bin/speediff compare "$data" --arms "$kept/arms.json" --samples 0 --out "$out" "$@" $resume
}
choose() {
  (cd python && ../.venv/bin/python -m study.halving)
}
if [ "$name" = search ]; then
  # Before each round, those that go on are chosen; after the last, the best.
  for _ in 1 2 3 4; do
    choose
    compare "$@"
  done
  choose
else
  compare "$@"
fi
