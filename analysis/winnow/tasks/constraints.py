# SPDX-License-Identifier: Apache-2.0
"""Instructions whose keeping a program can check: IFEval, and the rules of FollowBench."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from winnow.tasks.source import Doc, Source

Item = dict[str, Any]

# ---- IFEval ----

# What an argument is called in the authors' file, and here. All are optional there.
_NUMBERS = (
    *("num_words", "num_sentences", "num_paragraphs", "num_bullets", "num_highlights"),
    *("num_sections", "num_placeholders", "frequency", "let_frequency", "capital_frequency"),
)
_RELATIONS = ("relation", "let_relation", "capital_relation")
_TEXTS = (
    *("keywords", "forbidden_words", "keyword", "letter", "first_word", "section_spliter"),
    *("postscript_marker", "prompt_to_repeat", "end_phrase", "language"),
)


def read_ifeval(source: Source) -> Iterator[Doc]:
    """input_data.jsonl of the authors, or the data hub's."""
    for path in source.files("*.jsonl", "*.parquet", "*/*.parquet"):
        yield from source.records(path)


def ifeval(doc: Doc) -> Item:
    """An instruction with one to three constraints."""
    pairs = zip(doc["instruction_id_list"], doc["kwargs"])
    checks = [{"instruction": _instruction(name, given or {})} for name, given in pairs]
    if not checks:
        raise ValueError("no instructions")
    return {"id": doc["key"], "prompt": doc["prompt"], "checks": checks}


