#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Drawn token ids and stop strings: where a text ends and what is left of it, beside the package `tokenizers`.

    check_stops.py PROGRAM [COUNT [SEED]]     PROGRAM: test_stops; COUNT cases for each tokenizer of golden/tokenizers.json

The reference decodes all tokens so far after every token and looks for every stop string: no window, nothing kept. Ids
are those of drawn texts, among them characters that no token has (bytes), random ones, special tokens and ids without a
token; stop strings are cut out of the text at random places, so that they begin and end inside of tokens, or are
special tokens, parts of what is not yet a character, or absent.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

TOKENIZER = pathlib.Path(__file__).resolve().parent.parent / "tokenizer"
sys.path.insert(0, str(TOKENIZER))
import drawn_texts  # noqa: E402

LIMIT, EOS, STOP = 0, 1, 2
RARE = "€ßЖ中文字😀🂡𐎀ﷺ"


def draw_ids(rng, tokenizer, texts, size):
    ids = []
    for _ in range(rng.choice([1, 2, 3, 4, 16])):
        kind = rng.random()
        if kind < 0.5:
            ids += tokenizer.encode(rng.choice(texts), add_special_tokens=rng.random() < 0.3).ids
        elif kind < 0.75:
            text = "".join(rng.choice(RARE) for _ in range(rng.randint(1, 8)))
            ids += tokenizer.encode(text, add_special_tokens=False).ids
        elif kind < 0.9:
            ids += [rng.randrange(size) for _ in range(rng.randint(1, 6))]
        else:
            ids += [size + rng.randrange(3) for _ in range(rng.randint(1, 12))]
    return ids[:160] or [0]


def draw_stop(rng, text, special):
    kind = rng.random()
    if kind < 0.7 and text:
        at = rng.randrange(len(text)) if kind < 0.35 else max(0, len(text) - rng.randint(1, 40))
        return text[at : at + rng.choice([1, 2, 2, 3, 4, 6, 10])].replace("\0", "")
    if kind < 0.8 and special:
        return rng.choice(special)
    if kind < 0.85:
        return "\ufffd" * rng.randint(1, 2)
    return rng.choice(["\n\n", "Question:", "€€", "中文", "zzz", " ", "\n", "</s>"])


def expected(tokenizer, case):
    """Tokens, end and text by the definition."""
    ids, stops, eos = case["ids"], case["stops"], set(case["eos"])
    count, end = len(ids), LIMIT
    for i in range(1, len(ids) + 1):
        if ids[i - 1] in eos:
            count, end = i, EOS
            break
        text = tokenizer.decode(ids[:i], skip_special_tokens=False)
        found = [s for s, stop in enumerate(stops) if stop in text]
        if found:
            count, end = i, STOP + found[0]
            break
    text = tokenizer.decode(ids[:count], skip_special_tokens=True)
    for stop in stops:
        text = text.split(stop)[0]
    return count, end, text.replace("\0", "\ufffd")


def cases(constructed, parts, count, seed):

    texts = [text for text in drawn_texts.texts(parts, seed, 400) if text]
    for number, (name, tokenizer) in enumerate(sorted(constructed.items())):
        rng = random.Random(seed * 1000 + number)
        special = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
        size = tokenizer.get_vocab_size()
        for _ in range(count):
            ids = draw_ids(rng, tokenizer, texts, size)
            text = tokenizer.decode(ids, skip_special_tokens=False)
            stops = [draw_stop(rng, text, special) for _ in range(rng.randint(1, 3))]
            stops = [stop for stop in stops if stop]
            eos = [rng.choice(ids)] if rng.random() < 0.3 else []
            yield tokenizer, {"tokenizer": name, "ids": ids, "stops": stops, "eos": eos}


def main():
    drawn_texts.start(__doc__)
    given = [int(a) for a in sys.argv[2:]]
    count, seed = given[0] if given else 30, given[1] if given[1:] else 0
    parts = json.loads(drawn_texts.DRAWN.read_text(encoding="utf-8"))
    drawn = list(cases(drawn_texts.constructed(), parts, count, seed))
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(case) + "\n" for _, case in drawn)
        file.flush()
        made = subprocess.run([sys.argv[1], file.name], check=True, capture_output=True, text=True).stdout.splitlines()
    wrong, ends, split, late = 0, [0, 0, 0], 0, 0
    if len(made) != len(drawn):
        sys.exit(f"{len(made)} results for {len(drawn)} cases")
    for line, (tokenizer, case) in zip(made, drawn):
        tokens, end, text = line.split(" ")
        found = int(tokens), int(end), bytes.fromhex(text).decode()
        right = expected(tokenizer, case)
        ends[min(right[1], STOP)] += 1
        split += right[1] >= STOP and case["stops"][right[1] - STOP] not in [tokenizer.decode([i]) for i in case["ids"]]
        late += right[1] >= STOP and right[0] > 60  # where the program looks at the last tokens first
        if found != right:
            wrong += 1
            if wrong <= 20:
                print(f"{json.dumps(case)}: {found}, expected {right}")
    if min(*ends, split, late) < count:
        sys.exit(f"the cases do not vary: ends {ends}, {split} stop strings over several tokens, {late} late ones")
    if "WINNOW_VERBOSE" in os.environ:
        print(f"{len(drawn)} cases, ends {ends}, {split} stop strings over several tokens, {late} late ones, {wrong} differ")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
