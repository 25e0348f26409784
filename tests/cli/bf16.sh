# bf16.sh: "compute": "bf16": the same bits on any ranks and threads, never mixed with fp32, refused where it cannot be.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

command -v h5dump >/dev/null || skip "h5dump is not installed"
make_sweep "$folder/small" '{"method": "wanda", "sparsity": 0.5, "calibration": "general"},
  {"method": "llm_int8"},
  {"method": "gptq", "bits": 3, "group": 32, "calibration": "general"}'
f32=$folder/small/sweep.json bf16=$folder/small/bf16.json
sed 's/"name": "small",/"name": "small", "compute": "bf16",/' "$f32" >"$bf16"
sed 's/"name": "small",/"name": "small", "compute": "half",/' "$f32" >"$folder/small/half.json"

expect "unknown arithmetic" 2 "$winnow" plan "$folder/small/half.json"
has "unknown arithmetic" 'half.json: compute: expected "f32" or "bf16"' "$folder/err"

# Without the library, the instructions or the build: one line, by plan and by run, before any work.
expect "no instructions" 2 env DNNL_MAX_CPU_ISA=AVX512_CORE "$winnow" plan "$bf16"
has "no instructions" '^winnow: .*"compute": "bf16"' "$folder/err"
expect "no instructions" 2 env DNNL_MAX_CPU_ISA=AVX512_CORE "$winnow" run "$bf16" -o "$folder/none.h5" -q
has "no instructions" '^winnow: .*"compute": "bf16"' "$folder/err"
[ -e "$folder/none.h5" ] && fail "no instructions: a file was made"

"$winnow" plan "$bf16" >"$folder/out" 2>"$folder/err" ||
  { grep -Eq "install|no products of bf16" "$folder/err" || fail "plan: $(cat "$folder/err")"
    [ -s "$folder/failures" ] && finish
    skip "$(grep -m 1 '"compute"' "$folder/err")"; }
has "near-lossless points" 'warning: "compute": "bf16": 1 of 4 points may be near-lossless' "$folder/err"

expect "one rank" 0 "$winnow" run "$bf16" -o "$folder/one.h5" -q
expect "two ranks" 0 env OMP_NUM_THREADS=2 mpirun -n 2 --bind-to none "$winnow" run "$bf16" -o "$folder/two.h5" -q
expect "f32" 0 "$winnow" run "$f32" -o "$folder/f32.h5" -q
"$winnow" show --json "$folder/two.h5" | grep -q '"rank":[[:space:]]*1' || fail "two ranks: rank 1 computed nothing"
same "digests on one and two ranks" "$(digest_of "$folder/one.h5")" "$(digest_of "$folder/two.h5")"
[ "$(digest_of "$folder/one.h5")" != "$(digest_of "$folder/f32.h5")" ] || fail "bf16 has the digest of f32"
"$winnow" verify "$folder/one.h5" 2>&1 >/dev/null | grep -q '4 points done, 0 failed' || fail "not all points are done"

# The same weights, evaluated otherwise.
for file in one f32; do
  "$winnow" show "$folder/$file.h5" --columns weights_hash --csv >"$folder/$file.csv"
  grep -q '[0-9a-f]\{16\}' "$folder/$file.csv" || fail "$file: no weights_hash"
done
same "weights in bf16 and f32" "$(cat "$folder/one.csv")" "$(cat "$folder/f32.csv")"

# Recorded beside the numbers.
h5dump -a /provenance/arithmetic -a /provenance/evaluation_windows_0 "$folder/one.h5" >"$folder/dump"
has "arithmetic" 'linears in bf16 by onednn' "$folder/dump"
has "protocol" 'exp of the mean of window means; linears in bf16' "$folder/dump"

# Never mixed.
expect "fp32 rows are not continued" 2 "$winnow" run "$bf16" -o "$folder/f32.h5" -q
has "fp32 rows are not continued" 'f32.h5: holds another sweep: .*linears in bf16' "$folder/err"
expect "fp32 rows are not taken over" 2 "$winnow" run "$bf16" -o "$folder/new.h5" --from "$folder/f32.h5" -q
has "fp32 rows are not taken over" 'f32.h5: nothing can be taken over' "$folder/err"
expect "bf16 rows are not taken over" 2 "$winnow" run "$f32" -o "$folder/new.h5" --from "$folder/one.h5" -q
finish
