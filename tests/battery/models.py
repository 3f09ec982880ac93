"""Networks of random parts: what is measured is what they return, or they are refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import fswidget as fs

_SAMPLES, _INPUTS = 96, 6


class _Spy(nn.Module):
    """Keeps what passes, one row per sample: the features, as a network sees them itself."""

    seen: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        type(self).seen = x.detach().clone()
        return x


class _Conv(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.reshape(-1, 1, 2, 3)).relu().mean((2, 3))


class _Sequence(nn.Module):
    """Six steps of one number: the last state of a recurrent or attending network."""

    def __init__(self, width: int, kind: int) -> None:
        super().__init__()
        self.kind = kind
        self.lift = nn.Linear(1, width)
        makers = [
            lambda: nn.GRU(width, width, batch_first=True),
            lambda: nn.LSTM(width, width, batch_first=True),
            lambda: nn.TransformerEncoderLayer(width, 1, width, batch_first=True),
        ]
        self.inner = makers[kind]()

    def forward(self, x: Tensor) -> Tensor:
        out = self.inner(self.lift(x[:, :, None]))
        out = out if isinstance(out, Tensor) else out[0]
        return out[:, -1]


class _LowRank(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.base, self.down = nn.Linear(inside, outside), nn.Linear(inside, 2, bias=False)
        self.up = nn.Linear(2, outside, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))


def _body(random: np.random.Generator, width: int) -> nn.Module:
    match random.integers(7):
        case 0:
            return nn.Sequential(nn.Linear(_INPUTS, width), nn.ReLU(inplace=True))
        case 1:
            return nn.Sequential(nn.Linear(_INPUTS, width), nn.BatchNorm1d(width), nn.GELU())
        case 2:
            return nn.Sequential(
                nn.Linear(_INPUTS, 9), nn.Tanh(), nn.Dropout(0.4), nn.Linear(9, width), nn.SiLU()
            )
        case 3:
            return _Conv(width)
        case 4:
            norm = nn.utils.parametrizations.spectral_norm(nn.Linear(_INPUTS, width))
            return nn.Sequential(norm, nn.LayerNorm(width), nn.ReLU6())
        case _:
            return _Sequence(width, int(random.integers(3)))


def _head(random: np.random.Generator, width: int, outputs: int) -> nn.Module:
    match random.integers(6):
        case 0:
            return nn.Linear(width, outputs, bias=False)
        case 1:
            return nn.utils.parametrizations.weight_norm(nn.Linear(width, outputs))
        case 2:
            return _LowRank(width, outputs)
        case 3:
            pixels = nn.Unflatten(1, (width, 1, 1))
            return nn.Sequential(pixels, nn.Conv2d(width, outputs, 1), nn.Flatten())
        case _:
            return nn.Linear(width, outputs)


Step = Callable[[Tensor, Tensor], Tensor]


#: Affine, alike for every sample: followed.
def _affine(random: np.random.Generator, outputs: int) -> tuple[str, Step]:
    scale, shift = float(random.uniform(0.2, 50)), float(random.normal() * 10)
    scales = torch.from_numpy(random.uniform(-3, 3, outputs))
    order = torch.from_numpy(random.permutation(outputs))
    steps: list[tuple[str, Step]] = [
        ("scale", lambda z, x: z * scale),
        ("minus", lambda z, x: -z),
        ("shift", lambda z, x: z + shift),
        ("scales", lambda z, x: z * scales.to(z)),
        ("prior", lambda z, x: z - scales.to(z)),
        ("columns", lambda z, x: z[:, order]),
        ("softmax", lambda z, x: z.log_softmax(1)),
        ("in place", lambda z, x: z.mul_(2).add_(1)),
        ("chunks", lambda z, x: torch.cat(z.split(7))),
        ("turned", lambda z, x: z.flip(0).flip(0)),
        ("float", lambda z, x: z.float()),
    ]
    return steps[random.integers(len(steps))]


#: Bent, or different by sample: refused, with a way out.
def _bending(random: np.random.Generator, outputs: int) -> tuple[str, Step]:
    steps: list[tuple[str, Step]] = [
        ("ReLU", lambda z, x: z.relu()),
        ("softmax", lambda z, x: z.softmax(1)),
        ("skip", lambda z, x: z + x[:, :1]),
        ("gate", lambda z, x: z * x[:, :1].sigmoid()),
        ("mask", lambda z, x: z.masked_fill(x[:, :1] > 0.5, -5)),
        ("squash", lambda z, x: z.tanh()),
        ("norm", lambda z, x: nn.functional.normalize(z)),
        (
            "late skip",
            lambda z, x: z + (torch.arange(len(x), device=x.device) > 60).to(z)[:, None] * x[:, :1],
        ),
        ("neighbour", lambda z, x: z + z.roll(1, 0)),
    ]
    return steps[random.integers(len(steps))]


_WRAPS: list[tuple[str, Callable[[Tensor], Any]]] = [
    ("tensor", lambda z: z),
    ("tensor", lambda z: z),
    ("loss first", lambda z: (z.float().mean(), z)),
    ("dict", lambda z: {"loss": z.float().mean(), "logits": z, "hidden": z.detach() * 2}),
    ("object", lambda z: SimpleNamespace(logits=z)),
]


class Net(nn.Module):
    """Body, head, and steps after it."""

    def __init__(self, random: np.random.Generator, width: int, outputs: int) -> None:
        super().__init__()
        self.body, self.spy = _body(random, width), _Spy()
        self.head = _head(random, width, outputs)
        self.sorts = bool(random.random() < 0.2)
        self.unused = nn.Linear(3, 2)
        self.steps: list[Step] = []
        self.wrap: Callable[[Tensor], Any] = lambda z: z

    def made(self, x: Tensor) -> Tensor:
        order = x[:, 0].argsort() if self.sorts else torch.arange(len(x), device=x.device)
        back = order.argsort()
        h = self.body(x[order])
        self.spy(h[back])
        z = self.head(h)[back]
        for step in self.steps:
            z = step(z, x)
        return z

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.made(x))


def _around(random: np.random.Generator) -> ExitStack:
    """A session in some state."""
    stack = ExitStack()
    match random.integers(8):
        case 0:
            stack.enter_context(torch.no_grad())
        case 1:
            stack.enter_context(torch.inference_mode())
        case 2:
            stack.enter_context(torch.autocast("cpu", torch.bfloat16))
        case 3:
            before = torch.get_default_dtype()
            torch.set_default_dtype(torch.float64)
            stack.callback(torch.set_default_dtype, before)
        case 4:
            stack.enter_context(torch.device("meta"))
        case _:
            pass
    return stack


def _session() -> tuple[Any, ...]:
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.get_num_threads(),
    )


def _everything(model: nn.Module) -> list[Any]:
    state = [(name, value.clone()) for name, value in model.state_dict().items()]
    modes = [(module.training, len(module._forward_hooks)) for module in model.modules()]
    return [state, modes]


def _same(a: list[Any], b: list[Any]) -> bool:
    values = all(n == m and torch.equal(v, w) for (n, v), (m, w) in zip(a[0], b[0], strict=True))
    return values and a[1] == b[1]


def trial(random: np.random.Generator, folder: Path) -> str:
    """One network, watched."""
    torch.manual_seed(int(random.integers(2**31)))
    outputs, width = int(random.integers(2, 7)), int(random.integers(2, 24))
    labels = torch.arange(_SAMPLES) % outputs
    inputs = torch.randn(_SAMPLES, _INPUTS) + 2 * torch.randn(outputs, _INPUTS)[labels]
    model = Net(random, width, outputs)
    names = []
    for _ in range(random.integers(3)):
        name, step = _affine(random, outputs)
        names.append(name)
        model.steps.append(step)
    # A normalised row that is scaled by column is another function of each sample.
    bent = "softmax" in names and "scales" in names[names.index("softmax") :]
    if random.random() < 0.3:
        bent = True
        name, step = _bending(random, outputs)
        names.append(name)
        model.steps.append(step)
    kind = random.choice([torch.float32, torch.float32, torch.float64, torch.bfloat16])
    model.to(kind).train(bool(random.random() < 0.5))
    with torch.no_grad():  # as somebody may have left it
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.normal_()
    what, model.wrap = _WRAPS[random.integers(len(_WRAPS))]
    tolerance = 0.1 if kind == torch.bfloat16 else 1e-3
    word = f"{'refused' if bent else 'measured'}"
    state, draws = _everything(model), torch.random.get_rng_state()
    with _around(random):
        session = _session()
        try:
            frame = _watched(model, inputs, labels, {}).snapshot(epoch=0)
        except ValueError as error:
            assert bent or _too_coarse(kind, str(error)), f"{names}, {what}: {error}"
            assert "features=" in str(error), str(error)
            frame = None
        assert _session() == session, "the session was changed"
    assert torch.equal(torch.random.get_rng_state(), draws), "random numbers were used up"
    assert _same(_everything(model), state), "the network was changed"
    if frame is None:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            given = {"features": lambda x: (model.made(x), model.spy.seen)[1]}
            frame = _watched(model, inputs, labels, given).snapshot()
        _check(model, inputs, labels, frame, tolerance, f"{names}, {what}, features given")
        return word
    _check(model, inputs, labels, frame, tolerance, f"{names}, {what}, {kind}")
    return word if not bent else "bent, yet affine here"


def _too_coarse(kind: torch.dtype, said: str) -> bool:
    """Whether the numbers are so coarse that no check can tell."""
    return kind == torch.bfloat16 and "features=" in said


def _watched(model: nn.Module, inputs: Tensor, labels: Tensor, options: Any) -> Any:
    return fs.watch(model, inputs, labels, errors=False, **options)


def _check(
    model: Net, inputs: Tensor, labels: Tensor, frame: Any, tolerance: float, case: str
) -> None:
    """The frame is that of what the model returns, and of the features it had."""
    training = model.training
    model.eval()
    with torch.no_grad():
        returned = model.made(inputs.to(next(model.parameters()).dtype))
    outputs, features = returned.double(), model.spy.seen
    model.train(training)
    assert features is not None
    top = outputs.topk(2).values
    clear = (top[:, 0] - top[:, 1]) > tolerance * outputs.abs().amax()
    predicted = torch.tensor(frame.arrays["predictions"].tolist()).long()
    assert torch.equal(predicted[clear], outputs.argmax(1)[clear]), f"{case}: predictions"
    right = frame.scalars["train_accuracy"]
    accuracy = float((outputs.argmax(1) == labels).double().mean())
    assert abs(right - accuracy) <= float((~clear).double().mean()) + 1e-6, f"{case}: accuracy"
    expected = fs.analyze(features, returned, labels, errors=False)
    found = frame.scalars["low_rank_measure"]
    wanted = expected.low_rank_measure
    same = abs(found - wanted) <= 10 * tolerance or np.isnan([found, wanted]).all()
    assert same, f"{case}: D_LR {found} for {wanted}"
