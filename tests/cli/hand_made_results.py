# SPDX-License-Identifier: Apache-2.0
"""Results files whose parts do not fit each other, made from a good one: python hand_made_results.py GOOD.h5 FOLDER

Writes FOLDER/NAME.h5 for each case of the folder hand_made and prints "NAME WHAT": `refused` where every command must
refuse the file, `answered` where it may also be read, with whatever is in it.
"""

import importlib
import shutil

import h5py
from hand_made.cases import CASES, FOLDER, GOOD

for group in ("datasets", "contents", "files"):
    importlib.import_module(f"hand_made.{group}")

for name, what, raw, function in CASES:
    target = FOLDER / f"{name}.h5"
    if raw:
        target.write_bytes(function(GOOD.read_bytes()))
    else:
        shutil.copyfile(GOOD, target)
        with h5py.File(target, "r+") as changed:
            function(changed)
    print(name, what)
