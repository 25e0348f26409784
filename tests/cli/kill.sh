# kill.sh: the results file is valid after SIGKILL of any process at any moment, and the same command goes on.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
make_sweep "$folder/small"
sweep=$folder/small/sweep.json
seed=${WINNOW_KILL_SEED:-$$}
RANDOM=$seed
trials=${WINNOW_KILL_TRIALS:-10}
now() { date +%s%3N; }

begin=$(now)
expect "an undisturbed run" 0 ranks 2 "$winnow" run "$sweep" -o "$folder/whole.h5"
duration=$(($(now) - begin))
digest=$(digest_of "$folder/whole.h5")

# The processes started by mpirun: the ranks.
rank_processes() { pgrep -P "$started" | tr '\n' ' '; }

# kill_some WHOM: one rank, all ranks or mpirun.
kill_some() {
  local ranks
  read -ra ranks < <(rank_processes)
  [ ${#ranks[@]} -gt 0 ] || return 1
  case $1 in
  one) kill -KILL "${ranks[RANDOM % ${#ranks[@]}]}" ;;
  all) kill -KILL "${ranks[@]}" ;;
  mpirun) kill -KILL "$started" ;;
  esac
} 2>/dev/null

check_file() { # WHAT FILE: absent, or readable with all checksums right
  [ -e "$2" ] || return 0
  expect "$1: status" 0 "$winnow" status "$2"
  expect "$1: verify" 0 "$winnow" verify "$2"
}

killed=0 partly=0 deadline=$((SECONDS + 60))
for trial in $(seq "$trials"); do
  [ $SECONDS -lt $deadline ] || [ "$killed" -lt 3 ] || [ "$partly" -lt 1 ] || break
  case $((trial % 3)) in 0) whom=mpirun ;; 1) whom=one ;; 2) whom=all ;; esac
  file=$folder/$trial.h5
  what="trial $trial (seed $seed, killed: $whom)"
  start_ranks 2 "$winnow" run "$sweep" -o "$file"
  if [ "$trial" -gt 6 ]; then # while points are computed
    wait_log "^winnow: $((1 + RANDOM % 6)) of "
  else # at any moment, from the start of the program on
    sleep "$(printf '0.%03d' $((RANDOM % 300)))"
    sleep "$((RANDOM % (duration + 1)))e-3"
  fi
  kill_some $whom && killed=$((killed + 1))
  wait_started
  [ "$code" != 124 ] || fail "$what: the job hung"
  check_file "$what" "$file"
  grep -Eq '[1-9][0-9]* open' "$folder/err" 2>/dev/null && [ -e "$file" ] && partly=$((partly + 1))
  expect "$what: the same command again" 0 ranks $((1 + trial % 2)) "$winnow" run "$sweep" -o "$file"
  same "$what: digests" "$digest" "$(digest_of "$file")"
  same "$what: files" "$(cd "$folder" && echo "$trial".h5*)" "$trial.h5"
done
[ "$killed" -ge 3 ] || fail "only $killed jobs were killed before their end: nothing was tested"
[ "$partly" -ge 1 ] || fail "no killed job left a file with open points: nothing was tested"

# A polite request: every rank finishes its point, exit code 75, and the same command goes on.
ask_to_stop() {
  rm -rf "$file"*
  start_ranks 2 "$winnow" run "$sweep" -o "$file"
  wait_log '^winnow: 2 of '
  if [ $signal = USR1 ]; then
    kill -USR1 "$started"
  else
    kill -TERM $(rank_processes | cut -d' ' -f2)
  fi 2>/dev/null
  wait_started
}
for signal in USR1 TERM; do
  file=$folder/$signal.h5
  caught ask_to_stop
  same "exit code after SIG$signal" "$code" 75
  has "log after SIG$signal" '^winnow: .*[1-9][0-9]* open' "$folder/log"
  check_file "after SIG$signal" "$file"
  expect "the same command after SIG$signal" 0 ranks 2 "$winnow" run "$sweep" -o "$file"
  same "digests after SIG$signal" "$digest" "$(digest_of "$file")"
done

# Two sweeps into one file: the second one is refused, the first one is not disturbed.
file=$folder/busy.h5
hold 2 "$file"
expect "a second run into the same file" 2 "$winnow" run "$sweep" -o "$file"
has "a second run into the same file" 'busy\.h5.*running' "$folder/err"
expect "status of a running sweep" 0 "$winnow" status "$file"
kill -CONT $held
wait_started
same "exit code of the first run" "$code" 0
same "digests after a second run was refused" "$digest" "$(digest_of "$file")"
finish
