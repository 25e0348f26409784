# SPDX-License-Identifier: Apache-2.0
"""Writes a safetensors file with one mistake.

    python3 edit_safetensors.py IN.safetensors OUT.safetensors EDIT [TENSOR]

EDIT: truncate   the last 1000 bytes are missing
      header     the header is no JSON
      overlap    TENSOR begins 4 bytes too early and ends 4 bytes too early
      dtype      TENSOR is I32
      shape      TENSOR has its axes swapped
      absent     TENSOR is left out
      nan        element 7 of TENSOR is NaN
"""
import json
import struct
import sys


def read(path):
    data = open(path, "rb").read()
    length = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    return header, bytearray(data[8 + length :])


def write(path, header, body):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + body)


def without(header, body, name):
    kept, out = {}, bytearray()
    for key, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        if key != name:
            first, end = entry["data_offsets"]
            kept[key] = {**entry, "data_offsets": [len(out), len(out) + end - first]}
            out += body[first:end]
    return kept, out


def main(source, target, edit, name=None):
    header, body = read(source)
    entry = header.get(name)
    if edit == "truncate":
        body = body[:-1000]
    elif edit == "header":
        header = b'{"model.norm.weight": {"dtype": '
    elif edit == "overlap":
        entry["data_offsets"] = [offset - 4 for offset in entry["data_offsets"]]
    elif edit == "dtype":
        entry["dtype"] = "I32"
    elif edit == "shape":
        entry["shape"] = entry["shape"][::-1]
    elif edit == "absent":
        header, body = without(header, body, name)
    elif edit == "nan":
        size = {"F32": 4, "F16": 2, "BF16": 2}[entry["dtype"]]
        place = entry["data_offsets"][0] + 7 * size
        body[place : place + size] = b"\xff" * (size - 1) + b"\x7f"
    else:
        sys.exit(f"unknown edit {edit}")
    write(target, header, body)


main(*sys.argv[1:])
