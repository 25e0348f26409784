#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes reference_tables.inc and reference_classes.inc: what the package `tokenizers` (0.23) holds of every code
point, found by asking it.

Usage: python3 make_reference_tables.py

Its parts go by Unicode tables of different ages, which no one version of unicodedata has: extended grapheme clusters
(Precompiled rewrites short ones as a whole), what BertNormalizer drops and which marks it strips, lower case,
punctuation and numbers.
"""

import base64
import contextlib
import json
import pathlib
import struct

import tokenizers
from make_unicode_tables import code_points, lower_runs, print_table
from tokenizers import normalizers, pre_tokenizers

ACUTE, JOINER, VIRAMA, KA, SSA = "\u0301", "\u200d", "\u094d", "\u0915", "\u0937"
CODES = [code for code in code_points() if code]


def rewriting(firsts):
    """A Precompiled normalizer that makes P of every part of a text that begins with one of these bytes."""
    units = [0] * 1024
    units[0] = 256 << 10
    for first in firsts:
        units[256 ^ first] = 768 << 10 | 1 << 8 | first
        units[512 ^ first] = 1 << 31
    trie = struct.pack("<1024I", *units)
    charsmap = struct.pack("<I", len(trie)) + trie + b"P\0"
    step = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()}
    model = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    return tokenizers.Tokenizer.from_str(json.dumps({"version": "1.0", "normalizer": step, "model": model})).normalizer


def classes():
    """The part of each code point in clusters of less than six bytes, and in the extent of longer ones."""
    any_part, letter = rewriting(range(1, 256)), rewriting(b"a")

    def parts(*text):
        return len(any_part.normalize_str("".join(text)))

    table = {}
    for code in CODES:
        c, width = chr(code), len(chr(code).encode())
        if letter.normalize_str("a" + c) == "P":
            if parts(KA, c, SSA, ACUTE) == 4:
                table[code] = "TOK_LINKER"
            else:
                table[code] = "TOK_INNER" if parts(KA, c, VIRAMA, SSA, ACUTE) == 5 else "TOK_EXTEND"
        elif parts(c, "a") == 1:
            table[code] = "TOK_LEADS_ON"
        elif width < 4 and parts(c, ACUTE) == 2:
            table[code] = "TOK_CONTROL"
        elif parts("\u00a9", JOINER, c) == 3:
            table[code] = "TOK_PICTURE"
        elif width == 3 and parts(c, VIRAMA, SSA, ACUTE) == 4:
            table[code] = "TOK_CONSONANT"
    return table


def runs(values):
    """Runs (start, end, value) of neighbouring code points of one value."""
    rows = []
    for code, value in sorted(values.items()):
        if rows and rows[-1][1] == code - 1 and rows[-1][2] == value:
            rows[-1][1] = code
        else:
            rows.append([code, code, value])
    return rows


def bert(**on):
    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    return normalizers.BertNormalizer(**{**off, **on})


def between_letters(step):
    return dict.fromkeys((code for code in CODES if step.normalize_str(f"a{chr(code)}b") == "ab"), 1)


def cut_out(step):
    return dict.fromkeys((code for code in CODES if len(step.pre_tokenize_str(f"a{chr(code)}b")) == 3), 1)


def print_runs(name, values):
    print_table(f"static const struct class_run {name}[]", [f"{{0x{a:X}, 0x{b:X}, {v}}}" for a, b, v in runs(values)])


def print_class(name, values):
    """The inside of a character class as a macro."""
    parts = [f"\\\\x{{{a:x}}}-\\\\x{{{b:x}}}" if a < b else f"\\\\x{{{a:x}}}" for a, b, _ in runs(values)]
    lines = [""]
    for part in parts:
        if len(lines[-1]) + len(part) > 100:
            lines.append("")
        lines[-1] += part
    print(f"\n#define {name} \\")
    print(" \\\n".join(f'    "{line}"' for line in lines))


def write_classes():
    print_class("PUNCTUATION", cut_out(pre_tokenizers.Punctuation()))
    print_class("NUMBERS", cut_out(pre_tokenizers.Digits()))


def write_tables():
    print_runs("cluster_classes", classes())
    print_runs("dropped_runs", between_letters(bert(clean_text=True)))
    print_runs("nonspacing_runs", between_letters(bert(strip_accents=True)))
    rows = lower_runs(normalizers.Lowercase().normalize_str)
    print_table(
        "static const struct lower_run lower_runs[]",
        [f"{{0x{start:X}, 0x{end:X}, {stride}, {difference}}}" for start, end, stride, difference in rows],
    )


def main():
    for name, write in (("classes", write_classes), ("tables", write_tables)):
        path = pathlib.Path(__file__).parent / f"reference_{name}.inc"
        with path.open("w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
            print(f"/* tokenizers {tokenizers.__version__}; written by make_reference_tables.py, do not edit. */")
            write()


if __name__ == "__main__":
    main()
