# SPDX-License-Identifier: Apache-2.0
"""Train the demo model on the text world and export it as a Hugging Face Llama checkpoint.

Run make_world.py first.  The time is bounded by --minutes; the learning rate follows the elapsed
share of that time (short warm-up, then cosine).  The first part of training draws mostly from the
easy corpus (short passages in one wording), so that in-context retrieval emerges early.  With
--start, training goes on from the weights and the tokenizer of a checkpoint.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from evaluate import TASKS, evaluate, read_jsonl, unigram_perplexity
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent
BOS, EOS = "<s>", "</s>"
CORPORA = ("easy", "main")

# The shape of the model, as written to config.json.  Widths are multiples of 128, so that
# quantizer groups of 32, 64 and 128 columns all fit.
SHAPE = {
    "vocab_size": 1024,
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "attention_dropout": 0.0,
    "initializer_range": 0.05,
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
ROPE_THETA = 10000.0


class Log:
    """Print lines and keep them in a file."""

    def __init__(self, path, keep):
        self.out = path.open("a" if keep else "w", encoding="utf-8")

    def __call__(self, line):
        """Print and keep one line."""
        print(line, flush=True)
        self.out.write(line + "\n")
        self.out.flush()


# ------------------------------------------------------------------------------------------------
# Tokenizer and tokens
# ------------------------------------------------------------------------------------------------


def train_tokenizer(texts, folder):
    """Byte-level BPE over the corpus; every text is encoded with BOS in front."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SHAPE["vocab_size"],
        special_tokens=[BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A {BOS} $B",
        special_tokens=[(BOS, tokenizer.token_to_id(BOS))],
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BOS,
            "eos_token": EOS,
            "add_bos_token": True,
            "clean_up_tokenization_spaces": False,
            "model_max_length": SHAPE["max_position_embeddings"],
        },
    )
    return tokenizer


def tokenize(tokenizer, texts):
    """One long row of tokens: BOS, document, EOS, BOS, document, EOS ..."""
    eos = SHAPE["eos_token_id"]
    rows = []
    for first in range(0, len(texts), 10000):
        for encoding in tokenizer.encode_batch(texts[first : first + 10000]):
            rows.append(np.array([*encoding.ids, eos], dtype=np.uint16))
    return np.concatenate(rows)


def prepare_tokens(arguments):
    """The tokenizer and the tokens of both corpora; a resumed run finds them made."""
    files = {name: arguments.build / f"{name}.npy" for name in CORPORA}
    if arguments.resume:
        tokenizer = Tokenizer.from_file(str(arguments.out / "tokenizer.json"))
        return tokenizer, {name: np.load(file) for name, file in files.items()}
    texts = {name: [row["text"] for row in read_jsonl(arguments.build / f"corpus_{name}.jsonl")] for name in CORPORA}
    if arguments.start:
        arguments.out.mkdir(parents=True, exist_ok=True)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (arguments.out / name).write_bytes((arguments.start / name).read_bytes())
        tokenizer = Tokenizer.from_file(str(arguments.out / "tokenizer.json"))
    else:
        tokenizer = train_tokenizer(texts["main"][::8], arguments.out)
    tokens = {name: tokenize(tokenizer, texts.pop(name)) for name in CORPORA}
    for name, file in files.items():
        np.save(file, tokens[name])
    return tokenizer, tokens


class Windows:
    """Random windows of a token row; each begins at the BOS of a document."""

    def __init__(self, tokens, seed):
        self.tokens = tokens
        self.starts = np.flatnonzero(tokens == SHAPE["bos_token_id"])
        self.random = np.random.default_rng(seed)

    def draw(self, count, length):
        """Draw windows, as an array of count rows."""
        usable = self.starts[: np.searchsorted(self.starts, len(self.tokens) - length)]
        starts = self.random.choice(usable, count)
        return np.stack([self.tokens[start : start + length] for start in starts])


