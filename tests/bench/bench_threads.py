#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How much faster a point is on several threads than on one, stage by stage: one rank, one point of each kind.

    bench_threads.py WINNOW MODEL TEXT [--threads 2] [--rounds 2] [--tokens 1024] [--only sparsegpt,wanda]

MODEL is a checkpoint directory, TEXT a plain text of some thousand tokens. The sweep is run with one thread and with
several in turn, and of each stage of each point the fastest round counts. From both times follows the share of the
one-thread time that did not become shorter (Amdahl: serial = (threads * t / t1 - 1) / (threads - 1); memory that both
threads wait for counts as serial), and with it the most that 32 threads can bring. Fails when the digests of the runs
differ or a run had not the threads that it should have. AWQ, which runs its forward passes twenty times, gets an
eighth of the tokens. Needs as many idle cores as threads.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

POINTS = {
    "sparsegpt": {"sparsity": 0.5, "calibration": "text"},
    "gptq": {"bits": 4, "group": 64, "calibration": "text"},
    "spqr": {"bits": 4, "calibration": "text"},
    "wanda": {"sparsity": 0.5, "calibration": "text"},
    "awq": {"bits": 4, "group": 64, "calibration": "short"},
    "rtn": {"bits": 4, "group": 64},
}
STAGES = ("load", "statistics", "compress", "forward", "score")
MANY = 32


def sweep_of(options, folder):
    text = {"text": str(options.text.resolve())}
    calibration = {"text": (options.tokens, 512), "short": (options.tokens // 8, 128)}
    only = options.only.split(",") if options.only else list(POINTS)
    grid = [{"method": name, **POINTS[name]} for name in only]
    used = {point["calibration"] for point in grid if "calibration" in point} | {"text"}
    sweep = {
        "model": str(options.model.resolve()),
        "calibration": {
            name: {**text, "samples": max(tokens // length, 1), "length": length}
            for name, (tokens, length) in calibration.items()
            if name in used
        },
        "grid": grid,
        "evaluate": {"perplexity": {"text": {**text, "length": 512, "windows": 1}}},
        "statistics": {"sample": "text", "tokens": 256},
    }
    path = pathlib.Path(folder, "sweep.json")
    path.write_text(json.dumps(sweep))
    return path


def run(options, sweep, threads, folder):
    """Rows of the points by method, and the digest."""
    file = pathlib.Path(folder, f"run{threads}.h5")
    file.unlink(missing_ok=True)
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), OMP_PROC_BIND="false")
    environment.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    command = ["mpirun", "-n", "1", "--bind-to", "none", options.winnow, "run", sweep, "-o", file, "--quiet"]
    subprocess.run(command, env=environment, check=True)

    def output(*words):
        return subprocess.run([options.winnow, *words, file], check=True, capture_output=True, text=True).stdout

    rows = {row["method"]: row for row in json.loads(output("show", "--json"))["points"]}
    wrong = {row["threads"] for row in rows.values()} - {threads}
    if wrong:
        sys.exit(f"points were computed with {wrong} threads, expected {threads}")
    return rows, output("verify").split()[-1]


def fastest(into, rows):
    for method, row in rows.items():
        point = into.setdefault(method, {})
        for stage in STAGES:
            seconds = row[f"seconds_{stage}"]
            point[stage] = min(point.get(stage, seconds), seconds)


def print_line(point, stage, one, several, threads):
    if one < 0.005:
        return
    serial = max((threads * several / one - 1) / (threads - 1), 0)
    bound = 1 / (serial + (1 - serial) / MANY)
    print(f"{point:10} {stage:11} {one:9.3f} s {several:9.3f} s {one / several:7.2f} {100 * serial:8.1f} % {bound:8.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("winnow", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--only", help="methods, with commas between them (default: all)")
    options = parser.parse_args()
    times, digests = {1: {}, options.threads: {}}, set()
    with tempfile.TemporaryDirectory() as folder:
        sweep = sweep_of(options, folder)
        for _ in range(options.rounds):
            for threads, into in times.items():
                rows, digest = run(options, sweep, threads, folder)
                fastest(into, rows)
                digests.add(digest)
    if len(digests) != 1:
        sys.exit(f"the digest depends on the threads: {digests}")
    print(f"{'point':10} {'stage':11} {'1 thread':>11} {options.threads:>2} threads speed-up     serial at most, of {MANY}")
    for method, one in times[1].items():
        several = times[options.threads][method]
        for stage in STAGES:
            print_line(method, stage, one[stage], several[stage], options.threads)
        print_line(method, "in all", sum(one.values()), sum(several.values()), options.threads)


if __name__ == "__main__":
    main()
