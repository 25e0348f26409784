#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes golden/sentencepiece: small tokenizer.model files, and what transformers makes of them without tokenizer.json.

Usage: python3 make_sentencepiece_golden.py [DIRECTORY [CASES [SEED]]]
(needs transformers 5.23 and the package `sentencepiece`; the models are trained anew where DIRECTORY has none)

A case of cases.json has the name of a model, the one it lies under ("tokenizer.model", "spiece.model"), the files beside
it, and per text the ids with special tokens and their text again. Cases that transformers refuses are left out.
"""

import contextlib
import io
import json
import logging
import pathlib
import random
import sys
import tempfile
import warnings

import make_config_golden as configs
import make_tokenizer_golden as golden

TEXTS = [
    "",
    "the cat",
    " the <s> mat </s>  the",
    "<s>the</s>cat xy<a><ctl>x<ctl>",
    "a<|im_end|> b [PAD]the<extra>  12 <unk>[UNK]",
    "  the cat\u2581the \n\n end\tx  ",
    "<extra_id_0>the <mask> 345 <extra_id_99><|new|>",
    "caf\u00e9 cafe\u0301 \ufb01\u2122 \u65e5\u672c\u8a9e \U0001f642 zzzz zzzzz\u00a0a",
    "the cat sat on the the mat thethethethetheme aaaa 12the cat and the end of the theme in 2024 at zzzzz zzzzzzz",
]
RULES = {"\ufb01": "fi", "\u2122": "TM", "\u00a0": " ", "e\u0301": "\u00e9", "\u3000": " ", "\t": " ", "Q": ""}
RULES |= {"\u65e5\u672c": "JP"}
CLASSES = [
    *(None, None, "LlamaTokenizer", "LlamaTokenizer", "LlamaTokenizerFast", "CodeLlamaTokenizer", "T5Tokenizer"),
    *("PreTrainedTokenizerFast", "GemmaTokenizer", "GemmaTokenizerFast", "T5Tokenizer", "TokenizersBackend"),
]
TYPES = "llama llama mistral gemma2 gemma3_text phi3 qwen3 olmo2 t5".split()


def trained_models(root):
    import sentencepiece

    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as rules:
        for source, to in RULES.items():
            print("\t".join(" ".join(f"{ord(c):X}" for c in text) for text in (source, to)), file=rules)
        rules.flush()
        plain, ruled = {"normalization_rule_name": "identity"}, {"normalization_rule_tsv": rules.name}
        own = {"user_defined_symbols": ["<a>", "xy"], "control_symbols": ["<ctl>"]}
        kinds = {
            "bpe_bytes": {"model_type": "bpe", "vocab_size": 350, "byte_fallback": True, **own, **plain},
            "bpe_rules": {
                **{"model_type": "bpe", "vocab_size": 100, "pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3},
                **{"unk_piece": "[UNK]", "add_dummy_prefix": False, **ruled},
            },
            "unigram_rules": {
                **{"model_type": "unigram", "vocab_size": 80, "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
                **{"hard_vocab_limit": False, **ruled},
            },
            "unigram_bytes": {
                **{"model_type": "unigram", "vocab_size": 340, "byte_fallback": True, "hard_vocab_limit": False},
                **{"remove_extra_whitespaces": False, **own, **plain},
            },
        }
        for name, options in kinds.items():
            model = io.BytesIO()
            prose = iter(golden.PROSE * 3)
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=prose, model_writer=model, minloglevel=2, num_threads=1, **options
            )
            (root / f"{name}.model").write_bytes(model.getvalue())


def drawn_files(draw):
    files = configs.drawn_files(draw, 340)
    files["config.json"] = {"model_type": draw.choice(TYPES)}
    keys = files.get("tokenizer_config.json")
    if keys is not None:
        keys.pop("tokenizer_class", None)
        chosen = draw.choice(CLASSES)
        keys |= {"tokenizer_class": chosen} if chosen else {}
        if "added_tokens_decoder" in keys and draw.random() < 0.5:
            keys["added_tokens_decoder"] |= {str(draw.randrange(3, 60)): configs.token(draw, "<|new|>", False)}
        if draw.random() < 0.2:
            keys["extra_ids"] = draw.choice([0, 3, 100])
    return files


def encoded(folder):
    """ids and their texts, None when transformers refuses; its warnings are kept off the terminal."""
    from transformers import AutoTokenizer

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            ids = [tokenizer(text)["input_ids"] for text in TEXTS]
            return tokenizer, ids, [tokenizer.decode(part, skip_special_tokens=False) for part in ids]
        except BaseException as error:  # panics of the Rust part are no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            return None


def asked(root, name, draw):
    files = drawn_files(draw)
    keys = files.get("tokenizer_config.json", {})
    under = "spiece.model" if keys.get("tokenizer_class") == "T5Tokenizer" else "tokenizer.model"
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, under).write_bytes((root / f"{name}.model").read_bytes())
        for file, value in files.items():
            pathlib.Path(folder, file).write_text(json.dumps(value), encoding="utf-8")
        made = encoded(folder)
    if made is None:
        return None
    tokenizer, ids, texts = made
    case = {"model": name, "under": under, "files": files, "ids": ids, "decoded": texts}
    return {**case, "bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id}


def own_ids(root, names):
    """The ids by SentencePiece itself of texts without added tokens: those of the file, whatever the class."""
    import sentencepiece

    texts = [text for text in golden.TEXTS if not any(part in text for part in ("<", "xy"))] + ["a \u2581the \u2581 "]
    models = {name: sentencepiece.SentencePieceProcessor(str(root / f"{name}.model")) for name in names}
    return {"texts": texts, "ids": {name: [model.encode(text) for text in texts] for name, model in models.items()}}


def main():
    import transformers

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "golden" / "sentencepiece"
    wanted, draw = int(sys.argv[2]) if len(sys.argv) > 2 else 120, random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    root.mkdir(parents=True, exist_ok=True)
    if not list(root.glob("*.model")):
        trained_models(root)
    names = sorted(path.stem for path in root.glob("*.model"))
    cases, refused = [], 0
    while len(cases) < wanted:
        case = asked(root, draw.choice(names), draw)
        cases += [case] if case else []
        refused += case is None
    plain = own_ids(root, names)
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    text = f'{{"texts":{json.dumps(TEXTS)},\n"own":{json.dumps(plain)},\n"cases":[\n{lines}\n]}}\n'
    (root / "cases.json").write_text(text, encoding="utf-8")
    print(f"{len(cases)} cases by transformers {transformers.__version__}, {refused} refused")


if __name__ == "__main__":
    main()
