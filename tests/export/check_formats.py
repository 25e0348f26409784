# SPDX-License-Identifier: Apache-2.0
"""Packed exports of the demo model against their plain exports, by readers of our own and by the formats' libraries.

    python3 tests/export/check_formats.py WINNOW SOURCE_FOLDER

Points of every kind of code, group, order and mask are exported as plain fp32 numbers and in every format that holds
them. The arrays of the format, taken apart here by numpy from the descriptions of the formats, give the plain weights
bit for bit where no number was rounded, else with exactly the rounded scales; their bytes are those that the export
tells. compressed-tensors unpacks codes itself (masks too, where it is a release that still reads them), and
transformers loads whole checkpoints with the perplexity of the results file. What a format cannot hold is refused in
one line and leaves nothing. Needs numpy, torch, transformers, safetensors, h5py and compressed-tensors. Exit codes: 0
passed, 1 failed, 77 skipped because a package is missing.
"""

import json
import os
import pathlib
import shutil
import sys
import tempfile
import warnings

os.environ["TQDM_DISABLE"] = "1"  # before the packages with bars
try:
    import check_export  # exits with 77 where a package is missing
    import compressed_tensors
    import h5py
    import numpy
    import torch
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme
    from safetensors.torch import load_file, save_file
    from transformers import CompressedTensorsConfig, logging
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

G = {"calibration": "general"}
CT, GPTQ, AWQ = "compressed-tensors", "gptq", "awq"
# Grid cell, what holds it, and what one of the others says.
POINTS = [
    ({"method": "rtn", "bits": 4, "group": 32}, {CT: "pack-quantized", GPTQ: "v1", AWQ: "gemm"}, {}),
    ({"method": "rtn", "bits": 4, "group": 32, "symmetric": True}, {CT: "pack-quantized", GPTQ: "v1", AWQ: "gemm"}, {}),
    ({"method": "rtn", "bits": 2, "group": 64}, {CT: "pack-quantized", GPTQ: "v1"}, {AWQ: "have 4 bits"}),
    ({"method": "rtn", "bits": 3, "group": "channel"}, {CT: "pack-quantized", GPTQ: "v1"}, {}),
    ({"method": "rtn", "bits": 5, "group": 32}, {CT: "pack-quantized"}, {GPTQ: "2, 3, 4 or 8 bits"}),
    ({"method": "rtn", "bits": 6, "group": "tensor"}, {CT: "pack-quantized"}, {}),
    ({"method": "rtn", "bits": 7, "group": 128}, {CT: "pack-quantized"}, {}),
    ({"method": "rtn", "bits": 8, "group": "channel", "symmetric": True}, {CT: "int-quantized", GPTQ: "v1"}, {}),
    ({"method": "rtn", "bits": 8, "group": 32}, {CT: "pack-quantized", GPTQ: "v1"}, {}),
    ({"method": "rtn", "bits": 4, "group": 32, "symmetric": True, "input_bits": 8}, {CT: "int-quantized", GPTQ: "v1"}, {}),
    ({"method": "gptq", "bits": 4, "symmetric": True, "input_bits": 6, "input_group": "token", **G}, {CT: "int-quantized"}, {}),
    ({"method": "rtn", "bits": 4, "group": 32, "input_bits": 8}, {CT: "pack-quantized"}, {}),
    ({"method": "llm_int8"}, {CT: "int-quantized", GPTQ: "v1"}, {}),
    ({"method": "gptq", "bits": 4, "group": 32, "act_order": True, **G}, {GPTQ: "v1"}, {CT: "act_order"}),
    ({"method": "gptq", "bits": 3, "act_order": True, **G}, {CT: "pack-quantized", GPTQ: "v1"}, {}),
    (
        {"method": "gptq", "bits": 4, "group": 32, "act_order": True, "static_groups": True, **G},
        {CT: "pack-quantized", GPTQ: "v1", AWQ: "gemm"},
        {},
    ),
    (
        {"prune": "wanda", "sparsity": 0.5, "quantize": "gptq", "bits": 4, "group": 32, **G},
        {CT: "pack-quantized", GPTQ: "v1", AWQ: "gemm"},
        {},
    ),
    ({"method": "sparsegpt", "pattern": "2:4", "bits": 4, "symmetric": True, **G}, {CT: "pack-quantized", GPTQ: "v1"}, {}),
    ({"method": "awq", "bits": 4, "group": 32, **G}, {CT: "pack-quantized", GPTQ: "v1", AWQ: "gemm"}, {}),
    ({"method": "awq", "bits": 3, "symmetric": True, "group": "channel", **G}, {CT: "pack-quantized"}, {AWQ: "have 4 bits"}),
    ({"method": "smoothquant", **G}, {CT: "int-quantized", GPTQ: "v1"}, {AWQ: "have 4 bits"}),
    ({"method": "smoothquant", "bits": 6, **G}, {CT: "int-quantized"}, {}),
    ({"method": "wanda", "pattern": "2:4", **G}, {CT: "sparse-24-bitmask"}, {GPTQ: "only zeros"}),
    ({"method": "wanda", "pattern": "4:8", **G}, {CT: "sparse-bitmask"}, {}),
    ({"method": "sparsegpt", "sparsity": 0.7, **G}, {CT: "sparse-bitmask"}, {AWQ: "only zeros"}),
    ({"method": "spqr", "bits": 3, **G}, {}, {CT: "second level and outliers", GPTQ: "second level"}),
    ({"method": "drop", "sparsity": 0.4, **G}, {}, {CT: "leaves out branches"}),
    ({"method": "none"}, {}, {AWQ: "not compressed"}),
]

