"""The named data sets: tensors on the device, nested class-balanced subsets, seeded throughout."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torchvision
from torch import Tensor

if TYPE_CHECKING:
    from fswidget.config import Config


class Split(NamedTuple):
    """All samples of a data set before any is chosen."""

    train_inputs: Tensor  # uint8 pictures (n, c, h, w), float32 vectors (n, q) or int64 tokens
    train_targets: Tensor  # int64 classes (n,) or float32 values (n, d)
    test_inputs: Tensor
    test_targets: Tensor


Reader = Callable[["Config"], Split]


@dataclass(frozen=True)
class DataSource:
    """A named data set.

    Parameters
    ----------
    name : str
    help : str
        One line for the menu.
    read : callable
        ``read(config) -> Split``.
    kind : {"image", "vector", "tokens"}
    shape : tuple of int
        Of one sample.
    class_names : tuple of str or None
        None for a regression. Modular arithmetic names its classes 0 … modulus − 1.
    train_size, test_size : int
        How many samples there are.
    files : bool
        Whether it needs files in ``config.root``.
    """

    name: str
    help: str
    read: Reader
    kind: str
    shape: tuple[int, ...]
    class_names: tuple[str, ...] | None
    train_size: int
    test_size: int
    files: bool = False

    def sizes(self, config: Config) -> tuple[int, int]:
        """Number of training samples in use and of test samples there are."""
        if self.kind != "tokens":
            return config.train_size, self.test_size
        pairs = config.modulus**2
        if config.operation == "divide":
            pairs -= config.modulus
        train = round(config.train_fraction * pairs)
        return train, pairs - train


#: The data sets by name, in the order of the menu.
sources: dict[str, DataSource] = {}


def source(
    name: str,
    *,
    kind: str,
    shape: tuple[int, ...],
    class_names: Sequence[str] | None,
    train_size: int,
    test_size: int,
    files: bool = False,
) -> Callable[[Reader], Reader]:
    """Add a data set under `name`; the first line of the docstring becomes its help.

    The other arguments are those of `DataSource`.
    """

    def register(read: Reader) -> Reader:
        if not (read.__doc__ or "").strip():
            raise ValueError(
                f"data set {name!r}: its function needs a docstring, shown in the menu"
            )
        line = (read.__doc__ or "").strip().splitlines()[0]
        names = None if class_names is None else tuple(class_names)
        sizes = (train_size, test_size, files)
        sources[name] = DataSource(name, line, read, kind, shape, names, *sizes)
        return read

    return register


@dataclass(frozen=True)
class Data:
    """The samples of one run, on its device.

    Parameters
    ----------
    inputs, test_inputs : Tensor
        float32 (n, …), standardised, or int64 tokens (n, length).
    targets, test_targets : Tensor
        int64 classes (n,), in training with the label noise, or float32 values (n, d),
        standardised and multiplied by the target scale.
    num_outputs : int
    class_names : tuple of str
        Empty for a regression.
    probe_size : int
        The first so many training samples are the probe.
    images : ndarray of uint8, shape (probe_size, h, w) or (probe_size, h, w, 3), or None
        Pictures of the probe.
    """

    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor
    num_outputs: int
    class_names: tuple[str, ...]
    probe_size: int
    images: np.ndarray[Any, np.dtype[np.uint8]] | None


def load(config: Config, device: torch.device | str = "cpu") -> Data:
    """The data of a configuration.

    Raises
    ------
    FileNotFoundError
        If the files of the data set are not in ``config.root``.
    ValueError
        If one of them is damaged.
    """
    source = config.source
    inputs, targets, test_inputs, test_targets = source.read(config)
    train_size, available = source.sizes(config)
    test_size = min(config.test_size or 1000, available)
    generator = torch.Generator().manual_seed(config.seed)
    chosen = balanced_order(targets, generator)[:train_size]
    held_out = balanced_order(test_targets, generator)[:test_size]
    inputs, targets = inputs[chosen], targets[chosen]
    test_inputs, test_targets = test_inputs[held_out], test_targets[held_out]
    targets = shuffle_labels(targets, config.label_noise, generator)

    probe_size = config.probe_size or min(max(4 * config.width, 1000), 4000, train_size)
    images = None
    if source.kind == "image":
        if config.label_pixels:
            classes = len(source.class_names or ())
            # At test time the row misleads: it holds a class drawn at random.
            random = torch.randint(classes, (test_size,), generator=generator)
            inputs = write_labels(inputs, targets, classes)
            test_inputs = write_labels(test_inputs, random, classes)
        images = _pictures(inputs[:probe_size])
        inputs, test_inputs = _standardise(inputs / 255, test_inputs / 255, (0, 2, 3))
    elif source.kind == "vector":
        inputs, test_inputs = _standardise(inputs, test_inputs, (0,))

    names = source.class_names
    if source.kind == "tokens":
        names = tuple(str(value) for value in range(config.modulus))
    if names is None:
        targets, test_targets = _standardise(targets, test_targets, (0,))
        targets, test_targets = targets * config.target_scale, test_targets * config.target_scale
    outputs = targets.shape[1] if names is None else len(names)
    return Data(
        inputs.to(device),
        targets.to(device),
        test_inputs.to(device),
        test_targets.to(device),
        outputs,
        names or (),
        probe_size,
        images,
    )


def balanced_order(targets: Tensor, generator: torch.Generator) -> Tensor:
    """An order of the samples, shape (n,), any beginning of which is as class-balanced as can be.

    Subsets that are beginnings of it are nested. Without classes the order is random.
    """
    order = torch.randperm(len(targets), generator=generator)
    if targets.is_floating_point():
        return order
    shuffled = targets[order]
    # The rank of each sample within its class; sorting by it deals one of each class in turn.
    by_class = torch.argsort(shuffled, stable=True)
    counts = torch.bincount(shuffled)
    starts = torch.cumsum(counts, 0) - counts
    rank = torch.empty_like(order)
    rank[by_class] = torch.arange(len(order)) - starts[shuffled[by_class]]
    return order[torch.argsort(rank, stable=True)]


def shuffle_labels(targets: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Labels of which a random `share` is permuted, so that the class counts stay."""
    count = round(share * len(targets))
    if count == 0:
        return targets
    where = torch.randperm(len(targets), generator=generator)[:count]
    noisy = targets.clone()
    noisy[where] = targets[where[torch.randperm(count, generator=generator)]]
    return noisy


