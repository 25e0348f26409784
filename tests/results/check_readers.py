# SPDX-License-Identifier: Apache-2.0
"""Opens a results file with h5py, xarray (engines h5netcdf and netcdf4), h5dump and ncdump.

Usage: check_readers.py TEST_RESULTS, the program built from test_results.c, which writes the file. Exit codes: 0 passed,
1 failed, 77 skipped because a Python package is missing. The engine netcdf4 and the two programs are left out, with a
line, where they are not installed.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile

try:
    import h5netcdf  # noqa: F401
    import h5py
    import numpy
    import xarray
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

POINTS, CELLS, BLOCKS, LINEARS, TOKENS = 40, 50, 3, 2, 300
WRITTEN = 30


def check_axes(file):
    """Every dataset outside the documents has a scale and a label on each axis, and fields say what they are."""
    count = 0

    def visit(name, item):
        nonlocal count
        if not isinstance(item, h5py.Dataset) or item.shape == () or item.is_scale:
            return
        count += 1
        for axis, size in enumerate(item.shape):
            dimension = item.dims[axis]
            assert len(dimension) == 1, f"{name}: axis {axis} has {len(dimension)} scales"
            assert dimension[0].shape == (size,), name
            assert dimension.label and dimension[0].name == f"/{dimension.label}", name
        assert item.chunks is None and item.compression is None, name
        assert item.attrs["long_name"], name
        if item.dtype.kind in "fiu":
            assert item.attrs["units"], name
            complete = name.startswith("points/") or name.startswith("tokens/wikitext2/token_id")
            assert "_FillValue" in item.attrs or complete or item.size == 0, name

    file.visititems(visit)
    assert count == 27, count


def check_h5py(path):
    with h5py.File(path) as file:
        assert file.attrs["Conventions"] == "CF-1.8" and file.attrs["winnow_version"] == "0.1.0"
        assert file.attrs["schema_version"][0] == 2
        assert file["identity"].asstr()[()] == "model demo\nseed 0\n"
        assert file["provenance"].attrs["compiler"] == "gcc 12.2"
        assert file["point"].asstr()[7] == "wanda-é-07"
        assert file["points/status"].attrs["flag_meanings"] == "open done failed"
        assert file["weights/zeros"].attrs["_FillValue"][0] == -1
        assert file["weights/zeros"][WRITTEN:].max() == -1
        assert numpy.isnan(file["weights/output_error"].attrs["_FillValue"][0])
        assert file["tokens/wikitext2/top1"][WRITTEN].min() == 255
        assert file["points/symmetric"].attrs["flag_meanings"] == "false true"
        assert list(file["points/symmetric"].attrs["flag_values"]) == [0, 1]
        assert file["tokens/wikitext2/token_id"].shape == (TOKENS,)
        assert "_FillValue" not in file["tokens/wikitext2/token_id"].attrs  # nothing is missing
        assert file["weights/rank"].attrs["_FillValue"][0] == -1
        check_axes(file)


def check_values(weights, tokens, points, scores):
    assert weights.zeros.dims == ("point", "block", "linear"), weights.zeros.dims
    assert weights.zeros.attrs["units"] == "1"
    assert weights.zeros.values[5, 0, 0] == 1000500 and numpy.isnan(weights.zeros.values[WRITTEN, 0, 0])
    assert tokens.loss.dims == ("point", "token_wikitext2") and tokens.loss.attrs["units"] == "nat"
    assert weights["rank"].dims == ("block", "linear") and weights["rank"].values[2, 0] == 1
    assert numpy.isnan(weights["rank"].values[1, 0])
    assert tokens.token_id.dims == ("token_wikitext2",) and tokens.token_id.dtype.kind == "i"
    assert tokens.token_id.values[17] == 1000003 + 7 * 17
    assert tokens.loss.values[2, 3] == (2 * TOKENS + 3) / 4 + 1
    assert points.sizes["point"] == POINTS
    assert str(points.key.values[7]) == "wanda-é-07"
    assert points.reason.dims == ("point",)
    reason = points.reason.values[7]
    assert (reason.decode() if isinstance(reason, bytes) else str(reason)) == "point 7: naïve", reason
    assert points.seconds.values[0] == 1.5 and points.seconds.dtype.kind == "f"
    assert list(points.status.values[28:31]) == [1, 2, 0]
    assert scores.length.values[2] == 20 and numpy.isnan(scores.length.values[WRITTEN])


def check_xarray(path, engine):
    groups = ["/weights", "/tokens/wikitext2", "/points", "/scores"]
    opened = [xarray.open_dataset(path, group=group, engine=engine) for group in groups]
    check_values(*opened)
    with xarray.open_dataset(path, group="/starts", engine=engine) as starts:
        assert set(starts) >= {"time", "arithmetic", "hosts", "ranks"} and starts.sizes["start"] == 128, starts
    for dataset in opened:
        dataset.close()
    with xarray.open_dataset(path, engine=engine) as root:
        assert str(root.point.values[7]) == "wanda-é-07"
        assert [str(label) for label in root.linear.values] == ["attn.q_proj", "mlp.up_proj"]
        assert list(root.block.values) == list(range(BLOCKS))
        assert root.sizes["cell"] == CELLS
    with xarray.open_dataset(path, group="/cells", engine=engine) as cells:
        assert cells.point.values[45] == 5


def check_program(command, expected):
    if not shutil.which(command[0]):
        print(f"{command[0]} is not installed: left out")
        return
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for text in expected:
        assert text in done.stdout, f"{command}: no {text!r}"


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "readers.h5")
        subprocess.run([sys.argv[1], "keep", path], check=True)
        check_h5py(path)
        check_xarray(path, "h5netcdf")
        if importlib.util.find_spec("netCDF4"):
            check_xarray(path, "netcdf4")
        else:
            print("netCDF4 is not installed: left out")
        check_program(["h5dump", "-H", path], ['DATASET "zeros"', "DIMENSION_LIST"])
        check_program(["ncdump", "-h", path], ["zeros(point, block, linear)", 'loss:units = "nat"'])


if __name__ == "__main__":
    main()
