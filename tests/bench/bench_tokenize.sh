#!/usr/bin/env bash
# Memory that a long plain text takes while it is made into token ids, on the rank that does it and on the others.
#   tests/bench/bench_tokenize.sh WINNOW_BINARY [MEGABYTES]
# Prints the peak resident set of each of two ranks, less that of the same sweep with a short text, per byte of the text
# (100 MB). The text is a mapped file: up to one byte per byte of that is page cache, which the system can take back.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
winnow=$(realpath "${1:?usage: bench_tokenize.sh WINNOW_BINARY [MEGABYTES]}")
megabytes=${2:-100}
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1

# measure TEXT: KiB of rank 0 and rank 1.
measure() {
  cat >"$work/sweep.json" <<END
{"model": "$top/sweeps/demo/model",
 "calibration": {"stream": {"text": "$1", "samples": 8, "length": 64}},
 "grid": [{"method": "wanda", "sparsity": 0.5, "calibration": "stream"}],
 "evaluate": {"perplexity": {"short": {"text": "$top/sweeps/demo/data/general_eval.txt", "length": 64, "windows": 4}}}}
END
  rm -f "$work/out.h5"
  mpirun -n 2 --bind-to none bash -c \
    '/usr/bin/time -f %M -o "$0/rss.$OMPI_COMM_WORLD_RANK" "$1" run "$0/sweep.json" -o "$0/out.h5" -q' "$work" "$winnow"
  cat "$work"/rss.0 "$work"/rss.1
}

for _ in $(seq $((megabytes * 21))); do cat "$top/sweeps/demo/data/general_eval.txt"; done >"$work/long.txt"
truncate -s "${megabytes}000000" "$work/long.txt"
head -c 50000 "$work/long.txt" >"$work/short.txt"
mapfile -t short < <(measure "$work/short.txt")
mapfile -t long < <(measure "$work/long.txt")
for rank in 0 1; do
  awk -v rank=$rank -v long="${long[$rank]}" -v short="${short[$rank]}" -v mb="$megabytes" 'BEGIN {
    printf "rank %d: %7.1f MiB for a text of %d MB, %5.2f bytes per byte of it\n", rank, long / 1024, mb,
           (long - short) * 1024 / (mb * 1e6)}'
done
