# SPDX-License-Identifier: Apache-2.0
"""Small tokenizers of the other models for make_tokenizer_golden.py: Unigram, WordPiece, WordLevel, and their parts."""

import base64
import random
import struct


def charsmap(rules):
    """The precompiled_charsmap of SentencePiece for rules {from: to}: a double array over the bytes, and the texts."""
    texts, places, tree = bytearray(), {}, {}
    for to in rules.values():
        if to not in places:
            places[to] = len(texts)
            texts += to.encode() + b"\0"
    for source, to in rules.items():
        node = tree
        for byte in source.encode():
            node = node.setdefault(byte, {})
        node[None] = places[to]
    units, waiting = {}, [(tree, 0, 0)]
    units[0] = None
    while waiting:
        node, place, byte = waiting.pop()
        labels = [0 if key is None else key for key in node]
        base = next(base for base in range(1, 1 << 20) if all(base ^ label not in units for label in labels))
        units[place] = (place ^ base) << 10 | (None in node) << 8 | byte
        for key, child in node.items():
            units[base ^ (key or 0)] = child | 1 << 31 if key is None else None
            if key is not None:
                waiting.append((child, base ^ key, key))
    size = max(units) + 1 | 255
    trie = struct.pack(f"<{size}I", *(units.get(place, 0) for place in range(size)))
    return base64.b64encode(struct.pack("<I", len(trie)) + trie + bytes(texts)).decode()


# Ligatures, spaces, what is dropped, clusters of two (composed as a whole), rules that begin others, ASCII.
RULES = {
    "\ufb01": "fi", "\u2122": "TM", "\u00bd": "1\u20442", "\u00a0": " ", "\u3000": " ", "\u200b": " ", "\u00ad": "",
    "\u200d": "j", "\t": " ", "\n": " ", "\r": " ", "\r\n": "\n", "e\u0301": "\u00e9", "a\u0323": "\u1ea1",
    "o\u0302": "o", "\u0301": "'", "Q": "", "\u212b": "\u00e5", "\u0958": "\u0915\u093c", "\u0600": "#", "\u00a9": "(c)",
    "\u1100": "g", "\u1161": "v", "\u0915": "k", "\u0937": "s", "\U0001f642": ":)", "\u0308": "", "a": "a", "z\u0308": "Z",
}  # fmt: skip
RULES |= {chr(0xFF01 + i): chr(0x21 + i) for i in range(94)}

BERT = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}


def metaspace(scheme, **more):
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": True, **more}


def scored(pieces, seed=1):
    """Tokens with scores, many of which are equal or sum up to equal ones."""
    draw = random.Random(seed)
    return [[piece, 0 if index < 3 else -1 - draw.randrange(40) / 4] for index, piece in enumerate(pieces)]


def unigram(pieces, **more):
    return {"type": "Unigram", "unk_id": 0, "vocab": scored(pieces), "byte_fallback": False, **more}


