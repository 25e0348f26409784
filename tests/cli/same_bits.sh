# same_bits.sh: the digest of a sweep over everything there is does not depend on ranks, threads or interruptions.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

# axis METHOD PARAMETER VALUES: the axis, when the help of the method names the parameter.
axis() {
  awk -v method="$1" -v name="$2" '/^[a-z]/ {inside = $1 == method} inside && $1 == name && /^  / {found = 1}
    END {exit !found}' "$folder/methods" && echo "\"$2\": $3, "
}
# Products for every method that `winnow help methods` names: a new method is covered on the day it appears.
every_method() {
  local line name prunes= quantizes=
  "$winnow" help methods >"$folder/methods"
  while read -r line; do
    name=${line%% *}
    case $line in
    *"(pruning; needs calibration data)")
      echo '{"method": "'"$name"'", "sparsity": 0.5, "calibration": ["general", "prompts"]},'
      echo '{"method": "'"$name"'", "pattern": ["2:4", "4:8"], "calibration": "general",'
      echo ' "propagation": ["sequential", "dense"]},'
      echo '{'"$(axis "$name" true_sequential true)"'"method": "'"$name"'", "sparsity": 0.6, "allocation": "owl",'
      echo ' "owl_m": 3, "calibration": "prompts"},'
      echo '{"method": "'"$name"'", "pattern": "5:8", "allocation": "owl", "calibration": "prompts"},'
      prunes=$name
      ;;
    *"(pruning)")
      echo '{'"$(axis "$name" scope '["linear", "block"]')"'"method": "'"$name"'", "sparsity": [0.3, 0.5],'
      echo ' "calibration": ["general", "prompts"]},'
      echo '{"method": "'"$name"'", "pattern": "2:4"},'
      echo '{"method": "'"$name"'", "sparsity": 0.6, "allocation": "owl", "calibration": "general"},'
      ;;
    *"(depth pruning; needs calibration data)")
      echo '{"method": "'"$name"'", "sparsity": [0.2, 0.5], "units": ["block", "attention", "mlp", "branch"],'
      echo ' "score": ["block_influence", "angular", "subcloning"], "calibration": "general"},'
      echo '{"method": "'"$name"'", "sparsity": 0.4, "units": ["block", "branch"], "score": ["perplexity", "kl"],'
      echo ' "calibration": ["general", "prompts"]},'
      echo '{"method": "'"$name"'", "sparsity": [0.2, 0.4], "score": "window", "calibration": "general"},'
      ;;
    *"(quantization; needs calibration data)")
      echo '{"method": "'"$name"'", '"$(axis "$name" bits "[4, 3]")$(axis "$name" group 32)"'"calibration": "general",'
      echo ' "propagation": ["sequential", "dense"]},'
      [ -z "$(axis "$name" order x)" ] ||
        echo '{"method": "'"$name"'", "bits": 3, "order": "spearman", "calibration": "general"},'
      [ -z "$(axis "$name" quantize_outputs x)" ] ||
        echo '{"method": "'"$name"'", "quantize_outputs": true, "calibration": "general"},'
      [ -z "$(axis "$name" true_sequential x)" ] ||
        echo '{"method": "'"$name"'", "bits": 3, "true_sequential": true, "calibration": "general"},'
      ;;
    *"(quantization)")
      echo '{'"$(axis "$name" bits "[8, 3]")$(axis "$name" group '["channel", 32]')"'"method": "'"$name"'"},'
      [ -z "$(axis "$name" bits x)" ] || quantizes=$name
      ;;
    esac
  done < <(grep -E '^[a-z0-9_]+ \(' "$folder/methods")
  echo '{"method": "'"$prunes"'", "sparsity": 0.5, "calibration": "general", "propagation": "dense"},'
  echo '{"prune": "'"$prunes"'", "sparsity": 0.4, "quantize": "'"$quantizes"'", "bits": 4, "group": 32,'
  echo ' "calibration": "general"}'
}
make_sweep "$folder/all" "$(every_method)"
sweep=$folder/all/sweep.json
# Every kind of task with every metric that `winnow help tasks` names. Generated text: answers in two batches, some of
# them cut by a stop string, and texts that are drawn.
"$winnow" help tasks >"$folder/tasks"
python3 - "$source_dir/sweeps/demo/data/facts.jsonl" "$folder/all/data" "$folder/tasks" <<'END' || fail "a kind of task is not covered"
import json, re, sys

