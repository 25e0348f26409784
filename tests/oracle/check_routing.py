#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Mixtures of experts whose calibration tokens go where the dense model sends them ("routing": "dense"), beside an oracle.

    python3 check_routing.py WINNOW SOURCE_FOLDER [WORD ...]     (WORD: only points whose product has them all)

The oracle is methods.py for the linears and transformers for all but the mixture, which is written here from the papers
(a softmax over all experts, the largest shares, divided by their sum where the model says so): its tokens can be told
their experts, while their shares are those of the router on what the compressed blocks before give. With its own choice
it must give the logits of transformers. The models are tiny ones of tests/model/reference, without windows of attention.
Checked of each point:
  rows         of calibration that every linear saw, as in the results file: equal; those of the first two products, which
               are alike but for their routing, must differ, or the check says nothing
  masks, codes as `winnow export` writes them: at least 99.9 % of the entries are equal, each block behind what winnow
               made of the blocks before, as in check_methods.py
  perplexity   of what was exported, where tokens choose for themselves again: within 1e-4 of the results file
Exit codes: 0 passed, 1 failed, 77 skipped because a package is missing.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "export"))
import check_export  # noqa: E402  (exits with 77 where a package is missing)
import h5py  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from methods import METHODS, Linear  # noqa: E402
from transformers import logging  # noqa: E402
from walk import LINEARS, Walk, batches, c4_windows  # noqa: E402