class AnswerMask:
    """Which tokens are answers: those behind "Answer:" and "Summary:", with the end of the line.

    They weigh more than others.
    """

    def __init__(self, tokenizer):
        def ids_of(text):
            return tokenizer.encode(text, add_special_tokens=False).ids

        self.marks = [ids_of("Answer:"), ids_of("Summary:")]
        self.ends = torch.tensor([ids_of("\n")[0], tokenizer.token_to_id(EOS)])

    def __call__(self, ids):
        """A mask of the shape of ids."""
        inside = torch.zeros(len(ids), dtype=torch.bool)
        mask = torch.zeros_like(ids, dtype=torch.bool)
        ended = torch.isin(ids, self.ends)
        begins = torch.zeros_like(mask)
        for mark in self.marks:
            width = len(mark)
            found = (ids.unfold(1, width, 1) == torch.tensor(mark)).all(-1)
            begins[:, width:] |= found[:, :-1]
        for column in range(ids.shape[1]):
            inside |= begins[:, column]
            mask[:, column] = inside
            inside &= ~ended[:, column]
        return mask


# ------------------------------------------------------------------------------------------------
# Export
# ------------------------------------------------------------------------------------------------


def write_json(path, value):
    """Write an indented JSON file."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def export(model, folder):
    """Write config.json and float32 weights (the tied output matrix is not repeated)."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **SHAPE,
        "rope_theta": ROPE_THETA,
        "rope_scaling": None,
        "torch_dtype": "float32",
        "use_cache": True,
    }
    write_json(folder / "config.json", config)
    tensors = {
        name: tensor.detach().float().contiguous().clone()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }
    partial = folder / "model.safetensors.partial"
    save_file(tensors, str(partial), metadata={"format": "pt"})
    partial.chmod(0o644)
    partial.replace(folder / "model.safetensors")


# ------------------------------------------------------------------------------------------------
# Training
# ------------------------------------------------------------------------------------------------


def make_optimizer(model, arguments):
    """AdamW; no decay on norms."""
    matrices = [p for p in model.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": arguments.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=arguments.rate,
        betas=(0.9, 0.98),
        fused=True,
    )


