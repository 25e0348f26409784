# SPDX-License-Identifier: Apache-2.0
"""Draws and rounding: spreads of cells, components of variance, figures that show both."""

import json
import subprocess

import numpy as np
import pandas as pd
import pytest
from conftest import DEMO, example, head, run
from scipy import stats

import winnow
from winnow import study_plots
from winnow.draws import collapse

findings = example("findings")
Study, interval = example("study").Study, example("study").interval


def simulated(rng, counts, sizes, missing=0):
    """Points of methods x levels x sets x draws, with effects of known size."""
    n_methods, n_levels, n_sets, n_draws = counts
    method = rng.normal(0, sizes[0], n_methods)
    level = rng.normal(0, sizes[1], n_levels)
    both = rng.normal(0, sizes[2], (n_methods, n_levels))
    set_ = rng.normal(0, sizes[3], (n_methods, n_levels, n_sets))
    rows = [
        {
            "method": f"m{m}",
            "sparsity": 0.1 * (k + 1),
            "calibration": f"c{c}",
            "replicate": r,
            "text/nll": method[m] + level[k] + both[m, k] + set_[m, k, c] + rng.normal(0, sizes[4]),
            "text/nll_stderr": 0.25,
        }
        for m in range(n_methods)
        for k in range(n_levels)
        for c in range(n_sets)
        for r in range(n_draws)
    ]
    table = pd.DataFrame(rows)
    return table.drop(rng.choice(len(table), missing, replace=False)).reset_index(drop=True)


def analysis_of_variance(table, counts):
    """The textbook estimates of a balanced grid: mean squares and their expectations."""
    y = table["text/nll"].to_numpy().reshape(counts)
    a, b, c, r = counts
    m, k, cells, sets = y.mean((1, 2, 3)), y.mean((0, 2, 3)), y.mean((2, 3)), y.mean(3)
    together = cells - m[:, None] - k[None, :] + y.mean()
    squares = [
        b * c * r * m.var(ddof=1),
        a * c * r * k.var(ddof=1),
        c * r * (together**2).sum() / ((a - 1) * (b - 1)),
        r * ((sets - cells[:, :, None]) ** 2).sum() / (a * b * (c - 1)),
        ((y - sets[..., None]) ** 2).sum() / (a * b * c * (r - 1)),
    ]
    return {
        "method": (squares[0] - squares[2]) / (b * c * r),
        "level": (squares[1] - squares[2]) / (a * c * r),
        "method and level": (squares[2] - squares[3]) / (c * r),
        "calibration set": (squares[3] - squares[4]) / r,
        "draw": squares[4],
    }


def test_components_of_a_balanced_grid_are_those_of_the_analysis_of_variance():
    counts, rng = (4, 5, 3, 4), np.random.default_rng(3)
    table = simulated(rng, counts, (1.0, 2.0, 0.8, 0.6, 0.3))
    expected = analysis_of_variance(table, counts)
    assert min(expected.values()) > 0  # else maximum likelihood stops at 0 and differs
    found = winnow.variance(table, "nll")
    for name, value in expected.items():
        assert found.loc[name, "variance"] == pytest.approx(value, rel=1e-3), name
    assert found.loc["items", "variance"] == pytest.approx(0.25**2)
    assert found["share"].sum() == pytest.approx(1)


def test_components_come_back_on_average():
    sizes, rng = (1.0, 2.0, 0.8, 0.6, 0.3), np.random.default_rng(1)
    found = [winnow.variance(simulated(rng, (4, 4, 2, 3), sizes, 9), "nll") for _ in range(40)]
    means = pd.concat([f["variance"] for f in found], axis=1).mean(axis=1)
    names = ("method", "level", "method and level", "calibration set", "draw")
    for name, size in zip(names, sizes):
        assert means[name] == pytest.approx(size**2, rel=0.45), name
    assert means["draw"] == pytest.approx(0.3**2, rel=0.1)


def test_components_are_those_of_statsmodels():
    mixed = pytest.importorskip("statsmodels.regression.mixed_linear_model")
    table = simulated(np.random.default_rng(5), (4, 4, 2, 3), (1.0, 2.0, 0.8, 0.6, 0.3), 7)
    found = winnow.variance(table, "nll")["variance"]
    renamed = table.rename(columns={"text/nll": "y"}).assign(one=1)
    formulas = {
        "method": "0 + C(method)",
        "level": "0 + C(sparsity)",
        "method and level": "0 + C(method):C(sparsity)",
        "calibration set": "0 + C(method):C(sparsity):C(calibration)",
    }
    model = mixed.MixedLM.from_formula("y ~ 1", renamed, groups="one", vc_formula=formulas)
    fitted = model.fit(reml=True)
    theirs = dict(zip(model.exog_vc.names, fitted.vcomp)) | {"draw": fitted.scale}
    for name, value in theirs.items():
        assert found[name] == pytest.approx(value, rel=0.01), name


