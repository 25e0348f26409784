#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prefill and decoding of one checkpoint beside llama.cpp, on one thread in one run: ratios of pairs.

    bench_llama.py BENCH_LLAMA CHECKPOINT F32.gguf [--only NAMES] [--pairs 7] [--prompt 256] [--steps 16] [--to FOLDER]

BENCH_LLAMA is build/release/tests/bench_llama; F32.gguf holds the same checkpoint in F32. llama.cpp's own quantizer
makes from it the files in Q4_0 (head as that program makes it by default, and a second one with the head in F16) in
FOLDER. Comparisons: fp32 decoding; 4-bit decoding (groups of 32 with one scale, as Q4_0 has them) with inputs in fp32
here, and in 8 bits in runs of 32, as llama.cpp has them in both; prefill of 512 tokens; bf16 decoding; and decoding of
8 texts. The head is bf16 here, as the checkpoint has it; "head F16" is the like of it there.

Takes of both programs alternate; the ratio of a pair is the mean of the two takes of llama.cpp around one of winnow,
over it, so more than 1 means that winnow is faster. Printed are the median and the quartiles of the ratios, of the
processor's time and of the wall's, and how many pairs were disturbed (a wall clock more than a tenth longer than the
processor's). Without llama_cpp (package llama-cpp-python) or the files it says so and ends with 77.
"""

import argparse
import ctypes
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


try:
    import llama_cpp
except ImportError as missing:
    skip(f"{missing}; pip install --no-binary llama-cpp-python llama-cpp-python builds it for this processor")

PREFILL = 512
F16, Q4_0 = 1, 2  # file types of llama.cpp
DISTURBED = 1.1
# name: word of bench_llama, bits of weights and inputs there, file of llama.cpp, texts
COMPARISONS = {
    "decode fp32 : F32": ("decode", (32,), "f32", 1),
    "decode 4 bits : Q4_0": ("decode", (4,), "q4_0", 1),
    "decode 4 bits : Q4_0, head F16": ("decode", (4,), "q4_0_f16", 1),
    "decode 4 x 8 bits : Q4_0": ("decode", (4, 8), "q4_0", 1),
    "decode 4 x 8 bits : Q4_0, head F16": ("decode", (4, 8), "q4_0_f16", 1),
    "prefill fp32 : F32": ("prefill", (32,), "f32", 1),
    "prefill 4 x 8 bits : Q4_0": ("prefill", (4, 8), "q4_0", 1),
    "decode bf16 : F16": ("decode", (16,), "f16", 1),
    "decode fp32 : F32, 8 texts": ("decode8", (32,), "f32", 8),
    "decode 4 bits : Q4_0, 8 texts": ("decode8", (4,), "q4_0", 8),
    "decode 4 x 8 bits : Q4_0, 8 texts": ("decode8", (4, 8), "q4_0", 8),
}


class Llama:
    """A file of llama.cpp, in this process."""

    def __init__(self, path, texts, options):
        self.prompt, self.steps, self.texts = options.prompt, options.steps, texts
        parameters = llama_cpp.llama_model_default_params()
        parameters.use_mmap = False
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.model:
            sys.exit(f"{path}: llama.cpp does not load it")
        context = llama_cpp.llama_context_default_params()
        context.n_ctx = max(texts * (self.prompt + self.steps), PREFILL)
        context.n_batch = context.n_ubatch = PREFILL
        context.n_seq_max = texts
        context.kv_unified = True
        context.n_threads = context.n_threads_batch = 1
        self.context = llama_cpp.llama_init_from_model(self.model, context)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.batch = llama_cpp.llama_batch_init(PREFILL, 0, 1)
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.filled = False

    def run(self, rows, logits):
        """rows: (text, position) of each token; logits: of these rows."""
        self.batch.n_tokens = len(rows)
        for i, (text, position) in enumerate(rows):
            self.batch.token[i] = (text * 7919 + position * 104729 + 11) % self.vocabulary
            self.batch.pos[i] = position
            self.batch.n_seq_id[i] = 1
            self.batch.seq_id[i][0] = text
            self.batch.logits[i] = i in logits
        if llama_cpp.llama_decode(self.context, self.batch):
            sys.exit("llama_decode failed")

    def fill(self):
        llama_cpp.llama_memory_clear(self.memory, True)
        for text in range(self.texts):
            self.run([(text, position) for position in range(self.prompt)], {self.prompt - 1})
        self.filled = True

    def take(self, word):
        if word == "prefill":
            llama_cpp.llama_memory_clear(self.memory, True)
            self.filled = False
            return timed(lambda: self.run([(0, position) for position in range(PREFILL)], {PREFILL - 1}), 1)
        if not self.filled:
            self.fill()
        seconds = timed(self.step, self.steps)
        for text in range(self.texts):
            llama_cpp.llama_memory_seq_rm(self.memory, text, self.prompt, -1)
        return seconds

    def step(self):
        for k in range(self.steps):
            rows = [(text, self.prompt + k) for text in range(self.texts)]
            self.run(rows, range(self.texts))


def timed(work, count):
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - wall) / count, (time.process_time() - processor) / count


class Winnow:
    """bench_llama, as a child that answers."""

    def __init__(self, options, bits):
        words = [options.bench, options.checkpoint, str(bits[0]), "32", str(options.prompt), str(options.steps)]
        words += [str(width) for width in bits[1:]]
        variables = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")} | {"OMP_NUM_THREADS": "1"}
        self.child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables)
        self.ready = self.child.stdout.readline().strip()
        if not self.ready.startswith("ready"):
            sys.exit("bench_llama did not start")

    def take(self, word):
        self.child.stdin.write(word + "\n")
        self.child.stdin.flush()
        return tuple(float(x) for x in self.child.stdout.readline().split())

    def close(self):
        self.child.stdin.close()
        self.child.wait()


def quantize(source, target, kind, head=None):
    if target.exists():
        return
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype, parameters.nthread = kind, 1
    if head is not None:  # a type of ggml; a tied head is the embedding
        parameters.token_embedding_type = parameters.output_tensor_type = head
    partial = target.with_suffix(".partial")
    if llama_cpp.llama_model_quantize(str(source).encode(), str(partial).encode(), ctypes.byref(parameters)):
        sys.exit(f"{target}: llama.cpp does not quantize it")
    partial.rename(target)


def files(options, folder):
    made = {"f32": options.gguf} | {name: folder / f"{name}.gguf" for name in ("f16", "q4_0", "q4_0_f16")}
    quantize(options.gguf, made["f16"], F16)
    quantize(options.gguf, made["q4_0"], Q4_0)
    quantize(options.gguf, made["q4_0_f16"], Q4_0, F16)
    return made


def quartiles(values):
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def compare(name, llama, winnow, options):
    word, _, _, texts = COMPARISONS[name]
    for program in (llama, winnow):
        program.take(word)
    theirs, ours = [llama.take(word)], []
    for _ in range(options.pairs):
        ours.append(winnow.take(word))
        theirs.append(llama.take(word))
    ratios = [[(theirs[i][c] + theirs[i + 1][c]) / 2 / ours[i][c] for i in range(len(ours))] for c in (0, 1)]
    disturbed = sum(
        any(wall > DISTURBED * processor for wall, processor in (ours[i], theirs[i], theirs[i + 1])) for i in range(len(ours))
    )
    tokens = PREFILL if word == "prefill" else texts
    speeds = [tokens / statistics.median(take[1] for take in takes) for takes in (ours, theirs)]
    print(f"| {name} | {speeds[0]:.1f} | {speeds[1]:.1f} | {quartiles(ratios[1])} | {quartiles(ratios[0])} | "
          f"{disturbed} of {len(ours)} |", flush=True)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bench", type=pathlib.Path)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("gguf", type=pathlib.Path)
    parser.add_argument("--only", default="", help="comparisons whose names contain one of these words, by commas")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--to", type=pathlib.Path, help="folder that keeps llama.cpp's quantized files")
    options = parser.parse_args()
    for path in (options.bench, options.checkpoint, options.gguf):
        if not path.exists():
            skip(f"there is no {path}")
    silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    with tempfile.TemporaryDirectory() as folder:
        made = files(options, options.to or pathlib.Path(folder))
        print(f"llama-cpp-python {llama_cpp.__version__}; one thread, prompt {options.prompt}, {options.steps} steps")
        print("| comparison | winnow, tokens/s | llama.cpp, tokens/s | ratio, processor | ratio, wall | disturbed |")
        print("| --- | --- | --- | --- | --- | --- |")
        for name, (_, bits, file, texts) in COMPARISONS.items():
            if not any(word in name for word in options.only.split(",")):
                continue
            winnow = Winnow(options, bits)
            llama = Llama(made[file], texts, options)
            compare(name, llama, winnow, options)
            winnow.close()
            llama_cpp.llama_free(llama.context)
            llama_cpp.llama_model_free(llama.model)
    return 0


if __name__ == "__main__":
    sys.exit(main())
