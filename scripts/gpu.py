"""Check and measure on a GPU, in minutes: ``python scripts/gpu.py --minutes 5``.

Parts, in this order: ``tests`` (those marked gpu), ``timings`` (moments, eigensolvers, a frame),
``epoch`` (ResNet18 of width 512 with and without a frame) and ``science`` (recipes at desk size,
side by side). What was done is kept in the store and not repeated, unless it failed; the results
are written after every part, so that a run that is cut short leaves what it has. Nothing is
downloaded. Without CUDA it says so, leaves results as they are, and ends with 0; ``--toy``
rehearses all parts on any machine, with a store and results of its own in ``STORE/toy``.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import platform
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# The package may not be installed where the GPU is.
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import gpu_timings  # noqa: E402
import torch  # noqa: E402

from fswidget.experiments.campaign import Outcome, run_side_by_side  # noqa: E402
from fswidget.experiments.catalogue import recipes  # noqa: E402
from fswidget.experiments.recipe import stored  # noqa: E402
from fswidget.experiments.small import small  # noqa: E402
from fswidget.recording.atomic import atomic_write, require_writable  # noqa: E402
from fswidget.recording.loading import load  # noqa: E402
from fswidget.training.config import Config  # noqa: E402

PARTS = ("tests", "timings", "epoch", "science")

#: Recipes and arms in the order of what they are worth; every first seed comes before any second.
SCIENCE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("shuffled_labels", ("true labels", "10,000 true labels", "10,000 shuffled labels")),
    ("batchnorm", ()),
    ("learning_rate", ()),
    ("rich_is_not_better", ()),
    ("regimes", ()),
    ("grokking", ()),
    ("train_size_vgg16", ()),
    ("train_size_resnet18", ()),
    ("width_mlp", ()),
    ("target_scale", ()),
    ("weight_decay", ()),
    ("regression", ()),
)

#: Bytes of a recording that is brought back.
RECORDING_BYTES = 150_000

#: Bytes of one tar of them, so that each is easily sent.
TAR_BYTES = 14_000_000

#: A claim should hold beyond seeds; small runs can afford five.
LAPTOP_SEEDS = 5

RESULTS = "RESULTS-gpu.json"

TOY = Config(width=8, train_size=50, test_size=20, epochs=2, frame_every="epoch", loss="mse")


def science_runs(
    size: str, seeds: int, data: Path, toy: bool = False
) -> Iterator[tuple[str, str, Config]]:
    """Recipe, arm and settings of each run whose data is there."""
    if toy:
        yield from (("toy", f"seed {seed}", TOY.replace(seed=seed)) for seed in range(2))
        return
    folders = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar100", "mnist": "MNIST"}
    for seed in range(seeds):
        for name, arms in SCIENCE:
            for arm, config in recipes[name].runs(size, 1):
                folder = folders.get(config.dataset, ".")
                # Grokking at the desk is that of the laptop with more steps.
                chosen = not arms or arm in arms if size == "desk" else name != "grokking"
                if chosen and (data / folder).is_dir():
                    yield name, arm, config.replace(seed=seed)


class Session:
    """The results so far, kept in the store and written to the output folder.

    Raises
    ------
    OSError, ValueError
        If one of them cannot be written to, or what is kept is damaged.
    """

    def __init__(self, options: argparse.Namespace, device: torch.device) -> None:
        self.options, self.device = options, device
        self.ends = time.monotonic() + 60 * options.minutes
        self.store, self.output = Path(options.store), Path(options.output)
        kept = self.store / RESULTS
        for folder in (self.store, self.output):
            folder.mkdir(parents=True, exist_ok=True)
            require_writable(folder / RESULTS)
        try:
            self.results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
        except ValueError as error:
            raise ValueError(f"{kept}: damaged ({error}); delete it to begin anew") from error
        self.results["machine"] = describe_machine(self.device)

    @property
    def seconds_left(self) -> float:
        return self.ends - time.monotonic()

    def write(self, part: str, result: Any) -> None:
        """Keep the result of a part, and write everything anew."""
        self.results[part] = result
        text = json.dumps(self.results, indent=1) + "\n"
        for folder in (self.store, self.output):
            atomic_write(folder / RESULTS, text.encode())
        atomic_write(self.output / "RESULTS-gpu.md", gpu_timings.page(self.results).encode())


def describe_machine(device: torch.device) -> dict[str, str]:
    """What the numbers belong to."""
    card = torch.cuda.get_device_name() if device.type == "cuda" else "none (no CUDA)"
    return {
        "card": card,
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
        "python": platform.python_version(),
        "cores": str(os.cpu_count()),
    }


def tests(session: Session) -> dict[str, Any]:
    """Run the tests marked gpu in a process of their own."""
    # The project's pytest settings name plug-ins that a bare machine lacks.
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(ROOT)]
    command += ["-p", "no:cacheprovider", "-q", "-rfE", "--tb=short", "--durations=5", "tests/gpu"]
    # Wide matrices on the CPU, which the card is compared with, want all cores.
    env = {**os.environ, "OMP_NUM_THREADS": str(os.cpu_count())}
    start = time.monotonic()
    try:
        ran = subprocess.run(
            command,
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=max(session.seconds_left, 1),
        )
        output, code = ran.stdout + ran.stderr, ran.returncode
    except subprocess.TimeoutExpired as error:
        output, code = f"{error.stdout or b''!r}: time was up", 124
    output = output.replace(f"{ROOT}/", "")
    print(output[-4000:], flush=True)
    summary = output.strip().splitlines()[-1] if output.strip() else ""
    seconds = round(time.monotonic() - start, 1)
    return {"code": code, "summary": summary, "seconds": seconds, "output": output[-6000:]}


def science(session: Session) -> dict[str, Any]:
    """Recipes at desk size, side by side, as far as time goes; on spare cores those at laptop size.

    What the two sizes have in common are the store and the time.
    """
    options = session.options
    folder = session.store / "runs"
    named: dict[str, tuple[str, str, str, int]] = {}
    pools = [("desk", options.seeds, session.device.type, options.workers, 2)]
    if options.cpu_workers:
        pools.append(("laptop", LAPTOP_SEEDS, "cpu", options.cpu_workers, 1))
    result: dict[str, Any] = session.results.get("science", {})
    result.pop("error", None)  # of the part as a whole, which is done again
    lock = threading.Lock()

    def done(outcome: Outcome) -> None:
        key = " / ".join(map(str, named[outcome.path.name]))
        with lock:
            _note(key, outcome)

    def _note(key: str, outcome: Outcome) -> None:
        row = result.setdefault(key, {"seconds": 0.0})
        row |= {"status": outcome.status, "error": outcome.error[-600:]}
        row["seconds"] = round(row["seconds"] + outcome.seconds, 1)
        if outcome.status == "finished":
            last = load(outcome.path)[-1]
            keep = ("low_rank_measure", "used_features", "train_accuracy", "test_accuracy", "loss")
            row |= {n: last.scalars[n] for n in keep if n in last.scalars}
            row |= {"epoch": last.epoch, "regime": last.labels["regime"], "file": outcome.path.name}
        elif outcome.epoch:
            row["epoch"] = outcome.epoch
        if outcome.seconds:
            print(key, {n: v for n, v in row.items() if n != "file"}, flush=True)
            session.write("science", result)
            pack(folder, session.output)

    def run_pool(size: str, seeds: int, device: str, workers: int, threads: int) -> None:
        runs = []
        for name, arm, config in science_runs(size, seeds, Path(options.root), options.toy):
            path = stored(config, folder)
            named.setdefault(path.name, (name, arm, size, config.seed))
            runs.append((config.replace(root=options.root, device=device), path))
        run_side_by_side(
            runs,
            workers=workers,
            # Runs stop at their next batch; keeping and packing them takes a few seconds.
            seconds=max(session.seconds_left - 8, 1),
            threads=threads,
            limit=RECORDING_BYTES,
            on_done=done,
        )

    with ThreadPoolExecutor(len(pools)) as threads:
        list(threads.map(lambda pool: run_pool(*pool), pools))
    pack(folder, session.output, unfinished=True)
    return result


def pack(folder: Path, output: Path, unfinished: bool = False) -> None:
    """All recordings in ``recordings-0.tar`` and so on; unfinished ones too where asked for."""
    output.mkdir(parents=True, exist_ok=True)
    number, stream = 0, io.BytesIO()
    tar = tarfile.open(fileobj=stream, mode="w")  # noqa: SIM115 (closed where it is full)

    def close() -> None:
        tar.close()
        atomic_write(output / f"recordings-{number}.tar", stream.getvalue())

    contents = {path.name: path.read_bytes() for path in sorted(folder.glob("*.npz"))}
    for path in sorted(folder.glob("*/recording.npz")) if unfinished else ():
        contents[f"{path.parent.name}.unfinished.npz"] = small(load(path), RECORDING_BYTES)
    for name, content in contents.items():
        if stream.tell() + len(content) > TAR_BYTES:
            close()
            number, stream = number + 1, io.BytesIO()
            tar = tarfile.open(fileobj=stream, mode="w")  # noqa: SIM115
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    close()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--minutes", type=float, default=5.5, help="of wall time for all of it")
    parser.add_argument("--root", default=os.environ.get("FSWIDGET_DATA", "data"))
    parser.add_argument("--store", default=".gpu", help="what is done, and not done again")
    parser.add_argument("--output", help="where results go: benchmarks, of toy sizes the store")
    parser.add_argument("--workers", type=int, default=8, help="runs side by side")
    parser.add_argument("--cpu-workers", type=int, default=0, help="laptop-size runs beside them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--again", action="store_true", help="repeat parts that are done")
    parser.add_argument("--toy", action="store_true", help="tiny sizes, on any machine")
    options = parser.parse_args(arguments)
    options.parts = options.parts.split(",")
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"--parts: {', '.join(unknown)}: must be of {', '.join(PARTS)}")
    if options.workers < 1 or options.seeds < 1:
        parser.error("--workers and --seeds: must be ≥ 1")
    if options.cpu_workers < 0 or not 0 < options.minutes < math.inf:
        parser.error("--cpu-workers must be ≥ 0, and --minutes > 0")
    if options.toy:  # what is done at toy sizes is not done
        options.store = str(Path(options.store) / "toy")
    options.output = options.output or (options.store if options.toy else str(ROOT / "benchmarks"))
    return options


def failed(part: str, result: Any) -> bool:
    """Whether a part, or a run of it, did."""
    rows = result.values() if part == "science" and "error" not in result else [result]
    return any(
        row.get("error") or row.get("status") == "failed" or row.get("code", 0) not in (0, 5)
        for row in rows
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts; 0 if the tests passed and nothing failed."""
    options = parse(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type != "cuda" and not options.toy:
        # Everything but toy sizes would take hours on a CPU.
        print("no CUDA here: nothing is run, and results stay as they are; --toy runs toy sizes")
        return 0
    try:
        session = Session(options, device)
    except (OSError, ValueError) as error:
        print(f"gpu.py: {error}", file=sys.stderr)
        return 2
    for part in PARTS:
        known = session.results.get(part)
        done = part != "science" and known is not None and not failed(part, known)
        if part not in options.parts or (done and not options.again) or session.seconds_left <= 0:
            continue
        print(f"{part}: {session.seconds_left:.0f} s left", flush=True)
        try:
            if part == "tests":
                result = tests(session)
            elif part == "science":
                result = science(session)
            else:
                result = getattr(gpu_timings, part)(device, Path(options.root), toy=options.toy)
        except (RuntimeError, OSError, ValueError) as error:
            # One part that fails must not cost the others.
            result = {"error": f"{type(error).__name__}: {error}"}
            print(f"{part}: {result['error']}", file=sys.stderr, flush=True)
        session.write(part, result)
    session.write("seconds", session.results.get("seconds", 0) + round(time.process_time()))
    print(session.output / "RESULTS-gpu.md")
    results = session.results
    return int(any(part in results and failed(part, results[part]) for part in options.parts))


if __name__ == "__main__":
    sys.exit(main())
