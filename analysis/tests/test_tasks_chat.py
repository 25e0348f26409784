# SPDX-License-Identifier: Apache-2.0
"""Request and calibration files in the chat template of a checkpoint."""

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from winnow.tasks import chat
from winnow.tasks import format as requests
from winnow.tasks.command import main
from winnow.tasks.format import TaskError

DEMO = Path(__file__).resolve().parents[2] / "sweeps/demo/model"
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}[{{ message.role }}]\n"
    "{{ message.content | trim }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]\n{% endif %}"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat") / "model"
    shutil.copytree(DEMO, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def write_lines(path, *values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def test_pairs(model, tmp_path):
    rows = [
        {"prompt": "Hi ", "response": "Hello."},
        {"instruction": "Add.", "input": "1 2", "output": "3"},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    ]
    path, target = write_lines(tmp_path / "pairs.jsonl", *rows), tmp_path / "chat.jsonl"
    assert main(["chat", str(path), "--model", str(model), "--to", str(target)]) == 0
    made = [json.loads(line) for line in target.read_text().splitlines()]
    assert made[0]["prompt"] == "<s>[user]\nHi</s>\n[assistant]\n"
    assert made[0]["response"] == "Hello.</s>\n"
    assert made[1]["prompt"] == "<s>[user]\nAdd.\n1 2</s>\n[assistant]\n"
    assert made[2]["response"] == "b</s>\n"
    assert made[0]["chat_template"].startswith("model sha256 ")
    assert requests.problems(target) == []
    with pytest.raises(TaskError, match="already"):
        chat.write(target, model, tmp_path / "again.jsonl")


def test_requests(model, tmp_path):
    header = {"task": "t", "kind": "generation", "max_tokens": 4}
    path = write_lines(tmp_path / "t.jsonl", header, {"prompt": "Hi", "references": ["x"]})
    assert chat.write(path, model, tmp_path / "c.jsonl", "Be kind.") == 1
    header, items = requests.read(tmp_path / "c.jsonl")
    assert items[0]["prompt"] == "<s>[system]\nBe kind.</s>\n[user]\nHi</s>\n[assistant]\n"
    assert "Be kind." in header["chat_template"]
    item = {"context": "Q", "choices": ["a", "b"], "gold": 0}
    path = write_lines(tmp_path / "m.jsonl", {"task": "m"}, item)
    chat.write(path, model, tmp_path / "mc.jsonl")
    header, items = requests.read(tmp_path / "mc.jsonl")
    assert header["delimiter"] == "" and items[0]["context"].endswith("[assistant]\n")


def test_mistakes(model, tmp_path):
    path = write_lines(tmp_path / "p.jsonl", {"task": "p", "kind": "pairs"}, {"texts": ["a", "b"]})
    with pytest.raises(TaskError, match="asks nothing"):
        chat.write(path, model, tmp_path / "x.jsonl")
    path = write_lines(tmp_path / "n.jsonl", {"question": "a"})
    with pytest.raises(TaskError, match=r"n\.jsonl:1: is no pair .* question"):
        chat.write(path, model, tmp_path / "x.jsonl")
    with pytest.raises(TaskError, match="chat"):
        chat.write(path, DEMO, tmp_path / "x.jsonl")
