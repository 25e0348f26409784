# SPDX-License-Identifier: Apache-2.0
"""Linear mixed models by restricted maximum likelihood: what is fixed, and what varies by group.

The variances of crossed or nested groups are estimated together, by L-BFGS on their logarithms with
the analytic gradient, for as many points as a sweep has (matrices are dense, one row per point).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import optimize, stats

from winnow.inference import _controls
from winnow.results import Results
from winnow.statistics import _name, _select

_FEWEST = 1e-12  # of the variance of all: what is less is none


@dataclasses.dataclass(frozen=True)
class Fit:
    """Variances of the groupings and then of the residual; coefficients with their covariance.

    ``freedom`` is what points have left when the columns and the groups are taken from them.
    """

    variances: list[float]
    coefficients: np.ndarray
    covariance: np.ndarray
    freedom: int


def reml(y: np.ndarray, columns: np.ndarray, groupings: Sequence[np.ndarray]) -> Fit:
    """Fit y [point] by ``columns`` [point, column], one of which is constant, and by groupings.

    A grouping has the group of every point; each has an effect of its own, drawn from a normal
    distribution of mean 0.
    """
    y, x = np.asarray(y, float), np.asarray(columns, float)
    centre, spread = float(y.mean()), float(np.var(y, ddof=1))
    size = np.abs(x).max(axis=0)
    size = np.where(size > 0, size, 1)
    indicators = [pd.get_dummies(pd.Series(g)).to_numpy(float) for g in groupings]
    freedom = len(y) - int(np.linalg.matrix_rank(np.hstack([x / size, *indicators])))
    if spread == 0:
        constant = np.linalg.lstsq(x, y, rcond=None)[0]
        return Fit([0.0] * (len(groupings) + 1), constant, np.zeros((x.shape[1],) * 2), freedom)
    parts = [i @ i.T for i in indicators] + [np.eye(len(y))]
    scaled, x = (y - centre) / np.sqrt(spread), x / size

    def loss(logs: np.ndarray) -> tuple[float, np.ndarray]:
        sizes = np.exp(logs)
        inverse = np.linalg.inv(sum(s * p for s, p in zip(sizes, parts)))
        weights = inverse @ x
        inner = x.T @ weights
        project = inverse - weights @ np.linalg.solve(inner, weights.T)
        rest = project @ scaled
        value = np.linalg.slogdet(inner)[1] - np.linalg.slogdet(inverse)[1] + scaled @ rest
        slope = [s * (np.sum(project * p) - rest @ p @ rest) for s, p in zip(sizes, parts)]
        return value, np.array(slope)

    start = np.full(len(parts), -np.log(len(parts)))
    bounds = [(np.log(_FEWEST), 6.0)] * (len(parts) - 1) + [(np.log(1e-9), 6.0)]
    options = {"maxiter": 1000, "ftol": 1e-14, "gtol": 1e-9}
    found = optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    sizes = np.exp(found.x)
    inverse = np.linalg.inv(sum(s * p for s, p in zip(sizes, parts)))
    covariance = np.linalg.inv(x.T @ inverse @ x)
    coefficients = covariance @ (x.T @ inverse @ (y / np.sqrt(spread)))
    variances = [0.0 if s <= 10 * _FEWEST else float(s * spread) for s in sizes]
    return Fit(
        variances,
        coefficients * np.sqrt(spread) / size,
        covariance * spread / np.outer(size, size),
        freedom,
    )


def mixed(
    results: Results | pd.DataFrame,
    x: str,
    y: str,
    given: Sequence[str] | str = (),
    groups: Sequence[str] = ("model", "method"),
    *,
    zone: float | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """A score as a line of another one, over all models and methods of a file, or several files.

    Models and methods may each lie higher or lower: they are draws from a normal distribution,
    whose standard deviations are estimated with the slope of ``x`` and those of the columns
    ``given`` (REML). "ln " before a name takes its logarithm. ``winnow.correlation(by="method")``
    asks the same of ranks within methods; here several models can be pooled, and what is left is
    in the unit of ``y``.

    One row each: ``x``, ``given`` and "intercept" with ``stderr``, t interval and ``p``, whose
    degrees of freedom (``n``) are those of the points less columns and groups, and "sd of model",
    "sd of method" and "sd of residual" with the number of groups as ``n``. Intervals take the
    residuals as independent; of few groups, that of the intercept is too short.
    """
    points = _select(results, [x, y], None, zone, "model")
    names = [given] if isinstance(given, str) else list(given)
    points, controls = _controls(results, points, names)
    used = [g for g in groups if g in points and len(set(points[g])) > 1]
    columns = np.column_stack([points["x"].to_numpy(float), *controls, np.ones(len(points))])
    if len(points) < 3 or np.linalg.matrix_rank(columns) < columns.shape[1]:
        raise ValueError(f"{y}: too few points, or what is given says all of {x}")
    codes = [pd.factorize(points[g].astype(str))[0] for g in used]
    fit = reml(points["y"].to_numpy(float), columns, codes)
    if fit.freedom < 1:
        raise ValueError(f"{y}: no points are left to judge a slope by, beside {', '.join(used)}")
    errors = np.sqrt(np.diag(fit.covariance))
    half = stats.t.ppf((1 + level) / 2, fit.freedom) * errors
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * stats.t.sf(np.abs(fit.coefficients) / errors, fit.freedom)
    fixed = pd.DataFrame(
        {"estimate": fit.coefficients, "stderr": errors, "low": fit.coefficients - half,
         "high": fit.coefficients + half, "p": p, "n": fit.freedom},
        index=[_name(points, 0), *names, "intercept"],
    )  # fmt: skip
    counts = [len(set(c)) for c in codes] + [len(points)]
    spread = pd.DataFrame(
        {"estimate": np.sqrt(fit.variances), "n": counts},
        index=[f"sd of {g}" for g in (*used, "residual")],
    )
    return pd.concat([fixed, spread]).rename_axis(index=_name(points, 1))
