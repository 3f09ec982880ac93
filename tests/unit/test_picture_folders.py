"""Pictures of one's own: a folder per class, and errors that name the file."""

import os
import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import fswidget as fs
from fswidget.cli import main
from fswidget.recording import caching
from fswidget.recording.caching import cache_folder
from fswidget.recording.quiet import quiet
from fswidget.training import picture_folders
from fswidget.training.config import Config
from fswidget.training.datasets import load


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FSWIDGET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def draw(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def fill(root: Path, part: str = "train", count: int = 10, suffix: str = "png") -> Path:
    for label, name in enumerate(("cat", "dog", "owl")):
        for index in range(count):
            draw(root / part / name / f"{index}.{suffix}", (40 * label, index, 200))
    return root


def config_of(root: Path, **settings: object) -> Config:
    values = {"dataset": "folder", "root": str(root), "pixels": 8, "train_size": 6, "width": 8}
    return Config(**{**values, **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize("test", ["test", "val"])
def test_classes_are_folders(tmp_path: Path, test: str) -> None:
    fill(fill(tmp_path / "own"), test, count=4)
    config = config_of(tmp_path / "own")
    assert config.source.class_names == ("cat", "dog", "owl")
    images, labels, test_images, test_labels = config.source.read(config)
    assert images.shape == (30, 3, 8, 8)
    assert test_images.shape == (12, 3, 8, 8)
    assert images.dtype == torch.uint8
    assert torch.equal(images[:, 0, 3, 3].long(), 40 * labels)
    assert torch.equal(test_images[:, 0, 0, 0].long(), 40 * test_labels)
    recording = fs.record(config.replace(train_size=30, epochs=1, model="cnn"))
    assert recording.info.class_names == ("cat", "dog", "owl")
    assert recording[-1].scalars["test_accuracy"] <= 1


@pytest.mark.parametrize("part", ["train", "."])
def test_a_share_is_held_out_where_there_is_no_test_folder(tmp_path: Path, part: str) -> None:
    root = fill(tmp_path / "own", part)
    images, labels, held, held_labels = picture_folders.read(str(root), 8, False, 0.2)
    assert torch.bincount(labels).tolist() == [8, 8, 8]
    assert torch.bincount(held_labels).tolist() == [2, 2, 2]
    seen = {(int(x[0, 0, 0]), int(x[1, 0, 0])) for x in torch.cat([images, held])}
    assert len(seen) == 30
    assert config_of(root, held_out=0.5).source.train_size == 15


def test_pictures_of_any_kind_and_shape(tmp_path: Path) -> None:
    for suffix in ("jpg", "bmp", "webp", "tiff"):
        fill(tmp_path / suffix, suffix=suffix, count=3)
        assert picture_folders.read(str(tmp_path / suffix), 8, False, 0.4)[0].shape[1] == 3
    root = fill(tmp_path / "odd", count=2)
    # A wide picture: black, white in the middle, which is what a crop keeps.
    wide = np.zeros((16, 64, 3), np.uint8)
    wide[:, 24:40] = 255
    Image.fromarray(wide).save(root / "train/cat/0.png")
    deep = np.full((8, 8), 40_000, np.uint16)
    Image.fromarray(deep).save(root / "train/dog/0.png")
    # As older Pillows read 16 bits, and netpbm's always.
    Image.fromarray(deep.astype(np.int32)).save(root / "train/dog/1.tiff")
    see_through = Image.new("P", (8, 8), 1)
    see_through.putpalette([0, 0, 0, 200, 200, 200])
    see_through.save(root / "train/owl/2.png", transparency=bytes([0, 128]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grey = picture_folders.read(str(root), 8, True, 0.5)
    pictures = torch.cat([grey.train_inputs, grey.test_inputs])
    assert pictures.shape == (8, 1, 8, 8)
    assert any(float(picture.float().mean()) > 240 for picture in pictures)
    assert sum(bool((picture == 40_000 >> 8).all()) for picture in pictures) == 2


def test_the_cache_is_used_and_follows_the_files(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fill(tmp_path / "own")
    read = picture_folders._picture
    opened: list[Path] = []

    def counted(given: str, path: Path, pixels: int, grey: bool) -> object:
        opened.append(path)
        return read(given, path, pixels, grey)

    monkeypatch.setattr(picture_folders, "_picture", counted)

    def again() -> torch.Tensor:
        picture_folders._read.cache_clear()
        opened.clear()
        return picture_folders.read(str(root), 8, False, 0.2).train_inputs

    first = again()
    assert len(opened) == 30
    assert len(list(cache.iterdir())) == 1
    assert torch.equal(again(), first)
    assert not opened
    # Changed in place: the folder's own time stays.
    draw(root / "train/cat/0.png", (255, 255, 255))
    os.utime(root / "train/cat/0.png", (1, 1))
    again()
    assert len(opened) == 30
    assert len(list(cache.iterdir())) == 1
    next(cache.iterdir()).write_bytes(b"no array")
    again()
    assert len(opened) == 30
    # Two pictures of one size and time that change places.
    first, second = root / "train/cat/1.png", root / "train/dog/1.png"
    for path in (first, second):
        path.write_bytes(path.read_bytes() + bytes(200 - path.stat().st_size))
        os.utime(path, (1, 1))
    before = again()
    first.rename(root / "aside")
    second.rename(first)
    (root / "aside").rename(second)
    assert not torch.equal(again(), before)


def test_links_within_are_followed_and_what_programs_leave_is_not_read(tmp_path: Path) -> None:
    root = fill(tmp_path / "own", count=3)
    draw(root / "pool/more/0.png", (1, 2, 3))
    (root / "pool/back").symlink_to(root / "pool/more")
    (root / "train/cat/pool").symlink_to(root / "pool")
    draw(root / "train/__MACOSX/cat/0.png", (1, 2, 3))
    draw(root / "train/cat/@eaDir/0.png", (1, 2, 3))
    (root / "train/cat/.#notes").symlink_to("somebody@somewhere")
    (root / "train/cat/clip.mpg").write_bytes(b"a film")
    found = picture_folders.listing(str(root), 0.3)
    assert found.class_names == ("cat", "dog", "owl")
    names = sorted(name for name, label, *_ in (*found.train, *found.test) if label == 0)
    own = [f"train/cat/{index}.png" for index in range(3)]
    assert names == [*own, "train/cat/pool/back/0.png"]


def test_a_folder_that_cannot_be_looked_into_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fill(tmp_path / "own", count=3)
    draw(root / "train/cat/sub/0.png", (1, 2, 3))
    scan = os.scandir

    def refusing(path: Any) -> Any:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(ValueError, match=r"^root='.*own': cannot be looked into .*cat/sub"):
        picture_folders.listing(str(root), 0.3)


def test_pictures_are_read_in_silence_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_folders, "_DELAY", 0)
    root = fill(tmp_path / "own", count=3)
    options = ["--dataset=folder", "--pixels=8", "--train-size=6", "--width=8", "--epochs=1"]

    def told(*more: str, pixels: int = 8) -> str:
        assert main(["run", *options, f"--root={root}", f"--pixels={pixels}", *more]) == 0
        return capsys.readouterr().err

    assert "reading pictures" in told()
    assert told("--quiet", pixels=9) == ""
    with quiet():
        picture_folders.read(str(root), 10, False, 0.2)
    config = fs.Config(dataset="folder", root=str(root), train_size=6, width=8, max_steps=1)
    fs.record(config.replace(pixels=11), progress=False)
    fs.record(config.replace(pixels=12), progress=False, store=tmp_path / "run")
    with ThreadPoolExecutor(1) as pool:
        fs.sweep(config.replace(pixels=13), width=[4], executor=pool, progress=False)
    assert capsys.readouterr().err == ""


def test_nothing_is_kept_without_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSWIDGET_CACHE", "~nobody-of-this-name/cache")
    path = cache_folder() / "array.npy"
    caching.cache(path, b"array")
    assert not path.exists()


def unreadable(root: Path) -> None:
    (root / "train/cat/3.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")


def one_class(root: Path) -> None:
    for name in ("dog", "owl"):
        for path in (root / "train" / name).iterdir():
            path.unlink()
        (root / "train" / name).rmdir()


def empty_class(root: Path) -> None:
    (root / "train/ant").mkdir()


def unknown_in_test(root: Path) -> None:
    fill(root, "test", count=2)
    draw(root / "test/bee/0.png", (1, 2, 3))


def only_test(root: Path) -> None:
    (root / "train").rename(root / "test")


def bomb(root: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data)
    (root / "train/cat/3.png").write_bytes(content + chunk(b"IEND", b""))


def leaving(root: Path) -> None:
    draw(root.parent / "secret.png", (1, 2, 3))
    (root / "train/cat/link.png").symlink_to(root.parent / "secret.png")


def leaving_folder(root: Path) -> None:
    draw(root.parent / "other/0.png", (1, 2, 3))
    (root / "train/fox").symlink_to(root.parent / "other")


def leaving_train(root: Path) -> None:
    (root / "train").rename(root.parent / "elsewhere")
    (root / "train").symlink_to(root.parent / "elsewhere")


def dangling(root: Path) -> None:
    (root / "train/cat/link.png").symlink_to(root / "train/cat/none.png")


def circling(root: Path) -> None:
    (root / "train/cat/link.png").symlink_to(root / "train/cat/link.png")


def gone_class(root: Path) -> None:
    (root / "train/fox").symlink_to(root / "unmounted")


def holding_itself(root: Path) -> None:
    (root / "train/fox").symlink_to(root / "train")


def without_white(root: Path) -> None:
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(root / "train/cat/3.tiff")


def pipe(root: Path) -> None:
    os.mkfifo(root / "train/cat/3b.png")


def program(root: Path) -> None:
    # Pillow would hand it to another program.
    (root / "train/cat/3.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (unreadable, r"picture '.*cat/3\.png' cannot be read"),
        (one_class, r"only one class, 'cat' in '.*train'"),
        (empty_class, r"class 'ant' is empty: no picture in '.*train/ant'"),
        (unknown_in_test, r"class 'bee' in '.*test', which '.*train' lacks"),
        (only_test, r"has 'test', but no folder 'train'"),
        (bomb, r"'.*cat/3\.png' cannot be read \(12000 × 12000 pixels; must be at most"),
        (leaving, r"'.*link\.png' is a link that leaves the folder"),
        (leaving_folder, r"'.*fox' is a link that leaves the folder"),
        (leaving_train, r"'.*train' is a link that leaves the folder"),
        (dangling, r"'.*link\.png' is a link that leads nowhere"),
        (circling, r"'.*link\.png' is a link that leads nowhere"),
        (gone_class, r"'.*fox' is a link that leads nowhere"),
        (holding_itself, r"'.*fox' is a link that leads to a folder that it is in itself"),
        (without_white, r"'.*cat/3\.tiff' cannot be read \(floating-point values"),
        (pipe, r"'.*3b\.png' is no regular file"),
        (program, r"'.*cat/3\.png' cannot be read"),
    ],
)
def test_errors_name_the_file(spoil: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    root = fill(tmp_path / "own")
    spoil(root)
    with pytest.raises(ValueError, match=rf"^root='.*own': .*{message}"):
        load(config_of(root))


def test_a_folder_that_is_not_there_is_said_when_the_run_begins(tmp_path: Path) -> None:
    config = config_of(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"root='.*none': no such folder"):
        fs.train(config)


def test_settings_of_folders_are_idle_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pixels=16: applies to dataset='folder' only"):
        Config(pixels=16)
    with pytest.raises(ValueError, match=r"train_size=100: dataset='folder' has 24 training"):
        config_of(fill(tmp_path / "own"), train_size=100)
