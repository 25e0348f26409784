"""A compressed model by transformers and torch, without winnow: calibration tokens, statistics block by block, the
methods of methods.py on every linear, perplexity.
"""

import copy
import json
import random

import numpy as np
import torch
from methods import METHODS, Linear, Statistics, awq_scale, smooth_scale, wanda_scores
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

LINEARS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
           "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")  # fmt: skip
# Linears that share an input; what makes it: a norm, a linear, or (None) nothing alone.
INPUTS = ((LINEARS[:3], "norm"), (LINEARS[3:4], "self_attn.v_proj"), (LINEARS[4:6], "norm"), (LINEARS[6:], "mlp.up_proj"))

# ---- tokens ----


def c4_windows(path, encode, samples, length, seed):
    """Documents drawn until one has more than `length` tokens, then a window with a uniform start, as in Wanda."""
    with open(path, encoding="utf-8") as file:
        documents = [json.loads(line)["text"] for line in file]
    random.seed(seed)
    windows = []
    for _ in range(samples):
        ids = []
        while len(ids) <= length:
            ids = encode(documents[random.randint(0, len(documents) - 1)])
        start = random.randint(0, len(ids) - length - 1)
        windows.append(ids[start : start + length])
    return windows


def prompt_sequences(path, encode, samples, length, seed):
    """Pairs in shuffled order, prompt and response with a space between, cut to `length`."""
    with open(path, encoding="utf-8") as file:
        pairs = [json.loads(line) for line in file]
    random.seed(seed)
    order = list(range(len(pairs)))
    random.shuffle(order)
    return [encode(pairs[i]["prompt"] + " " + pairs[i]["response"])[:length] for i in order[:samples]]


def batches(sequences):
    """Sequences of one length together: a list of tensors [sequences, length]."""
    lengths = sorted({len(ids) for ids in sequences})
    return [torch.tensor([ids for ids in sequences if len(ids) == length]) for length in lengths]


# ---- linears on quantized inputs ----


class IntegerLinear(torch.nn.Module):
    """Integer products; scales per output row and per token. Weights are integers times a step, divided by `scale`."""

    def __init__(self, made, bias):
        super().__init__()
        self.kind, self.limit, self.other = made.activation
        self.weight, self.bias = torch.from_numpy(np.ascontiguousarray(made.weight)), bias
        self.other = torch.from_numpy(np.ascontiguousarray(self.other))

    def forward(self, x):
        y = self.smoothed(x) if self.kind == "smoothquant" else self.decomposed(x)
        return y if self.bias is None else y + self.bias

    def smoothed(self, x):
        x = x / self.other
        step = x.abs().amax(-1, keepdim=True).clamp(min=1e-5) / self.limit
        return (torch.round(x / step).double() * step @ (self.weight * self.other).double().T).float()

    def decomposed(self, x):
        """Columns with a value of at least the threshold in a sequence [.., tokens, columns] stay floating point."""
        large = x.abs() >= self.limit
        columns = large.any(-2, keepdim=True)
        step = torch.where(large, 0, x).abs().amax(-1, keepdim=True) / 127
        step = torch.where(step == 0, 1, step)
        integers = torch.round(torch.where(columns, 0, x) / step).double() * step @ self.weight.double().T
        return (integers + torch.where(columns, x, 0).double() @ self.other.double().T).float()


# ---- the model ----


class Walk:
    """A model whose blocks are compressed one after the other."""

    def __init__(self, folder):
        self.dense = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
        self.encode = lambda text: tokenizer.encode(text).ids
        self.n_blocks = self.dense.config.num_hidden_layers
        self.hidden_cache = {}

    def run(self, module, hidden):
        """A block, or the attention of one."""
        positions = torch.arange(hidden.shape[1])[None]
        rotary = self.dense.model.rotary_emb(hidden, positions)
        out = module(hidden_states=hidden, position_embeddings=rotary, attention_mask=None)
        return out[0] if isinstance(out, tuple) else out

    def embed(self, ids):
        return [self.dense.model.embed_tokens(batch) for batch in ids]

    def dense_states(self, ids):
        """Hidden states before every block and behind the last, [n_blocks + 1][batch]."""
        key = id(ids)
        if key not in self.hidden_cache:
            states = [self.embed(ids)]
            for layer in self.dense.model.layers:
                states.append([self.run(layer, hidden) for hidden in states[-1]])
            self.hidden_cache[key] = states
        return self.hidden_cache[key]

    def statistics(self, layer, states):
        """Of the inputs of every linear of a block."""
        found = {}

        def take(name):
            def hook(_module, arguments):
                x = arguments[0].flatten(0, 1).double().numpy()
                s = found.get(name) or Statistics(0.0, 0.0, 0.0, 0, 0)
                found[name] = Statistics(s.moments + x.T @ x, s.magnitudes + np.abs(x).sum(0),
                                         np.maximum(s.maxima, np.abs(x).max(0)), s.tokens + len(x),
                                         s.sequences + len(arguments[0]))  # fmt: skip

            return hook

        hooks = [layer.get_submodule(name).register_forward_pre_hook(take(name)) for name in LINEARS]
        for hidden in states:
            self.run(layer, hidden)
        for hook in hooks:
            hook.remove()
        return found

    def perplexity(self, model, windows):
        """Mean over windows of the mean loss, then exp."""
        logits = model(windows, use_cache=False).logits[:, :-1].double()
        return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten()).exp())


