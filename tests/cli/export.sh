# export.sh: a point as a checkpoint: by key, number and prefix; wrong keys, places and inputs; nothing left on failure.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
make_sweep "$folder/small" '{"method": "magnitude", "sparsity": [0.4, 0.6]},
    {"method": "rtn", "bits": [8, 4], "group": 32},
    {"prune": "wanda", "sparsity": 0.5, "quantize": "rtn", "bits": 4, "group": 32, "calibration": "general"}'
file=$folder/small/small.h5
expect "run" 0 "$winnow" run "$folder/small/sweep.json" -q
key=$("$winnow" show --json "$file" | python3 -c 'import json, sys; print(json.load(sys.stdin)["points"][4]["key"])')

# refused WHAT CODE PATTERN COMMAND...: one line with the pattern; no file appears or disappears.
refused() {
  local what=$1 code=$2 pattern=$3
  shift 3
  find "$folder" -not -path "$folder/[oe][ur][tr]" | sort >"$folder/before"
  expect "$what" "$code" "$@" -q # of what it says while it works, nothing
  same "lines of $what" "$(grep -c '^winnow: ' "$folder/err")" "${lines:-1}"
  has "$what" "$pattern" "$folder/err"
  find "$folder" -not -path "$folder/[oe][ur][tr]" | sort | cmp -s "$folder/before" - || fail "$what: something is left"
}
export_to() { # DIRECTORY POINT [OPTION...]
  local to=$1 point=$2
  shift 2
  "$winnow" export "$file" --point "$point" --to "$to" "$@"
}

# ---- the point ----

: >"$folder/before"; : >"$folder/out"; : >"$folder/err"
expect "by number" 0 export_to "$folder/four" 4
has "by number" '^winnow: .*/four: point 4 "rtn bits=4 group=32 .*", weights as float32' "$folder/err"
same "files" "$(cd "$folder/four" && echo *)" \
  "config.json model.safetensors tokenizer.json tokenizer_config.json winnow_codes.safetensors winnow_export.json"
expect "by key" 0 export_to "$folder/key" "$key" -q
[ -s "$folder/err" ] && fail "--quiet prints: $(head -n 1 "$folder/err")"
expect "by prefix, into an empty folder" 0 export_to "$folder/prefix/" "rtn bits=4" --threads 2
diff -r "$folder/four" "$folder/key" >&2 || fail "the point by number and by key differ"
diff -r "$folder/four" "$folder/prefix" >&2 || fail "the point on 1 and 2 threads differs"
refused "a wrong key" 2 'there is no point "wanda sparsity=0.9"; near are 5 "wanda sparsity=0.5 ' \
  export_to "$folder/no" "wanda sparsity=0.9"
refused "an ambiguous key" 2 'keys of 2 points begin with "magnitude": 1 "magnitude .*", 2 "magnitude ' \
  export_to "$folder/no" magnitude
refused "an empty key" 2 'no point ""' export_to "$folder/no" ""
refused "a number too large" 2 'no point 6; expected a number from 0 to 5' export_to "$folder/no" 6
refused "no point" 2 'option --point is missing' "$winnow" export "$file" --to "$folder/no"
refused "no folder" 2 'option --to is missing' "$winnow" export "$file" --point 1
refused "an absent file" 2 'absent\.h5' "$winnow" export "$folder/absent.h5" --point 1 --to "$folder/no"
refused "a wrong dtype" 2 'dtype "int8": expected f32, bf16, f16 or source' export_to "$folder/no" 1 --dtype int8
refused "a wrong size" 2 'shard-size: expected a size like 5GB or 300MB, got "5"' export_to "$folder/no" 1 --shard-size 5

# ---- the dtype ----

expect "f16" 0 export_to "$folder/f16" 3 --dtype f16
has "f16" 'f16: [0-9]+ numbers are not held exactly by float16' "$folder/err"
has "f16" '"torch_dtype": "float16"' "$folder/f16/config.json"
[ "$(stat -c %s "$folder/f16/model.safetensors")" -lt "$(stat -c %s "$folder/four/model.safetensors")" ] ||
  fail "f16 is not smaller"
