# SPDX-License-Identifier: Apache-2.0
"""Sweep files: JSON with comments."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

# A string, or a comment. Strings come first, so that a // inside one is no comment.
_TOKEN = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)


def strip_comments(text: str) -> str:
    """Overwrite comments outside strings with blanks; line and column numbers stay as they were."""

    def blank(match: re.Match[str]) -> str:
        return match.group(1) or re.sub(r"[^\n]", " ", match.group(0))

    return _TOKEN.sub(blank, text)


def parse_sweep(text: str) -> dict[str, Any]:
    """Parse the text of a sweep file."""
    return json.loads(strip_comments(text))


def read_sweep(path: str | Path) -> dict[str, Any]:
    """Read a sweep file."""
    return parse_sweep(Path(path).read_text(encoding="utf-8"))