def weight_of(layer, name):
    return layer.get_submodule(name).weight.detach().numpy().copy()


def put(layer, name, made):
    module = layer.get_submodule(name)
    if made.activation:
        parent, _, child = name.rpartition(".")
        setattr(layer.get_submodule(parent), child, IntegerLinear(made, module.bias))
    else:
        module.weight.data = torch.from_numpy(np.ascontiguousarray(made.weight, np.float32))


# ---- scales of inputs ----


def run_part(walk, layer, names, x):
    """The part of the block that reads this input: a branch, or behind a linear the next linear."""
    if len(names) == 1:
        return layer.get_submodule(names[0])(x).double()
    return (layer.mlp(x) if names[0].startswith("mlp") else walk.run(layer.self_attn, x)).double()


def part_inputs(walk, layer, name, states):
    taken = []
    handle = layer.get_submodule(name).register_forward_pre_hook(lambda _module, arguments: taken.append(arguments[0]))
    for hidden in states:
        walk.run(layer, hidden)
    handle.remove()
    return taken


def has_producer(walk, producer, layer):
    if producer == "self_attn.v_proj":  # no output of v is read by one column of o alone where heads share it
        return weight_of(layer, producer).shape[0] == weight_of(layer, "self_attn.o_proj").shape[1]
    return True


def awq_scales(walk, layer, states, statistics, settings):
    """The first trial of least squared error over the calibration set, all other weights dense."""
    scales = {}
    for names, producer in INPUTS:
        if not has_producer(walk, producer, layer):
            continue
        weights = {name: weight_of(layer, name) for name in names}
        inputs = part_inputs(walk, layer, names[0], states)
        wanted = [run_part(walk, layer, names, x) for x in inputs]
        losses = []
        for trial in range(20):
            scale = awq_scale(statistics[names[0]], trial)
            for name in names:
                put(layer, name, METHODS["awq"](weights[name], None, None, name, scale=scale, **settings))
            made = (run_part(walk, layer, names, x) for x in inputs)
            losses.append(sum(float(((a - b) ** 2).sum()) for a, b in zip(made, wanted)))
        for name in names:
            put(layer, name, Linear(weights[name]))
        best = awq_scale(statistics[names[0]], int(np.argmin(losses)))
        scales.update({name: best for name in names})
    return scales


def smooth_scales(layer, statistics, settings):
    """Only for inputs that a norm makes."""
    scales = {}
    for names, producer in INPUTS:
        if producer == "norm":
            scale = smooth_scale([weight_of(layer, name) for name in names], statistics[names[0]].maxima,
                                 settings.get("alpha", 0.5))  # fmt: skip
            scales.update({name: scale for name in names})
    return scales


# ---- sparsity per block ----


def outlier_shares(walk, ids, multiple):
    shares = []
    for layer, states in zip(walk.dense.model.layers, walk.dense_states(ids)):
        statistics = walk.statistics(layer, states)
        scores = [wanda_scores(weight_of(layer, n), statistics[n]).astype(np.float64).ravel() for n in LINEARS]
        scores = np.concatenate(scores)
        shares.append((scores > multiple * scores.mean()).mean())
    return np.array(shares)


def owl_sparsities(shares, sparsity, spread):
    width = shares.max() - shares.min()
    d = 2 * spread * (shares - shares.min()) / width if width > 0 else np.zeros(len(shares))
    return np.clip(sparsity - d + d.mean(), 0.01, 0.99)


# ---- points ----


def compress_block(walk, layer, block, stages, states):
    """Compresses the linears of a block in place; `states` are its inputs. Returns what was made of each linear."""
    statistics = walk.statistics(layer, states) if states else dict.fromkeys(LINEARS)
    scales, result = {}, {}
    for method, settings in stages:
        if method == "awq":
            scales = awq_scales(walk, layer, states, statistics, settings)
        if method == "smoothquant":
            scales = smooth_scales(layer, statistics, settings)
    for name in LINEARS:
        weight, mask = weight_of(layer, name), None
        for method, settings in stages:
            if method in ("awq", "smoothquant"):
                settings = {k: v for k, v in settings.items() if k != "alpha"}
                settings["scale"] = scales.get(name, np.ones(weight.shape[1], np.float32))
            made = METHODS[method](weight, statistics[name], mask, f"block {block} {name}", **settings)
            weight, mask = made.weight, made.mask
        result[name] = made
    for name in LINEARS:
        put(layer, name, result[name])
    return result


