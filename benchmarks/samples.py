"""Samples like those of a network, for measurements of speed."""

import torch


def sample(n: int, p: int, classes: int = 10) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Float64 features like those after a ReLU, with class structure, and their logits."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    labels = torch.arange(n) % classes
    hidden = 2 * normal(classes, 40)[labels] + normal(n, 40)
    features = torch.relu(hidden @ normal(40, p) / 6 + 0.5 * normal(n, p))
    return features, features @ normal(p, classes), labels


def trained(
    features: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """With the outputs of a head that reads along the class means, as a trained one does."""
    means = torch.stack([features[labels == label].mean(0) for label in range(10)])
    mean = features.mean(0)
    return features, (features - mean) @ (means - mean).T, labels
