"""Where the samples of each named data set come from."""

from __future__ import annotations

import hashlib
import io
import math
import tarfile
import urllib.request
from contextlib import nullcontext, redirect_stderr
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fswidget.recording.atomic import atomic_write
from fswidget.recording.quiet import loud
from fswidget.training import picture_folders
from fswidget.training.registry import DataSource, Settings, Split, source, sources

DIGITS = tuple("0123456789")


@source(
    "digits",
    kind="image",
    shape=(1, 8, 8),
    class_names=DIGITS,
    train_size=1437,
    test_size=360,
)
def digits(config: Settings) -> Split:
    """Handwritten digits of 8×8 pixels, part of scikit-learn.

    E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998 (CC BY 4.0); the same 360 are
    test samples each time.
    """
    # Of our own, since it takes as long as a run to import scikit-learn.
    with np.load(Path(__file__).with_name("digits.npz")) as kept:
        parts = {name: torch.from_numpy(kept[name]) for name in kept}
    labels = parts["train_labels"].long(), parts["test_labels"].long()
    return Split(parts["train"], labels[0], parts["test"], labels[1])


def _scikit_learn(name: str) -> tuple[Any, Any]:
    """Inputs and targets of a data set that is part of scikit-learn."""
    try:
        from sklearn import datasets
    except ModuleNotFoundError:
        needs = 'needs scikit-learn: pip install "fswidget[train]"'
        raise ImportError(f"dataset={name!r} {needs}") from None
    inputs, targets = getattr(datasets, f"load_{name}")(return_X_y=True)
    return inputs, targets


def _torchvision(config: Settings, name: str) -> Split:
    # Only here: importing it takes as long as importing torch, and most runs need none of it.
    from torchvision import datasets

    kind = getattr(datasets, name)
    return _read_files(kind, config.dataset, config.root, config.download)


# Two, so that going back and forth between data sets in a menu reads no file again.
@lru_cache(maxsize=2)
def _read_files(kind: Any, name: str, root: str, download: bool) -> Split:
    parts: list[Tensor] = []
    for train in (True, False):
        try:
            # The bar of torchvision, which knows of no silence; stderr is that of all threads.
            still = download and not loud() and current_thread() is main_thread()
            bar = redirect_stderr(io.StringIO()) if still else nullcontext()
            with bar:
                dataset = kind(Path(root).expanduser(), train=train, download=download)
        except Exception as error:
            # Readers of files fail in many ways: pickle, zlib, struct, assertions.
            raise _unreadable(kind, name, root, download, error) from error
        images = torch.as_tensor(dataset.data)
        images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
        parts += [images.contiguous(), torch.as_tensor(dataset.targets).long()]
    return Split(*parts)


def _unreadable(kind: Any, name: str, root: str, download: bool, error: Exception) -> Exception:
    """What to tell when torchvision cannot read a data set: which file, and what to do."""
    fetch = f"Config(dataset={name!r}, root={root!r}, download=True)"
    if download and isinstance(error, OSError):
        return OSError(f"download=True: fetching {name} into root={root!r} failed: {error}")
    for path, size, md5 in _files(kind, Path(root).expanduser()):
        if not path.is_file():
            return FileNotFoundError(
                f"root={root!r}: {name} is not there (no file {str(path)!r}). Name the folder that "
                f"holds it, or let {fetch} download it"
            )
        whole = size in (None, path.stat().st_size)
        if not whole or (md5 and hashlib.md5(path.read_bytes()).hexdigest() != md5):
            return ValueError(
                f"root={root!r}: the file {str(path)!r} is damaged or only half downloaded. "
                f"Delete it and let {fetch} download it again"
            )
    return ValueError(f"root={root!r}: {name} cannot be read: {error}")


