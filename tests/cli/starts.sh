# starts.sh: who writes a results file: one run at a time under whatever name, with one arithmetic, and never into a file
# that is gone; attempts are counted before they begin.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
make_sweep "$folder/s" '{"method": ["wanda", "sparsegpt"], "sparsity": [0.3, 0.4, 0.5, 0.6, 0.7], "calibration": "general"}'
sweep=$folder/s/sweep.json
run() { "$winnow" run "$sweep" -o "$1" -q; }
column() { # FILE NAME
  "$winnow" show --json --all "$1" | python3 -c 'import json, sys; print(*[row[sys.argv[1]] for row in json.load(sys.stdin)["points"]])' "$2"
}
expect "undisturbed run" 0 run "$folder/whole.h5"
whole=$(digest_of "$folder/whole.h5")

# ---- one run under whatever name ----
hold 2 "$folder/out.h5" # it must not end before the others have tried
ln -s out.h5 "$folder/symbolic.h5"
mkdir "$folder/elsewhere"
ln "$folder/out.h5" "$folder/elsewhere/hard.h5"
for name in symbolic.h5 elsewhere/hard.h5; do
  expect "a second run as $name" 2 run "$folder/$name"
  has "a second run as $name" "$name: a running sweep writes to" "$folder/err"
done
kill -CONT $held
wait_started
same "exit code of the first run" "$code" 0
same "digest of the first run" "$(digest_of "$folder/out.h5")" "$whole"
expect "the link when nobody runs" 0 run "$folder/symbolic.h5"

# ---- a file that goes away ----
disturb() { # RANKS NAME COUNT COMMAND...: when so many points are done
  rm -rf "$folder/$2".h5*
  start_ranks "$1" "$winnow" run "$sweep" -o "$folder/$2.h5"
  wait_log "$3 of 11 points"
  {
    "${@:4}"
    wait_started
  } 2>/dev/null
}
gone() { # WHAT PATTERN COMMAND...
  local what=$1 pattern=$2
  shift 2
  caught disturb 2 gone 2 "$@"
  same "exit code when the file was $what" "$code" 1
  has "the file was $what" "gone.h5: $pattern" "$folder/log"
}
gone removed 'was removed while the run writes to it' rm "$folder/gone.h5"
move_away() { mv "$folder/gone.h5" "$folder/moved.h5"; }
gone moved 'is no longer there' move_away
replace() { cp "$folder/whole.h5" "$folder/new.h5" && mv "$folder/new.h5" "$folder/gone.h5"; }
ln -f "$folder/whole.h5" "$folder/keep.h5"
gone replaced 'was (removed|replaced by another file) while the run writes to it' replace

# ---- a long path ----
long=$folder/$(printf 'd%.0s' $(seq 120))/$(printf 'f%.0s' $(seq 120)).h5
mkdir "$(dirname "$long")"
expect "a path of ${#long} characters" 0 ranks 2 "$winnow" run "$sweep" -o "$long" -q
same "digest of the long path" "$(digest_of "$long")" "$whole"

# ---- a state that no version writes ----
cp "$folder/whole.h5" "$folder/state.h5"
python3 - "$folder/state.h5" "$("$winnow" show --json --all "$folder/whole.h5" | grep -c '"key":')" <<'END'
import sys

data = bytearray(open(sys.argv[1], "rb").read())
points = int(sys.argv[2])
at = data.find(b"\x01" * points)  # the state column: all done
while at >= 0 and (data[at - 1] == 1 or data[at + points] == 1):
    at = data.find(b"\x01" * points, at + 1)
data[at + 3] = 7
open(sys.argv[1], "wb").write(data)
END
expect "a state of 7" 0 "$winnow" run "$sweep" -o "$folder/state.h5"
has "a state of 7" 'point 3 has a state that no version writes and will be computed again' "$folder/err"
same "digest behind a state of 7" "$(digest_of "$folder/state.h5")" "$whole"

