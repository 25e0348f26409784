# SPDX-License-Identifier: Apache-2.0
"""Published files as their authors lay them out: CSV, TSV, JSON, JSON lines, Parquet, text."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from winnow.tasks.format import TaskError

Doc = dict[str, Any]


class Source:
    """A file or folder that items are made from; keeps a hash of all that was read."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        if not self.path.exists():
            raise TaskError(f"{self.path}: no such file or folder")
        self._hash = hashlib.sha256()
        self._place = str(self.path)

    @property
    def digest(self) -> str:
        """The first 12 digits of the SHA-256 of the bytes read so far."""
        return self._hash.hexdigest()[:12]

    def files(self, *patterns: str) -> list[Path]:
        """The file itself, or the files in the folder by the first pattern that matches any."""
        if self.path.is_file():
            return [self.path]
        for pattern in patterns:
            found = sorted(self.path.glob(pattern))
            if found:
                return found
        raise TaskError(f"{self.path}: no {' or '.join(patterns)} in this folder")

    def text(self, path: Path) -> str:
        """The whole file; line ends are kept."""
        try:
            data = path.read_bytes()
            self._hash.update(data)
            self._place = str(path)
            return data.decode("utf-8-sig")
        except OSError as error:
            raise TaskError(f"{path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise TaskError(f"{path}: not UTF-8") from None

    def json(self, path: Path) -> Any:
        """A file that is one JSON value."""
        try:
            return json.loads(self.text(path))
        except json.JSONDecodeError as error:
            raise TaskError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None

    def json_lines(self, path: Path) -> Iterator[Doc]:
        """The objects of a file with one a line."""
        for number, line in enumerate(self.text(path).split("\n"), 1):
            if not line.strip():
                continue
            self._place = f"{path}:{number}"
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise TaskError(f"{self._place}: not JSON: {error.msg}") from None
            if not isinstance(value, dict):
                raise TaskError(f"{self._place}: must be an object")
            yield value

    def json_list(self, path: Path) -> Iterator[Doc]:
        """The objects of a file that is a JSON list, or has one object a line."""
        if path.suffix == ".jsonl":
            yield from self.json_lines(path)
            return
        values = self.json(path)
        if not isinstance(values, list) or not all(isinstance(v, dict) for v in values):
            raise TaskError(f"{path}: must be a list of objects")
        for number, value in enumerate(values):
            self._place = f"{path}: entry {number}"
            yield value

    def parquet(self, path: Path) -> Iterator[Doc]:
        """The rows of a Parquet file, as the data hub has most sets."""
        try:
            from pyarrow import ArrowException
            from pyarrow.parquet import ParquetFile
        except ImportError:
            raise TaskError(f"{path}: Parquet needs pyarrow: pip install pyarrow") from None
        try:
            data = path.read_bytes()
            self._hash.update(data)
            batches = ParquetFile(io.BytesIO(data)).iter_batches()
            rows = (row for batch in batches for row in batch.to_pylist())
            for number, row in enumerate(rows, 1):
                self._place = f"{path}: row {number}"
                yield row
        except OSError as error:
            raise TaskError(f"{path}: {error.strerror or error}") from None
        except ArrowException as error:
            raise TaskError(f"{path}: not Parquet: {str(error).splitlines()[0]}") from None

    def records(self, path: Path) -> Iterator[Doc]:
        """The records of a file in any layout that names its fields, by its ending."""
        if path.suffix == ".parquet":
            return self.parquet(path)
        if path.suffix in (".csv", ".tsv"):
            return self.table(path)
        return self.json_lines(path) if path.suffix == ".jsonl" else self.json_list(path)

    def rows(self, path: Path, delimiter: str = ",") -> Iterator[list[str]]:
        """The rows of a CSV file without a header."""
        reader = csv.reader(io.StringIO(self.text(path), newline=""), delimiter=delimiter)
        for row in reader:
            self._place = f"{path}:{reader.line_num}"
            yield row

    def table(self, path: Path) -> Iterator[Doc]:
        """The rows of a CSV or TSV file by the names of its first row."""
        tabs = path.suffix == ".tsv"
        text = io.StringIO(self.text(path), newline="")
        if tabs:  # quotes mean nothing in the TSV files of GLUE
            reader = csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE)
        else:
            reader = csv.DictReader(text)
        for row in reader:
            self._place = f"{path}:{reader.line_num}"
            yield row

    def fail(self, message: str) -> TaskError:
        """An error that names the place that was read last."""
        return TaskError(f"{self._place}: {message}")

    def field(self, document: Doc, *names: str) -> Any:
        """The first of these fields that a document has."""
        for name in names:
            if name in document:
                return document[name]
        raise self.fail(f'the field "{names[0]}" is missing')