def unigram_tokenizers(make, plain, template):
    pieces = list(plain["vocab"])
    more = [*pieces, "ca", "at", "th", "he", "cats", "\u2581c", "at\u2581on", "xy", "zz", "fi", "aa", "ab", "\u00e9", "1", ":)"]
    whole = unigram(more)
    every = [f"<0x{byte:02X}>" for byte in range(256)]
    spaces = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
    bytes_ = {"type": "Sequence", "decoders": [spaces, {"type": "ByteFallback"}, {"type": "Fuse"}]}
    rules = {"type": "Precompiled", "precompiled_charsmap": charsmap(RULES)}

    def steps(*normalizers):
        return {"type": "Sequence", "normalizers": list(normalizers)}

    def replace(kind, pattern, content):
        return {"type": "Replace", "pattern": {kind: pattern}, "content": content}

    yield "unigram", make(whole, pre_tokenizer=metaspace("always"), decoder=metaspace("always"))
    yield "unigram_one_piece", make(whole, normalizer=replace("String", " ", "\u2581"))
    yield "unigram_bytes", make(
        unigram([*more, *every], byte_fallback=True), pre_tokenizer=metaspace("first"), decoder=bytes_
    )
    yield "unigram_some_bytes", make(unigram([*more, *every[0xC0:]], byte_fallback=True), decoder=bytes_)
    yield "unigram_twice", make(unigram([*more, "cat", "the", "e"]), pre_tokenizer=metaspace("never"))
    # Scores above zero: a run of unknown characters can be a token that no path takes.
    yield "unigram_positive", make({**whole, "vocab": [[text, score + 30] for text, score in whole["vocab"]]})
    yield "unigram_t5", make(
        whole,
        normalizer=rules,
        pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace("always")]},
        post_processor=template([], ["</s>"], {"</s>": 2}),
        decoder=metaspace("always"),
    )
    yield "unigram_xlm_roberta", make(
        whole,
        normalizer=steps(
            rules, {"type": "Strip", "strip_left": False, "strip_right": True}, replace("Regex", " {2,}", "\u2581")
        ),
        pre_tokenizer=metaspace("always"),
        post_processor=template(["<s>"], ["</s>"], {"<s>": 1, "</s>": 2}),
        decoder=metaspace("always"),
    )
    yield "unigram_albert", make(
        whole,
        normalizer=steps(
            replace("String", "``", '"'),
            {"type": "NFKD"},
            {"type": "StripAccents"},
            {"type": "Lowercase"},
            rules,
            replace("Regex", " {2,}", " "),
        ),
        pre_tokenizer=metaspace("always"),
        decoder=metaspace("always"),
    )
    yield "precompiled", make(plain, normalizer=rules)
    yield "nmt", make(plain, normalizer=steps({"type": "Nmt"}, rules))
    legacy = {key: value for key, value in whole.items() if key != "type"}
    yield "unigram_legacy", make(legacy, pre_tokenizer=metaspace("always"))


def word_piece(words, **more):
    parts = [word for word in words if len(word) < 4]
    listed = dict.fromkeys(["<unk>", "<s>", "</s>", *words, *("##" + part for part in parts)])
    vocab = {word: index for index, word in enumerate(listed)}
    given = {"unk_token": "<unk>", "continuing_subword_prefix": "##", "max_input_chars_per_word": 12, "vocab": vocab}
    return {"type": "WordPiece", **given, **more}


def word_tokenizers(make, plain, template):
    words = [piece.strip("\u2581 ") for piece in plain["vocab"]]
    words = [*dict.fromkeys(word for word in words if word), *"\u65e5\u672c.,!?'-()0123456789", "do", "not", "n", "t", "don"]
    model = word_piece(words)
    split = {"type": "BertPreTokenizer"}
    decoder = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    ends = template(["<s>"], ["</s>"], {"<s>": 1, "</s>": 2})

    yield "word_piece", make(model, normalizer=BERT, pre_tokenizer=split, post_processor=ends, decoder=decoder)
    yield "word_piece_cased", make(
        word_piece(words, continuing_subword_prefix="", max_input_chars_per_word=5),
        normalizer={**BERT, "lowercase": False},
        pre_tokenizer=split,
        decoder={**decoder, "prefix": "", "cleanup": False},
    )
    yield "word_piece_whole", make({**model, "max_input_chars_per_word": 1000}, decoder={"type": "BPEDecoder", "suffix": "t"})
    for name in ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase"):
        off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
        yield f"bert_{name}", make(plain, normalizer={"type": "BertNormalizer", **off, name: True})
    level = {"type": "WordLevel", "vocab": model["vocab"], "unk_token": "<unk>"}
    yield "word_level", make(level, pre_tokenizer={"type": "Whitespace"})
    legacy = {key: value for key, value in model.items() if key != "type"}
    yield "word_piece_legacy", make(legacy, pre_tokenizer=split, decoder=decoder)
