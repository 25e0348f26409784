# SPDX-License-Identifier: Apache-2.0
"""Mixed models against statsmodels, and what points were made from."""

import numpy as np
import pandas as pd
import pytest

import winnow


def points(seed=4):
    """Two crossed groupings and a column, with effects of known size."""
    rng = np.random.default_rng(seed)
    models, methods = rng.normal(0, 0.1, 5), rng.normal(0, 0.05, 6)
    rows = [
        {"model": f"model {m}", "method": f"method {k}", "sparsity": s, "text/perplexity": x,
         "task/acc": 0.9 - 0.2 * np.log(x) - 0.1 * s + models[m] + methods[k] + e}
        for m in range(5)
        for k in range(6)
        for s, x, e in zip((0.2, 0.5, 0.7), np.exp(rng.normal(2, 0.4, 3)), rng.normal(0, 0.02, 3))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_mixed_is_that_of_statsmodels():
    library = pytest.importorskip("statsmodels.regression.mixed_linear_model")
    table = points()
    found = winnow.mixed(table, "ln perplexity", "task", given="sparsity")
    renamed = table.rename(columns={"task/acc": "y"}).assign(
        one=1, x=np.log(table["text/perplexity"])
    )
    formulas = {"model": "0 + C(model)", "method": "0 + C(method)"}
    theirs = library.MixedLM.from_formula(
        "y ~ x + sparsity", renamed, groups="one", vc_formula=formulas
    ).fit(reml=True)
    for ours, name in (("ln text/perplexity", "x"), ("sparsity",) * 2, ("intercept", "Intercept")):
        assert found.loc[ours, "estimate"] == pytest.approx(theirs.params[name], rel=1e-3)
        assert found.loc[ours, "stderr"] == pytest.approx(theirs.bse[name], rel=0.01)
    sizes = dict(zip(theirs.model.exog_vc.names, theirs.vcomp)) | {"residual": theirs.scale}
    for name, variance in sizes.items():
        assert found.loc[f"sd of {name}", "estimate"] ** 2 == pytest.approx(variance, rel=0.01)


def test_intervals_cover_what_the_points_were_made_from():
    covered = []
    for seed in range(30):
        row = winnow.mixed(points(seed), "ln perplexity", "task", given="sparsity").iloc[0]
        covered.append(row["low"] < -0.2 < row["high"])
    assert 0.8 <= np.mean(covered) <= 1


def test_without_groups_it_is_the_least_squares_line():
    table = points().query("model == 'model 0' and method == 'method 0'").assign(status="done")
    table = pd.concat([table, table.assign(**{"task/acc": table["task/acc"] + [0.1, -0.1, 0.05]})])
    found = winnow.mixed(table.reset_index(), "perplexity", "task")
    slope, intercept = np.polyfit(table["text/perplexity"], table["task/acc"], 1)
    assert found.loc["text/perplexity", "estimate"] == pytest.approx(slope)
    assert found.loc["intercept", "estimate"] == pytest.approx(intercept)
    assert list(found.index) == ["text/perplexity", "intercept", "sd of residual"]


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="too few points"):
        winnow.mixed(points().head(2), "perplexity", "task")
    table = points().assign(other=lambda t: 2 * t["text/perplexity"])
    with pytest.raises(ValueError, match="says all"):
        winnow.mixed(table, "perplexity", "task", given="other")
