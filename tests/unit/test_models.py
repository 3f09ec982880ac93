"""The named networks: shapes, width, heads, seeding, and adding one's own."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from fswidget.probing.capture import capture
from fswidget.probing.head import find_head
from fswidget.training import networks, registry
from fswidget.training.config import Config
from fswidget.widget.controls import controls

SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10": (3, 32, 32), "modular": (4,)}
CASES = [
    ("mlp", "digits", False),
    ("mlp", "cifar10", True),
    ("cnn", "digits", False),
    ("cnn", "mnist", True),
    ("vgg16", "mnist", False),
    ("vgg16", "cifar10", True),
    ("resnet18", "digits", True),
    ("resnet18", "mnist", True),
    ("resnet18", "cifar10", False),
    ("transformer", "modular", False),
]


def example(dataset: str, n: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    if dataset == "modular":
        return torch.randint(0, 97, (n, 4), generator=generator)
    return torch.randn(n, *SHAPES[dataset], generator=generator)


def make(model: str, dataset: str, **settings: object) -> nn.Module:
    config = Config(model=model, dataset=dataset, **settings)
    return networks.build(config, SHAPES[dataset], 97 if dataset == "modular" else 10)


@pytest.mark.parametrize(("model", "dataset", "batchnorm"), CASES)
def test_width_is_the_dimension_of_the_features(model: str, dataset: str, batchnorm: bool) -> None:
    network = make(model, dataset, width=32, batchnorm=batchnorm).eval()
    inputs = example(dataset)
    head = find_head(network, inputs)
    with capture(network, head) as captured, torch.no_grad():
        outputs = network(inputs)
    assert captured.calls[0][0].shape == (4, 32)
    assert isinstance(head.module, nn.Linear)
    assert outputs.shape == (4, head.module.out_features)
    norms = [m for m in network.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    assert bool(norms) == batchnorm


@pytest.mark.parametrize(("model", "dataset", "batchnorm"), CASES)
def test_a_gradient_reaches_every_parameter(model: str, dataset: str, batchnorm: bool) -> None:
    network = make(model, dataset, width=32, batchnorm=batchnorm)
    network(example(dataset)).square().sum().backward()
    used = {
        name: p.grad is not None and bool(p.grad.any()) for name, p in network.named_parameters()
    }
    # A convolution's bias before batch normalisation has a gradient of rounding errors only.
    dead = [name for name, alive in used.items() if not alive and not name.endswith("bias")]
    assert not dead


@pytest.mark.parametrize("model", ["vgg16", "resnet18"])
def test_full_width_is_the_published_network(model: str) -> None:
    network = make(model, "cifar10", width=512, batchnorm=True)
    count = sum(parameter.numel() for parameter in network.parameters())
    # kuangliu/pytorch-cifar, the usual reference: 14,728,266 and 11,173,962.
    assert count == {"vgg16": 14_728_266, "resnet18": 11_173_962}[model]


@pytest.mark.parametrize("model", ["vgg16", "resnet18"])
def test_deep_networks_keep_the_scale_without_batchnorm(model: str) -> None:
    network = make(model, "cifar10", width=64).eval()
    with torch.no_grad():
        deviation = float(network(example("cifar10", 64)).std())
    assert 0.01 < deviation < 10


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = make("mlp", "digits", seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = make("mlp", "digits", seed=3), make("mlp", "digits", seed=4)
    pairs = zip(first.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


def test_transformer_blocks_start_with_different_weights() -> None:
    network = make("transformer", "modular", width=32)
    first, second = (block.linear1.weight for block in network.encoder.layers)
    assert not torch.equal(first, second)


def test_init_scale_multiplies_the_weights() -> None:
    plain, scaled = make("mlp", "digits"), make("mlp", "digits", init_scale=3.0)
    assert torch.equal(scaled[1].weight, 3 * plain[1].weight)
    assert torch.equal(scaled[1].bias, plain[1].bias)


def test_centred_output_is_the_scaled_change() -> None:
    network, initial = make("mlp", "digits"), make("mlp", "digits")
    before = network.state_dict().keys()
    head = find_head(network, example("digits"))
    networks.centre(network, head.name, initial, 5.0)
    assert network.state_dict().keys() == before
    assert isinstance(find_head(network, example("digits")).module, nn.Linear)
    inputs = example("digits")
    assert torch.equal(network(inputs), torch.zeros(4, 10))
    reference = make("mlp", "digits")
    with torch.no_grad():
        for changed in (network, reference):
            changed[1].weight.add_(0.01)
        expected = 5 * (reference(inputs) - initial(inputs))
        torch.testing.assert_close(network(inputs), expected)


def test_centred_outputs_are_zero_with_batch_norm_until_a_parameter_moves() -> None:
    network, initial = (make("mlp", "digits", batchnorm=True) for _ in range(2))
    head = find_head(network, example("digits", 9))
    networks.centre(network, head.name, initial, 1000.0)
    inputs = example("digits", 64)
    for batch in (inputs[:20], 3 * inputs[20:]):
        assert torch.equal(network.train()(batch), torch.zeros(len(batch), 10))
    assert torch.equal(network.eval()(inputs), torch.zeros(64, 10))


def test_fresh_batch_norm_normalises_in_eval_mode() -> None:
    network, inputs = make("cnn", "digits", batchnorm=True), example("digits", 64)
    networks.settle(network, inputs)
    assert network.training
    norm = next(module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    values = network.eval()[: list(network).index(norm) + 1](inputs)
    torch.testing.assert_close(
        values.mean((0, 2, 3)), torch.zeros(values.shape[1]), atol=1e-5, rtol=0
    )
    before = [buffer.clone() for buffer in network.buffers()]
    networks.settle(network, 2 * inputs)  # it has seen a batch by now
    assert all(torch.equal(a, b) for a, b in zip(before, network.buffers(), strict=True))
    assert norm.momentum == 0.1


def test_a_new_network_appears_in_the_menu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.networks, "random_features", None)  # type: ignore[arg-type]

    @networks.network("random_features", kinds=("image", "vector"))
    def build(config: Config, shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """One random layer."""
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, config.width),
            nn.ReLU(),
            nn.Linear(config.width, num_outputs),
        )

    menu = controls(Config())[0]["choices"]
    assert menu[-1] == "random_features"
    assert registry.networks["random_features"].help == "One random layer."
    assert make("random_features", "digits")(example("digits")).shape == (4, 10)
    with pytest.raises(ValueError, match="needs a docstring"):
        networks.network("silent", kinds=("image",))(lambda config, shape, outputs: nn.Identity())


def test_weights_depend_on_the_seed_alone_also_in_many_threads() -> None:
    config = Config(width=64, depth=4)
    expected = networks.build(config, (1, 8, 8), 10).state_dict()
    with ThreadPoolExecutor(8) as pool:
        built = list(pool.map(lambda _: networks.build(config, (1, 8, 8), 10), range(64)))
    for model in built:
        for name, value in model.state_dict().items():
            assert torch.equal(value, expected[name]), name
