#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The first blocks of a real checkpoint, compressed by winnow and by the published codes on the same inputs.

    python3 check_published.py WINNOW MODEL PUBLISHED [--data FILE.jsonl] [--blocks N] [--quick] [WORD ...]

MODEL is a Llama checkpoint (SmolLM2-135M), PUBLISHED a folder with copies of the repositories IST-DASLab/sparsegpt,
locuslab/wanda and IST-DASLab/gptq as sparsegpt/, wanda/ and gptq/, which run unchanged: the classes SparseGPT and GPTQ,
the grids of Quantizer, and Wanda's loops over the linears of a block. winnow compresses a model of the first N blocks
(default 3) on 16 sequences of 256 tokens of FILE (records with "text"); transformers runs the same sequences through the
same blocks, and behind each block through the weights that winnow made of it, so both see the same inputs. A point for
each method and rule of these codes (--quick: the main ones), but N:M by magnitude, where weights tie and topk takes any;
WORD: only points whose product has them all. Of each:

  zeros   entries that are zero in both or in neither: at least 99.95 %
  codes   entries whose published weight has the code that winnow gives it, on winnow's grid within a hundredth of a step:
          at least 99.8 %; rounding is chaotic, so one entry between two codes changes the rest of its row

Ends with 0, or 1 when a share is below; 77 when a package, a folder or the program is not there.
"""

import argparse
import contextlib
import copy
import importlib
import io
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import types

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "export"))
import check_export  # noqa: E402  (exits with 77 where a package is missing)
import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import logging  # noqa: E402
from walk import LINEARS, Walk, batches, c4_windows  # noqa: E402

ZEROS, CODES, NEAR = 0.9995, 0.998, 0.01
SAMPLES, LENGTH, SEED = 16, 256, 0
C = {"calibration": "general"}
QUICK = [
    {"method": "magnitude", "sparsity": 0.5, "rule": "reference"},
    {"method": "wanda", "sparsity": 0.5} | C,
    {"method": "sparsegpt", "sparsity": 0.5, "rule": "reference"} | C,
    {"method": "sparsegpt", "pattern": "2:4"} | C,
    {"method": "rtn", "bits": 4},
    {"method": "gptq", "bits": 4} | C,
]
MORE = [
    {"method": "wanda", "pattern": "2:4"} | C,
    {"method": "wanda", "sparsity": 0.5, "variant": "alpha"} | C,
    {"method": "sparsegpt", "sparsity": 0.5, "rule": "reference", "bits": 4} | C,
    {"method": "sparsegpt", "pattern": "4:8"} | C,
    {"method": "rtn", "bits": 3, "group": 128},
    {"method": "rtn", "bits": 4, "clip": "mse"},
    {"method": "rtn", "bits": 4, "symmetric": True},
    {"method": "gptq", "bits": 3, "group": 128, "group_statistics": "reference"} | C,
    {"method": "gptq", "bits": 4, "act_order": True} | C,
    {"method": "gptq", "bits": 3, "group": 128, "act_order": True, "static_groups": True} | C,
    {"method": "gptq", "bits": 4, "symmetric": True} | C,
]

# ---- the published codes ----


class Published:
    """Their modules. They want CUDA: what they ask of it is nothing on a CPU."""

    def __init__(self, folder):
        torch.cuda.synchronize = lambda *_: None
        torch.Tensor.cuda = lambda tensor, *_: tensor
        sys.modules.setdefault("datasets", types.SimpleNamespace(load_dataset=None))  # of their loaders, not run here
        self.sparsegpt, self.sparsegpt_quant = self.load(folder / "sparsegpt", "sparsegpt", "quant")
        self.gptq, self.gptq_quant = self.load(folder / "gptq", "gptq", "quant")
        (self.wanda,) = self.load(folder / "wanda", "lib.prune")

    @staticmethod
    def load(folder, *names):
        """Both IST repositories have a module quant: neither stays in sys.modules."""
        sys.path.insert(0, str(folder))
        with contextlib.redirect_stdout(io.StringIO()):
            modules = [importlib.import_module(name) for name in names]
        sys.path.remove(str(folder))
        for name in names:
            del sys.modules[name]
        return modules


def grid(module, product):
    quantizer = module.Quantizer()
    quantizer.configure(product["bits"], perchannel=True, sym=product.get("symmetric", False),
                        mse=product.get("clip") == "mse")  # fmt: skip
    return quantizer


class Block(torch.nn.Module):
    """A block as their code calls it: with a mask and positions, and a tuple as its answer."""

    def __init__(self, walk, layer):
        super().__init__()
        self.layer, self.walk = layer, [walk]

    def forward(self, hidden, attention_mask=None, position_ids=None):
        return (self.walk[0].run(self.layer, hidden),)


class OneBlock(torch.nn.Module):
    """A model of one block, whose tokens are numbers of sequences of hidden states."""

    def __init__(self, walk, layer, states):
        super().__init__()
        self.model = torch.nn.Module()
        self.model.layers = torch.nn.ModuleList([Block(walk, layer)])
        self.config = types.SimpleNamespace(use_cache=False, hidden_size=states.shape[-1])
        self.hf_device_map, self.seqlen, self.states = {}, states.shape[1], states

    def forward(self, number):
        return self.model.layers[0](self.states[number], attention_mask=None, position_ids=None)


def zeros_of(pattern):
    return dict(zip(("prune_n", "prune_m"), map(int, pattern.split(":")))) if pattern else {}


def by_loops(published, walk, layer, states, product):
    """Magnitude and Wanda: their loops over a model."""
    module, pattern = published.wanda, zeros_of(product.get("pattern"))
    options = types.SimpleNamespace(nsamples=len(states), seed=SEED, use_variant="variant" in product,
                                    sparsity_ratio=product.get("sparsity", 0))  # fmt: skip
    module.get_loaders = lambda *_, **__: ([(torch.tensor([i]),) for i in range(len(states))], None)
    model, loop = OneBlock(walk, layer, states), getattr(module, f"prune_{product['method']}")
    loop(options, model, None, torch.device("cpu"), **pattern)


def by_class(published, walk, layer, states, product):
    """SparseGPT and GPTQ: an object for each linear, which sees its inputs sequence by sequence."""
    objects = {}
    for name in LINEARS:
        linear = layer.get_submodule(name)
        one = published.sparsegpt.SparseGPT(linear) if product["method"] == "sparsegpt" else published.gptq.GPTQ(linear)
        if "bits" in product:
            one.quantizer = grid(getattr(published, f"{product['method']}_quant"), product)
        objects[name] = one
    hooks = [layer.get_submodule(name).register_forward_hook(
        lambda _module, inputs, output, one=one: one.add_batch(inputs[0], output)) for name, one in objects.items()]  # fmt: skip
    for sequence in states:
        walk.run(layer, sequence[None])
    for hook in hooks:
        hook.remove()
    for one in objects.values():
        if product["method"] == "sparsegpt":
            n_of_m = {key.replace("_", ""): value for key, value in zeros_of(product.get("pattern")).items()}
            one.fasterprune(product.get("sparsity", 0), **n_of_m)
        else:
            one.fasterquant(groupsize=product.get("group", -1), actorder=product.get("act_order", False),
                            static_groups=product.get("static_groups", False))  # fmt: skip


def by_grids(published, _walk, layer, _states, product):
    """Rounding to nearest: their grids alone, of each group."""
    for name in LINEARS:
        weight = layer.get_submodule(name).weight
        step = product.get("group", weight.shape[1])
        for first in range(0, weight.shape[1], step):
            part, quantizer = weight.data[:, first : first + step], grid(published.gptq_quant, product)
            quantizer.find_params(part, weight=True)
            part.copy_(quantizer.quantize(part))


RULES = {"magnitude": by_loops, "wanda": by_loops, "sparsegpt": by_class, "gptq": by_class, "rtn": by_grids}

# ---- winnow ----


def first_blocks(model, blocks, to):
    """A checkpoint of the first blocks of another."""
    to.mkdir()
    config = json.loads((model / "config.json").read_text()) | {"num_hidden_layers": blocks}
    config["layer_types"] = config["layer_types"][:blocks] if config.get("layer_types") else None
    (to / "config.json").write_text(json.dumps(config))
    for path in model.glob("tokenizer*"):
        shutil.copy(path, to)
    tensors = {}
    for path in model.glob("*.safetensors"):
        tensors.update(load_file(path))
    later = tuple(f"model.layers.{b}." for b in range(blocks, 1000))
    save_file({name: tensor for name, tensor in tensors.items() if not name.startswith(later)}, to / "model.safetensors")


def run(winnow, folder, *words):
    subprocess.run([winnow, *words, "-q"], cwd=folder, check=True, stderr=subprocess.DEVNULL)


def write_sweep(folder, data, points):
    calibration = {"text": str(data), "samples": SAMPLES, "length": LENGTH, "seed": SEED}
    sweep = {"model": "model", "calibration": {"general": calibration}, "grid": points, "output": "out.h5",
             "evaluate": {"perplexity": {"text": {"text": "text.txt", "length": 16}}}}  # fmt: skip
    (folder / "text.txt").write_text("A few words, as every sweep evaluates something. " * 4)
    (folder / "sweep.json").write_text(json.dumps(sweep))


def exported(winnow, folder, point):
    run(winnow, folder, "export", "out.h5", "--point", str(point), "--to", "export")
    tensors, codes = check_export.load_export(folder / "export")
    about = json.loads((folder / "export/winnow_export.json").read_text())
    shutil.rmtree(folder / "export")
    return tensors, codes, about["linears"]


# ---- both ----


def equal_codes(weight, codes, name, shape):
    """How many published weights lie on winnow's grid, at winnow's code."""
    columns = shape["columns"]
    place = codes.get(f"{name}.order", np.arange(columns))
    scale, zero = (check_export.grids(codes, name, part, *weight.shape, shape["group"]) for part in ("scales", "zeros"))
    theirs = weight[:, place] / scale + zero
    return int((np.abs(theirs - codes[f"{name}.codes"][:, place]) <= NEAR).sum())


def compare(published, walk, ids, product, tensors, codes, shapes):
    """Shares of equal entries over all linears of all blocks, by kind."""
    equal, total = {}, 0
    hidden = walk.embed(ids)[0]
    for block, dense in enumerate(walk.dense.model.layers):
        layer = copy.deepcopy(dense)
        RULES[product["method"]](published, walk, layer, hidden, product)
        for short in LINEARS:
            name = f"model.layers.{block}.{short}"
            ours, module = tensors[f"{name}.weight"], layer.get_submodule(short)
            theirs = module.weight.detach().numpy()
            counts = {"zeros": int(((theirs == 0) == (ours == 0)).sum())} if "bits" not in product else {}
            if "bits" in product:
                counts["codes"] = equal_codes(theirs, codes, name, shapes[name])
            equal = {kind: equal.get(kind, 0) + count for kind, count in counts.items()}
            total += ours.size
            module.weight.data = torch.from_numpy(ours.copy())
        if block + 1 < walk.n_blocks:
            hidden = walk.run(layer, hidden)
    return {kind: count / total for kind, count in equal.items()}


@torch.no_grad()
def check(options, folder):
    first_blocks(options.model, options.blocks, folder / "model")
    points = [p for p in QUICK + MORE * (not options.quick) if all(word in json.dumps(p) for word in options.words)]
    write_sweep(folder, options.data.resolve(), points)
    winnow, published, good = str(pathlib.Path(options.winnow).resolve()), Published(options.published.resolve()), True
    run(winnow, folder, "run", "sweep.json")
    walk = Walk(str(folder / "model"))
    ids = batches(c4_windows(options.data, walk.encode, SAMPLES, LENGTH, SEED))
    for number, product in enumerate(points, 1):
        made = exported(winnow, folder, number)
        with contextlib.redirect_stdout(io.StringIO()):
            shares = compare(published, walk, ids, product, *made)
        good = good and all(share >= {"zeros": ZEROS, "codes": CODES}[kind] for kind, share in shares.items())
        print("  ".join(f"{kind} {share:.4%}" for kind, share in shares.items()), json.dumps(product), flush=True)
    return good


def main():
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("winnow")
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("published", type=pathlib.Path)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--data", type=pathlib.Path, default=HERE.parents[2] / "shared/data/webtext/common_crawl_docs.jsonl")
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    needed = [options.published / part for part in ("sparsegpt/sparsegpt.py", "wanda/lib/prune.py", "gptq/gptq.py")]
    for path in [*needed, options.model / "config.json", options.data]:
        if not path.exists():
            print(f"skipped: there is no {path}")
            return 77
    with tempfile.TemporaryDirectory() as folder:
        return int(not check(options, pathlib.Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
