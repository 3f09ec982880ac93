"""How often the regime calls lazy what is, and what is not: ``python -m benchmarks.regimes``.

Every frame of runs on the digits: those that are lazy by construction (the last layer alone, an
output scale α of 100 and 1,000, linearised training) and ordinary ones, over widths, both losses,
with and without batch norm. The limit was chosen on seeds 0 and 1, and the table made of others.
``--keep FILE`` appends each run to a file and goes on from there. The table goes to
``RESULTS-regimes.md``. Ten minutes; ``--widths 1024`` takes ten more for each seed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.func import functional_call, jvp

import fswidget as fs
from fswidget.analysis.regime import LAZY_DRIFT
from fswidget.training.loop import Training

RESULTS = Path(__file__).parent / "RESULTS-regimes.md"
LAZY: dict[str, dict[str, Any]] = {
    "last layer only": {"last_layer_only": True},
    "α = 100": {"output_scale": 100.0},
    "α = 1,000": {"output_scale": 1000.0},
    "α = 100, SGD": {"output_scale": 100.0, "optimizer": "sgd", "lr": 0.02},
    "linearised": {},
}
ORDINARY: dict[str, dict[str, Any]] = {
    "Adam": {},
    "Adam, a tenth of the rate": {"lr": 1e-4},
    "SGD": {"optimizer": "sgd", "lr": 0.02},
    "tanh": {"activation": "tanh"},
}
WIDTHS = (32, 256)
SEEDS = range(5, 7)
_EPOCHS = 10
_WIDE = 1000


def linearised(config: fs.Config) -> list[fs.Frame]:
    """Frames of f(θ₀) + J(θ − θ₀), trained in θ: its kernel is that of the start, and its features
    the first ones."""
    training = Training(config)
    model, data, batches = training.model.eval(), training.data, training._batches
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    change = {name: torch.zeros_like(value, requires_grad=True) for name, value in start.items()}

    def outputs(inputs: torch.Tensor) -> torch.Tensor:
        def of(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
            values: torch.Tensor = functional_call(model, parameters, (inputs,))
            return values

        value, slope = jvp(of, (start,), (change,))
        return value + slope

    optimizer = torch.optim.Adam(change.values(), lr=config.lr)
    recorder = fs.Recorder(task=config.task)
    inputs, targets = data.inputs[: data.probe_size], data.targets[: data.probe_size]
    with torch.no_grad():
        features = model[:-1](inputs)
    for step in range(training.total_steps + 1):
        if step % training.steps_per_epoch == 0:
            with torch.no_grad():
                found = outputs(inputs)
            recorder.snapshot(features, found, targets, epoch=step / training.steps_per_epoch)
        if step < training.total_steps:
            few, wanted = batches(step)
            loss = (
                (outputs(few) - wanted).square().sum(1).mean()
                if config.loss == "mse"
                else F.cross_entropy(outputs(few), wanted)
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return list(recorder.recording)


def cells(widths: list[int], seeds: list[int], arms: list[str]) -> Iterator[dict[str, Any]]:
    grid = itertools.product(seeds, widths, arms, ("mse", "cross_entropy"), (False, True))
    for seed, width, arm, loss, norm in grid:
        if arm != "linearised" or (width == min(widths) and not norm):
            yield {"arm": arm, "width": width, "loss": loss, "batchnorm": norm, "seed": seed}


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """The labels of a run's frames, the untrained network's left out, and what they go by."""
    settings = dict({**LAZY, **ORDINARY}[cell["arm"]])
    wide = cell["width"] >= _WIDE
    if wide and settings.get("optimizer") == "sgd":
        settings["lr"] /= 2  # at which it does not diverge
    config = fs.Config(
        **{name: value for name, value in cell.items() if name != "arm"},
        **settings,
        epochs=_EPOCHS,
        # Of wide features a frame takes longer than an epoch.
        frame_every=_EPOCHS // 2 * 16 if wide else "epoch",
        test_size=100,
        device="cpu",
    )
    frames = linearised(config) if cell["arm"] == "linearised" else list(fs.train(config))
    return cell | {
        "labels": [frame.labels["regime"] for frame in frames[1:]],
        "drift": [frame.scalars["kernel_drift"] for frame in frames[1:]],
        "outputs": [frame.scalars.get("output_drift", 1.0) for frame in frames[1:]],
        "share": [frame.scalars["target_share"] for frame in frames[1:]],
        "k95": [frame.scalars["used_features"] for frame in frames[1:]],
    }


def table(runs: list[dict[str, Any]]) -> str:
    """Runs called lazy at the end, and frames on the way, by arm and width."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        found[run["arm"], run["width"]].append(run)
    widths = sorted({run["width"] for run in runs})
    head = " | ".join(f"p = {width:,}" for width in widths)
    lines = [f"| what trains | is lazy | {head} |", "|---|---|" + "---|" * len(widths)]
    for arm in [*LAZY, *ORDINARY]:
        texts = []
        for width in widths:
            mine = found[arm, width]
            last = sum(run["labels"][-1] == "LAZY" for run in mine)
            labels = [label for run in mine for label in run["labels"]]
            drifts = sorted(run["drift"][-1] for run in mine)
            texts.append(
                f"{last}/{len(mine)}, {labels.count('LAZY')}/{len(labels)}, "
                f"{drifts[0]:.3f}–{drifts[-1]:.3f}"
                if mine
                else "–"
            )
        lines.append(f"| {arm} | {'yes' if arm in LAZY else 'no'} | {' | '.join(texts)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    parser.add_argument("--widths", type=int, nargs="*", default=list(WIDTHS))
    parser.add_argument("--arms", nargs="*", default=[*LAZY, *ORDINARY])
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--minutes", type=float, default=1e9)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    keep, began = chosen.keep, time.perf_counter()
    lines = keep.read_text().splitlines() if keep is not None and keep.exists() else []
    runs = [json.loads(line) for line in lines]
    names = ("arm", "width", "loss", "batchnorm", "seed")
    done = {tuple(run[name] for name in names) for run in runs}
    for cell in cells(chosen.widths, chosen.seeds, chosen.arms):
        if time.perf_counter() - began > 60 * chosen.minutes:
            print("time is up: go on with the same --keep")
            break
        if tuple(cell.values()) in done:
            continue
        runs.append(measure(cell))
        if keep is not None:
            with keep.open("a") as stream:
                stream.write(json.dumps(runs[-1]) + "\n")
    seeds = sorted({run["seed"] for run in runs})
    text = (
        f"# Regimes: what is called lazy ({len(runs)} runs, seeds {seeds[0]} to {seeds[-1]})\n\n"
        "Runs called LAZY after the last epoch, frames called so on the way (the untrained network "
        f"left out), and the kernel drift at the end, least and most. {_EPOCHS} epochs on the "
        "digits, both losses, with and without batch norm; linearised training without it. LAZY "
        f"where the features' drift is at most {LAZY_DRIFT:g} of the outputs'.\n\n"
    )
    RESULTS.write_text(text + table(runs) + "\n")
    print(text + table(runs))


if __name__ == "__main__":
    main()
