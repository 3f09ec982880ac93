"""Which learning rate is best against richness γ: ``python -m benchmarks.richness``.

Networks (f − f₀)/γ with L layers of weights and tanh between them, on digits, full-batch gradient
descent on the squared error for a fixed number of steps. Atanasov et al. (2410.04642) find the best
rate to go as γ² for γ ≪ 1, where training is lazy, and as γ^(2/L) for γ ≫ 1. All rates train side
by side as one batch. The table of exponents goes to ``RESULTS-richness.md``; some minutes.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

RESULTS = Path(__file__).parent / "RESULTS-richness.md"
LAZY = (1e-3, 1e-2, 1e-1)
RICH = (10.0, 30.0, 100.0)
DEPTHS = (2, 3)
SEEDS = range(3)
_SAMPLES, _WIDTH, _STEPS = 64, 48, 1000
#: Rates per doubling, and how many doublings around where theory expects the best.
_FINE, _REACH = 2, 8


def data() -> tuple[Tensor, Tensor]:
    digits = load_digits()
    inputs = torch.tensor(digits.data[:_SAMPLES] / 16, dtype=torch.float32)
    inputs = (inputs - inputs.mean(0)) / inputs.std()
    return inputs, torch.eye(10)[torch.tensor(digits.target[:_SAMPLES])]


def outputs(weights: list[Tensor], inputs: Tensor) -> Tensor:
    """Of a batch of networks; widths scale each layer as in μP with a readout of 1/width."""
    values = inputs.expand(len(weights[0]), *inputs.shape)
    for layer, weight in enumerate(weights):
        values = values @ weight / weight.shape[1] ** 0.5
        values = torch.tanh(values) if layer < len(weights) - 1 else values / _WIDTH**0.5
    return values


def best_rate(depth: int, gamma: float, seed: int, centre: float) -> float:
    """The rate of the lowest loss after the last step, of many around `centre`."""
    inputs, targets = data()
    exponents = torch.arange(-_REACH * _FINE, _REACH * _FINE + 1) / _FINE
    rates = centre * 2.0**exponents
    generator = torch.Generator().manual_seed(seed)
    sizes = [inputs.shape[1], *[_WIDTH] * (depth - 1), 10]
    weights = [
        torch.randn(a, b, generator=generator).expand(len(rates), a, b).clone().requires_grad_()
        for a, b in itertools.pairwise(sizes)
    ]
    with torch.no_grad():
        first = outputs(weights, inputs)
    for _ in range(_STEPS):
        left = (outputs(weights, inputs) - first) / gamma - targets
        losses = left.square().sum(2).mean(1)
        gradients = torch.autograd.grad(losses.sum(), weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= rates[:, None, None] * gradient
    losses = losses.detach().nan_to_num(float("inf"), float("inf"))
    best = int(losses.argmin())
    assert 0 < best < len(rates) - 1, (depth, gamma, float(rates[best]), float(losses[best]))
    return float(rates[best])


def slopes(depth: int, seed: int) -> tuple[float, float]:
    """The two exponents of the best rate in γ."""
    found = []
    for gammas, exponent in ((LAZY, 2.0), (RICH, 2 / depth)):
        centre = _WIDTH / 4
        rates = [best_rate(depth, gamma, seed, centre * gamma**exponent) for gamma in gammas]
        found.append(float(np.polyfit(np.log(gammas), np.log(rates), 1)[0]))
    return found[0], found[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--depths", type=int, nargs="*", default=list(DEPTHS))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# The best learning rate against richness γ",
        "",
        f"Exponents of γ, mean and standard deviation over {len(SEEDS)} seeds; γ from "
        f"{LAZY[0]:g} to {LAZY[-1]:g} and from {RICH[0]:g} to {RICH[-1]:g}, {_STEPS} steps.",
        "",
        "| layers L | γ ≪ 1 | theory | γ ≫ 1 | theory, 2/L |",
        "|---|---|---|---|---|",
    ]
    for depth in chosen.depths:
        lazy, rich = np.array([slopes(depth, seed) for seed in SEEDS]).T
        lines.append(
            f"| {depth} | {lazy.mean():.2f} ± {lazy.std():.2f} | 2 "
            f"| {rich.mean():.2f} ± {rich.std():.2f} | {2 / depth:.2f} |"
        )
        print(lines[-1], flush=True)
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
