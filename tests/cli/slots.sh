# slots.sh: points that are longer than a time slot go on inside, those that fit come first, and the dense pass survives
# a stop. The points are those of a small model; each stop is a real signal, kill or time limit.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
ln -s "$source_dir/sweeps/demo/data" "$source_dir/sweeps/demo/model" "$folder/"
cat >"$folder/sweep.json" <<'END'
{"model": "model",
 "calibration": {"c": {"text": "data/general_calibration.jsonl", "samples": 24, "length": 128}},
 "grid": [{"method": "awq", "bits": 4, "group": 32, "calibration": "c"},
          {"method": "magnitude", "sparsity": [0.3, 0.5]}],
 "evaluate": {"perplexity": {"world": {"text": "data/general_eval.txt", "length": 64, "windows": 16}}}}
END
long='1 awq bits=4' # the longest point: 6 blocks of half a second
whole=$folder/whole.h5
expect "an undisturbed run" 0 "$winnow" run "$folder/sweep.json" -o "$whole"
digest=$(digest_of "$whole")

# same_end WHAT FILE: all points are there, with the same digest, and nothing else is left.
same_end() {
  same "$1: digests" "$digest" "$(digest_of "$2")"
  same "$1: files" "$(cd "$folder" && echo "$(basename "$2")"*)" "$(basename "$2")"
}

# place_of WORD LOG: what a line "WORD: POINT, PLACE, on rank N" tells: "behind block B of 6", or "in block B of 6 (S %)".
place_of() { sed -nE "s/^winnow: $1: .*, ((behind|in) block [0-9]+ of 6.*), on rank .*/\1/p" "$2" | head -n 1; }

state_or_ended() { [ -e "$file.scratch/point-1.state" ] || has_ended; }

# end_inside SIGNAL: a fresh run into $file ends by it as soon as a state of the long point is on scratch.
end_inside() {
  rm -rf "$file"*
  start_ranks 1 "$winnow" run "$folder/sweep.json" -o "$file" --checkpoint-every 0.01
  wait_until 120 state_or_ended || fail "no state of point 1 in $file.scratch"
  pkill "-$1" -P "$started"
  wait_started
}

# ---- SIGTERM inside the long point: it goes on behind the same block, with another number of ranks ----

file=$folder/stopped.h5
stop_inside() {
  end_inside TERM
  at=$(place_of saved "$folder/log")
  case $at in behind*) code=0 ;; esac # it came at the end of a block: once more
}
caught stop_inside
same "exit code after SIGTERM" "$code" 75
case $at in in\ block*) ;; *) fail "not saved inside a block, but \"$at\": $(tail -n 3 "$folder/log" | tr '\n' '|')" ;; esac
expect "status of a stopped run" 0 "$winnow" status "$file"
has "status of a stopped run" "^saved +$long .*: $(echo "$at" | sed 's/[()]/\\&/g'), the next start goes on there" "$folder/out"
cp "$file" "$folder/damaged.h5"
cp -r "$file.scratch" "$folder/damaged.h5.scratch"
ranks 2 "$winnow" run "$folder/sweep.json" -o "$file" >"$folder/log" 2>&1 || fail "the next start ends with $?"
same "the place where the next start goes on" "$(place_of 'goes on' "$folder/log")" "$at"
same_end "after SIGTERM" "$file"

# ---- a state that is damaged: the point starts again, and says so ----

file=$folder/damaged.h5
printf 'x' | dd of="$file.scratch/point-1.state" bs=1 seek=100000 conv=notrunc status=none
expect "a start with a damaged state" 0 "$winnow" run "$folder/sweep.json" -o "$file"
has "a start with a damaged state" 'point 1 starts again, .*point-1.state: is damaged' "$folder/err"
grep -q 'goes on' "$folder/err" && fail "a damaged state was used: $(grep 'goes on' "$folder/err")"
same_end "after a damaged state" "$file"

# ---- SIGKILL: what was saved from time to time is there ----

file=$folder/killed.h5
caught end_inside KILL
expect "the start after SIGKILL" 0 "$winnow" run "$folder/sweep.json" -o "$file"
has "the start after SIGKILL" '^winnow: 3 of 3 points: 1 awq ' "$folder/err" # behind those that were not begun
[ -n "$(place_of 'goes on' "$folder/err")" ] || fail "after SIGKILL nothing goes on: $(tail -n 3 "$folder/err" | tr '\n' '|')"
same_end "after SIGKILL" "$file"

# ---- a scratch folder that cannot be made: one line, and the run stops as if there were none ----

file=$folder/unsaved.h5
stop_in_next_point() {
  rm -rf "$file"*
  start_ranks 1 "$winnow" run "$folder/sweep.json" -o "$file" --scratch "$folder/sweep.json"
  wait_log '^winnow: 1 of 4'
  sleep 0.3
  pkill -TERM -P "$started"
  wait_started
}
caught stop_in_next_point
same "exit code without scratch" "$code" 75
has "a run without scratch" 'cannot be saved there: Not a directory. The run goes on without saving' "$folder/log"
has "a run without scratch" "^winnow: 2 of 4 points: 1 awq" "$folder/log"

