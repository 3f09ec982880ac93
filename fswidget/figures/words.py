"""What the interface says about itself: titles, captions, the regimes in words and the tour."""

from __future__ import annotations

from typing import Any

from fswidget.recording.regimes import KEPT

#: Title and caption of each panel; the caption opens behind its "?".
PANELS = {
    "spectrum": (
        "Spectrum",
        "How strongly each feature fires over the samples, strongest first. A cliff after C: the "
        "network has built what it needs. A long tail: it still carries the features it began "
        "with. A click on a feature puts it on an axis of the samples.",
    ),
    "cumulative": (
        "Quality and utilization",
        "Utilization: how much of what the last layer computes lies in the first k features. Where "
        "it crosses 95% is k95, the number of features in use. Quality: how much of the target "
        "those k features express. Shaded: one standard error. With more measures: the accuracy "
        "when only those k features are kept. Enlarged, also the quality of each feature against "
        "its strength, at five epochs up to this one.",
    ),
    "projections": (
        "Samples",
        "Each point is a sample, placed by two eigenfunctions of the feature map. When the network "
        "learns features that separate the classes, the clouds of colour pull apart and tighten. "
        "A click on the spectrum, or the arrow keys here, look along others; a click on a class "
        "shows it alone. Dashed: each class of the run before, one standard deviation wide.",
    ),
    "history": (
        "History",
        "Bands on one axis of epochs: D_LR and accuracies; k95, on the colours of the regimes; the "
        "loss. Above, the regimes of this run and of the one before. D_LR falls from lazy (1) to "
        "rich (0) while the features align with what the network computes; good accuracy does not "
        "need it to fall. A click goes to an epoch.",
    ),
    "extremes": (
        "What is e₂?",
        "The samples on which this eigenfunction is highest and lowest; below, those of the "
        "eigenfunction of the run before that correlates most with it. A feature that the network "
        "learned for its task groups a class at one end.",
    ),
    "layers": (
        "Layer by layer",
        "The same measures on what every layer computes, from the input side to the last layer: "
        "where along the depth the features become low-rank. The mean counts all alike, but for "
        "the output layer.",
    ),
}


#: The sign of each regime, its name in words and what it means.
REGIMES = {
    "MF": ("MF", "Minimal features", "About as many features as outputs are in use."),
    "EF": ("EF", "Extended features", "Many more features are in use than the output needs."),
    "TRANSITION": ("MF–EF", "In transition", "Between minimal and extended features."),
    "LAZY": (
        "LAZY",
        "Features hardly moved",
        "The outputs learned while the features hardly moved.",
    ),
    "CONSTANT": ("–", "Constant", "The features or the outputs are the same for every sample."),
    "UNTRAINED": ("–", "Nothing learned yet", "The network is as it was drawn."),
    "UNDEFINED": (
        "–",
        "Not defined",
        "With no more features, or samples, than the outputs need, “minimal” says nothing.",
    ),
}


#: The words where the label is still that of the frame before: another one is not sure enough.
STILL = {
    "MF": "Still minimal features",
    "EF": "Still extended features",
    "TRANSITION": "Still in transition",
    "LAZY": "Features still hardly moved",
    "UNTRAINED": "Still nothing learned yet",
}


WELCOME = (
    "A network trains with these settings, and here you see its features form: how strong each one "
    "is, how many the last layer uses, and where they place the samples. Then move a control: the "
    "run starts anew, and the one before stays as a ghost to compare with."
)


#: Five steps: what is pointed at (the first that is in sight), a title and a text.
TOUR = (
    (
        ".fsw-run, .fsw-time",
        "Train",
        "Start trains a small network. Each epoch becomes one frame; the slider under the history "
        "goes back to any of them while training goes on.",
    ),
    (
        "[data-panel=spectrum]",
        "How strong is each feature?",
        "The features of the last hidden layer, strongest first. While the network learns, a few "
        "rise and a cliff forms after C, the number of outputs.",
    ),
    (
        "[data-panel=cumulative]",
        "How many are in use?",
        "Utilization tells how much of what the last layer computes lies in the first k features. "
        "k95 is where it reaches 95%: about C of them are minimal features, many more extended.",
    ),
    (
        "[data-control=batchnorm], .fsw-main, .fsw-bar",
        "Change one thing",
        "Move a control, such as batch norm: the run starts anew with it, and everything that it "
        "does is in sight.",
    ),
    (
        ".fsw-ghost:not([hidden]), .fsw-strip",
        "Compare with before",
        "The run before stays as a ghost, dashed and in one colour: in every panel, on the gauge, "
        "and as “was …” beside each number and control.",
    ),
)


#: What the estimates of D_LR are, and what stands where there is none.
MEASURES = {
    "low_rank_measure_debiased": (
        "Low-rank measure: 0 rich, 1 lazy; the bias of a finite probe is removed. The plain "
        "estimate is among History's curves"
    ),
    "low_rank_measure": (
        "Low-rank measure: 0 rich, 1 lazy; the paper's plain estimate, which a small probe makes "
        "too small"
    ),
    "no_low_rank_measure": "Not defined here: so few features leave no bias to remove",
    "used_features": "Features that hold 95% of the utilization",
    "no_used_features": "Not defined: no more features, or samples, than the outputs need",
    "needed": "Features that the output needs at least",
    "kernel_drift": "How far the kernel moved from the start, 1 − CKA",
    "agreement": (
        "Probability of this regime: k95 and “moved” are known up to their standard errors, about "
        "the values without the bias of a finite probe"
    ),
}


def words() -> dict[str, Any]:
    """All of it, as JSON types."""
    return {
        "panels": PANELS,
        "regimes": REGIMES,
        "still": STILL,
        "kept": KEPT,
        "welcome": WELCOME,
        "tour": TOUR,
        "measures": MEASURES,
    }
