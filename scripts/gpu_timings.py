"""What `gpu.py` measures with events on the card, and the page that tells of it."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fswidget.analysis.api import FeatureMoments
from fswidget.analysis.eigensolvers import eigh_full, eigh_topk
from fswidget.probing.probe import Probe
from fswidget.training.config import Config
from fswidget.training.loop import Training
from fswidget.training.networks import build
from fswidget.training.overlap import OverlappedTraining
from fswidget.training.registry import Split, source, sources


def median_ms(work: Callable[[], Any], device: torch.device, repeats: int = 5) -> float:
    """Median time of a call in milliseconds, after one that is not counted."""
    work()
    found = []
    for _ in range(repeats):
        if device.type == "cuda":
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            work()
            last.record()
            last.synchronize()
            found.append(first.elapsed_time(last))
        else:
            start = time.perf_counter()
            work()
            found.append(1000 * (time.perf_counter() - start))
    return round(statistics.median(found), 3)


def timings(device: torch.device, root: Path, *, toy: bool) -> dict[str, Any]:
    """Moments, eigensolvers and a frame."""
    return {
        "moments": _moments(device, toy),
        "eigensolve": _eigensolve(device, toy),
        "frame": _frame(device, toy),
    }


def _moments(device: torch.device, toy: bool) -> dict[str, float]:
    n, p, c = (2000, 64, 10) if toy else (50_000, 512, 10)
    features = torch.randn(n, p, device=device)
    outputs, targets = features[:, :c] * 2, torch.randint(c, (n,), device=device)
    double = features.double()

    def update(blocks: int) -> None:
        moments = FeatureMoments(p, c, c, num_blocks=blocks, device=device)
        moments.update(features, outputs, targets)

    found = {
        "n": n,
        "p": p,
        "outputs": c,
        "float64 GEMM ms": median_ms(lambda: double.T @ double, device),
        "moments ms": median_ms(lambda: update(1), device),
        "moments in 8 blocks ms": median_ms(lambda: update(8), device),
    }
    found["moments / GEMM"] = round(found["moments ms"] / found["float64 GEMM ms"], 2)
    found["moments in 8 blocks / GEMM"] = round(
        found["moments in 8 blocks ms"] / found["float64 GEMM ms"], 2
    )
    return found


def matrix_like_features(size: int, device: torch.device) -> Tensor:
    """A covariance with a spectrum like that of trained features: ten strong, a heavy tail."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2 * size, size, generator=generator, dtype=torch.float64).to(device)
    scale = torch.arange(1, size + 1, device=device, dtype=torch.float64) ** -1.0
    rows *= scale.sqrt()
    return rows.T @ rows / len(rows)


def _eigensolve(device: torch.device, toy: bool) -> list[dict[str, Any]]:
    rows = []
    for size in (32, 64) if toy else (64, 128, 256, 512, 1024, 2048, 4096):
        matrix = matrix_like_features(size, device)
        repeats = 5 if size <= 1024 else 1
        there = matrix.cpu()
        card = median_ms(lambda m=matrix: eigh_full(m), device, repeats)

        # The matrix is on the card, and what comes of it must be there again.
        def on_the_cpu(m: Tensor = matrix) -> None:
            found = eigh_full(m.cpu())
            found.vectors.to(device)

        start = time.perf_counter()
        eigh_full(there)
        cpu = 1000 * (time.perf_counter() - start)
        if size <= 1024:
            cpu = median_ms(on_the_cpu, device, repeats)
        row: dict[str, Any] = {"p": size, "card ms": card, "CPU ms": round(cpu, 1)}
        row["CPU / card"] = round(cpu / card, 2)
        if size >= 512:
            row["40 leading, card ms"] = median_ms(lambda m=matrix: eigh_topk(m, 40), device, 3)
        rows.append(row)
    return rows


def _frame(device: torch.device, toy: bool) -> list[dict[str, Any]]:
    rows = []
    samples, widths = (100, (16,)) if toy else (2000, (128, 512))
    for width in widths:
        config = Config(model="resnet18", dataset="cifar10", width=width, batchnorm=True)
        model = build(config, (3, 32, 32), 10).to(device)
        inputs = torch.randn(samples, 3, 32, 32, device=device)
        targets = torch.arange(samples, device=device) % 10
        row: dict[str, Any] = {"network": "resnet18", "p": width, "samples": samples}
        for errors in (True, False):
            probe = Probe(model, inputs, targets, device=device, errors=errors)
            name = "frame with errors ms" if errors else "frame ms"
            row[name] = median_ms(lambda p=probe: p.frame(1.0, 1), device)
        rows.append(row)
    return rows


