# SPDX-License-Identifier: Apache-2.0
"""Texts that are scored as they are: pairs of sentences, last words, whole pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from winnow.tasks.source import Doc, Source

Item = dict[str, Any]


def read_lambada(source: Source) -> Iterator[Doc]:
    """JSON lines with a text, or plain text with one passage a line."""
    for path in source.files("*.jsonl", "*.txt"):
        if path.suffix == ".txt":
            lines = source.text(path).split("\n")
            yield from ({"text": line.strip()} for line in lines if line.strip())
        else:
            yield from source.json_lines(path)


def lambada(doc: Doc) -> Item:
    """All but the last word; the last word is scored."""
    context, space, word = doc["text"].rpartition(" ")
    if not (space and context and word):
        raise ValueError("a passage must have at least two words")
    return {"context": context, "continuation": word}


def read_blimp(source: Source) -> Iterator[Doc]:
    """JSON lines: one phenomenon, or a folder of them."""
    for path in source.files("*.jsonl"):
        for number, document in enumerate(source.json_lines(path)):
            yield {"name": f"{document['UID']}/{number}", **document}


def blimp(doc: Doc) -> Item:
    """A grammatical sentence and one that is not."""
    texts = [doc["sentence_good"], doc["sentence_bad"]]
    return {"id": doc["name"], "group": doc["UID"], "texts": texts, "gold": 0}


def read_crows_pairs(source: Source) -> Iterator[Doc]:
    """crows_pairs_anonymized.csv."""
    for path in source.files("crows_pairs*.csv"):
        yield from source.table(path)


def crows_pairs(doc: Doc) -> Item:
    """The sentence with more of a stereotype first."""
    return {"group": doc["bias_type"], "texts": [doc["sent_more"], doc["sent_less"]]}


# ---- WikiText ----


def read_wikitext(source: Source) -> Iterator[Doc]:
    """JSON lines with a page, or the text of a split, which is cut at its titles."""
    for path in source.files("*.pages.jsonl", "wiki.test.*"):
        if path.suffix == ".jsonl":
            yield from source.json_lines(path)
        else:
            yield from ({"page": page} for page in pages(source.text(path)))


def pages(text: str) -> Iterator[str]:
    """Cut at the titles (``= Name =``, in line with no deeper heading); blank lines stay."""
    lines: list[str] = []
    for line in text.removesuffix("\n").split("\n"):
        title = line.replace("= =", "==").strip()
        if title.startswith("= ") and title.endswith(" ="):
            if any(kept.strip() for kept in lines):
                yield "\n".join(lines)
            lines = []
        lines.append(line or " ")
    if any(kept.strip() for kept in lines):
        yield "\n".join(lines)


def wikitext(doc: Doc) -> Item:
    """A page without the marks of the tokenizer; words and bytes are counted with them."""
    page = doc["page"]
    words, size = len(re.split(r"\s+", page)), len(page.encode("utf-8"))
    return {"text": detokenize(page), "words": words, "bytes": size}


_NUMBERS = ((" @-@ ", "-"), (" @,@ ", ","), (" @.@ ", "."))
_MARKS = tuple((f" {mark} ", f"{mark} ") for mark in ":;.!?,")
_REST = (
    *(("= = = =", "===="), ("= = =", "==="), ("= =", "==")),
    *((" \N{DEGREE SIGN} ", "\N{DEGREE SIGN}"), (" \n", "\n"), ("\n ", "\n")),
    *((" N ", " 1 "), (" 's", "'s")),
)


def detokenize(text: str) -> str:
    """WikiText as it was written, nearly: by the replacements of lm-evaluation-harness."""
    text = text.replace("s '", "s'")
    for marked, plain in (*_NUMBERS, *_MARKS):
        text = text.replace(marked, plain)
    for begin, end in ("()", "[]", "{}", '""', "''"):
        inside = rf"{re.escape(begin)}\s*([^{re.escape(end)}]*?)\s*{re.escape(end)}"
        text = re.sub(inside, lambda found, b=begin, e=end: b + found.group(1) + e, text)
    for marked, plain in _REST:
        text = text.replace(marked, plain)
    return text