# ---- attempts, and starts ----
same "attempts of a run in peace" "$(column "$folder/whole.h5" attempt | tr ' ' '\n' | sort -u)" 1
same "starts of a run in peace" "$(column "$folder/whole.h5" start | tr ' ' '\n' | sort -u)" 0
kill_run() { pkill -KILL -f "run $sweep -o $1"; }
caught disturb 1 killed 3 kill_run "$folder/killed.h5"
expect "continued" 0 run "$folder/killed.h5"
same "digest of the continued run" "$(digest_of "$folder/killed.h5")" "$whole"
same "starts of the continued run" "$(column "$folder/killed.h5" start | tr ' ' '\n' | sort -u | tr '\n' ' ')" "0 1 "
has "an attempt that lost its rank" '2' <(column "$folder/killed.h5" attempt)

# A point that kills its rank at each start is last at the third, and failed at the fourth: all others are done.
poison=$folder/s/poison.json
sed 's#"grid": \[#"grid": [ {"method": "awq", "bits": 3, "group": 32, "calibration": "general"},#' "$sweep" >"$poison"
starts=0
while [ $starts -lt 3 ]; do
  starts=$((starts + 1))
  "$winnow" run "$poison" -o "$folder/poison.h5" -v >"$folder/log" 2>&1 &
  started=$!
  # The awq point is the dearest by far: as soon as it is in work, the program is killed as if it had no memory left.
  for _ in $(seq 400); do
    "$winnow" status --json "$folder/poison.h5" 2>/dev/null | tr -d '\n' | grep -q '"awq' && break
    kill -0 $started 2>/dev/null || break
    sleep 0.05
  done
  kill -KILL $started 2>/dev/null
  wait_started
done
"$winnow" run "$poison" -o "$folder/poison.h5" -q 2>"$folder/err"
"$winnow" status "$folder/poison.h5" >"$folder/status"
has "the poisonous sweep" '(11|12) of 12 points done, (0|1) failed, 0 open' "$folder/status"

# ---- one arithmetic ----
sets=
for core in Haswell Sandybridge; do
  OPENBLAS_CORETYPE=$core "$winnow" run "$sweep" -o "$folder/$core.h5" -q 2>/dev/null &&
    "$winnow" verify "$folder/$core.h5" >/dev/null 2>&1 && sets="$sets $core"
done
if [ "$(echo $sets)" = "Haswell Sandybridge" ]; then
  OPENBLAS_CORETYPE=Haswell caught disturb 1 mixed 3 kill_run "$folder/mixed.h5"
  expect "other kernels" 2 env OPENBLAS_CORETYPE=Sandybridge "$winnow" run "$sweep" -o "$folder/mixed.h5" -q
  has "other kernels" 'mixed.h5: its points were computed with another arithmetic: .*Haswell.*here it is .*Sandybridge.*--mix-arithmetic' "$folder/err"
  expect "other kernels, allowed" 0 env OPENBLAS_CORETYPE=Sandybridge "$winnow" run "$sweep" -o "$folder/mixed.h5" --mix-arithmetic
  has "other kernels, allowed" 'holds points of another arithmetic' "$folder/err"
  same "starts of the mixed file" "$(column "$folder/mixed.h5" start | tr ' ' '\n' | sort -u | tr '\n' ' ')" "0 1 "
  two() {
    timeout -k 5 180 mpirun --bind-to none -n 1 -x OPENBLAS_CORETYPE=Haswell "$winnow" run "$sweep" -o "$folder/nodes.h5" -q : \
      -n 1 -x OPENBLAS_CORETYPE=Sandybridge "$winnow" run "$sweep" -o "$folder/nodes.h5" -q </dev/null
  }
  expect "ranks with other kernels" 2 two
  has "ranks with other kernels" 'rank 1 on .* computes with other kernels' "$folder/err"
fi
finish
