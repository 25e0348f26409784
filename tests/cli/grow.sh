# grow.sh: a sweep that grew takes over what it has, bit for bit, and computes the rest; so do several files put together.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
seed=${WINNOW_KILL_SEED:-$$}
RANDOM=$seed
trials=${WINNOW_GROW_TRIALS:-4}

python=${WINNOW_PYTHON:-python3}
"$python" -c 'import h5py' 2>/dev/null || skip "$python has no h5py"

old_grid='{"method": "magnitude", "sparsity": [0.4], "calibration": ["general", "prompts"]},
    {"method": "wanda", "sparsity": 0.4, "calibration": "general"},
    {"method": "rtn", "bits": [8, 4], "group": 32}'
new_grid='{"method": "sparsegpt", "sparsity": 0.5, "calibration": "prompts"},
    {"method": "rtn", "bits": [4, 8], "group": 32},
    {"method": ["magnitude", "wanda"], "sparsity": [0.6, 0.4], "calibration": "general"}'
make_sweep "$folder/s" "$new_grid"
new=$folder/s/sweep.json old=$folder/s/old.json
make_sweep "$folder/other" "$old_grid"
head -n 8 "$source_dir/sweeps/demo/data/instructions.jsonl" >"$folder/s/data/instructions.jsonl"
# edit FROM TO PYTHON: a sweep file changed by statements on `s`.
edit() { python3 -c "import json, sys; s = json.load(open(sys.argv[1])); $3; json.dump(s, open(sys.argv[2], 'w'))" "$1" "$2"; }
edit "$new" "$new" "s['evaluate']['tasks'].append('data/instructions.jsonl')" # texts are generated
# The old sweep: one sparsity, one method, one task and one text less.
edit "$folder/other/sweep.json" "$old" "s['evaluate']['tasks'] = ['data/instructions.jsonl', 'data/facts.jsonl'];
del s['evaluate']['perplexity']['documents']"

run() { "$winnow" run "$@" -q; }
# computed FILE: "points evaluations" that the last start computed, counted in the file.
computed() {
  "$python" - "$1" <<'END'
import sys, h5py
with h5py.File(sys.argv[1]) as file:
    start, evaluations = file["points/start"][...], file["evaluations/start"][...]
    last = (file["starts/time"][..., 0] != b"").sum() - 1
    whole = ((evaluations == last).all(axis=1)).sum()
    print(whole, (evaluations == last).sum(), (start == last).sum())
END
}
expect "the old sweep" 0 run "$old" -o "$folder/old.h5"
expect "a fresh run of the grown sweep" 0 run "$new" -o "$folder/fresh.h5"
fresh=$(digest_of "$folder/fresh.h5")
same "computed by a fresh run: 8 points of 5 evaluations" "$(computed "$folder/fresh.h5")" "8 40 8"

# ---- into a new file ----
expect "growing" 0 ranks 2 "$winnow" run "$new" -o "$folder/grown.h5" --from "$folder/old.h5"
has "what is taken over" 'old.h5: 5 of its 5 finished points are taken over, 5 of them lack evaluations' "$folder/err"
same "digest of the grown file" "$(digest_of "$folder/grown.h5")" "$fresh"
# 3 new points of 5 evaluations each, 5 old points of 2 new evaluations each
same "computed by growing" "$(computed "$folder/grown.h5")" "3 25 8"
# What is computed alone is pushed through the blocks alone.
"$python" - "$folder/fresh.h5" "$folder/grown.h5" <<'END' || fail "old evaluations were computed again"
import sys, h5py
fresh, grown = (h5py.File(name)["points/tokens"][...] for name in sys.argv[1:])
sys.exit(not ((grown <= fresh).all() and (grown < 0.9 * fresh).sum() == 5))
END
echo '{}' >"$folder/grown.h5.progress" # as of a run that was killed behind its last point
expect "the same command again" 0 run "$new" -o "$folder/grown.h5" --from "$folder/old.h5"
[ ! -e "$folder/grown.h5.progress" ] || fail "the progress of a killed run stays behind"
same "digest of the same command" "$(digest_of "$folder/grown.h5")" "$fresh"

