# SPDX-License-Identifier: Apache-2.0
"""Request files for winnow: from published data sets, and from lm-evaluation-harness.

Needs nothing but Python, except ``winnow.tasks.harness``, which needs lm-evaluation-harness:

    winnow-tasks list
    winnow-tasks make piqa --from valid.jsonl --to piqa.jsonl
    winnow-tasks check piqa.jsonl
"""

from winnow.tasks.format import TaskError, problems, read
from winnow.tasks.make import Options, make, write
from winnow.tasks.table import TASKS, Task

__all__ = ["TASKS", "Options", "Task", "TaskError", "make", "problems", "read", "write"]
