#!/usr/bin/env bash
# Candidate tokens per second of a generation (bench_search.c): with and without sharing against the plain forward, and
# two ranks against one, one thread each, in turn.
#   tests/bench/bench_search.sh BENCH_SEARCH_BINARY MODEL [CANDIDATES [PAIRS]]        16, 3
# Prints the rows of every run and the ratio of each pair; quote the median. Needs two idle cores.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
binary=$(realpath "${1:?usage: bench_search.sh BENCH_SEARCH_BINARY MODEL [CANDIDATES [PAIRS]]}")
model=${2:?usage: bench_search.sh BENCH_SEARCH_BINARY MODEL [CANDIDATES [PAIRS]]}
candidates=${3:-16}
pairs=${4:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1
rate() { # rate RANKS: tokens/s with sharing
  mpirun -n "$1" --bind-to core "$binary" "$model" 512 "$candidates" 1 | tee >(cat >&2) | awk '$1 == "shared" {print $2}'
}
for ((i = 1; i <= pairs; i++)); do
  one=$(rate 1)
  two=$(rate 2)
  echo "pair $i: 1 rank $one tokens/s, 2 ranks $two tokens/s, ratio $(echo "$one $two" | awk '{printf "%.2f", $2 / $1}')"
done | tee "$work/pairs"
awk '{print $NF}' "$work/pairs" | sort -n | awk '{r[NR] = $1} END {print "median ratio " r[int((NR + 1) / 2)]}'
