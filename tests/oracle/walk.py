# SPDX-License-Identifier: Apache-2.0
"""A compressed model by transformers and torch, without winnow: calibration tokens, statistics block by block, the
methods of methods.py on every linear, perplexity.
"""

import copy
import dataclasses
import json
import random

import numpy as np
import torch
from methods import METHODS, Linear, Statistics, awq_scale, magnitude_block, smooth_scale, wanda_scores
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
        self.kind, self.limit, self.other, *self.outputs = made.activation
        self.weight, self.bias = torch.from_numpy(np.ascontiguousarray(made.weight)), bias
        self.other = torch.from_numpy(np.ascontiguousarray(self.other))

    def forward(self, x):
        y = self.smoothed(x) if self.kind == "smoothquant" else self.decomposed(x)
        y = y if self.bias is None else y + self.bias
        return self.rounded(y).float() if any(self.outputs) else y

    def rounded(self, x):
        step = x.abs().amax(-1, keepdim=True).clamp(min=1e-5) / self.limit
        return torch.round(x / step).double() * step

    def smoothed(self, x):
        return (self.rounded(x / self.other) @ (self.weight * self.other).double().T).float()

    def decomposed(self, x):
        """Columns with a value of at least the threshold in a sequence [.., tokens, columns] stay floating point."""
        large = x.abs() >= self.limit
        columns = large.any(-2, keepdim=True)
        step = torch.where(large, 0, x).abs().amax(-1, keepdim=True) / 127
        step = torch.where(step == 0, 1, step)
        integers = torch.round(torch.where(columns, 0, x) / step).double() * step @ self.weight.double().T
        return (integers + torch.where(columns, x, 0).double() @ self.other.double().T).float()


class RoundedInputs(torch.nn.Module):
    """Weights as they are; every run of columns of a token on multiples of its own step."""

    def __init__(self, made, bias):
        super().__init__()
        _, self.limit, self.columns = made.activation
        self.weight, self.bias = torch.from_numpy(np.ascontiguousarray(made.weight)), bias
        self.columns = self.weight.shape[1] if self.columns == "token" else self.columns

    def forward(self, x):
        steps = [part.abs().amax(-1, keepdim=True) / self.limit for part in x.split(self.columns, -1)]
        steps = [torch.where(step == 0, 1, step) for step in steps]
        runs = [torch.round(part / step).double() * step for part, step in zip(x.split(self.columns, -1), steps)]
        y = (torch.cat(runs, -1) @ self.weight.double().T).float()
        return y if self.bias is None else y + self.bias


def on_quantized_inputs(made, bias):
    return (RoundedInputs if made.activation[0] == "rounded" else IntegerLinear)(made, bias)


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

    def statistics(self, layer, states, names=LINEARS):
        """Of the inputs of every linear of a block; those that saw none are not there."""
        found = {}

        def take(name):
            def hook(_module, arguments):
                x = arguments[0].flatten(0, 1).double().numpy()
                s = found.get(name) or Statistics(0.0, 0.0, 0.0, 0, 0)
                found[name] = Statistics(s.moments + x.T @ x, s.magnitudes + np.abs(x).sum(0),
                                         np.maximum(s.maxima, np.abs(x).max(0)), s.tokens + len(x),
                                         s.sequences + len(arguments[0]))  # fmt: skip

            return hook

        hooks = [layer.get_submodule(name).register_forward_pre_hook(take(name)) for name in names]
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
        setattr(layer.get_submodule(parent), child, on_quantized_inputs(made, module.bias))
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


CLIP_TOKENS = 512


def same(scale, theirs):
    return theirs is not None and np.allclose(scale, theirs, rtol=1e-5, atol=0)


