#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random files of texts, read by winnow and by the package datasets: the same texts, or a line that says why not.

    python3 check_documents.py LIST_DOCUMENTS [COUNT] [SEED]     (200 files if not said; LIST_DOCUMENTS: list_documents.c)

Files are JSON lines, one array of objects or strings, a list under a key, objects over several lines or several in one,
plain text and Parquet; with CRLF, byte order marks, blank lines, gzip of one member or two, any name, strings of all
scripts with separators of lines and escapes, nested fields that have a text too, and texts that are missing, null or no
strings; about a sixth is damaged at a random place. Of each file:

  undamaged   winnow reads the texts that were drawn, and a record without one is a bad one; so does datasets, where it
              reads the file (it reads no objects over several lines; where texts are of several types it gives other ones)
  damaged     where both read a record they read the same; what datasets refuses, winnow does not read without a bad
              record, but for layouts that datasets does not read, and for a damaged {" in front, which makes it plain text
  plain text  is one document, its line ends as they are
  Parquet     is named

Ends with 0, 1 when a file differs, which is kept and named, 77 when a package is missing.
"""

import gzip
import io
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
try:
    import datasets
    import pyarrow
    import pyarrow.parquet
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

BAD = None  # in place of a text
ALPHABETS = ["abc XYZ 019", "éüßñ", "жщю", "漢字かな한", "😀🏳🌈", "\u2028\u2029\x85\u00a0\u200b\ufeff",
             "\t\n\r\x0b\x0c\x1c\x1e\x7f", '"\\/{}[]:,', "\\u0041\\n"]  # fmt: skip
INSERTED = [b'"', b",", b"{", b"}", b"[", b"]", b"\\", b":", b"\n", b"x", b"\xff", b"\xc3", b"\x01", b"\0", b"//", b"NaN",
            b"\\ud800", b"\\u0000", b"\\x41", b"\xed\xa0\x80"]  # fmt: skip
KEYS = ["data", "rows", "examples", "train"]
MIXED = "texts of several types"  # which datasets gives as JSON

# ---- drawing ----


def string(draw, most=12):
    return "".join(draw.choice(draw.choice(ALPHABETS)) for _ in range(draw.randint(0, most)))


OTHERS = {  # fields besides the text, each of one type in all records of a file
    "url": string,
    "n": lambda draw: draw.choice([0, -1, 3, 2**40, 1.5, -2.5e-3, 1e22]),
    "flag": lambda draw: draw.random() < 0.5,
    "nothing": lambda draw: None,
    "meta": lambda draw: {"text": string(draw), "more": {"text": string(draw), "list": [1, 2][: draw.randint(0, 2)]}},
    "tags": lambda draw: [string(draw, 4) for _ in range(draw.randint(0, 3))],
    "chat": lambda draw: [{"role": "user", "text": string(draw)} for _ in range(draw.randint(0, 2))],
}


def records(draw):
    """A list of objects, and what their texts are: BAD also where there is none or no string."""
    others = draw.sample(sorted(OTHERS), draw.randint(0, 3))
    odd = draw.random() < 0.2  # some records have no text, or no string
    made, texts = [], []
    for _ in range(draw.randint(1, 6)):
        fields = {"id": len(made)} | {name: OTHERS[name](draw) for name in others}
        text = string(draw)
        if odd and draw.random() < 0.4:
            text = draw.choice([BAD, BAD, 7, ["a"], {"text": "a"}])
        if text is not BAD or draw.random() < 0.5:
            fields["text"] = text
        names = list(fields)
        draw.shuffle(names)
        made.append({name: fields[name] for name in names})
        texts.append(text if isinstance(text, str) else BAD)
    return made, texts


def spelled(draw, text):
    """A JSON string: some characters escaped that need not be."""
    short = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\x0c": "\\f", "\x08": "\\b"}
    result = []
    for c in text:
        if c in short and draw.random() < 0.9 or c in '"\\':
            result.append(short[c])
        elif c < " " or draw.random() < 0.1:
            units = c.encode("utf-16-be")
            result += [f"\\u{units[i]:02x}{units[i + 1]:02X}" for i in range(0, len(units), 2)]
        else:
            result.append("\\/" if c == "/" and draw.random() < 0.5 else c)
    return f'"{"".join(result)}"'


def written(draw, value, space):
    """JSON with random white space of the characters of `space`."""

    def gap():
        return "".join(draw.choices(space, k=draw.choice([0, 0, 0, 1, 2]))) if space else ""

    if isinstance(value, str):
        return spelled(draw, value)
    if isinstance(value, dict):
        names = [json.dumps(key) if key in KEYS else spelled(draw, key) for key in value]
        parts = [f"{gap()}{name}{gap()}:{gap()}{written(draw, part, space)}{gap()}" for name, part in zip(names, value.values())]
        return "{" + (",".join(parts) or gap()) + "}"
    if isinstance(value, list):
        return "[" + (",".join(f"{gap()}{written(draw, part, space)}{gap()}" for part in value) or gap()) + "]"
    return json.dumps(value)


def lines_of(draw, made, end):
    lines = []
    for record in made:
        while draw.random() < 0.15:
            lines.append(draw.choice(["", " ", "\t", "   "]))
        lines.append(draw.choice(["", "", "", " "]) + written(draw, record, draw.choice(["", " ", " \t"])))
    return end.join(lines) + (end if draw.random() < 0.8 else "")


def layout(draw):
    """A layout by name, the file's text and the texts of its records."""
    kind = draw.choice(["lines"] * 4 + ["array", "array", "strings", "wrapped", "objects", "joined", "plain"])
    end = draw.choice(["\n", "\n", "\r\n"])
    if kind == "plain":
        text = draw.choice(["The ", "{curly", "[1] ", '"quoted" ', "# ", "- {", "é"]) + string(draw, 40)
        return kind, text, [text]
    if kind == "strings":
        texts = [string(draw) for _ in range(draw.randint(1, 6))]
        return kind, written(draw, texts, draw.choice(["", " ", " " + end])), texts
    made, texts = records(draw)
    space = draw.choice(["", " ", " " + end])
    if len({type(record["text"]) for record in made if record.get("text") is not None}) > 1:
        return MIXED, draw.choice([lines_of(draw, made, end), written(draw, made, space)]), texts
    if kind == "lines":
        return kind, lines_of(draw, made, end), texts
    if kind == "array":
        return kind, written(draw, made, space) + draw.choice(["", end]), texts
    if kind == "wrapped":
        whole = {"version": "1", draw.choice(KEYS): made, "n": 2}
        return kind, written(draw, whole, space) + draw.choice(["", end]), texts
    if kind == "joined":
        return kind, draw.choice(["", " ", "\r"]).join(written(draw, record, "") for record in made), texts
    return kind, end.join(json.dumps(record, indent=2, ensure_ascii=False).replace("\n", end) for record in made), texts


def damaged(draw, data):
    """Bytes with one mistake."""
    at = draw.randrange(len(data) + 1)
    return draw.choice([
        lambda: data[:at],
        lambda: data[:at] + data[at + 1 :],
        lambda: data[:at] + draw.choice(INSERTED) + data[at:],
        lambda: data.replace(b'"text"', draw.choice([b"'text'", b"text", b'"Text"', b'"text "']), 1),
        lambda: data.replace(b"}", draw.choice([b",}", b', "text": "twice"}', b', "n": NaN}', b"}}"]), 1),
        lambda: data.replace(b"]", b",]", 1),
    ])()  # fmt: skip


def packed(draw, data):
    at = draw.choice([0, len(data) // 2])
    return b"".join(gzip.compress(part) for part in ([data[:at], data[at:]] if at else [data]))


def parquet(texts):
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.array(texts, pyarrow.string())}), out)
    return out.getvalue()