AGREEMENT, PERPLEXITY = 0.999, 1e-4
LENGTH = 40
SETS = {"many": 60, "few": 1}  # sequences; of few, some experts see nothing
MODELS = {
    "qwen2_moe_whole": {},
    "qwen3_moe": {},
    "mixtral": {"sliding_window": None},
}
NAMES = {"mixtral": ("block_sparse_moe.", {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"})}
MANY, FEW = {"calibration": "many"}, {"calibration": "few"}
DENSE = {"routing": "dense"}
PRODUCTS = [
    {"method": "wanda", "sparsity": 0.5, "routing": "sequential"} | MANY,
    {"method": "wanda", "sparsity": 0.5} | MANY | DENSE,
    {"method": "wanda", "sparsity": 0.6} | FEW | DENSE,
    {"method": "sparsegpt", "sparsity": 0.7} | MANY | DENSE,
    {"method": "gptq", "bits": 3} | MANY | DENSE,
    {"method": "gptq", "bits": 3, "group": 8, "act_order": True} | MANY | DENSE,
]
WITHOUT_ROWS = {"wanda": "magnitude", "sparsegpt": "magnitude", "gptq": "rtn"}

# ---- the mixture ----


class Gated(torch.nn.Module):
    """down(silu(gate(x)) * up(x))"""

    def __init__(self, tensors):
        super().__init__()
        for name, weight in tensors.items():
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
            linear.weight.data = weight.clone()
            setattr(self, name, linear)

    def forward(self, x):
        return self.down_proj(torch.nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Mixture(torch.nn.Module):
    def __init__(self, module, config):
        """From a mixture of transformers, which has gate and up of all experts in one tensor."""
        super().__init__()
        both, down = module.experts.gate_up_proj.data, module.experts.down_proj.data
        self.experts = torch.nn.ModuleList(
            Gated({"gate_proj": two.chunk(2)[0], "up_proj": two.chunk(2)[1], "down_proj": one}) for two, one in zip(both, down)
        )
        self.router, self.chosen = module.gate.weight.data, config.num_experts_per_tok
        self.divided = config.model_type == "mixtral" or config.norm_topk_prob
        self.shared_expert, self.shared_gate = None, None
        if hasattr(module, "shared_expert"):
            self.shared_expert, self.shared_gate = module.shared_expert, module.shared_expert_gate.weight.data
        self.told = None  # [rows, chosen]; None: rows choose
        self.taken = None  # by the last call

    def forward(self, x):
        rows = x.flatten(0, -2)
        shares = (rows @ self.router.T).softmax(-1)
        self.taken = shares.topk(self.chosen, -1).indices if self.told is None else self.told
        shares = shares.gather(-1, self.taken)
        if self.divided:
            shares = shares / shares.sum(-1, keepdim=True)
        result = torch.zeros_like(rows)
        if self.shared_expert is not None:
            result += torch.sigmoid(rows @ self.shared_gate.T) * self.shared_expert(rows[None])[0]
        for number, expert in enumerate(self.experts):
            row, place = torch.where(self.taken == number)
            if len(row):
                result.index_add_(0, row, expert(rows[None, row])[0] * shares[row, place, None])
        return result.view_as(x)


def linears_of(layer):
    """Names of the linears of a block in this program, in the order of winnow."""
    if not isinstance(layer.mlp, Mixture):
        return list(LINEARS)
    parts = ["mlp.shared_expert."] if layer.mlp.shared_expert is not None else []
    parts += [f"mlp.experts.{number}." for number in range(len(layer.mlp.experts))]
    return list(LINEARS[:4]) + [part + name for part in parts for name in ("gate_proj", "up_proj", "down_proj")]


def with_mixtures(walk):
    """Puts mixtures that can be told in place of those of transformers; True when they give the same logits."""
    ids = torch.tensor([random.Random(1).choices(range(3, 250), k=LENGTH)])
    before = walk.dense(ids).logits
    for layer in walk.dense.model.layers:
        if hasattr(layer.mlp, "experts"):
            layer.mlp = Mixture(layer.mlp, walk.dense.config)
    return bool(torch.allclose(walk.dense(ids).logits, before, rtol=1e-4, atol=1e-5))


# ---- a point ----


def told_of(walk, hidden, routing):
    """The experts that the rows of the set choose in each block of the dense model."""
    told = []
    for layer in walk.dense.model.layers:
        hidden = walk.run(layer, hidden)
        sparse = isinstance(layer.mlp, Mixture)
        told.append(layer.mlp.taken if sparse and routing == "dense" else None)
    return told


def weights_of(walk):
    return [{name: layer.get_submodule(name).weight.data.clone() for name in linears_of(layer)}
            for layer in walk.dense.model.layers]  # fmt: skip


def put(walk, weights):
    for layer, of_block in zip(walk.dense.model.layers, weights):
        for name, weight in of_block.items():
            layer.get_submodule(name).weight.data = weight


def made_of(product, weight, statistics, name):
    settings = {key: value for key, value in product.items() if key not in ("method", "calibration", "routing")}
    if statistics:
        return METHODS[product["method"]](weight, statistics, None, name, **settings)
    return METHODS[WITHOUT_ROWS[product["method"]]](weight, None, None, name, **settings)


def compressed(walk, ids, product, theirs):
    """What the methods make of each linear, [blocks]{name: Linear}, and how many rows it saw; the dense model stays."""
    dense, hidden = weights_of(walk), walk.embed(ids)[0]
    told, made, rows = told_of(walk, hidden, product["routing"]), [], []
    for block, layer in enumerate(walk.dense.model.layers):
        if isinstance(layer.mlp, Mixture):
            layer.mlp.told = told[block]
        statistics = walk.statistics(layer, [hidden], linears_of(layer))
        rows.append([statistics[name].tokens if name in statistics else 0 for name in linears_of(layer)])
        made.append({name: made_of(product, weight.numpy(), statistics.get(name), name) for name, weight in dense[block].items()})
        put(walk, dense[:block] + [theirs[block]])
        hidden = walk.run(layer, hidden)
        if isinstance(layer.mlp, Mixture):
            layer.mlp.told = None
    put(walk, dense)
    return made, rows


# ---- winnow ----


def write_model(source, name, changes, to):
    shutil.copytree(source / "tests/model/reference" / name, to)
    config = json.loads((to / "config.json").read_text()) | changes
    (to / "config.json").write_text(json.dumps(config))


def words_of(draw, count):
    return " ".join("".join(draw.choices("abcdefghij klmno", k=draw.randint(1, 9))) for _ in range(count))


def write_records(path, draw, count):
    path.write_text("".join(json.dumps({"text": words_of(draw, 40)}) + "\n" for _ in range(count)))


def write_sweep(folder, points):
    common = {"text": "calibration.jsonl", "length": LENGTH, "seed": 0}
    sets = {name: common | {"samples": samples} for name, samples in SETS.items()}
    sweep = {"model": "model", "calibration": sets, "grid": points, "output": "out.h5",
             "evaluate": {"perplexity": {"text": {"text": "text.txt", "length": 50}}}}  # fmt: skip
    (folder / "sweep.json").write_text(json.dumps(sweep))


def stored_name(model, block, name):
    """Of a linear of this program in the checkpoint."""
    prefix, parts = NAMES.get(model, ("mlp.", {}))
    first, _, last = name.rpartition(".")
    if ".experts." in name:
        return f"model.layers.{block}.{first.replace('mlp.', prefix)}.{parts.get(last, last)}"
    return f"model.layers.{block}.{name}"


def load(export):
    tensors, codes = check_export.load_export(export)
    return {name: torch.from_numpy(np.array(tensor, np.float32)) for name, tensor in tensors.items()}, codes


def run(winnow, folder, *words):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([winnow, *words, "-q"], cwd=folder, check=True, stderr=subprocess.DEVNULL, env=environment)


# ---- both ----


def different(name, linear: Linear, codes):
    """Entries of a linear that are not those of winnow, and how many there are."""
    if linear.codes is not None:
        return int((linear.codes != codes[f"{name}.codes"]).sum()), linear.codes.size
    mask = check_export.unpacked(codes[f"{name}.mask"], linear.weight.shape[1])
    return int((linear.mask != mask).sum()), linear.mask.size


def check_point(walk, model, ids, product, file, number, folder):
    """Rows of every linear, and lines of what is wrong; prints the figures. `folder`: with the export."""
    tensors, codes = load(folder / "export")
    layers = walk.dense.model.layers
    names = [[stored_name(model, block, name) for name in linears_of(layer)] for block, layer in enumerate(layers)]
    theirs = [{name: tensors[f"{there}.weight"] for name, there in zip(linears_of(layer), names[block])}
              for block, layer in enumerate(layers)]  # fmt: skip
    made, rows = compressed(walk, ids, product, theirs)
    stored = [[int(count) for count in of_block if not np.isnan(count)]  # of linears that a block has not: NaN
              for of_block in file["weights/calibration_rows"][number]]  # fmt: skip
    pairs = [different(there, linear, codes) for block, of_block in enumerate(made)
             for there, linear in zip(names[block], of_block.values())]  # fmt: skip
    apart = sum(count for count, _ in pairs) / sum(total for _, total in pairs)
    ((_, there, here),) = check_export.scores(file, folder / "export", number)
    without = sum(count == 0 for of_block in rows for count in of_block)
    print(f"{model}: entries that differ {apart:.1e}, perplexity {here / there - 1:+.1e}, {without} linears without rows: "
          f"{json.dumps(product)}", flush=True)  # fmt: skip
    wrong = [] if stored == rows else [f"rows differ: {stored} and {rows}"]
    wrong += [f"{apart:.2%} of the entries differ"] if not apart <= 1 - AGREEMENT else []
    wrong += [f"perplexity {there} and {here}"] if not abs(here / there - 1) <= PERPLEXITY else []
    return rows, [f"{model} {json.dumps(product)}: {line}" for line in wrong]


def check_model(winnow, source, model, words):
    """Lines of what is wrong with the points of a model."""
    points = [product for product in PRODUCTS if all(word in json.dumps(product) for word in words)]
    wrong, seen = [], []
    with tempfile.TemporaryDirectory() as name:
        folder, draw = pathlib.Path(name), random.Random(0)
        write_model(source, model, MODELS[model], folder / "model")
        write_records(folder / "calibration.jsonl", draw, 80)
        (folder / "text.txt").write_text(words_of(draw, 300))
        write_sweep(folder, points)
        run(winnow, folder, "run", "sweep.json")
        walk = Walk(str(folder / "model"))
        if not with_mixtures(walk):
            return [f"{model}: the mixture written here is not that of transformers"]
        sets = {name: batches(c4_windows(folder / "calibration.jsonl", walk.encode, samples, LENGTH, 0))
                for name, samples in SETS.items()}  # fmt: skip
        with h5py.File(folder / "out.h5") as file:
            for number, product in enumerate(points, 1):
                run(winnow, folder, "export", "out.h5", "--point", str(number), "--to", "export")
                rows, lines = check_point(walk, model, sets[product["calibration"]], product, file, number, folder)
                wrong += lines
                seen.append(rows)
                shutil.rmtree(folder / "export")
    alike = points[:2] == PRODUCTS[:2] and seen[0] == seen[1]
    return wrong + [f"{model}: no linear saw other rows by the choice of the dense model"] * alike


@torch.no_grad()
def main():
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("winnow", type=pathlib.Path)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    wrong = []
    for model in MODELS:
        wrong += check_model(str(options.winnow.resolve()), options.source.resolve(), model, options.words)
    print("\n".join(wrong), end="\n" if wrong else "")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
