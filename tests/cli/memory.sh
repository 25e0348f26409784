# memory.sh: memory is looked at before the start: a run that does not fit is refused in one line, by node, cgroup, job,
# limits of a process and room for shared memory; a point that fits nowhere is a failed row; --force goes on.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
unset SLURM_MEM_PER_NODE SLURM_MEM_PER_CPU SLURM_CPUS_ON_NODE

# large GRID: a sweep whose points with calibration data take some 100 MiB.
large() {
  mkdir -p "$folder/large"
  cat >"$folder/large/sweep.json" <<END
{
  "model": "$source_dir/sweeps/demo/model",
  "calibration": {"c": {"text": "$source_dir/sweeps/demo/data/general_calibration.jsonl", "samples": 500, "length": 256, "seed": 0}},
  "grid": [$1],
  "evaluate": {"perplexity": {"t": {"text": "$source_dir/sweeps/demo/data/general_eval.txt", "length": 64, "windows": 4}}}
}
END
}
sweep=$folder/large/sweep.json
mebibytes() { # of the largest point
  "$winnow" plan "$sweep" --json | grep -o '"bytes":[^,]*' | grep -oE '[0-9]+' | sort -n | tail -n 1 | awk '{print int($1 / 1048576)}'
}
large '{"method": "wanda", "sparsity": [0.1, 0.2, 0.3, 0.4], "calibration": "c"}'
point=$(mebibytes)
[ "$point" -ge 30 ] || fail "the large points take $point MiB only: nothing is tested"

# The job of Slurm: no rank fits, then some of four.
export SLURM_MEM_PER_NODE=$((point / 2))
expect "half of a point" 2 "$winnow" run "$sweep" -o "$folder/out.h5" -q
has "half of a point" "^winnow: error: .*: not enough memory: 1 rank needs [0-9]+ MiB \([0-9]+ MiB for point [1-4], wanda\), and [0-9]+ MiB of $SLURM_MEM_PER_NODE MiB are left of the memory of the job \(SLURM_MEM_PER_NODE\): not one rank fits" "$folder/err"
same "lines about half of a point" "$(wc -l <"$folder/err")" 1
[ ! -e "$folder/out.h5" ] || fail "a refused run made a results file"
expect "plan of half of a point" 0 "$winnow" plan "$sweep"
has "plan of half of a point" 'warning: on one node like this machine 1 rank needs .*: 0 fit' "$folder/out"
SLURM_MEM_PER_NODE=$((3 * point))
expect "room for two of four ranks" 2 ranks 4 "$winnow" run "$sweep" -o "$folder/out.h5" -q
has "room for two of four ranks" 'rank 0: error: .*: 4 ranks need .*: [123] fit: start fewer ranks per node, or give --force' "$folder/err"
same "lines about room for two" "$(grep -c 'not enough memory' "$folder/err")" 1
unset SLURM_MEM_PER_NODE
SLURM_MEM_PER_CPU=$((point / 4)) SLURM_CPUS_ON_NODE=2 expect "half of a point, by processors" 2 "$winnow" run "$sweep" -o "$folder/out.h5" -q
has "half of a point, by processors" 'SLURM_MEM_PER_CPU\): not one rank fits' "$folder/err"

# The sbatch line asks for memory of the largest point and what is shared.
expect "plan" 0 "$winnow" plan "$sweep"
grep -q warning.*fit "$folder/out" && fail "plan warns of memory although there is enough: $(grep warning "$folder/out")"
asked=$(grep -oE 'mem-per-cpu=[0-9]+' "$folder/out" | grep -oE '[0-9]+$')
[ "${asked:-0}" -ge "$point" ] || fail "the sbatch line asks for \"$asked\" MiB, a point takes $point"

# A limit of a process.
for limit in $(seq 300 40 900); do # until the program fits, without a point
  (ulimit -d $((limit * 1024)) && exec "$winnow" run "$sweep" -o "$folder/out.h5" -q) 2>"$folder/err"
  grep -q 'ulimit -d): not' "$folder/err" && break
done
has "a limit of data" 'left of the data of a process \(ulimit -d\): not one rank fits' "$folder/err"

# A cgroup, where one can be made.
for root in /sys/fs/cgroup/memory /sys/fs/cgroup; do
  group=$root/winnow_test_$$
  mkdir "$group" 2>/dev/null || continue
  if echo $(((point - 1) << 20)) >"$group/memory.limit_in_bytes" || echo $(((point - 1) << 20)) >"$group/memory.max"; then
    inside() { (echo "$BASHPID" >"$group/cgroup.procs" && exec "$winnow" run "$sweep" -o "$folder/out.h5" -q); }
    expect "a cgroup" 2 inside
    has "a cgroup" "left of the memory of the cgroup .*winnow_test_$$: not one rank fits" "$folder/err"
  fi 2>/dev/null
  for _ in $(seq 50); do rmdir "$group" 2>/dev/null && break || sleep 0.1; done
  break
done

# One point that fits nowhere is a failed row, the others are computed; forced, it is computed too.
large '{"method": "wanda", "sparsity": 0.5, "calibration": "c"}, {"method": "rtn", "bits": [8, 4], "group": 32}'
SLURM_MEM_PER_NODE=$((point - 1)) expect "one large point" 3 "$winnow" run "$sweep" -o "$folder/one.h5" -q
has "one large point" 'point 1 failed: needs [0-9]+ MiB of memory, and a rank alone can have [0-9]+ MiB' "$folder/err"
"$winnow" status "$folder/one.h5" >"$folder/out"
has "one large point" '3 of 4 points done, 1 failed, 0 open' "$folder/out"
SLURM_MEM_PER_NODE=$((point - 1)) expect "one large point, forced" 0 "$winnow" run "$sweep" -o "$folder/one.h5" -q --retry-failed --force
has "one large point, forced" 'warning: .*not enough memory: 1 rank needs' "$folder/err"

# Folders of shared memory that are too small, in a name space of our own.
make_sweep "$folder/s" '{"method": "rtn", "bits": [8, 4], "group": 32}'
own() { unshare -m bash -c "mount -t tmpfs -o size=$1 tmpfs $2 && exec \"\$@\"" "$2" "${@:3}"; }
mkdir "$folder/tiny"
if [ "$(id -u)" = 0 ] && own 64k "$folder/tiny" true 2>/dev/null; then
  expect "a small folder for shared memory" 2 own 16k "$folder/tiny" env TMPDIR="$folder/tiny" OMPI_MCA_orte_tmpdir_base="$folder/mpi" \
    "$winnow" run "$folder/s/sweep.json" -o "$folder/tiny.h5" -q
  has "a small folder for shared memory" 'shared by the ranks of a node needs [0-9]+ MiB in .*/tiny, and 0 MiB are free: set TMPDIR' "$folder/err"
  expect "a small /dev/shm" 0 own 6m /dev/shm env -u OMPI_MCA_btl_vader_backing_directory \
    mpirun -n 2 --bind-to none "$winnow" run "$folder/s/sweep.json" -o "$folder/shm.h5" -q
  has "a small /dev/shm" 'warning: .*: /dev/shm has [0-9]+ MiB free, and MPI may take 8 MiB of it for 2 ranks' "$folder/err"
fi
finish