def _files(kind: Any, root: Path) -> list[tuple[Path, int | None, str | None]]:
    """Path, size and MD5, as far as known, of the files that torchvision's data set reads."""
    if hasattr(kind, "train_list"):
        base = root / kind.base_folder
        listed = [*kind.train_list, *kind.test_list, [kind.meta["filename"], kind.meta["md5"]]]
        return [(base / file, None, md5) for file, md5 in listed]
    # torchvision knows the MD5 of MNIST's archives only, not of what comes out of them.
    sizes = {"train-images": 47_040_016, "train-labels": 60_008}
    sizes |= {"t10k-images": 7_840_016, "t10k-labels": 10_008}
    raw = root / kind.__name__ / "raw"
    names = [Path(file).stem for file, _ in kind.resources]
    return [(raw / file, sizes[file.rsplit("-", 2)[0]], None) for file in names]


@source(
    "mnist",
    kind="image",
    shape=(1, 28, 28),
    class_names=DIGITS,
    train_size=60_000,
    test_size=10_000,
    files=True,
)
def mnist(config: Settings) -> Split:
    """MNIST: handwritten digits of 28×28 pixels."""
    return _torchvision(config, "MNIST")


FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


@source(
    "fashion_mnist",
    kind="image",
    shape=(1, 28, 28),
    class_names=FASHION,
    train_size=60_000,
    test_size=10_000,
    files=True,
)
def fashion_mnist(config: Settings) -> Split:
    """Fashion-MNIST: clothes of 28×28 pixels."""
    return _torchvision(config, "FashionMNIST")


CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"


@source(
    "cifar10",
    kind="image",
    shape=(3, 32, 32),
    class_names=[
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ],
    train_size=50_000,
    test_size=10_000,
    files=True,
)
def cifar10(config: Settings) -> Split:
    """CIFAR-10: colour photographs of 32×32 pixels, 10 classes."""
    return _torchvision(config, "CIFAR10")


# In the order of the files' numbers, which is alphabetical.
CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""


@source(
    "cifar100",
    kind="image",
    shape=(3, 32, 32),
    class_names=CIFAR100.split(),
    train_size=50_000,
    test_size=10_000,
    files=True,
)
def cifar100(config: Settings) -> Split:
    """CIFAR-100: colour photographs of 32×32 pixels, 100 classes."""
    root = Path(config.root).expanduser()
    if (root / "cifar100" / "train").is_dir() and not (root / "cifar-100-python").is_dir():
        return picture_folders.read(str(root / "cifar100"), 32, grey=False, held_out=0.2)
    return _torchvision(config, "CIFAR100")


@source("modular", kind="tokens", shape=(4,), class_names=(), train_size=0, test_size=0)
def modular(config: Settings) -> Split:
    """Modular arithmetic: a ∘ b = c modulo p, each number and sign a token."""
    p = config.modulus
    a, b = torch.meshgrid(torch.arange(p), torch.arange(p), indexing="ij")
    a, b = a.reshape(-1), b.reshape(-1)
    if config.operation == "divide":
        # Of c · b = a: every pair with b ≠ 0, written as (c b) / b = c.
        a, b = a[b != 0], b[b != 0]
        a, c = a * b % p, a
    elif config.operation == "multiply":
        c = a * b % p
    else:
        c = (a + b if config.operation == "add" else a - b) % p
    tokens = torch.stack([a, torch.full_like(a, p), b, torch.full_like(a, p + 1)], 1)
    generator = torch.Generator().manual_seed(config.seed)
    order = torch.randperm(len(tokens), generator=generator)
    count = sources["modular"].sizes(config)[0]
    train, test = order[:count], order[count:]
    return Split(tokens[train], c[train], tokens[test], c[test])


@source("diabetes", kind="vector", shape=(10,), class_names=None, train_size=353, test_size=89)
def diabetes(config: Settings) -> Split:
    """Diabetes: progression after a year from 10 measurements, part of scikit-learn (d = 1)."""
    return _table(*_scikit_learn("diabetes"), train_size=353)


