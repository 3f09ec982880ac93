"""Which regime of feature learning a network is in, and what speaks for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fswidget.analysis.nulls import Band
from fswidget.analysis.targets import minimal_features

LAZY_DRIFT = 0.1
"""Kernel drift below which features count as unmoved (our choice)."""
SLOW_DRIFT = 0.12
"""Below it they do so too where more are in use than is minimal (our choice)."""
LEARNED = 0.1
"""Share of the targets' variance that the outputs must hold before features can be minimal (our
choice)."""
_SURE = 0.75  # share of replicates that a label needs to replace the one before


@dataclass(frozen=True)
class Regime:
    """A label with its evidence.

    Parameters
    ----------
    label : {"UNTRAINED", "CONSTANT", "LAZY", "MF", "TRANSITION", "EF"}
        MF and EF are named in arXiv 2410.04264v1; the rules are our choice. With m = C for classes
        and d + 1 for d values or labels: MF where k95 ≤ m, EF where k95 > 2 m, else TRANSITION.
        MF is said only where the outputs hold a tenth of the targets' variance; what holds less
        with k95 ≤ m has learned nothing and is UNTRAINED. With fewer than 2 m features, D_LR must
        also lie below that of 95% of random heads on the same features (`nulls`); with fewer than
        m nothing can be told, and it is TRANSITION. LAZY where the kernel drift is below 0.1, or
        0.12 with k95 > m, while the outputs have moved; CONSTANT where D_LR does not exist, as in
        a network whose units have died. In a recording a label replaces the one before where three
        quarters of the jackknife replicates agree, or none keeps the former.
    evidence : str
        One sentence for a reader who has not read the paper.
    confidence : float
        Share of jackknife replicates that give the same label; NaN where none were computed.
    numbers : dict of str to float
        What the sentence cites: ``used_features``, ``outputs``, ``limit``, ``top_share``,
        ``low_rank_measure``, ``kernel_drift``, ``target_share``, and of random heads
        ``null_used_features``, ``null_low_rank_measure``, ``null_low_rank_measure_low``.

    Examples
    --------
    >>> random, labels = np.random.default_rng(0), np.arange(300) % 3
    >>> features = random.normal(size=(300, 20)) + 5 * np.eye(3, 20)[labels]
    >>> print(fs.analyze(features, features[:, :3], labels).regime)
    MF: Few features do the work: the last layer uses 3 of 20 features ...
    """

    label: str
    evidence: str
    confidence: float = math.nan
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A plain copy: a read-only view of it could be neither pickled nor copied.
        object.__setattr__(self, "numbers", dict(self.numbers))

    def __str__(self) -> str:
        return f"{self.label}: {self.evidence}"


def label(
    used_features: float,
    limit: int,
    *,
    constant: bool = False,
    kernel_drift: float = math.nan,
    outputs_moved: bool = True,
    learned: bool = True,
    room: str = "",
) -> str:
    """The label alone; `limit` is C, or d + 1 for a d-dimensional regression.

    `room` is "none" where there are fewer features than that, "little" where there are fewer than
    twice as many and random heads do no worse.
    """
    if not outputs_moved:
        return "UNTRAINED"
    if constant:
        return "CONSTANT"
    minimal = used_features <= limit
    if kernel_drift < LAZY_DRIFT or (kernel_drift < SLOW_DRIFT and not minimal):
        return "LAZY"
    if room == "none":
        return "TRANSITION"
    if minimal and not learned:
        return "UNTRAINED"
    if room or not minimal:
        return "EF" if used_features > 2 * limit else "TRANSITION"
    return "MF"


def classify(
    *,
    used_features: int,
    num_features: int,
    num_outputs: int,
    classification: bool,
    low_rank_measure: float,
    top_share: float,
    task: str = "cross_entropy",
    num_samples: int | None = None,
    debiased: float = 0.0,
    target_share: float = math.nan,
    null: Band | None = None,
    previous: str | None = None,
    kernel_drift: float = math.nan,
    outputs_moved: bool = True,
    replicates: Sequence[tuple[float, float]] = (),
) -> Regime:
    """Label a network from its numbers.

    Parameters
    ----------
    low_rank_measure : float
        The plain D_LR: that a finite probe gives no debiased one says nothing of the features.
    task, num_samples : str, int
        What the outputs mean, and the size of the probe.
    debiased : float
        The debiased D_LR, of which the evidence says where the samples are too few for it.
    target_share : float
        Share of the targets' variance that the outputs hold.
    null : Band, optional
        What random heads on the same features have.
    previous : str, optional
        The label of the frame before.
    replicates : sequence of (used_features, kernel_drift)
        The same two numbers with one jackknife block left out each, for the confidence.
    """
    limit = minimal_features(task, classification, num_outputs)
    band = Band() if null is None else null
    room = ""
    if num_features < limit:
        room = "none"
    elif num_features < 2 * limit and low_rank_measure >= band.low_rank_measure_low:
        room = "little"
    same: dict[str, Any] = {
        "constant": math.isnan(low_rank_measure),
        "outputs_moved": outputs_moved,
        "learned": not target_share < LEARNED,
        "room": room,
    }
    found = label(used_features, limit, kernel_drift=kernel_drift, **same)
    others = [label(k, limit, kernel_drift=drift, **same) for k, drift in replicates]
    if previous in others and others.count(found) < _SURE * len(others):
        found = str(previous)
    confidence = others.count(found) / len(others) if others else math.nan
    numbers = {
        "used_features": float(used_features),
        "outputs": float(num_outputs),
        "limit": float(limit),
        "top_share": top_share,
        "low_rank_measure": low_rank_measure,
        "kernel_drift": kernel_drift,
        "target_share": target_share,
        "null_used_features": band.used_features,
        "null_low_rank_measure": band.low_rank_measure,
        "null_low_rank_measure_low": band.low_rank_measure_low,
    }
    few = math.isnan(debiased)
    evidence = _evidence(found, room, numbers, num_features, num_samples, outputs_moved, few)
    return Regime(found, evidence, confidence, numbers)


def _evidence(
    found: str,
    room: str,
    numbers: Mapping[str, float],
    num_features: int,
    num_samples: int | None,
    moved: bool,
    few: bool,
) -> str:
    """One sentence for a label, and what cannot be told."""
    outputs, limit, used = (int(numbers[k]) for k in ("outputs", "limit", "used_features"))
    if found == "CONSTANT":
        if num_samples is not None and num_samples < 2:
            return f"Too few samples to tell: {num_samples} sample."
        return "The features, or the outputs, are the same for every sample."
    use = (
        f"the last layer uses {used} of {num_features} features for 95% of "
        f"what it expresses ({outputs} output{'s' if outputs > 1 else ''})"
    )
    if room == "none" and found == "TRANSITION":
        return (
            f"Not defined: fewer features than outputs, {num_features} of at least {limit}; {use}."
        )
    drift = ""
    if not math.isnan(numbers["kernel_drift"]):
        drift = f", features moved {numbers['kernel_drift']:.2f} from the start"
    share = f"the {limit} strongest hold {numbers['top_share']:.0%} of the feature strength{drift}"
    if found == "UNTRAINED" and moved:
        held = f"{max(numbers['target_share'], 0):.0%}"
        text = f"Nothing has been learned yet: the outputs hold {held} of the targets; {use}."
    else:
        text = {
            "UNTRAINED": f"The network has not been trained yet; {use}.",
            "LAZY": f"The outputs changed but the features hardly did{drift}; {use}.",
            "MF": f"Few features do the work: {use}, and {share}.",
            "TRANSITION": f"Somewhat more features than outputs are in use: {use}, and {share}.",
            "EF": f"Many more features are in use than the outputs need: {use}, and {share}.",
        }[found]
    if num_features < 2 * limit and found in ("MF", "TRANSITION"):
        told = ", and random heads on these features do no worse" if room == "little" else ""
        text += f" Extended features cannot be told: fewer than 2 × {limit} features{told}."
    if few and num_samples is not None:
        text += f" Too few samples for the debiased D_LR: {num_samples} samples, {outputs} outputs."
    return text
