#!/usr/bin/env python3
"""Writes unicode_tables.inc, the tables behind NFC, NFD and lower-casing in unicode.c.

Usage: python3 make_unicode_tables.py > unicode_tables.inc

Everything comes from Python's unicodedata; the Unicode version it holds is named in the first line of the output.
The committed table is of Unicode 14, the version of PCRE2 10.40 to 10.42. Hangul syllables are left out: their rule is
arithmetic.
"""

import sys
import unicodedata

LAST = 0x10FFFF
HANGUL = range(0xAC00, 0xAC00 + 11172)
HANGUL_VOWELS_AND_TAILS = set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))


def code_points():
    return (code for code in range(LAST + 1) if not 0xD800 <= code <= 0xDFFF)


def canonical_pairs():
    """(code, first, second or 0) for every canonical decomposition of one level."""
    for code in code_points():
        text = unicodedata.decomposition(chr(code))
        if text and not text.startswith("<") and code not in HANGUL:
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


def lower_runs():
    """Runs (start, end, stride, difference) of single-character lower-case mappings; U+0130 is left to the C code."""
    runs = []
    for code in code_points():
        lower = chr(code).lower()
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
    classes = {code: unicodedata.combining(chr(code)) or None for code in code_points()}
    composing = sorted((pair[1], pair[2], index) for index, pair in enumerate(pairs) if composes(*pair))
    unsettled = {second for _, second, _ in composing} | HANGUL_VOWELS_AND_TAILS
    unsettled |= {code for code, value in classes.items() if value}
    unsettled |= {code for code, _, _ in pairs if unicodedata.normalize("NFC", chr(code)) != chr(code)}
    lower = lower_runs()
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
        "static const struct lower_run lower_runs[]",
        [f"{{0x{start:X}, 0x{end:X}, {stride}, {difference}}}" for start, end, stride, difference in lower],
    )


if __name__ == "__main__":
    main()