@source(
    "california",
    kind="vector",
    shape=(8,),
    class_names=None,
    train_size=16_640,
    test_size=4_000,
    files=True,
)
def california(config: Settings) -> Split:
    """California housing: house values from 8 numbers of a district (d = 1)."""
    return _table(*_housing(config.root, config.download), train_size=16_640)


_HOUSING = "cal_housing.tgz"
_HOUSING_URL = "https://ndownloader.figshare.com/files/5976036"
_HOUSING_SHA256 = "aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681"


def _housing(root: str, download: bool) -> tuple[Any, Any]:
    """From the archive that scikit-learn fetches too. The pickle that it makes of it is not read:
    whoever can write to the folder could have it run anything."""
    path = Path(root).expanduser() / _HOUSING
    fetch = f"Config(dataset='california', root={root!r}, download=True)"
    if not path.is_file():
        if not download:
            raise FileNotFoundError(
                f"root={root!r}: california is not there (no file {str(path)!r}). Name the folder "
                f"that holds it, or let {fetch} download it"
            )
        try:
            with urllib.request.urlopen(_HOUSING_URL, timeout=60) as answer:
                content = answer.read(10_000_000)
        except OSError as error:
            raise OSError(
                f"download=True: fetching california into root={root!r} failed: {error}"
            ) from error
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, content)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != _HOUSING_SHA256:
        raise ValueError(
            f"root={root!r}: the file {str(path)!r} is damaged, half downloaded or another one. "
            f"Delete it and let {fetch} download it again"
        )
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        member = archive.extractfile("CaliforniaHousing/cal_housing.data")
        assert member is not None
        rows = np.loadtxt(io.TextIOWrapper(member), delimiter=",")
    longitude, latitude, age, rooms, bedrooms, people, households, income, value = rows.T
    inputs = [income, age, rooms / households, bedrooms / households, people]
    inputs += [people / households, latitude, longitude]
    return np.stack(inputs, 1), value / 100_000


def _table(inputs: Any, values: Any, *, train_size: int) -> Split:
    x = torch.as_tensor(np.asarray(inputs), dtype=torch.float32)
    y = torch.as_tensor(np.asarray(values), dtype=torch.float32)[:, None]
    # The same test samples for every seed.
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, test = order[:train_size], order[train_size:]
    return Split(x[train], y[train], x[test], y[test])


@source("teacher", kind="vector", shape=(20,), class_names=None, train_size=20_000, test_size=2_000)
def teacher(config: Settings) -> Split:
    """Teacher: d smooth functions of 20 normal numbers, drawn from a small random network."""
    generator = torch.Generator().manual_seed(config.seed)
    normal: dict[str, Any] = {"generator": generator, "dtype": torch.float32}
    inputs = torch.randn(22_000, 20, **normal)
    # Twice as many units as outputs keeps the outputs well apart from being dependent.
    units = max(8, 2 * config.num_targets)
    hidden = torch.tanh(inputs @ torch.randn(20, units, **normal) / math.sqrt(20))
    values = hidden @ torch.randn(units, config.num_targets, **normal)
    return Split(inputs[:20_000], values[:20_000], inputs[20_000:], values[20_000:])


def _folder_source(config: Settings) -> DataSource:
    """The folder that `config` names; what is not there is said when it is read, as for others."""
    try:
        found = picture_folders.listing(config.root, config.held_out)
    except FileNotFoundError:
        return sources["folder"]
    return replace(
        sources["folder"],
        shape=(1 if config.grey else 3, config.pixels, config.pixels),
        class_names=found.class_names,
        train_size=len(found.train),
        test_size=len(found.test),
    )


@source(
    "folder",
    kind="image",
    shape=(3, 32, 32),
    class_names=("first", "second"),
    train_size=10**9,
    test_size=10**9,
    files=True,
    resolve=_folder_source,
)
def folder(config: Settings) -> Split:
    """Pictures of your own, a folder per class; root names the folder."""
    return picture_folders.read(config.root, config.pixels, config.grey, config.held_out)
