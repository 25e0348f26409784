# SPDX-License-Identifier: Apache-2.0
"""From published files to request files: reads, draws examples, puts prompts together."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from winnow.tasks import format as requests
from winnow.tasks.format import TaskError
from winnow.tasks.retrieval import with_mode
from winnow.tasks.shots import HARNESS_SEED, Pool
from winnow.tasks.source import Doc, Source
from winnow.tasks.table import CALIBRATION, GUESS, TASKS, Task

Item = dict[str, Any]
_MISTAKES = (KeyError, IndexError, ValueError, TypeError, AttributeError, StopIteration)


@dataclasses.dataclass(frozen=True)
class Options:
    """What a user can choose about a task; None is the task's own."""

    shots: int | None = None
    seed: int | None = None
    rule: str | None = None
    pool: str | Path | None = None  # the file of the examples
    limit: int | None = None
    per_group: int | None = None
    groups: tuple[str, ...] | None = None  # only these, such as subjects
    sample: int | float | None = None  # so many drawn by the seed; a float: that share
    mode: str | None = None
    template: str | None = None
    front: str | Path | None = None  # the file with a text in front of every question


@dataclasses.dataclass
class _Entry:
    """A document with its item; two are equal when their documents are."""

    document: Doc
    item: Item = dataclasses.field(compare=False)


def make(
    name: str, path: str | Path, options: Options | None = None
) -> tuple[dict[str, Any] | None, list[Item]]:
    """Header (None for calibration pairs) and items of a task; raises TaskError."""
    if name not in TASKS:
        known = requests._suggestion(name, TASKS) or f"; known: {', '.join(TASKS)}"
        raise TaskError(f"unknown task {name!r}{known}")
    return _Maker(TASKS[name], Source(path), options or Options()).make()


def write(name: str, path: str | Path, target: Path, options: Options | None = None) -> int:
    """Make a task and write its file; returns the number of items."""
    header, items = make(name, path, options)
    return requests.write(target, header, items)


