# SPDX-License-Identifier: Apache-2.0
"""Look for a model that is better when strictly more of it is left out, and say whether there is one.

    python sweeps/demo/counter_example.py build/release/winnow [FOLDER]

EvoPress (arXiv:2410.14649) shows such a pair on Llama-3-8B: leaving out 8 attentions and 8 MLPs gives a perplexity of
188 on WikiText-2, leaving out 4 more of each 24.  Here on the demo model, by the same means: a search finds the best
set B of branches, then one with inverted fitness, which may leave out branches of B alone, finds the worst set A of
fewer.  A is a part of B; where its KL to the dense model on held-out text is larger, layer errors and depth scores,
which add up, cannot choose.  It needs the Python package of analysis/.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import winnow

HERE = Path(__file__).resolve().parent
WHOLE = (0.5, 0.67)  # of the branches that B leaves out: 3 and 4 of 6 of each kind
PARTS = (0.17, 0.34, 0.5)  # that A leaves out: 1, 2 and 3


def sweep(searches, grid):
    """Return a sweep of the demo model; held-out text is not that of the searches."""
    return {
        "name": "counter_example",
        "model": str(HERE / "model"),
        "calibration": {"general": {"text": str(HERE / "data/general_calibration.jsonl"), "samples": 128, "length": 256}},
        "search": searches,
        "grid": grid,
        "evaluate": {
            "perplexity": {"world": {"text": str(HERE / "data/general_eval.txt"), "protocol": "gptq", "length": 256}},
            "divergence": {"on": ["world"], "measures": ["kl"]},
        },
    }


def run(program, folder, searches, grid):
    """Run a sweep, or what it has grown by."""
    path, output = folder / "counter_example.json", folder / "counter_example.h5"
    path.write_text(json.dumps(sweep(searches, grid)))
    subprocess.run([program, "run", path, "-o", output, "-q"], check=True)
    return output


def left_out(program, output, search):
    """Return the blocks without attention and those without MLP of each point of a search, as the sweep file has them."""
    shown = subprocess.run([program, "show", output, "--search", search, "--json"], check=True, capture_output=True)
    sets = []
    for item in json.loads(shown.stdout):
        units = item["units"]
        blocks = [[b for b, row in enumerate(item["levels"]) if row[units.index(u)]] for u in ("attention", "mlp")]
        sets.append([",".join(map(str, chosen)) for chosen in blocks])
    return sets


def point_of(results, search, sparsity):
    """Return the number of the point that a search was for."""
    scores = results.scores
    return scores.index[(scores["allocation"] == search) & np.isclose(scores["sparsity"], sparsity)][0]


def row(results, a, b):
    """Compare A and B: KL by windows of the text, and the interval of the difference."""
    tokens = results.tokens("world")
    windows = np.unique(tokens["sequence"].to_numpy(), return_inverse=True)[1]
    counts = np.bincount(windows)
    kl = [np.bincount(windows, weights=tokens["kl"].sel(point=p).to_numpy()) / counts for p in (a, b)]
    draws = np.random.default_rng(0).integers(0, len(counts), (10000, len(counts)))
    low, high = np.percentile((kl[0] - kl[1])[draws].mean(axis=1), [2.5, 97.5])
    perplexity = results.scores["world/perplexity"]
    verdict = "yes" if low > 0 else "no" if high < 0 else "not told apart"
    return [
        f"{kl[0].mean():.3f}, {perplexity[a]:.2f}",
        f"{kl[1].mean():.3f}, {perplexity[b]:.2f}",
        f"{(kl[0] - kl[1]).mean():.3f} ({low:.3f} to {high:.3f})",
        verdict,
    ]


def main():
    """Run both sweeps and print the table."""
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    program = Path(sys.argv[1]).resolve()
    folder = Path(sys.argv[2] if len(sys.argv) == 3 else tempfile.mkdtemp())
    settings = {"preset": "super-fast", "on": "general", "generations": 30, "tokens": [512, 4096]}
    searches = {"best": settings}
    drop = {"method": "drop", "units": "branch"}
    grid = [{**drop, "sparsity": list(WHOLE), "allocation": "best"}]
    sets = left_out(program, run(program, folder, searches, grid), "best")
    pairs = []
    for i, (whole, (attention, mlp)) in enumerate(zip(WHOLE, sets)):
        name = f"worst_{i}"
        searches[name] = {**settings, "inverted": True, "legal_attention": attention, "legal_mlp": mlp}
        parts = [part for part in PARTS if part < whole]
        grid.append({**drop, "sparsity": parts, "allocation": name})
        pairs += [(name, part, whole) for part in parts]
    output = run(program, folder, searches, grid)
    inside = {name: left_out(program, output, name) for name in searches if name != "best"}
    results = winnow.open(output)
    print("| A leaves out: attention; MLP | B | KL, perplexity of A | of B | KL of A less B | A is worse |")
    print("| --- " * 6 + "|")
    for name, part, whole in pairs:
        a = inside[name][[p for n, p, _ in pairs if n == name].index(part)]
        b = sets[WHOLE.index(whole)]
        found = row(results, point_of(results, name, part), point_of(results, "best", whole))
        print("| " + " | ".join(["; ".join(a), "; ".join(b), *found]) + " |")


if __name__ == "__main__":
    main()
