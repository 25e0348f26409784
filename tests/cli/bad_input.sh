# bad_input.sh: every mistake gives one clear line, a non-zero exit code, no file left behind and no hang.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
edit="python3 $(dirname "$0")/edit_safetensors.py"
grid='{"method": "magnitude", "sparsity": 0.5}, {"method": "rtn", "bits": 4}'
gate=model.layers.1.mlp.gate_proj.weight
cases=0

# A fresh folder $case with a good sweep.
fresh() {
  cases=$((cases + 1))
  case=$folder/case$cases
  make_sweep "$case" "$grid"
}

# Replaces text in a file of the case; the text must be there.
change() { # FILE FROM TO
  grep -qF -- "$2" "$case/$1" || fail "change of $1: no $2"
  python3 -c 'import sys; p, a, b = sys.argv[1:]; s = open(p).read(); open(p, "w").write(s.replace(a, b, 1))' \
    "$case/$1" "$2" "$3"
}

alter_weights() { # EDIT [TENSOR]
  rm "$case/model/model.safetensors"
  $edit "$folder/weights" "$case/model/model.safetensors" "$@"
}

# Two ranks fail on the case with exactly one line that has every PATTERN, and leave nothing.
refused() { # WHAT PATTERN...
  local what=$1 code=0 lines pattern
  shift
  find "$case" | sort >"$folder/before"
  ranks 2 "$winnow" run "$case/sweep.json" -o "$case/${output:-out.h5}" -q >"$folder/out" 2>"$folder/err" || code=$?
  find "$case" | sort >"$folder/after"
  [ "$code" != 0 ] || fail "$what: exit code 0"
  [ "$code" != 124 ] && [ "$code" -lt 128 ] || fail "$what: hung or died (exit code $code)"
  grep '^winnow: ' "$folder/err" >"$folder/lines"
  lines=$(wc -l <"$folder/lines")
  [ "$lines" = 1 ] || fail "$what: $lines lines instead of one: $(head -n 4 "$folder/lines" | tr '\n' '|')"
  for pattern; do
    has "$what" "$pattern" "$folder/lines"
  done
  cmp -s "$folder/before" "$folder/after" ||
    fail "$what: left behind: $(comm -13 "$folder/before" "$folder/after" | tr '\n' ' ')"
}

# ---- models ----

fresh; rm "$case/model/model.safetensors"; refused "missing safetensors" "$case/model" 'model\.safetensors'
fresh; rm -r "$case/model"; refused "missing model folder" "$case/model"
fresh; alter_weights truncate; refused "truncated safetensors" 'model\.safetensors'
fresh; alter_weights header; refused "broken header" 'model\.safetensors'
fresh; : >"$case/empty"; mv "$case/empty" "$case/model/model.safetensors"; refused "empty safetensors" 'model\.safetensors'
fresh; alter_weights overlap $gate; refused "overlapping offsets" 'model\.safetensors' 'offsets|overlap|gap'
fresh; alter_weights dtype $gate; refused "wrong dtype" 'model\.safetensors' "$gate" 'I32' 'F32|BF16'
fresh; alter_weights shape $gate; refused "wrong shape" 'model\.safetensors' "$gate" '\[128, ?384\]' '\[384, ?128\]'
fresh; alter_weights absent $gate; refused "absent tensor" 'model\.safetensors' "$gate"
fresh; change model/config.json '"model_type": "llama"' '"model_type": "lama"'
refused "unknown architecture" 'config\.json' '"lama"' 'llama'
fresh; change model/config.json '"hidden_size": 128' '"hidden_size": "128"'
refused "wrong type in config.json" 'config\.json' 'hidden_size'
fresh; change model/tokenizer.json '"merges"' '"merges'; refused "tokenizer.json is no JSON" 'tokenizer\.json:[0-9]+:'
fresh; change model/tokenizer.json '"type": "BPE"' '"type": "Syllables"'
refused "unknown tokenizer model" 'tokenizer\.json' 'Syllables'
fresh; rm "$case/model/tokenizer.json"; refused "missing tokenizer.json" 'tokenizer\.json'

# ---- sweep file ----

