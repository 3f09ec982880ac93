"""One row per sample from a layer's output: the mean over positions, wherever the channels lie."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import fswidget as fs

N, C = 24, 4
#: Where the channels lie in what a layer gives: first of (n, c, …), or last of (n, …, c).
FIRST, LAST = 1, -1


class Sequence(nn.Module):
    """Tokens through a convolution, attention and a recurrence."""

    def __init__(self, rows_first: bool = False) -> None:
        super().__init__()
        self.embed, self.conv = nn.Embedding(20, 16), nn.Conv1d(16, 16, 3, padding=1)
        self.act, self.norm = nn.GELU(), nn.LayerNorm(16)
        self.attend = nn.TransformerEncoderLayer(16, 2, 16, batch_first=not rows_first)
        self.recur = nn.LSTM(16, 12, batch_first=not rows_first)
        self.head, self.rows_first = nn.Linear(12, C), rows_first

    def forward(self, tokens: Tensor) -> Tensor:
        z = self.act(self.conv(self.embed(tokens).transpose(1, 2))).transpose(1, 2)
        z = self.norm(z)
        z = z.transpose(0, 1) if self.rows_first else z
        z, _ = self.recur(self.attend(z))
        return self.head(z[-1] if self.rows_first else z[:, -1])


class Volume(nn.Module):
    """Channels first, then last, then first again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv3d(1, 6, 3, padding=1), nn.LayerNorm(6), nn.Tanh()
        self.back, self.head = nn.Identity(), nn.Linear(6, C)

    def forward(self, x: Tensor) -> Tensor:
        z = self.drop(self.norm(self.conv(x).movedim(1, -1)))
        return self.head(self.back(z.movedim(-1, 1)).mean((2, 3, 4)))


def swin() -> nn.Module:
    models = pytest.importorskip("torchvision.models")
    sizes = {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": [4, 4]}
    return models.SwinTransformer([2, 2], **sizes, num_classes=C)


def vision_transformer() -> nn.Module:
    models = pytest.importorskip("torchvision.models")
    return models.VisionTransformer(16, 4, 1, 2, 16, 16, num_classes=C)


PICTURES = (N, 3, 16, 16)
#: Network, shape of its inputs (tokens where there are two numbers), and where channels lie.
CASES = {
    "swin": (swin, PICTURES, {"features.0.0": FIRST, "features.1": LAST, "features.3.0": LAST}),
    "swin's norm": (swin, PICTURES, {"features.2": LAST, "norm": LAST, "permute": FIRST}),
    "vision transformer": (
        vision_transformer,
        PICTURES,
        {"conv_proj": FIRST, "encoder.layers.encoder_layer_0": LAST, "encoder.ln": LAST},
    ),
    # As long as there are channels, where only what came before tells.
    "sequence": (Sequence, (N, 7), {"conv": FIRST, "act": FIRST, "norm": LAST, "recur": LAST}),
    "square": (Sequence, (N, 16), {"embed": LAST, "conv": FIRST, "act": FIRST, "attend": LAST}),
    "rows first": (lambda: Sequence(True), (N, 7), {"embed": LAST, "conv": FIRST}),
    "volume": (Volume, (N, 1, 5, 4, 3), {"conv": FIRST, "norm": LAST, "drop": LAST, "back": FIRST}),
}


@pytest.mark.parametrize("case", CASES)
def test_positions_are_averaged_over_and_channels_kept(case: str) -> None:
    make, shape, layers = CASES[case]
    torch.manual_seed(0)
    model = make().eval()
    inputs = torch.randint(20, shape) if len(shape) == 2 else torch.randn(shape)
    seen: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(module: nn.Module, args: object, output: Tensor | tuple[Tensor, ...]) -> None:
            seen[name] = (output if isinstance(output, Tensor) else output[0]).clone()

        return hook

    modules = dict(model.named_modules())
    for name in layers:
        modules[name].register_forward_hook(keep(name))
    with torch.no_grad():
        model(inputs)
    probe = fs.watch(model, inputs, torch.arange(N) % C, layers=list(layers), errors=False)
    found = probe._run(probe._maker.samples, "", probe.recording.info.layers).layers
    for name, axis in layers.items():
        rows = seen[name].movedim(axis, 1).flatten(2).mean(2)
        torch.testing.assert_close(found[name], rows, msg=lambda text, n=name: f"{n}: {text}")
    rank = probe.snapshot().arrays["layer_effective_rank"]
    for name, value in zip(probe.recording.info.layers, rank, strict=True):
        squares = torch.linalg.svdvals(found[name].double()) ** 2
        shares = squares / squares.sum()
        expected = float(torch.exp(-torch.special.xlogy(shares, shares).sum()))
        assert float(value) == pytest.approx(expected, rel=1e-3), name


def test_a_layer_with_positions_before_samples_is_named() -> None:
    model, tokens = Sequence(rows_first=True), torch.randint(20, (N, 7))
    with pytest.raises(ValueError, match=r"layers='attend': gives 7 rows for 2 samples.*batch_fir"):
        fs.watch(model, tokens, torch.arange(N) % C, layers=["attend"])
