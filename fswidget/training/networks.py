"""The named networks. Each maps inputs to features Φ of dimension ``width`` and ends in one linear
layer. Add one with the decorator:

>>> @network("linear", kinds=("image", "vector"))
... def linear(config, shape, num_outputs):
...     "One random layer."
...     width = config.width
...     return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), width), nn.ReLU(),
...                          nn.Linear(width, num_outputs))
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fswidget.probing.arguments import check_weights
from fswidget.training.isolation import own_numbers
from fswidget.training.parametrization import growths, scale_initial
from fswidget.training.registry import Settings, Shape, network


def build(config: Settings, shape: Shape, num_outputs: int) -> nn.Module:
    """The untrained network of a configuration, on the CPU; its weights depend on the seed alone.

    The global random state is left as it was.
    """
    with own_numbers(config.seed):
        model: nn.Module = config.network.build(config, shape, num_outputs)
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model={config.network.name!r}: returned a {type(model).__name__}; must return a "
            "torch.nn.Module"
        )
    how = "call model(torch.zeros(2, *shape)) before it is returned"
    check_weights(model, repr(config.network.name), how)
    scale_initial(model, growths(config, model, shape, num_outputs))
    if config.init_scale != 1:
        with torch.no_grad():
            for parameter in model.parameters():
                # Vectors are biases and the gains of normalisation, which carry no scale of f.
                if parameter.ndim > 1:
                    parameter.mul_(config.init_scale)
    return model


def activation_of(config: Settings) -> nn.Module:
    """A new module of the nonlinearity that `config` names."""
    kinds: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}
    return kinds[config.activation]()


@network("mlp", kinds=("image", "vector"), batchnorm=True, depth=True, activation=True)
def mlp(config: Settings, shape: Shape, num_outputs: int) -> nn.Module:
    """Fully connected: hidden layers of equal width."""
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = math.prod(shape)
    for _ in range(config.depth):
        layers.append(nn.Linear(inputs, config.width))
        if config.batchnorm:
            layers.append(nn.BatchNorm1d(config.width))
        layers.append(activation_of(config))
        inputs = config.width
    return nn.Sequential(*layers, nn.Linear(inputs, num_outputs))


@network("cnn", kinds=("image",), batchnorm=True, depth=True, activation=True, min_pixels=8)
def cnn(config: Settings, shape: Shape, num_outputs: int) -> nn.Module:
    """Small convolutional: 3×3 convolutions that double the channels and halve the picture."""
    layers: list[nn.Module] = []
    inputs, pixels = shape[0], min(shape[-2:])
    for index in range(config.depth):
        channels = max(1, config.width >> (config.depth - 1 - index))
        layers.append(nn.Conv2d(inputs, channels, 3, padding=1))
        if config.batchnorm:
            layers.append(nn.BatchNorm2d(channels))
        layers.append(activation_of(config))
        if index < config.depth - 1 and pixels >= 2:
            layers.append(nn.MaxPool2d(2))
            pixels //= 2
        inputs = channels
    pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers, *pool, nn.Linear(inputs, num_outputs))


@network("vgg16", kinds=("image",), batchnorm=True, min_pixels=28)
def vgg16(config: Settings, shape: Shape, num_outputs: int) -> nn.Module:
    """VGG16 for small pictures: 13 convolutions and one linear layer, width 512 in full."""
    from torchvision.models import vgg  # takes as long as importing torch

    plan: list[str | int] = [
        entry if isinstance(entry, str) else max(1, entry * config.width // 512)
        for entry in vgg.cfgs["D"]
    ]
    features = vgg.make_layers(plan, batch_norm=config.batchnorm)
    first = features[0]
    features[0] = nn.Conv2d(shape[0], first.out_channels, 3, padding=1)
    for module in features:
        if isinstance(module, nn.Conv2d):
            # As torchvision's VGG does; the default would let the signal die within 13 layers.
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    # Five poolings need 32 pixels.
    pad = nn.ZeroPad2d(max(0, (32 - shape[-1] + 1) // 2))
    pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(pad, *features, *pool, nn.Linear(config.width, num_outputs))


@network("resnet18", kinds=("image",), batchnorm=True, min_pixels=8, width_multiple=8)
def resnet18(config: Settings, shape: Shape, num_outputs: int) -> nn.Module:
    """ResNet18 for small pictures: 3×3 stem and no max-pooling, width 512 in full."""
    from torchvision.models.resnet import BasicBlock

    norm: Callable[[int], nn.Module] = (
        nn.BatchNorm2d if config.batchnorm else lambda _: nn.Identity()
    )
    inputs = config.width // 8
    layers = [nn.Conv2d(shape[0], inputs, 3, padding=1, bias=False), norm(inputs), nn.ReLU()]
    for stage in range(4):
        channels = config.width // 8 << stage
        for stride in (1 if stage == 0 else 2, 1):
            shortcut = None
            if stride != 1 or inputs != channels:
                shortcut = nn.Sequential(
                    nn.Conv2d(inputs, channels, 1, stride, bias=False), norm(channels)
                )
            layers.append(BasicBlock(inputs, channels, stride, shortcut, norm_layer=norm))
            inputs = channels
    pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(*layers, *pool, nn.Linear(inputs, num_outputs))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if not config.batchnorm:
        for module in model:
            if isinstance(module, BasicBlock):
                # Without normalisation eight residual branches would double the variance each.
                with torch.no_grad():
                    module.conv2.weight.mul_(8**-0.5)
    return model


class Transformer(nn.Module):
    """Post-LN encoder over a few tokens; the last position is read."""

    def __init__(self, config: Settings, length: int, vocabulary: int, num_outputs: int) -> None:
        super().__init__()
        width = config.width
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.randn(length, width) / math.sqrt(width))
        nn.init.normal_(self.token.weight, std=width**-0.5)
        layer = nn.TransformerEncoderLayer(
            width,
            nhead=4,
            dim_feedforward=4 * width,
            dropout=0.0,
            activation=activation_of(config),
            batch_first=True,
        )
        norm = nn.LayerNorm(width) if config.final_norm else None
        self.encoder = nn.TransformerEncoder(
            layer, config.depth, norm=norm, enable_nested_tensor=False
        )
        for block in self.encoder.layers:
            # The encoder copies one layer; without this all would start with the same weights.
            for parameter in block.parameters():
                if parameter.ndim > 1:
                    nn.init.xavier_uniform_(parameter)
        self.head = nn.Linear(width, num_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.encoder(self.token(tokens) + self.position)
        logits: Tensor = self.head(hidden[:, -1])
        return logits


@network("transformer", kinds=("tokens",), depth=True, activation=True, width_multiple=4)
def transformer(config: Settings, shape: Shape, num_outputs: int) -> nn.Module:
    """Transformer for a ∘ b =: post-LayerNorm blocks with 4 heads, read at the last position."""
    return Transformer(config, shape[0], num_outputs + 2, num_outputs)


#: Singular values of what a linear network computes at the start (our choice).
_SMALL = 0.01


@network("linear", kinds=("image", "vector"), depth=True)
def linear(config: Settings, shape: Shape, num_outputs: int) -> nn.Module:
    """Deep linear: neither nonlinearity nor biases, balanced, so that theory knows its course."""
    sizes = [math.prod(shape), *[config.width] * config.depth, num_outputs]
    rank = min(sizes)
    # Orthonormal columns for each space between two layers make W_{l+1}ᵀ W_{l+1} = W_l W_lᵀ.
    columns = [torch.linalg.qr(torch.randn(size, rank))[0] for size in sizes]
    layers = [nn.Linear(below, above, bias=False) for below, above in itertools.pairwise(sizes)]
    with torch.no_grad():
        for layer, below, above in zip(layers, columns, columns[1:], strict=False):
            layer.weight.copy_(_SMALL ** (1 / len(layers)) * above @ below.T)
    return nn.Sequential(nn.Flatten(), *layers)


def settle(model: nn.Module, inputs: Tensor) -> None:
    """Give batch normalisation that has seen no batch the statistics of these inputs, in place.

    In eval mode it would else normalise nothing, and the untrained network's features be those of
    another network than the one that trains: what they drift in the first epochs would be the
    statistics and not the weights. Our choice.
    """
    norms = [norm for norm in _norms(model) if not norm.num_batches_tracked]
    if not norms or len(inputs) < 2:
        return
    momenta, mode = [norm.momentum for norm in norms], model.training
    model.eval()  # dropout draws nothing
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        model(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(mode)


def _norms(model: nn.Module) -> list[_BatchNorm]:
    """Batch normalisation that keeps statistics."""
    found = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    return [norm for norm in found if norm.num_batches_tracked is not None]


class CentredLinear(nn.Linear):
    """A linear head that gives α(WΦ + b − f₀), f₀ being set anew before each forward pass."""

    scale: float = 1.0
    initial: Tensor

    def forward(self, input: Tensor) -> Tensor:
        return self.scale * (super().forward(input) - self.initial)


def centre(model: nn.Module, head_name: str, initial: nn.Module, scale: float) -> None:
    """Turn f into α(f − f₀) in place, keeping a plain linear head (Chizat et al., 1812.07956).

    Parameters
    ----------
    model : nn.Module
        Changed: its head, and a hook before its forward pass.
    head_name : str
        Where the head is in `model`; "" if `model` is the head itself.
    initial : nn.Module
        f₀, a frozen copy of the untrained network on the same device. Its batch normalisation takes
        the batches that the network's does, so that f = f₀ as long as no parameter has moved.
    scale : float
        α
    """
    head = model.get_submodule(head_name)
    if not isinstance(head, nn.Linear) or not head_name:
        raise ValueError(f"output_scale={scale!r}: the network's head must be an nn.Linear in it")
    with own_numbers(0):  # what it draws is replaced
        centred = CentredLinear(head.in_features, head.out_features)
    centred.weight, centred.bias, centred.scale = head.weight, head.bias, scale
    model.set_submodule(head_name, centred)
    initial.eval().requires_grad_(False)
    norms = list(zip(_norms(model), _norms(initial), strict=True))

    def before(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        for norm, first in norms:
            first.train(norm.training)
        with torch.no_grad():
            centred.initial = initial(*args)

    model.register_forward_pre_hook(before)
