"""Arrays of any library as the tensors that the measures and the probe work on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def default_device(device: torch.device | str | None) -> torch.device:
    """`device` where it computes in float64, else the CPU (MPS has no float64)."""
    chosen = torch.device("cpu" if device is None else device)
    return torch.device("cpu") if chosen.type == "mps" else chosen


def to_tensor(name: str, value: Any) -> Tensor:
    """An array of any library, or nested sequence, as a detached tensor; it may share memory.

    Parameters
    ----------
    name : str
        What errors call it.
    value : tensor, array, data frame or nested sequence

    Raises
    ------
    TypeError
        If it holds anything but numbers.
    ValueError
        If it has no dimension, is masked (what is hidden would count) or is sparse.
    """
    _refuse(name, value)
    try:
        if isinstance(value, (list, tuple)) and any(isinstance(item, Tensor) for item in value):
            tensor = torch.stack([_item(item) for item in value])
        else:
            tensor = value.detach() if isinstance(value, Tensor) else _from_numpy(np.asarray(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name}={_brief(value)}: must be an array of numbers ({error})") from error
    if tensor.ndim == 0:
        raise ValueError(
            f"{name}={_brief(value)}: must be an array whose first dimension is the samples"
        )
    return tensor


def _refuse(name: str, value: Any) -> None:
    """Raise for arrays that hold fewer values than their shape says."""
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{name}: a masked array; must be whole, as name[~name.mask] or filled()")
    if type(value).__name__ == "MaskedTensor" or getattr(value, "is_nested", False):
        raise ValueError(f"{name}: a {_brief(value)}, masked or nested; must be whole and dense")
    # scipy's have no common class to import for this.
    layout = value.layout if isinstance(value, Tensor) else getattr(value, "format", None)
    sparse = layout is not torch.strided if isinstance(value, Tensor) else isinstance(layout, str)
    if sparse:
        raise ValueError(f"{name}: sparse ({layout}); must be dense, as to_dense() makes it")


def as_tensor(name: str, value: Any) -> Tensor:
    """The same where float64 can be computed: integers as int64, floats as they are.

    Raises
    ------
    TypeError, ValueError
        As `to_tensor`; for complex numbers.
    """
    tensor = to_tensor(name, value)
    if tensor.is_complex():
        raise ValueError(f"{name}: dtype {tensor.dtype}; must be real")
    tensor = tensor.to(default_device(tensor.device))
    return tensor if tensor.is_floating_point() else tensor.long()


def check_rows(**parts: Tensor | Array) -> None:
    """Raise ValueError unless all have the same number of rows."""
    rows = {name: len(part) for name, part in parts.items()}
    if len(set(rows.values())) != 1:
        raise ValueError(f"batch: all arguments must have as many rows as another, got {rows}")


def as_matrix(name: str, value: Any, width: int | str) -> Tensor:
    """The same of shape (n, width), with finite values; a word for `width` allows any.

    Raises
    ------
    TypeError, ValueError
        As `as_tensor`; on another shape; for a value that is not finite, with its place.
    """
    tensor = as_tensor(name, value)
    if tensor.ndim == 1 and width == 1:
        tensor = tensor[:, None]
    known = isinstance(width, int)
    if tensor.ndim != 2 or not tensor.shape[1] or (known and tensor.shape[1] != width):
        raise ValueError(f"{name}: shape {tuple(tensor.shape)}; must be (n, {width})")
    # The sum is far cheaper to test; where it overflows, every value is looked at.
    if not bool(torch.isfinite(tensor.sum(dtype=torch.float64))) and not bool(
        (finite := torch.isfinite(tensor)).all()
    ):
        row, column = torch.nonzero(~finite)[0].tolist()
        raise ValueError(
            f"{name}[{row}, {column}]={float(tensor[row, column])}: must be finite "
            f"({int((~finite).sum())} of {tensor.numel()} values are not)"
        )
    return tensor


def _from_numpy(array: NDArray[Any]) -> Tensor:
    if array.dtype == object:  # as of a data frame: its items tell
        array = np.asarray(array.tolist())
    if array.dtype.kind not in "biufc":
        hint = (
            "; np.unique(…, return_inverse=True) makes labels" if array.dtype.kind in "US" else ""
        )
        raise TypeError(f"dtype {array.dtype}{hint}")
    # Torch knows neither long doubles, foreign byte orders nor negative strides.
    dtype = array.dtype.newbyteorder("=")
    if dtype.kind == "u" and dtype.itemsize > 1:
        dtype = np.dtype(np.int64)
    elif dtype.kind == "f" and dtype.itemsize > 8:
        dtype = np.dtype(np.float64)
    return torch.from_numpy(np.require(array, dtype, ["C", "W"]))


def _item(item: Any) -> Tensor:
    return item.detach() if isinstance(item, Tensor) else torch.as_tensor(item, device="cpu")


def _brief(value: Any) -> str:
    return repr(value) if value is None or np.isscalar(value) else type(value).__name__


Array = NDArray[np.float64]


def to_numpy(tensor: Tensor) -> Array:
    return tensor.cpu().numpy()


def to_arrays(tensors: Sequence[Tensor]) -> list[Array]:
    """Several of one type, read at once: a GPU waits for each time."""
    flat = to_numpy(torch.cat([tensor.flatten() for tensor in tensors]))
    ends = np.cumsum([tensor.numel() for tensor in tensors])[:-1]
    parts = zip(np.split(flat, ends), tensors, strict=True)
    return [part.reshape(tensor.shape) for part, tensor in parts]


def zeros(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Of float64; see `empty`."""
    if device.type == "cpu":
        return torch.from_numpy(np.zeros(shape))
    return torch.zeros(shape, dtype=torch.float64, device=device)


def empty(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Of float64, to be filled. On a CPU numpy's, which asks for huge pages: in torch's small ones
    it takes long to touch megabytes for the first time."""
    if device.type == "cpu":
        return torch.from_numpy(np.empty(shape))
    return torch.empty(shape, dtype=torch.float64, device=device)