expect "a pruned point keeps the dtype of the checkpoint" 0 export_to "$folder/pruned" 1
has "a pruned point" 'weights as in the checkpoint' "$folder/err"
cmp -s "$folder/pruned/config.json" "$folder/small/model/config.json" || fail "a pruned point has another config.json"
sed 's/"torch_dtype": "float32",//' "$folder/small/model/config.json" >"$folder/config"
mkdir "$folder/nodtype"
make_sweep "$folder/nodtype" '{"method": "magnitude", "sparsity": 0.5}'
cp "$folder/config" "$folder/nodtype/model/config.json"
expect "run without a dtype in config.json" 0 "$winnow" run "$folder/nodtype/sweep.json" -q
expect "a config without dtype" 0 "$winnow" export "$folder/nodtype/small.h5" --point 1 --to "$folder/nodtype/to" --dtype bf16
python3 - "$folder" "$key" <<'END' || fail "winnow_export.json or config.json are wrong"
import json, sys

config = json.load(open(f"{sys.argv[1]}/nodtype/to/config.json"))
assert config.pop("torch_dtype") == "bfloat16" and config == json.load(open(f"{sys.argv[1]}/config"))
about = json.load(open(f"{sys.argv[1]}/four/winnow_export.json"))
assert about["key"] == sys.argv[2] and about["point"] == 4 and about["sweep"] == "small"
(method,) = about["methods"]
assert method["name"] == "rtn" and {"bits": 4, "group": 32, "symmetric": False}.items() <= method["parameters"].items()
assert about["agrees_with_results"] is True and about["rounded"] == 0 and len(about["identity_sha256"]) == 64
assert about["bits_per_weight_nominal"] == 4 + 20 / 32 and len(about["linears"]) == 6 * 7
END

# ---- an exported point is a model like any other ----

make_sweep "$folder/again" '{"method": "none"}'
rm -r "$folder/again/model"
mv "$folder/four" "$folder/again/model"
expect "sweep of an exported point" 0 "$winnow" run "$folder/again/sweep.json" -q
score() { # FILE ROW
  "$winnow" show --json "$1" | python3 -c 'import json, sys
row = json.load(sys.stdin)["points"][int(sys.argv[1])]
print([row[key] for key in sorted(row) if key.endswith("/perplexity") or key.endswith("/acc")])' "$2"
}
same "scores of the exported point" "$(score "$file" 4)" "$(score "$folder/again/small.h5" 0)"

# ---- blocks that are dropped are gone, the others have new numbers; a branch alone becomes zeros ----

make_sweep "$folder/depth" '{"method": "drop", "sparsity": 0.4, "calibration": "general"},
    {"method": "drop", "sparsity": 0.4, "units": "branch", "score": "kl", "calibration": "general"}'
expect "run with drop" 0 "$winnow" run "$folder/depth/sweep.json" -q
for point in 1 2; do
  expect "dropped $point" 0 "$winnow" export "$folder/depth/small.h5" --point $point --to "$folder/dropped$point" -q
  expect "dropped $point in shards" 0 "$winnow" export "$folder/depth/small.h5" --point $point --to "$folder/shards$point" \
    --shard-size 1MB --dtype bf16 -q
  make_sweep "$folder/shorter$point" '{"method": "none"}'
  rm -r "$folder/shorter$point/model"
  cp -r "$folder/dropped$point" "$folder/shorter$point/model"
  expect "sweep of a shorter model" 0 "$winnow" run "$folder/shorter$point/sweep.json" -q
  same "scores of the shorter model" "$(score "$folder/depth/small.h5" $point)" "$(score "$folder/shorter$point/small.h5" 0)"
done
python3 - "$folder" "$source_dir" <<'END' || fail "blocks that are dropped"
import json, struct, sys

folder, source = sys.argv[1:]

def header(path):
    with open(path, "rb") as file:
        return json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))