def epoch(device: torch.device, root: Path, *, toy: bool) -> dict[str, Any]:
    """Seconds of an epoch of ResNet18, bfloat16 and channels-last, without and with a frame."""
    if "random_pictures" not in sources:
        source(
            "random_pictures",
            kind="image",
            shape=(3, 32, 32),
            class_names=[str(c) for c in range(10)],
            train_size=50_000,
            test_size=10_000,
        )(_random_pictures)
    config = Config(
        model="resnet18",
        # Real pictures where they are: on noise a network this wide soon diverges.
        dataset="cifar10" if (root / "cifar-10-batches-py").is_dir() else "random_pictures",
        root=str(root),
        width=16 if toy else 512,
        batchnorm=True,
        loss="mse",
        optimizer="sgd",
        lr=0.002,
        augment=True,
        precision="bfloat16",
        batch_size=50 if toy else 512,
        train_size=100 if toy else 50_000,
        test_size=50 if toy else 1000,
        probe_size=50 if toy else 2000,
        epochs=3,
        frame_every="epoch",
    )
    training = Training(config.replace(device=device.type))
    training.model.to(memory_format=torch.channels_last)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    ends, costs = [], []
    for frame in training:
        ends.append(frame.scalars["seconds"] + frame.scalars["analysis_seconds"])
        costs.append(frame.scalars["analysis_seconds"])
    # The first epoch chooses algorithms; those after it count.
    whole = (ends[-1] - ends[1]) / 2
    analysis = sum(costs[2:]) / 2
    result: dict[str, Any] = {
        "network": f"resnet18, p = {config.width}, {config.train_size} pictures, batch "
        f"{config.batch_size}, bfloat16, channels-last",
        "first epoch s": round(ends[1] - ends[0], 2),
        "epoch with a frame s": round(whole, 3),
        "epoch without s": round(whole - analysis, 3),
        "frame s": round(analysis, 3),
        "with / without": round(whole / (whole - analysis), 4),
    }
    between = _epoch_that_overlaps(config.replace(device=device.type, epochs=4))
    result["epoch that overlaps with a frame s"] = round(between, 3)
    result["overlapping / without"] = round(between / (whole - analysis), 4)
    if device.type == "cuda":
        result["peak memory GB"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    return result


def _epoch_that_overlaps(config: Config) -> float:
    """Seconds between ends of epochs while the frame of the one before is made."""
    ends: dict[int, float] = {}

    def look() -> bool:
        if training.step and training.step % training.steps_per_epoch == 0:
            ends.setdefault(training.step, time.perf_counter())
        return True

    training = OverlappedTraining(config, keep_going=look)
    training.model.to(memory_format=torch.channels_last)
    for _ in training:
        pass
    _, *after = [later - end for end, later in itertools.pairwise(ends.values())]
    return statistics.median(after)


def _random_pictures(config: Any) -> Split:
    """Noise of the size of CIFAR-10."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (60_000, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.arange(60_000) % 10
    return Split(images[:50_000], labels[:50_000], images[50_000:], labels[50_000:])


def page(results: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    machine = results.get("machine", {})
    lines = ["# On a GPU", "", "Written by `python scripts/gpu.py`; do not edit.", ""]
    lines += [", ".join(f"{name}: {value}" for name, value in machine.items()), ""]
    if "tests" in results:
        found = results["tests"]
        lines += ["## Tests marked gpu", "", f"{found.get('summary', found.get('error'))}", ""]
        output = found.get("output", "").splitlines()
        lines += [f"- {line}" for line in output if line.startswith(("E   assert ", "FAILED"))]
        lines += [found["remark"], ""] if "remark" in found else [""]
    found = results.get("timings", {})
    if "error" in found:
        lines += ["## Timings", "", found["error"], ""]
    for name, title in (
        ("moments", "Moments against one float64 matrix product of that size"),
        ("eigensolve", "Eigensolve of a p × p matrix that lies on the card (float64, all pairs)"),
        ("frame", "One frame, end to end"),
    ):
        if name in found:
            lines += [f"## {title}", "", *_table(found[name]), ""]
    if "epoch" in results:
        lines += ["## An epoch with and without a frame", "", *_table(results["epoch"]), ""]
    if "science" in results:
        begun = {key: row for key, row in results["science"].items() if "epoch" in row}
        rows = [{"run": key, **row} for key, row in begun.items()]
        for row in rows:
            row.pop("file", None)
            row["error"] = "".join(str(row.get("error", "")).strip().splitlines()[-1:])
        lines += ["## Recipes at desk size (recipe / arm / seed)", "", *_table(rows), ""]
    return "\n".join(lines)


def _table(rows: Any) -> list[str]:
    rows = [rows] if isinstance(rows, Mapping) else rows
    names = list(dict.fromkeys(name for row in rows for name in row))

    def cell(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return lines + ["| " + " | ".join(cell(r.get(n, "")) for n in names) + " |" for r in rows]
