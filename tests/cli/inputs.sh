# inputs.sh: one sweep, one set of inputs. Ranks that read different files are refused; files that change during a run
# end it without a wrong row; what only looks like a change does not.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

# other_weights FILE: the same shapes, the numbers of some linears moved by one place.
other_weights() {
  python3 - "$1" <<'END'
import json, struct, sys

raw = bytearray(open(sys.argv[1], "rb").read())
size = struct.unpack("<Q", raw[:8])[0]
for name, entry in json.loads(raw[8:8 + size]).items():
    if name.endswith("down_proj.weight"):
        a, b = (8 + size + n for n in entry["data_offsets"])
        raw[a:b] = raw[a + 4:b] + raw[a:a + 4]  # F32
open(sys.argv[1], "r+b").write(raw)  # in place
END
}
two_folders() { # two ranks, each in its own folder
  timeout -k 5 180 mpirun --bind-to none -n 1 -wdir "$folder/a" "$winnow" run sweep.json -o "$folder/out.h5" -q : \
    -n 1 -wdir "$folder/b" "$winnow" run sweep.json -o "$folder/out.h5" -q </dev/null
}
copy_weights() { # FOLDER: a copy of its own instead of the link
  cp "$folder/weights" "$1/model/copy" && mv "$1/model/copy" "$1/model/model.safetensors"
}

# ---- ranks that see different files ----
make_sweep "$folder/a"
make_sweep "$folder/b"
copy_weights "$folder/b"
expect "two copies of one model" 0 two_folders
rm -f "$folder/out.h5"
refused() { # WHAT FILE
  expect "$1" 2 two_folders
  has "$1" "$2: rank 1 on .* reads another (sweep )?file than rank 0" "$folder/err"
  [ ! -e "$folder/out.h5" ] || fail "$1: a results file was made"
  rm -f "$folder/out.h5"*
}
other_weights "$folder/b/model/model.safetensors"
refused "another model" model/model.safetensors
copy_weights "$folder/b"
sed -i 's/the/a/' "$folder/b/data/text.txt"
refused "another text" data/text.txt
rm "$folder/b/data/text.txt"
expect "a text that one rank has not" 2 two_folders
has "a text that one rank has not" 'text.txt' "$folder/err"
cp "$folder/a/data/text.txt" "$folder/b/data/text.txt"
sed -i 's/0\.4/0.45/' "$folder/b/sweep.json"
refused "another sweep" sweep.json

# ---- files that change during a run ----
make_sweep "$folder/c" '{"method": ["wanda", "sparsegpt"], "sparsity": [0.3, 0.4, 0.5, 0.6, 0.7], "calibration": "general"}'
sweep=$folder/c/sweep.json
expect "undisturbed run" 0 "$winnow" run "$sweep" -o "$folder/whole.h5" -q
whole=$(digest_of "$folder/whole.h5")
disturb() { # NAME COMMAND...: runs the command when two points are done
  local name=$1
  shift
  copy_weights "$folder/c"
  rm -rf "$folder/$name.h5"*
  start_ranks 2 "$winnow" run "$sweep" -o "$folder/$name.h5"
  wait_log '2 of 11 points'
  "$@"
  wait_started
}
weights=$folder/c/model/model.safetensors
caught disturb overwritten other_weights "$weights"
same "exit code when the weights were written over" "$code" 2
has "weights written over" 'model.safetensors: was written while it was in use' "$folder/log"
"$winnow" status "$folder/overwritten.h5" >"$folder/status"
has "failed rows" 'failed: .*was written while it was in use' "$folder/status"
copy_weights "$folder/c"
expect "continued with the first weights" 0 "$winnow" run "$sweep" -o "$folder/overwritten.h5" -q --retry-failed
same "digest after the weights came back" "$(digest_of "$folder/overwritten.h5")" "$whole"

caught disturb cut truncate -s 100000 "$weights"
[ "$code" != 0 ] && [ "$code" != 124 ] && [ "$code" != 75 ] || fail "weights were cut: exit code $code"
has "weights cut" 'model.safetensors: (was cut while|cannot be read any more: it was cut)' "$folder/log"
copy_weights "$folder/c"
"$winnow" run "$sweep" -o "$folder/cut.h5" -q --retry-failed
same "digest after the cut weights came back" "$(digest_of "$folder/cut.h5")" "$whole"

touch_status() { chmod g-r "$weights" && ln "$weights" "$weights.link"; }
disturb touched touch_status
same "exit code when only the mode and links changed" "$code" 0
same "digest when only the mode and links changed" "$(digest_of "$folder/touched.h5")" "$whole"
rm "$weights.link"

replace() { cp "$weights" "$folder/new" && other_weights "$folder/new" && mv "$folder/new" "$weights"; }
disturb replaced replace
same "exit code when the weights were replaced under their name" "$code" 0
same "digest when the weights were replaced under their name" "$(digest_of "$folder/replaced.h5")" "$whole"
copy_weights "$folder/c"

# ---- pipes and folders in place of files ----
mkfifo "$folder/pipe"
for name in sweep.json data/text.txt data/facts.jsonl model/config.json model/tokenizer.json model/model.safetensors; do
  mv "$folder/c/$name" "$folder/aside"
  cp -a "$folder/pipe" "$folder/c/$name"
  expect "a pipe as $name" 2 timeout 60 "$winnow" plan "$sweep"
  has "a pipe as $name" "$name: .*(is a pipe|no regular file)" "$folder/err"
  rm "$folder/c/$name"
  mv "$folder/aside" "$folder/c/$name"
done
finish
