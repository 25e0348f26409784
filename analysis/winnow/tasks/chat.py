# SPDX-License-Identifier: Apache-2.0
"""Prompts as an instruction model was trained on them: the chat template of its own tokenizer.

transformers renders the template (Jinja), so what the model reads is what its owner's tools give
it. The hash of the template is written into the file, and from there into the results.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from winnow.tasks import format as requests
from winnow.tasks.format import TaskError

Item = dict[str, Any]
KINDS = {"generation": "prompt", "multiple_choice": "context", "continuation": "context"}


class Template:
    """The chat template of a checkpoint."""

    def __init__(self, model: str | Path, system: str | None = None) -> None:
        try:
            from transformers import AutoTokenizer
        except ImportError:
            raise TaskError("chat templates need the package transformers") from None
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(model)
            template = self.tokenizer.get_chat_template()
        except (OSError, ValueError) as error:
            raise TaskError(f"{model}: {str(error).splitlines()[0]}") from None
        digest = hashlib.sha256(template.encode()).hexdigest()
        self.name = f"{Path(model).resolve().name} sha256 {digest}"
        self.name += f" with the system text {system!r}" if system is not None else ""
        self.front = [] if system is None else [{"role": "system", "content": system}]

    def _render(self, messages: list[Item], ask: bool) -> str:
        try:
            return self.tokenizer.apply_chat_template(
                [*self.front, *messages], tokenize=False, add_generation_prompt=ask
            )
        except Exception as error:  # a template raises what it likes
            raise TaskError(f"the chat template fails: {error}") from None

    def ask(self, messages: list[Item]) -> str:
        """The conversation up to where the model answers."""
        return self._render(messages, True)

    def pair(self, messages: list[Item]) -> Item:
        """A conversation that ends with an answer, cut in front of it."""
        if not messages or messages[-1].get("role") != "assistant":
            raise TaskError("the last message must be of the role assistant")
        prompt, whole = self.ask(messages[:-1]), self._render(messages, False)
        if not whole.startswith(prompt):
            raise TaskError("the chat template writes the question anew when there is an answer")
        return {"prompt": prompt, "response": whole[len(prompt) :], "chat_template": self.name}


def user(text: str) -> list[Item]:
    """A conversation of one question."""
    return [{"role": "user", "content": text}]


def messages_of(pair: Item) -> list[Item]:
    """The conversation of a calibration pair, in any of its three spellings."""
    if isinstance(pair.get("messages"), list):
        return pair["messages"]
    for question, answer in (("prompt", "response"), ("instruction", "output")):
        if isinstance(pair.get(question), str) and isinstance(pair.get(answer), str):
            more = pair.get("input") or ""
            text = f"{pair[question]}\n{more}" if more else pair[question]
            return [*user(text), {"role": "assistant", "content": pair[answer]}]
    raise TaskError(f"is no pair and has no messages; its fields are {', '.join(pair)}")


def _placed(path: Path, number: int, make: Any, *arguments: Any) -> Any:
    try:
        return make(*arguments)
    except TaskError as error:
        raise TaskError(f"{path}:{number}: {error}") from None


def _rendered(item: Item, key: str, template: Template) -> Item:
    made = dict(item)
    if isinstance(item.get(key), str):
        made[key] = template.ask(user(item[key]))
    if isinstance(item.get("contexts"), list):
        made["contexts"] = [template.ask(user(text)) for text in item["contexts"]]
    return made


def write(path: Path, model: str | Path, target: Path, system: str | None = None) -> int:
    """Write a request or calibration file with its prompts in the template; returns the items."""
    numbered = list(requests.lines(path))
    if not numbered or not all(isinstance(value, dict) for _, value in numbered):
        raise TaskError(f"{path}: expected JSON lines, an object each")
    template, first = Template(model, system), numbered[0][1]
    if "chat_template" in first:
        raise TaskError(f"{path}: is in a chat template already: {first['chat_template']}")
    if "task" not in first:
        pairs = (
            _placed(path, n, template.pair, _placed(path, n, messages_of, v)) for n, v in numbered
        )
        return requests.write(target, None, pairs)
    kind = first.get("kind", "multiple_choice")
    if kind not in KINDS:
        raise TaskError(f"{path}: the kind {kind} asks nothing: a chat template does not apply")
    header = {**first, "chat_template": template.name}
    if kind != "generation":
        header["delimiter"] = ""  # as lm-evaluation-harness does: the answer begins there

    def items() -> Iterator[Item]:
        for number, value in numbered[1:]:
            yield _placed(path, number, _rendered, value, KINDS[kind], template)

    return requests.write(target, header, items())
