# shapes.sh: a point that a shape forbids is a failed row with its reason, listed by plan, where other points are fine.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
reason='self_attn\.q_proj: key "pattern": 128 columns are not a multiple of 3'

make_sweep "$folder/some" '{"method": "magnitude", "pattern": ["2:4", "1:3"]}'
expect "plan of some" 0 "$winnow" plan "$folder/some/sweep.json"
has "plan of some" "warning: .*pattern=1:3.*$reason.*: it will be a failed row" "$folder/err"
[ "$(grep -c 'failed row' "$folder/err")" = 1 ] || fail "plan: not one line for one point"
code=0
ranks 2 "$winnow" run "$folder/some/sweep.json" -o "$folder/some.h5" -q >"$folder/out" 2>"$folder/err" || code=$?
same "run: exit code" 3 "$code"
[ "$(grep -c 'failed row' "$folder/err")" = 1 ] || fail "two ranks: not one line for one point"
expect "show of some" 0 "$winnow" show "$folder/some.h5"
has "show" '^ *1  done .* 2:4 ' "$folder/out"
has "show" '^ *2  failed .* 1:3 ' "$folder/out"
has "show" "point 2 failed: block 0 $reason" "$folder/out"

make_sweep "$folder/none" '{"method": "magnitude", "pattern": ["1:3", "2:3"]}, {"method": "none"}'
expect "plan of none" 2 "$winnow" plan "$folder/none/sweep.json"
has "plan of none" "pattern=1:3.*$reason" "$folder/err"
finish
