#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/tokenizer/golden: small tokenizers, one per component, and what the reference engine makes of them.

Usage: python3 make_tokenizer_golden.py [DIRECTORY [COUNT [FILE ...]]]   (needs the Python package `tokenizers`)

With a COUNT, so many drawn texts take the place of the ones below, and the files (tokenizer.json) are encoded too:
`test_tokenizer_golden DIRECTORY` then compares them.

golden/tokenizers.json holds "texts" and the files under "tokenizers"; where a model's vocab or merges is a string, it
is that entry of "parts", which several share. golden/encodings.jsonl holds one object per tokenizer and text (an index):
ids, special (ids with special tokens, where they differ) and decoded (where it differs from the text and there is a
decoder).
"""

import copy
import json
import pathlib
import random
import sys
import unicodedata

import golden_models
import tokenizers
from tokenizers import Tokenizer, models, trainers

PROSE = [
    "the cat sat on the mat, the dog ate 12 of the 345 figs in 2024.",
    "a b c  d   e the  theme; it's 3.14 and 100,000 or 7 7 77 (at the mat)",
    "caf\u00e9 na\u00efve r\u00e9sum\u00e9 \u2581the \u2581cat the cat's hat\nthe end\n\n",
    "MAT Cat THE End 12ab ab12 a1b2 zzz zzz zzzz zzz zzz",
]
TEXTS = [
    "",
    " ",
    "the cat",
    " the  cat   sat ",
    "zzz zzzzz 345the2024 7\u00bd\u00b2 \u0663\u2167",
    "it's IT'S it'\u017f we'LL \u2019s",
    "\n\n the\r\nend \t\n x",
    "cafe\u0301 caf\u00e9 \u1100\u1161\u11a8 \uac01 \u0344 a\u0323\u0307 a\u0307\u0323 \u212b\u2126 \u0958 o\u0302\u0301",
    "\u2581the\u2581\u2581cat \u2581",
    "<a>the<b> the<b>mat <c>  <c><d>the<d>,<d>x <d>",
    "THE <A> <b> Mat\u0130\u03a3",
    "  <s>the <s> the</s>  ",
    "\u180e\u0085\u00a0\u3000the\u200bcat\u2028",
    "\u65e5\u672c\u8a9e\u304b \U0001f642\U0001f468\u200d\U0001f469 \u00df\ufb01",
    "\x01the\x7f",
]
# Longer than the pieces that the scanning loop of the C code takes; for a few tokenizers only.
LONG = "the cat sat on the the mat thethethethetheme aaaa 12the cat\u00e9 and the end of the theme in 2024 at zzzzz zzzzzzz"
LONG_FOR = ("null", "fuse_unk", "llama", "some_bytes", "metaspace_first", "pairs", "legacy_merges")

QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BLOOM = r" ?[^(\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"
POSIX = "alpha alnum digit lower upper punct space blank cntrl word xdigit ascii".split()
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def sequence(kind, *parts):
    names = {"N": "normalizers", "P": "pretokenizers", "D": "decoders", "O": "processors"}
    return {"type": "Sequence", names[kind]: list(parts)}


def split(pattern, behavior, invert=False):
    kind = "String" if pattern == " " else "Regex"
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def replace(kind, pattern, content):
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def metaspace(scheme, splits):
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": splits}


def added(number, content, **flags):
    token = {"id": number, "content": content, "single_word": False, "lstrip": False, "rstrip": False}
    return {**token, "normalized": False, "special": False, **flags}


def template(before, behind, ids):
    def special(name):
        return {"SpecialToken": {"id": name, "type_id": 0}}

    single = [*map(special, before), {"Sequence": {"id": "A", "type_id": 0}}, *map(special, behind)]
    tokens = {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in [*before, *behind]}
    pair = [*single, {"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}


def trained(texts, size, alphabet=()):
    """vocab and merges of a BPE without pre-tokenizer, so that merges cross every boundary the components draw."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=list(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return json.loads(tokenizer.to_str())["model"]


