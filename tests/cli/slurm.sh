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
declare -f wait_until job_end at_point >"$folder/jobs"
cat >>"$folder/jobs" <<'END'
cd "$folder"
submit() { # NAME OPTIONS...: sets $job
  local name=$1
  shift
  job=$(sbatch --parsable --nodes=2 --ntasks=2 --ntasks-per-node=1 --time=5 --output="$name.log" "$@" \
    "$source_dir/slurm/sweep.sbatch" "$sweep" "$folder/$name.h5") || exit 1
}
export WINNOW_PROGRAM=$winnow
WINNOW_LAUNCHER=srun submit srun --cpus-per-task=1
job_end srun 1
WINNOW_LAUNCHER=mpirun submit mpirun --cpus-per-task=1
job_end mpirun 1
for _ in 1 2 3 4; do # one that ends before the signal comes says nothing
  rm -rf stopped.*
  WINNOW_LAUNCHER=srun submit stopped --cpus-per-task=1
  at_point stopped 2
  scancel --signal=USR1 --batch "$job"
  state=$(job_end stopped 2)
  grep -q 'back to the queue' stopped.log && break
done
echo "$state"
END
export folder winnow sweep source_dir
timeout -k 10 600 bash "$cluster" -n 2 -c 1 -- bash "$folder/jobs" >"$folder/states" 2>"$folder/err" ||
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