facts = [json.loads(line) for line in open(sys.argv[1])]
help_of = dict(re.findall(r"^(\w+): [^\n]*\n((?: .*\n)+)", open(sys.argv[3]).read(), re.M))
metrics = {kind: re.findall(r"^  (\w+)  ", text.partition(" metrics\n")[2], re.M) for kind, text in help_of.items()}
for some in metrics.values():  # bias stands for its four
    some[:] = [m for m in some if not m.endswith("ambiguous") and not m.endswith("disambiguated")]
prompts = lambda count: [
    {"id": i["id"], "prompt": i["context"], "references": [i["choices"][i["gold"]]], "source": i["context"],
     "checks": [{"max_words": 1}]} for i in facts[:count]]
bias = lambda number: {"condition": ["ambiguous", "disambiguated"][number % 2], "polarity": "negative", "unknown": [0],
                       "target": [1]}
tasks = {
    "choices": ("multiple_choice", {}, [{**item, "group": str(n % 3), "bias": bias(n)} for n, item in enumerate(facts[:12])]),
    "texts": ("pairs", {}, [{"texts": [i["context"] + " " + c for c in i["choices"][:2]]} for i in facts[:9]]),
    "words": ("continuation", {}, [{"context": i["context"], "continuation": i["choices"][0]} for i in facts[:9]]),
    "pages": ("rolling", {"length": 16}, [{"text": i["context"]} for i in facts[:5]]),
    "answers": ("generation", {"stop": ["\n"], "max_tokens": 6, "filter": "strip"}, prompts(40)),
    "drawn": ("generation", {"temperature": 0.9, "draws": 3, "seed": 5, "max_tokens": 9}, prompts(7)),
}
missing = set(help_of) - {kind for kind, *_ in tasks.values()}
if missing or not help_of:
    sys.exit(f"no task of kind {missing or 'any'}")
for name, (kind, header, items) in tasks.items():
    with open(f"{sys.argv[2]}/{name}.jsonl", "w") as file:
        print(json.dumps({"task": name, "kind": kind, "metrics": metrics[kind], **header}), file=file)
        for item in items:
            print(json.dumps(item), file=file)
END
names='"data/in_context.jsonl", "data/choices.jsonl", "data/texts.jsonl", "data/words.jsonl", "data/pages.jsonl"'
sed -i 's#"data/in_context.jsonl"\]#'"$names"', "data/answers.jsonl", "data/drawn.jsonl"]#' "$sweep"
grep -q pages.jsonl "$sweep" || fail "the sweep has not every kind of task"
for method in $(grep -Eo '^[a-z0-9_]+ \((pruning|quantization|depth pruning)' "$folder/methods" | cut -d' ' -f1); do
  grep -q "\"$method\"" "$sweep" || fail "method $method is not in the sweep"
done

