"""Two processes of a DistributedDataParallel job give the frames of one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import fswidget as fs
from fswidget.probing import live
from fswidget.probing.distributed import Diverged
from fswidget.probing.watching import StopTraining
from tests.distributed import both, group

C = 3


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, C)
    )


def data(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % C
    return torch.randn(n, 5, generator=generator) + targets[:, None], targets


def record(model: nn.Module, rank: int = 0) -> fs.Recording:
    # 61 samples and 31 held out do not divide by two; nor do the points shown.
    sizes = {"num_shown": 33, "batch_size": 7}
    held_out = data(31, 2)
    probe = fs.watch(
        model, *data(61, 1), held_out=held_out, layers=["3"], more_measures=True, **sizes
    )
    probe.snapshot()
    bare = getattr(model, "module", model)
    with torch.no_grad():
        for parameter in bare.parameters():
            parameter.add_(0.3 * torch.ones_like(parameter).cumsum(0).sin())
        # Running statistics of one process count, as in the next step of a real job.
        bare[1].running_mean.add_(0.5 if rank == 0 else -7.0)
    held = [buffer.clone() for buffer in bare.buffers()]
    frame = probe.snapshot(epoch=1, step=10, loss=0.5)
    assert all(torch.equal(a, b) for a, b in zip(held, bare.buffers(), strict=True))
    assert frame.scalars["loss"] == 0.5
    return probe.recording


class Stopping:
    """A viewer in which Stop was pressed."""

    def __init__(self) -> None:
        self.state = self.message = ""

    def push(self) -> None: ...
    def pack(self) -> None: ...


def work(rank: int, folder: str) -> None:
    with group(rank, folder):
        model = DistributedDataParallel(network())
        recording = record(model, rank)
        assert len(recording) == (2 if rank == 0 else 0)
        if rank == 0:
            recording.save(Path(folder, "recording.npz"))
        probe = fs.watch(model, *data(20, 3))
        if rank == 0:
            probe._viewer = Stopping()  # type: ignore[assignment]
            probe._control.stop()
        with pytest.raises(StopTraining):
            probe.snapshot()
        Path(folder, f"{rank} stopped").touch()


def fails(frame: fs.Frame) -> None:
    raise OSError("the disk is full")


def disagree(rank: int, folder: str) -> None:
    """Whatever goes wrong in one process is told in both, and both can go on."""
    with group(rank, folder):
        model, world = network(), dist.group.WORLD  # without the seconds that DDP takes to load
        probe = fs.watch(model, *data(40, 3), group=world)
        weight = model[0].weight
        kept = weight.detach().clone()
        with torch.no_grad():
            weight.fill_(torch.nan if rank == 1 else 1.0)
        where = "process 1, as its own message says" if rank == 0 else "epoch 0, step 0: the fea"
        with pytest.raises(Diverged, match=where):
            probe.snapshot()
        with torch.no_grad():
            weight.copy_(kept)
        inputs, targets = data(40, 3)
        with pytest.raises(ValueError, match=r"inputs: differ between the processes \(those of"):
            fs.watch(model, inputs + rank, targets, group=world)
        other = inputs[:20], targets[:20].roll(rank)
        with pytest.raises(ValueError, match=r"held_out targets: differ between the processes"):
            fs.watch(model, inputs, targets, held_out=other, group=world)
        full = fs.watch(model, inputs, targets, on_frame=fails, group=world)
        with pytest.raises(OSError if rank == 0 else RuntimeError, match=r"disk|process 0"):
            full.snapshot()
        # A pause may last longer than one process waits for the other: words come in between.
        words: list[int] = []
        follow = probe._team.follow

        def counted(flag: int, device: Any) -> int:
            words.append(follow(flag, device))
            if rank == 0 and len(words) == 5:
                probe._control.resume()
            return words[-1]

        probe._team.follow = counted  # type: ignore[method-assign]
        live._HEARTBEAT = 0.05
        if rank == 0:
            probe._control.pause()
        assert probe.snapshot().labels["regime"] == "UNTRAINED"
        assert words == [live._WAIT] * 5 + [live._GO_ON]
        Path(folder, f"{rank} done").touch()


def test_what_goes_wrong_in_one_process_is_told_in_all(tmp_path: Path) -> None:
    both(disagree, tmp_path)
    assert {path.name for path in tmp_path.glob("* done")} == {"0 done", "1 done"}


def test_two_processes_give_the_same_frames_as_one(tmp_path: Path) -> None:
    both(work, tmp_path)
    alone, shared = record(network()), fs.load(tmp_path / "recording.npz")
    assert len(shared) == 2
    np.testing.assert_array_equal(shared.info.labels, alone.info.labels)
    for one, two in zip(alone, shared, strict=True):
        assert dict(one.labels) == dict(two.labels)
        assert one.scalars.keys() == two.scalars.keys()
        for name in one.scalars.keys() - {"seconds", "analysis_seconds"}:
            expected = pytest.approx(one.scalars[name], rel=1e-4, abs=1e-6, nan_ok=True)
            assert two.scalars[name] == expected, name
        assert one.arrays.keys() == two.arrays.keys()
        for name, array in one.arrays.items():
            np.testing.assert_allclose(two.arrays[name], array, rtol=2e-3, atol=2e-4, err_msg=name)
    assert (tmp_path / "0 stopped").exists()
    assert (tmp_path / "1 stopped").exists()
