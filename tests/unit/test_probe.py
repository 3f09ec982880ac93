"""A probe measures what `analyze` does, and leaves the network as it found it."""

import copy
import itertools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import fswidget as fs
from fswidget.probing import frames
from fswidget.probing.inference import Diverged
from fswidget.probing.probe import Probe
from fswidget.probing.samples import Samples
from fswidget.probing.thumbnails import thumbnails
from fswidget.recording.frame import SCALARS

N, P, C = 120, 16, 4


def data(n: int = N, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % C
    return torch.randn(n, 6, generator=generator) + targets[:, None], targets


def network(seed: int = 0, outputs: int = C) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(6, 24),
        nn.BatchNorm1d(24),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(24, P),
        nn.Tanh(),
        nn.Linear(P, outputs),
    )


def train(model: nn.Module, steps: int = 20, probe: Probe | None = None, lr: float = 0.05) -> None:
    inputs, targets = data()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    model.train()
    torch.manual_seed(1)
    for step in range(steps):
        rows = torch.randint(N, (32,))
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(inputs[rows]), targets[rows])
        if probe is not None:
            # In the worst place: between the forward and the backward pass.
            probe.snapshot(epoch=step / 4, step=step, loss=loss)
        loss.backward()
        optimizer.step()


def test_frame_agrees_with_analyze() -> None:
    model, (inputs, targets) = network(), data()
    probe = Probe(model, inputs, targets, batch_size=50)
    train(model, 10)
    frame = probe.snapshot(epoch=1, step=10, loss=0.5)
    body, head = model.eval()[:-1], model[-1]
    with torch.no_grad():
        features = body(inputs)
        outputs = head(features)
    expected = fs.analyze(features, outputs, targets)
    np.testing.assert_allclose(frame.eigenvalues, expected.eigenvalues, rtol=1e-4)
    np.testing.assert_allclose(frame.utilization, expected.utilization, atol=1e-4)
    np.testing.assert_allclose(frame.quality, expected.quality, atol=1e-4)
    estimates = ("low_rank_measure", "low_rank_measure_debiased")
    for name in (*estimates, "used_features", "effective_rank", "nc1", "top_share"):
        assert frame.scalars[name] == pytest.approx(getattr(expected, name), rel=1e-4), name
    for name in estimates:
        error = frame.scalars[f"{name}_error"]
        assert error == pytest.approx(expected.errors[name], rel=0.5), name
        assert error > 0
    accuracy = float((outputs.argmax(1) == targets).float().mean())
    assert frame.scalars["train_accuracy"] == pytest.approx(accuracy)
    assert frame.scalars["loss"] == 0.5
    norm = sum(float(p.detach().double().square().sum()) for p in model.parameters())
    assert frame.scalars["parameter_norm_squared"] == pytest.approx(norm, rel=1e-5)
    np.testing.assert_array_equal(frame.arrays["predictions"], outputs.argmax(1))
    moments = frame.projections.T @ frame.projections / N
    np.testing.assert_allclose(moments, np.eye(8), atol=1e-4)
    assert set(frame.scalars) <= set(SCALARS)
    assert len(probe.recording) == 1
    assert probe.recording[0] is frame


def test_frame_is_not_appended_and_snapshots_number_themselves() -> None:
    probe = Probe(network(), *data())
    probe.frame(epoch=5)
    assert len(probe.recording) == 0
    frames = [probe.snapshot(), probe.snapshot(), probe.snapshot(epoch=7.5), probe.snapshot()]
    assert [frame.epoch for frame in frames] == [0, 1, 7.5, 8.5]
    assert [frame.step for frame in frames] == [0, 1, 2, 3]


def test_labels_and_kernel_drift_count_from_the_first_frame() -> None:
    model = network()
    probe = Probe(model, *data())
    first = probe.snapshot()
    assert first.labels["regime"] == "UNTRAINED"
    assert first.scalars["kernel_drift"] == 0
    untouched = probe.snapshot()
    assert untouched.scalars["kernel_drift"] == pytest.approx(0, abs=1e-6)
    assert untouched.labels["regime"] == "UNTRAINED"
    train(model, 30)
    later = probe.snapshot()
    assert later.scalars["kernel_drift"] > 0.01
    assert later.labels["regime"] != "UNTRAINED"


def test_a_network_that_was_trained_before_is_not_called_untrained() -> None:
    model = network()
    train(model, 40)
    frame = Probe(model, *data()).snapshot(epoch=3, step=40)
    assert frame.labels["regime"] != "UNTRAINED"