class _Maker:
    """One task from one source."""

    def __init__(self, task: Task, source: Source, options: Options) -> None:
        self.task, self.source, self.options = task, source, options
        self.shots = task.shots if options.shots is None else options.shots
        self.rule = options.rule or task.rule
        default = HARNESS_SEED if self.rule == "harness" else 0
        self.seed = default if options.seed is None else options.seed
        self.mode = options.mode or (task.modes[0] if task.modes else None)
        self.delimiter = " " if task.delimiter is None else task.delimiter
        self.place = ""
        self._check()

    def _check(self) -> None:
        task, options = self.task, self.options
        if self.mode is not None and self.mode not in task.modes:
            known = ", ".join(task.modes) or "none"
            raise TaskError(f"{task.name}: no mode {self.mode!r}; it has: {known}")
        if options.template is not None and task.template is None:
            raise TaskError(f"{task.name}: prompts are fixed, --template is for instructions")
        for name, least in (("shots", 0), ("limit", 1), ("per_group", 1), ("sample", 1)):
            value = getattr(options, name)
            if value is not None and value < least and not isinstance(value, float):
                raise TaskError(f"--{name.replace('_', '-')}: must be at least {least}")
        if isinstance(options.sample, float) and not 0 < options.sample <= 1:
            raise TaskError("--sample: a share must be more than 0 % and at most 100 %")
        if self.shots and task.kind in ("pairs", "rolling", CALIBRATION):
            raise TaskError(f"{task.name}: its texts stand alone, --shots is not for them")

    def make(self) -> tuple[dict[str, Any] | None, list[Item]]:
        documents = list(self._documents(self.source, self.task.read))
        if not documents:
            raise TaskError(f"{self.source.path}: no items")
        if self.mode is not None:
            documents = self._guard(lambda: list(with_mode(documents, self.mode, self.seed)))
        entries = [_Entry(document, self._item(document)) for document in documents]
        front, pools = self._front(), self._pools(entries)
        chosen = self._chosen(entries)
        items = [self._prompted(index, entry, front, pools) for index, entry in chosen]
        if self.task.kind == CALIBRATION:
            return None, items
        return self._header(items), items

    # ---- documents ----

    def _documents(self, source: Source, read: Any) -> Iterator[Doc]:
        """Documents, each tried at once, so that a mistake is reported with its line."""
        try:
            for document in read(source):
                self.task.item(document)
                yield document
        except _MISTAKES as error:
            raise source.fail(_explain(error)) from None

    def _guard(self, compute: Any) -> Any:
        try:
            return compute()
        except ValueError as error:
            raise TaskError(f"{self.source.path}: {error}") from None

    def _item(self, document: Doc) -> Item:
        item = self.task.item(document)
        if self.task.template is not None:
            item["prompt"] = self._template(document, item["prompt"])
        return item

    def _template(self, document: Doc, plain: str) -> str:
        template = self.options.template or "plain"
        if template == "plain":
            return plain
        if template == "alpaca":
            return self.task.template(document)
        if "{prompt}" not in template:
            raise TaskError(
                f"--template: {template!r} is neither plain nor alpaca nor has {{prompt}}"
            )
        return template.replace("{prompt}", plain)

    def _chosen(self, entries: list[_Entry]) -> Iterator[tuple[int, _Entry]]:
        """With their numbers, which examples and ids hang on: never shifted by a limit."""
        counts: dict[Any, int] = {}
        numbered: Iterable[tuple[int, _Entry]] = enumerate(entries)
        if self.options.groups is not None:
            numbered = self._of_groups(entries)
        if self.options.per_group is not None:

            def few(pair: tuple[int, _Entry]) -> bool:
                group = pair[1].item.get("group")
                counts[group] = counts.get(group, 0) + 1
                return counts[group] <= self.options.per_group

            numbered = filter(few, numbered)
        if self.options.sample is not None:
            # Each has its own number, so that the draw does not hang on the others.
            drawn = sorted(numbered, key=self._lot)
            count = self.options.sample
            if isinstance(count, float):
                count = max(1, round(count * len(drawn)))
            kept = drawn[:count]
            numbered = sorted(kept, key=lambda pair: pair[0])
        return itertools.islice(numbered, self.options.limit)

    def _lot(self, pair: tuple[int, _Entry]) -> float:
        return random.Random(f"{self.seed}/item/{pair[0]}").random()

    def _of_groups(self, entries: list[_Entry]) -> list[tuple[int, _Entry]]:
        known = list(dict.fromkeys(str(entry.item.get("group")) for entry in entries))
        for group in self.options.groups or ():
            if group not in known:
                raise TaskError(f"--groups: no group {group!r}; there are {', '.join(known)}")
        pairs = enumerate(entries)
        return [pair for pair in pairs if pair[1].item.get("group") in self.options.groups]

    # ---- prompts ----

    def _front(self) -> str:
        """The text in front of every question."""
        path = self.options.front
        if path is None and self.task.front is not None:
            folder = self.source.path if self.source.path.is_dir() else self.source.path.parent
            path = folder / self.task.front
            if not path.is_file():
                raise TaskError(
                    f"{path}: no such file; {self.task.name} has a fixed text in front of every "
                    "question: put it there, or name its file with --front"
                )
        if path is None:
            return ""
        source = Source(path)
        return source.text(source.path).rstrip("\n") + "\n\n"

    def _pools(self, entries: list[_Entry]) -> dict[Any, Pool]:
        """Where examples come from: a file, a part of the source, or the documents themselves."""
        if not self.shots:
            return {}
        examples = entries
        read = self.task.examples or self.task.read
        if self.options.pool is not None:
            pool = Source(self.options.pool)
            # A pool of its own is a file, or a folder laid out like the source.
            read = self.task.read if pool.path.is_file() else read
            examples = [_Entry(d, self._item(d)) for d in self._documents(pool, read)]
        elif self.task.examples is not None:
            examples = [_Entry(d, self._item(d)) for d in self._documents(self.source, read)]
        groups: dict[Any, list[_Entry]] = {}
        for entry in examples:
            groups.setdefault(self._pool_of(entry), []).append(entry)
        return {
            group: Pool(members, self.rule, self.seed, one_more=self.task.one_more)
            for group, members in groups.items()
        }

    def _pool_of(self, entry: _Entry) -> Any:
        return entry.item.get("group") if self.task.grouped else None

    def _prompted(self, index: int, entry: _Entry, front: str, pools: dict[Any, Pool]) -> Item:
        """The item with description, text and examples in front."""
        head = front
        if self.task.description is not None:
            head += self.task.description(entry.document)
        if self.shots:
            group = self._pool_of(entry)
            if group not in pools:
                raise TaskError(f"{self.task.name}: no examples for {group}")
            drawn = self._guard(lambda: pools[group].draw(index, entry, self.shots))
            head += "".join(self._answered(e.item) + self.task.between for e in drawn)
        item = {"id": str(index), **entry.item}
        item["id"] = str(item["id"])
        item.pop("target", None)
        if self.task.kind == CALIBRATION:
            item.pop("id")
        for key in ("context", "prompt"):
            if key in item:
                item[key] = head + item[key]
        if "contexts" in item:
            item["contexts"] = [head + context for context in item["contexts"]]
        return item

    def _answered(self, item: Item) -> str:
        """An example: question, delimiter, right answer."""
        if "prompt" in item:
            references = item["references"]
            answer = item.get("target", references[0] if references else "")
            return item["prompt"] + ("" if item["prompt"].endswith(" ") else " ") + answer
        if self.task.kind == "continuation":
            return item["context"] + self.delimiter + item["continuation"]
        gold = item["gold"][0] if isinstance(item["gold"], list) else item["gold"]
        if "contexts" in item:
            return item["contexts"][gold] + self.delimiter + item["continuation"]
        return item["context"] + self.delimiter + item["choices"][gold]

    # ---- header ----

    def _header(self, items: list[Item]) -> dict[str, Any]:
        task = self.task
        header: dict[str, Any] = {"task": task.name, "kind": task.kind}
        header["source"] = self._origin()
        header["dimension"] = task.dimension
        if self.mode is not None:
            header["mode"] = self.mode
        header["metrics"] = list(task.metrics)
        chance = _guess(items) if task.chance == GUESS else task.chance
        if chance is not None:
            header["chance"] = chance
        if task.delimiter is not None:
            header["delimiter"] = task.delimiter
        return {**header, **task.header}

    def _origin(self) -> str:
        """Where the items come from and how their examples were drawn; no paths of this machine."""
        text = f"{self.task.origin}; {self.source.path.name}, sha256 {self.source.digest}"
        if self.shots:
            text += f"; {self.shots} shots, {self.rule}"
            text += "" if self.rule == "first" else f", seed {self.seed}"
        elif self.mode in ("distractor", "shuffled"):
            text += f"; seed {self.seed}"
        if self.options.groups is not None:
            text += f"; groups {', '.join(self.options.groups)}"
        if self.options.sample is not None:
            share = isinstance(self.options.sample, float)
            drawn = f"{100 * self.options.sample:g} % of the" if share else self.options.sample
            text += f"; {drawn} items drawn, seed {self.seed}"
        return text


def _guess(items: list[Item]) -> float:
    """Expected accuracy of guessing."""
    shares = []
    for item in items:
        n = len(item["choices"] if "choices" in item else item["contexts"])
        shares.append((len(item["gold"]) if isinstance(item["gold"], list) else 1) / n)
    return round(sum(shares) / len(shares), 6)


def _explain(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"the field {error} is missing"
    if isinstance(error, StopIteration):
        return "no answer says that it is not known"
    return f"cannot be used: {error}"
