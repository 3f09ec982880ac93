"""How many samples a measure needs: the same networks looked at with probes of many sizes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fswidget.experiments.charts import Panel, line_charts
from fswidget.experiments.recipe import Study
from fswidget.experiments.recipe_parts import D_LR, K95, NC1, OTHERS, arm_of, recipe
from fswidget.experiments.results import Check, Results
from fswidget.training.config import Config

_WIDTHS = (64, 256, 1024)
_RATIOS = (0.5, 1, 2, 4, 8)

#: The size that stands for all samples: eight per feature at the largest width.
_ALL = 8192

_DEBIASED, _K95_DEBIASED, _NC1_DEBIASED = (
    f"{name}_debiased" for name in ("low_rank_measure", "used_features", "nc1")
)

#: Every measure of the probe by its name in a frame: how it is called, and the decimals told.
_MEASURES = {
    D_LR: ("D_LR, plain", 3),
    _DEBIASED: ("D_LR, debiased", 3),
    "null_low_rank_measure": ("D_LR of random heads", 3),
    "twin_low_rank_measure": ("D_LR of the lazy twin", 3),
    K95: ("k95, plain", 1),
    _K95_DEBIASED: ("k95, debiased", 1),
    "null_used_features": ("k95 of random heads", 1),
    "twin_used_features": ("k95 of the lazy twin", 1),
    "effective_rank": ("effective rank", 2),
    "rank_me": ("RankMe", 1),
    "participation_ratio": ("participation ratio", 2),
    "alpha_req": ("α-ReQ", 2),
    "top_share": ("share of the C largest eigenvalues", 3),
    "quality_total": ("quality of all features", 3),
    "target_alignment": ("alignment with the targets", 3),
    "target_share": ("share of the targets held", 3),
    NC1: ("NC1, plain", 2),
    _NC1_DEBIASED: ("NC1, debiased", 2),
    "nc2": ("NC2", 3),
    "nc3": ("NC3", 3),
    "cdnv": ("CDNV", 3),
    "kernel_drift": ("S_init", 3),
    "output_drift": ("drift of the outputs", 3),
}


def _sizes(width: int) -> list[int]:
    return sorted({*(int(ratio * width) for ratio in _RATIOS), _ALL})


def _arm(width: int, size: int) -> str:
    return f"p = {width}, n = {size:,}"


def _at(results: Results, arm: str, name: str, trained: bool) -> float:
    """The mean over the seeds whose probe tells; NaN where none does."""
    values = results.values_of(arm, name, None if trained else 0)
    told = values[~np.isnan(values)]
    return float(told.mean()) if len(told) else np.nan


def _everywhere(
    claim: str, name: str, ratio: float, holds: Callable[[float, float], bool], trained: bool
) -> Check:
    """That a measure of `ratio` samples per feature is, beside the debiased one of all samples, as
    it should be at every width."""
    best = {K95: _K95_DEBIASED, D_LR: _DEBIASED, NC1: _NC1_DEBIASED}.get(name, name)

    def check(results: Results) -> bool:
        pairs = (
            (
                _at(results, _arm(width, int(ratio * width)), name, trained),
                _at(results, _arm(width, _ALL), best, trained),
            )
            for width in _WIDTHS
        )
        return all(not np.isnan(pair).any() and holds(*pair) for pair in pairs)

    said = "trained" if trained else "untrained"
    return Check(f"{said}, at every p: {claim}", check, OTHERS, paired=True)


def _near(value: float, whole: float) -> bool:
    return abs(value - whole) <= 0.02


def _tenth(value: float, whole: float) -> bool:
    return abs(value / whole - 1) <= 0.1


def _same_regime(results: Results) -> bool:
    ends = (
        (results.regimes(_arm(width, width // 2)), results.regimes(_arm(width, _ALL)))
        for width in _WIDTHS
    )
    # Seeds that one of them lacks are left out.
    return all(a == b for few, whole in ends for a, b in zip(few, whole, strict=False))


def _lines(results: Results) -> list[str]:
    """A table for each width, of what every measure gives before and after training."""
    lines = []
    for width in _WIDTHS:
        sizes = [size for size in _sizes(width) if _arm(width, size) in results]
        if not sizes:
            continue
        heads = [f"n = {size:,} ({size / width:g} p)" for size in sizes]
        lines += [f"| p = {width} | {' | '.join(heads)} |", "|---" * (len(sizes) + 1) + "|"]
        for name, (called, decimals) in _MEASURES.items():
            cells = (_cell(results, _arm(width, size), name, decimals) for size in sizes)
            lines.append(f"| {called} | {' | '.join(cells)} |")
        lines.append("")
    return lines


def _cell(results: Results, arm: str, name: str, decimals: int) -> str:
    ends = (_at(results, arm, name, trained) for trained in (False, True))
    return " → ".join("–" if np.isnan(end) else f"{end:.{decimals}f}" for end in ends)


def _figure(results: Results) -> str:
    """D_LR and k95 against p/n, so that the bias is nearly a line and 0 a probe without end."""
    tables = {}
    for trained, said in ((False, "untrained"), (True, "trained")):
        for width in _WIDTHS:
            arms = {size: _arm(width, size) for size in reversed(_sizes(width))}
            there = {size: arm for size, arm in arms.items() if arm in results}
            columns = {
                name: [_at(results, arm, name, trained) for arm in there.values()]
                for name in (D_LR, _DEBIASED, K95, _K95_DEBIASED)
            }
            shares = {f"{name} / p": np.array(columns[name]) / width for name in columns}
            columns["p / n"] = [width / size for size in there]
            tables[f"p = {width}, {said}"] = columns | shares
    panels = [
        Panel(D_LR, "D_LR, plain"),
        Panel(_DEBIASED, "D_LR, debiased"),
        Panel(f"{K95} / p", "k95 / p, plain"),
        Panel(f"{_K95_DEBIASED} / p", "k95 / p, debiased"),
    ]
    return line_charts(tables, "Measures against the size of the probe", panels, across="p / n")


_BASE = Config(
    dataset="mnist",
    loss="mse",
    train_size=_ALL,
    test_size=1000,
    batch_size=128,
    epochs=4,
    frame_every=256,
    num_shown=50,
    num_eigenfunctions=2,
)


recipe(
    "probe_size",
    "How many samples a probe needs",
    "With few samples per feature D_LR and k95 come out too small; the debiased ones less so.",
    arms={
        _arm(width, size): arm_of(_BASE, {}, width=width, probe_size=size)
        for width in _WIDTHS
        for size in _sizes(width)
    },
    checks=(
        _everywhere("plain D_LR at n = p within 0.02", D_LR, 1, _near, True),
        _everywhere("plain D_LR at n = p within 0.02", D_LR, 1, _near, False),
        _everywhere("debiased D_LR at n = p within 0.02", _DEBIASED, 1, _near, False),
        _everywhere(
            "plain k95 at n = p too small by a tenth or more",
            K95,
            1,
            lambda value, whole: value <= 0.9 * whole,
            False,
        ),
        _everywhere("debiased k95 at n = 2p within a tenth", _K95_DEBIASED, 2, _tenth, False),
        _everywhere("debiased NC1 at n = 2p within a tenth", _NC1_DEBIASED, 2, _tenth, True),
        Check(
            "trained, at every p: half a sample per feature gives the regime of all",
            _same_regime,
            OTHERS,
            paired=True,
        ),
    ),
    study=Study(lines=_lines, figure=_figure, caption="D_LR and k95 against features per sample"),
    note="Each cell is of a network before and after four epochs on 8,192 pictures of MNIST; cells "
    "of one width are the same networks, and smaller probes part of larger ones. After training, "
    "with ten features in use, D_LR, k95, NC1, CDNV and the alignment with the targets at n = p "
    "are within a tenth of what all samples give; S_init, RankMe, α-ReQ, NC3, the quality of all "
    "features and the band of random heads want more. Before it the last layer uses half of the "
    "features or more, and at n = p plain D_LR is too small by .05 at p = 64, .03 at 256 and .01 "
    "to .02 at 1,024, and k95 by a quarter to a third; debiased, D_LR needs n = p, k95 n = 2p. Two "
    "things mean nothing near n = p: the quality of all features, which is 1 wherever samples are "
    "no more than features, and the lazy twin, whose least-squares head learns the probe by heart "
    "there, so that its k95 is largest. Where k95 stands at its limit, 10 or 11, a probe decides "
    "the regime of a trained network, too. Where the probe of no seed tells k95 or NC1 without its "
    "bias, there is a dash; else the mean is of the seeds whose probe does.",
)