def test_only_the_last_layer_moving_is_lazy() -> None:
    model = network()
    probe = Probe(model, *data())
    probe.snapshot()
    with torch.no_grad():
        model[-1].weight.add_(torch.randn_like(model[-1].weight))
    assert probe.snapshot().labels["regime"] == "LAZY"


def test_training_is_bit_identical_under_observation() -> None:
    alone, watched = network(), network()
    train(alone)
    held_out = data(40, seed=5)
    train(watched, probe=Probe(watched, *data(), held_out=held_out, layers="all"))
    for name, value in alone.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name


def test_everything_comes_back() -> None:
    model = network()
    model.train()
    model[1].eval()  # as in fine-tuning with frozen statistics
    calls: list[int] = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    model(data()[0]).sum().backward()
    modes = [module.training for module in model.modules()]
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    hooks = [dict(module._forward_hooks) for module in model.modules()]
    buffers = copy.deepcopy(dict(model.named_buffers()))
    state = torch.get_rng_state()
    probe = Probe(model, *data(), layers="all")
    with torch.autocast("cpu", torch.bfloat16), torch.enable_grad():
        probe.snapshot()
        assert torch.is_grad_enabled()
        assert torch.is_autocast_enabled("cpu")
    assert modes == [module.training for module in model.modules()]
    for before, parameter in zip(gradients, model.parameters(), strict=True):
        assert torch.equal(before, parameter.grad)
    assert hooks == [dict(module._forward_hooks) for module in model.modules()]
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, buffers[name]), name
    assert torch.equal(state, torch.get_rng_state())


def test_autocast_around_it_does_not_change_a_frame() -> None:
    plain = Probe(network(), *data()).snapshot()
    probe = Probe(network(), *data())
    with torch.autocast("cpu", torch.bfloat16):
        inside = probe.snapshot()
    np.testing.assert_array_equal(plain.eigenvalues, inside.eigenvalues)


def test_modes_come_back_when_the_forward_pass_fails() -> None:
    model = network().train()
    probe = Probe(model, *data())
    model[2].forward = lambda _: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        probe.snapshot()
    assert model.training
    assert model[3].training


@pytest.mark.parametrize("place", [0, 4, 6])
def test_divergence_says_where(place: int) -> None:
    model = network()
    probe = Probe(model, *data(), layers=["4"])
    probe.snapshot()
    with torch.no_grad():
        model[place].weight[0, 0] = torch.nan
    what = {0: "'4'", 4: "'4'", 6: "the outputs"}[place]
    with pytest.raises(Diverged, match=rf"epoch 3, step 30: .*{what}.* 120 of 120"):
        probe.snapshot(epoch=3, step=30)
    assert len(probe.recording) == 1
    assert issubclass(Diverged, FloatingPointError)


def test_held_out_samples() -> None:
    model = network()
    train(model, 60)
    same = Probe(model, *data(), held_out=data()).snapshot()
    assert same.scalars["test_accuracy"] == same.scalars["train_accuracy"]
    assert same.scalars["used_features_held_out"] == same.scalars["used_features"]
    quality = same.scalars["quality_total"]
    assert same.scalars["quality_total_held_out"] == pytest.approx(quality, abs=1e-6)
    points = same.arrays["held_out_projections"]
    np.testing.assert_allclose(points, same.projections, atol=1e-5)
    other = Probe(model, *data(), held_out=data(48, seed=9)).snapshot()
    assert other.arrays["held_out_projections"].shape == (48, 8)
    assert other.scalars["quality_total_held_out"] < quality


def test_projections_are_aligned_over_time() -> None:
    model = network()
    probe = Probe(model, *data(), held_out=data())
    frames = [probe.snapshot()]
    for _ in range(6):
        train(model, 1, lr=1e-3)
        # The same function with another orientation of feature space.
        with torch.no_grad():
            flip = torch.where(torch.rand(P) < 0.5, -1.0, 1.0)
            model[4].weight.mul_(flip[:, None])
            model[4].bias.mul_(flip)
            model[6].weight.mul_(flip)
        frames.append(probe.snapshot())
    for before, after in itertools.pairwise(frames):
        overlap = (before.projections * after.projections).mean(0)
        assert (overlap > 0.5).all()
        held = after.arrays["held_out_projections"]
        np.testing.assert_allclose(held, after.projections, atol=1e-5)


