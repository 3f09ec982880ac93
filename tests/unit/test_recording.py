"""Frames, recordings and their files."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import fswidget as fs
from fswidget.recording.frame import SCALARS, Frame
from fswidget.recording.recording import Recording
from fswidget.recording.thinning import Thinning
from tests.synthetic import make_frame, make_recording


def assert_same(one: Recording, other: Recording) -> None:
    assert one.info.describe() == other.info.describe()
    for name, array in one.info.arrays().items():
        np.testing.assert_array_equal(array, other.info.arrays()[name])
    assert [number for number, _ in one.entries] == [number for number, _ in other.entries]
    for left, right in zip(one, other, strict=True):
        assert (left.epoch, left.step, left.labels) == (right.epoch, right.step, right.labels)
        assert list(left.scalars) == list(right.scalars)
        np.testing.assert_array_equal(list(left.scalars.values()), list(right.scalars.values()))
        assert left.arrays.keys() == right.arrays.keys()
        for name, array in left.arrays.items():
            np.testing.assert_array_equal(array, right.arrays[name])


def test_frame_is_immune_to_a_reused_buffer() -> None:
    buffer = np.ones(4, np.float32)
    frame = Frame(epoch=0, step=0, scalars={}, arrays={"eigenvalues": buffer})
    buffer[:] = 7
    assert frame.eigenvalues.tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        frame.eigenvalues[0] = 2


def test_frame_holds_dicts_of_its_own() -> None:
    given = {"scalars": {"loss": 1.0}, "labels": {"regime": "MF"}, "arrays": {"quality": [0.5]}}
    frame = Frame(epoch=0, step=0, **given)
    for name, mapping in given.items():
        mapping.clear()
        assert type(getattr(frame, name)) is dict
    assert json.loads(json.dumps([frame.scalars, frame.labels])) == [{"loss": 1}, {"regime": "MF"}]
    assert frame.quality.tolist() == [0.5]


def test_frame_survives_a_process_boundary() -> None:
    frame = make_frame(2)
    again = pickle.loads(pickle.dumps(frame))
    assert again.scalars == frame.scalars
    np.testing.assert_array_equal(again.projections, frame.projections)
    assert not again.projections.flags.writeable


def test_index_slice_and_epoch() -> None:
    recording = make_recording(5)
    assert len(recording) == 6
    assert recording[-1].epoch == 5
    assert [frame.epoch for frame in recording[1:3]] == [1, 2]
    assert recording.at(2.5).epoch == 2
    assert recording.at(-1).epoch == 5
    assert recording.at(-2).epoch == 4
    with pytest.raises(IndexError, match="epoch=-9"):
        recording.at(-9)


@pytest.mark.parametrize("epoch", [-0.5, -1.5, -math.inf])
def test_part_of_a_frame_cannot_be_counted(epoch: float) -> None:
    with pytest.raises(ValueError, match=rf"epoch={epoch}: must be ≥ 0, or −1, −2, …"):
        make_recording(5).at(epoch)


def test_table_has_a_column_a_name_with_a_known_unit() -> None:
    table = make_recording(2).table()
    assert table["epoch"].tolist() == [0, 1, 2]
    assert table["regime"].tolist() == ["UNTRAINED", "TRANSITION", "TRANSITION"]
    assert np.isnan(table["nc1"][0])
    assert table["nc1"][1] == 1.0
    assert set(table) - {"epoch", "step", "regime"} <= set(SCALARS)


def test_save_and_load_give_back_every_bit(tmp_path) -> None:
    recording = make_recording(4, num_layers=2)
    recording.append(Frame(epoch=4.5, step=45, scalars={"loss": 0.1}))  # bare: arrays are optional
    path = recording.save(tmp_path / "run")
    assert path.name == "run.npz"
    assert_same(recording, fs.load(path))


def test_file_opens_with_numpy_alone(tmp_path) -> None:
    path = make_recording(2).save(tmp_path / "run.npz")
    with np.load(path, allow_pickle=False) as archive:
        assert json.loads(bytes(archive["meta"]))["format"] == "fswidget recording"
        assert archive["scalars"].shape == (3, 14)
        assert archive["frames.eigenvalues.shape"].tolist() == [[16], [16], [16]]


def test_empty_recording_survives(tmp_path) -> None:
    empty = Recording(make_recording(0).info)
    assert_same(empty, fs.load(empty.save(tmp_path / "empty.npz")))


def test_budget_keeps_first_last_and_log_spaced() -> None:
    frame = make_frame(0)
    recording = Recording(make_recording(0).info, byte_budget=20 * frame.nbytes)
    for epoch in range(1000):
        recording.append(make_frame(epoch))
    epochs = [frame.epoch for frame in recording]
    assert recording.nbytes <= 20 * frame.nbytes
    assert epochs[0] == 0
    assert epochs[-1] == 999
    assert recording.appended == 1000
    gaps = np.diff(np.log1p(10 * np.array(epochs[1:])))
    assert gaps.max() < 6 * np.median(gaps)


def test_thinning_leaves_out_what_a_search_of_all_would() -> None:
    steps = sorted(np.random.default_rng(0).integers(0, 5000, 200).tolist())
    kept = list(enumerate(steps))
    thinning = Thinning(kept[:100])
    del kept[100:]
    for later in range(100, 200):
        kept.append((later, steps[later]))
        thinning.append(later, steps[later])
        for _ in range(2 if len(kept) > 10 else 0):
            position = [math.log1p(step) for _, step in kept]
            gaps = [b - a for a, b in zip(position, position[2:], strict=False)]
            crowded = 1 + gaps.index(min(gaps))
            assert thinning.pop() == kept.pop(crowded)[0]


def test_the_budget_counts_what_is_kept() -> None:
    tracemalloc.start()
    try:
        recording = Recording(make_recording(0).info, byte_budget=None)
        before = tracemalloc.get_traced_memory()[0]
        for number in range(300):
            recording.append(make_frame(number / 7))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.8 * taken < recording.nbytes < 1.2 * taken


def test_a_frame_made_of_another_shares_its_arrays() -> None:
    frame = make_frame(1)
    again = dataclasses.replace(frame, labels={"regime": "MF"})
    assert all(again.arrays[name] is array for name, array in frame.arrays.items())
    mine = np.ones((4, 4), np.float32)
    mine.setflags(write=False)
    view = mine[:2]
    made = Frame(epoch=0, step=0, scalars={}, arrays={"eigenvalues": view})
    mine.setflags(write=True)
    mine[:] = 0
    assert made.eigenvalues.sum() == 8


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "foreign", "newer", "empty"])
def test_damaged_files_are_named(tmp_path, damage: str) -> None:
    path = make_recording(3).save(tmp_path / "run.npz")
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    elif damage == "text":
        path.write_text("no archive at all")
    elif damage == "foreign":
        np.savez(path, weights=np.ones(3))
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        with np.load(path) as archive:
            members = dict(archive)
        meta = json.loads(bytes(members["meta"]))
        meta["version"] = 99
        members["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        np.savez(path, **members)
    with pytest.raises(ValueError, match=r"run\.npz"):
        fs.load(path)


def test_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        fs.load(tmp_path / "nowhere.npz")


def test_no_pickle_is_ever_read(tmp_path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, meta=np.array([{"format": "fswidget recording"}], dtype=object))
    with pytest.raises(ValueError, match="pickle"):
        fs.load(path)


def test_a_kill_while_saving_leaves_the_old_file(tmp_path) -> None:
    path = make_recording(1).save(tmp_path / "run.npz")
    before = path.read_bytes()
    script = (
        "import os, sys\n"
        "import fswidget.recording.atomic as storage\n"
        "os.fsync = lambda _: os._exit(9)\n"
        "from tests.synthetic import make_recording\n"
        "make_recording(5).save(sys.argv[1])\n"
    )
    result = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert result.returncode == 9
    assert path.read_bytes() == before


def test_failed_save_leaves_nothing_behind(tmp_path, monkeypatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        make_recording(1).save(tmp_path / "run.npz")
    assert list(tmp_path.iterdir()) == []


def test_byte_budget_must_be_positive() -> None:
    with pytest.raises(ValueError, match="byte_budget=0"):
        Recording(make_recording(0).info, byte_budget=0)
