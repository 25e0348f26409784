# SPDX-License-Identifier: Apache-2.0
"""Searches: what they saw, what is held out, budgets, figures; against the file itself."""

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import DEMO, head, run
from scipy import stats

import winnow
from winnow import search_plots


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def searched_path(binary, tmp_path_factory):
    """Run a sweep with a search for facts and one by KL, of levels of sparsity and of branches."""
    folder = tmp_path_factory.mktemp("searched")
    head(DEMO / "data" / "facts.jsonl", folder / "facts.jsonl", 41)
    head(DEMO / "data" / "general_eval.txt", folder / "world.txt", 60)
    general = {"text": str(DEMO / "data" / "general_calibration.jsonl"), "samples": 8, "length": 64}
    settings = {"generations": 6, "offspring": 4, "survivors": [2, 1], "tokens": [64, 128]}
    settings["initial_tokens"] = 64
    wanda = {"method": "wanda", "sparsity": 0.6, "propagation": "dense", "calibration": "general"}
    drop = {"method": "drop", "units": "branch", "sparsity": 0.34}
    names = ["uniform", "dynamic_programming", "by_kl", "for_facts"]
    sweep = {
        "name": "searched",
        "model": str(DEMO / "model"),
        "calibration": {"general": general},
        "search": {
            "by_kl": {**settings, "on": "general"},
            "for_facts": {**settings, "fitness": "facts", "items": 0.25},
        },
        "grid": [
            {**wanda, "allocation": names},
            {**drop, "allocation": names[2:]},
            {**drop, "score": "block_influence", "calibration": "general"},
        ],
        "evaluate": {
            "perplexity": {"world": {"text": "world.txt", "protocol": "gptq", "length": 64}},
            "tasks": ["facts.jsonl"],
            "divergence": {"on": ["world"], "measures": ["kl"]},
        },
    }
    return run(binary, folder, sweep)


@pytest.fixture
def searched(searched_path):
    return winnow.open(searched_path)


def test_generations_and_candidates(searched, searched_path):
    assert winnow.search_names(searched) == ["by_kl", "dynamic_programming", "for_facts"]
    for name in ("by_kl", "for_facts"):
        table, judged = winnow.generations(searched, name), winnow.candidates(searched, name)
        assert len(table) == 2 * 7 and list(table["generation"][:7]) == list(range(7))
        with h5py.File(searched_path) as file:
            log = file["search"][name]
            tokens = log["tokens"][...].cumsum(axis=1)
            np.testing.assert_array_equal(table["tokens"], tokens.ravel())
            assert np.isfinite(log["fitness"][...]).sum() == len(judged)
        # 4 offspring, 2 of them and the parent; branches begin with the best of 64.
        sizes = judged.groupby(["key", "generation"]).size()
        assert set(sizes.drop(index=0, level="generation")) == {7} and sizes.max() == 64
        assert len(sizes) == 13
        assert (table["accuracy"].notna() == (name == "for_facts")).all() or name == "for_facts"
    best = winnow.generations(searched, "by_kl")
    last = winnow.candidates(searched, "by_kl").groupby(["key", "generation", "stage"])["fitness"]
    minima = last.min().xs(1, level="stage")
    rows = best[best["generation"] > 0].set_index(["key", "generation"])["best"]
    np.testing.assert_array_equal(rows.loc[minima.index], minima)
    with pytest.raises(KeyError, match=r"no search 'fast'; known: by_kl"):
        winnow.generations(searched, "fast")


def test_items_that_no_search_saw(searched):
    table = winnow.held_out(searched, "facts")
    items = winnow.item_scores(searched, "facts")
    with searched.task("facts") as data:
        seen = np.asarray(data["searched"]) == 1
    assert seen.sum() == 11 and (table["seen_items"] == 11).all()
    np.testing.assert_allclose(table["held_out"], items.loc[:, ~seen].mean(axis=1))
    np.testing.assert_allclose(table["held_out_stderr"], stats.sem(items.loc[:, ~seen], axis=1))
    whole = (30 * table["held_out"] + 11 * table["seen"]) / 41
    np.testing.assert_allclose(whole, searched.scores["facts/acc"])


def test_nothing_is_seen_without_a_search(results):
    table = winnow.held_out(results, "facts")
    np.testing.assert_allclose(table["held_out"], results.scores["facts/acc"])
    assert (table["seen_items"] == 0).all() and winnow.search_names(results) == []
    assert winnow.monotonicity(results, resamples=100).searches.empty


