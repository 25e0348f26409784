# SPDX-License-Identifier: Apache-2.0
"""Print what the small editions of the studies find on the demo model, as tables with intervals.

    python sweeps/demo/findings.py llm_kick.h5 calibration_study.h5 quantization_study.h5
    python sweeps/demo/findings.py evopress.h5
    python sweeps/demo/counter_example.py build/release/winnow       (a table of its own: it runs its sweeps)

It needs the Python package of analysis/.  Intervals are 95 % over items, or over windows of held-out text (paired
bootstrap).
"""

import sys

import numpy as np
import winnow

# A task and the calibration set of its own.
OWN_SETS = {"facts": "facts", "instructions": "instructions"}


def table(rows):
    """Print rows (dictionaries with the same keys) as a table."""
    names = list(rows[0])
    print("| " + " | ".join(names) + " |")
    print("|" + " --- |" * len(names))
    for row in rows:
        print("| " + " | ".join(str(row[name]) for name in names) + " |")
    print()


def spread(value, low, high, most=np.inf):
    """A value and its interval; what is beyond the most that was measured is said to be so."""
    texts = [f"> {most:.1f}" if v > most else f"{v:.1f}" for v in (value, low, high)]
    return "{} ({} to {})".format(*texts)


def dense_scores(results):
    """Score of the dense model on each task, in per cent, with its standard error."""
    rows = []
    for task in results.tasks:
        scores = winnow.item_scores(results, task).loc[results.dense.name].to_numpy()
        error = scores.std(ddof=1) / np.sqrt(len(scores))
        rows.append(
            {
                "task": task,
                "items": len(scores),
                "dense": f"{100 * scores.mean():.1f} ± {100 * error:.1f}",
            }
        )
    table(rows)


def breaks(results):
    """Where along sparsity each task has lost ten points, and how far perplexity is by then."""
    found = winnow.breaking_points(results, lost=0.1, pattern="unstructured", calibration="general")
    cells = results.cells
    rows = []
    for (task, method), row in found.iterrows():
        if row["dense"] < 0.5 or task.startswith("in_context_"):
            continue  # nothing to lose, or another view of in_context
        last = cells[(cells["method"] == method) & (cells["pattern"] == "unstructured")]["sparsity"].max()
        ratios = row[["perplexity_ratio", "ratio_low", "ratio_high"]]
        rows.append(
            {
                "method": method,
                "task": task,
                "sparsity, %": spread(*(100 * row[["at", "low", "high"]]), 100 * last),
                "perplexity rise there, %": spread(*(100 * ratios - 100)) if np.isfinite(row["at"]) else "",
            }
        )
    table(sorted(rows, key=lambda row: row["method"]))


def scores(results, choose):
    """Scores of the chosen points on all tasks, in per cent, and their perplexity."""
    means = {task: winnow.item_scores(results, task).mean(axis=1) for task in results.tasks}
    rows = []
    for point, about in results.scores.iterrows():
        if about["method"] == "dense" or choose(about):
            key = " ".join(about["key"].split()[:3])
            row = {"point": key, "perplexity": f"{about[f'{results.texts[0]}/perplexity']:.2f}"}
            rows.append(row | {t: f"{100 * means[t].get(point, np.nan):.1f}" for t in means})
    table(rows)


def calibrations(results):
    """What task-specific calibration gains over general calibration, in points."""
    rows = []
    for task in results.tasks:
        for name in OWN_SETS.values():
            pairs = winnow.compare_calibrations(results, task, name, "general")
            for _, pair in pairs.iterrows():
                level = pair["pattern"]
                if level == "unstructured":
                    level = f"{100 * pair['sparsity']:.0f} %"
                rows.append(
                    {
                        "task": task,
                        "method": pair["method"],
                        "zeros": level,
                        "set": name,
                        "general, %": f"{100 * pair['second']:.1f}",
                        "set, %": f"{100 * pair['first']:.1f}",
                        "gain": spread(*(100 * pair[k] for k in ("difference", "low", "high"))),
                    }
                )
    table(rows)


def budgets(results):
    """Each budget of one method, spread in several ways: held-out KL, and how much more it is than what was searched."""
    scores, text, rows = results.scores, results.texts[0], []
    for _, found in winnow.allocations(results, reference="fast").iterrows():
        point = scores.loc[found["point"]]
        searched = found["allocation"] == "fast"
        more = f"{found['difference']:.4f} ({found['low']:.4f} to {found['high']:.4f})"
        rows.append(
            {
                "budget": " ".join(point["key"].split()[: 3 if point["method"] == "drop" else 2]),
                "zeros, %": f"{100 * point['achieved_sparsity']:.1f}",
                "chosen by": "search" if searched else found["allocation"],
                "perplexity": f"{point[f'{text}/perplexity']:.3f}",
                "KL": f"{point[f'{text}/kl_mean']:.4f}",
                "KL more than the search": "" if searched else more,
            }
        )
    table(rows)


def main():
    """Print all tables."""
    if len(sys.argv) == 2:
        budgets(winnow.open(sys.argv[1]))
        return
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    kick, calibration, quantization = map(winnow.open, sys.argv[1:])
    print("## Dense model\n")
    dense_scores(kick)
    print("## Where tasks have lost ten points\n")
    breaks(kick)
    print("## Structured and random zeros, quantization\n")
    scores(kick, lambda p: p["pattern"] != "unstructured" or p["method"] == "random")
    print("## Calibration sets\n")
    calibrations(calibration)
    print("## Quantizers\n")
    scores(quantization, lambda p: True)


if __name__ == "__main__":
    main()
