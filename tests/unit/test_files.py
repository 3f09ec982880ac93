"""Files: whole or not at all, where the user means, and read with suspicion."""

import os
import re
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fswidget as fs
from fswidget.recording.atomic import _TEMPORARY, atomic_write, require_writable
from fswidget.recording.frame import Frame
from fswidget.recording.grid import Sweep
from tests.synthetic import make_frame, make_recording, make_sweep

# -- writing -----------------------------------------------------------------------------------


def test_what_a_killed_writer_left_is_removed_at_the_next_write(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "import fswidget.recording.atomic as atomic\n"
        "os.fsync = lambda _: os._exit(9)\n"
        "atomic.atomic_write(Path(sys.argv[1]), b'half')\n"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "run.npz")]
    assert subprocess.run(arguments, check=False).returncode == 9
    (left,) = tmp_path.iterdir()
    assert left.match(_TEMPORARY.format("*"))
    (tmp_path / "mine.tmp").touch()
    make_recording(1).save(tmp_path / "run.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.tmp", "run.npz"]


def test_the_file_of_a_writer_at_work_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = os.fsync, []

    def meanwhile(handle: int) -> None:
        real(handle)
        if not seen:
            seen.append(True)
            atomic_write(tmp_path / "other", b"written while the first one was at it")

    monkeypatch.setattr(os, "fsync", meanwhile)
    atomic_write(tmp_path / "first", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"first", "other"}
    assert (tmp_path / "first").read_bytes() == b"whole"


def test_a_link_is_followed_and_a_mode_kept(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "run.npz").symlink_to(tmp_path / "store" / "there.npz")
    made = make_recording(1).save(tmp_path / "run.npz")
    real = tmp_path / "store" / "there.npz"
    assert made.is_symlink()
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(real.stat().st_mode) == 0o666 & ~umask
    real.chmod(0o640)
    make_recording(2).save(made)
    assert made.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert len(fs.load(made)) == 3
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["there.npz"]


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop"])
def test_what_is_no_file_is_neither_written_nor_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "run.npz"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/null" if kind == "device" else path)
    for ask in (make_recording(1).save, make_recording(1).to_html, make_sweep().save, fs.load):
        with pytest.raises((ValueError, OSError), match=r"^path='.*run\.npz'"):
            ask(path)
    assert not any(other.is_file() for other in tmp_path.iterdir() if other != path)


def test_a_place_is_tried_without_a_trace(tmp_path: Path) -> None:
    require_writable(tmp_path / "run.npz")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError, match=r"path='.*run.npz': cannot be written"):
        require_writable(tmp_path / "nowhere" / "run.npz")


def test_names_mean_the_same_in_saving_and_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()  # a folder of that name is not meant
    for name in ("run", "~/home", "run.v2"):
        make_recording(1).save(name)
        assert len(fs.load(name)) == 2
        page = make_recording(1).to_html(name if "." not in name else "page")
        assert page.parent.samefile(tmp_path)
    make_sweep().save("~/sweep")
    assert len(fs.load("~/sweep")) == len(fs.load("sweep.json")) == 4
    make_sweep().save("run")
    with pytest.raises(
        ValueError, match=r"path='run': say which is meant, 'run.npz' or 'run.json'"
    ):
        fs.load("run")
    (tmp_path / "bare").write_bytes((tmp_path / "home.npz").read_bytes())
    assert len(fs.load("bare")) == 2


# -- reading -----------------------------------------------------------------------------------


