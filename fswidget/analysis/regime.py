"""Which regime of feature learning a network is in, and what speaks for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

from fswidget.analysis.nulls import Band
from fswidget.analysis.targets import minimal_features

LAZY_DRIFT = 0.01
"""Kernel drift, as a share of the outputs', below which features count as unmoved (our choice):
`benchmarks/regimes.py` measured how often it errs."""
LEARNED = 0.1
"""Share of the targets' variance that the outputs must hold before features can be minimal (our
choice)."""
_FITTED = 0.95  # share of the targets beyond which weak features only sharpen the outputs
_SURE = 0.6  # probability that a label needs to replace the one before
_ROUNDING = 1e-6  # kernel drift that says nothing
_NEGLIGIBLE = 0.05  # probability below which the one before does not stay
UNDEFINED = "Not defined"  # begins the sentence where nothing can be told, whatever the label
_STEP = 1 / 12  # variance of rounding, which k95's error holds and the rule makes by itself
_NODES = [NormalDist().inv_cdf((i + 0.5) / 21) for i in range(21)]


@dataclass(frozen=True)
class Regime:
    """A label with its evidence.

    Parameters
    ----------
    label : {"UNTRAINED", "CONSTANT", "LAZY", "MF", "TRANSITION", "EF"}
        MF and EF are named in arXiv 2410.04264v1; the rules are our choice. With m = C for classes
        and d + 1 for d values or labels: MF where k95 ≤ m, EF where k95 > 2 m, else TRANSITION.
        MF is said only where the outputs hold a tenth of the targets' variance; what holds less
        with k95 ≤ m has learned nothing and is UNTRAINED. With fewer than 2 m features, or samples,
        D_LR must also lie below that of 95% of random heads on the same features (`nulls`), else it
        is TRANSITION; with fewer than m nothing can be told, and it is TRANSITION. All that is
        written for people, `evidence` too, calls MF, TRANSITION and EF “not defined” with no more
        than m, of which all are needed. LAZY where the kernel drift is at most 0.01 of the outputs'
        own, 1 − CKA both, which is all of it where the outputs began at 0: features count as
        unmoved beside what the outputs learned, so that a network on its way is not lazy. CONSTANT
        where D_LR does not exist, as in a network whose units have died. In a recording a label
        replaces the one before where its probability is 3/5 at least, or the former's is below
        1/20.
    evidence : str
        One sentence for a reader who has not read the paper.
    confidence : float
        Probability of the same label, k95 and drift being normal about their estimates without
        bias, with their standard errors; NaN where there are none.
    numbers : dict of str to float
        What the sentence cites: ``used_features``, ``outputs``, ``limit``, ``top_share``,
        ``low_rank_measure``, ``kernel_drift``, ``output_drift``, ``target_share``, the debiased
        ``k95`` and its error ``k95_error``, and of random heads
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
        undefined = self.evidence.startswith(UNDEFINED)
        return self.evidence if undefined else f"{self.label}: {self.evidence}"