def test_fewer_features_than_eigenfunctions_leave_gaps() -> None:
    model = network()
    probe = Probe(model, *data(), num_eigenfunctions=8, held_out=data(20))
    probe.snapshot()
    with torch.no_grad():
        model[4].weight[3:] = 0
        model[4].bias[3:] = 0
    frame = probe.snapshot()
    assert frame.eigenvalues.shape == (3,)
    for name in ("projections", "held_out_projections"):
        assert np.isfinite(frame.arrays[name][:, :3]).all()
        assert np.isnan(frame.arrays[name][:, 3:]).all()


def test_regression() -> None:
    inputs, _ = data()
    model = network(outputs=2)
    goals = inputs[:, :2] * 3 + 1
    probe = Probe(model, inputs, goals, task="squared_error", held_out=(inputs, goals))
    frame = probe.snapshot()
    with torch.no_grad():
        residual = (model.eval()(inputs) - goals).double().square().sum()
    r2 = 1 - float(residual / (goals - goals.mean(0)).double().square().sum())
    assert frame.scalars["train_r2"] == pytest.approx(r2, rel=1e-5)
    assert frame.scalars["test_r2"] == pytest.approx(r2, rel=1e-5)
    assert "train_accuracy" not in frame.scalars
    assert probe.recording.info.class_names == ()
    np.testing.assert_allclose(probe.recording.info.labels, goals[:, 0])


def test_layers_in_the_order_of_the_forward_pass() -> None:
    probe = Probe(network(), *data(), layers=["4", "0"])
    assert probe.recording.info.layers == ("0", "4")
    frame = probe.snapshot()
    for name in ("effective_rank", "used_features"):
        assert frame.arrays[f"layer_{name}"].shape == (2,)
    with torch.no_grad():
        model = network().eval()
        features, outputs = model[0](data()[0]), model(data()[0])
    expected = fs.analyze(features, outputs, data()[1])
    for name in ("low_rank_measure", "low_rank_measure_debiased"):
        first, _ = frame.arrays[f"layer_{name}"]
        assert first == pytest.approx(getattr(expected, name), abs=1e-5)


class _TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, left: Tensor, right: Tensor, scale: float = 1.0) -> dict[str, Tensor]:
        return {"logits": self.net((left + right) * scale)}


def test_inputs_may_be_several_or_named() -> None:
    inputs, targets = data()
    plain = Probe(network(), inputs, targets).snapshot()
    zero = torch.zeros_like(inputs)
    calls = [
        (inputs, zero),
        [inputs.numpy(), zero.numpy()],
        {"left": inputs, "right": zero.numpy(), "scale": 1.0},
    ]
    for call in calls:
        torch.manual_seed(0)
        frame = Probe(_TwoInputs(), call, targets).snapshot()
        np.testing.assert_array_equal(frame.eigenvalues, plain.eigenvalues)


def test_inputs_take_the_precision_of_the_model() -> None:
    inputs, targets = data()
    half = Probe(network().bfloat16(), inputs.numpy().astype(np.float64), targets.numpy())
    assert half.snapshot().scalars["low_rank_measure"] == pytest.approx(
        Probe(network(), inputs, targets).snapshot().scalars["low_rank_measure"], abs=0.02
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_large_outputs_are_seen_to_move(dtype: torch.dtype) -> None:
    """Their squares add up to more than float16 holds."""
    inputs, targets = data(2000)
    model = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, C))
    with torch.no_grad():
        model[2].weight.mul_(30)
    probe = Probe(model.to(dtype), inputs, targets)
    assert probe.snapshot().labels["regime"] == "UNTRAINED"
    for layer in (model[0], model[2]):
        layer.reset_parameters()
    assert probe.snapshot().labels["regime"] != "UNTRAINED"


def test_constant_features_are_a_frame_too(tmp_path: Path) -> None:
    inputs, targets = data()
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, C))
    probe = Probe(model, inputs, targets, held_out=(inputs, targets))
    probe.snapshot()
    with torch.no_grad():
        model[0].bias.fill_(-1e3)
    frame = probe.snapshot()
    assert frame.labels["regime"] == "CONSTANT"
    assert (frame.scalars["quality_total"], frame.scalars["quality_total_held_out"]) == (0, 0)
    assert len(frame.eigenvalues) == 0
    assert np.isnan(frame.projections).all()
    for name in ("spectrum", "cumulative", "projections", "history", "regime"):
        probe.recording.figure(name)
    probe.recording.to_html(tmp_path / "run.html")


