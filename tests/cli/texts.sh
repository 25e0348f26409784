# texts.sh: what a sweep makes of texts: prefix_token, keep_ids, on_error, packed files, and winnow tokens.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
python=${WINNOW_PYTHON:-python3}
case=$folder/case
make_sweep "$case" '{"method": "magnitude", "sparsity": 0.5}'

# `tokens` shows what a set is made of.
expect "tokens of a model" 0 "$winnow" tokens "$case/model" 'Once upon'
has "tokens of a model" '^ +0 +0 +"<s>"' "$folder/out"
expect "tokens of a text that begins like an option" 0 "$winnow" tokens "$case/model" -- '--Once upon'
expect "tokens without --" 2 "$winnow" tokens "$case/model" '--Once upon'
expect "tokens without special tokens" 0 "$winnow" tokens "$case/model" 'Once upon' --plain --json
has "tokens without special tokens" '"bos":0,"eos":1,"prefix":0' "$folder/out"
$python - "$folder/out" <<'END' || fail "tokens --json: the pieces do not add up to the text"
import json, sys

shown = json.load(open(sys.argv[1]))
assert shown["ids"][0] != 0 and "".join(shown["pieces"]).strip() == "Once upon", shown
END
expect "tokens of nothing" 2 "$winnow" tokens "$folder/none" x
has "tokens of nothing" 'tokenizer\.json' "$folder/err"

# One run with everything: packed calibration texts, a bad record, kept ids, pairs behind a token of choice.
$python - "$case" <<'END'
import gzip, json, pathlib, sys

case = pathlib.Path(sys.argv[1])
rows = [{"text": "Once upon a time there was a cat. " * 20} for _ in range(4)] + [{"txt": "x"}]
lines = "".join(json.dumps(row) + "\n" for row in rows)
(case / "c4.json.gz").write_bytes(gzip.compress(lines.encode()))
pairs = [{"task": "two", "kind": "pairs"}, {"texts": ["The cat sat.", "Cat the sat."]}]
(case / "pairs.json").write_text(json.dumps(pairs))
for name in ("bos", "none"):
    sweep = {
        "model": "model",
        "calibration": {
            "c": {"text": "c4.json.gz", "samples": 2, "length": 16, "on_error": "skip", "keep_ids": True}
        },
        "grid": [{"method": "wanda", "sparsity": 0.5, "calibration": "c"}],
        "evaluate": {"tasks": ["pairs.json"], "prefix_token": name},
        "output": name + ".h5",
    }
    (case / (name + ".json")).write_text(json.dumps(sweep))
END
for name in bos none; do
  expect "run with prefix $name" 0 "$winnow" run "$case/$name.json" -q
  has "run with prefix $name" '1 of 5 records cannot be used' "$folder/err"
done
$python - "$case" <<'END' || fail "kept ids, or what the protocol says"
import sys

import h5py

with h5py.File(sys.argv[1] + "/bos.h5") as bos, h5py.File(sys.argv[1] + "/none.h5") as none:
    ids, lengths = bos["calibration/c/token_id"][:], bos["calibration/c/sequence_length"][:]
    assert list(lengths) == [16, 16] and len(ids) == 32, (lengths, ids)
    said = [str(file["provenance"].attrs["evaluation_two_0"]) for file in (bos, none)]
    assert "in front of a text without context: bos (0)" in said[0], said
    assert "in front of a text without context: none (-2)" in said[1], said
    assert "1 records that cannot be used left out" in str(bos["provenance"].attrs["calibration_c_0"])
    a, b = (file["scores/two/likelihood_diff"][0] for file in (bos, none))
    assert a != b, (a, b)
END

# Pairs in a chat template bring their BOS, and the results say so; "tokenizer": "file" leaves the class out.
$python - "$case" <<'END'
import json, pathlib, sys

case = pathlib.Path(sys.argv[1])
row = {"prompt": "<s>[user] Hi", "response": " Once upon a time there was a cat.", "chat_template": "tiny sha256 00"}
(case / "chat.jsonl").write_text(json.dumps(row) + "\n")
(case / "asked.jsonl").write_text(
    json.dumps({"task": "asked", "kind": "generation", "max_tokens": 2, "chat_template": "tiny sha256 00"})
    + "\n" + json.dumps({"prompt": "<s>[user] Hi", "references": ["x"]}) + "\n"
)
sweep = {
    "model": "model",
    "tokenizer": "file",
    "calibration": {"c": {"prompts": "chat.jsonl", "template": "none", "samples": 1, "length": 16, "keep_ids": True}},
    "grid": [{"method": "wanda", "sparsity": 0.5, "calibration": "c"}],
    "evaluate": {"tasks": ["asked.jsonl"]},
    "output": "chat.h5",
}
(case / "chat.json").write_text(json.dumps(sweep))
END
expect "run in a chat template" 0 "$winnow" run "$case/chat.json" -q
$python - "$case/chat.h5" <<'END' || fail "the BOS of a chat template, or what is recorded of it"
import sys

import h5py

with h5py.File(sys.argv[1]) as file:
    ids = file["calibration/c/token_id"][:]
    assert ids[0] == 0 and ids[1] != 0, ids
    said = file["provenance"].attrs
    assert "chat template tiny sha256 00" in str(said["calibration_c_0"]), said["calibration_c_0"]
    assert "tiny sha256 00" in str(said["task_asked"]), said["task_asked"]
END
# A tokenizer.model without tokenizer.json: read, an input like any other, and part of an export.
rm "$case/model/tokenizer.json"
cp "$source_dir/tests/tokenizer/golden/sentencepiece/bpe_bytes.model" "$case/model/tokenizer.model"
expect "a tokenizer.model by its class" 0 "$winnow" tokens "$case/model" 'the cat' --json
has "a tokenizer.model by its class" '"pieces":\["<s>","the"' "$folder/out"
rm "$case/chat.h5"
expect "run with a tokenizer.model" 0 "$winnow" run "$case/chat.json" -q
expect "export of it" 0 "$winnow" export "$case/chat.h5" --point 1 --to "$folder/exported"
cmp "$folder/exported/tokenizer.model" "$case/model/tokenizer.model" || fail "an export without its tokenizer.model"
printf x >>"$case/model/tokenizer.model"
expect "a tokenizer.model that is damaged" 2 "$winnow" plan "$case/chat.json"
has "a tokenizer.model that is damaged" 'tokenizer\.model: not a SentencePiece model: .* at byte [0-9]+$' "$folder/err"
cp "$source_dir/tests/tokenizer/golden/sentencepiece/unigram_bytes.model" "$case/model/tokenizer.model"
expect "another tokenizer.model" 2 "$winnow" export "$case/chat.h5" --point 1 --to "$folder/other"
has "another tokenizer.model" 'the inputs are not those .* tokenizer\.model' "$folder/err"

sed -i 's/"tokenizer": "file"/"tokenizer": "slow"/' "$case/chat.json"
expect "a tokenizer that is none" 2 "$winnow" plan "$case/chat.json"
has "a tokenizer that is none" 'tokenizer: expected "class" or "file"' "$folder/err"
finish
