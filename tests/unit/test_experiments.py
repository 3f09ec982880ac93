"""Recipes: that they run, keep what they ran, and judge by what came out."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from fswidget.experiments import catalogue, report
from fswidget.experiments.recipe import SIZES, Arm, Recipe, Study, stored
from fswidget.experiments.results import Check, Results, judge
from fswidget.recording.loading import load_recording
from fswidget.training.config import Config
from tests.synthetic import make_recording

TINY = Config(width=8, train_size=50, test_size=20, epochs=1, frame_every="epoch", loss="mse")


def tiny(**changes: object) -> Recipe:
    arms = {
        "plain": Arm(TINY, TINY.replace(width=16), "D_LR .1"),
        "last layer": Arm(TINY.replace(last_layer_only=True), TINY),
    }
    checks = (
        Check(
            "only one moves",
            lambda r: r.mean("plain", "kernel_drift") > r.mean("last layer", "kernel_drift"),
        ),
        Check("both are perfect", lambda r: r.mean("plain", "test_accuracy") == 1),
    )
    return Recipe("tiny", "A tiny recipe", "It runs.", arms, checks, **{"seeds": 2, **changes})


@pytest.mark.parametrize("name", list(catalogue.recipes))
def test_every_recipe_is_complete(name: str) -> None:
    recipe = catalogue.recipes[name]
    assert recipe.name == name
    assert recipe.checks
    # A larger size that is not larger would be none.
    for smaller, larger in itertools.combinations(SIZES, 2):
        for arm in recipe.arms.values():
            a, b = arm.config(smaller), arm.config(larger)
            if a is not None and b is not None and (smaller, larger) != ("desk", "full"):
                assert b.train_size * b.epochs >= a.train_size * a.epochs
                assert a.root == b.root == "data"
    for size in SIZES:
        runs = recipe.runs(size)
        assert len({stored(config, "store") for _, config in runs}) == len(runs)


def test_all_rows_of_the_paper_are_there() -> None:
    reported = [arm.reported for r in catalogue.recipes.values() for arm in r.arms.values()]
    for figure in (".0087", ".63", ".031", ".034", ".66", ".073", ".053", ".025", ".039", ".51"):
        assert any(figure in text for text in reported), figure


def test_a_recipe_runs_once_and_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny()
    results = recipe.run(store=tmp_path, root="elsewhere", device="cpu", progress=False)
    assert {label: len(runs) for label, runs in results.items()} == {"plain": 2, "last layer": 2}
    assert len(list(tmp_path.iterdir())) == 4
    assert results.values_of("plain", "low_rank_measure").shape == (2,)
    assert results.mean("plain", "kernel_drift", step=0) == 0
    assert results.mean("plain", "kernel_drift") > 0

    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("fswidget.training.loop.Training", never)
    again = recipe.run(store=tmp_path, root="anywhere", progress=False)
    assert recipe.table(again) == recipe.table(results)
    with pytest.raises(ValueError, match=r"size='huge': must be one of laptop, desk, full"):
        recipe.run("huge")


@pytest.mark.parametrize("seeds", [0, -1, 1.5, True, "2"])
def test_no_seeds_are_no_results(seeds: int) -> None:
    for ask in (tiny().run, tiny().results):
        with pytest.raises(ValueError, match=rf"seeds={seeds!r}: must be an integer ≥ 1"):
            ask(seeds=seeds)


def test_an_unknown_recipe_is_told_the_names() -> None:
    with pytest.raises(KeyError, match=r"recipes\['cold_fusion'\]: must be one of rich_is_not"):
        catalogue.recipes["cold_fusion"]
    assert catalogue.recipes.get("cold_fusion") is None


def test_the_table_sets_reported_beside_measured(tmp_path: Path) -> None:
    recipe = tiny()
    empty = recipe.table(recipe.results(store=tmp_path))
    assert empty["low_rank_measure"] == [None, None]
    results = recipe.run(store=tmp_path, progress=False)
    table = recipe.table(results)
    assert table["reported"] == ["D_LR .1", ""]
    assert table["seeds"] == [2, 2]
    assert "auto" not in table["device"]
    assert table["low_rank_measure"][0] == results.mean("plain", "low_rank_measure")
    assert table["regime"][1] == "LAZY"


def test_the_verdict_can_be_against_the_claim(tmp_path: Path) -> None:
    recipe = tiny(seeds=3)
    missing = recipe.verdict(recipe.results(store=tmp_path))
    assert [verdict.outcome for verdict in missing] == ["not measured", "not measured"]
    results = recipe.run(store=tmp_path, progress=False)
    outcomes = {verdict.claim: verdict.outcome for verdict in recipe.verdict(results)}
    assert outcomes == {"only one moves": "holds", "both are perfect": "does not hold"}


def test_networks_that_every_arm_looks_at_are_drawn_together() -> None:
    runs = {arm: [make_recording(1, seed=0) for _ in range(5)] for arm in ("few", "many")}
    results = Results(runs)
    # The seeds differ by more than the arms do.
    of_seed = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    for arm, more in (("few", 0.0), ("many", 0.01)):
        results._known[arm, "low_rank_measure", None] = of_seed + more

    def lower(results: Results) -> bool:
        few, many = (results.mean(arm, "low_rank_measure") for arm in ("few", "many"))
        return few < many

    assert judge(Check("few give less", lower), results).outcome == "undecided"
    assert judge(Check("few give less", lower, paired=True), results).outcome == "holds"
    results = Results(runs | {"third": runs["few"][:3]})
    assert judge(Check("always", lambda r: bool(len(r["few"])), paired=True), results).seeds == 3


def test_a_study_of_probes_tells_every_measure_of_what_was_run() -> None:
    study = catalogue.recipes["probe_size"].study
    assert study.lines(Results({})) == []
    lines = study.lines(Results({"p = 64, n = 128": [make_recording(2)]}))
    assert lines[0] == "| p = 64 | n = 128 (2 p) |"
    assert "| D_LR, plain | 0.800 → 0.267 |" in lines
    assert "| CDNV | – → – |" in lines


def test_a_run_that_fails_is_told_after_the_others(tmp_path: Path) -> None:
    recipe = tiny(seeds=1)
    arms = {"diverges": Arm(TINY.replace(optimizer="sgd", lr=10.0, epochs=50), None)}
    recipe = Recipe("two", "Two", "One fails.", {**arms, **recipe.arms}, ())
    with pytest.raises(RuntimeError, match=r"two: 1 of 3 failed: .*loss is"):
        recipe.run(store=tmp_path, seeds=1, progress=False)
    assert [arm for arm, _, _ in recipe.left(seeds=1, store=tmp_path)] == ["diverges"]
    with pytest.raises(ValueError, match=r"workers=0: must be an integer ≥ 1"):
        recipe.run(store=tmp_path, workers=0)
    with pytest.raises(ValueError, match=r"hours=0: must be a positive number"):
        recipe.run(store=tmp_path, hours=0)


def test_what_is_left_is_run_by_the_next_call(tmp_path: Path) -> None:
    recipe = tiny(seeds=1)
    recipe.run(store=tmp_path, hours=1e-9, progress=False)
    assert len(recipe.left(store=tmp_path)) == 2
    recipe.run(store=tmp_path, hours=1, progress=False)
    assert recipe.left(store=tmp_path) == []


def test_where_data_lies_does_not_name_a_run() -> None:
    base = stored(TINY, "store")
    assert stored(TINY.replace(root="x", device="cpu", download=True), "store") == base
    assert stored(TINY.replace(seed=1), "store") != base
    assert base.parent == Path("store")


def test_the_page_tells_disagreement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study(lines=lambda results: [f"Of {len(results)} arms."])
    recipe = tiny(note="Because it is tiny.", seeds=3, study=study)
    monkeypatch.setattr(report, "recipes", {"tiny": recipe})
    store, output, kept = (tmp_path / name for name in ("store", "page.md", "kept"))
    common = ["--output", str(output), "--kept", str(kept), "--store"]
    assert report.main([*common, str(store), "--only-write"]) == 0
    assert "not measured" in output.read_text()
    assert report.main([*common, str(store), "--keep"]) == 0
    page = output.read_text()
    assert "only one moves: holds (3 seeds)" in page
    assert "both are perfect: **does not hold (3 seeds)**" in page
    assert "Because it is tiny." in page
    assert "Of 2 arms." in page
    assert "1 hold, 1 do not hold" in page
    assert "| plain | D_LR .1 |" in page
    (figure,) = re.findall(r"\]\((page/.*\.svg)\)", page)
    drawn = (tmp_path / figure).read_text()
    assert drawn.count("<polyline") == 6
    # From what was kept beside the page the same page comes, without the store and untrained.
    assert report.main([*common, str(tmp_path / "elsewhere"), "--only-write"]) == 0
    assert output.read_text() == page
    assert (tmp_path / figure).read_text() == drawn


def test_missing_data_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TINY.replace(dataset="mnist")
    away = Recipe("away", "Away", "No data.", {"a": Arm(config, config)}, ())
    monkeypatch.setattr(report, "recipes", {"away": away, "tiny": tiny(seeds=3)})
    arguments = ["--store", str(tmp_path), "--output", str(tmp_path / "page.md")]
    arguments += ["--kept", str(tmp_path / "kept")]
    assert report.main([*arguments, "--root", str(tmp_path)]) == 1
    assert "mnist is not there" in capsys.readouterr().err
    assert "only one moves: holds (3 seeds)" in (tmp_path / "page.md").read_text()
    with pytest.raises(SystemExit):
        report.main(["nothing"])


def test_what_is_printed_is_short(tmp_path: Path) -> None:
    assert len(repr(catalogue.recipes)) < 2000
    assert all(name in repr(catalogue.recipes) for name in catalogue.recipes)
    assert len(repr(next(iter(catalogue.recipes.values())))) < 300
    info = make_recording(1, num_shown=500).info
    assert len(repr(info)) < 200
    assert "500 samples shown" in repr(info)


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    recipe = tiny(seeds=1)
    table = recipe.table(recipe.run(store=tmp_path, progress=False))
    assert table["low_rank_measure_spread"] == [None, None]


def test_the_page_is_made_again_from_the_recordings_kept_beside_it(
    root: Path, tmp_path: Path
) -> None:
    """What ``make tables`` does, without training."""
    notebooks = root / "notebooks"
    runs = notebooks / "recordings" / "runs"
    assert all(path.stat().st_size <= 300_000 for path in runs.iterdir())
    page = report.report([runs], tmp_path / "reproduction")
    assert page == (notebooks / "reproduction.md").read_text(encoding="utf-8")
    drawn = {path.name: path.read_text() for path in (tmp_path / "reproduction").iterdir()}
    kept = {path.name: path.read_text() for path in (notebooks / "reproduction").glob("*.svg")}
    assert drawn == kept


def test_no_kept_recording_tells_of_the_place_where_it_was_made(root: Path) -> None:
    for path in (root / "notebooks" / "recordings" / "runs").glob("*.npz"):
        assert load_recording(path).config.get("root", "data") == "data"


def test_the_readme_quotes_what_the_recordings_hold(root: Path) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    quoted = (
        ("shuffled_labels", "true labels"),
        ("shuffled_labels", "10,000 shuffled labels"),
        ("rich_is_not_better", "rich"),
        ("rich_is_not_better", "lazy"),
        ("batchnorm", "without, SGD, squared error"),
        ("batchnorm", "with, SGD, squared error"),
        ("grokking", "squared error, addition"),
    )
    for name, arm in quoted:
        results = catalogue.recipes[name].results("desk", store=root / "notebooks/recordings/runs")
        low_rank, test = results.mean(arm, "low_rank_measure"), results.mean(arm, "test_accuracy")
        row = f"| {low_rank:.3f} at {test:.1%} | {len(results[arm])} |".replace("| 0.", "| .")
        assert row in readme, (name, arm, row)
