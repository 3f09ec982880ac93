"""Exact curves of a linear network beside the eigenvalues that are measured while it trains."""

import numpy as np
import pytest
import torch
from torch import nn

import fswidget as fs
from fswidget.analysis.linear_networks import BalancedFlow, exact_eigenvalues
from fswidget.figures import drawing
from fswidget.training.loop import Training

LINEAR = fs.Config(
    model="linear",
    depth=1,
    width=24,
    loss="mse",
    optimizer="sgd",
    momentum=0.0,
    lr=0.01,
    train_size=200,
    test_size=20,
    batch_size=200,
    frame_every=50,
    device="cpu",
)


@pytest.mark.parametrize("balance", [0.0, 1.5], ids=["rich", "lazy"])
def test_eigenvalues_of_frames_lie_on_the_exact_curves(balance: float) -> None:
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(60, 6, generator=generator, dtype=torch.float64)
    inputs = torch.linalg.qr(random)[0] * 60**0.5  # whitened on these very samples
    targets = inputs @ torch.randn(6, 4, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))[0]
    small = torch.tensor([0.3, 0.2, 0.1, 0.05], dtype=torch.float64)
    model = nn.Sequential(nn.Linear(6, 4, bias=False), nn.Linear(4, 4, bias=False)).double()
    into = torch.linalg.qr(torch.randn(6, 4, generator=generator, dtype=torch.float64))[0].T
    with torch.no_grad():  # balanced, along no singular vector of the targets
        model[0].weight.copy_(rotation @ (small[:, None] * into))
        model[1].weight.copy_((small.square() + balance).sqrt()[:, None] * rotation.T)
    weights = [layer.weight.detach().numpy().copy() for layer in model]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002)
    probe = fs.watch(model, inputs, targets, task="squared_error")
    for step in range(601):  # past where they are furthest apart
        if step % 100 == 0:
            probe.snapshot(epoch=step)
        loss = (model(inputs) - targets).square().sum(1).mean() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    times = 0.002 * probe.recording.table()["epoch"]
    exact = exact_eigenvalues(*weights, targets.T.numpy() @ inputs.numpy() / 60, times)
    found = np.array([frame.eigenvalues for frame in probe.recording])
    assert exact[-1, 0] > 4 * exact[0, 0]
    assert np.abs(found - exact).max() < 0.02 * exact.max()
    np.testing.assert_allclose(found[:, 0], exact[:, 0], rtol=0.02)


def test_weights_that_are_not_balanced_have_no_such_curve() -> None:
    with pytest.raises(ValueError, match=r"first, last: .* is 2\.1 away .* must be balanced"):
        exact_eigenvalues(np.diag([1.0, 2.0]), np.eye(2), np.eye(2), [0])


def test_long_after_the_end_nothing_overflows() -> None:
    ends = exact_eigenvalues(0.1 * np.eye(3), 0.1 * np.eye(3), np.diag([3.0, 2.0, 1.0]), [500, 0])
    np.testing.assert_allclose(ends, [[3, 2, 1], [0.01] * 3], rtol=1e-6)


def test_the_flow_of_the_product_is_that_of_two_layers() -> None:
    random = np.random.default_rng(0)
    into, out = (np.linalg.qr(random.normal(size=(n, 3)))[0] for n in (6, 3))
    first, last = np.diag([0.3, 0.2, 0.1]) @ into.T, out @ np.diag([0.3, 0.2, 0.1])
    correlation, times = random.normal(size=(3, 6)), [0, 0.5, 1, 3]
    flow = BalancedFlow([first, last], np.eye(6), correlation)
    exact = exact_eigenvalues(first, last, correlation, times)
    np.testing.assert_allclose([flow.at(time) for time in times], exact, rtol=1e-4)
    with pytest.raises(ValueError, match=r"time=1: the flow is at 3; must be no less"):
        flow.at(1)
    with pytest.raises(ValueError, match=r"weights: W_2ᵀW_2 − W_1W_1ᵀ is .* must be balanced"):
        BalancedFlow([first, 2 * last], np.eye(6), correlation)
    with pytest.raises(ValueError, match=r"weights: 1 layers; must be two or more"):
        BalancedFlow([first], np.eye(6), correlation)


@pytest.mark.parametrize(("depth", "steps"), [(1, 100), (3, 200)])
def test_frames_of_a_linear_network_carry_what_theory_gives(depth: int, steps: int) -> None:
    """On digits, which nobody whitened, and measured on half of what is learned; to where the two
    are furthest apart."""
    config = LINEAR.replace(depth=depth, epochs=steps, probe_size=100)
    recording = fs.record(config, overlap=depth == 3)
    assert max(frame.scalars["theory_error"] for frame in recording) < 0.02
    first, last = (recording[at].arrays["exact_eigenvalues"] for at in (0, -1))
    assert len(first) == 10
    assert last[0] > 2 * first[0]
    plot = drawing.figure(recording, "spectrum")
    rings = plot.select_one({"name": "exact:glyph"}).data_source.data["y"]
    np.testing.assert_allclose(rings, last / recording[-1].eigenvalues[0])
    plot = drawing.figure(recording, "modes")
    line = plot.select_one({"name": "theory 1"}).data_source.data["y"]
    np.testing.assert_allclose(line[-1], last[0])


def test_a_linear_run_goes_on_along_its_curves_until_a_setting_leaves_them() -> None:
    config = LINEAR.replace(epochs=50, frame_every=25)  # while the eigenvalues grow
    training = Training(config.replace(epochs=25))
    frames = list(training)
    whole = list(Training(config))
    resumed = Training(config, state=training.state_dict())
    rest = list(resumed)
    for frame, same in zip(rest, whole[len(frames) - 1 :], strict=True):
        theirs, ours = (f.arrays["exact_eigenvalues"] for f in (same, frame))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    for change in ({"momentum": 0.9}, {"label_noise": 0.5}):
        branched = list(Training.branch(training.state_dict(), **change, epochs=26))
        assert branched
        assert all("exact_eigenvalues" not in frame.arrays for frame in branched)


@pytest.mark.parametrize("change", [{"batch_size": 100}, {"model": "mlp"}, {"weight_decay": 0.1}])
def test_theory_is_silent_of_other_runs(change: dict[str, object]) -> None:
    frame = next(iter(Training(LINEAR.replace(**change))))
    assert "exact_eigenvalues" not in frame.arrays