def draw_file(draw, folder, number):
    """Path, layout (with "damaged" or not) and texts of a new file."""
    kind, text, texts = layout(draw)
    data, harmed = text.encode("utf-8"), kind != "plain" and draw.random() < 0.17
    if harmed:
        data = damaged(draw, data)
    if draw.random() < 0.15:
        data = b"\xef\xbb\xbf" + data
    named = [".json", ".jsonl", ".ndjson"]
    name = f"{number}" + draw.choice({"plain": [".txt", "", ".md"], "strings": named}.get(kind, [*named, ".txt", ""]))
    if kind != "plain" and draw.random() < 0.03:
        kind, data, harmed = "parquet", parquet(texts), False
    elif draw.random() < 0.2:
        name, data = name + ".gz", packed(draw, data)
    path = folder / name
    path.write_bytes(data)
    return path, kind, harmed, texts


# ---- reading ----


def by_winnow(program, paths):
    """Of every file its texts, BAD for a bad record; or the message of a refusal."""
    done = subprocess.run([program], input="".join(f"{path}\n" for path in paths), capture_output=True, encoding="utf-8",
                          errors="replace", check=True)  # fmt: skip
    found = []
    for line in done.stdout.split("\n")[:-1]:
        word, _, rest = line.partition(" ")
        if word in ("file", "refused"):
            found.append([] if word == "file" else line)
        elif word in ("text", "bad"):
            found[-1].append(bytes.fromhex(rest).decode("utf-8") if word == "text" else BAD)
    return found


