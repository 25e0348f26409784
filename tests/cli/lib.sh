# lib.sh: what the tests of the command line share. Sourced first: . "$(dirname "$0")/lib.sh"
#
# A test gets WINNOW_BINARY and SOURCE_DIR, works in $folder (removed at the end), is silent when all is well, prints one
# line per failed check, and ends with `finish` (0 passed, 1 failed) or `skip REASON` (77).
# SPDX-License-Identifier: Apache-2.0
set -u
winnow=$(realpath "$1")
source_dir=$(realpath "$2")
shared=${WINNOW_SHARED:-$source_dir/../shared}
test_name=$(basename "$0")
folder=$(mktemp -d "${TMPDIR:-/tmp}/winnow.XXXXXX") || exit 1
cleanup() { rm -rf "$folder"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Open MPI: root is allowed, more ranks than cores too, and everything it leaves behind lies in our folder.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMP_NUM_THREADS=1 LC_ALL=C
mkdir "$folder/mpi"
export OMPI_MCA_orte_tmpdir_base=$folder/mpi OMPI_MCA_btl_vader_backing_directory=$folder/mpi

fail() {
  echo "$test_name: $*" >&2
  echo "$*" >>"$folder/failures" # a file, so that checks in subshells count
}

skip() {
  echo "skipped: $*"
  exit 77
}

# need_slurm: skips where a throw-away Slurm cannot run; else $cluster is the script that runs one.
need_slurm() {
  cluster=$shared/tools/slurm_local.sh
  [ -r "$cluster" ] || skip "tools/slurm_local.sh is absent (set WINNOW_SHARED to the folder that has it)"
  [ "$(id -u)" = 0 ] || skip "a throw-away Slurm needs root"
  PATH=$PATH:/usr/sbin:/sbin
  local tool
  for tool in munged slurmctld slurmd sbatch; do
    command -v $tool >/dev/null || skip "Slurm is not installed (packages slurm-wlm and munge)"
  done
}

# job_end NAME STARTS: prints NAME and the state that $job keeps: not one that it passes through on its way back to the
# queue, so one that has not begun so often, by its log, or says that it goes there, is looked at for longer. For inside
# a cluster (declare -f).
job_end() {
  local ended=0 enough=10 state='' deadline=$((SECONDS + 400))
  while [ $ended -lt $enough ] && [ $SECONDS -lt $deadline ]; do
    sleep 0.2
    state=$(scontrol --oneliner show job "$job" | grep -o 'JobState=[A-Z_]*')
    case $state in
    *COMPLETED | *FAILED | *TIMEOUT | *CANCELLED | *NODE_FAIL | *OUT_OF_MEMORY) ended=$((ended + 1)) ;;
    *) ended=0 ;;
    esac
    enough=10
    grep -sq "^winnow: job [0-9]*, start $2," "$1.log" || enough=60
    tail -n 3 "$1.log" 2>/dev/null | grep -q 'back to the queue' && enough=60
  done
  echo "$1 $state"
}
# at_point NAME COUNT: until its log says that so many points are written.
at_point() { wait_until 120 grep -sq "^winnow: $2 of " "$1.log"; }

finish() {
  [ ! -s "$folder/failures" ]
  exit
}

# Times are bounds for what hangs, far above what a loaded machine takes: nothing is asserted about speed.

# wait_until SECONDS COMMAND...: until the command succeeds; 1: it never did.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.05
  done
}

# ranks N COMMAND...: under mpirun, at most 180 s (124: it hung).
ranks() {
  local n=$1
  shift
  timeout -k 5 180 mpirun -n "$n" --bind-to none "$@" </dev/null
}

# start_ranks N COMMAND...: mpirun in the background; its output goes to $folder/log, its process id is $started.
start_ranks() {
  local n=$1
  shift
  : >"$folder/log" # now, or the next wait_log may see the lines of the last job
  mpirun -n "$n" --bind-to none "$@" </dev/null >"$folder/log" 2>&1 &
  started=$!
}

# wait_started: waits for it, at most 180 s; sets $code, 124 when it hung.
wait_started() {
  if ! wait_until 180 has_ended; then
    kill -KILL "$started"
    wait "$started"
    code=124
    return
  fi
  code=0
  wait "$started" || code=$?
} 2>/dev/null # also what bash has to say about jobs that were killed

has_ended() { ! kill -0 "$started" 2>/dev/null; }
log_has_or_ended() { grep -Eq -- "$1" "$folder/log" 2>/dev/null || has_ended; }

# wait_log PATTERN: until a line of the started job matches, at most 120 s.
wait_log() {
  wait_until 120 log_has_or_ended "$1"
  grep -Eq -- "$1" "$folder/log" 2>/dev/null ||
    fail "no \"$1\" in the log: $(tail -n 2 "$folder/log" | tr '\n' '|')"
}

# caught COMMAND...: what starts a job anew, disturbs it and sets its $code; once more when the job had ended before (0).
caught() {
  for _ in 1 2 3 4 5; do
    "$@"
    [ "$code" = 0 ] || return
  done
}