def test_recordings_and_sweeps_open_alike(tmp_path: Path) -> None:
    sweep = fs.load(make_sweep().save(tmp_path / "sweep.npz"))  # the content decides
    assert isinstance(sweep, Sweep)
    assert sweep.runs == make_sweep().runs or np.isnan(sweep.runs[0].scalars["nc1"])
    one = sweep.sel(width=8, seed=1)
    assert isinstance(one, fs.Recording)
    np.testing.assert_array_equal(one[-1].projections, make_recording(2, seed=1)[-1].projections)
    # What runs share is kept once, in memory too.
    assert sweep.sel(width=16, seed=1).info.thumbnails is one.info.thumbnails
    assert [len(r) for r in sweep.sel(seed=0)] == [3, 3]
    with pytest.raises(ValueError, match=r"seed=5: must be one of 0, 1"):
        sweep.sel(seed=5)
    with pytest.raises(ValueError, match=r"depth=1: must be one of width, seed"):
        sweep.sel(depth=1)


def test_a_small_file_cannot_claim_to_be_large(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    members = dict(np.load(make_recording(1).save(tmp_path / "run.npz")))
    members["frames.eigenvalues"] = np.zeros(100_000_000, np.float32)
    np.savez_compressed(path, **members)
    assert path.stat().st_size < 1_000_000
    del members
    tracemalloc.start()
    with pytest.raises(ValueError, match="declares more than a file of this size can hold"):
        fs.load(path)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_what_is_saved_can_be_read_however_well_it_packs(tmp_path: Path) -> None:
    info = make_recording(0, num_shown=50_000).info
    recording = fs.Recording(info)
    nothing = {"projections": np.zeros((50_000, 64))}
    for epoch in range(6):
        recording.append(Frame(epoch, epoch, {}, {}, nothing))
    assert len(fs.load(recording.save(tmp_path / "flat"))) == 6


def test_frames_must_be_of_their_run(tmp_path: Path) -> None:
    recording = make_recording(1)
    with pytest.raises(ValueError, match=r"arrays\['projections'\]: of shape \(5, 3\), the run"):
        recording.info.check(make_frame(2, num_shown=5))
    with pytest.raises(ValueError, match=r"arrays\['layer_low_rank_measure'\].*has 0 layers"):
        recording.info.check(make_frame(2, num_layers=2))
    recording.append(make_frame(2, num_shown=5))
    with pytest.raises(ValueError, match=r"path='.*': .*arrays\['p.*'\]: of shape \(5"):
        fs.load(recording.save(tmp_path / "run"))


def test_the_reader_of_the_format_page_reads_the_first_format() -> None:
    root = Path(__file__).parents[2]
    (code,) = re.findall(r"```python\n(.*?)```", (root / "docs" / "format.md").read_text(), re.S)
    names: dict[str, Any] = {}
    exec(code, names)
    assert code.split("def read")[1].count("\n") <= 10
    for path in (root / "tests" / "fixtures" / "before_rooms" / "recording.npz",):
        meta, table, eigenvalues = names["read"](path)
        recording = fs.load(path)
        assert (meta["version"], meta["run"]["title"]) == (1, recording.info.title)
        np.testing.assert_array_equal(table["loss"], recording.table()["loss"])
        for found, frame in zip(eigenvalues, recording, strict=True):
            np.testing.assert_array_equal(found, frame.eigenvalues)


def test_small_files_hold_what_they_must(tmp_path: Path) -> None:
    recording = make_recording(20, num_features=64, num_shown=500)
    whole = recording.save(tmp_path / "whole").stat().st_size
    small = recording.save(tmp_path / "small", projections=False, dtype="float16", pictures=False)
    assert small.stat().st_size < whole / 4
    again = fs.load(small)
    assert again.info.thumbnails is None
    assert "projections" not in again[-1].arrays
    assert again[-1].scalars == recording[-1].scalars
    np.testing.assert_allclose(again[-1].utilization, recording[-1].utilization, rtol=1e-3)
    np.testing.assert_allclose(again[-1].eigenvalues, recording[-1].eigenvalues, rtol=1e-3)
    again.provenance["licence"] = "CC BY 4.0"
    assert fs.load(again.save(tmp_path / "mine")).provenance["licence"] == "CC BY 4.0"
    with pytest.raises(ValueError, match="dtype='int8': must be one of float32, float16"):
        recording.save(tmp_path / "no", dtype="int8")
