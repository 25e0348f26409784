# efficiency.sh: speeds are measured beside the dense model, outside the digest, and can be added to a finished sweep.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

make_sweep "$folder/small" '{"method": "rtn", "bits": [8, 4], "group": 32}, {"method": "rtn", "bits": 4, "group": 32, "symmetric": true},
  {"method": "wanda", "sparsity": 0.5, "calibration": "general"}'
plain=$folder/small/sweep.json speeds=$folder/small/speeds.json
asked='"prompt": 16, "steps": 2, "pairs": 1, "batch": 8'
sed "s/\"evaluate\": {/\"evaluate\": {\"efficiency\": {$asked},/" "$plain" >"$speeds"
sed 's/"prompt": 16/"prompt": 100000/' "$speeds" >"$folder/small/long.json"
sed 's/"pairs": 1/"pares": 1/' "$speeds" >"$folder/small/wrong.json"

expect "positions" 2 "$winnow" plan "$folder/small/long.json"
has "positions" 'long.json: evaluate.efficiency: a prompt of 100000 tokens and 2 steps are more than the [0-9]+ positions' "$folder/err"
expect "unknown key" 2 "$winnow" plan "$folder/small/wrong.json"
has "unknown key" 'evaluate.efficiency: .*"pares"' "$folder/err"
expect "plan" 0 "$winnow" plan "$speeds"
has "plan" 'efficiency: prompts of 16 tokens, takes of 2 steps' "$folder/out"

# One rank of a node at a time has the dense models in memory: four ranks have room in less than three times a point.
point=$("$winnow" plan "$speeds" --json | grep -o '"bytes":[^,]*' | grep -oE '[0-9]+' | sort -n | tail -n 1)
unset SLURM_MEM_PER_CPU SLURM_CPUS_ON_NODE
SLURM_MEM_PER_NODE=$((3 * point >> 20)) expect "plan of four ranks" 0 "$winnow" plan "$speeds" --ranks 4
has "plan of four ranks" 'for the one rank at a time that measures speeds' "$folder/out"
grep -q "warning: on one node" "$folder/out" && fail "four ranks that measure in turn: $(grep warning "$folder/out")"
SLURM_MEM_PER_NODE=$((point / 2 >> 20)) expect "plan of half a point" 0 "$winnow" plan "$speeds"
has "plan of half a point" 'warning: on one node like this machine 1 rank needs .* while one of them measures speeds.*: 0 fit' "$folder/out"

expect "one rank" 0 "$winnow" run "$speeds" -o "$folder/one.h5" -q
expect "two ranks" 0 mpirun -n 2 --bind-to none "$winnow" run "$speeds" -o "$folder/two.h5" -q
"$winnow" show --json "$folder/two.h5" | grep -q '"rank":[[:space:]]*1' || fail "two ranks: rank 1 computed nothing"
same "digests on one and two ranks" "$(digest_of "$folder/one.h5")" "$(digest_of "$folder/two.h5")"

# Every point has speeds; 4 bits with and without zero points are one form, measured once.
"$winnow" show "$folder/one.h5" --csv --columns 'efficiency/decode_8_faster,efficiency/prefill_seconds' >"$folder/csv"
same "points with speeds" "$(grep -Ec '[0-9],[0-9.e-]+$' "$folder/csv")" 5
same "speeds of 32 texts" "$("$winnow" show "$folder/one.h5" --csv --columns efficiency/decode_32_faster | grep -c '[0-9]\.[0-9]')" 0
"$winnow" show "$folder/one.h5" --csv --columns key,efficiency/measured_at >"$folder/csv"

# Added to a finished sweep: the same digest as of the whole, the other evaluations as they were.
expect "plain" 0 "$winnow" run "$plain" -o "$folder/grown.h5" -q
expect "grown" 0 "$winnow" run "$speeds" -o "$folder/grown.h5"
has "grown" '5 points are there but for some evaluations, which alone are computed' "$folder/err"
same "digests of whole and grown" "$(digest_of "$folder/one.h5")" "$(digest_of "$folder/grown.h5")"
finish
