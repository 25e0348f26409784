# SPDX-License-Identifier: Apache-2.0
"""Which examples stand in front of a question.

``derived`` draws for every document from (seed, index of the document) alone, so that the prompt of
a document depends neither on the others nor on their order. ``first`` takes the first ones.
``harness`` repeats lm-evaluation-harness: one generator runs through all documents in order.
"""

from __future__ import annotations

import random
from typing import Any

RULES = ("derived", "harness", "first")
HARNESS_SEED = 1234


class Pool:
    """The examples of one group of documents."""

    def __init__(self, documents: list[Any], rule: str, seed: int, *, one_more: bool) -> None:
        """Take the pool; ``one_more``: the harness draws one to spare, lest it be the question."""
        self.documents, self.rule, self.seed, self.one_more = documents, rule, seed, one_more
        self.generator = random.Random(seed)

    def draw(self, index: int, document: Any, count: int) -> list[Any]:
        """Examples for document ``index``; raises ValueError when the pool is too small."""
        if count == 0:
            return []
        if self.rule == "harness":
            return self._draw_harness(document, count)
        if self.rule == "first":
            others = [d for d in self.documents[: count + 1] if d != document]
            return self._enough(others[:count], count)
        return self._draw_derived(index, document, count)

    def _draw_derived(self, index: int, document: Any, count: int) -> list[Any]:
        n = len(self.documents)
        generator = random.Random(f"{self.seed}/{index}")
        tried: set[int] = set()
        drawn: list[Any] = []
        while len(drawn) < count and len(tried) < n:
            candidate = int(generator.random() * n)  # the same in every version of Python
            if candidate not in tried and self.documents[candidate] != document:
                drawn.append(self.documents[candidate])
            tried.add(candidate)
        return self._enough(drawn, count)

    def _draw_harness(self, document: Any, count: int) -> list[Any]:
        if not self.one_more:
            return self._enough(self._sample(self.documents, count), count)
        drawn = [d for d in self._sample(self.documents, count + 1) if d != document][:count]
        if len(drawn) < count:  # the question occurs more than once
            drawn = self._sample([d for d in self.documents if d != document], count)
        return drawn

    def _sample(self, documents: list[Any], count: int) -> list[Any]:
        self._enough(documents[:count], count)
        return self.generator.sample(documents, count)

    def _enough(self, documents: list[Any], count: int) -> list[Any]:
        if len(documents) < count:
            raise ValueError(f"{count} shots wanted, but there are only {len(documents)} examples")
        return documents
