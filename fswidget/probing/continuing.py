"""Going on with an earlier recording, from a known untrained network; and checkpoints as a run."""

from __future__ import annotations

import copy
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fswidget.analysis.arrays import as_matrix
from fswidget.probing.inference import Activations
from fswidget.probing.probe import Probe
from fswidget.probing.samples import Array, Inputs
from fswidget.recording.recording import Recording

#: Where checkpoints of other libraries keep the network's state.
_INSIDE = ("state_dict", "model_state_dict", "model")


def go_on(probe: Probe, recording: Recording) -> None:
    """Let a probe append to an earlier recording, aligned to its last frame.

    Raises
    ------
    ValueError
        If it is of another task, network or other samples.
    """
    if not isinstance(recording, Recording):
        raise TypeError(f"recording={type(recording).__name__}: must be a Recording")
    now, then = probe.recording.info, recording.info
    for name in ("task", "num_features", "num_outputs", "layers"):
        mine, theirs = getattr(now, name), getattr(then, name)
        if mine != theirs:
            raise ValueError(f"recording: has {name}={theirs!r}; must be {mine!r}, as here")
    if not np.array_equal(now.labels, then.labels):
        raise ValueError("recording: shows other samples; must be of the same inputs and targets")
    probe.recording = recording
    probe._maker.unknown = True
    if len(recording):
        last = recording[-1]
        probe.last, probe._taken = (last.epoch, last.step), last.step + 1
        points = last.arrays.get("projections")
        if points is not None:
            probe._maker.previous = (None, points.astype(np.float64))


def refer_to(probe: Probe, reference: Any) -> None:
    """Measure drift from a network, its state or its features; from the network now, if None."""
    if reference is None:
        probe._refer()
    elif isinstance(reference, (nn.Module, Mapping, str, os.PathLike)):
        state = reference.state_dict() if isinstance(reference, nn.Module) else reference
        with _borrowed(probe._bare):
            _load(probe._bare, read_state(state), "reference")
            probe._refer()
    else:
        features = as_matrix("reference", reference, probe.num_features)
        count = len(probe._maker.samples)
        if len(features) != count:
            raise ValueError(f"reference: {len(features)} rows; must be {count}, as in inputs")
        outputs = torch.full((1, 1), torch.nan, device="cpu").expand(count, probe.num_outputs)
        targets = probe._maker.samples.targets
        probe._maker.refer_to(Activations(features, outputs, targets))


@contextmanager
def _borrowed(model: nn.Module) -> Iterator[None]:
    """The model's state comes back."""
    state = copy.deepcopy(model.state_dict())
    try:
        yield
    finally:
        model.load_state_dict(state)


def read_state(state: Any) -> Mapping[str, Tensor]:
    """A state dict, as given or from a file, ``.safetensors`` or what ``torch.save`` wrote.

    Files are read with ``weights_only=True``.
    """
    if isinstance(state, (str, os.PathLike)):
        path = Path(state).expanduser()
        try:
            if path.suffix == ".safetensors":
                from safetensors.torch import load_file

                return dict(load_file(path))
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a file may be anything, and so may the errors
            why = str(error).split("\n", 1)[0] or type(error).__name__
            kind = type(error) if isinstance(error, FileNotFoundError) else ValueError
            raise kind(f"path={str(path)!r}: cannot be read as a state dict ({why})") from error
    if not isinstance(state, Mapping):
        raise TypeError(f"states: {type(state).__name__}; must be state dicts or paths")
    for name in _INSIDE:
        if isinstance(state.get(name), Mapping):
            return dict(state[name])
    return state


def _load(model: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{what}: is no state of this network ({error})") from error


def _epoch_of(state: Any, number: int) -> float:
    """The last number in a file's name, or its place in the row."""
    if isinstance(state, (str, os.PathLike)):
        found = re.findall(r"\d+", Path(state).stem)
        if found:
            return float(found[-1])
    return float(number)


def replay(
    model: nn.Module,
    states: Iterable[Mapping[str, Tensor] | str | os.PathLike[str]],
    inputs: Inputs,
    targets: Array,
    *,
    epochs: Sequence[float] | None = None,
    progress: bool = False,
    **options: Any,
) -> Recording:
    """The recording of a training that is over, from its checkpoints.

    Parameters
    ----------
    model : torch.nn.Module
        The network; its own state comes back.
    states : iterable of state dicts or paths
        In the order of training, the untrained network first, which the kernel drift is measured
        from. Files are ``torch.save``'s, read with ``weights_only=True``, or safetensors.
    inputs, targets
        The probe, as `fswidget.watch` takes it.
    epochs : sequence of float, optional
        When each state was; by default the last number in a file's name, else 0, 1, 2, …
    progress : bool
        Show a progress bar.
    **options
        Further arguments of `fswidget.probing.probe.Probe`.

    Raises
    ------
    ValueError
        If epochs do not ascend, or a state is not the network's.

    Examples
    --------
    >>> inputs, targets = torch.randn(60, 4), torch.arange(60) % 3
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> states = [{k: v * scale for k, v in model.state_dict().items()} for scale in (1, 2, 3)]
    >>> fs.replay(model, states, inputs, targets, epochs=[0, 10, 20]).table()["epoch"].tolist()
    [0.0, 10.0, 20.0]
    """
    from tqdm.auto import tqdm

    states = list(states)
    when = [_epoch_of(s, i) for i, s in enumerate(states)] if epochs is None else list(epochs)
    if len(when) != len(states) or not states:
        raise ValueError(f"epochs: {len(when)} for {len(states)} states; must be one for each")
    for earlier, later in itertools.pairwise(when):
        if later <= earlier:
            raise ValueError(f"epochs: {later:g} after {earlier:g}; must ascend")
    probe = None
    with _borrowed(model):
        for epoch, state in tqdm(list(zip(when, states, strict=True)), disable=not progress):
            _load(model, read_state(state), f"states at epoch {epoch:g}")
            if probe is None:
                probe = Probe(model, inputs, targets, **options)
            probe.snapshot(epoch)
    assert probe is not None
    return probe.recording
