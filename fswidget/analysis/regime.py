"""Which regime of feature learning a network is in, and what speaks for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fswidget.analysis.targets import minimal_features

LAZY_DRIFT = 0.1
"""Kernel drift below which features count as unmoved (our choice)."""


@dataclass(frozen=True)
class Regime:
    """A label with its evidence.

    Parameters
    ----------
    label : {"UNTRAINED", "CONSTANT", "LAZY", "MF", "TRANSITION", "EF"}
        MF and EF are named in arXiv 2410.04264v1; the thresholds are our choice: MF where
        k95 ≤ m, EF where k95 > 2 m, with m = C outputs for classes and d + 1 for a d-dimensional
        regression; LAZY where the kernel drift is below 0.1 while the outputs have moved;
        CONSTANT where D_LR does not exist, as in a network whose units have died.
    evidence : str
        One sentence for a reader who has not read the paper.
    confidence : float
        Share of jackknife replicates that give the same label; NaN where none were computed.
    numbers : dict of str to float
        What the sentence cites: ``used_features``, ``outputs``, ``limit``, ``top_share``,
        ``low_rank_measure``, ``kernel_drift``.

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
) -> str:
    """The label alone; `limit` is C, or d + 1 for a d-dimensional regression."""
    if not outputs_moved:
        return "UNTRAINED"
    if constant:
        return "CONSTANT"
    if kernel_drift < LAZY_DRIFT:
        return "LAZY"
    if used_features <= limit:
        return "MF"
    return "EF" if used_features > 2 * limit else "TRANSITION"


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
    replicates : sequence of (used_features, kernel_drift)
        The same two numbers with one jackknife block left out each, for the confidence.
    """
    limit = minimal_features(task, classification, num_outputs)
    same = {"constant": math.isnan(low_rank_measure), "outputs_moved": outputs_moved}
    found = label(used_features, limit, kernel_drift=kernel_drift, **same)
    others = [label(k, limit, kernel_drift=drift, **same) for k, drift in replicates]
    confidence = others.count(found) / len(others) if others else math.nan
    what = f"{num_outputs} output{'s' if num_outputs > 1 else ''}"
    use = (
        f"the last layer uses {used_features} of {num_features} features for 95% of "
        f"what it expresses ({what})"
    )
    share = f"the {limit} strongest hold {top_share:.0%} of the feature strength"
    drift = (
        "" if math.isnan(kernel_drift) else f", features moved {kernel_drift:.2f} from the start"
    )
    evidence = {
        "UNTRAINED": f"The network has not been trained yet; {use}.",
        "CONSTANT": "The features, or the outputs, are the same for every sample.",
        "LAZY": f"The outputs changed but the features hardly did{drift}; {use}.",
        "MF": f"Few features do the work: {use}, and {share}{drift}.",
        "TRANSITION": f"Somewhat more features than outputs are in use: {use}, and {share}{drift}.",
        "EF": f"Many more features are in use than the outputs need: {use}, and {share}{drift}.",
    }[found]
    few = "" if num_samples is None else f"{num_samples} sample{'s' if num_samples > 1 else ''}"
    if found == "CONSTANT" and num_samples is not None and num_samples < 2:
        evidence = f"Too few samples to tell: {few}."
    elif few and math.isnan(debiased) and found != "CONSTANT":
        evidence += f" Too few samples for the debiased D_LR: {few}, {num_outputs} outputs."
    numbers = {
        "used_features": float(used_features),
        "outputs": float(num_outputs),
        "limit": float(limit),
        "top_share": top_share,
        "low_rank_measure": low_rank_measure,
        "kernel_drift": kernel_drift,
    }
    return Regime(found, evidence, confidence, numbers)
