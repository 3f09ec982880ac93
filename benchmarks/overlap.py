"""What a frame in every epoch costs where training goes on meanwhile, against a bare loop.

``python -m benchmarks.overlap [--epochs 5] [--only mlp]``; CIFAR-10 is looked for in the folder
that FSWIDGET_DATA names, or in "data". All train on one thread, which leaves a core idle, and take
turns, an epoch each, so that what else the machine does slows all; medians of the wall time, which
say nothing of overlap where other work takes the second core.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks import history
from benchmarks.training import BareLoop
from fswidget.probing.threads import threads
from fswidget.training.config import Config
from fswidget.training.loop import Training
from fswidget.training.overlap import OverlappedTraining

BOUND = 1.05
RUNS: dict[str, dict[str, Any]] = {
    "MLP p=512 on 10,000 pictures": {"model": "mlp", "width": 512, "train_size": 10_000},
    "ResNet18 p=128 on 5,000 pictures": {
        "model": "resnet18",
        "width": 128,
        "train_size": 5000,
        "batchnorm": True,
    },
}


def turns(config: Config, epochs: int) -> dict[str, list[float]]:
    """Wall times of epochs: bare, with a frame each, and with overlap."""
    made = {"waits": Training(config), "overlaps": OverlappedTraining(config)}
    bare = BareLoop(config, made["waits"].data)
    frames = {name: iter(training) for name, training in made.items()}
    for training in made.values():
        training.threads = 1
    work: dict[str, Callable[[], Any]] = {
        "bare": bare.epoch,
        **{name: lambda each=each: next(each) for name, each in frames.items()},
    }
    for each in frames.values():
        next(each)  # of the untrained network
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(epochs + 1):
        for name, function in work.items():
            start = time.perf_counter()
            with threads.use(1):
                function()
            if turn:  # the first warms up, and has no frame of an epoch before
                times[name].append(time.perf_counter() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--only", default="", help="part of the name of the run wanted")
    options = parser.parse_args()
    root = os.environ.get("FSWIDGET_DATA", "data")
    how: dict[str, Any] = {"optimizer": "sgd", "lr": 0.02, "batch_size": 128, "device": "cpu"}
    for name, settings in RUNS.items():
        if options.only.lower() not in name.lower():
            continue
        how["epochs"] = options.epochs + 3
        config = Config(dataset="cifar10", root=root, frame_every="epoch", **how, **settings)
        times = turns(config, options.epochs)
        middle = {each: statistics.median(found) for each, found in times.items()}
        for kind in ("waits", "overlaps"):
            ratio = middle[kind] / middle["bare"]
            print(f"{name}: {kind}, {middle[kind]:.2f} s an epoch, {ratio:.3f} of a bare loop")
            what = f"{name}, a frame each epoch that {kind}, against a bare loop, wall time"
            bound = f"≤ {BOUND}" if kind == "overlaps" else ""
            history.keep("overlap", [(what, f"{ratio:.3f}", bound)])
        print(f"  bare loop {middle['bare']:.2f} s; one thread each of {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
