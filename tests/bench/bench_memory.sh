#!/usr/bin/env bash
# Peak memory of a point against what `winnow plan` predicts, for models of 4 and 24 blocks.
#   tests/bench/bench_memory.sh WINNOW_BINARY
# Prints, per model and method: predicted bytes, measured bytes (counted by the allocator) and their ratio, and the
# resident set of the whole process. The two models differ in nothing but the number of blocks.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
winnow=$(realpath "${1:?usage: bench_memory.sh WINNOW_BINARY}")
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ln -s "$top/sweeps/demo/data" "$work/data"
printf '%-7s %-28s %12s %12s %6s\n' blocks point predicted measured ratio
for blocks in 4 24; do
  python3 "$top/tests/bench/make_checkpoint.py" "$work/model$blocks" --blocks $blocks --hidden 512 --intermediate 1536 \
    --tokenizer "$top/sweeps/demo/model"
  cat >"$work/sweep.json" <<END
{"model": "model$blocks",
 "calibration": {"general": {"text": "data/general_calibration.jsonl", "samples": 16, "length": 128}},
 "grid": [{"method": ["magnitude", "wanda"], "sparsity": 0.5, "calibration": "general"},
          {"method": "rtn", "bits": 4, "group": 32},
          {"prune": "wanda", "sparsity": 0.5, "quantize": "rtn", "bits": 4, "calibration": "general"}],
 "evaluate": {"perplexity": {"world": {"text": "data/general_eval.txt", "length": 256, "windows": 20}},
              "divergence": {"on": ["world"]}}}
END
  OMP_NUM_THREADS=1 /usr/bin/time -f '%M' -o "$work/rss" "$winnow" run "$work/sweep.json" -o "$work/$blocks.h5" --quiet
  "$winnow" plan "$work/sweep.json" --json >"$work/plan.json"
  "$winnow" show "$work/$blocks.h5" --json >"$work/show.json"
  python3 - "$work" "$blocks" <<'END'
import json
import sys

work, blocks = sys.argv[1:]
plan = json.load(open(f"{work}/plan.json"))["points"]
show = json.load(open(f"{work}/show.json"))["points"]
for predicted, measured in zip(plan, show):
    name = predicted["key"].split(" ")[0] + (" + rtn" if "+" in predicted["key"] else "")
    ratio = measured["peak_bytes"] / predicted["bytes"]
    print(f"{blocks:7} {name:28} {predicted['bytes']:12} {measured['peak_bytes']:12.0f} {ratio:6.3f}")
END
  echo "$blocks blocks: resident set of the process $(cat "$work/rss") KiB," \
    "checkpoint $(stat -c %s "$work/model$blocks/model.safetensors") bytes"
done
