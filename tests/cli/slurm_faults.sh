# slurm_faults.sh: slurm/sweep.sbatch beside a real Slurm: time limit, preemption, a lost node, a suspended rank, a sweep
# that does not get on. Each job is disturbed in its first start, comes back, and ends with the digest of a run that was
# left alone.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
need_slurm

# make_points FOLDER COUNT: points of about a second and a half.
make_points() {
  mkdir -p "$1"
  cat >"$1/sweep.json" <<END
{"model": "$source_dir/sweeps/demo/model",
 "calibration": {"c": {"text": "$source_dir/sweeps/demo/data/general_calibration.jsonl", "samples": 128, "length": 128}},
 "grid": [{"method": "sparsegpt", "sparsity": [$(awk "BEGIN { for (i = 0; i < $2; i++) printf \"%s%.3f\", i ? \", \" : \"\", 0.1 + 0.7 * i / $2 }")], "calibration": "c"}],
 "evaluate": {"perplexity": {"world": {"text": "$source_dir/sweeps/demo/data/general_eval.txt", "length": 128}}}}
END
}
alone() { expect "the $1 sweep, left alone" 0 ranks 2 "$winnow" run "$folder/$1/sweep.json" -o "$folder/$1.h5" -q; }
make_points "$folder/short" 5
begin=$(date +%s%3N)
alone short
# Long: some 14 s here, and longer than the time limit is looked at where points are faster.
make_points "$folder/long" "$(awk "BEGIN { n = 16000 * 6 / ($(date +%s%3N) - $begin); print n < 18 ? 18 : n < 60 ? int(n) : 60 }")"
alone long
unset OMPI_MCA_btl_vader_backing_directory OMPI_MCA_rmaps_base_oversubscribe OMP_NUM_THREADS

declare -f wait_until job_end at_point >"$folder/jobs"
cat >>"$folder/jobs" <<'END'
cd "$folder"
export WINNOW_PROGRAM=$winnow
submit() { # NAME SWEEP OPTIONS... -- OPTIONS of winnow: sets $job
  local name=$1 sweep=$2 options=()
  shift 2
  while [ "$1" != -- ]; do
    options+=("$1")
    shift
  done
  shift
  job=$(sbatch --parsable --nodes=2 --ntasks=2 --ntasks-per-node=1 --time=5 --output="$name.log" "${options[@]}" \
    "$source_dir/slurm/sweep.sbatch" "$folder/$sweep/sweep.json" "$folder/$name.out.h5" "$@") || exit 1
}
rank_process() { # RANK: of $job
  local p
  for p in $(pgrep -x winnow); do
    tr '\0' '\n' <"/proc/$p/environ" 2>/dev/null | grep -qx "SLURM_JOB_ID=$job" || continue
    tr '\0' '\n' <"/proc/$p/environ" | grep -qx "SLURM_PROCID=$1" && echo "$p" && return
  done
}

# A rank is stopped for longer than --stall-timeout.
submit suspended short -- --stall-timeout 3
at_point suspended 1
kill -STOP "$(rank_process 1)" && echo "suspended provoked"
job_end suspended 2

# Preempted by a partition that comes first.
sed -i 's/^PartitionName=main .*/& PriorityTier=1 PreemptMode=REQUEUE/' "$SLURM_CONF"
echo "PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=9
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE" >>"$SLURM_CONF"
scontrol reconfigure
submit preempted short --
at_point preempted 1
urgent=$(sbatch --parsable --partition=urgent --nodes=3 --exclusive --output=urgent.log --wrap 'sleep 1')
urgent_has_ended() { scontrol --oneliner show job "$urgent" | grep -q COMPLETED; }
wait_until 120 urgent_has_ended && echo "preempted provoked"
job_end preempted 2

# A node goes away with all its processes.
submit lost short --
at_point lost 1
victim=$(scontrol show hostnames "$(scontrol --oneliner show job "$job" | grep -o ' NodeList=[^ ]*' | cut -d= -f2)" | tail -n 1)
gone=$(rank_process 1)
kill -KILL $(pgrep -f "^slurmd -D -N $victim -f $SLURM_CONF") $(pgrep -P "$(ps -o ppid= -p "$gone" | tr -d ' ')") "$gone" 2>/dev/null
scontrol update nodename="$victim" state=down reason=test && echo "lost provoked $victim"
job_end lost 2

# A time limit: Slurm looks at it every 30 s after its start; the job begins some 10 s before.
controller=$(pgrep -f "^slurmctld -D -f $SLURM_CONF")
while phase=$(($(ps -o etimes= -p "$controller") % 30)) && [ $phase -lt 17 -o $phase -gt 20 ]; do sleep 0.5; done
submit limited long --time=1 --signal=B:USR1@58 --
job_end limited 2

# A sweep that does not get on: every start is killed before its first point.
submit idle short --
has_begun() { grep -q "start $1," idle.log 2>/dev/null && victim=$(rank_process 0) && [ -n "$victim" ]; }
for start in 1 2; do
  wait_until 120 has_begun $start
  kill -KILL "$victim" && echo "idle provoked"
done
job_end idle 2
END
export folder winnow source_dir
timeout -k 10 800 bash "$cluster" -n 3 -c 1 -- bash "$folder/jobs" >"$folder/states" 2>"$folder/err" ||
  fail "the cluster failed: $(tail -n 3 "$folder/err" | tr '\n' '|')"
for name in suspended preempted lost limited; do
  has "state of the job" "^$name JobState=COMPLETED" "$folder/states"
  [ $name = limited ] || has "what was to happen" "^$name provoked" "$folder/states"
  [ -r "$folder/$name.log" ] || continue
  has "log of $name" '^winnow: job [0-9]+, start 2,' "$folder/$name.log"
  has "log of $name" 'continuing, [0-9]+ of [0-9]+ points are there already|created' "$folder/$name.log"
  length=short
  [ $name = limited ] && length=long
  same "digests of a run left alone and $name" "$(digest_of "$folder/$length.h5")" "$(digest_of "$folder/$name.out.h5")"
done
has "the suspended rank" 'rank 1 on .* has been silent for 3.0 s' "$folder/suspended.log"
has "the suspended rank" '^winnow: (a rank fell silent|ranks were killed).*: back to the queue' "$folder/suspended.log"
has "the time limit" '^winnow: points are left: back to the queue' "$folder/limited.log"
lost=$(sed -n 's/^lost provoked //p' "$folder/states")
sed -n 's/^winnow: job [0-9]*, start 2,.* on //p' "$folder/lost.log" >"$folder/out"
has "nodes of the second start" 'vn' "$folder/out"
grep -q "${lost#vn}" "$folder/out" && fail "the second start ran on the lost node $lost: $(cat "$folder/out")"
has "a sweep that does not get on" '^idle JobState=FAILED' "$folder/states"
same "starts of a sweep that does not get on" "$(grep -c '^winnow: job [0-9]*, start' "$folder/idle.log")" 2
has "a sweep that does not get on" 'two starts in a row have brought no new point and no saved part of one: the job is not queued again' "$folder/idle.log"
[ ! -s "$folder/failures" ] || tail -n 20 "$folder"/*.log "$folder/states" >&2
[ "${KEEP:-}" ] && cp -r "$folder"/*.log "$folder/states" "$folder/err" "$KEEP/"
finish
