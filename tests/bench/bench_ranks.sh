#!/usr/bin/env bash
# How much faster two ranks finish the demo sweep than one, one thread each, measured in turn.
#   tests/bench/bench_ranks.sh WINNOW_BINARY [PAIRS]
# Prints wall seconds of each run and the ratio of each pair; quote the median. Needs two idle cores.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
winnow=$(realpath "${1:?usage: bench_ranks.sh WINNOW_BINARY [PAIRS]}")
pairs=${2:-3}
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$top/sweeps/setup.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1
seconds() { # seconds RANKS
  rm -f "$work/run.h5"
  local start end
  start=$(date +%s.%N)
  mpirun -n "$1" --bind-to core "$winnow" run "$top/sweeps/demo/sweep.json" -o "$work/run.h5" --quiet
  end=$(date +%s.%N)
  echo "$start $end" | awk '{printf "%.2f", $2 - $1}'
}
seconds 1 >/dev/null # warm up
for ((i = 1; i <= pairs; i++)); do
  one=$(seconds 1)
  two=$(seconds 2)
  echo "pair $i: 1 rank $one s, 2 ranks $two s, ratio $(echo "$one $two" | awk '{printf "%.2f", $1 / $2}')"
done | tee "$work/pairs"
awk '{print $NF}' "$work/pairs" | sort -n | awk '{r[NR] = $1} END {print "median ratio " r[int((NR + 1) / 2)]}'