# varied NAME RANKS THREADS: the file says that so many ranks computed points, with so many threads each.
varied() {
  "$winnow" show --json "$folder/$1.h5" >"$folder/$1.json"
  python3 - "$folder/$1.json" "$2" "$3" <<'END' || fail "$1: not what it is compared as"
import json, sys

rows = json.load(open(sys.argv[1]))["points"]
ranks, threads = ({row[name] for row in rows} for name in ("rank", "threads"))
if ranks != set(range(int(sys.argv[2]))) or threads != {int(sys.argv[3])}:
    sys.exit(f"points were computed by ranks {ranks} with {threads} threads, not by {sys.argv[2]} with {sys.argv[3]}")
END
}
run() { # NAME RANKS THREADS
  expect "$1: run" 0 env OMP_NUM_THREADS="$3" mpirun -n "$2" --bind-to none "$winnow" run "$sweep" -o "$folder/$1.h5" -q
  varied "$1" "$2" "$3"
  digest_of "$folder/$1.h5"
}
one=$(run one 1 1)
echo "$one" | grep -Eqx '[0-9a-f]{64}' || fail "the digest is no line of 64 hexadecimal digits: $one"
same "digests of 1 and 2 ranks" "$one" "$(run two 2 1)"
same "digests of 1 and 4 ranks" "$one" "$(run four 4 1)"
same "digests of 1 and 2 threads" "$one" "$(run threads 1 2)"

# A run that was stopped after some points and continued with other ranks and threads.
stop_early() {
  rm -rf "$folder"/part.h5*
  start_ranks 2 "$winnow" run "$sweep" -o "$folder/part.h5"
  wait_log '^winnow: 2 of '
  kill -USR1 "$started"
  wait_started
}
caught stop_early
same "exit code of a stopped run" "$code" 75
"$winnow" status --json "$folder/part.h5" >"$folder/status"
grep -Eq '"open":[[:space:]]*0' "$folder/status" && fail "the stopped run has no open points: nothing was tested"
part=$(expect "part: run" 0 env OMP_NUM_THREADS=2 mpirun -n 1 --bind-to none "$winnow" run "$sweep" -o "$folder/part.h5" -q
  digest_of "$folder/part.h5")
"$winnow" show --json "$folder/part.h5" >"$folder/part.json"
for threads in 1 2; do
  grep -Eq "\"threads\":[[:space:]]*$threads\b" "$folder/part.json" ||
    fail "no point of the continued run was computed by $threads threads"
done
same "digests of a whole and a continued run" "$one" "$part"

# Other parameters, other digest.
sed -i 's/"pattern": "2:4"}/"pattern": "4:8"}/; s/"seed": 0/"seed": 1/' "$sweep"
other=$(run other 2 1)
[ "$other" != "$one" ] || fail "another seed and pattern give the same digest"

# The dense model against itself.
"$winnow" show --json "$folder/two.h5" >"$folder/table.json"
python3 - "$folder/table.json" <<'END' || fail "the dense model does not agree with itself"
import json, sys

rows = json.load(open(sys.argv[1]))["points"]
dense = [row for row in rows if row["method"] == "dense"]
wrong = [] if len(dense) == 1 else [f"{len(dense)} dense points"]
for name in ("windows", "facts"):
    for key, value in (("kl_mean", 0), ("kl_max", 0), ("js_mean", 0), ("js_max", 0), ("top1_agreement", 1)):
        if dense and dense[0][f"{name}/{key}"] != value:
            wrong.append(f"{name} {key} is {dense[0][f'{name}/{key}']}, expected {value}")
    if not any(row[f"{name}/kl_mean"] > 1e-6 for row in rows):
        wrong.append(f"{name}: no compressed point differs from the dense model")
for name in ("facts", "in_context", "choices", "words", "answers"):
    if dense and dense[0][f"{name}/flips"] != 0:
        wrong.append(f"{name}: the dense model flips against itself")
    if not any(row[f"{name}/flips"] > 0 for row in rows):
        wrong.append(f"{name}: no compressed point flips")
for name in ("answers", "drawn"):
    for key in ("agreement_exact", "agreement_rougeL"):
        if dense and dense[0][f"{name}/{key}"] != 1:
            wrong.append(f"{name} {key} is {dense[0][f'{name}/{key}']}, expected 1")
    if not any(row[f"{name}/agreement_exact"] < 1 for row in rows):
        wrong.append(f"{name}: no compressed point differs from the dense model")
print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
sys.exit(bool(wrong))
END
finish