def test_what_draws_have_in_common_stays():
    """The mean of 0.1 three times is 0.10000000000000002, another line of a figure."""
    table = pd.DataFrame({"point": [1, 2, 3, 4], "replicate": [0, 1, 2, 0]})
    table = table.assign(method="m", percdamp=0.1, sparsity=[0.5, 0.5, 0.5, 0.6])
    table["a/b"] = 1.0
    cells = collapse(table, ["method", "percdamp", "sparsity", "replicate"])
    assert list(cells["percdamp"]) == [0.1, 0.1]
    assert list(cells["point"]) == [1, 4]


def test_collapse_of_no_cells_keeps_their_columns():
    """Of a study whose points are all to come, figures are empty."""
    cells = pd.DataFrame({"method": ["wanda"], "sparsity": [0.5], "replicate": [0]})[:0]
    assert list(collapse(cells, ["method", "sparsity", "replicate"])) == list(cells)


def test_a_grid_without_draws_is_refused():
    table = simulated(np.random.default_rng(0), (2, 2, 2, 1), (1, 1, 1, 1, 1))
    with pytest.raises(ValueError, match="replicates"):
        winnow.variance(table, "nll")


@pytest.fixture(scope="module")
def results(binary, tmp_path_factory):
    """Three draws and three roundings of two methods, and one that has no draws."""
    folder = tmp_path_factory.mktemp("replicates")
    head(DEMO / "data" / "facts.jsonl", folder / "facts.jsonl", 40)
    head(DEMO / "data" / "general_eval.txt", folder / "world.txt", 60)
    text = str(DEMO / "data" / "general_calibration.jsonl")
    sets = {
        n: {"text": text, "samples": 4, "length": 64, "seed": 10 * i} for i, n in enumerate("ab")
    }
    methods = ["wanda", "sparsegpt"]
    both = {"sparsity": [0.5, 0.7], "calibration": ["a", "b"]}
    sweep = {
        "model": str(DEMO / "model"),
        "calibration": sets,
        "grid": [
            {"method": ["magnitude", *methods], **both, "replicates": 3},
            {
                "method": methods,
                "sparsity": 0.7,
                "calibration": "a",
                "perturb": [0, 1e-5],
                "perturb_seed": [0, 1],
            },
        ],
        "evaluate": {
            "perplexity": {"world": {"text": "world.txt", "protocol": "gptq", "length": 64}},
            "tasks": ["facts.jsonl"],
        },
    }
    return winnow.open(run(binary, folder, json.loads(json.dumps(sweep))))


def test_spread_of_cells(results):
    table = winnow.replicates(results, "perplexity")
    draws = table[table["noise"] == "draw"]
    assert len(draws) == 8 and set(draws["method"]) == {"wanda", "sparsegpt"}
    assert (draws["n"] == 3).all()
    scores = results.scores
    row = draws[(draws["method"] == "wanda") & (draws["sparsity"] == 0.7)].iloc[0]
    chosen = scores[(scores["method"] == "wanda") & (scores["sparsity"] == 0.7)]
    chosen = chosen[(chosen["calibration"] == row["calibration"]) & (chosen["perturb"] == 0)]
    values = chosen["world/perplexity"]
    assert row["mean"] == pytest.approx(values.mean())
    assert row["std"] == pytest.approx(np.std(values, ddof=1))
    assert row["high"] - row["mean"] == pytest.approx(4.302653 * row["std"] / 3**0.5)  # t of 2
    assert row["items"] > 0 and row["items_low"] < row["mean"] < row["items_high"]
    rounding = table[table["noise"] == "rounding"]
    assert len(rounding) == 2 and (rounding["n"] == 3).all()
    assert (rounding["std"].to_numpy() > 0).all()
    assert rounding["std"].max() < draws["std"].max()


def test_variance_of_results(results):
    found = winnow.variance(results, "ln perplexity")
    names = ["method", "level", "calibration set", "draw", "rounding", "items"]
    assert [n for n in found.index if n in names] == names
    assert found.loc["level", "variance"] > found.loc["draw", "variance"] > 0
    assert found.loc["draw", "variance"] > found.loc["rounding", "variance"] > 0
    assert found.drop("rounding")["share"].sum() == pytest.approx(1)
    assert "draw and item" in winnow.variance(results, "facts").index


