"""What watching costs: a ResNet18 (p = 512) on 5,000 pictures of CIFAR-10's size, every epoch.

Training and snapshots take turns in one run, so that both meet the same machine:

    python benchmarks/watching.py                  # a whole epoch
    python benchmarks/watching.py --batches 10     # a quarter of it, scaled up

The forward pass over the probe is nearly all of it, so the cost goes with the probe: of an epoch of
N samples, n of them take about n / (3 N).

Times are of the CPU beside the wall clock; on a shared machine the former is the steadier.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch.nn import functional

import fswidget as fs
from benchmarks import history
from fswidget.training import networks

TRAIN_SIZE, BATCH_SIZE, BAR = 5000, 128, 0.05


def clocks() -> tuple[float, float]:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, help="of the epoch; all by default")
    parser.add_argument("--probe", type=int, default=512, help="samples of the probe")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-errors", action="store_true", help="no jackknife")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    config = fs.Config(model="resnet18", dataset="cifar10", width=512, batchnorm=True)
    model = networks.build(config, (3, 32, 32), 10).to(device)
    inputs = torch.randn(TRAIN_SIZE, 3, 32, 32, device=device)
    targets = torch.arange(TRAIN_SIZE, device=device) % 10
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    probe = fs.watch(
        model, inputs[: options.probe], targets[: options.probe], errors=not options.no_errors
    )

    def train(start: int) -> None:
        rows = slice(start, start + BATCH_SIZE)
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs[rows]), targets[rows]).backward()
        optimizer.step()

    model.train()
    train(0)
    probe.snapshot()  # what is done once is not what an epoch costs
    starts = range(0, TRAIN_SIZE, BATCH_SIZE)[: options.batches]
    before = clocks()
    for start in starts:
        train(start)
    between = clocks()
    frame = probe.snapshot(epoch=1, step=len(starts))
    after = clocks()
    samples = sum(min(BATCH_SIZE, TRAIN_SIZE - start) for start in starts)
    print(f"{device}, {torch.get_num_threads()} threads, probe of {options.probe}, {frame}")
    for index, name in enumerate(("wall", "CPU")):
        epoch = (between[index] - before[index]) * TRAIN_SIZE / samples
        snapshot = after[index] - between[index]
        print(f"{name}: epoch {epoch:.2f} s, snapshot {snapshot:.3f} s: {snapshot / epoch:.1%}")
        what = f"snapshot of {options.probe} samples beside an epoch on {device.type}, {name} time"
        history.keep("watching", [(what, f"{snapshot / epoch:.1%}", f"≤ {BAR:.0%}")])
    print(f"bar: {BAR:.0%}")


if __name__ == "__main__":
    main()
