# SPDX-License-Identifier: Apache-2.0
"""Questions about a paragraph, with and without it: what a model knows, and what it can read.

Every mode asks the same questions under the same ids: without any text (closed_book), with the
paragraph (open_book), with one of another article that does not have the answer (distractor), with
the sentences of the paragraph in another order (shuffled), and with the answers taken out of it
(removed), where a right answer comes from the weights.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

from winnow.tasks.source import Doc, Source

Item = dict[str, Any]
MODES = ("open_book", "closed_book", "distractor", "shuffled", "removed")


def read_squad(source: Source) -> Iterator[Doc]:
    """A file in the layout of SQuAD; questions that have no answer are left out."""
    for path in source.files("*.json"):
        for number, article in enumerate(source.json(path)["data"]):
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    answers = list(dict.fromkeys(a["text"] for a in question["answers"]))
                    if answers and not question.get("is_impossible", False):
                        yield {
                            "id": question["id"],
                            "article": article.get("title", str(number)),
                            "text": paragraph["context"],
                            "question": question["question"],
                            "answers": answers,
                        }


def squad(doc: Doc) -> Item:
    """The question behind its text, where it has one."""
    asked = f"nswer these questions:\n\nQ: {doc['question']}\nA:"
    text = doc.get("text")
    prompt = f"A{asked}" if text is None else f"{text}\n\nBased on these texts, a{asked}"
    return {"id": doc["id"], "prompt": prompt, "references": doc["answers"]}


def squad_calibration(doc: Doc) -> Item:
    """A question behind its text, with its first answer, to calibrate on."""
    return {"prompt": squad(doc)["prompt"], "response": doc["answers"][0]}


def with_mode(documents: list[Doc], mode: str, seed: int) -> Iterator[Doc]:
    """The documents with the text that a mode shows; a choice depends on seed and index alone."""
    texts = list(dict.fromkeys((d["article"], d["text"]) for d in documents))
    for index, document in enumerate(documents):
        generator = random.Random(f"{seed}/{index}")
        text = document["text"]
        if mode == "closed_book":
            text = None
        elif mode == "distractor":
            text = _other_text(document, texts, generator)
        elif mode == "shuffled":
            text = " ".join(_shuffled(sentences(text), generator))
        elif mode == "removed":
            text = without(text, document["answers"])
        yield {**document, "text": text}


def _other_text(document: Doc, texts: list[tuple[str, str]], generator: random.Random) -> str:
    """A paragraph of another article that has none of the answers: the first from a random one."""
    start = int(generator.random() * len(texts))
    for article, text in texts[start:] + texts[:start]:
        has_answer = any(a.lower() in text.lower() for a in document["answers"])
        if article != document["article"] and not has_answer:
            return text
    raise ValueError(f"question {document['id']}: no other article is free of the answer")


def _shuffled(values: list[Any], generator: random.Random) -> list[Any]:
    """In an order that random() alone decides, which is the same in every version of Python."""
    keys = [generator.random() for _ in values]
    return [value for _, value in sorted(zip(keys, values), key=lambda pair: pair[0])]


def sentences(text: str) -> list[str]:
    """Cut behind full stops, question and exclamation marks that a capital follows."""
    return [part for part in re.split(r"(?<=[.!?])\s+(?=[\"'(\[]?[A-Z0-9])", text) if part]


def without(text: str, answers: list[str]) -> str:
    """The text with all answers taken out, whatever their case, and the gaps closed."""
    for answer in sorted(answers, key=len, reverse=True):
        whole = rf"(?<!\w){re.escape(answer)}(?!\w)"
        text = re.sub(whole, "", text, flags=re.IGNORECASE)
    return re.sub(r" {2,}", " ", text).strip()