def label(
    used_features: float,
    limit: int,
    *,
    constant: bool = False,
    kernel_drift: float = math.nan,
    output_drift: float = 1.0,
    outputs_moved: bool = True,
    learned: bool = True,
    room: str = "",
) -> str:
    """The label alone; `limit` is C, or d + 1 for a d-dimensional regression.

    `room` is "none" where there are fewer features, or samples, than that, "little" where there are
    fewer than twice as many and random heads do no worse.
    """
    if not outputs_moved:
        return "UNTRAINED"
    if constant:
        return "CONSTANT"
    minimal = used_features <= limit
    if kernel_drift <= max(LAZY_DRIFT * output_drift, _ROUNDING):
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
    kernel_drift_error: float = math.nan,
    output_drift: float = 1.0,
    outputs_moved: bool = True,
    k95: tuple[float, float] = (math.nan, math.nan),
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
    output_drift : float
        1 − CKA of the outputs now and at first, the share of the drift that LAZY allows.
    k95 : tuple (value, error)
        `used_features` without the bias of a finite probe; NaN where there are no error bars.
    """
    limit = minimal_features(task, classification, num_outputs)
    band = Band() if null is None else null
    directions = num_features if num_samples is None else min(num_features, num_samples)
    room = _room(directions, limit, low_rank_measure, band)
    same: dict[str, Any] = {
        "constant": math.isnan(low_rank_measure),
        "output_drift": output_drift,
        "outputs_moved": outputs_moved,
        "learned": not target_share < LEARNED,
        "room": room,
    }
    found = label(used_features, limit, kernel_drift=kernel_drift, **same)
    drifts = _normal(kernel_drift, kernel_drift_error)
    others = [label(k, limit, kernel_drift=d, **same) for k in _rounded(*k95) for d in drifts]
    plain, found = found, _steady(found, previous, others)
    confidence = others.count(found) / len(others) if others else math.nan
    numbers = {
        "used_features": float(used_features),
        "outputs": float(num_outputs),
        "limit": float(limit),
        "top_share": top_share,
        "low_rank_measure": low_rank_measure,
        "kernel_drift": kernel_drift,
        "output_drift": output_drift,
        "k95": k95[0],
        "k95_error": k95[1],
        "target_share": target_share,
        "null_used_features": band.used_features,
        "null_low_rank_measure": band.low_rank_measure,
        "null_low_rank_measure_low": band.low_rank_measure_low,
    }
    few = math.isnan(debiased)
    evidence = _evidence(found, plain, room, numbers, num_features, num_samples, outputs_moved, few)
    return Regime(found, evidence, confidence, numbers)


def _room(directions: int, limit: int, low_rank_measure: float, band: Band) -> str:
    """What `label` takes as `room`, of as many directions as there are features or samples."""
    if directions < limit:
        return "none"
    little = directions < 2 * limit and low_rank_measure >= band.low_rank_measure_low
    return "little" if little else ""


def _steady(found: str, previous: str | None, others: Sequence[str]) -> str:
    """The label, or the one before while that is likely and the new one not yet sure."""
    likely = others.count(str(previous)) >= _NEGLIGIBLE * len(others) > 0
    sure = others.count(found) >= _SURE * len(others)
    return str(previous) if likely and not sure else found


def _normal(value: float, error: float) -> list[float]:
    """Equally likely values of an estimate with a standard error; itself where none is known."""
    return [value + error * z for z in _NODES] if error > 0 else [value]


def _rounded(k95: float, error: float) -> list[int]:
    """Equally likely whole values of k95, whose error holds that of rounding; none if unknown."""
    if math.isnan(k95 + error):
        return []
    return [round(k) for k in _normal(k95, math.sqrt(max(error**2 - _STEP, 0)))]


def _evidence(
    found: str,
    plain: str,
    room: str,
    numbers: Mapping[str, float],
    num_features: int,
    num_samples: int | None,
    moved: bool,
    few: bool,
) -> str:
    """One sentence for a label, and what cannot be told."""
    outputs, limit, used = (int(numbers[k]) for k in ("outputs", "limit", "used_features"))
    fewest, few_what = num_features, "features"
    if num_samples is not None and num_samples < num_features:
        fewest, few_what = num_samples, "samples"
    if found == "CONSTANT":
        if num_samples is not None and num_samples < 2:
            return f"Too few samples to tell: {num_samples} sample."
        return "The features, or the outputs, are the same for every sample."
    use = (
        f"the last layer uses {used} of {num_features} features for 95% of "
        f"what it expresses ({outputs} output{'s' if outputs > 1 else ''})"
    )
    drift = ""
    if not math.isnan(numbers["kernel_drift"]):
        drift = f", features moved {numbers['kernel_drift']:.2f} from the start"
        if found == "LAZY":
            drift += f", the outputs {numbers['output_drift']:.2f}"
    share = f"the {limit} strongest hold {numbers['top_share']:.0%} of the feature strength{drift}"
    many = "Somewhat more features than outputs are" if used > limit else "Few features are"
    if fewest <= limit and found in ("MF", "TRANSITION", "EF"):
        fewer = "fewer" if fewest < limit else "no more"
        least = f"{fewest} of at least {limit + 1}"
        text = f"{UNDEFINED}: {fewer} {few_what} than outputs, {least}; {use}."
    elif found != plain:
        text = (
            f"The label is still that of the frame before: {plain} is not sure enough yet; {use}, "
            f"and {share}."
        )
    elif found == "UNTRAINED" and moved:
        held = f"{max(numbers['target_share'], 0):.0%}"
        text = f"Nothing has been learned yet: the outputs hold {held} of the targets; {use}."
    else:
        text = {
            "UNTRAINED": f"The network has not been trained yet; {use}.",
            "LAZY": f"The outputs changed but the features hardly did{drift}; {use}.",
            "MF": f"Few features do the work: {use}, and {share}.",
            "TRANSITION": f"{many} in use: {use}, and {share}.",
            "EF": f"Many more features are in use than the outputs need: {use}, and {share}.",
        }[found]
    if limit <= fewest < 2 * limit and found in ("MF", "TRANSITION"):
        told = ", and random heads on these features do no worse" if room == "little" else ""
        kind = "Extended" if used > limit or found == "MF" else "Minimal"
        text += f" {kind} features cannot be told: fewer than 2 × {limit} {few_what}{told}."
    text += _about_k95(found, numbers)
    if few and num_samples is not None:
        text += f" Too few samples for the debiased D_LR: {num_samples} samples, {outputs} outputs."
    return text


def _about_k95(found: str, numbers: Mapping[str, float]) -> str:
    """What k95 counts that is not in the features: the probe's size, and the last of the loss."""
    text = ""
    used, limit, k95, error = (
        numbers[name] for name in ("used_features", "limit", "k95", "k95_error")
    )
    if abs(k95 - used) > max(error, 1):
        text += f" Without the bias of so small a probe k95 is {k95:.0f} ± {error:.0f}."
    if found in ("TRANSITION", "EF") and numbers["target_share"] > _FITTED and used < 4 * limit:
        text += (
            " Outputs this close to the targets take weak features too, so that k95 may rise while "
            "nothing changes but the last of the loss."
        )
    return text