config = json.load(open(f"{source}/sweeps/demo/model/config.json"))
tensors = header(f"{source}/sweeps/demo/model/model.safetensors").keys() - {"__metadata__"}
for point in "12":
    about = json.load(open(f"{folder}/dropped{point}/winnow_export.json"))
    gone = set(about["dropped_attention"]) & set(about["dropped_mlp"])
    blocks = [b for b in range(config["num_hidden_layers"]) if b not in gone]
    assert about["blocks"] == blocks and (point == "2" or len(gone) == int(0.4 * config["num_hidden_layers"]))
    names = {name for name in tensors if not name.startswith("model.layers.")}
    for new, old in enumerate(blocks):
        prefix = f"model.layers.{old}."
        names |= {f"model.layers.{new}.{name[len(prefix):]}" for name in tensors if name.startswith(prefix)}
    assert header(f"{folder}/dropped{point}/model.safetensors").keys() - {"__metadata__"} == names
    index = json.load(open(f"{folder}/shards{point}/model.safetensors.index.json"))["weight_map"]
    assert index.keys() == names and len(set(index.values())) > 1
    for name in ("dropped", "shards"):
        new = json.load(open(f"{folder}/{name}{point}/config.json"))
        assert new.pop("num_hidden_layers") == len(blocks)
        assert all(new[key] == config[key] for key in new if key != "torch_dtype")
assert about["dropped_attention"] or about["dropped_mlp"]
END

# ---- the place ----

mkdir "$folder/full"
: >"$folder/full/file"
refused "a folder with files" 2 '/full: is there already and is not empty' export_to "$folder/full" 4
refused "a file" 2 '/file: is there already and is no folder' export_to "$folder/full/file" 4
refused "a folder in a folder that is not there" 2 'absent/to: cannot be created: No such file' export_to "$folder/absent/to" 4
mkdir "$folder/busy.exporting"
refused "another export to the same place" 2 'busy\.exporting: is there: another export is running' export_to "$folder/busy" 4
refused "the folder we are in" 2 '"\.": expected the name of a new folder' export_to . 4
(
  ulimit -f 2048 # KiB
  trap '' XFSZ
  refused "file size limit" 1 'model\.safetensors: no room for' export_to "$folder/no" 4
)
if [ "$(id -u)" = 0 ] && mkdir "$folder/disk" && mount -t tmpfs -o size=6m tmpfs "$folder/disk" 2>/dev/null; then
  cleanup() {
    umount "$folder/disk" 2>/dev/null
    rm -rf "$folder"
  }
  refused "disk full" 1 'winnow_codes\.safetensors: (cannot be written|no room)' export_to "$folder/disk/no" 4
  umount "$folder/disk"
  cleanup() { rm -rf "$folder"; }
fi
if [ "$(id -u)" != 0 ]; then
  mkdir -m 555 "$folder/readonly"
  refused "a folder that is read-only" 2 'readonly/to: cannot be created: Permission' export_to "$folder/readonly/to" 4
fi

# ---- the inputs ----

cp "$file" "$folder/kept.h5"
mv "$folder/small" "$folder/moved"
file=$folder/kept.h5
refused "moved inputs" 2 'kept\.h5: the folder of its sweep file, .*/small, is not there; give --sweep' export_to "$folder/no" 4
expect "moved inputs with --sweep" 0 export_to "$folder/sweep" 4 --sweep "$folder/moved/sweep.json"
for name in model.safetensors winnow_codes.safetensors config.json; do
  cmp -s "$folder/sweep/$name" "$folder/key/$name" || fail "moved inputs with --sweep: another $name"
done
mkdir "$folder/small"
lines=7 refused "an empty folder in place of the inputs" 2 'give --sweep' export_to "$folder/no" 4
rmdir "$folder/small"
mv "$folder/moved" "$folder/small"
echo '{' >"$folder/small/sweep.json"
expect "a sweep file that changed later" 0 export_to "$folder/later" 4
diff -r "$folder/key" "$folder/later" >&2 || fail "the text in the results file does not count"
cp -r "$folder/small/data" "$folder/data"
head -n 50 "$folder/data/text.txt" >"$folder/small/data/text.txt"
refused "a changed text" 2 'the inputs are not those .*: "evaluation windows: .*" is now "evaluation windows: ' export_to "$folder/no" 4
cp "$folder/data/text.txt" "$folder/small/data/text.txt"
rm "$folder/small/model/model.safetensors"
cp "$folder/pruned/model.safetensors" "$folder/small/model/"
refused "changed weights" 2 '"model file [0-9a-f]{64}  model\.safetensors" is now "model file' export_to "$folder/no" 4
rm "$folder/small/data/text.txt"
lines=2 refused "a missing text" 2 'data/text\.txt' export_to "$folder/no" 4
finish