# ---- in place ----
cp "$folder/old.h5" "$folder/place.h5"
ln -s place.h5 "$folder/link.h5"
expect "growing in place, through a link" 0 run "$new" -o "$folder/link.h5"
same "digest in place" "$(digest_of "$folder/place.h5")" "$fresh"
same "computed in place" "$(computed "$folder/place.h5")" "3 25 8"
[ -h "$folder/link.h5" ] || fail "the link was replaced"
# Back to fewer: rows would be lost.
expect "a sweep that shrank" 2 run "$old" -o "$folder/place.h5"
has "a sweep that shrank" 'holds another sweep: .*8 of its 8 finished points.*--from .*place.h5' "$folder/err"
same "digest after the refusal" "$(digest_of "$folder/place.h5")" "$fresh"
expect "fewer rows into another file" 0 run "$old" -o "$folder/small.h5" --from "$folder/place.h5"
same "digest of fewer rows" "$(digest_of "$folder/small.h5")" "$(digest_of "$folder/old.h5")"

# ---- put together ----
expect "half of the sweep" 0 run "$new" -o "$folder/a.h5" --only 'method=wanda|sparsegpt|dense'
same "points of the selection" "$("$winnow" status "$folder/a.h5" --json | python3 -c 'import json, sys; s = json.load(sys.stdin); print(s["done"], s["open"])')" "4 4"
expect "the other half" 0 run "$new" -o "$folder/b.h5" --only method=magnitude --only 'method=rtn'
expect "two files put together" 0 run "$new" -o "$folder/both.h5" --from "$folder/a.h5" --from "$folder/b.h5"
same "digest of both" "$(digest_of "$folder/both.h5")" "$fresh"
expect "one file into the other" 0 run "$new" -o "$folder/b.h5" --from "$folder/a.h5"
same "digest of one in the other" "$(digest_of "$folder/b.h5")" "$fresh"
# Evaluations of the same points from two files.
edit "$new" "$folder/s/texts.json" "del s['evaluate']['tasks'], s['evaluate']['logits']
s['evaluate']['divergence']['on'] = ['windows']; s['evaluate']['logits'] = {'on': ['windows'], 'top': 4, 'tokens': 64}"
edit "$new" "$folder/s/tasks.json" "del s['evaluate']['perplexity'], s['evaluate']['logits']
s['evaluate']['divergence']['on'] = ['facts']"
expect "texts alone" 0 run "$folder/s/texts.json" -o "$folder/texts.h5"
expect "tasks alone" 0 run "$folder/s/tasks.json" -o "$folder/tasks.h5"
expect "texts and tasks" 0 ranks 3 "$winnow" run "$new" -o "$folder/joined.h5" --from "$folder/texts.h5" --from "$folder/tasks.h5"
same "digest of texts and tasks" "$(digest_of "$folder/joined.h5")" "$fresh"
same "starts of texts and tasks" "$(computed "$folder/joined.h5" | cut -d' ' -f1)" 0

# ---- models of different depth: other keys, longer axes, another order ----
cp -r "$folder/s/model" "$folder/s/short"
sed -i 's/"num_hidden_layers": 6/"num_hidden_layers": 4/' "$folder/s/short/config.json"
grep -q '"num_hidden_layers": 4' "$folder/s/short/config.json" || fail "the short model is as long as the other one"
edit "$old" "$folder/s/two.json" "s['model'] = ['short', 'model']; s['evaluate']['tasks'] = ['data/facts.jsonl']"
edit "$folder/s/two.json" "$folder/s/alone.json" "s['model'] = 'short'"
edit "$folder/s/two.json" "$folder/s/turned.json" "s['model'].reverse()"
expect "two models" 0 run "$folder/s/two.json" -o "$folder/two.h5"
expect "one model" 0 run "$folder/s/alone.json" -o "$folder/alone.h5"
alone=$(digest_of "$folder/alone.h5")
expect "one model of two" 0 run "$folder/s/alone.json" -o "$folder/alone2.h5" --from "$folder/two.h5"
same "digest of one model of two" "$(digest_of "$folder/alone2.h5")" "$alone"
expect "a second model in place" 0 run "$folder/s/two.json" -o "$folder/alone.h5"
same "digest of a second model" "$(digest_of "$folder/alone.h5")" "$(digest_of "$folder/two.h5")"
same "computed for a second model" "$(computed "$folder/alone.h5" | cut -d' ' -f1)" 5
expect "models in another order" 0 run "$folder/s/turned.json" -o "$folder/turned.h5" --from "$folder/two.h5"
expect "and back" 0 run "$folder/s/two.json" -o "$folder/back.h5" --from "$folder/turned.h5"
same "digest of models turned and back" "$(digest_of "$folder/back.h5")" "$(digest_of "$folder/two.h5")"

