# environment.sh: what surrounds the program: signals, launchers, limits, full devices, hostile patterns. One line each.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
make_sweep "$folder/s" '{"method": "rtn", "bits": [8, 4], "group": 32}'
sweep=$folder/s/sweep.json
expect "the sweep" 0 "$winnow" run "$sweep" -o "$folder/out.h5" -q

# Standard output that cannot be written is a failure of every command.
for command in "plan $sweep" "plan $sweep --json" "show $folder/out.h5" "show $folder/out.h5 --json" \
  "status $folder/out.h5" "status $folder/out.h5 --json" "verify $folder/out.h5" "help sweep" "help schema" "--help" "--version"; do
  "$winnow" $command >/dev/full 2>"$folder/err"
  same "exit code of \"winnow $command\" to a full device" $? 1
  has "winnow $command to a full device" 'standard output cannot be written' "$folder/err"
done

# Mistakes in the arguments are told once, not by each rank.
for arguments in "--bogus" "$sweep --threads x" "" "$sweep extra" "$sweep --threads"; do
  expect "run $arguments" 2 ranks 3 "$winnow" run $arguments
  same "lines about \"run $arguments\"" "$(grep -c '^winnow: ' "$folder/err")" 1
done
expect "help of run on three ranks" 0 ranks 3 "$winnow" run --help
same "pages on three ranks" "$(grep -c '^Usage' "$folder/out")" 1

# Copies that each think they are alone.
alone() { env SLURM_NTASKS=3 SLURM_PROCID=1 "$winnow" run "$sweep" -o "$folder/alone.h5" -q; }
expect "one of three copies" 1 alone
has "one of three copies" 'SLURM_NTASKS is 3, but MPI has one rank' "$folder/err"
[ ! -e "$folder/alone.h5" ] || fail "a copy that thinks it is alone made a results file"
SLURM_NTASKS=3 SLURM_PROCID=0 expect "one rank by mpirun in a job of three tasks" 0 ranks 1 "$winnow" run "$sweep" -o "$folder/one.h5" -q

# A limit of file sizes is an error that names the file.
small() { (ulimit -f 1000 && exec "$winnow" export "$folder/out.h5" --point 1 --to "$folder/exported" -q); }
expect "a limit of file sizes" 1 small
has "a limit of file sizes" 'exported.*: File too large' "$folder/err"

# A limit of the address space: OpenBLAS asks for its buffers for ever, before main and later. 200 MB hold a first one,
# of its constructor; how much is between the two differs, so several limits are tried.
narrow() { (ulimit -v "$1" && OMP_NUM_THREADS=$2 && exec timeout -k 1 60 "$winnow" plan "$sweep"); }
early=0 late=0
for limit in 120000 160000 200000 240000 280000 320000; do
  for threads in 1 2; do
    code=0
    narrow $limit $threads >"$folder/out" 2>"$folder/err" || code=$?
    [ $code != 124 ] && [ $code != 137 ] || fail "an address space of $limit kB and $threads threads: it hangs"
    if grep -q 'OpenBLAS takes 128 MiB' "$folder/err"; then
      early=$((early + 1))
      same "exit code before main at $limit kB" $code 1
    elif grep -q 'OpenBLAS needs 128 MiB' "$folder/err"; then
      late=$((late + 1))
      same "exit code of plan at $limit kB" $code 2
    fi
  done
done
if "$winnow" --version | grep -q fsanitize; then early=1 late=1; fi
[ $early -gt 0 ] && [ $late -gt 0 ] || fail "no limit met OpenBLAS: $early times before main, $late times later"

# A request to stop that comes while MPI starts is a request like any other: the program ends with 75, not by a signal.
make_sweep "$folder/long" '{"method": "magnitude", "sparsity": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]}'
# On a busy machine its libraries may still be loading then: nothing of it has run, and the signal is tried again.
loading() { # no handler of USR1, no part of MPI
  ! grep -q '^SigCgt:.*[2367abef]..$' "/proc/$started/status" && ! grep -q '/mca_' "/proc/$started/maps"
} 2>/dev/null
for delay in 0.02 0.05 0.1; do
  for _ in $(seq 20); do
    "$winnow" run "$folder/long/sweep.json" -o "$folder/signal$delay.h5" -q 2>"$folder/err" &
    started=$!
    until [ "$(readlink "/proc/$started/exe")" = "$winnow" ] || has_ended; do # until it stands where the shell was
      sleep 0.005
    done
    sleep "$delay"
    alone=false
    loading && alone=true
    kill -USR1 "$started"
    wait_started
    $alone && [ "$code" = 138 ] || break
  done
  [ "$code" = 75 ] || [ "$code" = 0 ] || fail "a signal after $delay s: exit code $code"
done

# A tokenizer whose pattern takes time that is exponential in the text.
make_sweep "$folder/hostile" '{"method": "rtn", "bits": 8, "group": 32}'
python3 - "$folder/hostile/model/tokenizer.json" <<'END'
import json, sys

tokenizer = json.load(open(sys.argv[1]))
split = {"type": "Split", "pattern": {"Regex": "(?:(?:[a-z ]+)+)+0"}, "behavior": "Isolated", "invert": False}
old = tokenizer.get("pre_tokenizer")
tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split] + ([old] if old else [])}
json.dump(tokenizer, open(sys.argv[1], "w"))
END
expect "a hostile pattern" 2 timeout 180 "$winnow" plan "$folder/hostile/sweep.json"
has "a hostile pattern" 'regular expression of the tokenizer gave up on a text' "$folder/err"
finish
