# slurm.sh: slurm/sweep.sbatch on two nodes of a throw-away Slurm, with srun and with mpirun, and stopped half-way.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
need_slurm
unset OMPI_MCA_btl_vader_backing_directory OMPI_MCA_rmaps_base_oversubscribe OMP_NUM_THREADS

make_sweep "$folder/small"
sweep=$folder/small/sweep.json
expect "one rank" 0 "$winnow" run "$sweep" -o "$folder/one.h5"
digest=$(digest_of "$folder/one.h5")

# What happens inside the cluster: three jobs, the last one is sent USR1 after two points.
cat >"$folder/jobs" <<'END'
cd "$folder"
submit() { # NAME OPTIONS...: sets $job
  local name=$1
  shift
  job=$(sbatch --parsable --nodes=2 --ntasks=2 --ntasks-per-node=1 --time=5 --output="$name.log" "$@" \
    "$source_dir/slurm/sweep.sbatch" "$sweep" "$folder/$name.h5") || exit 1
}
wait_for() { # JOB: prints its last state
  for _ in $(seq 300); do
    state=$(scontrol --oneliner show job "$1" | grep -o 'JobState=[A-Z]*')
    case $state in *PENDING | *RUNNING | *COMPLETING | *REQUEUED) sleep 0.2 ;; *) break ;; esac
  done
  echo "$2 $state"
}
export WINNOW_PROGRAM=$winnow
WINNOW_LAUNCHER=srun submit srun --cpus-per-task=1
wait_for "$job" srun
WINNOW_LAUNCHER=mpirun submit mpirun --cpus-per-task=1
wait_for "$job" mpirun
WINNOW_LAUNCHER=srun submit stopped --cpus-per-task=1
for _ in $(seq 200); do
  grep -q '^winnow: 2 of ' stopped.log 2>/dev/null && break
  sleep 0.05
done
scancel --signal=USR1 --batch "$job"
wait_for "$job" stopped
END
export folder winnow sweep source_dir
timeout -k 10 150 bash "$cluster" -n 2 -c 1 -- bash "$folder/jobs" >"$folder/states" 2>"$folder/err" ||
  fail "the cluster failed: $(tail -n 3 "$folder/err" | tr '\n' '|')"
for name in srun mpirun stopped; do
  has "state of the job" "^$name JobState=COMPLETED" "$folder/states"
  [ -r "$folder/$name.log" ] || continue
  has "log of $name" '2 ranks of 1 threads on vn\[1-2\]' "$folder/$name.log"
  has "log of $name" ': 10 points done, 0 failed, 0 open' "$folder/$name.log"
  same "digests of one rank and $name" "$digest" "$(digest_of "$folder/$name.h5")"
done
has "the stopped job" 'points are left: back to the queue' "$folder/stopped.log"
has "the stopped job" '^winnow: job [0-9]+, start 2,' "$folder/stopped.log"
has "the stopped job" 'continuing, [0-9]+ of 10 points are there already' "$folder/stopped.log"
[ ! -s "$folder/failures" ] || tail -n 20 "$folder"/*.log >&2
finish
