#!/usr/bin/env bash
# What sharing saves: a grid of 5 sparsities x {sparsegpt, wanda} and 4 bit widths x gptq under dense propagation, against
# its dearest single point, with next to no evaluation.
#   tests/bench/bench_sharing.sh WINNOW_BINARY [BLOCKS HIDDEN INTERMEDIATE]
# Prints processor seconds of both (one thread) and the ratio. One calibration pass and one set of second moments serve all 14 points.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
winnow=$(realpath "${1:?usage: bench_sharing.sh WINNOW_BINARY [BLOCKS HIDDEN INTERMEDIATE]}")
blocks=${2:-4} hidden=${3:-768} intermediate=${4:-2048}
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ln -s "$top/sweeps/demo/data" "$work/data"
python3 "$top/tests/bench/make_checkpoint.py" "$work/model" --blocks "$blocks" --hidden "$hidden" \
  --intermediate "$intermediate" --tokenizer "$top/sweeps/demo/model"
seconds() { # seconds NAME GRID
  cat >"$work/$1.json" <<END
{"model": "model", "calibration": {"general": {"text": "data/general_calibration.jsonl", "samples": 128, "length": 256}},
 "grid": [$2],
 "evaluate": {"perplexity": {"world": {"text": "data/general_eval.txt", "length": 32, "windows": 1}}},
 "statistics": {"tokens": 32}}
END
  OMP_NUM_THREADS=1 /usr/bin/time -f '%U %S' -o "$work/time" "$winnow" run "$work/$1.json" -o "$work/$1.h5" --quiet
  awk '{printf "%.2f", $1 + $2}' "$work/time"
}
dense='"calibration": "general", "propagation": "dense"'
grid="{\"method\": [\"sparsegpt\", \"wanda\"], \"sparsity\": [0.3, 0.4, 0.5, 0.6, 0.7], $dense},
      {\"method\": \"gptq\", \"bits\": [8, 4, 3, 2], \"group\": 128, $dense}"
all=$(seconds all "$grid")
for point in "{\"method\": \"sparsegpt\", \"sparsity\": 0.5, $dense}" "{\"method\": \"gptq\", \"bits\": 4, \"group\": 128, $dense}"; do
  one=$(seconds one "$point")
  rm "$work/one.h5"
  echo "$one $point"
done | sort -rn | head -n 1 >"$work/dearest"
echo "grid of 14 points $all s; dearest point alone $(cut -d' ' -f1 "$work/dearest") s ($(cut -d' ' -f2- "$work/dearest"));" \
  "ratio $(echo "$all $(cut -d' ' -f1 "$work/dearest")" | awk '{printf "%.2f", $1 / $2}')"
