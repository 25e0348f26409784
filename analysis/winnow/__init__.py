# SPDX-License-Identifier: Apache-2.0
"""Reads the results files of winnow and answers questions about them.

>>> import winnow
>>> results = winnow.open("demo.h5")
>>> table = results.scores[["method", "sparsity", "world/perplexity", "facts/acc"]]
>>> print(winnow.correlation(results, x="js", y="facts"))  # doctest: +ELLIPSIS
ρ = ... [...], n = ...
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from winnow import layer_plots, plots, search_plots, speed_plots, study_plots
    from winnow.agreement import flips, margins, probability_changes
    from winnow.corpora import corpus_scores
    from winnow.draws import averaged, replicates, variance
    from winnow.inference import (
        benjamini_hochberg,
        correlations,
        dependent,
        holm,
        partial,
        perplexity_ratio,
        with_items,
    )
    from winnow.layer_errors import Monotonicity, layer_error_sums, monotonicity
    from winnow.mixed_models import mixed
    from winnow.plots import style
    from winnow.results import Results
    from winnow.results import open_results as open  # noqa: A004 - winnow.open
    from winnow.searches import allocations, candidates, generations, held_out, search_names
    from winnow.speed_plots import speeds
    from winnow.statistics import Correlation, compare, correlation, relative
    from winnow.survival import (
        breaking_points,
        compare_calibrations,
        item_scores,
        paired_difference,
    )
    from winnow.sweepfile import read_sweep

# Loaded when first asked for: winnow.tasks runs where only Python is installed.
_HOME = {
    "averaged": "winnow.draws",
    "benjamini_hochberg": "winnow.inference",
    "correlations": "winnow.inference",
    "corpus_scores": "winnow.corpora",
    "dependent": "winnow.inference",
    "holm": "winnow.inference",
    "partial": "winnow.inference",
    "perplexity_ratio": "winnow.inference",
    "with_items": "winnow.inference",
    "Correlation": "winnow.statistics",
    "Monotonicity": "winnow.layer_errors",
    "Results": "winnow.results",
    "allocations": "winnow.searches",
    "breaking_points": "winnow.survival",
    "candidates": "winnow.searches",
    "compare": "winnow.statistics",
    "compare_calibrations": "winnow.survival",
    "correlation": "winnow.statistics",
    "flips": "winnow.agreement",
    "generations": "winnow.searches",
    "held_out": "winnow.searches",
    "item_scores": "winnow.survival",
    "layer_error_sums": "winnow.layer_errors",
    "layer_plots": "winnow.layer_plots",
    "margins": "winnow.agreement",
    "mixed": "winnow.mixed_models",
    "monotonicity": "winnow.layer_errors",
    "open": "winnow.results",
    "paired_difference": "winnow.survival",
    "plots": "winnow.plots",
    "probability_changes": "winnow.agreement",
    "read_sweep": "winnow.sweepfile",
    "relative": "winnow.statistics",
    "replicates": "winnow.draws",
    "search_names": "winnow.searches",
    "search_plots": "winnow.search_plots",
    "speed_plots": "winnow.speed_plots",
    "speeds": "winnow.speed_plots",
    "study_plots": "winnow.study_plots",
    "style": "winnow.plots",
    "variance": "winnow.draws",
}

__all__ = [
    "Correlation",
    "Monotonicity",
    "Results",
    "allocations",
    "averaged",
    "benjamini_hochberg",
    "breaking_points",
    "candidates",
    "compare",
    "compare_calibrations",
    "corpus_scores",
    "correlation",
    "correlations",
    "dependent",
    "flips",
    "generations",
    "held_out",
    "holm",
    "item_scores",
    "layer_error_sums",
    "layer_plots",
    "margins",
    "mixed",
    "monotonicity",
    "open",
    "paired_difference",
    "partial",
    "perplexity_ratio",
    "plots",
    "probability_changes",
    "read_sweep",
    "relative",
    "replicates",
    "search_names",
    "search_plots",
    "speed_plots",
    "speeds",
    "study_plots",
    "style",
    "variance",
    "with_items",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'winnow' has no attribute {name!r}")
    module = importlib.import_module(_HOME[name])
    if _HOME[name] == f"winnow.{name}":
        value = module
    else:
        value = getattr(module, {"open": "open_results"}.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
