"""Recordings with known content, for tests that need no training."""

from __future__ import annotations

import math

import numpy as np

from fswidget.recording.frame import Frame, RunInfo
from fswidget.recording.grid import Run, Sweep
from fswidget.recording.recording import Recording

#: Every figure there is.
FIGURES = [
    "spectrum",
    "cumulative",
    "projections",
    "history",
    "regime",
    "layers",
    "quality_intensity",
    "modes",
]


def make_frame(
    epoch: float,
    *,
    num_features: int = 16,
    num_shown: int = 12,
    num_eigenfunctions: int = 3,
    num_classes: int = 4,
    num_layers: int = 0,
    seed: int = 0,
) -> Frame:
    """One plausible frame: a falling spectrum, rising curves, a cloud of points per class."""
    random = np.random.default_rng([seed, int(epoch * 1000)])
    k = np.arange(1, num_features + 1)
    eigenvalues = 10.0 * k ** -(1.0 + 0.1 * epoch)
    utilization = 1 - np.exp(-k / (1 + num_features / (1 + epoch)))
    classes = np.arange(num_shown) % num_classes
    centres = np.random.default_rng(seed).normal(size=(num_classes, num_eigenfunctions))
    spread = random.normal(size=(num_shown, num_eigenfunctions)) / (1 + epoch)
    arrays = {
        "eigenvalues": eigenvalues,
        "quality": utilization * 0.9,
        "utilization": utilization,
        "quality_error": np.full(num_features, 0.01),
        "utilization_error": np.full(num_features, 0.02),
        "projections": centres[classes] + spread,
        "predictions": np.where(random.random(num_shown) < 0.1, 0, classes),
    }
    if num_layers:
        depth = np.arange(num_layers)
        arrays["layer_low_rank_measure"] = 0.9 - 0.1 * depth / (1 + epoch)
        arrays["layer_low_rank_measure_debiased"] = 0.95 - 0.1 * depth / (1 + epoch)
        arrays["layer_effective_rank"] = 8.0 - depth
        arrays["layer_used_features"] = 9.0 - depth
    return Frame(
        epoch=epoch,
        step=int(10 * epoch),
        scalars={
            "loss": math.exp(-epoch),
            "train_accuracy": 1 - math.exp(-1 - epoch),
            "test_accuracy": 0.9 - math.exp(-1 - epoch),
            "low_rank_measure": 0.8 / (1 + epoch),
            "low_rank_measure_error": 0.01,
            "low_rank_measure_debiased": 0.85 / (1 + epoch),
            "low_rank_measure_debiased_error": 0.02,
            "used_features": float(np.argmax(utilization >= 0.95) + 1),
            "effective_rank": 5.0,
            "nc1": math.nan if epoch == 0 else 1.0 / epoch,
            "kernel_drift": 1 - 1 / (1 + epoch),
            "regime_confidence": 0.875,
            "lr": 1e-3,
            "seconds": 0.5 * epoch,
        },
        labels={
            "regime": "UNTRAINED" if epoch == 0 else "TRANSITION",
            "evidence": f"At epoch {epoch:g} this frame is synthetic.",
            "solver": "synthetic",
        },
        arrays=arrays,
    )


def make_recording(
    epochs: int = 3,
    *,
    num_features: int = 16,
    num_shown: int = 12,
    num_eigenfunctions: int = 3,
    num_classes: int = 4,
    num_layers: int = 0,
    class_names: tuple[str, ...] | None = None,
    title: str = "synthetic",
    seed: int = 0,
) -> Recording:
    """A recording of frames 0 … `epochs` with pictures of 4 × 4 pixels."""
    info = RunInfo(
        config={"model": "mlp", "dataset": "synthetic", "width": num_features, "epochs": epochs},
        task="cross_entropy",
        num_features=num_features,
        num_outputs=num_classes,
        labels=(np.arange(num_shown) % num_classes).astype(np.float32),
        class_names=class_names or tuple(f"class {index}" for index in range(num_classes)),
        thumbnails=np.random.default_rng(seed).integers(
            0, 256, size=(num_shown, 4, 4), dtype=np.uint8
        ),
        layers=tuple(f"layer {index}" for index in range(num_layers)),
        title=title,
    )
    recording = Recording(info)
    for epoch in range(epochs + 1):
        recording.append(
            make_frame(
                epoch,
                num_features=num_features,
                num_shown=num_shown,
                num_eigenfunctions=num_eigenfunctions,
                num_classes=num_classes,
                num_layers=num_layers,
                seed=seed,
            )
        )
    return recording


def make_sweep() -> Sweep:
    """A sweep of four runs, with their recordings."""
    runs = [
        Run(
            {"width": width, "seed": seed},
            {"low_rank_measure": 0.25, "nc1": float("nan")},
            {"regime": "MF"},
            1.5,
            recording=make_recording(2, seed=seed),
        )
        for width in (8, 16)
        for seed in (0, 1)
    ]
    return Sweep({"epochs": 2}, {"width": [8, 16], "seed": [0, 1]}, runs)
