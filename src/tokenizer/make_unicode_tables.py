#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes unicode_tables.inc, the tables behind the normalization forms and marks in unicode.c.

Usage: python3 make_unicode_tables.py > unicode_tables.inc

Everything comes from Python's unicodedata; the Unicode version it holds is named in the first line of the output.
The committed table is of Unicode 14, the version of PCRE2 10.40 to 10.42. Hangul syllables are left out: their rule is
arithmetic.
"""

import sys
import unicodedata

LAST = 0x10FFFF
# The package `tokenizers` (0.23) normalizes by Unicode 9: without these classes, decompositions and marks of later
# versions (found by asking it for every code point), and with two marks that are none now.
NEWER_CLASSES = (
    "07FD 0898-089F 08CA-08D3 09FE 0C3C 0D3B-0D3C 0EBA 1715 1ABF-1ACE 1DF6-1DFA A82C 10D24-10D27 "
    "10EAB-10EAC 10F46-10F50 10F82-10F85 11070 1133B 1145E 11839-1183A 1193D-1193E 11943 119E0 11A34 "
    "11A47 11A99 11D42 11D44-11D45 11D97 16FF0-16FF1 1E130-1E136 1E2AE 1E2EC-1E2EF "
)
NEWER_DECOMPOSITIONS = (
    "32FF A7F2-A7F4 AB69 10781-10785 10787-107B0 107B2-107BA 11938 1F16C 1FBF0-1FBF9 "
)
NEWER_MARKS = (
    "07FD 0898-089F 08CA-08D3 09FE 0AFA-0AFF 0B55 0C04 0C3C 0D00 0D3B-0D3C 0D81 0EBA 1715 180F 1ABF-1ACE "
    "1CF7 1DF6-1DFA A82C A8FF 10D24-10D27 10EAB-10EAC 10F46-10F50 10F82-10F85 11070 11073-11074 110C2 "
    "11145-11146 111C9 111CE-111CF 1133B 1145E 1182C-1183A 11930-11935 11937-11938 1193B-1193E 11940 "
    "11942-11943 119D1-119D7 119DA-119E0 119E4 11A01-11A0A 11A33-11A39 11A3B-11A3E 11A47 11A51-11A5B "
    "11A8A-11A99 11D31-11D36 11D3A 11D3C-11D3D 11D3F-11D45 11D47 11D8A-11D8E 11D90-11D91 11D93-11D97 "
    "11EF3-11EF6 16F4F 16F7F-16F87 16FE4 16FF0-16FF1 1CF00-1CF2D 1CF30-1CF46 1E130-1E136 1E2AE "
    "1E2EC-1E2EF "
)
FORMER_MARKS = (0x1CF2, 0x1CF3)
HANGUL = range(0xAC00, 0xAC00 + 11172)
HANGUL_VOWELS_AND_TAILS = set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))


def code_points():
    return (code for code in range(LAST + 1) if not 0xD800 <= code <= 0xDFFF)


def listed(runs):
    codes = set()
    for run in runs.split():
        first, _, last = run.partition("-")
        codes |= set(range(int(first, 16), int(last or first, 16) + 1))
    return codes


def canonical_pairs():
    """(code, first, second or 0) for every canonical decomposition of one level."""
    newer = listed(NEWER_DECOMPOSITIONS)
    for code in code_points():
        text = unicodedata.decomposition(chr(code))
        if text and not text.startswith("<") and code not in HANGUL and code not in newer:
            parts = [int(part, 16) for part in text.split()]
            yield code, parts[0], parts[1] if len(parts) == 2 else 0


def composes(code, first, second):
    return second != 0 and unicodedata.normalize("NFC", chr(first) + chr(second)) == chr(code)


def ranges(values):
    """Runs (start, end, value) of neighbouring code points that share a value; None has no run."""
    start = previous = None
    for code in range(LAST + 2):
        value = values.get(code)
        if value != previous:
            if previous is not None:
                yield start, code - 1, previous
            start, previous = code, value


def compatibility():
    """(code, its full compatibility decomposition) where that is more than the canonical one."""
    newer = listed(NEWER_DECOMPOSITIONS)
    for code in code_points():
        text = unicodedata.normalize("NFKD", chr(code))
        if code not in HANGUL and code not in newer and text != unicodedata.normalize("NFD", chr(code)):
            yield code, [ord(character) for character in text]


def marks():
    newer = listed(NEWER_MARKS)
    now = {code for code in code_points() if unicodedata.category(chr(code)).startswith("M")}
    return dict.fromkeys((now - newer) | set(FORMER_MARKS), 1)


def lower_runs(lower_case):
    """Runs (start, end, stride, difference) of single-character lower-case mappings; U+0130 is left to the C code."""
    runs = []
    for code in code_points():
        lower = lower_case(chr(code))
        if len(lower) != 1 or ord(lower) == code:
            continue
        difference = ord(lower) - code
        if runs and runs[-1][3] == difference:
            start, end, stride, _ = runs[-1]
            step = code - end
            if step in (1, 2) and (start == end or step == stride):
                runs[-1] = (start, code, step, difference)
                continue
        runs.append((code, code, 1, difference))
    return runs


def print_table(declaration, rows):
    print(f"\n{declaration} = {{")
    line = "   "
    for row in rows:
        if len(line) + len(row) + 2 > 118:
            print(line)
            line = "   "
        line += f" {row},"
    print(line)
    print("};")


def main():
    pairs = list(canonical_pairs())
    newer = listed(NEWER_CLASSES)
    classes = {code: unicodedata.combining(chr(code)) if code not in newer else None for code in code_points()}
    classes = {code: value or None for code, value in classes.items()}
    composing = sorted((pair[1], pair[2], index) for index, pair in enumerate(pairs) if composes(*pair))
    unsettled = {second for _, second, _ in composing} | HANGUL_VOWELS_AND_TAILS
    unsettled |= {code for code, value in classes.items() if value}
    unsettled |= {code for code, _, _ in pairs if unicodedata.normalize("NFC", chr(code)) != chr(code)}
    if min(unsettled) < 0x300:
        sys.exit("a code point below U+0300 would need work under NFC: the quick check no longer holds")

    print(f"/* Unicode {unicodedata.unidata_version}; written by make_unicode_tables.py, do not edit. */")
    print_table(
        "static const struct canonical_pair canonical_pairs[]",
        [f"{{0x{code:X}, 0x{first:X}, 0x{second:X}}}" for code, first, second in pairs],
    )
    print_table("static const uint16_t composing_pairs[]", [str(index) for _, _, index in composing])
    print_table(
        "static const struct class_run combining_classes[]",
        [f"{{0x{start:X}, 0x{end:X}, {value}}}" for start, end, value in ranges(classes)],
    )
    print_table(
        "static const struct class_run composition_unsettled[]",
        [f"{{0x{start:X}, 0x{end:X}, 1}}" for start, end, _ in ranges(dict.fromkeys(unsettled, 1))],
    )
    print_table(
        "static const struct class_run mark_runs[]",
        [f"{{0x{start:X}, 0x{end:X}, 1}}" for start, end, _ in ranges(marks())],
    )
    pool, compatible = [], []
    for code, parts in compatibility():
        compatible.append(f"{{0x{code:X}, {len(pool)}, {len(parts)}}}")
        pool += parts
    print_table("static const struct compatible compatible[]", compatible)
    print_table("static const uint32_t compatible_codes[]", [f"0x{code:X}" for code in pool])


if __name__ == "__main__":
    main()
