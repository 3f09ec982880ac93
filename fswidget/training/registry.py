"""The named networks and data sets: what each is called, reads and needs. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

#: A `fswidget.Config`, which is made of what is registered here and so cannot be imported.
Settings: TypeAlias = Any

Shape = tuple[int, ...]


#: ``build(config, shape, num_outputs)`` returns a ``torch.nn.Module``.
Builder = Callable[[Settings, Shape, int], Any]

#: What samples can be: pictures, vectors, the tokens of modular arithmetic, whole numbers.
KINDS = ("image", "vector", "tokens", "other")


@dataclass(frozen=True)
class Network:
    """A named network.

    Parameters
    ----------
    name : str
    help : str
        One line for the menu.
    build : callable
        ``build(config, shape, num_outputs) -> nn.Module``; `shape` is that of one sample, and the
        last layer is an ``nn.Linear`` from ``config.width`` features.
    kinds : sequence of {"image", "vector", "tokens", "other"}
        Which inputs it reads.
    batchnorm, depth, activation : bool
        Whether it follows these settings.
    min_pixels : int
        Height and width of the smallest picture it reads.
    width_multiple : int
        Of what the width must be a multiple.
    """

    name: str
    help: str
    build: Builder
    kinds: Sequence[str]
    batchnorm: bool = False
    depth: bool = False
    activation: bool = False
    min_pixels: int = 1
    width_multiple: int = 1

    def reads(self, source: DataSource) -> bool:
        """Whether the network can take the samples of a data set."""
        small = source.kind == "image" and min(source.shape[-2:]) < self.min_pixels
        return source.kind in self.kinds and not small

    def __str__(self) -> str:
        return self.name


#: The networks by name, in the order of the menu.
networks: dict[str, Network] = {}


_Entry = TypeVar("_Entry")


def named(known: Mapping[str, _Entry], value: Any) -> _Entry:
    """What a setting names, or is itself."""
    return known[value] if isinstance(value, str) else value


def own_again(values: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that were kept by name, with networks and data sets of one's own from `like`.

    Raises
    ------
    ValueError
        If one is neither there nor has a name here.
    """
    whole = dict(values)
    for name, known in CHOICES.items():
        value, own = whole.get(name), like.get(name)
        if isinstance(own, Network | DataSource) and own.name == value:
            whole[name] = own
        elif isinstance(value, str) and value not in known:
            raise ValueError(
                f"{name}={value!r}: must be one of {', '.join(known)}; one of your own is not "
                f"kept in files or states: pass it again, as {name}="
            )
    return whole


def network(
    name: str,
    *,
    kinds: Sequence[str],
    batchnorm: bool = False,
    depth: bool = False,
    activation: bool = False,
    min_pixels: int = 1,
    width_multiple: int = 1,
) -> Callable[[Builder], Builder]:
    """Add a network under `name`; the first line of the docstring becomes its help.

    The other arguments are those of `Network`.

    Raises
    ------
    ValueError
        If the builder has no docstring.
    """

    def register(build: Builder) -> Builder:
        if not (build.__doc__ or "").strip():
            raise ValueError(f"network {name!r}: its function needs a docstring, shown in the menu")
        line = (build.__doc__ or "").strip().splitlines()[0]
        traits = (batchnorm, depth, activation, min_pixels, width_multiple)
        networks[name] = Network(name, line, build, tuple(kinds), *traits)
        return build

    return register


class Split(NamedTuple):
    """All samples of a data set before any is chosen."""

    train_inputs: Tensor  # uint8 pictures (n, c, h, w), float32 vectors (n, q) or int64 tokens
    train_targets: Tensor  # int64 classes (n,) or float32 values (n, d)
    test_inputs: Tensor
    test_targets: Tensor


Reader = Callable[[Settings], Split]


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
    kind : {"image", "vector", "tokens", "other"}
    shape : tuple of int
        Of one sample.
    class_names : tuple of str or None
        None for a regression. Modular arithmetic names its classes 0 … modulus − 1.
    train_size, test_size : int
        How many samples there are.
    files : bool
        Whether it needs files in ``config.root``.
    resolve : callable, optional
        ``resolve(config) -> DataSource`` where the files decide shape, classes and sizes.
    given : bool
        Whether a configuration was given the samples themselves: floats go in as they are.
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
    resolve: Callable[[Settings], DataSource] | None = None
    given: bool = False

    def __str__(self) -> str:
        return self.name

    def of(self, config: Settings) -> DataSource:
        """The data set as a configuration has it."""
        return self if self.resolve is None else self.resolve(config)

    def sizes(self, config: Settings) -> tuple[int, int]:
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
    resolve: Callable[[Settings], DataSource] | None = None,
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
        sizes = (train_size, test_size, files, resolve)
        sources[name] = DataSource(name, line, read, kind, shape, names, *sizes)
        return read

    return register


#: By setting, the entries that it may name.
CHOICES: Mapping[str, Mapping[str, Any]] = {"model": networks, "dataset": sources}
