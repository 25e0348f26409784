# SPDX-License-Identifier: Apache-2.0
"""What winnow-tasks says of request files that are wrong."""

import pytest
from test_tasks import lines

from winnow.tasks import problems

CHOICE = {"context": "c", "choices": ["a", "b"], "gold": 0}
GENERATION = {"task": "t", "kind": "generation"}
WRONG = [
    (
        [{"contxt": "c", "choices": ["a", "b"], "gold": 0}],
        'unknown key "contxt" (did you mean \'con',
    ),
    ([{"context": "c", "choices": ["a", "b"]}], 'the field "gold" is missing'),
    ([{**CHOICE, "gold": 2}], '"gold" is 2, expected 0 to 1'),
    ([{**CHOICE, "gold": [0, 0]}], '"gold" names a choice twice'),
    ([{**CHOICE, "gold": []}], '"gold" must have at least 1 entries, found 0'),
    ([{**CHOICE, "gold": True}], '"gold" must be an index from 0'),
    ([{**CHOICE, "choices": ["a", ""]}], '"choices" entry 1 must not be empty'),
    ([{**CHOICE, "choices": ["a"]}], '"choices" must have at least 2 entries, found 1'),
    ([{"choices": ["a", "b"], "gold": 0}], 'one of "context" and "contexts" is needed'),
    ([{"context": "c", "gold": 0}], '"choices" is needed'),
    ([{"contexts": ["a", "b", "c"], "choices": ["a", "b"], "gold": 0}], '"contexts" has 3 entries'),
    ([{**CHOICE, "continuation": "d"}], '"continuation" goes with "contexts"'),
    ([{"task": "t", "metrics": ["acc", "bias"]}, CHOICE], 'the metric bias needs "bias" in every'),
    ([{"task": "t", "metrics": ["accu"]}, CHOICE], "'accu' is not one of acc, acc_norm"),
    ([{"task": "t", "metrics": ["acc", "acc"]}, CHOICE], '"metrics" lists one twice'),
    ([{"task": "a b"}, CHOICE], '"task" must be 1 to 48 letters'),
    ([{"task": "t", "kind": "choice"}, CHOICE], "must be one of multiple_choice, pairs"),
    ([{"task": "t", "dimension": "reasonin"}, CHOICE], "(did you mean 'reasoning'?)"),
    ([{"task": "t", "chance": 2}, CHOICE], '"chance" must be from 0 to 1'),
    ([{"task": "t", "max_tokens": 3}, CHOICE], 'unknown key "max_tokens"'),
    ([CHOICE, {"task": "t"}], 'a header has the key "task" and is the first line'),
    ([{"kind": "pairs"}, CHOICE], 'a header has the key "task" and is the first line'),
    ([{"task": "t"}], "no items"),
    ([{**CHOICE, "id": "1"}, CHOICE], 'the id "1" was used in line 1'),
    ([{"task": "t", "kind": "pairs"}, {"texts": ["a"]}], '"texts" must have exactly 2 entries'),
    ([{"task": "t", "kind": "pairs"}, {"texts": ["a", "b"], "gold": 2}], '"gold" is 2'),
    ([{"task": "t", "kind": "rolling"}, {"text": "a", "words": 0}], '"words" must be an integer'),
    ([GENERATION, {"references": ["p"]}], 'the field "prompt" is missing'),
    ([{**GENERATION, "filter": {"regex": "("}}, CHOICE], "must be a regular expression"),
    ([{**GENERATION, "filter": "stripp"}, CHOICE], "(did you mean 'strip'?)"),
    (
        [GENERATION, {"prompt": "p", "references": [], "checks": [{}]}],
        '"checks" entry 0 must be an',
    ),
    ([GENERATION, {"prompt": "p", "stop": [""]}], '"stop" entry 0 must not be empty'),
    ([[1]], "must be an object"),
]


@pytest.mark.parametrize(("objects", "message"), WRONG)
def test_check_says_what_is_wrong(tmp_path, objects, message):
    path = lines(tmp_path / "task.jsonl", *objects)
    found = problems(path)
    assert len(found) == 1 and message in found[0], found
    assert found[0].startswith(f"{path}:") and problems(lines(path, CHOICE)) == []


def test_check_of_texts_that_are_not_json(tmp_path):
    path = tmp_path / "task.jsonl"
    path.write_text('{"context": "c"}\n{"context"\n')
    (found,) = problems(path)
    assert found.startswith(f"{path}:2: not JSON: Expecting ':' delimiter (column")
    path.write_bytes(b'{"context": "\xff"}\n')
    assert problems(path) == [f"{path}:1: not UTF-8"]
    lines(path, *[{"context": "c"}] * 30)
    assert len(problems(path)) == 21 and problems(path)[-1].endswith("... and 10 more")
