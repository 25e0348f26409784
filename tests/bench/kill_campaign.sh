# kill_campaign.sh: many random kills of a run, in all its phases, and what they cost: nothing may be lost.
#
#     WINNOW_KILLS=300 bash tests/bench/kill_campaign.sh build/release/winnow . [SEED]
#
# A run is struck by SIGKILL, SIGUSR1 or SIGTERM (one rank, all, or mpirun) while it starts and makes its file, in the
# dense pass, in points, while states of points are written, or at its end; after each the file must be readable with
# all checksums right and with no point less than before. The same command goes on, on one or two ranks, until a kill
# strikes again or all is done: then the digest must be that of an undisturbed run, and nothing else may be left. Prints
# how many kills struck in which phase. About 5 s a kill on two cores.
#
# With WINNOW_CAMPAIGN=search the points are those of a search: kills strike while levels are made and in generations.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/../cli/lib.sh"
kills=${WINNOW_KILLS:-300}
seed=${3:-$$}
RANDOM=$seed
ln -s "$source_dir/sweeps/demo/data" "$source_dir/sweeps/demo/model" "$folder/"
cat >"$folder/sweep.json" <<'END'
{"model": "model",
 "calibration": {"c": {"text": "data/general_calibration.jsonl", "samples": 8, "length": 64},
                 "d": {"text": "data/general_calibration.jsonl", "samples": 60, "length": 128}},
 "grid": [{"method": "awq", "bits": [4, 3], "group": 32, "calibration": "c"},
          {"method": "wanda", "sparsity": [0.4, 0.6], "calibration": "d", "propagation": "dense"},
          {"method": "magnitude", "sparsity": [0.3, 0.5, 0.7]}],
 "evaluate": {"perplexity": {"world": {"text": "data/general_eval.txt", "length": 64, "windows": 16}},
              "divergence": {"on": ["world"]}}}
END
points=8
if [ "${WINNOW_CAMPAIGN:-points}" = search ]; then
  cat >"$folder/sweep.json" <<'END'
{"model": "model",
 "calibration": {"c": {"text": "data/general_calibration.jsonl", "samples": 24, "length": 128}},
 "search": {"fast": {"on": "c", "generations": 40, "offspring": 6, "levels": 16, "initial_tokens": 128, "survivors": [2, 1],
                     "tokens": [128, 512]}},
 "grid": [{"method": "sparsegpt", "sparsity": [0.6, 0.7], "allocation": ["uniform", "fast"], "propagation": "dense",
           "calibration": "c"}],
 "evaluate": {"perplexity": {"world": {"text": "data/general_eval.txt", "length": 64, "windows": 16}}}}
END
  points=5
fi
options=(run "$folder/sweep.json" --checkpoint-every 0.05)
expect "an undisturbed run" 0 ranks 2 "$winnow" "${options[@]}" -o "$folder/whole.h5"
digest=$(digest_of "$folder/whole.h5")
declare -A struck=([start]=0 [creation]=0 [dense]=0 [points]=0 [states]=0 [finish]=0)
[ $points != 5 ] || struck+=([levels]=0 [search]=0)
declare -A sent=([KILL]=0 [USR1]=0 [TERM]=0)

# until_log PATTERN: at most 20 s, as long as the run lives.
until_log() {
  for _ in $(seq 800); do
    grep -Eq -- "$1" "$folder/log" 2>/dev/null && return
    kill -0 "$started" 2>/dev/null || return
    sleep 0.025
  done
}
until_state() {
  for _ in $(seq 800); do
    [ -n "$(ls "$file.scratch" 2>/dev/null)" ] && return
    kill -0 "$started" 2>/dev/null || return
    sleep 0.01
  done
}
# until_levels COUNT: so many level files are there.
until_levels() {
  for _ in $(seq 800); do
    [ "$(ls "$file.scratch.levels" 2>/dev/null | grep -vc partial)" -ge "$1" ] && return
    kill -0 "$started" 2>/dev/null || return
    sleep 0.01
  done
}
pause() { sleep "$((RANDOM % $1))e-3"; }