def write_labels(images: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Pictures (uint8, n × c × h × w) whose first row is the one-hot label, in white on black.

    The row is divided into as many equal parts as there are classes.
    """
    part = images.shape[-1] // num_classes
    columns = labels[:, None] * part + torch.arange(part)
    written = images.clone()
    written[:, :, 0] = 0
    written[torch.arange(len(labels))[:, None], :, 0, columns] = 255
    return written


def augment(images: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """Random crop with zero padding and random horizontal flip, each sample on its own.

    The distribution of torchvision's ``RandomCrop(size, padding)`` and ``RandomHorizontalFlip``,
    which as transforms would treat a whole batch alike.

    Parameters
    ----------
    images : Tensor, shape (n, c, h, w)
    generator : torch.Generator
        On the CPU, so that every device draws the same.
    """
    n, _, height, width = images.shape
    shifts = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=generator)
    flip = torch.rand(n, 1, generator=generator) < 0.5
    rows = shifts[0] + torch.arange(height)
    columns = torch.arange(width).expand(n, width)
    columns = shifts[1] + torch.where(flip, columns.flip(1), columns)
    rows, columns = rows.to(images.device), columns.to(images.device)
    padded = torch.nn.functional.pad(images, [padding] * 4)
    sample = torch.arange(n, device=images.device)[:, None, None]
    # Indices around a full slice put the indexed axes first: (n, h, w, c).
    return padded[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def _pictures(images: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    array: np.ndarray[Any, np.dtype[np.uint8]] = images.permute(0, 2, 3, 1).contiguous().numpy()
    return array[..., 0] if array.shape[-1] == 1 else array


def _standardise(train: Tensor, test: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    mean = train.mean(axes, keepdim=True)
    std = train.std(axes, keepdim=True, correction=0)
    std = torch.where(std > 0, std, torch.ones_like(std))
    return (train - mean) / std, (test - mean) / std


DIGITS = tuple("0123456789")


@source(
    "digits",
    kind="image",
    shape=(1, 8, 8),
    class_names=DIGITS,
    train_size=1437,
    test_size=360,
)
def digits(config: Config) -> Split:
    """Handwritten digits of 8×8 pixels, part of scikit-learn."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    # Grey values go up to 16.
    images = np.round(images.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    parts = train_test_split(images, labels, test_size=360, stratify=labels, random_state=0)
    train, test, train_labels, test_labels = map(torch.from_numpy, parts)
    return Split(train, train_labels.long(), test, test_labels.long())


def _torchvision(config: Config, kind: Any) -> Split:
    return _read_files(kind, config.dataset, config.root, config.download)


# Two, so that going back and forth between data sets in a menu reads no file again.
@lru_cache(maxsize=2)
def _read_files(kind: Any, name: str, root: str, download: bool) -> Split:
    parts: list[Tensor] = []
    for train in (True, False):
        try:
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
def mnist(config: Config) -> Split:
    """MNIST: handwritten digits of 28×28 pixels."""
    return _torchvision(config, torchvision.datasets.MNIST)


@source(
    "fashion_mnist",
    kind="image",
    shape=(1, 28, 28),
    class_names=torchvision.datasets.FashionMNIST.classes,
    train_size=60_000,
    test_size=10_000,
    files=True,
)
def fashion_mnist(config: Config) -> Split:
    """Fashion-MNIST: clothes of 28×28 pixels."""
    return _torchvision(config, torchvision.datasets.FashionMNIST)


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
def cifar10(config: Config) -> Split:
    """CIFAR-10: colour photographs of 32×32 pixels, 10 classes."""
    return _torchvision(config, torchvision.datasets.CIFAR10)


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
def cifar100(config: Config) -> Split:
    """CIFAR-100: colour photographs of 32×32 pixels, 100 classes."""
    return _torchvision(config, torchvision.datasets.CIFAR100)


@source("modular", kind="tokens", shape=(4,), class_names=(), train_size=0, test_size=0)
def modular(config: Config) -> Split:
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
def diabetes(config: Config) -> Split:
    """Diabetes: progression after a year from 10 measurements, part of scikit-learn (d = 1)."""
    from sklearn.datasets import load_diabetes

    return _table(*load_diabetes(return_X_y=True), train_size=353)


@source(
    "california",
    kind="vector",
    shape=(8,),
    class_names=None,
    train_size=16_640,
    test_size=4_000,
    files=True,
)
def california(config: Config) -> Split:
    """California housing: house values from 8 numbers of a district (d = 1)."""
    from sklearn.datasets import fetch_california_housing

    root = str(Path(config.root).expanduser())
    try:
        table = fetch_california_housing(
            data_home=root, download_if_missing=config.download, return_X_y=True
        )
    except OSError as error:
        raise FileNotFoundError(
            f"root={config.root!r}: california is not there ({error}). Name the folder that holds "
            f"it, or let Config(dataset='california', root={config.root!r}, download=True) "
            "download it"
        ) from error
    return _table(*table, train_size=16_640)


def _table(inputs: Any, values: Any, *, train_size: int) -> Split:
    x = torch.as_tensor(np.asarray(inputs), dtype=torch.float32)
    y = torch.as_tensor(np.asarray(values), dtype=torch.float32)[:, None]
    # The same test samples for every seed.
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, test = order[:train_size], order[train_size:]
    return Split(x[train], y[train], x[test], y[test])


@source("teacher", kind="vector", shape=(20,), class_names=None, train_size=20_000, test_size=2_000)
def teacher(config: Config) -> Split:
    """Teacher: d smooth functions of 20 normal numbers, drawn from a small random network."""
    generator = torch.Generator().manual_seed(config.seed)
    inputs = torch.randn(22_000, 20, generator=generator)
    # Twice as many units as outputs keeps the outputs well apart from being dependent.
    units = max(8, 2 * config.num_targets)
    hidden = torch.tanh(inputs @ torch.randn(20, units, generator=generator) / math.sqrt(20))
    values = hidden @ torch.randn(units, config.num_targets, generator=generator)
    return Split(inputs[:20_000], values[:20_000], inputs[20_000:], values[20_000:])
