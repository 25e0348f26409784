"""Reads the results files of winnow and answers questions about them.

>>> import winnow
>>> results = winnow.open("demo.h5")
>>> results.scores[["method", "sparsity", "world/perplexity", "facts/acc"]]
>>> winnow.correlation(results, x="js", y="facts")
"""

from winnow import plots
from winnow.results import Results, open_results
from winnow.statistics import Correlation, compare, correlation, relative
from winnow.survival import (
    breaking_points,
    compare_calibrations,
    item_scores,
    paired_difference,
)
from winnow.sweepfile import read_sweep

open = open_results  # noqa: A001 - winnow.open

__all__ = [
    "Correlation",
    "Results",
    "breaking_points",
    "compare",
    "compare_calibrations",
    "correlation",
    "item_scores",
    "open",
    "paired_difference",
    "plots",
    "read_sweep",
    "relative",
]
