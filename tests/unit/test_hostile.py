"""Broken files, wrong values, markup in names: the error names the argument, nothing is lost."""

from __future__ import annotations

import dataclasses
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fswidget as fs
from fswidget.recording.frame import Frame, RunInfo
from fswidget.recording.recording import Recording
from fswidget.widget import html as export
from tests.synthetic import make_frame, make_recording
from tests.unit.test_recording import assert_same

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return make_recording(3).save(tmp_path / "run.npz")


# Files -------------------------------------------------------------------------------------------


def rewrite(path: Path, change: Change) -> Path:
    """Write a recording's file again with members changed; ``meta`` comes as a dict."""
    with np.load(path) as archive:
        members: dict[str, Any] = {name: archive[name] for name in archive.files}
    members["meta"] = json.loads(bytes(members["meta"]))
    change(members)
    members["meta"] = np.frombuffer(json.dumps(members["meta"]).encode(), np.uint8)
    np.savez(path, **members)
    return path


def flip_a_byte(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


class Trap:
    """Unpickling it would create the file ``sprung``."""

    def __init__(self, folder: Path) -> None:
        self.sprung = folder / "sprung"

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sprung,)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: content[:-1], id="cut by one byte"),
        pytest.param(lambda content: content[: len(content) // 2], id="cut in half"),
        pytest.param(flip_a_byte, id="one byte changed"),
        pytest.param(lambda content: b"<html>404 not found</html>", id="another file"),
        pytest.param(lambda content: content[1000:], id="without its beginning"),
    ],
)
def test_a_damaged_file_is_named(saved: Path, damage: Callable[[bytes], bytes]) -> None:
    saved.write_bytes(damage(saved.read_bytes()))
    with pytest.raises(ValueError, match=r"^path='.*run\.npz'"):
        fs.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda m: m["meta"].update(version=99), id="newer version"),
        pytest.param(lambda m: m["meta"].update(format="other"), id="another format"),
        pytest.param(lambda m: m["meta"].update(labels=3), id="labels are a number"),
        pytest.param(lambda m: m["meta"].update(arrays=["nope"]), id="array that is not there"),
        pytest.param(lambda m: m["meta"].update(run=None), id="no run"),
        pytest.param(lambda m: m["meta"].update(byte_budget="x"), id="byte budget is a word"),
        pytest.param(lambda m: m.pop("sequence"), id="no sequence"),
        pytest.param(lambda m: m.update(sequence=m["sequence"][::-1]), id="sequence descends"),
        pytest.param(lambda m: m.update(sequence=m["sequence"][:2]), id="sequence too short"),
        pytest.param(lambda m: m.update(epoch=m["epoch"] * np.nan), id="epoch is NaN"),
        pytest.param(
            lambda m: m.update({"frames.eigenvalues.shape": np.full((4, 1), 10**9)}),
            id="shape beyond the data",
        ),
        pytest.param(
            lambda m: m.update({"frames.eigenvalues": np.array(["a"] * 64)}), id="words for numbers"
        ),
        pytest.param(lambda m: m.update({"run.labels": np.array(["a"] * 12)}), id="labels words"),
        pytest.param(
            lambda m: m.update({"run.thumbnails": np.zeros((12, 4, 4, 3, 2), np.uint8)}),
            id="five-dimensional pictures",
        ),
    ],
)
def test_a_whole_archive_with_wrong_content_is_named(saved: Path, change: Change) -> None:
    rewrite(saved, change)
    with pytest.raises(ValueError, match=r"^path='.*run\.npz'"):
        fs.load(saved)


def test_a_file_with_a_pickle_runs_nothing(tmp_path: Path) -> None:
    trap = Trap(tmp_path)
    pickle.loads(pickle.dumps(trap))
    assert trap.sprung.exists()  # the trap works
    trap.sprung.unlink()
    np.savez(tmp_path / "members.npz", meta=np.array([trap], dtype=object))
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(trap))
    for name in ("members.npz", "bare.npz"):
        with pytest.raises(ValueError, match=f"^path='.*{name}'"):
            fs.load(tmp_path / name)
    assert not trap.sprung.exists()


