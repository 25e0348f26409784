# silent.sh: ranks that fall silent: a stopped one ends the run, rank 0 is missed too, a job that is suspended as a whole
# goes on, and so does one whose host loses its link, under slurm/sweep.sbatch.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
mkdir "$folder/s"
sweep=$folder/s/sweep.json
cat >"$sweep" <<END
{"model": "$source_dir/sweeps/demo/model",
 "calibration": {"c": {"text": "$source_dir/sweeps/demo/data/general_calibration.jsonl", "samples": 128, "length": 128}},
 "grid": [{"method": "sparsegpt", "sparsity": [0.2, 0.3, 0.4, 0.5, 0.6], "calibration": "c"}],
 "evaluate": {"perplexity": {"world": {"text": "$source_dir/sweeps/demo/data/general_eval.txt", "length": 128}}}}
END
expect "left alone" 0 ranks 2 "$winnow" run "$sweep" -o "$folder/alone.h5" -q
digest=$(digest_of "$folder/alone.h5")

# start NAME OPTIONS...: three ranks, until a point is written; sets ${pids[@]}, in the order of ranks.
start() {
  local name=$1
  shift
  rm -f "$folder/log"
  start_ranks 3 "$winnow" run "$sweep" -o "$folder/$name.h5" "$@"
  wait_log '^winnow: 1 of '
  pids=($(pgrep -P "$started" | sort -n))
  same "ranks of $name" ${#pids[@]} 3
}
is_stopped() { [ "$(sed 's/.*) //; s/ .*//' "/proc/$1/stat")" = T ]; }
stopped() { wait_until 10 is_stopped "$1" || fail "a process that was sent SIGSTOP goes on"; }

for rank in 2 0; do
  start "rank$rank" --stall-timeout 2
  kill -STOP "${pids[rank]}"
  stopped "${pids[rank]}"
  wait_started
  same "exit code when rank $rank is stopped" "$code" 76
  has "rank $rank is stopped" "^winnow: rank $((rank ? 0 : 1)): error: rank $rank on [^ ]* has been silent for 2.0 s" "$folder/log"
  expect "the same command again" 0 ranks 2 "$winnow" run "$sweep" -o "$folder/rank$rank.h5" -q
  same "digests after rank $rank was stopped" "$digest" "$(digest_of "$folder/rank$rank.h5")"
done

start whole --stall-timeout 2
kill -STOP "${pids[@]}"
sleep 5
stopped "${pids[1]}"
kill -CONT "${pids[@]}"
wait_started
same "exit code of a job that was suspended as a whole" "$code" 0
grep -q 'silent' "$folder/log" && fail "a job that was suspended as a whole: $(grep silent "$folder/log")"
same "digests after a job was suspended" "$digest" "$(digest_of "$folder/whole.h5")"

# A host whose link goes down, under the job script, with mpirun. Slurm's part is played by a script for scontrol.
hosts=$shared/tools/two_hosts.sh
[ -r "$hosts" ] && [ "$(id -u)" = 0 ] && command -v ip >/dev/null && command -v nsenter >/dev/null || finish
bash "$hosts" -- true >"$folder/out" 2>&1 || finish
unset OMPI_MCA_btl_vader_backing_directory OMPI_MCA_rmaps_base_oversubscribe
mkdir "$folder/bin"
cat >"$folder/bin/scontrol" <<END
#!/bin/bash
echo "\$@" >>"$folder/scontrol"
END
# two_hosts.sh calls this one inside the first host; the job script there calls mpirun with the same arguments.
cat >"$folder/bin/mpirun" <<END
#!/bin/bash
export PATH=$PATH
if [ -z "\${LINK_JOB:-}" ]; then
  printf '%q ' "\${@:1:\$#-1}" >"$folder/arguments"
  export LINK_JOB=1 SLURM_JOB_ID=7 SLURM_NTASKS=2 SLURM_JOB_NODELIST=node[1-2] WINNOW_LAUNCHER=mpirun WINNOW_BIND=none WINNOW_PROGRAM=$winnow
  cd "$folder"
  PATH=$folder/bin:\$PATH exec bash "$source_dir/slurm/sweep.sbatch" "$sweep" "$folder/link.h5" --stall-timeout 3
fi
eval "exec mpirun \$(cat "$folder/arguments") \"\\\$@\""
END
chmod +x "$folder/bin/"*
TMPDIR=$folder PATH=$folder/bin:$PATH timeout -k 5 170 bash "$hosts" -- last >"$folder/log" 2>&1 &
started=$!
wait_log '^winnow: 1 of '
switch=$(cat "$folder"/two_hosts.*/switch.pid)
nsenter -t "$switch" -n ip link set p2 down || fail "the link could not be taken down"
wait_started
[ "$code" != 0 ] && [ "$code" != 124 ] || fail "a link went down: exit code $code"
has "a link went down" '^winnow: rank 0: error: rank 1 on node2 has been silent for 3.0 s' "$folder/log"
has "a link went down" '^winnow: the ranks of this node have ended, and mpirun waits for others that do not answer' "$folder/log"
has "a link went down" '^winnow: .*: back to the queue' "$folder/log"
has "a link went down" '^requeue 7$' "$folder/scontrol"
expect "the same command after a link went down" 0 ranks 2 "$winnow" run "$sweep" -o "$folder/link.h5" -q
same "digests after a link went down" "$digest" "$(digest_of "$folder/link.h5")"
[ ! -s "$folder/failures" ] || cat "$folder/log" >&2
finish
