# SPDX-License-Identifier: Apache-2.0
"""The program winnow-tasks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from winnow.tasks import chat, harness
from winnow.tasks import format as requests
from winnow.tasks.format import TaskError
from winnow.tasks.harness import Choice
from winnow.tasks.make import Options, write
from winnow.tasks.retrieval import MODES
from winnow.tasks.shots import HARNESS_SEED, RULES
from winnow.tasks.table import TASKS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (TaskError, OSError) as error:
        print(f"winnow-tasks: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="winnow-tasks", description="Request files for winnow.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_make(commands)
    listing = commands.add_parser("list", help="the tasks that make knows")
    listing.set_defaults(run=_list)
    check = commands.add_parser("check", help="say what is wrong with request files")
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")
    check.set_defaults(run=_check)
    _add_chat(commands)
    _add_harness(commands)
    return parser


def _add_make(commands: argparse._SubParsersAction) -> None:
    make = commands.add_parser("make", help="make a request file from a published data set")
    make.set_defaults(run=_make)
    make.add_argument("task", metavar="TASK", help="a name that list shows")
    make.add_argument(
        "--from", dest="source", required=True, metavar="PATH", help="the file or folder"
    )
    make.add_argument("--to", type=Path, required=True, metavar="FILE", help="file to write")
    make.add_argument("--shots", type=int, metavar="K", help="examples in front of a question")
    make.add_argument(
        "--rule",
        choices=RULES,
        help="how they are drawn: derived from seed and number of the question; as "
        "lm-evaluation-harness does; the first",
    )
    make.add_argument(
        "--seed", type=int, metavar="S", help=f"default 0, of the harness {HARNESS_SEED}"
    )
    make.add_argument("--pool", metavar="PATH", help="draw examples from there")
    make.add_argument("--limit", type=int, metavar="N", help="only the first N items")
    make.add_argument("--per-group", type=int, metavar="N", help="only the first N of each group")
    make.add_argument("--groups", metavar="A,B", help="only items of these groups: subjects ...")
    make.add_argument(
        "--sample",
        type=_amount,
        metavar="N",
        help="only N items, or N%% of all, drawn by the seed",
    )
    make.add_argument("--mode", choices=MODES, help="what text a retrieval question comes with")
    make.add_argument(
        "--template", metavar="T", help="of instructions: plain, alpaca, or a text with {prompt}"
    )
    make.add_argument("--front", metavar="FILE", help="text in front of every question")


def _amount(text: str) -> int | float:
    """A number of items, or a share of them in per cent."""
    return float(text[:-1]) / 100 if text.endswith("%") else int(text)


def _add_chat(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("chat", help="put prompts into the chat template of a model")
    command.set_defaults(run=_chat)
    command.add_argument("file", type=Path, metavar="FILE", help="a request file, or pairs")
    command.add_argument("--model", required=True, metavar="DIR", help="checkpoint with a template")
    command.add_argument("--to", type=Path, required=True, metavar="FILE", help="file to write")
    command.add_argument("--system", metavar="TEXT", help="system message in front of all")


def _chat(options: argparse.Namespace) -> int:
    count = chat.write(options.file, options.model, options.to, options.system)
    print(f"{options.to}: {count} items")
    return 0


def _add_harness(commands: argparse._SubParsersAction) -> None:
    export = commands.add_parser("export", help="write requests of lm-evaluation-harness")
    export.set_defaults(run=_export)
    export.add_argument("--to", type=Path, required=True, metavar="DIR", help="folder to write to")
    score = commands.add_parser("score", help="score results by lm-evaluation-harness itself")
    score.set_defaults(run=_score)
    score.add_argument("results", type=Path, metavar="RESULTS.h5")
    score.add_argument(
        "--bootstrap",
        type=int,
        default=0,
        metavar="N",
        help="resamples for standard errors without a formula; the harness takes 100000",
    )
    score.add_argument("--csv", action="store_true", help="for programs")
    for command in (export, score):
        command.add_argument(
            "--harness", nargs="+", required=True, metavar="TASK", help="tasks or groups of it"
        )
        command.add_argument("--include-path", metavar="DIR", help="folder with more task files")
        command.add_argument("--shots", type=int, metavar="K", help="default: the task's own")
        command.add_argument(
            "--seed", type=int, default=HARNESS_SEED, metavar="S", help="of the examples"
        )
    export.add_argument("--limit", type=int, metavar="N", help="only the first N documents")


def _harness_choice(options: argparse.Namespace) -> Choice:
    names, limit = tuple(options.harness), getattr(options, "limit", None)
    return Choice(names, options.include_path, options.shots, limit, options.seed)


def _export(options: argparse.Namespace) -> int:
    for path, count in harness.export(_harness_choice(options), options.to).items():
        print(f"{path}: {count} items")
    return 0


def _score(options: argparse.Namespace) -> int:
    import winnow  # needs more than Python

    try:
        results = winnow.open(options.results)
    except ValueError as error:
        raise TaskError(str(error)) from None
    scores = harness.score(results, _harness_choice(options), bootstrap=options.bootstrap)
    scores.insert(1, "key", scores["point"].map(results.points["key"]))
    if options.csv:
        print(scores.to_csv(index=False), end="")
        return 0
    rows = [tuple(scores.columns)]
    for row in scores.itertuples(index=False):
        numbers = ["" if value != value else f"{value:.6g}" for value in (row.value, row.stderr)]
        rows.append((str(row.point), row.key, row.task, row.filter, row.metric, *numbers))
    _table(rows)
    return 0


def _make(options: argparse.Namespace) -> int:
    names = ("shots", "seed", "rule", "pool", "limit", "per_group", "sample", "mode", "template")
    names = (*names, "front")
    groups = None if options.groups is None else tuple(options.groups.split(","))
    chosen = Options(**{name: getattr(options, name) for name in names}, groups=groups)
    count = write(options.task, options.source, options.to, chosen)
    print(f"{options.to}: {count} items")
    return 0


def _list(_: argparse.Namespace) -> int:
    rows = [("task", "kind", "dimension", "metrics", "chance", "reads")]
    for task in TASKS.values():
        chance = "" if task.chance is None else str(task.chance)
        kind, metrics = task.kind, " ".join(task.metrics)
        rows.append((task.name, kind, task.dimension, metrics, chance, task.reads))
    _table(rows)
    return 0


def _table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def _check(options: argparse.Namespace) -> int:
    wrong = False
    for path in options.files:
        found = requests.problems(path)
        wrong = wrong or bool(found)
        for line in found:
            print(line, file=sys.stderr)
        if not found:
            header, items = requests.read(path)
            pairs = "task" not in header or requests.is_calibration(items[0])
            what = "pairs" if pairs else header.get("kind", "multiple_choice")
            print(f"{path}: {len(items)} items, {what}")
    return 1 if wrong else 0