def byte_alphabet():
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in own]
    table = {byte: chr(byte) for byte in own}
    return table | {byte: chr(256 + index) for index, byte in enumerate(others)}


def byte_model():
    table = byte_alphabet()
    prose = ["".join(table[byte] for byte in text.encode()) for text in PROSE]
    return trained(prose, 340, sorted(table.values()))


def special_tokens():
    return [
        added(0, "<unk>", special=True),
        added(1, "<s>", special=True),
        added(2, "</s>", special=True),
    ]


def file(model, **parts):
    empty = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": special_tokens()}
    empty |= {"normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None}
    return {**empty, **parts, "model": model}


def with_bytes(model, absent=()):
    """The model with <0x..> tokens for all bytes but the absent ones."""
    model = copy.deepcopy(model)
    for byte in range(256):
        if byte not in absent:
            model["vocab"][f"<0x{byte:02X}>"] = len(model["vocab"])
    model["byte_fallback"] = True
    return model


def text_tokenizers(plain):
    """Tokenizers over characters."""
    size = len(plain["vocab"])
    fuse = {"type": "Fuse"}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    spaces = replace("String", "\u2581", " ")
    ids = {"<s>": 1, "</s>": 2}
    yield "null", file(plain)
    yield "fuse_unk", file({**plain, "fuse_unk": True}, decoder=fuse)
    yield "metaspace_always", file(plain, pre_tokenizer=metaspace("always", True), decoder=metaspace("always", True))
    yield "metaspace_first", file(plain, pre_tokenizer=metaspace("first", False), decoder=metaspace("first", True))
    yield "metaspace_never", file(plain, pre_tokenizer=metaspace("never", True), decoder=metaspace("never", True))
    old = {"type": "Metaspace", "replacement": "\u2581", "add_prefix_space": True}
    yield "metaspace_old", file(plain, pre_tokenizer=old, decoder=old)
    for individual in (False, True):
        digits = {"type": "Digits", "individual_digits": individual}
        yield f"digits_{individual}".lower(), file(plain, pre_tokenizer=digits)
    for behavior in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        yield f"split_{behavior}".lower(), file(plain, pre_tokenizer=split(" ", behavior))
        if behavior not in ("Isolated", "Contiguous"):
            inverted = split(r"\w+|[\s']", behavior, True)
            yield f"split_{behavior}_inverted".lower(), file(plain, pre_tokenizer=inverted)
    yield "split_empty_match", file(plain, pre_tokenizer=split(r"(?=t)|\d*", "Isolated"))
    for name in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer", "Punctuation"):
        yield name.lower(), file(plain, pre_tokenizer={"type": name})
    yield "punctuation_next", file(plain, pre_tokenizer={"type": "Punctuation", "behavior": "MergedWithNext"})
    yield "delimiter", file(plain, pre_tokenizer={"type": "CharDelimiterSplit", "delimiter": "e"})
    yield "fixed_length", file(plain, pre_tokenizer={"type": "FixedLength", "length": 3})
    for name in POSIX:
        yield f"posix_{name}", file(plain, pre_tokenizer=split(f"[[:{name}:]]+", "Isolated"))
    yield "bloom", file(plain, pre_tokenizer=split(BLOOM, "Isolated"))
    yield "not_space", file(plain, pre_tokenizer=split(r"[\S\t]+|[^\S\n]", "MergedWithNext"))
    ends = {"sep": ["</s>", 2], "cls": ["<s>", 1]}
    yield "bert", file(plain, post_processor={"type": "BertProcessing", **ends})
    roberta = {"type": "RobertaProcessing", **ends, "trim_offsets": True, "add_prefix_space": False}
    yield "roberta", file(plain, post_processor=roberta)
    yield "sequence", file(
        plain,
        pre_tokenizer=sequence("P", split(r"\s", "MergedWithNext"), {"type": "Digits", "individual_digits": True}),
    )
    for name in ("NFC", "NFD", "NFKC", "NFKD", "StripAccents", "Lowercase"):
        yield name.lower(), file(
            {**plain, "vocab": plain["vocab"] | {c: size + i for i, c in enumerate("\u0301\u0323\u0307\u212b\uac01\u1100")}},
            normalizer={"type": name},
        )
    yield "normalizers", file(
        plain,
        normalizer=sequence(
            "N",
            {"type": "Strip", "strip_left": True, "strip_right": False},
            replace("Regex", r"\s{2,}", " "),
            {"type": "Prepend", "prepend": "\u2581"},
            replace("String", " ", "\u2581"),
        ),
        decoder=sequence("D", spaces, {**strip, "start": 0, "stop": 1}, fuse),
    )
    yield "llama", file(
        {**with_bytes(plain), "fuse_unk": True},
        normalizer=sequence("N", {"type": "Prepend", "prepend": "\u2581"}, replace("String", " ", "\u2581")),
        post_processor=template(["<s>"], [], ids),
        decoder=sequence("D", spaces, {"type": "ByteFallback"}, fuse, strip),
    )
    yield "some_bytes", file(with_bytes(plain, range(0xE0, 0xF0)), decoder={"type": "ByteFallback"})
    yield "added", file(
        plain,
        normalizer={"type": "Lowercase"},
        added_tokens=[
            *special_tokens(),
            added(size, "<a>", normalized=True),
            added(size + 1, "<b>", lstrip=True, rstrip=True),
            added(size + 2, "  <c>", rstrip=True),
            added(size + 3, "<d>", single_word=True),
            added(size + 4, "the", single_word=True, normalized=True, lstrip=True),
            added(size + 5, "cat sat"),
            added(plain["vocab"]["cat"], "cat", special=True),
        ],
        post_processor=template(["</s>", "<s>"], ["</s>"], ids),
    )
    # Ids of the file that are taken or leave a gap: new tokens get the next free one.
    odd = [added(size + 7, "<a>"), added(5, "<b>", special=True), added(size + 1, "<c>")]
    yield "added_ids", file(plain, added_tokens=[*special_tokens(), *odd])
    yield "pairs", file({**plain, "merges": [*plain["merges"], plain["merges"][0]]})
    legacy = [" ".join(pair) for pair in plain["merges"] if " " not in "".join(pair)]
    yield "legacy_merges", file({**plain, "merges": ["#version: 0.2", *legacy]})


def byte_tokenizers(model):
    """Tokenizers over the byte alphabet."""
    decoder = {**BYTE_LEVEL, "add_prefix_space": True}
    ids = {"<s>": 1, "</s>": 2}
    nfc = {"type": "NFC"}

    def patterns(*names):
        return sequence("P", *(split(name, "Isolated") for name in names), BYTE_LEVEL)

    prefixed = {**BYTE_LEVEL, "add_prefix_space": True, "use_regex": True}
    own = {"type": "ByteLevel"}
    yield "bytes_first", file(model, normalizer=sequence("N", {"type": "NFKC"}, own), pre_tokenizer=split(r"\s", "Isolated"))
    yield "byte_level", file(model, pre_tokenizer=prefixed, post_processor=prefixed, decoder=decoder)
    yield "qwen", file(model, normalizer=nfc, pre_tokenizer=patterns(QWEN), decoder=decoder)
    yield "llama3", file(
        {**model, "ignore_merges": True, "merges": model["merges"][:20]},
        pre_tokenizer=patterns(LLAMA3),
        post_processor=sequence("O", decoder, template(["<s>"], [], ids)),
        decoder=decoder,
    )
    yield "o200k", file(model, pre_tokenizer=patterns(O200K), decoder=decoder)
    chinese = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
    yield "deepseek", file(model, pre_tokenizer=patterns(r"\p{N}{1,3}", chinese, DEEPSEEK), decoder=decoder)


def shared_parts(files):
    """Moves vocab and merges that are equal in several files to one place."""
    parts = {}
    for content in files.values():
        for key in ("vocab", "merges"):
            if key not in content["model"]:
                continue
            text = json.dumps(content["model"][key])
            name = parts.setdefault(text, f"{key} {len(parts)}")
            content["model"] = {**content["model"], key: name}
    return {name: json.loads(text) for text, name in parts.items()}


def assigned(first, last):
    return [chr(code) for code in range(first, last) if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co")]


def drawn_texts(count, seed=0):
    """Texts of words, white space, special tokens and characters of many scripts."""
    draw = random.Random(seed)
    words = [word for text in PROSE for word in text.split()]
    spaces = [" ", " ", " ", "  ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2581", " \n  ", "\u200b", "\u0085"]
    special = ["<s>", "</s>", "<unk>", "<a>", "<b>", "<c>", "<d>", "<|endoftext|>", "it's", "we'LL", "'\u017f", "..."]
    blocks = [(0x20, 0x7F), (0xA0, 0x250), (0x250, 0x370), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xE00)]
    blocks += [(0xE00, 0x1200), (0x1100, 0x1200), (0x1E00, 0x2000), (0x2000, 0x2400), (0x2400, 0x2E00), (0x2E80, 0x3100)]
    blocks += [(0x3040, 0x3400), (0x4E00, 0x9FA6), (0xAC00, 0xD7A4), (0xF900, 0xFFF0), (0x1D400, 0x1D800), (0x1F300, 0x1F650)]
    blocks = [assigned(*block) for block in blocks]
    whole = assigned(1, 0x20000)

    def part():
        kind = draw.random()
        if kind < 0.3:
            return draw.choice(words)
        if kind < 0.55:
            return draw.choice(spaces)
        if kind < 0.6:
            return draw.choice(special)
        if kind < 0.7:
            return "".join(draw.choice("0123456789.,!?-_()") for _ in range(draw.randint(1, 5)))
        if kind < 0.95:
            return "".join(draw.choice(draw.choice(blocks)) for _ in range(draw.randint(1, 3)))
        return draw.choice(whole)

    return ["".join(part() for _ in range(draw.randint(0, 16))) for _ in range(count)]


def encoded(name, tokenizer, texts, sample, decodes):
    ids = tokenizer.encode(sample, add_special_tokens=False).ids
    special = tokenizer.encode(sample).ids
    decoded = tokenizer.decode(ids, skip_special_tokens=False)
    row = {"tokenizer": name, "text": texts[sample], "ids": ids}
    if special != ids:
        row["special"] = special
    if decodes and decoded != sample:
        row["decoded"] = decoded
    return json.dumps(row, separators=(",", ":"))


def write(root, texts, files, samples_of):
    rows, places = [], {text: index for index, text in enumerate(texts)}
    for name, content in files.items():
        tokenizer = Tokenizer.from_str(json.dumps(content))
        decodes = content["decoder"] is not None or name == "null"
        rows += [encoded(name, tokenizer, places, sample, decodes) for sample in samples_of(name)]
    whole = {"texts": texts, "parts": shared_parts(files), "tokenizers": files}
    root.mkdir(parents=True, exist_ok=True)
    (root / "tokenizers.json").write_text(json.dumps(whole, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    (root / "encodings.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    print(f"{len(rows)} rows by tokenizers {tokenizers.__version__}")


def all_tokenizers():
    plain = trained(PROSE, 95)
    return dict(
        [
            *text_tokenizers(plain),
            *byte_tokenizers(byte_model()),
            *golden_models.unigram_tokenizers(file, plain, template),
            *golden_models.word_tokenizers(file, plain, template),
        ]
    )


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "golden")
    files = all_tokenizers()
    if len(sys.argv) < 3:
        write(root, [*TEXTS, LONG], files, lambda name: [*TEXTS, LONG] if name in LONG_FOR else TEXTS)
        return
    for path in sys.argv[3:]:
        files[path] = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    texts = list(dict.fromkeys(drawn_texts(int(sys.argv[2]))))
    write(root, texts, files, lambda name: texts)


if __name__ == "__main__":
    main()