def awq_choices(walk, layer, states, statistics, weights, settings, theirs):
    """For every linear the scale of its input and the tokens on which clips are chosen: 512 at equal distances.
    `weights`: what the stage before made; `theirs`: {name: scale}, see chosen_scale."""
    choices = {}
    for names, producer in INPUTS:
        inputs = part_inputs(walk, layer, names[0], states)
        tokens = torch.cat([x.flatten(0, 1) for x in inputs]).numpy()
        tokens = tokens[:: max(len(tokens) // CLIP_TOKENS, 1)]
        scale = np.ones(tokens.shape[1], np.float32)
        if has_producer(walk, producer, layer):
            loss = trial_loss(walk, layer, names, inputs, weights, settings)
            trials = [awq_scale(statistics[names[0]], trial) for trial in range(20)]
            slack = 0.02 if settings.get("symmetric") else 1e-4
            scale = chosen_scale(trials, loss, slack, theirs.get(names[0]))
        choices.update({name: {"scale": scale, "inputs": tokens} for name in names})
    return choices


def trial_loss(walk, layer, names, inputs, weights, settings):
    """A function: squared error over the calibration set with a scale, all other weights of the block dense."""
    dense = {name: weight_of(layer, name) for name in names}
    wanted = [run_part(walk, layer, names, x) for x in inputs]

    def loss(scale):
        for name in names:
            put(layer, name, METHODS["awq"](weights[name], None, None, name, scale=scale, **settings))
        made = [run_part(walk, layer, names, x) for x in inputs]
        for name in names:
            put(layer, name, Linear(dense[name]))
        return sum(float(((a - b) ** 2).sum()) for a, b in zip(made, wanted))

    return loss


def chosen_scale(trials, loss, slack, theirs):
    """The first trial of least loss. Theirs is as good when it is a trial and its loss is within the slack: symmetric
    grids have the largest weight of a row exactly between two codes, and the last bit of a scale decides."""
    losses = [loss(trial) for trial in trials]
    best = trials[int(np.argmin(losses))]
    if same(best, theirs) or not any(same(trial, theirs) for trial in trials):
        return best
    return theirs if loss(theirs) <= min(losses) * (1 + slack) else best


def smooth_choices(layer, statistics, alpha=0.5):
    """The scale of every linear; other than 1 only for inputs that a norm makes."""
    choices = {}
    for names, producer in INPUTS:
        scale = np.ones(len(statistics[names[0]].maxima), np.float32)
        if producer == "norm":
            scale = smooth_scale([weight_of(layer, name) for name in names], statistics[names[0]].maxima, alpha)
        choices.update({name: {"scale": scale} for name in names})
    return choices


# ---- sparsity per block ----


def outlier_shares(walk, ids, multiple):
    shares = []
    for layer, states in zip(walk.dense.model.layers, walk.dense_states(ids)):
        statistics = walk.statistics(layer, states)
        scores = [wanda_scores(weight_of(layer, n), statistics[n]).astype(np.float64).ravel() for n in LINEARS]
        scores = np.concatenate(scores)
        shares.append((scores > multiple * scores.mean()).mean())
    return np.array(shares)


def owl_levels(shares, owl_lambda, sparsity=None, pattern=None):
    """Of every block: the sparsity, or the pattern with N - round(M * what is less)."""
    width = shares.max() - shares.min()
    d = 2 * owl_lambda * (shares - shares.min()) / width if width > 0 else np.zeros(len(shares))
    if pattern:
        n, m = map(int, pattern.split(":"))
        zeros = np.clip(n - np.round(m * (d - d.mean())), 1, m - 1)
        return [{"pattern": f"{int(count)}:{m}"} for count in zeros]
    return [{"sparsity": level} for level in np.clip(sparsity - d + d.mean(), 0.01, 0.99)]


def owl(walk, ids, settings):
    """Settings of the pruner for every block."""
    settings = {k: v for k, v in settings.items() if k != "allocation"}
    pattern = settings.get("pattern")
    multiple = settings.pop("owl_m", 6 if pattern else 5)
    spread = settings.pop("owl_lambda", 1 / int(pattern.split(":")[1]) if pattern else 0.08)
    level = {k: settings.pop(k) for k in ("sparsity", "pattern") if k in settings}
    return [settings | chosen for chosen in owl_levels(outlier_shares(walk, ids, multiple), spread, **level)]


# ---- points ----


@dataclasses.dataclass
class Theirs:
    """A linear as another program has compressed it."""

    weight: np.ndarray
    scale: np.ndarray = None  # of the inputs; None: 1


def block_zeros(layer, method, settings):
    """What goes of each linear when magnitude prunes them as one."""
    if method != "magnitude" or settings.get("scope") != "block":
        return {}
    settings = {k: v for k, v in settings.items() if k != "scope"}
    drops = magnitude_block([weight_of(layer, name) for name in LINEARS], **settings)
    return {name: {"drop": drop} for name, drop in zip(LINEARS, drops)}


def compress_linears(walk, layer, block, names, stages, states, theirs):
    """What the stages make of these linears; the block stays as it is."""
    statistics = walk.statistics(layer, states) if states else dict.fromkeys(LINEARS)
    result = {name: Linear(weight_of(layer, name)) for name in names}
    scales = {name: theirs[block, name].scale for name in names} if theirs else {}
    for method, settings in stages:
        settings = {k: v for k, v in settings.items() if k != "true_sequential"}
        choices = block_zeros(layer, method, settings)
        settings.pop("scope", None)
        if method == "awq":
            before = {name: made.weight for name, made in result.items()}
            choices = awq_choices(walk, layer, states, statistics, before, settings, scales)
        if method == "smoothquant":
            alpha = {"alpha": settings.pop("alpha")} if "alpha" in settings else {}
            choices = smooth_choices(layer, statistics, **alpha)
        for name, choice in choices.items():  # their last bits, on which codes can hang
            if "scale" in choice and same(choice["scale"], scales.get(name)):
                choice["scale"] = scales[name]
        for name, made in result.items():
            result[name] = METHODS[method](made.weight, statistics[name], made.mask, f"block {block} {name}", **settings,
                                           **choices.get(name, {}))  # fmt: skip
    return result


def compress_block(walk, layer, block, stages, states, theirs):
    """What is made of each linear of the block whose inputs are `states`; `layer`, dense, becomes the block that the next
    statistics see: with these weights, or with those of `theirs`."""
    in_order = any(settings.get("true_sequential") for _, settings in stages)
    result = {}
    for names in [names for names, _ in INPUTS] if in_order else [LINEARS]:
        result |= compress_linears(walk, layer, block, names, stages, states, theirs)
        for name in names:
            weight = theirs[block, name].weight if theirs else result[name].weight
            put(layer, name, dataclasses.replace(result[name], weight=weight))
    return result


def compress(walk, stages, ids, propagation, theirs=None):
    """A compressed copy of the dense model, and what was made of each linear: {(block, name): Linear}. `theirs`: the
    linears of another program, {(block, name): Theirs}, whose outputs the next block gets in place of those of this one."""
    model = copy.deepcopy(walk.dense)
    made = {}
    hidden = walk.embed(ids) if ids else None
    blocks = [stages] * walk.n_blocks
    if stages and stages[0][1].get("allocation") == "owl":
        method, settings = stages[0]
        blocks = [[(method, chosen), *stages[1:]] for chosen in owl(walk, ids, settings)]
    for block, layer in enumerate(model.model.layers):
        if ids and propagation == "dense":
            hidden = walk.dense_states(ids)[block]
        seen = copy.deepcopy(layer)
        for name, linear in compress_block(walk, seen, block, blocks[block], hidden, theirs).items():
            made[block, name] = linear
            put(layer, name, linear)
        if ids:
            hidden = [walk.run(seen, states) for states in hidden]
    return model, made


def linear_inputs(walk, ids):
    """Of every linear of the dense model: {(block, name): [sequences, tokens, columns]}."""
    states = walk.dense_states(ids)
    layers = enumerate(walk.dense.model.layers)
    return {(b, name): torch.cat(part_inputs(walk, layer, name, states[b])) for b, layer in layers for name in LINEARS}


def output_error(walk, block, name, made, x):
    """||dense outputs - those of what was made|| / ||dense outputs|| on inputs x."""
    module = walk.dense.model.layers[block].get_submodule(name)
    wanted = module(x).double()
    y = on_quantized_inputs(made, module.bias)(x) if made.activation else x @ torch.from_numpy(made.weight).T
    return float((y.double() - wanted).norm() / wanted.norm())


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