fresh; rm "$case/sweep.json"; refused "missing sweep file" 'sweep\.json'
fresh; change sweep.json '"grid": [' '"grid": ['$'\n''{'; refused "sweep file is no JSON" 'sweep\.json:10:'
fresh; change sweep.json '"calibration":' '"calibratoin":'; change sweep.json '"sample": "general"' '"sample": "windows"'
refused "unknown key" 'sweep\.json' 'calibratoin' 'did you mean "calibration"'
fresh; change sweep.json '"samples": 8' '"samples": "8"'; refused "wrong type" 'sweep\.json' 'calibration\.general' 'samples' 'integer|number'
fresh; change sweep.json '"length": 64, "windows"' '"length": 5000, "windows"'
refused "windows longer than the model" 'sweep\.json' 'evaluate\.perplexity\.windows' '5000' '512'
fresh; change sweep.json '"sparsity": 0.5' '"sparsity": []'; refused "empty axis" 'sweep\.json' 'sparsity' 'empty'
fresh; change sweep.json '"sparsity": 0.5' '"sparsity": 1.0'; refused "sparsity 1.0" 'sweep\.json' 'sparsity' '\[0, 1\)'
fresh; change sweep.json '"sparsity": 0.5' '"sparsity": -0.1'; refused "sparsity -0.1" 'sweep\.json' 'sparsity' '\[0, 1\)'
fresh; change sweep.json '"bits": 4' '"bits": 1'; refused "bits 1" 'sweep\.json' 'bits' '\[2, 8\]|2 to 8'
fresh; change sweep.json '"bits": 4' '"bits": 9'; refused "bits 9" 'sweep\.json' 'bits' '\[2, 8\]|2 to 8'
fresh; change sweep.json '"bits": 4' '"bits": 3.5'; refused "bits 3.5" 'sweep\.json' 'bits'
fresh; change sweep.json '"magnitude"' '"magnitud"'; refused "unknown method" 'sweep\.json' '"magnitud"' 'magnitude'
fresh; change sweep.json '"sparsity": 0.5' '"sparsity": 0.5, "calibration": "pages"'
refused "unknown calibration set" 'sweep\.json' '"?pages"?'
fresh; change sweep.json '"method": "magnitude"' '"method": "wanda"'; refused "no calibration set" 'sweep\.json' 'calibration'

# ---- texts and tasks ----

fresh; sed -i '5s/"choices"/"options"/' "$case/data/facts.jsonl"
refused "task with a missing field" 'facts\.jsonl:5|facts\.jsonl: line 5' '"?choices"?'
fresh; sed -i '7s/"gold": [0-9]/"gold": 4/' "$case/data/facts.jsonl"
refused "task with a gold choice that is none" 'facts\.jsonl:7|facts\.jsonl: line 7' 'gold'
fresh; sed -i '3s/}$//' "$case/data/facts.jsonl"; refused "task line is no JSON" 'facts\.jsonl(:|: line )3'
fresh; sed -i '5s/"context"/"contxt"/' "$case/data/facts.jsonl"
refused "task with an unknown key" 'facts\.jsonl:5' 'unknown key "contxt"; did you mean "context"'
fresh; sed -i '6s/"id": "[^"]*"/"id": "facts-000"/' "$case/data/facts.jsonl"
refused "task with an id used twice" 'facts\.jsonl:6' '"facts-000" was used in line 1'
fresh; sed -i '4s/"choices": \["[^"]*"/"choices": [""/' "$case/data/facts.jsonl"
refused "task with an empty choice" 'facts\.jsonl:4' 'choices\[0\]' 'not empty'
fresh; printf '{"context": "\377"}\n' >>"$case/data/facts.jsonl"
refused "task line is no UTF-8" 'facts\.jsonl:13:' '0xff is no valid UTF-8'
fresh; sed -i '1i {"task": "facts", "metrics": ["acc", "acc_nrom"]}' "$case/data/facts.jsonl"
refused "unknown metric" 'facts\.jsonl:1' '"acc_nrom" is none of the kind multiple_choice, did you mean "acc_norm"'
fresh; sed -i '1i {"task": "facts", "kind": "multiple-choice"}' "$case/data/facts.jsonl"
refused "unknown kind" 'facts\.jsonl:1' 'expected one of .*"continuation".* did you mean "multiple_choice"'
fresh; sed -i '1i {"task": "facts", "chance": 25}' "$case/data/facts.jsonl"
refused "chance of 25" 'facts\.jsonl:1' 'chance' '\[0, 1\]'
fresh; sed -i '3i {"task": "facts"}' "$case/data/facts.jsonl"; refused "header in line 3" 'facts\.jsonl:3' 'header must be the first line'
fresh; change sweep.json '"data/facts.jsonl"' '{"requests": "data/facts.jsonl", "metrics": ["mc1"]}'
refused "unknown metric in the sweep" 'sweep\.json: evaluate\.tasks\.facts: key "metrics".*"mc1"'
fresh
python3 -c 'import json; print(json.dumps({"context": "a", "choices": ["b", "word " * 600], "gold": 0}))' >>"$case/data/facts.jsonl"
refused "choice longer than the model" 'facts\.jsonl:13' 'tokens, but the model only 512 positions'
fresh; rm "$case/data/text.txt"; refused "missing text" 'data/text\.txt'
fresh; : >"$case/data/general.jsonl"; refused "empty text, named twice" 'data/general\.jsonl' 'empty'
fresh; sed -i '2s/"prompt"/"promt"/' "$case/data/prompts.jsonl"
change sweep.json '{"method": "magnitude", "sparsity": 0.5}' '{"method": "wanda", "sparsity": 0.5, "calibration": "prompts"}'
refused "prompts with a missing field" 'prompts\.jsonl(:|: line )2' 'prompt'

# ---- output ----