def test_error_sums(searched):
    scores = searched.scores
    with searched.dataset("weights") as data:
        errors = data["output_error"].to_numpy().astype(float)
    np.testing.assert_allclose(scores["error_sum"], (errors**2).sum(axis=(1, 2)), rtol=1e-6)
    dropped = winnow.candidates(searched, "by_kl")
    dropped = dropped[dropped["key"].str.startswith("drop")]
    assert (dropped["error_sum"] == 14).all()  # two attentions of four linears, two MLPs of three


def test_pairs_of_candidates(searched):
    found = winnow.monotonicity(searched, resamples=200)
    assert list(found.searches["search"]) == [
        "by_kl",
        "for_facts",
    ]  # of branches all sums are equal
    row = found.searches.iloc[0]
    concordant = inverted = 0
    judged = winnow.candidates(searched, "by_kl")
    for _, stage in judged[judged["key"] == row["key"]].groupby(["generation", "stage"]):
        values = stage[["error_sum", "fitness"]].to_numpy()
        for i in range(len(values)):
            for j in range(i):
                sign = np.prod(np.sign(values[i] - values[j]))
                concordant, inverted = concordant + (sign > 0), inverted + (sign < 0)
    assert row["inverted"] == inverted > 0 and row["pairs"] == concordant + inverted
    assert row["tau"] == pytest.approx((concordant - inverted) / (concordant + inverted))
    assert -1 <= row["low"] < row["tau"] < row["high"] <= 1
    assert f"{inverted} of {row['pairs']} pairs of candidates" in str(found).splitlines()[1]


def test_budgets(searched):
    table = winnow.allocations(searched, resamples=500)
    assert list(table["allocation"][:4]) == ["uniform", "dynamic_programming", "by_kl", "for_facts"]
    assert list(table["budget"].unique()) == ["wanda 60 %", "drop 34 %, branch"]
    assert list(table["reference"].unique()) == ["uniform", "by_kl"]
    scores = searched.scores.loc[table["point"], "world/kl_mean"].to_numpy()
    np.testing.assert_allclose(table["score"], scores, rtol=1e-5)
    np.testing.assert_allclose(table["difference"][:4], scores[:4] - scores[0], atol=1e-6)
    inside = (table["low"] <= table["difference"]) & (table["difference"] <= table["high"])
    assert inside.all() and (table["low"][1:4] < table["high"][1:4]).all()
    assert list(table["allocation"][4:]) == ["by_kl", "for_facts", "block_influence"]
    facts = winnow.allocations(searched, "facts", reference="for_facts", resamples=500)
    held_out = winnow.held_out(searched, "facts")["held_out"]
    np.testing.assert_allclose(facts["score"], held_out.loc[facts["point"]])
    assert (facts["reference"] == "for_facts").all() and len(facts) == len(table)
    with pytest.raises(ValueError, match="expected a task, or one of"):
        winnow.allocations(searched, "facts/acc")


def test_figures(searched):
    points = searched.scores.index[searched.scores["method"] == "wanda"]
    figure = search_plots.levels(searched, list(points))
    figure.canvas.draw()
    maps = [axis for axis in figure.axes if axis.images]
    assert len(maps) == 4 and maps[0].get_ylabel() == "block"
    with searched.dataset("weights") as data:
        zeros = 100 * data["zeros"].sel(point=points[2]).transpose("block", "linear").to_numpy()
    np.testing.assert_allclose(maps[2].images[0].get_array(), zeros)
    figure = search_plots.fitness(searched, "by_kl")
    figure.canvas.draw()
    axis = figure.axes[0]
    assert axis.get_xlabel() == "generation" and "KL" in axis.get_ylabel()
    best = winnow.generations(searched, "by_kl")
    np.testing.assert_array_equal(axis.lines[2].get_ydata(), best["best"][7:])
    figure = search_plots.layer_errors(searched, "by_kl")
    figure.canvas.draw()
    judged = winnow.candidates(searched, "by_kl")
    of_levels = judged["key"].str.startswith("wanda")
    assert len(figure.axes[0].lines[0].get_xdata()) == of_levels.sum()
    label = figure.axes[0].get_legend().get_texts()[0].get_text()
    assert f"{winnow.monotonicity(searched).searches['tau'][0]:.2f}".strip("-") in label
    figure = search_plots.allocations(searched, "facts")
    figure.canvas.draw()
    assert [len(axis.containers) for axis in figure.axes] == [4, 3]
    assert "no search saw" in figure.axes[1].get_xlabel().replace("\n", " ")


def test_no_figure_without_searches(results):
    with pytest.raises(ValueError, match="no search with generations"):
        search_plots.fitness(results)
    with pytest.raises(ValueError, match="no budget is spread in two ways"):
        search_plots.allocations(results)
