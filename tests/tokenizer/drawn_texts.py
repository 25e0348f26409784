#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""4,000 drawn Unicode texts for every tokenizer of golden/tokenizers.json, beside the package `tokenizers`.

    drawn_texts.py write                        golden/drawn.json: what texts are made of, and a hash per tokenizer
    drawn_texts.py compare PROGRAM [FOLDER ..]  other texts, by test_tokenizer_drawn and by the package; FOLDER: tokenizer.json

test_tokenizer_drawn.c draws the same texts from the same lists (`Draw`, `text`), so that none of them has to be stored.
A hash covers the ids, those with special tokens, and the text that the ids decode to, of all texts in their order. For
the text that differs: `make_tokenizer_golden.py DIRECTORY 4000`, then `test_tokenizer_golden DIRECTORY`.
"""

import hashlib
import json
import pathlib
import struct
import subprocess
import sys
import unicodedata

HERE = pathlib.Path(__file__).parent
DRAWN = HERE / "golden" / "drawn.json"
COUNT = 4000
MASK = (1 << 64) - 1


def runs(first, last):
    """Runs of code points that Unicode 14 knows, or whatever version this Python has: kept in drawn.json."""
    rows = []
    for code in range(first, last):
        if unicodedata.category(chr(code)) in ("Cn", "Cs", "Co"):
            continue
        if rows and rows[-1][1] == code - 1:
            rows[-1][1] = code
        else:
            rows.append([code, code])
    return rows


def lists():
    import make_tokenizer_golden as golden

    words = [word for text in golden.PROSE for word in text.split()]
    words += "don't Stra\u00dfe na\u00efve \u041c\u043e\u0441\u043a\u0432\u0430 \u4e2d\u6587\u5b57 \ud55c\uad6d\uc5b4".split()
    spaces = [" ", " ", " ", "  ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2581", " \n  ", "\u200b", "\u0085"]
    special = ["<s>", "</s>", "<unk>", "<a>", "<b>", "<c>", "<d>", "<|endoftext|>", "it's", "we'LL", "'\u017f", "..."]
    special += ["e\u0301", "``", "''", "a\u0323\u0302", "\u00a9\u200d\U0001f642", "\u0915\u094d\u0937\u0301"]
    special += ["\u1100\u1161\u11a8", "\u1100\u1161\u0301"]
    blocks = [(0x20, 0x7F), (0xA0, 0x250), (0x250, 0x370), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xE00)]
    blocks += [(0xE00, 0x1200), (0x1100, 0x1200), (0x1E00, 0x2000), (0x2000, 0x2400), (0x2400, 0x2E00), (0x2E80, 0x3100)]
    blocks += [(0x3040, 0x3400), (0x4E00, 0x9FA6), (0xAC00, 0xD7A4), (0xF900, 0xFFF0), (0x1D400, 0x1D800), (0x1F300, 0x1F650)]
    return {
        "words": words,
        "spaces": spaces,
        "special": special,
        "signs": list("0123456789.,!?-_()"),
        "blocks": [runs(*block) for block in blocks] * 5 + [runs(1, 0x20000)],
    }


class Draw:
    """SplitMix64 (Steele, Lea, Flood 2014)."""

    def __init__(self, seed):
        self.state = seed

    def below(self, count):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return ((z ^ (z >> 31)) >> 33) % count

    def choose(self, items):
        return items[self.below(len(items))]


def character(draw, blocks):
    block = draw.choose(blocks)
    place = draw.below(sum(last - first + 1 for first, last in block))
    for first, last in block:
        if place <= last - first:
            return chr(first + place)
        place -= last - first + 1
    raise AssertionError


def part(draw, parts):
    kind = draw.below(100)
    if kind < 30:
        return draw.choose(parts["words"])
    if kind < 55:
        return draw.choose(parts["spaces"])
    if kind < 62:
        return draw.choose(parts["special"])
    if kind < 70:
        return "".join(draw.choose(parts["signs"]) for _ in range(1 + draw.below(5)))
    return "".join(character(draw, parts["blocks"]) for _ in range(1 + draw.below(3)))


def texts(parts, seed, count):
    draw = Draw(seed)
    return ["".join(part(draw, parts) for _ in range(draw.below(17))) for _ in range(count)]


def hash_of(tokenizer, drawn):
    whole = hashlib.sha256()
    for text in drawn:
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        for ids in (plain, tokenizer.encode(text).ids):
            whole.update(struct.pack(f"<{len(ids) + 1}i", *ids, -1))
        whole.update(tokenizer.decode(plain, skip_special_tokens=False).encode() + b"\0")
    return whole.hexdigest()


def constructed():
    import make_tokenizer_golden as golden
    from tokenizers import Tokenizer

    return {name: Tokenizer.from_str(json.dumps(content)) for name, content in golden.all_tokenizers().items()}


def write():
    parts = lists()
    drawn = texts(parts, 0, COUNT)
    hashes = {name: hash_of(tokenizer, drawn) for name, tokenizer in constructed().items()}
    DRAWN.write_text(json.dumps({**parts, "hashes": hashes}, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{len(hashes)} tokenizers, {sum(map(len, drawn))} characters")


def compare(program, folders, seed=1, count=500):
    from tokenizers import Tokenizer

    parts = json.loads(DRAWN.read_text(encoding="utf-8"))
    drawn = texts(parts, seed, count)
    expected = {name: hash_of(tokenizer, drawn) for name, tokenizer in constructed().items()}
    for folder in folders:
        expected[folder] = hash_of(Tokenizer.from_file(f"{folder}/tokenizer.json"), drawn)
    found = subprocess.run([program, str(seed), str(count), *folders], check=True, capture_output=True, text=True).stdout
    ours = dict(line.rsplit(" ", 1) for line in found.splitlines())
    wrong = sorted(name for name in expected.keys() | ours.keys() if expected.get(name) != ours.get(name))
    for name in wrong:
        print(f"{name}: other ids or texts than tokenizers")
    return len(wrong)


def start(usage):
    """Ends with the usage, or with 77 where the package is missing."""
    if len(sys.argv) < 2:
        sys.exit(usage)
    try:
        import tokenizers  # noqa: F401
    except ImportError:
        print("skipped: there is no Python package tokenizers")
        sys.exit(77)


def main():
    start(__doc__)
    if sys.argv[1] == "write":
        write()
    else:
        sys.exit(compare(sys.argv[2], sys.argv[3:]) > 0)


if __name__ == "__main__":
    main()
