"""μP: that the width changes how many features there are, and not how far they move."""

import pytest
import torch

from fswidget.training.config import Config
from fswidget.training.learner import Learner
from fswidget.training.networks import build
from fswidget.training.parametrization import Growth, growths


def moved(**settings: object) -> tuple[float, float]:
    """How far features and outputs are after four steps, root mean squares over their entries."""
    config = Config(train_size=200, test_size=20, batch_size=200, depth=3, **settings)
    learner = Learner(config)
    body, inputs = learner.model[:-1], learner.data.inputs
    with torch.no_grad():
        before = body(inputs), learner.model(inputs)
    for learner.step in range(4):
        learner._train_step(config.lr)
    with torch.no_grad():
        after = body(inputs), learner.model(inputs)
    features, outputs = (
        float((new - old).square().mean().sqrt()) for new, old in zip(after, before, strict=True)
    )
    return features, outputs


@pytest.mark.parametrize(
    "rule", [{"optimizer": "adam", "lr": 1e-3}, {"optimizer": "sgd", "lr": 0.01}]
)
def test_coordinates_move_as_far_at_any_width(rule: dict[str, object]) -> None:
    """The coordinate check of Yang et al. 2022, appendix D.1."""
    apart = {}
    for way in ("standard", "mup"):
        # From the base width on, where the initial outputs count for little.
        narrow, wide = (moved(width=p, parametrization=way, **rule) for p in (256, 1024))
        apart[way] = [b / a for a, b in zip(narrow, wide, strict=True)]
    assert all(0.5 < ratio < 1.5 for ratio in apart["mup"]), apart
    assert not all(0.5 < ratio < 1.5 for ratio in apart["standard"]), apart


def test_dimensions_that_grow_with_the_width_are_found() -> None:
    config = Config(width=1024, parametrization="mup")
    model = build(config, (1, 8, 8), 10)
    grown = growths(config, model, (1, 8, 8), 10)
    assert grown["1.weight"] == (4, 1)
    assert grown["3.weight"] == (4, 4)
    assert grown["5.weight"] == (1, 4)
    assert grown["1.bias"] == (4, 1)
    plain = build(config.replace(parametrization="standard"), (1, 8, 8), 10)
    torch.testing.assert_close(model[5].weight, plain[5].weight / 2)
    torch.testing.assert_close(model[3].weight, plain[3].weight)
    # Table 3 of Yang et al. 2022, beside the standard way at the base width.
    steps = {
        kind: [Growth(*g).step(kind) for g in ((4, 1), (4, 4), (1, 4))] for kind in ("sgd", "adam")
    }
    assert steps == {"sgd": [4, 1, 0.25], "adam": [1, 0.25, 0.25]}
    assert growths(config.replace(width=256), model, (1, 8, 8), 10) == {}


def test_attention_has_no_such_parametrisation() -> None:
    with pytest.raises(ValueError, match="parametrization='mup': attention has no μP here"):
        Config(model="transformer", dataset="modular", parametrization="mup")
