"""Pictures of your own: a folder per class, as torchvision's ``ImageFolder`` has them.

``ROOT/train/CLASS/*.png`` and ``ROOT/test/CLASS/*.png`` (or ``val`` where there is no ``test``);
without either, and where ``ROOT`` holds the classes themselves, a share of each class is held out.
What was read is kept as one array in the cache folder, under a key made of the files' names, sizes
and times.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fswidget.recording.caching import cache, cache_folder
from fswidget.training.registry import Split

#: A picture of more pixels is refused before it is decoded: it would fill the memory.
MAX_PIXELS = 50_000_000
#: All pictures together, resized, may take so many bytes.
MAX_BYTES = 8_000_000_000
#: Pillow has another program read these.
_REFUSED = ("EPS",)


@dataclass(frozen=True)
class Listing:
    """The pictures of a folder, not yet read.

    Parameters
    ----------
    root : Path
    class_names : tuple of str
    train, test : tuple of (path below root, class, size in bytes, time in ns)
    """

    root: Path
    class_names: tuple[str, ...]
    train: tuple[tuple[str, int, int, int], ...]
    test: tuple[tuple[str, int, int, int], ...]


def listing(root: str, held_out: float, *, fresh: bool = False) -> Listing:
    """The pictures below `root` and their classes; no picture is opened.

    What was found is remembered while no file comes or goes, but not if `fresh`.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it holds fewer than two classes, a class has no picture, a test class is none of the
        training's, or a link leads out of it; the message names the folder or file.
    """
    base = Path(root).expanduser()
    if not base.is_dir():
        raise FileNotFoundError(
            f"root={root!r}: no such folder; must hold train/CLASS/ with pictures, or CLASS/"
        )
    tests = [base / name for name in ("test", "val") if (base / name).is_dir()]
    train = base / "train"
    if not train.is_dir():
        if tests:
            raise ValueError(f"root={root!r}: has {tests[0].name!r}, but no folder 'train' beside")
        train = base
    for parent in (train, *tests[:1]):
        _check_inside(root, base.resolve(), parent)
    # A folder's time changes with the files in it, so that this is asked again only then.
    known = tuple(entry.stat().st_mtime_ns for entry in sorted(_folders(train, *tests[:1])))
    find = _list.__wrapped__ if fresh else _list
    return find(root, base, train, tests[0] if tests else None, held_out, known)


def _folders(*parents: Path) -> Iterator[Path]:
    for parent in parents:
        yield from (Path(found) for found, _, _ in os.walk(parent))


@lru_cache(maxsize=4)
def _list(
    root: str, base: Path, train: Path, test: Path | None, held_out: float, known: tuple[int, ...]
) -> Listing:
    classes = _classes(root, base, train)
    if len(classes) < 2:
        found = f"only one class, {next(iter(classes))!r}" if classes else "no class"
        raise ValueError(
            f"root={root!r}: {found} in {str(train)!r}; must be a folder per class, two at least"
        )
    names = tuple(classes)
    if test is not None:
        others = _classes(root, base, test)
        for name in others:
            if name not in classes:
                raise ValueError(
                    f"root={root!r}: class {name!r} in {str(test)!r}, which {str(train)!r} lacks"
                )
        parts = [_rows(classes, names), _rows(others, names)]
    else:
        kept, held = _hold_out(classes, held_out)
        parts = [_rows(kept, names), _rows(held, names)]
    if min(map(len, parts)) < 2:
        raise ValueError(
            f"root={root!r}: {len(parts[0])} pictures to train on and {len(parts[1])} to test on "
            f"(held_out={held_out!r}); must be at least 2 each"
        )
    return Listing(base, names, *map(tuple, parts))


_File = tuple[str, int, int]


def _rows(classes: dict[str, list[_File]], names: tuple[str, ...]) -> list[Any]:
    return [
        (path, names.index(name), size, time)
        for name, files in classes.items()
        for path, size, time in files
    ]


def _hold_out(
    classes: dict[str, list[_File]], share: float
) -> tuple[dict[str, list[_File]], dict[str, list[_File]]]:
    """The same share of each class, the same pictures each time."""
    kept, held = {}, {}
    for name, files in classes.items():
        count = min(max(round(share * len(files)), 1), len(files) - 1)
        chosen = set(np.random.default_rng(0).permutation(len(files))[:count].tolist())
        kept[name] = [file for index, file in enumerate(files) if index not in chosen]
        held[name] = [file for index, file in enumerate(files) if index in chosen]
    return kept, held


def _classes(root: str, base: Path, parent: Path) -> dict[str, list[_File]]:
    """Path below `base`, size and time of each picture, by class."""
    inside = base.resolve()
    classes: dict[str, list[_File]] = {}
    for folder in sorted(parent.iterdir()):
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        _check_inside(root, inside, folder)
        files = sorted(_pictures(root, inside, folder))
        if not files:
            raise ValueError(
                f"root={root!r}: class {folder.name!r} is empty: no picture in {str(folder)!r}"
            )
        classes[folder.name] = [
            (str(path.relative_to(base)), status.st_size, status.st_mtime_ns)
            for path, status in ((path, path.stat()) for path in files)
        ]
    return classes


def _check_inside(root: str, inside: Path, path: Path) -> None:
    if path.is_symlink() and not path.resolve().is_relative_to(inside):
        raise ValueError(f"root={root!r}: {str(path)!r} is a link that leaves the folder")


def _pictures(root: str, inside: Path, folder: Path) -> Iterator[Path]:
    suffixes = _suffixes()
    for found, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for name in (*inner, *names):
            _check_inside(root, inside, Path(found) / name)
        for name in names:
            path = Path(found) / name
            if name.startswith(".") or path.suffix.lower() not in suffixes:
                continue
            try:
                regular = stat.S_ISREG(path.stat().st_mode)
            except OSError as error:
                raise _unreadable(root, path, error) from error
            if not regular:
                raise ValueError(f"root={root!r}: {str(path)!r} is no regular file")
            yield path


@lru_cache(maxsize=1)
def _suffixes() -> frozenset[str]:
    """Of the files that Pillow reads."""
    from PIL import Image

    known = Image.registered_extensions()
    return frozenset(s for s, kind in known.items() if kind in Image.OPEN and kind not in _REFUSED)


def _unreadable(root: str, path: Path, error: Exception) -> ValueError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ValueError(f"root={root!r}: the picture {str(path)!r} cannot be read ({reason})")


def read(root: str, pixels: int, grey: bool, held_out: float) -> Split:
    """All pictures below `root`, uint8 of shape (n, 1 or 3, pixels, pixels).

    The shorter side is resized to `pixels`, the longer one cropped about its middle.

    Raises
    ------
    FileNotFoundError, ValueError
        As `listing` does, or if a picture cannot be read or is too large; it is named.
    """
    found = listing(root, held_out, fresh=True)  # a picture may have been changed in place
    key = json.dumps([1, pixels, grey, found.train, found.test])
    return _read(root, found, pixels, grey, hashlib.sha256(key.encode()).hexdigest()[:24])


@lru_cache(maxsize=2)
def _read(root: str, found: Listing, pixels: int, grey: bool, key: str) -> Split:
    entries = (*found.train, *found.test)
    shape = (len(entries), 1 if grey else 3, pixels, pixels)
    size = int(np.prod(shape, dtype=np.int64))
    if size > MAX_BYTES:
        raise ValueError(
            f"root={root!r}: {len(entries)} pictures at pixels={pixels} take {size / 1e9:.1f} GB; "
            f"must be at most {MAX_BYTES / 1e9:g} GB: lower pixels"
        )
    kept = cache_folder() / f"{_name(found.root, pixels, grey)}-{key}.npy"
    array = _cached(kept, shape)
    if array is None:
        array = np.empty(shape, np.uint8)
        for index, (name, *_) in enumerate(_shown(entries)):
            array[index] = _picture(root, found.root / name, pixels, grey)
        _cache(kept, array)
    labels = torch.tensor([label for _, label, *_ in entries])
    images, count = torch.from_numpy(array), len(found.train)
    return Split(images[:count], labels[:count], images[count:], labels[count:])


def _shown(entries: tuple[Any, ...]) -> Any:
    from tqdm.auto import tqdm

    return tqdm(entries, desc="reading pictures", unit="picture", leave=False, delay=2)


def _picture(root: str, path: Path, pixels: int, grey: bool) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    Image.init()
    formats = [name for name in Image.OPEN if name not in _REFUSED]
    try:
        with Image.open(path, formats=formats) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:  # known from the header, before anything is decoded
                raise ValueError(f"{width} × {height} pixels; must be at most {MAX_PIXELS:,}")
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16"):  # 16 bits a pixel, which Pillow would cut off
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            plain = upright.convert("L" if grey else "RGB")
    except MemoryError:
        raise
    except Exception as error:
        # Decoders fail in many ways: OSError, SyntaxError, struct.error, zlib.error.
        raise _unreadable(root, path, error) from error
    if plain.size != (pixels, pixels):
        plain = ImageOps.fit(plain, (pixels, pixels), Image.Resampling.BILINEAR)
    values = np.asarray(plain)
    return values[None] if grey else values.transpose(2, 0, 1)


def _name(root: Path, pixels: int, grey: bool) -> str:
    return hashlib.sha256(f"{root.resolve()}|{pixels}|{grey}".encode()).hexdigest()[:16]


def _cached(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None  # not there, or damaged: read the pictures again
    whole = isinstance(array, np.ndarray) and array.shape == shape and array.dtype == np.uint8
    return array if whole else None


def _cache(path: Path, array: NDArray[np.uint8]) -> None:
    """Keep what was read; what the folder held before goes."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    cache(path, stream.getvalue())