failures = 0


def fail(text):
    global failures
    failures += 1
    print(text)


# ---- readers of our own ----


def stream(words, bits, count):
    """Codes of `bits` bits along the last axis of 32-bit words, the lowest bits first."""
    octets = numpy.ascontiguousarray(words).view(numpy.uint8)
    single = numpy.unpackbits(octets, axis=-1, bitorder="little")[..., : count * bits]
    return (single.reshape(*single.shape[:-1], count, bits) << numpy.arange(bits)).sum(-1).astype(numpy.int32)


def nibbles(words):
    """The order of awq: of eight outputs 0, 2, 4, 6, 1, 3, 5, 7."""
    codes = stream(words, 4, 8 * words.shape[-1])
    return codes.reshape(*codes.shape[:-1], -1, 8)[..., [0, 4, 1, 5, 2, 6, 3, 7]].reshape(codes.shape)


def dense(codes, zeros, scales, groups):
    """[rows, columns] codes, [rows, grids] zero points and scales, [columns] grid of a column; in fp32."""
    return (codes - zeros[:, groups]).astype(numpy.float32) * scales[:, groups].astype(numpy.float32)


def unpack(parts, about, config):
    """The weights of one linear from the arrays of its format; their shape is that of the plain export."""
    kind, rows, columns = about["kind"], about["rows"], about["columns"]
    if kind in ("sparse-24-bitmask", "sparse-bitmask"):
        mask = numpy.unpackbits(parts["bitmask"], axis=-1, bitorder="little")[:, :columns].astype(bool)
        assert parts["shape"].ravel().tolist() == [rows, columns]
        if kind == "sparse-bitmask":
            assert parts["row_offsets"].tolist() == [0, *mask.sum(1).cumsum()[:-1].tolist()]
        out = numpy.zeros((rows, columns), numpy.float32)
        out[mask] = parts["compressed"].ravel()
        return out
    if about["format"] == CT:
        (group,) = config["config_groups"].values()
        weights = group["weights"]
        bits, scales = weights["num_bits"], parts["weight_scale"]
        groups = numpy.arange(columns) // weights.get("group_size", columns)
        zeros = numpy.full(scales.shape, 1 << (bits - 1))
        if kind == "int-quantized":
            return dense(parts["weight"].astype(numpy.int32) + (1 << bits >> 1), zeros, scales, groups)
        if not weights["symmetric"]:
            zeros = stream(parts["weight_zero_point"].T, bits, rows).T
        return dense(stream(parts["weight_packed"], bits, columns), zeros, scales, groups)
    scales = parts["scales"].T
    if about["format"] == GPTQ:
        codes = stream(parts["qweight"].T, config["bits"], columns)
        zeros = stream(parts["qzeros"], config["bits"], rows).T + 1
        return dense(codes, zeros, scales, parts["g_idx"])
    size = config["group_size"] if config["group_size"] > 0 else columns
    return dense(nibbles(parts["qweight"]).T, nibbles(parts["qzeros"]).T, scales, numpy.arange(columns) // size)


def formula(about, config, kept):
    """Bytes that the arrays of a linear should have."""
    rows, columns, kind = about["rows"], about["columns"], about["kind"]
    numbers = {"float32": 4, "float16": 2, "bfloat16": 2, "source": 2}[about["dtype"]]
    if kind == "sparse-24-bitmask":
        return rows * columns // 2 * numbers + rows * columns // 8 + 16
    if kind == "sparse-bitmask":
        return kept * numbers + rows * columns // 8 + 16 + 8 * rows
    weights = {"num_bits": config.get("bits"), "group_size": config.get("group_size"), "symmetric": False}
    if about["format"] == CT:
        weights = next(iter(config["config_groups"].values()))["weights"]
    bits, size = weights["num_bits"], weights.get("group_size", -1)
    grids = rows * (columns // size if size > 0 else 1)
    if kind == "int-quantized":
        return rows * columns + grids * numbers
    if about["format"] == CT:
        zeros = 0 if weights["symmetric"] else -(-rows * bits // 32) * 4 * grids // rows
        return rows * -(-columns * bits // 32) * 4 + grids * numbers + 16 + zeros
    return rows * columns * bits // 8 + grids * 2 + grids * bits // 8 + (4 * columns if kind == "v1" else 0)


# ---- exports ----


def tensors_of(folder):
    found = {}
    for path in sorted(folder.glob("model*.safetensors")):
        found.update(load_file(path))
    return found


def numbers(tensor):
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def check_library(name, parts, about, config, wanted):
    """The library's own unpacking, in the dtype of the scales."""
    if about["kind"].startswith("sparse"):
        try:
            from compressed_tensors.compressors.sparse_compressors import sparse_24_bitmask, sparse_bitmask
        except ImportError:
            return 0
        if about["kind"] == "sparse-bitmask":
            got = sparse_bitmask.BitmaskTensor(**parts).decompress()
        else:
            got = sparse_24_bitmask.Sparse24BitMaskTensor.from_compressed_data(**parts).decompress()
        if not numpy.array_equal(numbers(got), wanted):
            fail(f"{name}: compressed-tensors {compressed_tensors.__version__} reads other weights")
        return 1
    if not hasattr(BaseCompressor, "decompress_module"):  # releases below 0.15 have another interface
        return 0
    scheme = QuantizationScheme.model_validate(next(iter(config["config_groups"].values())))
    compressor = BaseCompressor.get_value_from_registry(about["kind"])
    got = compressor.decompress(dict(parts), scheme)["weight"]
    if not numpy.array_equal(got.float().numpy(), wanted):
        fail(f"{name}: compressed-tensors {compressed_tensors.__version__} reads other weights")
    return 1


def fold(wanted, codes, about):
    """Moves scales of inputs in the plain weights to where a file has them; the names of what is divided or scaled."""
    touched = set()
    for name in about["linears"]:
        block, _, linear = name.rpartition(".")
        scale = codes.get(f"{name}.input_scale")
        if scale is None:
            continue
        wanted[f"{name}.weight"] = wanted[f"{name}.weight"].float() * scale
        layer = block.rpartition(".")[0]
        maker = {"q_proj": "input_layernorm", "gate_proj": "post_attention_layernorm", "down_proj": "mlp.up_proj"}.get(linear)
        if maker:
            key = f"{layer}.{maker}.weight"
            touched |= {key}
            wanted[key] = wanted[key] / (scale[:, None] if linear == "down_proj" else scale)
    return touched


def check_point(source, plain, folder, kind, exact):
    """Every linear of a packed export beside the plain one, every other tensor beside those of the checkpoint `source`;
    how many linears the library has read too."""
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    about = json.loads((folder / "winnow_export.json").read_text())
    packed, wanted, by_library, total = tensors_of(folder), tensors_of(plain), 0, 0
    folds = fold(wanted, load_file(plain / "winnow_codes.safetensors"), about) if about["scales_folded"] else set()
    if about["scales_folded"] and len(folds) < 2:
        fail(f"{folder.name}: no scale was moved")
    if about["packed_kind"] != kind or (exact and about["numbers_rounded"]):
        fail(f"{folder.name}: {about['packed_kind']}, {about['numbers_rounded']} numbers rounded")
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    if index.keys() != packed.keys():
        fail(f"{folder.name}: the index names other tensors than there are")
    for name, linear in about["linears"].items():
        parts = {key[len(name) + 1 :]: packed.pop(key) for key in list(packed) if key.startswith(f"{name}.")}
        reference = wanted.pop(f"{name}.weight").float().numpy()
        this = {"format": about["packed_as"], "kind": kind, "dtype": about["numbers_dtype"]}
        this |= {"rows": linear["rows"], "columns": linear["columns"]}
        parts.pop("bias", None)
        got = unpack({key: numbers(part) for key, part in parts.items()}, this, config)
        bytes_there = sum(part.nbytes for part in parts.values())
        total += bytes_there
        if bytes_there != formula(this, config, linear.get("kept")):
            fail(f"{folder.name}: {name} has {bytes_there} bytes, not {formula(this, config, linear.get('kept'))}")
        difference = numpy.abs(got - reference)
        limit = 2.0**-21 if folds else 0
        if about["numbers_rounded"]:
            limit += 2.0**-8 if about["numbers_dtype"] == "bfloat16" else 2.0**-11
        if not (difference <= limit * numpy.abs(reference)).all():
            fail(f"{folder.name}: {name} differs by {difference.max():.3g}")
        if about["packed_as"] == CT and this["dtype"] in ("float32", "source"):
            by_library += check_library(f"{folder.name}: {name}", parts, this, config, got)
    if total != about["bytes_linears"]:
        fail(f"{folder.name}: its linears have {total} bytes, not {about['bytes_linears']}")
    for key in packed.keys() ^ wanted.keys():
        fail(f"{folder.name}: {key} is not in both exports")
    for key in packed.keys() & wanted.keys():
        if packed[key].dtype != (torch.float32 if key in folds else source[key].dtype):
            fail(f"{folder.name}: {key} is {packed[key].dtype}")
        if key in folds and not torch.allclose(packed[key], wanted[key], rtol=2.0**-22, atol=0):
            fail(f"{folder.name}: {key} is not divided by the scale")
        if key not in folds and not torch.equal(packed[key].float(), wanted[key].float()):
            fail(f"{folder.name}: {key} is not as in the plain export")
    return by_library


def check_refusal(done, to, reason):
    if not check_export.is_refusal(done, to, reason):
        fail(f'{to.name}: not refused for "{reason}": {done.returncode} {done.stderr}')


def check_perplexity(results, folder, point, rounds_inputs):
    """By transformers, which sets up zero points of asymmetric codes unpacked unless it dequantizes, and rounds inputs
    unless it does. 8-bit inputs make a small model chaotic: noise of 1e-7 in them moves this perplexity by 2e-3."""
    options = {} if rounds_inputs else {"quantization_config": CompressedTensorsConfig(dequantize=True)}
    tolerance = 5e-3 if rounds_inputs else check_export.TOLERANCE
    with h5py.File(results) as file:
        for name, there, here in check_export.scores(file, folder, point, **options):
            if not abs(here / there - 1) <= tolerance:
                fail(f"{folder.name}: transformers has the {name} perplexity {here}, the results file {there}")


def in_bf16(model, to):
    """The model as most are published: formats have dtypes of their own beside it."""
    shutil.copytree(model, to)
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(model / "model.safetensors").items()}
    save_file(tensors, to / "model.safetensors")
    config = json.loads((model / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(config | {"torch_dtype": "bfloat16"}))
    return to


def main(winnow, source):
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        model = in_bf16(source / "sweeps/demo/model", folder / "model")
        grid = [cell for cell, _, _ in POINTS if cell != {"method": "none"}]
        results = check_export.run_demo(winnow, folder, source, model, grid)
        read, loaded, tensors = 0, set(), tensors_of(model)
        for number, (cell, holds, refusals) in enumerate(POINTS, 1):
            point = number % len(POINTS)  # the dense model is point 0
            plain = folder / f"plain-{point}"
            if holds:
                check_export.export(winnow, results, point, plain)
            for name, kind in holds.items():
                to = folder / f"{name}-{point}"
                done = check_export.export(winnow, results, point, to, "--format", name)
                if done.returncode:
                    fail(f"{to.name}: {done.stderr}")
                    continue
                exact = name == CT
                if not exact and "not held exactly by float16" not in done.stderr:
                    fail(f"{to.name}: does not say that scales are rounded: {done.stderr}")
                read += check_point(tensors, plain, to, kind, exact)
                method = cell.get("method")
                rounds = method == "smoothquant" or "input_bits" in cell
                says = rounds and kind == "int-quantized"
                wanted = "inputs are rounded" if says else "cannot say" if rounds or method == "llm_int8" else ""
                if wanted not in done.stderr or ("inputs" in done.stderr) != bool(wanted):
                    fail(f'{to.name}: not told "{wanted}": {done.stderr}')
                kinds = (kind, method, says)
                if kind in ("pack-quantized", "int-quantized") and method != "llm_int8" and kinds not in loaded:
                    loaded.add(kinds)
                    check_perplexity(results, to, point, says)
            for name, reason in refusals.items():
                to = folder / f"no-{name}-{point}"
                check_refusal(check_export.export(winnow, results, point, to, "--format", name), to, reason)
        rounded = folder / "rounded"
        done = check_export.export(winnow, results, 1, rounded, "--format", CT, "--dtype", "bf16")
        if "not held exactly by bfloat16" not in done.stderr:
            fail(f"bf16: does not say that scales are rounded: {done.stderr}")
        if not read:
            fail("the library has read no linear")
        done = check_export.export(winnow, results, 1, folder / "no", "--format", GPTQ, "--dtype", "f32")
        check_refusal(done, folder / "no", "--dtype f32: the scales of gptq are f16")
        done = check_export.export(winnow, results, 1, folder / "no", "--format", "ggml")
        check_refusal(done, folder / "no", 'format "ggml": expected compressed-tensors, gptq, awq or gguf')
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], pathlib.Path(sys.argv[2])))
