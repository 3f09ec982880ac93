"""Exact curves of a linear network beside the eigenvalues that are measured while it trains."""

import numpy as np
import pytest
import torch
from torch import nn

import fswidget as fs
from fswidget.analysis.linear_networks import exact_eigenvalues


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
    for step in range(1001):
        if step % 200 == 0:
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