def test_variance_takes_any_setting_for_another_method(results):
    scores = results.scores
    chosen = scores[scores["calibration"] != ""]
    table = chosen.assign(blend=["x" if s > 0.6 else "y" for s in chosen["sparsity"]])
    table.attrs["axes"] = [*scores.attrs["axes"], "blend"]  # as a new setting of a method would be
    found = winnow.variance(table, "ln perplexity")
    assert found.loc["method", "groups"] == 2 * winnow.variance(chosen, "ln perplexity").loc[
        "method", "groups"
    ]  # fmt: skip


def test_matching_averages_draws(results):
    figure = study_plots.matching(results)
    once = collapse(results.cells, results.axes)
    drawn = {
        tuple(np.round(np.asarray(k.get_ydata()[1:], float), 9)) for k in figure.axes[0].lines[2:]
    }
    wanda = once[(once["method"] == "wanda") & (once["calibration"] == "a")]
    name = results.main_score("facts")
    assert tuple(np.round(wanda.sort_values("sparsity")[name], 9)) in drawn
    assert not any("replicate" in t.get_text() for t in figure.legends[0].get_texts())


def test_figures_average_draws_and_show_both_errors(results):
    cells = results.cells
    once = collapse(cells, results.axes)
    wanda = once[once["method"] == "wanda"]
    assert len(wanda) == 4  # two levels of two sets
    assert (wanda["world/perplexity_draws"] > 0).all()
    figure = winnow.plots.over_sparsity(results, "perplexity")
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert len(labels) == 5 and not any("replicate" in t or "perturb" in t for t in labels)
    bars = [c for c in figure.axes[0].containers if c.has_yerr]
    assert len(bars) == 5 + 4  # one of items for every line, one of draws where there are any


def test_breaking_points_average_draws(results):
    table = winnow.breaking_points(results, lost=0.2, resamples=200)
    assert set(table.index.get_level_values("method")) == {
        "magnitude", "wanda, a", "wanda, b", "sparsegpt, a", "sparsegpt, b"}  # fmt: skip
    scores = results.scores
    chosen = scores[(scores["method"] == "wanda") & (scores["calibration"] == "b")]
    means = chosen.groupby("sparsity")["facts/acc"].mean()
    assert chosen.groupby("sparsity")["facts/acc"].nunique().max() > 1  # draws do differ
    line = np.interp(table.loc[("facts", "wanda, b"), "at"], [0, *means.index],
                     [results.dense["facts/acc"], *means])  # fmt: skip
    assert line == pytest.approx(results.dense["facts/acc"] - 0.2)


def test_averaged_is_what_show_prints(results, binary):
    command = [str(binary), "show", str(results.path)]
    text = subprocess.run([*command, "--json"], capture_output=True, check=True).stdout
    shown = json.loads(text)["points"]
    table = winnow.averaged(results)
    singles = results.scores
    assert len(table) == len(shown) < len(singles)
    assert table.attrs["axes"] == singles.attrs["axes"] == results.axes
    assert table["draws"].value_counts().to_dict() == {3: 8, 2: 2, 1: 3}
    for (point, row), other in zip(table.iterrows(), shown):
        assert other.pop("point") == point
        for name, value in other.items():
            if value is None or isinstance(value, str):
                assert str(row[name]) == (value or "") or pd.isna(row[name]), name
            else:
                assert float(row[name]) == pytest.approx(value, rel=1e-12), name
    text = subprocess.run([*command, "--draws", "--csv"], capture_output=True, check=True).stdout
    assert len(text.splitlines()) == 1 + len(singles)


def test_findings_set_methods_beside_draws(results):
    study = Study(results)
    _, head, text = findings.draws_and_methods(study)
    logs = {}
    for method in ("sparsegpt", "wanda"):
        logs[method] = np.log(study.find(method, sparsity=0.5, calibration="b")["world/perplexity"])
        assert len(logs[method]) == 3
        assert f"| {method} | 50 % | b | 3 |" in text
        assert f"| {100 * logs[method].std(ddof=1):.1f} % |" in text
    test = stats.ttest_ind(logs["wanda"], logs["sparsegpt"], equal_var=False)
    ends = np.exp([np.subtract(*(logs[m].mean() for m in ("wanda", "sparsegpt"))),
                   *test.confidence_interval(0.95)])  # fmt: skip
    assert f"wanda against sparsegpt (b, 50 %) {interval(*ends)}" in head