def test_another_archive_and_another_array_file_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("../../evil", "x")
    np.save(tmp_path / "array.npy", np.ones(3))
    for name in ("other.npz", "array.npy"):
        with pytest.raises(ValueError, match=f"^path='.*{name}'"):
            fs.load(tmp_path / name)
    assert not (tmp_path.parents[1] / "evil").exists()


@pytest.mark.parametrize(
    ("path", "error"),
    [("missing.npz", FileNotFoundError), (".", IsADirectoryError), (None, TypeError)],
)
def test_load_names_a_path_that_is_none(
    path: Any, error: type[Exception], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=f"^path={path!r}"):
        fs.load(path)


@pytest.mark.parametrize("write", [Recording.save, Recording.to_html])
@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("missing/run.x", FileNotFoundError),
        ("folder.x", IsADirectoryError),
        ("file.x/run.x", NotADirectoryError),
        ("a" * 300 + ".x", OSError),
        ("nul\0.x", ValueError),
        (".", IsADirectoryError),
        (None, TypeError),
        (3, TypeError),
    ],
)
def test_what_cannot_be_written_is_named_and_leaves_nothing(
    write: Callable[..., Path],
    path: Any,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.x").mkdir()
    (tmp_path / "file.x").write_text("old")
    with pytest.raises(error) as caught:
        write(make_recording(), path)
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"path={path!r}")
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["file.x", "folder.x"]
    assert (tmp_path / "file.x").read_text() == "old"


def test_a_kill_while_writing_leaves_the_old_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = make_recording(1).to_html(tmp_path / "run.html")
    before = page.read_bytes()

    def fail(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(KeyboardInterrupt):
        make_recording(2).to_html(page)
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.html"]
    assert page.read_bytes() == before


# Frames and recordings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epoch": "x"}, "epoch='x'"),
        ({"epoch": float("nan")}, "epoch=nan"),
        ({"epoch": -1}, "epoch=-1"),
        ({"step": 1.5}, "step=1.5"),
        ({"step": -1}, "step=-1"),
        ({"scalars": {"loss": "low"}}, r"scalars\['loss'\]='low'"),
        ({"labels": {"regime": 3}}, r"labels\['regime'\]=3"),
        ({"arrays": {"quality": "none"}}, r"arrays\['quality'\]"),
    ],
)
def test_a_frame_names_what_is_wrong(arguments: dict[str, Any], message: str) -> None:
    whole: dict[str, Any] = {"epoch": 0, "step": 0, "scalars": {}}
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        Frame(**{**whole, **arguments})


@pytest.mark.parametrize("frame", ["x", None, {}, make_recording(1)])
def test_appending_something_else_loses_nothing(frame: Any, tmp_path: Path) -> None:
    recording = make_recording(3)
    with pytest.raises(TypeError, match=r"^frame="):
        recording.append(frame)
    assert len(recording) == 4
    recording.append(make_frame(4))
    assert_same(fs.load(recording.save(tmp_path / "run")), recording)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("config", {"lr": float("nan")}),
        ("config", {"model": object()}),
        ("config", None),
        ("labels", np.zeros((12, 2))),
        ("labels", "none"),
        ("class_names", (1, 2, 3, 4)),
        ("thumbnails", np.zeros((12, 4), np.uint8)),
        ("thumbnails", np.zeros((12, 4, 4), np.float32)),
        ("thumbnails", np.zeros((5, 4, 4), np.uint8)),
        ("held_out_labels", np.zeros((2, 2))),
        ("title", None),
    ],
)
def test_a_run_that_could_not_be_saved_is_refused_at_once(field: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{field}"):
        dataclasses.replace(make_recording().info, **{field: value})


def test_a_recording_needs_a_run() -> None:
    for info in ("x", None):
        with pytest.raises(TypeError, match=r"^info="):
            Recording(info)  # type: ignore[arg-type]
    for budget in ("x", 0, -1.5):
        with pytest.raises((TypeError, ValueError), match=r"^byte_budget="):
            Recording(make_recording().info, byte_budget=budget)  # type: ignore[arg-type]


@pytest.mark.parametrize("epoch", [-9, float("nan"), "last", None])
def test_an_epoch_that_is_not_there_is_named(epoch: Any) -> None:
    with pytest.raises((IndexError, TypeError, ValueError), match=r"^epoch="):
        make_recording().at(epoch)


def test_a_figure_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"^name='spectre'.*spectrum"):
        make_recording().figure("spectre")