# ---- what is not equal ----
refused() { # WHAT PATTERN FILE
  expect "$1" 2 run "$new" -o "$folder/refused.h5" --from "$3"
  has "$1" "$2" "$folder/err"
  same "$1: lines" "$(grep -c '^winnow' "$folder/err")" 1
  [ ! -e "$folder/refused.h5" ] || fail "$1: a file was made"
}
make_sweep "$folder/changed" "$old_grid"
tail -n 40 "$source_dir/sweeps/demo/data/general_calibration.jsonl" >"$folder/changed/data/general.jsonl"
expect "another calibration text" 0 run "$folder/changed/sweep.json" -o "$folder/changed.h5"
refused "another calibration text" 'changed.h5: nothing can be taken over: its reference sample' "$folder/changed.h5"
# Another calibration set: the points that it calibrates. Other right answers: one evaluation of all points.
cp -r "$folder/s" "$folder/mixed"
tail -n 40 "$source_dir/sweeps/demo/data/task_calibration.jsonl" >"$folder/mixed/data/prompts.jsonl"
expect "another set of prompts" 0 "$winnow" run "$folder/mixed/sweep.json" -o "$folder/prompts.h5" --from "$folder/fresh.h5"
has "another set of prompts" '7 of its 8 finished points are taken over, 0 of them lack' "$folder/err"
same "computed for another set of prompts" "$(computed "$folder/prompts.h5")" "1 5 1"
cp "$folder/s/data/prompts.jsonl" "$folder/mixed/data/"
sed -i '3s/"gold": *[0-9]*/"gold": 1/; 4s/"gold": *[0-9]*/"gold": 2/; 5s/"gold": *[0-9]*/"gold": 0/' "$folder/mixed/data/facts.jsonl"
cmp -s "$folder/mixed/data/facts.jsonl" "$folder/s/data/facts.jsonl" && fail "the right answers did not change"
expect "other right answers" 0 "$winnow" run "$folder/mixed/sweep.json" -o "$folder/gold.h5" --from "$folder/fresh.h5"
same "computed for other right answers" "$(computed "$folder/gold.h5")" "0 8 8"
expect "other right answers anew" 0 run "$folder/mixed/sweep.json" -o "$folder/gold2.h5"
same "digest of other right answers" "$(digest_of "$folder/gold.h5")" "$(digest_of "$folder/gold2.h5")"
refused "no results file" 'is not an HDF5 file|not a results file' "$new"
refused "no file" 'absent.h5: cannot be opened' "$folder/absent.h5"
# A row whose bytes changed is computed again.
cp "$folder/old.h5" "$folder/damaged.h5"
"$python" - "$folder/damaged.h5" <<'END'
import sys, h5py
with h5py.File(sys.argv[1], "r+") as file:
    file["scores/facts/acc"][2] += 0.125
