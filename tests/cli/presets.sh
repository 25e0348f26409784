# presets.sh: every preset under sweeps/ is a sweep that any checkpoint can run: planned here on the demo model with
# stand-ins for its inputs, and no file it names is left out. Its small edition under sweeps/demo runs as it is.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
demo=$source_dir/sweeps/demo

# A model with room for the presets' windows and blocks enough to leave an eighth of them out, documents as long as they
# ask for, and a stand-in for every input.
python3 "$source_dir/tests/bench/make_checkpoint.py" "$folder/model" --blocks 8 --tokenizer "$demo/model"
sed -i 's/"max_position_embeddings": [0-9]*/"max_position_embeddings": 4096/' "$folder/model/config.json"
python3 - "$demo/data" "$folder" <<'END' || fail "cannot make stand-ins"
import json
import sys

data, folder = sys.argv[1:]
lines = [json.loads(line)["text"] for line in open(f"{data}/general_calibration.jsonl", encoding="utf-8")]
with open(f"{folder}/texts", "w", encoding="utf-8") as out:
    for first in range(0, len(lines) - 16, 16):
        out.write(json.dumps({"text": "\n\n".join(lines[first : first + 16])}) + "\n")
with open(f"{folder}/text", "w", encoding="utf-8") as out:
    out.write("\n\n".join(lines))
END

# inputs SWEEP: the files that it names, with what they hold.
inputs() {
  python3 - "$1" <<'END'
import json
import re
import sys

text = re.sub(r"^\s*//.*$|\s//.*$", "", open(sys.argv[1], encoding="utf-8").read(), flags=re.M)
sweep = json.loads(text)
for spec in sweep["calibration"].values():
    print("texts" if "text" in spec else "prompts", spec.get("text") or spec["prompts"])
for spec in sweep["evaluate"]["perplexity"].values():
    print("texts" if spec["text"].endswith("jsonl") else "text", spec["text"])
for task in sweep["evaluate"].get("tasks", []):
    print("task", task if isinstance(task, str) else task["requests"])
END
}

found=0
for preset in "$source_dir"/sweeps/*.json; do
  name=$(basename "$preset" .json)
  [ "$name" = sweep.schema ] || [ "$name" = requests.schema ] && continue
  found=$((found + 1))
  mkdir -p "$folder/$name/tasks"
  expect "$name without its inputs" 2 "$winnow" plan "$preset" --model "$folder/model" --inputs "$folder/$name"
  inputs "$preset" | sort -u >"$folder/inputs"
  while read -r kind path; do
    grep -q "$(basename "$path")" "$folder/err" || fail "$name: plan does not miss $path"
    case $kind in
    text | texts) cp "$folder/$kind" "$folder/$name/$path" ;;
    prompts) cp "$demo/data/task_calibration.jsonl" "$folder/$name/$path" ;;
    task) cp "$demo/data/facts.jsonl" "$folder/$name/$path" ;;
    esac
    grep -q "$(basename "$path")" "$source_dir/sweeps/README.md" || fail "sweeps/README.md does not say how to make $path"
  done <"$folder/inputs"
  expect "$name" 0 "$winnow" plan "$preset" --model "$folder/model" --inputs "$folder/$name"
  has "$name" '^points +[0-9]+ unique points' "$folder/out"
  expect "small edition of $name" 0 "$winnow" plan "$demo/$name.json"
  has "small edition of $name" '^points +[0-9]+ unique points' "$folder/out"
done
same "presets" "$found" 4
finish
