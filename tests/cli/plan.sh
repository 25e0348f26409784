# plan.sh: seconds by method, stage and evaluation; other machines; ranks; warnings; ten thousand points.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
make_sweep "$folder/small"
sweep=$folder/small/sweep.json
file=$folder/small.h5
plan() { # NAME OPTIONS...: the plan as JSON
  local name=$1
  shift
  expect "plan of $name" 0 "$winnow" plan "$sweep" --json "$@"
  cp "$folder/out" "$folder/$name.json"
}

# ---- sums agree, ranks and rates do what they say ----

plan one
plan three --ranks 3
plan many --ranks 1000
expect "run" 0 "$winnow" run "$sweep" -o "$file" -q
plan same --rate-from "$file"
"$winnow" show --json "$file" >"$folder/show.json"
rate=$(python3 -c 'import json, sys; print(round(json.load(open(sys.argv[1]))["flops_per_second"] / 1e9))' "$folder/one.json")
plan slow --rate $((rate / 20 + 1))
python3 - "$folder" <<'END_OF_CHECK' || fail "plan --json is wrong"
import json, sys

one, three, many, same, slow = (json.load(open(f"{sys.argv[1]}/{name}.json")) for name in "one three many same slow".split())
show = json.load(open(f"{sys.argv[1]}/show.json"))["points"]
close = lambda a, b, rel=1e-6: abs(a - b) <= rel * max(abs(a), abs(b), 1e-9)
for point in one["points"]:
    assert close(point["seconds"], sum(point["stages"].values())), point
    assert set(point["stages"]) == {"load", "statistics", "compress", "forward", "generate", "score"}, point
    assert point["stages"]["forward"] > 0 and point["stages"]["score"] > 0 and point["stages"]["generate"] == 0, point
work = sum(point["seconds"] for point in one["points"])
assert close(work, sum(method["seconds"] for method in one["methods"])), one["methods"]
assert [(m["method"], m["points"]) for m in one["methods"]] == [("dense", 1), ("magnitude", 2), ("wanda", 4), ("rtn", 3)]
assert {e["name"] for e in one["evaluations"]} == {"windows", "documents", "facts", "in_context"}, one["evaluations"]
assert 0 < sum(e["seconds"] for e in one["evaluations"]) <= work
assert {e["name"]: e.get("items") for e in one["evaluations"]}["facts"] == 12
# One rank: all the work, one after the other. Many: the dearest point. Three: no less than either bound.
assert close(one["seconds_points"], work)
for plan, ranks in (three, 3), (many, 1000):
    seconds = [point["seconds"] for point in plan["points"]]
    low = max(max(seconds), sum(seconds) / ranks)
    assert low <= plan["seconds_points"] * (1 + 1e-9) <= low * 4 / 3 + 1e-9, (plan["seconds_points"], low)
assert close(many["seconds_points"], max(point["seconds"] for point in many["points"]))
for plan in one, three, many:
    assert close(plan["seconds"], plan["seconds_startup"] + plan["seconds_dense"] + plan["seconds_points"])
# --rate-from the same sweep, run here: the measured seconds of each method and stage come back.
for method in same["methods"]:
    rows = [row for row in show if row["method"] == method["method"]]
    for stage in "statistics", "compress", "forward", "score":
        measured = sum(row[f"seconds_{stage}"] for row in rows)
        assert close(method["stages"][stage], measured, 1e-3) or measured < 1e-3, (method, stage, measured)
assert slow["seconds_work"] > 5 * one["seconds_work"], (slow["seconds_work"], one["seconds_work"])
END_OF_CHECK
expect "--rate-from a file that is not there" 2 "$winnow" plan "$sweep" --rate-from "$folder/absent.h5"
has "--rate-from a file that is not there" '^winnow: .*absent\.h5' "$folder/err"
expect "--rate that is none" 2 "$winnow" plan "$sweep" --rate fast

# Memory is that of the threads asked for, whatever this shell gives plan itself.
OMP_NUM_THREADS=4 plan alone --threads 1
OMP_NUM_THREADS=2 plan eight --threads 8
expect "run of 8 threads" 0 env OMP_NUM_THREADS=8 "$winnow" run "$sweep" -o "$folder/eight.h5" -q
"$winnow" show --json "$folder/eight.h5" >"$folder/show.json"
python3 - "$folder" <<'END_OF_CHECK' || fail "memory of --threads is wrong"
import json, sys

