# status.sh: what a run says from its first second, and what status says of it from outside: in work, stopped, killed.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
make_sweep "$folder/small"
# Points of about a second: more text to score.
mkdir "$folder/slow"
ln -s "$source_dir/sweeps/demo/data" "$source_dir/sweeps/demo/model" "$folder/slow/"
cat >"$folder/slow/sweep.json" <<'END_OF_SWEEP'
{"model": "model",
 "calibration": {"general": {"text": "data/general_calibration.jsonl", "samples": 64, "length": 128}},
 "grid": [{"method": "sparsegpt", "sparsity": [0.2, 0.4, 0.6, 0.8], "calibration": "general"},
          {"method": "wanda", "pattern": ["2:4", "4:8"], "calibration": "general", "propagation": "dense"}],
 "evaluate": {"perplexity": {"world": {"text": "data/general_eval.txt", "length": 256}},
              "divergence": {"on": ["world"]}}}
END_OF_SWEEP
file=$folder/slow.h5

# ---- while it runs ----

start_ranks 2 "$winnow" run "$folder/slow/sweep.json" -o "$file"
wait_log '^winnow: 2 of 7 points'
wait_until 60 test -e "$file.progress"
expect "status of a running sweep" 0 "$winnow" status "$file"
for pattern in ': [0-9]+ of 7 points done, 0 failed' '^running +for .* heard of .* ago; process [0-9]+ on ' \
  '^ranks +2 of 2 at work, 1 thread each, on 1 host' '^work +[0-9]+ % of this run, .* left, [0-9]+ tokens/s' \
  '^written +last write .* s ago'; do
  has "status of a running sweep" "$pattern" "$folder/out"
done
expect "status --json of a running sweep" 0 "$winnow" status --json "$file"
python3 - "$folder/out" <<'END' || fail "status --json of a running sweep is wrong"
import json, sys

status = json.load(open(sys.argv[1]))
progress = status["progress"]
assert status["running"] and status["points"] == 7 and status["done"] >= 2, status
assert progress["stage"] == "points" and progress["ranks"] == progress["ranks_at_work"] == 2, progress
assert progress["threads"] == 1 and [h["ranks"] for h in progress["hosts"]] == [2], progress
assert progress["wanted"] == 7 and 0 < progress["share_done"] < 1 and progress["seconds_left"] > 0, progress
assert 1 <= len(progress["in_flight"]) <= 2, progress
assert all(0 <= one["block"] <= one["blocks"] == 6 and one["name"] for one in progress["in_flight"]), progress
assert status["last_write_seconds_ago"] < 60 and status["heard_seconds_ago"] < 60, status
END

# Watched to its end: several looks, of which the last finds nobody.
"$winnow" status --watch "$file" >"$folder/watched" &
watching=$!
wait_until 60 grep -sq '^running ' "$folder/watched"

# ---- stopped on request, then killed ----

to_ranks() { pgrep -P "$started" | xargs -r kill "$1"; }
to_ranks -USR1
wait_started
same "exit code of a stopped run" "$code" 75
wait "$watching" || fail "status --watch ends with $?"
has "status --watch" '^running ' "$folder/watched"
[ "$(grep -c ' of 7 points done' "$folder/watched")" -ge 2 ] || fail "status --watch looked less than twice"
tail -n 2 "$folder/watched" | grep -q '^nobody is running it' || fail "status --watch does not end with the run"
has "status --watch" '^\[#+[-.]*\]$' "$folder/watched"
[ ! -e "$file.progress" ] || fail "a run that was stopped leaves its progress behind"
expect "status of a stopped sweep" 0 "$winnow" status "$file"
has "status of a stopped sweep" '^nobody is running it; last write .* ago$' "$folder/out"
start_ranks 2 "$winnow" run "$folder/slow/sweep.json" -o "$file"
wait_until 60 test -e "$file.progress"
to_ranks -KILL
wait_started
[ -e "$file.progress" ] || fail "the run ended before it was killed: nothing was tested"
touch -d '3 hours ago' "$file.progress" "$file"
expect "status of a killed sweep" 0 "$winnow" status "$file"
has "status of a killed sweep" '^nobody is running it; last write 3 h 00 min ago \(its last run was ended from outside' \
  "$folder/out"
"$winnow" status --json "$file" | grep -q '"running":.*false' || fail "status --json of a killed sweep: running"
expect "a run after the kill" 0 ranks 2 "$winnow" run "$folder/slow/sweep.json" -o "$file"
[ ! -e "$file.progress" ] || fail "a run that ended leaves its progress behind"
echo "no JSON" >"$file.progress"
expect "status beside a progress file that is none" 0 "$winnow" status "$file"
has "status beside a progress file that is none" '7 of 7 points done' "$folder/out"

# ---- what a run says ----

expect "run" 0 ranks 2 "$winnow" run "$folder/small/sweep.json" -o "$folder/lines.h5"
cp "$folder/err" "$folder/lines"
for pattern in '^winnow: opened .*model: llama, 1\.3 M parameters, 6 blocks' '^winnow: tokenized [a-z]+: [0-9]+ tokens' \
  '^winnow: hashing 3 files: 5\.[0-9] MB' '^winnow: .*/lines\.h5: created, [0-9.]+ MB for 10 points' \
  '^winnow: 10 of 10 points: [0-9]+ .* in [0-9.]+ s on rank [01]; [0-9]+ tokens/s, 100 % of the work'; do
  has "lines of run" "$pattern" "$folder/lines"
done
same "a line per point" "$(grep -Ec '^winnow: [0-9]+ of 10 points: ' "$folder/lines")" 10
grep -q 'variant=none' "$folder/lines" && fail "a line names what is the same in all points"
expect "run --verbose" 0 "$winnow" run "$folder/small/sweep.json" -o "$folder/verbose.h5" -v
has "run --verbose" 'wanda sparsity=0.4 pattern=unstructured variant=none calibration=general' "$folder/err"
expect "run --quiet" 0 "$winnow" run "$folder/small/sweep.json" -o "$folder/quiet.h5" -q
same "what run --quiet says" "$(cat "$folder/err")" ""
# On a terminal: one line, written over.
if command -v script >/dev/null; then
  script -qec "'$winnow' run '$folder/slow/sweep.json' -o '$folder/terminal.h5'" /dev/null >"$folder/screen" 2>&1
  has "run on a terminal" $'\r\033\\[Kwinnow: [0-9]+ of 7 points, 1 in work: ' "$folder/screen"
  same "lines of points on a terminal" "$(grep -Ec '7 points: ' "$folder/screen")" 0
fi
finish
