#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Encoding beside the package `tokenizers`, on one thread: MB/s of a text in processor time, and whether the ids are as many.

    tests/bench/bench_tokenizers.py BENCH_TOKENIZERS TEXT FOLDER ...

FOLDER holds a tokenizer.json. The package gets the text as a whole too (one call of encode), after a first call that
fills its caches; the faster of two counts. The last column: time for ten times the text, over ten.
"""

import os
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"


def package(folder, text):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    count, best = len(tokenizer.encode(text, add_special_tokens=False).ids), float("inf")
    for _ in range(2):
        start = time.process_time()
        tokenizer.encode(text, add_special_tokens=False)
        best = min(best, time.process_time() - start)
    return count, best


def main():
    program, path, *folders = sys.argv[1:]
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read()
    size = len(text.encode()) / 1e6
    lines = subprocess.run([program, path, *folders], check=True, capture_output=True, text=True).stdout.splitlines()
    print(f"{'tokenizer':>24} {'winnow MB/s':>12} {'tokenizers':>11} {'ratio':>6} {'ids':>9} {'10x/10':>7}")
    for line in lines:
        folder, once, ten, speed, ids = line.rsplit(" ", 4)
        count, seconds = package(folder, text)
        same = "" if count == int(ids) else f" differs: {count}"
        name, rate = os.path.basename(folder.rstrip("/")), float(ten) / float(once) / 10
        print(f"{name:>24} {speed:>12} {size / seconds:11.2f} {seconds / float(once):6.1f} {ids:>9} {rate:7.2f}{same}")


if __name__ == "__main__":
    main()