one, alone, eight, show = (json.load(open(f"{sys.argv[1]}/{name}.json")) for name in "one alone eight show".split())
memory = lambda plan: [point["bytes"] for point in plan["points"]]
assert memory(one) == memory(alone) and one["bytes_per_rank"] == alone["bytes_per_rank"], (memory(one), memory(alone))
assert all(a < b for a, b in zip(memory(one), memory(eight))), (memory(one), memory(eight))
assert one["bytes_per_rank"] < eight["bytes_per_rank"]
for row, planned in zip(show["points"], memory(eight)):
    assert row["threads"] == 8 and row["peak_bytes"] <= 1.1 * planned, (row["peak_bytes"], planned)
assert any(row["peak_bytes"] > 1.1 * planned for row, planned in zip(show["points"], memory(one))), "one thread's will do"
END_OF_CHECK

# ---- warnings ----

expect "plan" 0 "$winnow" plan "$sweep"
has "few items" 'warning: 12 items: a share of them is known within 28 points either way at best \(95 %\)' "$folder/out"
grep -q '512 tokens for' "$folder/out" && fail "512 tokens for 344 columns are called thin"
sed -e 's/"samples": 8, "length": 64/"samples": 2, "length": 64/' \
  -e 's/{"method": "rtn"/{"method": "sparsegpt", "sparsity": 0.5, "calibration": "general"},\n    &/' "$sweep" \
  >"$folder/small/thin.json"
expect "plan with thin calibration" 0 "$winnow" plan "$folder/small/thin.json"
has "thin calibration" 'warning: 128 tokens for the [0-9]+ columns of the widest input are thin' "$folder/out"
has "thin calibration of a solver" '^ +sparsegpt: second moments are singular before damping' "$folder/out"
has "thin calibration of norms" '^ +wanda: norms of inputs of few tokens' "$folder/out"
grep -Ev '^model |/' "$folder/out" | awk 'length > 100 { print; long = 1 } END { exit long }' ||
  fail "a line of plan is too long"

# ---- memory of a node ----

node_bytes() { # node_bytes RANKS
  "$winnow" plan "$folder/small/dense.json" --ranks "$1" --json | sed -n 's/.*"bytes_per_node":[[:space:]]*\([0-9]*\).*/\1/p'
}
sed -e 's/"samples": 8, "length": 64/"samples": 96, "length": 64/' \
  -e 's/{"method": "rtn"/{"method": "sparsegpt", "sparsity": 0.5, "calibration": "general", "propagation": "dense"},\n    &/' \
  "$sweep" >"$folder/small/dense.json"
one=$(node_bytes 1)
group=$(($(node_bytes 2) - one))
[ "$group" -gt 0 ] || fail "two ranks with calibration groups share $group bytes more than one"
same "memory of 3 ranks with 3 calibration groups" "$(node_bytes 3)" $((one + 2 * group))
same "memory of 64 ranks with 3 calibration groups" "$(node_bytes 64)" $((one + 2 * group))

# ---- ten thousand points ----

sparsities=$(seq 1 2500 | awk '{ printf "%s%.4f", (NR > 1 ? ", " : ""), 0.1 + $1 / 5000 }')
make_sweep "$folder/large" '{"method": ["magnitude", "wanda"], "sparsity": ['"$sparsities"'], "calibration": ["general", "prompts"]},
    {"method": "sparsegpt", "sparsity": ['"$sparsities"'], "calibration": "general"}'
start=$(date +%s%3N)
expect "plan of ten thousand points" 0 "$winnow" plan "$folder/large/sweep.json" --ranks 64
took=$(($(date +%s%3N) - start))
has "plan of ten thousand points" '^points +10001 unique points for 12500 grid cells' "$folder/out"
[ "$(wc -l <"$folder/out")" -le 40 ] || fail "plan of ten thousand points prints $(wc -l <"$folder/out") lines"
[ "$took" -lt 20000 ] || fail "plan of ten thousand points took $took ms"
expect "plan --points" 0 "$winnow" plan "$folder/large/sweep.json" --points
same "lines of plan --points" "$(grep -Ec '^ *[0-9]+ +[0-9.]+ +[0-9.]+ [KM]iB +[0-9]+ +(dense|magnitude|wanda|sparsegpt)' "$folder/out")" 10001
[ "$(awk '{ if (length($0) > most) most = length($0) } END { print most }' <(head -n 10002 "$folder/out"))" -le 100 ] ||
  fail "a line of plan --points is longer than 100: $(awk 'length($0) > 100' "$folder/out" | head -n 1)"
finish
