#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes case_tables.inc, the tables behind lower-casing in characters.c.

Usage: python3 make_case_tables.py > case_tables.inc

Everything comes from str.lower of the Python that runs this; its Unicode version is named in the first line of the
output. The committed table is of Unicode 14. What surrounds a capital sigma decides which small sigma it becomes; the
two classes of that rule are read off str.lower itself, which skips the ignorable and then looks for a cased one.
"""

import sys
import unicodedata

SIGMA = "\u03a3"
FINAL = "\u03c2"


def code_points():
    return (code for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF)


def lower_runs():
    """Runs (start, end, stride, difference) of single-character mappings; U+0130 is left to the C code."""
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


def is_final(text):
    return text.lower()[1] == FINAL


def sigma_class(character):
    """1: skipped around a sigma; 2: cased and not skipped; None: neither."""
    before_nothing = is_final("A" + SIGMA + character)
    before_cased = is_final("A" + SIGMA + character + "A")
    if before_nothing and not before_cased:
        return 1
    return None if before_nothing else 2


def ranges(values):
    start = previous = None
    for code in range(0x110001):
        value = values.get(code)
        if value != previous:
            if previous is not None:
                yield start, code - 1, previous
            start, previous = code, value


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
    multiple = [code for code in code_points() if len(chr(code).lower()) > 1]
    if multiple != [0x130]:
        sys.exit(f"code points that become several characters: {multiple}; characters.c knows U+0130 only")
    print(f"/* Unicode {unicodedata.unidata_version}; written by make_case_tables.py, do not edit. */")
    print_table(
        "static const struct lower_run lower_runs[]",
        [f"{{0x{start:X}, 0x{end:X}, {stride}, {difference}}}" for start, end, stride, difference in lower_runs()],
    )
    classes = {code: sigma_class(chr(code)) for code in code_points()}
    print_table(
        "static const struct sigma_run sigma_runs[]",
        [f"{{0x{start:X}, 0x{end:X}, {value}}}" for start, end, value in ranges(classes)],
    )


if __name__ == "__main__":
    main()