def _instruction(name: str, given: dict[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in given.items() if value}  # the hub fills up with null
    instruction: dict[str, Any] = {"id": name}
    for key, value in given.items():
        if key in _NUMBERS:
            instruction["number"] = int(value)
        elif key in _RELATIONS:
            instruction["relation"] = value
        elif key == "nth_paragraph":
            instruction["nth"] = int(value)
        elif key in _TEXTS:
            instruction["texts"] = [value] if isinstance(value, str) else list(value)
        else:
            raise ValueError(f"{name} has an unknown argument {key!r}")
    if "texts" in instruction:
        instruction["texts"] = [text.strip() for text in instruction["texts"]]
    return instruction


# ---- FollowBench ----


def read_followbench(source: Source) -> Iterator[Doc]:
    """The folder with content_constraints.json ...: instructions that a rule judges.

    Level 0 is the instruction without constraints. Those that the authors have a model judge are
    left out.
    """
    for path in source.files("*_constraints.json"):
        kind = path.name.removesuffix("_constraints.json")
        for row in source.json_list(path):
            if row["level"] > 0 and rules({**row, "kind": kind}) is not None:
                yield {**row, "kind": kind}


def followbench(doc: Doc) -> Item:
    """An instruction with as many constraints as its level."""
    series = f"{doc['kind']}/{doc['example_id']}"  # the category changes with the level in some
    return {
        "id": f"{series}/{doc['level']}",
        "group": f"level {doc['level']}",
        "series": series,
        "prompt": doc["instruction"],
        "checks": [{"regex": pattern} for pattern in rules(doc)],
    }


_END = ".!?"
_SENTENCE = rf"[^{_END}]+"


def _whole(pattern: str) -> str:
    return rf"\A(?:{pattern})\Z"


def _never(pattern: str) -> str:
    return rf"\A(?![\s\S]*(?:{pattern}))"


def _sentences(count: int) -> str:
    return _whole(rf"[{_END}]*{_SENTENCE}(?:[{_END}]+{_SENTENCE}){{{count - 1}}}[{_END}]*")


def _sentences_of(fewest: int, most: int | None) -> str:
    """Every sentence has so many words."""
    last = "" if most is None else most - 1
    words = rf"\s*[^\s{_END}]+(?:\s+[^\s{_END}]+){{{fewest - 1},{last}}}\s*" if fewest else ""
    if not fewest:  # a sentence of white space has none
        words = rf"\s+|\s*[^\s{_END}]+(?:\s+[^\s{_END}]+){{0,{last}}}\s*"
    return _whole(rf"[{_END}]*(?:(?:{words})(?:[{_END}]+|\Z))*")


def _in_sentence(number: int, pattern: str) -> str:
    return rf"\A[{_END}]*(?:{_SENTENCE}[{_END}]+){{{number - 1}}}[^{_END}]*?{pattern}"


def _spaces(fewest: int, most: int) -> str:
    return _whole(rf"[^ ]*(?: [^ ]*){{{fewest},{most}}}")


def _last(pattern: str, answer: str) -> str:
    """The last match of a pattern is the answer."""
    return rf"{re.escape(answer)}(?![\s\S]*{pattern})"


_PUNCTUATION, _PLAIN = r"[!-/:-@\[-`{-~]", r"[^!-/:-@\[-`{-~]"
_POTTER = (
    *(_in_sentence(1, r"\bPotter\b"), _in_sentence(2, r"\bactor\b")),
    _in_sentence(3, r"\bfilms\b"),
)
_LAVISH = _in_sentence(2, r"\blavish\b").replace(r"\A", "", 1)
# By source, one pattern more at each level.
_LEVELS: dict[str, tuple[str, ...]] = {
    "cnn_dailymail": (
        _sentences(3),
        _sentences_of(0, 14),
        "".join(f"(?={pattern})" for pattern in _POTTER),
        rf"\A(?!{_LAVISH})",
        _in_sentence(3, r"\b(?:has|have)\s+\w+"),
    ),
    "xsum": (
        _sentences(1),
        _spaces(0, 18),
        _never(r"\bNewton\ Stewart\b"),
        r"\b(?:am|is|are)\s+\w+ing\b",
        r"\boperation\b",
    ),
    "samsum": (
        _sentences(1),
        _spaces(0, 13),
        r"\bstuff\b",
        rf"(?i){_never('procrast')}",
        _whole(rf"{_PLAIN}*{_PUNCTUATION}{_PLAIN}*"),
    ),
    "gigaword": (
        _spaces(7, 7),
        _never(_PUNCTUATION),
        r"\A(?=[\s\S]*[a-z])(?![\s\S]*[A-Z])",
        _never(r"\bbus\b"),
        r"\bin\b",
    ),
    "arxiv": (
        _sentences(1),
        _spaces(0, 19),
        r"\AWe",
        r"\bactivations\b",
        _never(r"\btransformer\b"),
    ),
}

_PARAGRAPH = r"(?:(?!\n\n)[\s\S])*"
_PIECE = rf"(?:(?!\n\n)[^{_END}])+"
_SHORT = rf"[{_END}]*(?:{_PIECE}(?:[{_END}]+{_PIECE})?[{_END}]*)?"  # fewer than three sentences
_NUMBERED = rf"(?:\s*\d+\.{_PARAGRAPH}|[^\S\n]*\n?[^\S\n]*)"
# The one instruction about paragraphs; at the last level they are four, as its rule has it.
_PARAGRAPHS = (
    _whole(rf"{_PARAGRAPH}\n\n{_PARAGRAPH}\n\n{_PARAGRAPH}"),
    _whole(rf"{_SHORT}\n\n{_SHORT}\n\n{_SHORT}"),
    _sentences_of(21, None),
    _whole(rf"{_NUMBERED}(?:\n\n{_NUMBERED})*"),
)
_FOUR = (
    _whole(rf"{_SHORT}\n\n{_SHORT}\n\n{_SHORT}\n\n{_PARAGRAPH}"),
    *_PARAGRAPHS[2:],
    r"Those\ are\ suggestions\Z",
)


def _any_of(texts: list[str]) -> str:
    return "|".join(re.escape(text) for text in texts)


def _lines(target: str) -> str:
    known = _any_of(target.split("\n"))
    return rf"(?:{known})(?:\n(?:{known}))*"


_ANSWERS = {
    "E2E": lambda target: _whole(re.escape(target)),
    "text_editing": lambda target: _whole(re.escape(target)),
    "WIKIEVENTS": lambda target: _whole(_lines(target)),
    "CONLL2003": lambda target: _whole(_any_of(ast.literal_eval(target))),
    "BBH_logical": lambda target: _last(r"\([A-Z]\)", target),
    "BBH_time": lambda target: _last(r"\d{2}/\d{2}/\d{4}", target),
    "self_made_space": re.escape,
    "gsm_8k": lambda target: rf"{re.escape(target)}(?!\d)(?![\s\S]*\$\d)",
}


def _template(target: str) -> str:
    """The form of an example's answer, anything in place of {answer}."""
    form = target.replace("{instruction}\n", "").replace("{{", "{").replace("}}", "}")
    return _whole(".*".join(re.escape(part) for part in form.split("{answer}")))


def rules(doc: Doc) -> list[str] | None:
    """Patterns that an answer has to match; None where the authors have a model judge."""
    if doc["kind"] == "example":
        return [_template(doc["target"])]
    if doc["kind"] == "format" and doc["example_id"] == 22:
        return list(_FOUR if doc["level"] == 5 else _PARAGRAPHS[: doc["level"]])
    if doc["source"] in _LEVELS:
        return list(_LEVELS[doc["source"]][: doc["level"]])
    if doc["source"] in _ANSWERS:
        return [_ANSWERS[doc["source"]](doc["target"])]
    return None