class _ShiftsInPlace(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.sub_(1.0)


def test_the_samples_stay_as_they_were_given() -> None:
    inputs, targets = data()
    given = inputs.clone(), targets.clone()
    model = nn.Sequential(_ShiftsInPlace(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, C))
    probe = Probe(model, *given)
    first = probe.snapshot()
    assert torch.equal(given[0], inputs)
    given[0].zero_()
    given[1].zero_()
    second = probe.snapshot()
    np.testing.assert_array_equal(second.eigenvalues, first.eigenvalues)
    np.testing.assert_array_equal(second.quality, first.quality)


@pytest.mark.parametrize(
    "view",
    [
        lambda array: array[::-1],
        lambda array: array[:, ::-1],
        lambda array: array.astype(array.dtype.newbyteorder()),
        lambda array: array.astype(np.longdouble),
    ],
    ids=["rows", "columns", "bytes", "longdouble"],
)
def test_any_numpy_array_of_numbers_will_do(view: Callable[[Any], Any]) -> None:
    inputs, targets = (values.numpy() for values in data())
    given = view(inputs)
    plain = torch.from_numpy(given.astype(np.float32))
    expected = Probe(network(), plain, targets).snapshot()
    np.testing.assert_array_equal(
        Probe(network(), given, targets).snapshot().eigenvalues, expected.eigenvalues
    )


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float32])
def test_one_hot_rows_say_the_same_as_labels(dtype: torch.dtype) -> None:
    inputs, targets = data()
    rows = functional.one_hot(targets, C).to(dtype)
    expected, frame = (Probe(network(), inputs, given).snapshot() for given in (targets, rows))
    np.testing.assert_allclose(frame.quality, expected.quality, atol=1e-6)
    assert frame.scalars["train_accuracy"] == expected.scalars["train_accuracy"]
    assert frame.scalars["low_rank_measure"] == expected.scalars["low_rank_measure"]


def test_points_are_spread_over_the_probe() -> None:
    inputs, targets = data()
    order = targets.argsort()
    probe = Probe(network(), inputs[order], targets[order], num_shown=12, batch_size=50)
    assert sorted(probe.recording.info.labels) == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    frame = probe.snapshot()
    assert frame.projections.shape == (12, 8)
    whole = Probe(network(), inputs[order], targets[order]).snapshot()
    np.testing.assert_allclose(frame.projections, whole.projections[::10], atol=1e-6)


def test_without_errors() -> None:
    frame = Probe(network(), *data(), errors=False).snapshot()
    assert not [name for name in {*frame.scalars, *frame.arrays} if name.endswith("_error")]
    assert "regime_confidence" not in frame.scalars


def test_pictures_come_from_the_inputs() -> None:
    colours = torch.randint(0, 256, (10, 3, 8, 8), dtype=torch.uint8)
    colours[0, :, 0, 0], colours[1, :, 0, 0] = 0, 255
    scale = torch.tensor([0.2, 0.3, 0.1])[:, None, None]
    normalised = (colours / 255 - 0.45) / scale
    samples = Samples.of(normalised, torch.arange(10) % 2).fit(2, "cross_entropy", 5)
    small = thumbnails(samples, None)
    assert small.dtype == np.uint8
    np.testing.assert_array_equal(small[0], colours[0].permute(1, 2, 0))
    large = torch.rand(4, 1, 64, 128)
    grey = thumbnails(Samples.of(large, torch.arange(4)).fit(4, "cross_entropy", 4), None)
    assert grey.shape == (4, 16, 32)
    vectors = Samples.of(torch.rand(4, 5), torch.arange(4)).fit(4, "cross_entropy", 4)
    assert thumbnails(vectors, None) is None
    given = np.arange(4 * 6 * 6, dtype=np.uint8).reshape(4, 6, 6)
    np.testing.assert_array_equal(thumbnails(vectors, given), given)