def all_nan(num_shown: int = 12) -> Frame:
    return Frame(
        epoch=4,
        step=40,
        scalars={"loss": float("nan"), "low_rank_measure": float("inf")},
        labels={"regime": "UNTRAINED"},
        arrays={
            "eigenvalues": np.full(16, np.nan),
            "quality": np.full(16, np.inf),
            "utilization": np.zeros(0),
            "projections": np.full((num_shown, 3), np.nan),
        },
    )


def test_nan_infinity_and_nothing_are_kept_as_they_are(tmp_path: Path) -> None:
    recording = make_recording(3)
    recording.append(all_nan())
    recording.append(Frame(epoch=5, step=50, scalars={}))
    assert_same(fs.load(recording.save(tmp_path / "run")), recording)
    page = export.page(recording)
    data = page.split('<script type="application/json">')[1].split("</script>")[0]
    json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


# The widget --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        None,
        3,
        [],
        {},
        {"type": "nonsense"},
        {"type": "sync", "run": "run-1", "next": "abc"},
        {"type": "sync", "run": [1], "next": 0},
        {"type": "sync", "run": "<script>", "next": -5},
        {"type": "sync", "run": "run-1", "next": 10**30},
        {"type": "ack", "run": "run-1", "next": []},
        {"type": "command"},
        {"type": "command", "name": ["stop"]},
        {"type": "command", "name": "__init__", "value": {}},
        {"type": "command", "name": "save_page", "value": "/etc/passwd"},
    ],
)
def test_a_message_that_makes_no_sense_is_ignored(message: Any) -> None:
    recording = make_recording()
    viewer = fs.Viewer(recording)
    viewer._handle_custom_msg(message, [])
    assert viewer.recording is recording
    assert not viewer.commands
    assert viewer.state == "finished"


@pytest.mark.parametrize(
    ("arguments", "options", "name"),
    [
        (("run.npz",), {}, "recording"),
        ((make_recording(),), {"theme": "blue"}, "theme"),
        ((make_recording(),), {"captions": "yes"}, "captions"),
        ((make_recording(),), {"colour": "red"}, "colour"),
    ],
)
def test_a_viewer_names_a_wrong_argument(
    arguments: tuple[Any, ...], options: dict[str, Any], name: str
) -> None:
    with pytest.raises(Exception, match=name):
        fs.Viewer(*arguments, **options)


def test_compare_names_what_is_no_recording() -> None:
    with pytest.raises(ValueError, match=r"^recordings: got 1"):
        fs.compare(make_recording())
    with pytest.raises(TypeError, match=r"^recording='run.npz'"):
        fs.compare(make_recording(), "run.npz")  # type: ignore[arg-type]


def test_markup_in_names_travels_as_text(tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>\0\ud800"
    source = make_recording()
    info: RunInfo = dataclasses.replace(source.info, title=evil, class_names=(evil,) * 4)
    recording = Recording(info)
    recording.append(source[0])
    assert fs.load(recording.save(tmp_path / "run")).info.title == evil
    page = recording.to_html(tmp_path / "page").read_text()
    assert "<img" not in page


def test_a_name_that_is_not_there_is_named() -> None:
    with pytest.raises(AttributeError, match="'fswidget' has no attribute 'explore'"):
        fs.explore  # noqa: B018
