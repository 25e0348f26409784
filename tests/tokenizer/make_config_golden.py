#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes golden/configs.json: what transformers makes of the files beside tokenizer.json.

Usage: python3 make_config_golden.py [FILE [CASES [SEED]]]   (needs transformers 5.23; all is drawn from the seed)

A case has the name of a tokenizer of golden/tokenizers.json, the files beside it, and per text the ids with special
tokens; "bos" and "eos" are ids or null. Cases that transformers refuses are left out.
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

import make_tokenizer_golden as golden

TEXTS = [
    "the cat",
    " the <s> mat </s>  the",
    "<s>the</s>cat",
    "a<|im_end|> b [PAD]the<extra>  12 <unk>",
    "  the cat\u2581the \n",
    "<|endoftext|>the <mask> 345",
    "The CAT caf\u00e9 e\u0301 [CLS] don't\u65e5\u672c <extra_id_3>",
]
CLASSES = [
    None,
    "LlamaTokenizer",
    "LlamaTokenizerFast",
    "PreTrainedTokenizerFast",
    "TokenizersBackend",
    "GPT2Tokenizer",
    "GPT2TokenizerFast",
    "Qwen2Tokenizer",
    "GPTNeoXTokenizerFast",
    "GemmaTokenizerFast",
    "CodeLlamaTokenizer",
    "T5Tokenizer",
    "BertTokenizerFast",
]
TYPES = "llama llama mistral qwen2 qwen3 gemma3_text gpt2 opt gpt_neox phi3 granite smollm3 olmo2".split()
BASES = ["llama", "metaspace_first", "byte_level", "qwen", "llama3", "added"]
# Models that one class each is for.
OTHERS = {"unigram_t5": "T5Tokenizer", "unigram_xlm_roberta": "T5Tokenizer", "word_piece": "BertTokenizer", "unigram": None}


def token(draw, content, typed):
    flags = {name: draw.random() < 0.3 for name in ("lstrip", "rstrip", "single_word", "normalized")}
    kind = {"__type": "AddedToken"} if typed else {}
    return {**kind, "content": content, **flags}


def decoder(draw, size):
    """added_tokens_decoder: some of the file's tokens with other flags, and new ones."""
    known = [(0, "<unk>"), (1, "<s>"), (2, "</s>")]
    new = [(size + 8, "<|im_end|>"), (size + 9, "<extra>"), (size + 10, "[PAD]")]
    chosen = [entry for entry in known + new if draw.random() < 0.5]
    return {str(i): {**token(draw, c, False), "special": draw.random() < 0.7} for i, c in chosen}


def config(draw, size):
    keys = {}
    name = draw.choice(CLASSES)
    if name:
        keys["tokenizer_class"] = name
    for flag in ("add_prefix_space", "add_bos_token", "add_eos_token", "legacy", "split_special_tokens"):
        if draw.random() < 0.25:
            keys[flag] = draw.random() < 0.5
    for key, content in (("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "[PAD]")):
        kind = draw.random()
        if kind < 0.3:
            keys[key] = content
        elif kind < 0.4:
            keys[key] = token(draw, content, True)
        elif kind < 0.45:
            keys[key] = None
    if draw.random() < 0.3:
        keys["added_tokens_decoder"] = decoder(draw, size)
    if draw.random() < 0.2:
        keys["additional_special_tokens"] = ["<|im_end|>"]
    if draw.random() < 0.2:
        keys["extra_special_tokens"] = draw.choice([["<extra>"], {"image_token": "<extra>"}])
    if draw.random() < 0.1:
        keys["audio_token"] = "<extra>"
    return keys


def drawn_files(draw, size):
    files = {"config.json": {"model_type": draw.choice(TYPES)}}
    if draw.random() < 0.9:
        files["tokenizer_config.json"] = config(draw, size)
    if draw.random() < 0.25:
        files["special_tokens_map.json"] = {
            "bos_token": draw.choice(["<s>", token(draw, "<s>", False)]),
            **draw.choice([{}, {"pad_token": "[PAD]"}, {"additional_special_tokens": ["<extra>"]}]),
        }
    if draw.random() < 0.1:
        files["added_tokens.json"] = {"<extra>": size + 3, "<|im_end|>": size + 4}
    return files


def for_kind(draw, base, files):
    """A class that is for the kind of model of the tokenizer, or none of its own."""
    keys = files.get("tokenizer_config.json", {})
    if base not in OTHERS:
        if keys.get("tokenizer_class") in ("T5Tokenizer", "BertTokenizerFast"):
            del keys["tokenizer_class"]
        return files
    files["config.json"] = {"model_type": draw.choice(["llama", "mistral", "phi3"])}
    keys["tokenizer_class"] = draw.choice([OTHERS[base], "PreTrainedTokenizerFast"]) or "TokenizersBackend"
    for key in ("do_lower_case", "strip_accents", "tokenize_chinese_chars"):
        if draw.random() < 0.3:
            keys[key] = draw.random() < 0.5
    files["tokenizer_config.json"] = keys
    return files


def encoded(folder):
    """The tokenizer of a folder and its ids, None when transformers refuses; its warnings are kept off the terminal."""
    from transformers import AutoTokenizer

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            return tokenizer, [tokenizer(text)["input_ids"] for text in TEXTS]
        except BaseException as error:  # panics of the Rust part are no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            return None


def asked(base, content, files):
    with tempfile.TemporaryDirectory() as folder:
        for name, value in {"tokenizer.json": content, **files}.items():
            pathlib.Path(folder, name).write_text(json.dumps(value), encoding="utf-8")
        made = encoded(folder)
        if made is None:
            return None
        tokenizer, ids = made
        case = {"tokenizer": base, "files": files, "ids": ids}
        return {**case, "bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id}


def main():
    import transformers

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    standard = pathlib.Path(__file__).parent / "golden" / "configs.json"
    to = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else standard
    wanted, draw = int(sys.argv[2]) if len(sys.argv) > 2 else 170, random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    files = golden.all_tokenizers()
    cases, refused = [], 0
    while len(cases) < wanted:
        base = draw.choice(BASES if draw.random() < 0.75 else list(OTHERS))
        case = asked(base, files[base], for_kind(draw, base, drawn_files(draw, len(files[base]["model"]["vocab"]))))
        cases += [case] if case else []
        refused += case is None
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    to.write_text(f'{{"texts":{json.dumps(TEXTS)},\n"cases":[\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{len(cases)} cases by transformers {transformers.__version__}, {refused} refused")


if __name__ == "__main__":
    main()