def test_unequal_classes_are_pointed_out_once() -> None:
    inputs, targets = data()
    with pytest.warns(UserWarning, match="from 0 to 60 samples per class"):
        probe = Probe(network(), inputs, targets // 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe.snapshot()
        Probe(network(), inputs, targets)


INPUTS, TARGETS = data()
BROKEN = {
    "no module": (lambda: Probe("model", INPUTS, TARGETS), TypeError, "model=str"),
    "unknown task": (lambda: Probe(network(), INPUTS, TARGETS, task="hinge"), ValueError, "task='"),
    "no samples": (lambda: Probe(network(), INPUTS[:0], TARGETS[:0]), ValueError, "inputs: 0"),
    "one sample": (lambda: Probe(network(), INPUTS[:1], TARGETS[:1]), ValueError, "inputs: 1"),
    "a number": (lambda: Probe(network(), 3.0, TARGETS), ValueError, "inputs=3.0"),
    "an object": (lambda: Probe(network(), object(), TARGETS), TypeError, "inputs=object"),
    "lengths": (lambda: Probe(network(), INPUTS, TARGETS[:7]), ValueError, "targets of shape"),
    "parts": (lambda: Probe(network(), {"a": INPUTS, "b": INPUTS[:3]}, TARGETS), ValueError, "inp"),
    "NaN": (lambda: Probe(network(), INPUTS * torch.nan, TARGETS), ValueError, "inputs: holds NaN"),
    "high label": (
        lambda: Probe(network(), INPUTS, TARGETS + 1),
        ValueError,
        "targets: labels from 1 to 4",
    ),
    "low label": (lambda: Probe(network(), INPUTS, TARGETS - 1), ValueError, "from -1 to 2"),
    "float labels": (lambda: Probe(network(), INPUTS, TARGETS.float()), ValueError, "class labels"),
    "one output": (lambda: Probe(network(outputs=1), INPUTS, TARGETS), ValueError, "one output"),
    "column of labels": (
        lambda: Probe(network(), INPUTS, TARGETS[:, None]),
        ValueError,
        r"targets: shape \(120, 1\), torch.int64; must be class labels \(n,\)",
    ),
    "width of values": (
        lambda: Probe(network(), INPUTS, INPUTS[:, :2], task="squared_error"),
        ValueError,
        r"targets: shape \(120, 2\)",
    ),
    "NaN target": (
        lambda: Probe(network(), INPUTS, TARGETS / torch.nan, task="squared_error"),
        ValueError,
        "targets: holds NaN",
    ),
    "no head": (lambda: Probe(nn.ReLU(), INPUTS, TARGETS), ValueError, "no linear layer"),
    "layer": (lambda: Probe(network(), INPUTS, TARGETS, layers=["x"]), ValueError, "layers='x'"),
    "batch": (lambda: Probe(network(), INPUTS, TARGETS, batch_size=0), ValueError, "batch_size=0"),
    "shown": (lambda: Probe(network(), INPUTS, TARGETS, num_shown=-2), ValueError, "num_shown=-2"),
    "images": (
        lambda: Probe(network(), INPUTS, TARGETS, images=torch.rand(N, 4, 4)),
        ValueError,
        "images of shape",
    ),
    "fewer images": (
        lambda: Probe(network(), INPUTS, TARGETS, images=np.zeros((3, 4, 4), np.uint8)),
        ValueError,
        "images: 3; must be 120",
    ),
    "names": (
        lambda: Probe(network(), INPUTS, TARGETS, class_names=["a"]),
        ValueError,
        "class_names: 1",
    ),
    "held out": (
        lambda: Probe(network(), INPUTS, TARGETS, held_out=(INPUTS, TARGETS[:3])),
        ValueError,
        "held_out targets",
    ),
    "scalar": (lambda: Probe(network(), INPUTS, TARGETS).frame(0, loss="x"), TypeError, "loss='x'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_arguments_are_named(name: str) -> None:
    call, kind, message = BROKEN[name]
    with pytest.raises(kind, match=message):
        call()


def test_wide_features_ask_for_the_leading_eigenvalues(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int | None, bool]] = []
    real = frames.diagonalize

    def spy(*args: Any, **options: Any) -> fs.Spectrum:
        asked.append((options["top"], options["start"] is not None))
        return real(*args, **options)

    monkeypatch.setattr(frames, "diagonalize", spy)
    monkeypatch.setattr("fswidget.probing.frames._MAX_WIDTH", P)
    narrow = Probe(network(), *data())
    narrow.snapshot()
    narrow.snapshot()
    assert asked == [(None, False), (None, True)]
    monkeypatch.setattr("fswidget.probing.frames._MAX_WIDTH", P - 1)
    asked.clear()
    Probe(network(), *data(), layers=["0"]).snapshot()
    Probe(network(), *data(), top=3).snapshot()
    assert asked == [(64, False), (64, False), (3, False)]