ranks_are() { # STATE: whether $held are all in it
  [ "$(ps -o state= -p "$(echo $held | tr ' ' ,)" 2>/dev/null | grep -c "^$1")" = "$(echo $held | wc -w)" ]
}

# hold RANKS FILE: starts a run of $sweep into FILE and stops its ranks when they have written a point; $held continue
# by SIGCONT.
hold() {
  for _ in 1 2 3 4 5; do
    rm -rf "$2" "$2".*
    start_ranks "$1" "$winnow" run "$sweep" -o "$2"
    wait_log '^winnow: 1 of '
    held=$(pgrep -P "$started")
    kill -STOP $held 2>/dev/null && [ "$(echo $held | wc -w)" = "$1" ] && wait_until 5 ranks_are T && return
    kill -CONT $held 2>/dev/null # some had ended
    wait_started
  done
  fail "no run could be held: they end before they are stopped"
}

# expect WHAT EXIT_CODE COMMAND...: output goes to $folder/out and $folder/err.
expect() {
  local what=$1 wanted=$2 code=0
  shift 2
  "$@" >"$folder/out" 2>"$folder/err" || code=$?
  [ "$code" = "$wanted" ] && return 0
  fail "$what: exit code $code, expected $wanted: $(grep -h -m 3 '^winnow' "$folder/err" | tr '\n' '|')"
  return 1
}

# has WHAT PATTERN FILE: an extended regular expression.
has() {
  grep -Eq -- "$2" "$3" || fail "$1: no \"$2\" in: $(head -n 5 "$3" | tr '\n' '|')"
}

same() {
  [ "$2" = "$3" ] || fail "$1: \"$2\" and \"$3\" differ"
}

digest_of() {
  "$winnow" verify "$1" 2>/dev/null || echo "verify failed: $1"
}

# make_sweep FOLDER [GRID]: a sweep of the demo model that takes about 0.1 s a point, with every kind of evaluation.
# The weights are a hard link: replace the file, do not write into it.
make_sweep() {
  local to=$1 grid=${2:-$small_grid}
  mkdir -p "$to/model" "$to/data"
  cp "$source_dir"/sweeps/demo/model/*.json "$to/model/"
  [ -f "$folder/weights" ] || cp "$source_dir/sweeps/demo/model/model.safetensors" "$folder/weights"
  ln "$folder/weights" "$to/model/model.safetensors"
  head -n 40 "$source_dir/sweeps/demo/data/general_calibration.jsonl" >"$to/data/general.jsonl"
  head -n 40 "$source_dir/sweeps/demo/data/task_calibration.jsonl" >"$to/data/prompts.jsonl"
  head -n 60 "$source_dir/sweeps/demo/data/general_eval.txt" >"$to/data/text.txt"
  head -n 12 "$source_dir/sweeps/demo/data/facts.jsonl" >"$to/data/facts.jsonl"
  head -n 12 "$source_dir/sweeps/demo/data/in_context.jsonl" >"$to/data/in_context.jsonl"
  cat >"$to/sweep.json" <<END
{
  "name": "small",
  "model": "model",
  "calibration": {
    "general": {"text": "data/general.jsonl", "samples": 8, "length": 64, "seed": 0},
    "prompts": {"prompts": "data/prompts.jsonl", "template": "plain", "samples": 16, "length": 64}
  },
  "grid": [
    $grid
  ],
  "evaluate": {
    "perplexity": {
      "windows": {"text": "data/text.txt", "protocol": "gptq", "length": 64, "windows": 8},
      "documents": {"text": "data/general.jsonl", "protocol": "rolling", "length": 64, "windows": 2}
    },
    "tasks": ["data/facts.jsonl", "data/in_context.jsonl"],
    "divergence": {"on": ["windows", "facts"], "measures": ["kl", "js", "top1"]},
    "logits": {"on": ["windows"], "top": 4, "tokens": 64}
  },
  "statistics": {"sample": "general", "tokens": 128},
  "output": "small.h5"
}
END
}

small_grid='{"method": ["magnitude", "wanda"], "sparsity": [0.4, 0.6], "calibration": ["general", "prompts"]},
    {"method": "rtn", "bits": [8, 4, 3], "group": 32}'

# make_many FOLDER POINTS: a sweep of the demo model with that many nearly free points, the dense one not counted.
make_many() {
  local to=$1 points=$2
  mkdir -p "$to"
  head -c 600 "$source_dir/sweeps/demo/data/general_eval.txt" >"$to/text.txt"
  cat >"$to/sweep.json" <<END
{
  "model": "$source_dir/sweeps/demo/model",
  "grid": [{"method": "random", "sparsity": 0.5, "seed": [$(seq -s, 1 "$points")]}],
  "evaluate": {"perplexity": {"text": {"text": "text.txt", "length": 16, "windows": 1}}}
}
END
}