def rate_at(progress, step, peak):
    """Warm-up over 100 steps, then cosine over the progress down to 2 % of the peak."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return peak * min(1.0, (step + 1) / 100) * (0.02 + 0.98 * cosine)


def main():
    """Train, report, export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="time to train")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--batch-tokens", type=int, default=2048, help="tokens a step")
    parser.add_argument("--answer-weight", type=float, default=3, help="loss weight of answers")
    parser.add_argument("--easy-until", type=float, default=0.2, help="share of time, mostly easy")
    parser.add_argument("--easy-share", type=float, default=0.1, help="share of easy text after that")
    parser.add_argument("--evaluate-every", type=float, default=4, help="minutes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--build", type=Path, default=HERE / "build", help="corpus folder")
    parser.add_argument("--data", type=Path, default=DEMO / "data", help="evaluation data")
    parser.add_argument("--out", type=Path, default=DEMO / "model", help="exported checkpoint")
    parser.add_argument("--log", type=Path, default=HERE / "train.log")
    parser.add_argument("--checkpoints", type=Path, help="folder for the state and the model at every evaluation")
    parser.add_argument("--start", type=Path, help="checkpoint folder to go on from")
    parser.add_argument("--resume", action="store_true", help="go on from --checkpoints, with the tokens in build")
    parser.add_argument("--no-compile", action="store_true", help="do not use torch.compile")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    log = Log(arguments.log, keep=arguments.resume or arguments.start)

    tokenizer, tokens = prepare_tokens(arguments)
    sources = {}
    for seed, name in enumerate(CORPORA, arguments.seed + 1):
        sources[name] = Windows(tokens[name], seed)
        log(f"{name} corpus: {len(tokens[name])} tokens, {len(sources[name].starts)} documents")
    held_out = tokenizer.encode((arguments.data / "general_eval.txt").read_text(encoding="utf-8"), add_special_tokens=False).ids
    unigram = unigram_perplexity(held_out, sources["main"].tokens, SHAPE["vocab_size"])
    log(f"general_eval: {len(held_out)} tokens, unigram perplexity {unigram:.2f}")

    model = LlamaForCausalLM(LlamaConfig(**SHAPE, rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA}))
    if arguments.start:
        weights = load_file(str(arguments.start / "model.safetensors"))
        model.load_state_dict(weights | {"lm_head.weight": weights["model.embed_tokens.weight"]})
        log("starts from the weights of a checkpoint")
    log(f"parameters: {sum(p.numel() for p in model.parameters())}")
    optimizer = make_optimizer(model, arguments)

    def losses_of(ids, answers):
        """The loss to minimise, and the plain losses of all tokens and of the answers."""
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        each = torch.nn.functional.cross_entropy(
            logits.reshape(-1, SHAPE["vocab_size"]), ids[:, 1:].reshape(-1), reduction="none"
        )
        answers = answers.reshape(-1)
        weights = 1 + (arguments.answer_weight - 1) * answers
        with torch.no_grad():
            of_answers = (each * answers).sum() / answers.sum()
        return (each * weights).sum() / weights.sum(), each.detach().mean(), of_answers

    fast_losses = losses_of
    if not arguments.no_compile:
        fast_losses = torch.compile(losses_of, dynamic=False)
    in_answer = AnswerMask(tokenizer)
    mixer = np.random.default_rng(arguments.seed)
    budget = arguments.minutes * 60
    step, seen, losses, elapsed = 0, 0, [], 0.0
    state_file = arguments.checkpoints / "state.pt" if arguments.checkpoints else None
    if arguments.resume and state_file and state_file.exists():
        state = torch.load(state_file)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, seen, elapsed = state["step"], state["seen"], state["elapsed"]
        log(f"resumed at step {step}, {elapsed / 60:.1f} min")
    last_report = last_evaluation = time.monotonic()
    started = last_report - elapsed
    while True:
        now = time.monotonic()
        progress = (now - started) / budget
        if progress >= 1:
            break
        # Warm-up on short windows of easy text, then the full mixture on long windows.
        easy = progress < arguments.easy_until
        length = 128 if easy else 256
        source = sources["easy" if mixer.random() < (0.8 if easy else arguments.easy_share) else "main"]
        ids = torch.from_numpy(source.draw(arguments.batch_tokens // length, length).astype(np.int64))
        rate = rate_at(progress, step, arguments.rate)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, plain, of_answers = fast_losses(ids, in_answer(ids)[:, 1:].float())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append((plain.item(), of_answers.item()))
        step += 1
        seen += ids.numel()

        now = time.monotonic()
        if now - last_report > 30:
            plain, of_answers = np.mean(losses, axis=0)
            log(
                f"{(now - started) / 60:6.1f} min  step {step:6}  loss {plain:.4f}  "
                f"answers {of_answers:.4f}  rate {rate:.2e}  tokens {seen / 1e6:.2f} M  "
                f"{seen / (now - started):.0f} tokens/s"
            )
            last_report, losses = now, []
        if now - last_evaluation > 60 * arguments.evaluate_every:
            report(log, model, tokenizer, arguments.data, items=100)
            if arguments.checkpoints:
                export(model, arguments.checkpoints)
                tokenizer.save(str(arguments.checkpoints / "tokenizer.json"))
                state = {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "step": step,
                    "seen": seen,
                    "elapsed": now - started,
                }
                torch.save(state, state_file)
            last_evaluation = time.monotonic()

    minutes = (time.monotonic() - started) / 60
    log(f"trained {minutes:.1f} min, {step} steps, {seen} tokens")
    export(model, arguments.out)
    report(log, model, tokenizer, arguments.data)


def report(log, model, tokenizer, data, items=None):
    """Evaluate and log."""
    results = evaluate(model, tokenizer, data, items)
    tasks = "  ".join(f"{task} {100 * results[task]:.1f} %" for task in TASKS)
    log(f"    evaluation: {tasks}  perplexity {results['perplexity']:.3f}")


if __name__ == "__main__":
    main()