# Where the run is, by what it has said and what lies there.
phase_now() {
  if grep -Eq "^winnow: ([0-9]+) of \1 points: " "$folder/log"; then
    echo finish
  elif ls "$file".scratch/*.partial >/dev/null 2>&1; then
    echo states
  elif grep -Eq '^winnow: [0-9]+ of ' "$folder/log"; then
    echo points
  elif ls "$file".scratch.levels/*.partial-* >/dev/null 2>&1; then
    echo levels
  elif ls "$file".scratch.levels/levels-* >/dev/null 2>&1; then
    echo search
  elif grep -Eq ': (created|continuing)' "$folder/log"; then
    echo dense
  elif [ -e "$file" ] || ls "$file".* >/dev/null 2>&1; then
    echo creation
  else
    echo start
  fi
}

strike() {
  local ranks_now
  mapfile -t ranks_now < <(pgrep -P "$started")
  [ ${#ranks_now[@]} -gt 0 ] || return 1
  case $((RANDOM % 3)) in
  0) kill "-$signal" "${ranks_now[RANDOM % ${#ranks_now[@]}]}" ;;
  1) kill "-$signal" "${ranks_now[@]}" ;;
  2) kill "-$signal" "$started" ;;
  esac
} 2>/dev/null

count=0 lost=0 number=0 begin=$SECONDS
while [ $count -lt "$kills" ]; do
  number=$((number + 1)) before=0 code=1
  file=$folder/$number.h5
  while [ $count -lt "$kills" ] && [ $code != 0 ]; do
    what="kill $count (seed $seed)"
    case $((RANDOM % 10)) in 0 | 1) signal=USR1 ;; 2 | 3) signal=TERM ;; *) signal=KILL ;; esac
    rm -f "$folder/log"
    start_ranks $((1 + RANDOM % 2)) "$winnow" "${options[@]}" -o "$file"
    case $((RANDOM % (points == 5 ? 10 : 6))) in
    6 | 7) until_levels 1 && pause 300 ;; # between 1 and 6 blocks are made
    8 | 9) until_levels 6 && pause 500 ;;
    0) pause 700 ;;
    1) until_log ': hash' && pause 80 ;;
    2) until_log ': (created|continuing)' && pause 300 ;;
    3) until_log "^winnow: [0-9]+ of " && pause 600 ;;
    4) until_state && pause 200 ;;
    5) until_log "^winnow: ([0-9]+) of \1 points: " ;;
    esac
    phase=$(phase_now)
    if strike; then
      count=$((count + 1))
      struck[$phase]=$((struck[$phase] + 1))
      sent[$signal]=$((sent[$signal] + 1))
    fi
    wait_started
    [ "$code" != 124 ] || fail "$what: the run hung"
    [ "$code" != 2 ] && [ "$code" != 3 ] || fail "$what: exit code $code: $(grep -m 2 '^winnow: .*error\|failed' "$folder/log")"
    [ -e "$file" ] || continue
    expect "$what: verify" 0 "$winnow" verify "$file"
    done_now=$(sed -nE 's/.*: ([0-9]+) points done.*/\1/p' "$folder/err" | head -n 1)
    if [ "${done_now:-0}" -lt "$before" ]; then
      lost=$((lost + before - ${done_now:-0}))
      fail "$what: $done_now points are done, $before were"
    fi
    before=${done_now:-0}
  done
  expect "file $number (seed $seed): the end" 0 ranks 2 "$winnow" "${options[@]}" -o "$file"
  same "file $number (seed $seed): digests" "$digest" "$(digest_of "$file")"
  same "file $number (seed $seed): files" "$(cd "$folder" && echo $number.h5*)" "$number.h5"
  grep -Eq "$points points done, 0 failed, 0 open" <("$winnow" verify "$file" 2>&1) || fail "file $number: points are missing"
done
echo "$count kills (SIGKILL ${sent[KILL]}, SIGUSR1 ${sent[USR1]}, SIGTERM ${sent[TERM]}) on $number files in $((SECONDS - begin)) s:" \
  "start ${struck[start]}, creation ${struck[creation]}, dense pass ${struck[dense]}, points ${struck[points]}," \
  "states ${struck[states]}, finish ${struck[finish]},${struck[levels]+ levels ${struck[levels]}, search ${struck[search]},} $lost rows lost, $(cat "$folder/failures" 2>/dev/null | wc -l) failures, seed $seed"
for phase in "${!struck[@]}"; do
  [ "$kills" -lt 100 ] || [ "${struck[$phase]}" -gt 0 ] || fail "no kill struck in the phase \"$phase\""
done
finish
