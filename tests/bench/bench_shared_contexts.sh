#!/usr/bin/env bash
# Items per second on questions like those of MMLU behind 5 examples, scored by winnow and by every choice as a sequence
# of its own, on a Llama-shaped model with random weights.
#   tests/bench/bench_shared_contexts.sh BUILD_FOLDER [ITEMS_PER_SUBJECT [REPETITIONS [BLOCKS HIDDEN INTERMEDIATE]]]
# Questions of three subjects of MMLU from ../shared/data (or $WINNOW_SHARED/data) in tokens of the LLaMA tokenizer; without
# it, text of the demo of the same number of words, in tokens of the demo. Where $WINNOW_PYTHON has lm_eval and its model
# "hf", that scores the same requests once, too (transformers in float32, one after the other). One thread each, processor time.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
usage="usage: bench_shared_contexts.sh BUILD_FOLDER [ITEMS_PER_SUBJECT [REPETITIONS [BLOCKS HIDDEN INTERMEDIATE]]]"
build=$(realpath "${1:?$usage}")
items=${2:-20} repetitions=${3:-2} blocks=${4:-4} hidden=${5:-256} intermediate=${6:-768}
python=${WINNOW_PYTHON:-python3}
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
shared=${WINNOW_SHARED:-$top/../shared}/data
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1

mkdir "$work/tokenizer"
cp "$top/sweeps/demo/model/"*.json "$work/tokenizer"
if [[ -d $shared/mmlu ]]; then
  cp "$shared/tokenizers/llama/tokenizer.json" "$work/tokenizer"
  for split in dev test; do
    mkdir -p "$work/mmlu/$split"
    for subject in anatomy high_school_biology sociology; do
      cp "$shared/mmlu/$split/${subject}_$split.csv" "$work/mmlu/$split"
    done
  done
else
  "$python" - "$top/sweeps/demo/data/general_eval.txt" "$work/mmlu" <<'END'
import csv, pathlib, sys
words = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8").split()
for number, split, count in ((i, *s) for i in range(3) for s in (("dev", 5), ("test", 300))):
    folder = pathlib.Path(sys.argv[2]) / split
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"subject{number}_{split}.csv", "w", newline="", encoding="utf-8") as file:
        for i in range(count):
            at = (number * 1009 + i * 61 + len(split)) % (len(words) - 64)
            part = [" ".join(words[at + a : at + b]) for a, b in ((0, 24), (24, 32), (32, 40), (40, 48), (48, 56))]
            csv.writer(file).writerow([*part, "ABCD"[i % 4]])
END
fi
PYTHONPATH=$top/analysis "$python" -m winnow.tasks make mmlu --from "$work/mmlu" --per-group "$items" --to "$work/choices.jsonl"
"$python" - "$work" <<'END'
import json, pathlib, sys
work = pathlib.Path(sys.argv[1])
header, *items = map(json.loads, (work / "choices.jsonl").read_text(encoding="utf-8").splitlines())
singles = [{"task": "singles", "kind": "continuation"}]
singles += [{"context": item["context"], "continuation": choice} for item in items for choice in item["choices"]]
(work / "singles.jsonl").write_text("".join(json.dumps(line) + "\n" for line in singles), encoding="utf-8")
path = work / "tokenizer" / "config.json"
config = json.loads(path.read_text())
vocabulary = json.loads((work / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8"))
size = max([*vocabulary["model"]["vocab"].values(), *(token["id"] for token in vocabulary["added_tokens"])]) + 1
path.write_text(json.dumps({**config, "vocab_size": size, "max_position_embeddings": 4096}))
END
"$python" "$top/tests/bench/make_checkpoint.py" "$work/model" --blocks "$blocks" --hidden "$hidden" \
  --intermediate "$intermediate" --tokenizer "$work/tokenizer"
"$build/tests/bench_shared_contexts" "$work/model" "$work" 1 "$repetitions" cpu

"$python" -c 'import lm_eval.models.huggingface' 2>/dev/null || exit 0
HF_HUB_OFFLINE=1 "$python" - "$work" 2>/dev/null <<'END'
import json, pathlib, sys, time
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import PreTrainedTokenizerFast
torch.set_num_threads(1)
work = pathlib.Path(sys.argv[1])
model = str(work / "model")
lines = (work / "singles.jsonl").read_text(encoding="utf-8").splitlines()[1:]
pairs = [(item["context"], " " + item["continuation"]) for item in map(json.loads, lines)]
requests = [Instance("loglikelihood", {}, pair, index) for index, pair in enumerate(pairs)]
for name, cache in (("a sequence per choice (hf)", False), ("a sequence per item (hf)", True)):
    lm = HFLM(model, tokenizer=PreTrainedTokenizerFast.from_pretrained(model), dtype="float32", device="cpu", batch_size=1,
              logits_cache=cache)
    start = time.process_time()
    lm.loglikelihood(requests, disable_tqdm=True)
    seconds = time.process_time() - start
    print(f"{name:35} {seconds:10.2f} {len(pairs) / 4 / seconds:10.2f}")
END