# ---- scratch that is full: the point goes on, what is written stays ----

mkdir "$folder/small"
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=200k none "$folder/small" 2>/dev/null; then
  cleanup() { umount "$folder/small"; rm -rf "$folder"; }
  file=$folder/full.h5
  expect "scratch that is full" 0 "$winnow" run "$folder/sweep.json" -o "$file" --scratch "$folder/small" --checkpoint-every 0.01
  has "scratch that is full" 'cannot be saved there: No space left on device. The run goes on without saving' "$folder/err"
  same "lines of scratch that is full" "$(grep -c 'No space' "$folder/err")" 1
  same_end "with full scratch" "$file"
fi

# ---- a time limit that the long point does not fit into: the light ones first, then one slot after the other ----

# A slot of 4 s holds the light points and not the long one; on another machine, or a busy one, a longer or a shorter one.
file=$folder/limited.h5 slot=${WINNOW_SLOT_SECONDS:-4}
for _ in 1 2 3 4; do
  rm -rf "$file"*
  code=0
  "$winnow" run "$folder/sweep.json" -o "$file" --time-limit "$slot" 2>"$folder/log" || code=$?
  [ $code != 0 ] || { slot=$(awk "BEGIN { print 0.7 * $slot }") && continue; }
  grep -q '^winnow: 3 of 4 points: ' "$folder/log" && break
  slot=$(awk "BEGIN { print 1.6 * $slot }")
done
same "exit code of the first slot, $slot s" "$code" 75
has "the first slot" '^winnow: 3 of 4 points: ' "$folder/log"
starts=1
while [ $code = 75 ] && [ $starts -lt 20 ]; do
  before=$(place_of saved "$folder/log")
  starts=$((starts + 1))
  code=0
  "$winnow" run "$folder/sweep.json" -o "$file" --time-limit "$slot" 2>"$folder/log" || code=$?
  same "slot $starts: the place where it goes on" "$(place_of 'goes on' "$folder/log")" "$before"
done
same "exit code of the last slot" "$code" 0
same_end "after $starts slots" "$file"

# Plan says so before: with the numbers that choose the points.
expect "plan of slots" 0 "$winnow" plan "$folder/sweep.json" --time-limit "$slot"
has "plan of slots" '^slots        of [0-9.]+ s: about [2-9]; 3 of 4 points fit into one, the others are saved' "$folder/out"
expect "plan of a long slot" 0 "$winnow" plan "$folder/sweep.json" --time-limit 1h
has "plan of a long slot" '^slots        of .*: about 1; 4 of 4 points fit into one$' "$folder/out"

# Less time than any point takes is no reason to come again.
expect "a limit that nothing fits into" 1 "$winnow" run "$folder/sweep.json" -o "$folder/none.h5" --time-limit 0.1s
has "a limit that nothing fits into" 'no point fits into the time limit' "$folder/err"
expect "a limit that is no time" 2 "$winnow" run "$folder/sweep.json" -o "$folder/none.h5" --time-limit 2x
has "a limit that is no time" '"2x"' "$folder/err"

# ---- SIGTERM inside the dense pass ----

cat >"$folder/sweep.json" <<'END'
{"model": "model",
 "calibration": {"c": {"text": "data/general_calibration.jsonl", "samples": 250, "length": 128}},
 "grid": [{"method": "wanda", "sparsity": 0.5, "calibration": "c", "propagation": "dense"},
          {"method": "sparsegpt", "sparsity": 0.5, "allocation": "owl", "calibration": "c", "propagation": "dense"}],
 "evaluate": {"perplexity": {"world": {"text": "data/general_eval.txt", "length": 64, "windows": 16}},
              "divergence": {"on": ["world"]}}}
END
expect "an undisturbed run with a long dense pass" 0 "$winnow" run "$folder/sweep.json" -o "$folder/dense.h5"
digest=$(digest_of "$folder/dense.h5")
file=$folder/pass.h5
stop_in_pass() {
  rm -rf "$file"*
  start_ranks 2 "$winnow" run "$folder/sweep.json" -o "$file"
  wait_log '^winnow: .*: created'
  sleep 0.2
  pkill -TERM -P "$started"
  wait_started
}
caught stop_in_pass
same "exit code after SIGTERM in the dense pass" "$code" 75
at=$(sed -nE 's/.*stopped in the dense pass, behind block ([0-9]+) of 6.*/\1/p' "$folder/log")
[ "${at:-0}" -ge 1 ] || fail "the dense pass was not stopped: $(tail -n 3 "$folder/log" | tr '\n' '|')"
expect "the start after it" 0 "$winnow" run "$folder/sweep.json" -o "$file"
has "the start after it" "dense pass: goes on behind block $at of 6" "$folder/err"
same_end "after SIGTERM in the dense pass" "$file"
finish
