"""What the analysis costs: seconds per epoch against a bare PyTorch loop, and its share of a run.

``python -m benchmarks.training [--epochs 3] [--samples 5000] [--compile]``; CIFAR-10 is looked for
in the folder that FSWIDGET_DATA names, or in "data". The two loops take turns, an epoch each, so
that what else the machine does slows both; processor time is given beside wall time for the same
reason. The last rows are steps of convolutional networks as usual and in channels-last memory.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import torch
import torch.nn.functional as F

from benchmarks import history
from fswidget.probing.threads import threads
from fswidget.training import learner, networks
from fswidget.training.config import Config
from fswidget.training.datasets import Data
from fswidget.training.loop import Training

BOUND = 1.15


class BareLoop:
    """The loop that one writes without fswidget: same network, batches, data and optimiser."""

    def __init__(self, config: Config, data: Data) -> None:
        self.data, self.batch = data, config.batch_size
        self.model = networks.build(config, tuple(data.inputs.shape[1:]), data.num_outputs)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=config.lr, momentum=config.momentum, fused=True
        )
        self.wall = self.cpu = 0.0

    def epoch(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self.model.train()
        order = torch.randperm(len(self.data.inputs))
        for chosen in order.split(self.batch):
            outputs = self.model(self.data.inputs[chosen])
            loss = F.cross_entropy(outputs, self.data.targets[chosen])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu


def against_bare_loop(root: str, samples: int, epochs: int) -> None:
    """ResNet18 with p = 128: seconds per epoch with all analysis, and without fswidget."""
    config = Config(
        model="resnet18",
        dataset="cifar10",
        root=root,
        width=128,
        batchnorm=True,
        train_size=samples,
        batch_size=128,
        optimizer="sgd",
        lr=0.02,
        epochs=epochs,
        device="cpu",
    )
    before = 0.0

    def take_turns() -> bool:
        nonlocal before
        done = training.step // training.steps_per_epoch
        if training.step % training.steps_per_epoch == 0 and turns[0] == done < epochs:
            start = time.process_time()
            bare.epoch()
            turns[0] += 1
            before += time.process_time() - start
        return True

    turns = [0]
    training = Training(config, keep_going=take_turns)
    bare = BareLoop(config, training.data)
    start = time.process_time()
    frames = list(training)
    cpu = time.process_time() - start - before
    wall = training.progress.seconds
    for name, ours, theirs in (("wall", wall, bare.wall), ("processor", cpu, bare.cpu)):
        print(
            f"ResNet18 p=128, {samples} CIFAR-10 pictures, {name} time: {ours / epochs:.2f} s an "
            f"epoch, bare loop {theirs / epochs:.2f} s, ratio {ours / theirs:.3f} (bound {BOUND})"
        )
        what = f"ResNet18 p=128 on {samples} CIFAR-10 pictures against a bare loop, {name} time"
        history.keep("training", [(what, f"{ours / theirs:.3f}", f"≤ {BOUND}")])
    print(f"  {len(frames)} frames; {training.cadence}; {training.threads} threads")


def analysis_share(name: str, config: Config) -> None:
    """How long a frame takes beside an epoch, and what the cadence made of it."""
    training = Training(config)
    frames = list(training)
    costs = sorted(frame.scalars["analysis_seconds"] for frame in frames)
    trained = training.progress.seconds - training.cadence.analysis_seconds
    print(
        f"{name}: an epoch {trained / config.epochs * 1e3:.0f} ms, a frame "
        f"{costs[len(costs) // 2] * 1e3:.0f} ms (median), probe of {training.data.probe_size} and "
        f"{len(training.data.test_inputs)} held-out samples; {training.cadence}; "
        f"{training.threads} threads"
    )


def step_seconds(config: Config, steps: int, *, layout: torch.memory_format | None = None) -> float:
    """Median wall time of a training step, with data drawn; in `layout`, if given."""
    ours = learner.lay_out
    if layout is not None:
        learner.lay_out = lambda *_: layout
    try:
        training = Training(config)
    finally:
        learner.lay_out = ours
    times = []
    with threads.use(training.threads):
        for _ in range(steps):
            start = time.perf_counter()
            training._train_step(config.lr)
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def faster(root: str, compile: bool) -> None:
    """What channels-last memory, and on request `compile`, make of a step of convolutions."""
    for model, width in (("resnet18", 64), ("resnet18", 128), ("vgg16", 128)):
        config = Config(
            model=model,
            dataset="cifar10",
            root=root,
            width=width,
            batchnorm=True,
            train_size=1000,
            batch_size=128,
            device="cpu",
        )
        usual = step_seconds(config, 5, layout=torch.contiguous_format)
        last = step_seconds(config, 5)
        words = (
            f"{model} p={width}, batch 128: a step {usual * 1e3:.0f} ms as usual, channels-last "
        )
        words += f"{last * 1e3:.0f} ms (ratio {last / usual:.2f})"
        if compile:
            best = step_seconds(config.replace(compile=True), 5)
            words += f", compiled too {best * 1e3:.0f} ms (ratio {best / usual:.2f})"
        print(words, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--compile", action="store_true", help="time torch.compile, too")
    options = parser.parse_args()
    root = os.environ.get("FSWIDGET_DATA", "data")
    analysis_share("digits, MLP p=256", Config(device="cpu"))
    cifar = Config(dataset="cifar10", root=root, width=512, train_size=10_000, epochs=10)
    try:
        analysis_share("10,000 CIFAR-10 pictures, MLP p=512", cifar.replace(device="cpu"))
        against_bare_loop(root, options.samples, options.epochs)
        faster(root, options.compile)
    except FileNotFoundError as error:
        print(f"skipped: {error}")


if __name__ == "__main__":
    main()
