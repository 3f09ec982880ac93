"""Pictures of your own: a folder per class, as torchvision's ``ImageFolder`` has them.

``ROOT/train/CLASS/*.png`` and ``ROOT/test/CLASS/*.png`` (or ``val`` where there is no ``test``);
without either, and where ``ROOT`` holds the classes themselves, a share of each class is held out.
What was read is kept as one array in the cache folder, under a key made of the files' names, sizes
and times. Hidden files are left out, and what programs leave beside pictures; transparency is
dropped.
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
from fswidget.recording.quiet import loud
from fswidget.training.registry import Split

#: A picture of more pixels is refused before it is decoded: it would fill the memory.
MAX_PIXELS = 50_000_000
#: All pictures together, resized, may take so many bytes.
MAX_BYTES = 8_000_000_000
#: Pillow has another program read these, or knows of them no more than their names.
_REFUSED = ("EPS", "BUFR", "GRIB", "HDF5", "MPEG")
#: Seconds of reading until a bar is shown.
_DELAY = 2
#: Folders that macOS's archives and Synology's shelves leave beside pictures.
_LEFT_BEHIND = frozenset({"__MACOSX", "@eaDir"})


@dataclass(frozen=True)
class Listing:
    """The pictures of a folder, not yet read.

    Parameters
    ----------
    root : Path
    class_names : tuple of str
    train, test : tuple of (path below root, class, size in bytes, times in ns)
        When the content changed last, and when anything about the file did, such as its name.
    """

    root: Path
    class_names: tuple[str, ...]
    train: tuple[tuple[str, int, int, int, int], ...]
    test: tuple[tuple[str, int, int, int, int], ...]


def listing(root: str, held_out: float, *, fresh: bool = False) -> Listing:
    """The pictures below `root` and their classes; no picture is opened.

    What was found is remembered while no file comes or goes, but not if `fresh`.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it holds fewer than two classes, a class has no picture, a test class is none of the
        training's, a link leads out of it, nowhere or to where it is, or a folder in it cannot be
        looked into; the message names the folder or file.
    """
    try:
        return _found(root, held_out, fresh)
    except OSError as error:
        if str(error).startswith("root="):
            raise
        raise ValueError(f"root={root!r}: cannot be looked into ({error})") from error


def _found(root: str, held_out: float, fresh: bool) -> Listing:
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
    inside, parents = base.resolve(), (train, *tests[:1])
    for parent in parents:
        _check_link(root, inside, parent)
    # A folder's time changes with the files in it, so that this is asked again only then.
    folders = sorted(folder for parent in parents for folder, _ in _walk(root, inside, parent))
    known = tuple(folder.stat().st_mtime_ns for folder in folders)
    find = _list.__wrapped__ if fresh else _list
    return find(root, base, train, tests[0] if tests else None, held_out, known)


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


_File = tuple[str, int, int, int]


def _rows(classes: dict[str, list[_File]], names: tuple[str, ...]) -> list[Any]:
    return [
        (path, names.index(name), *rest) for name, files in classes.items() for path, *rest in files
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
    """Path below `base`, size and times of each picture, by class."""
    inside = base.resolve()
    classes: dict[str, list[_File]] = {}
    for folder in sorted(parent.iterdir()):
        if _passed_over(folder.name):
            continue
        _check_link(root, inside, folder)
        if not folder.is_dir():
            continue
        files = sorted(_pictures(root, inside, folder))
        if not files:
            raise ValueError(
                f"root={root!r}: class {folder.name!r} is empty: no picture in {str(folder)!r}"
            )
        classes[folder.name] = [
            (str(path.relative_to(base)), status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            for path, status in files
        ]
    return classes


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name in _LEFT_BEHIND


def _check_link(root: str, inside: Path, path: Path) -> None:
    """Raise where `path` is a link that is not followed."""
    if not path.is_symlink():
        return
    link = f"root={root!r}: {str(path)!r} is a link that"
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # by the version of Python, where it leads in a circle
        raise ValueError(f"{link} leads nowhere") from error
    if not target.is_relative_to(inside):
        raise ValueError(f"{link} leaves the folder")
    if path.parent.resolve().is_relative_to(target):
        raise ValueError(f"{link} leads to a folder that it is in itself")


def _walk(root: str, inside: Path, top: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders from `top` on and the names of their files; links are followed, but none twice."""
    seen: set[str] = set()

    def stop(error: OSError) -> None:
        raise error

    for found, inner, names in os.walk(top, followlinks=True, onerror=stop):
        real = os.path.realpath(found)
        inner[:] = [] if real in seen else sorted(n for n in inner if not _passed_over(n))
        if real in seen:
            continue
        seen.add(real)
        files = [name for name in names if not _passed_over(name)]
        for name in (*inner, *files):
            _check_link(root, inside, Path(found) / name)
        yield Path(found), files


def _pictures(root: str, inside: Path, folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    suffixes = _suffixes()
    for found, names in _walk(root, inside, folder):
        for path in (found / name for name in names):
            if path.suffix.lower() not in suffixes:
                continue
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise ValueError(f"root={root!r}: {str(path)!r} is no regular file")
            yield path, status


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

    words = {"desc": "reading pictures", "unit": "picture"}
    return tqdm(entries, **words, leave=False, delay=_DELAY, disable=not loud())


def _picture(root: str, path: Path, pixels: int, grey: bool) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    Image.init()
    formats = [name for name in Image.OPEN if name not in _REFUSED]
    try:
        with Image.open(path, formats=formats) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:  # known from the header, before anything is decoded
                raise ValueError(f"{width} × {height} pixels; must be at most {MAX_PIXELS:,}")
            upright = _of_bytes(ImageOps.exif_transpose(image))
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


def _of_bytes(image: Any) -> Any:
    """A picture that Pillow can make grey or colour of without cutting values off, or warnings."""
    from PIL import Image

    if image.mode == "F":
        raise ValueError("floating-point values, of which nobody can tell what is white")
    if image.mode.startswith("I"):  # of 16 bits, whether Pillow says so or not
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65_535:
            raise ValueError(f"values from {values.min()} to {values.max()}; must be 0 to 65,535")
        return Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA")
    return image


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
    cache(path, stream.getbuffer())
