"""What `gpu.py` measures with events on the card, and the page that tells of it."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.samples import sample, trained
from fswidget.analysis.api import FeatureMoments, analyze
from fswidget.analysis.eigensolvers import eigh_full, eigh_topk
from fswidget.probing.inference import Activations
from fswidget.probing.modes import inference_mode
from fswidget.probing.probe import Probe
from fswidget.recording.frame import Frame
from fswidget.training.config import Config
from fswidget.training.loop import Training
from fswidget.training.networks import build
from fswidget.training.optimisation import lay_out
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
    """Moments, eigensolvers, a frame, error bars and steps of training."""
    return {
        "moments": _moments(device, toy),
        "eigensolve": _eigensolve(device, toy),
        "frame": _frame(device, toy),
        "errors": _errors(device, toy),
        "steps": _steps(device, toy),
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
        single = matrix.float()
        row["float32, card ms"] = median_ms(lambda m=single: torch.linalg.eigh(m), device, repeats)
        if size >= 512:
            row["40 leading, card ms"] = median_ms(lambda m=matrix: eigh_topk(m, 40), device, 3)
        rows.append(row)
    return rows


def _frame(device: torch.device, toy: bool) -> list[dict[str, Any]]:
    rows = []
    samples, widths, repeats = (40, (16,), 1) if toy else (2000, (128, 512), 5)
    for width in widths:
        config = Config(model="resnet18", dataset="cifar10", width=width, batchnorm=True)
        model = build(config, (3, 32, 32), 10).to(device)
        inputs = torch.randn(samples, 3, 32, 32, device=device)
        inputs = inputs.to(memory_format=lay_out(model, inputs[:2]))
        targets = torch.arange(samples, device=device) % 10
        row: dict[str, Any] = {"network": "resnet18", "p": width, "samples": samples}
        for errors in (True, False):
            probe = Probe(model, inputs, targets, device=device, errors=errors)
            name = "frame with errors ms" if errors else "frame ms"
            row[name] = median_ms(lambda p=probe: p.frame(1.0, 1), device, repeats)
        rows.append(row)
    return rows


def _errors(device: torch.device, toy: bool) -> list[dict[str, Any]]:
    """Error bars of float64 features that lie there, of a trained head and a random one."""
    rows = []
    n, p, repeats = (200, 32, 1) if toy else (5000, 512, 5)
    features, outputs, labels = (part.to(device) for part in sample(n, p))
    for head in ("trained", "random"):
        data = trained(features, labels) if head == "trained" else (features, outputs, labels)
        row: dict[str, Any] = {"head": head, "n": n, "p": p}
        for errors, name in ((True, "with ms"), (False, "without ms")):
            row[name] = median_ms(lambda d=data, e=errors: analyze(*d, errors=e), device, repeats)
        row["with / without"] = round(row["with ms"] / row["without ms"], 2)
        rows.append(row)
    return rows


def _pictures(device: torch.device, root: Path, toy: bool) -> Config:
    """ResNet18 in bfloat16 on pictures of the size of CIFAR-10: its own where they are."""
    if "random_pictures" not in sources:
        _register(100 if toy else 50_000)
    return Config(
        model="resnet18",
        dataset="cifar10" if (root / "cifar-10-batches-py").is_dir() else "random_pictures",
        root=str(root),
        width=16 if toy else 512,
        batchnorm=True,
        loss="mse",
        optimizer="sgd",
        lr=0.002,
        augment=True,
        precision="bfloat16",
        batch_size=25 if toy else 512,
        train_size=100 if toy else 50_000,
        test_size=20 if toy else 1000,
        probe_size=50 if toy else 2000,
        epochs=2 if toy else 4,
        frame_every="epoch",
        device=device.type,
    )


def _steps(device: torch.device, toy: bool) -> list[dict[str, Any]]:
    """A step of training whose kernels are launched, replayed, and compiled."""
    pictures = _pictures(device, Path(), toy).replace(train_size=100 if toy else 10_000)
    small = pictures.replace(
        model="mlp", batchnorm=False, precision="float32", augment=False, optimizer="adam", lr=1e-3
    )
    small = small.replace(batch_size=min(pictures.batch_size, 128))
    rows = []
    narrow = 16 if toy else 128
    for config in (small, pictures.replace(width=narrow), pictures)[: 1 if toy else 3]:
        row: dict[str, Any] = {
            "network": config.model,
            "p": config.width,
            "batch": config.batch_size,
            "precision": config.precision,
        }
        ways = ["launched", "replayed"] if device.type == "cuda" else ["launched"]
        compiles = device.type == "cuda" and config.width < pictures.width
        for way in ways + ["compiled"] * compiles:
            row |= _step(config.replace(compile=way == "compiled"), way, device, toy)
        rows.append(row)
    return rows


def _step(config: Config, way: str, device: torch.device, toy: bool) -> dict[str, Any]:
    training = Training(config)
    if way == "launched":
        training._replayed = None

    def step() -> None:
        training._train_step(config.lr)
        training.step = (training.step + 1) % (training.steps_per_epoch - 1)

    began = time.perf_counter()
    for _ in range(4):  # the last one is recorded
        step()
    float(next(training.model.parameters()).detach().sum())  # waits
    first = round(time.perf_counter() - began, 2)
    return {f"{way}, ms": median_ms(step, device, 1 if toy else 30), f"first four {way}, s": first}


def epoch(device: torch.device, root: Path, *, toy: bool) -> dict[str, Any]:
    """Seconds of an epoch of ResNet18, bfloat16 and channels-last, without and with a frame."""
    config = _pictures(device, root, toy)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    kinds = {"waits": Training, "overlaps": OverlappedTraining, **PARTS_OF_A_FRAME}
    found: dict[str, list[float]] = {name: [] for name in ("without", *kinds)}
    frames: list[float] = []
    for _ in range(1 if toy else 3):  # in turn: a machine may be slower for a while
        found["without"] += _epochs(Training, config.replace(frame_every=10**9))
        for name, kind in kinds.items():
            found[name] += _epochs(kind, config, frames if name == "waits" else None)
    seconds = {name: statistics.median(ends) for name, ends in found.items()}
    result: dict[str, Any] = {
        "network": f"resnet18, p = {config.width}, {config.train_size} pictures, batch "
        f"{config.batch_size}, bfloat16, channels-last",
        "epoch without a frame s": round(seconds["without"], 3),
        "that waits for a frame s": round(seconds["waits"], 3),
        "that overlaps with one s": round(seconds["overlaps"], 3),
        "frame s": round(statistics.median(frames), 3),
        "with / without": round(seconds["waits"] / seconds["without"], 4),
        "overlapping / without": round(seconds["overlaps"] / seconds["without"], 4),
    }
    for name in PARTS_OF_A_FRAME:
        result[f"{name} / without"] = round(seconds[name] / seconds["without"], 4)
    if device.type == "cuda":
        result["peak memory GB"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    return result


class _SnapshotAlone(OverlappedTraining):
    """Each frame but the first is that one again: what is left is the copy of the network."""

    def _make_probe(self, model: nn.Module) -> Probe:
        probe = super()._make_probe(model)
        whole, first = probe.frame, []

        def frame(epoch: float, step: int = 0, **scalars: float) -> Frame:
            if first:
                self._look(probe)
            else:
                first.append(whole(epoch, step, **scalars))
            return replace(first[0], epoch=epoch, step=step)

        probe.frame = frame  # type: ignore[method-assign]
        return probe

    def _look(self, probe: Probe) -> None:
        """Nothing more."""


class _PassAlone(_SnapshotAlone):
    """The copy, and the pass of the samples."""

    def _look(self, probe: Probe) -> None:
        with inference_mode(probe.model, self.device):
            probe._both("")


class _AnalysedOnTheCPU(OverlappedTraining):
    """Whole frames, of which the card does no more than the pass."""

    def _make_probe(self, model: nn.Module) -> Probe:
        probe = super()._make_probe(model)
        there = probe._run

        def run(*args: Any) -> Activations:
            rows = there(*args)
            parts = {name: getattr(rows, name).cpu() for name in ("features", "outputs", "targets")}
            return replace(rows, **parts)

        probe._run = run  # type: ignore[method-assign]
        return probe


#: What tells where the time of an overlapping frame goes.
PARTS_OF_A_FRAME: dict[str, type[Training]] = {
    "overlapping, the snapshot alone": _SnapshotAlone,
    "overlapping, snapshot and pass": _PassAlone,
    "overlapping, analysed on the CPU": _AnalysedOnTheCPU,
}


def _epochs(kind: type[Training], config: Config, frames: list[float] | None = None) -> list[float]:
    """Seconds of each epoch but the first, which chooses algorithms, to the end of its steps."""
    ends: dict[int, float] = {}

    def look() -> bool:
        if training.step and training.step % training.steps_per_epoch == 0:
            if training.step not in ends and training.device.type == "cuda":
                torch.cuda.current_stream().synchronize()
            ends.setdefault(training.step, time.perf_counter())
        return True

    training = kind(config, keep_going=look)
    for frame in training:
        if frames is not None and frame.epoch >= 1:
            frames.append(frame.scalars["analysis_seconds"])
    return [later - end for end, later in itertools.pairwise(ends.values())]


def _register(train_size: int) -> None:
    """A data set of noise over one pattern per class: of noise alone a wide network diverges."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(train_size * 6 // 5) % 10
    shape = 3, 32, 32
    images = torch.randint(0, 128, (len(labels), *shape), generator=generator, dtype=torch.uint8)
    images += torch.randint(0, 128, (10, *shape), generator=generator, dtype=torch.uint8)[labels]

    def random_pictures(config: Any) -> Split:
        """Noise over one pattern per class."""
        train = slice(train_size)
        test = slice(train_size, None)
        return Split(images[train], labels[train], images[test], labels[test])

    source(
        "random_pictures",
        kind="image",
        shape=shape,
        class_names=[str(c) for c in range(10)],
        train_size=train_size,
        test_size=len(labels) - train_size,
    )(random_pictures)


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
        ("errors", "Error bars of features that lie on the card"),
        ("steps", "A step of training"),
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