END
expect "a damaged row" 0 "$winnow" run "$new" -o "$folder/mended.h5" --from "$folder/damaged.h5"
has "a damaged row" 'damaged.h5: point 2 does not match its checksum; it is not taken over' "$folder/err"
same "digest without the damaged row" "$(digest_of "$folder/mended.h5")" "$fresh"
same "computed for the damaged row" "$(computed "$folder/mended.h5")" "4 28 8"
# Weights that are not those recorded: the row must not be completed.
cp "$folder/old.h5" "$folder/weights.h5"
"$python" - "$folder/weights.h5" <<'END'
import hashlib, struct, sys, h5py, numpy as np
with h5py.File(sys.argv[1], "r+") as file:
    file["points/weights_hash"][3, 0] = b"0" if file["points/weights_hash"][3, 0] != b"0" else b"1"
    digest = hashlib.sha256()
    for line in file["fields"][()].decode().splitlines()[1:]:
        path, kind = line.split("\t")[:2]
        if kind == "result":
            digest.update(np.ascontiguousarray(file[path][3]).tobytes())
    file["points/checksum"][3] = struct.unpack("<Q", digest.digest()[:8])[0]
END
expect "other weights" 3 run "$new" -o "$folder/other.h5" --from "$folder/weights.h5"
"$winnow" status "$folder/other.h5" >"$folder/out"
has "other weights" 'it has other weights' "$folder/out"
expect "other weights, anew" 0 run "$new" -o "$folder/other.h5" --retry-failed
same "digest of other weights, anew" "$(digest_of "$folder/other.h5")" "$fresh"

# ---- selections ----
expect "an unknown key" 2 run "$new" -o "$folder/none.h5" --only methd=rtn
has "an unknown key" 'only: points have no key "methd"; did you mean "method"' "$folder/err"
expect "a value that no point has" 2 run "$new" -o "$folder/none.h5" --only 'method=rtn|gptq'
has "a value that no point has" 'only: no point has method=gptq \(there are: dense, sparsegpt, rtn, magnitude, wanda\)' "$folder/err"
expect "values that no point has together" 2 run "$new" -o "$folder/none.h5" --only method=rtn,sparsity=0.4
has "values that no point has together" 'only: no point has all of these values' "$folder/err"
expect "no selection" 2 run "$new" -o "$folder/none.h5" --first rtn
has "no selection" 'first: expected KEY=VALUE, got "rtn"' "$folder/err"
[ ! -e "$folder/none.h5" ] || fail "a file was made for a selection that fails"
expect "a plan of a selection" 0 "$winnow" plan "$new" --only bits=8 --points
has "a plan of a selection" '1 of them are selected' "$folder/out"
same "points of the plan" "$(grep -c '^ *[0-9]* .* cells\|^ *[0-9][0-9.]* .*rtn bits=8' "$folder/out")" 1
expect "a plan of no selection" 2 "$winnow" plan "$new" --only bits=7
expect "an order" 0 "$winnow" run "$new" -o "$folder/order.h5" --first bits=8
grep -E '^winnow: [23] of ' "$folder/err" >"$folder/order"
has "an order" '2 of 8 points: [0-9]+ rtn bits=8' "$folder/order"
same "digest in another order" "$(digest_of "$folder/order.h5")" "$fresh"

# ---- killed at any moment ----
begin=$(date +%s%3N)
cp "$folder/old.h5" "$folder/time.h5"
run "$new" -o "$folder/time.h5"
duration=$(($(date +%s%3N) - begin)) killed=0 before=0 between=0
for trial in $(seq "$trials"); do
  file=$folder/k$trial.h5
  cp "$folder/old.h5" "$file"
  "$winnow" run "$new" -o "$file" -q 2>/dev/null &
  sleep "$((RANDOM % duration))e-3"
  kill -KILL $! 2>/dev/null && killed=$((killed + 1))
  wait $! 2>/dev/null
  what="trial $trial (seed $seed)"
  if [ "$(digest_of "$file")" = "$(digest_of "$folder/old.h5")" ]; then
    before=$((before + 1))
  else
    between=$((between + 1))
    expect "$what: verify" 0 "$winnow" verify "$file"
  fi
  expect "$what: the same command again" 0 run "$new" -o "$file"
  same "$what: digests" "$(digest_of "$file")" "$fresh"
  same "$what: files" "$(cd "$folder" && echo k$trial.h5*)" "k$trial.h5"
done
[ "$killed" -ge 2 ] || fail "only $killed runs were killed: nothing was tested"
[ -z "${WINNOW_GROW_TRIALS:-}" ] || echo "$killed of $trials killed, $before before the file grew, $between after"
finish