def by_datasets(path, kind):
    """Texts, BAD where there is no string; or the message of a refusal."""
    more = {}
    if kind == "wrapped":
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rb") as file:
            content = file.read()
        found = [key for key in KEYS if f'"{key}"'.encode() in content]
        more = {"field": found[0]} if len(found) == 1 else {}
    try:
        rows = list(datasets.load_dataset("json", data_files=str(path), split="train", streaming=True, **more))
    except Exception as error:  # of many kinds
        return f"refused {type(error).__name__}: {str(error)[:200]}"
    return [row["text"] if isinstance(row.get("text"), str) else BAD for row in rows]


def is_plain(texts):
    """Whether this is a text that does not begin as JSON does."""
    return len(texts) == 1 and not re.match(r"\s*(\{\s*[\"'}]|\[\s*\{)", texts[0])


def mistake(kind, harmed, texts, ours, theirs):
    """What is wrong with a file; None: nothing."""
    if kind == "parquet":
        return None if isinstance(ours, str) and "is Parquet" in ours else "is not named"
    if not harmed and ours != texts:
        return "differs from what was drawn"
    if kind in ("plain", MIXED):
        return None
    if isinstance(theirs, str):
        strict = harmed and kind in ("lines", "array") and not isinstance(ours, str) and BAD not in ours
        return "is refused by datasets alone" if strict and not is_plain(ours) else None
    if isinstance(ours, str):
        return None if harmed else "is refused by winnow alone"
    if harmed and len(ours) != len(theirs):
        return None if BAD in ours else "has other records in datasets"
    differing = [1 for a, b in zip(ours, theirs) if a != b and not (harmed and a is BAD)]
    return "has other texts in datasets" if differing or (not harmed and len(ours) != len(theirs)) else None


def main():
    program, count, seed = sys.argv[1], int((sys.argv[2:] or [200])[0]), int((sys.argv[3:] or [0])[0])
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL + 1)
    draw, wrong, refused = random.Random(seed), 0, 0
    folder = pathlib.Path(tempfile.mkdtemp(prefix="winnow-documents-"))
    files = [draw_file(draw, folder, number) for number in range(count)]
    for (path, kind, harmed, texts), ours in zip(files, by_winnow(program, [path for path, *_ in files])):
        theirs = [] if kind in ("plain", "parquet") else by_datasets(path, kind)
        refused += isinstance(theirs, str)
        said = mistake(kind, harmed, texts, ours, theirs)
        if said is None:
            path.unlink()
        else:
            wrong += 1
            print(f"{path} ({kind}{', damaged' * harmed}) {said}\n  drawn    {texts}\n  winnow   {ours}\n  datasets {theirs}")
    print(f"{count} files, {refused} refused by datasets, {wrong} differ")
    if not wrong:
        shutil.rmtree(folder)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