output=absent/out.h5
fresh; refused "output in a folder that does not exist" 'absent/out\.h5'
output=folder
fresh; mkdir "$case/folder"; refused "output is a folder" "$case/folder"
output=text.h5
fresh; echo "notes" >"$case/text.h5"; refused "output is no results file" 'text\.h5' 'not (an HDF5|a results)'
same "a file that is no results file is untouched" "$(cat "$case/text.h5")" notes
output=other.h5
fresh
expect "a first sweep" 0 "$winnow" run "$case/sweep.json" -o "$case/other.h5" -q
before=$(sha256sum <"$case/other.h5")
change sweep.json '"sparsity": 0.5' '"sparsity": 0.6'
refused "results file of another sweep" 'other\.h5' 'another sweep' '0\.5' '0\.6'
same "results file of another sweep is untouched" "$before" "$(sha256sum <"$case/other.h5")"
head -c 3000 "$case/other.h5" >"$case/cut.h5"
output=cut.h5
refused "truncated results file" 'cut\.h5'
output=out.h5
if [ "$(id -u)" = 0 ] && fresh && mkdir "$case/disk" && mount -t tmpfs -o size=64k tmpfs "$case/disk" 2>/dev/null; then
  cleanup() {
    umount "$case/disk" 2>/dev/null
    rm -rf "$folder"
  }
  output=disk/out.h5
  refused "disk full" 'disk/out\.h5' 'No space|no room'
  output=out.h5
  umount "$case/disk"
  cleanup() { rm -rf "$folder"; }
fi
# A limit that Open MPI's own files (some MiB) stay below, and a results file above it.
fresh
change sweep.json '"top": 4, "tokens": 64' '"top": 1024, "tokens": 500'
change sweep.json '"sparsity": 0.5' '"sparsity": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]'
find "$case" | sort >"$folder/before"
(
  ulimit -f 24576 # KiB
  trap '' XFSZ
  expect "file size limit" 1 timeout 180 "$winnow" run "$case/sweep.json" -o "$case/out.h5" -q
)
has "file size limit" 'out\.h5: (no room|.*too large|cannot be written)' "$folder/err"
same "lines of file size limit" "$(grep -c '^winnow: ' "$folder/err")" 1
find "$case" | sort | cmp -s "$folder/before" - || fail "file size limit: something is left behind"
if [ "$(id -u)" != 0 ]; then
  fresh; mkdir -m 555 "$case/readonly"; output=readonly/out.h5
  refused "output folder is read-only" 'readonly/out\.h5' 'Permission'
fi

# ---- several mistakes at once ----

fresh
change sweep.json '"sparsity": 0.5' '"sparsity": 1.5'
change sweep.json '"bits": 4' '"bitz": 4'
change sweep.json '"samples": 8' '"sampels": 8'
change sweep.json '"top": 4' '"top": 0'
sed -i '5s/"gold"/"golden"/' "$case/data/facts.jsonl"
rm "$case/data/text.txt" "$case/model/tokenizer.json"
for command in plan run; do
  expect "$command of several mistakes" 2 "$winnow" "$command" "$case/sweep.json"
  for pattern in sparsity bitz sampels top 'facts\.jsonl(:|: line )5' 'text\.txt' 'tokenizer\.json'; do
    has "$command of several mistakes" "^winnow: .*$pattern" "$folder/err"
  done
done

# ---- a NaN in a weight: failed rows, not a dead sweep ----

fresh
cp -rl "$case/model" "$case/nan"
rm "$case/nan/model.safetensors"
$edit "$folder/weights" "$case/nan/model.safetensors" nan $gate
change sweep.json '"model": "model"' '"model": ["nan", "model"]'
expect "a NaN in a weight" 3 ranks 2 "$winnow" run "$case/sweep.json" -o "$case/out.h5"
expect "status after a NaN" 0 "$winnow" status "$case/out.h5"
has "status after a NaN" '3 of 6 points done, 3 failed, 0 open' "$folder/out"
has "status gives the reason" "^failed: .*(layers\.1\.mlp\.gate_proj|block 1|block 2).*(NaN|nan|not finite|non-finite)" "$folder/out"
expect "show after a NaN" 0 "$winnow" show --json "$case/out.h5"
python3 - "$folder/out" <<'END' || fail "a NaN in one model: wrong table"
import json, sys

for row in json.load(open(sys.argv[1]))["points"]:
    broken = row["model"] == "nan"
    complete = row["windows/perplexity"] is not None
    if (row["status"] == "failed") != broken or bool(row["reason"]) != broken or complete == broken:
        sys.exit(f"{row['status']}: {row['key']}: {row['reason']}")
END
expect "verify after a NaN" 0 "$winnow" verify "$case/out.h5"
digest=$(cat "$folder/out")
expect "the same command again" 3 ranks 2 "$winnow" run "$case/sweep.json" -o "$case/out.h5"
expect "failed points again" 3 "$winnow" run "$case/sweep.json" -o "$case/out.h5" --retry-failed
same "digest after failed points were tried again" "$digest" "$(digest_of "$case/out.h5")"
finish