def compress(walk, stages, ids, propagation, sparsities=None):
    """A compressed copy of the dense model, and what was made of each linear: {(block, name): Linear}."""
    model = copy.deepcopy(walk.dense)
    made = {}
    hidden = walk.embed(ids) if ids else None
    for block, layer in enumerate(model.model.layers):
        if sparsities is not None:
            stages = [(method, {**settings, "sparsity": sparsities[block]}) for method, settings in stages]
        if ids and propagation == "dense":
            hidden = walk.dense_states(ids)[block]
        for name, linear in compress_block(walk, layer, block, stages, hidden).items():
            made[block, name] = linear
        if ids:
            hidden = [walk.run(layer, states) for states in hidden]
    return model, made


# ---- depth ----

ATTENTION, MLP = "self_attn", "mlp"


class Nothing(torch.nn.Module):
    """A branch that adds nothing; attention gives a pair."""

    def forward(self, *arguments, **named):
        hidden = named.get("hidden_states", arguments[0] if arguments else None)
        return torch.zeros_like(hidden) if arguments else (torch.zeros_like(hidden), None)


def units_of(walk, units):
    """What can be left out, as (block, branches)."""
    branches = {"block": [(ATTENTION, MLP)], "attention": [(ATTENTION,)], "mlp": [(MLP,)], "branch": [(ATTENTION,), (MLP,)]}
    return [(block, names) for block in range(walk.n_blocks) for names in branches[units]]


def without(walk, dropped):
    model = copy.deepcopy(walk.dense)
    for block, branches in dropped:
        for branch in branches:
            setattr(model.model.layers[block], branch, Nothing())
    return model


def log_probabilities(model, ids):
    """Of every next token of every sequence, [targets, vocabulary]; and the targets."""
    logits = torch.cat([model(batch, use_cache=False).logits[:, :-1].flatten(0, 1) for batch in ids]).double()
    return logits.log_softmax(-1), torch.cat([batch[:, 1:].flatten() for batch in ids])


def one_minus_cosine(x, y):
    return 1 - torch.nn.functional.cosine_similarity(x, y, dim=-1)


STATE_SCORES = {
    "block_influence": one_minus_cosine,
    "window": one_minus_cosine,
    "angular": lambda x, y: torch.arccos((1 - one_minus_cosine(x, y)).clamp(-1, 1)) / torch.pi,
    "subcloning": lambda x, y: (y - x).norm(dim=-1) / y.norm(dim=-1),
}


def packed(states):
    return torch.cat([part.flatten(0, 1) for part in states]).double()


def drop_scores(walk, ids, units, score, length=1):
    """One score per unit; of windows of `length` blocks, one per first block."""
    result = []
    states = walk.dense_states(ids)
    if score == "window":
        starts = range(walk.n_blocks - length + 1)
        return [float(one_minus_cosine(packed(states[b]), packed(states[b + length])).mean()) for b in starts]
    if score in ("perplexity", "kl"):
        dense, targets = log_probabilities(walk.dense, ids)
    for block, branches in units_of(walk, units):
        if score in ("perplexity", "kl"):
            left, _ = log_probabilities(without(walk, [(block, branches)]), ids)
            kl = (dense.exp() * (dense - left)).sum(-1).mean()
            result.append(float(kl if score == "kl" else torch.nn.functional.nll_loss(left, targets).exp()))
            continue
        layer = walk.dense.model.layers[block]
        middle = [s + walk.run(layer.self_attn, layer.input_layernorm(s)) for s in states[block]]
        before = middle if branches == (MLP,) else states[block]
        after = middle if branches == (ATTENTION,) else states[block + 1]
        result.append(float(STATE_SCORES[score](packed(before), packed(after)).mean()))
    return result


def drop_choice(walk, ids, sparsity, units="block", score="block_influence"):
    """Scores, and the (block, branches) of lowest score."""
    listed = units_of(walk, units)
    count = int(sparsity * len(listed))
    scores = drop_scores(walk, ids, units, score, count)
    order = np.argsort(scores, kind="stable")
    chosen = range(order[0], order[0] + count) if score == "window" else order[:count]
    return scores, [listed[i] for i in chosen]


def drop(walk, ids, **settings):
    return without(walk, drop_choice(walk, ids, **settings)[1])
