"""Watching networks of other libraries, in other people's loops."""

import functools
import sys
import threading
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import fswidget as fs
from fswidget.probing.inference import Diverged
from fswidget.probing.live import LiveView
from fswidget.probing.watching import StopTraining, Watch
from fswidget.recording.strengths import agreement

C = 5


def images(side: int, n: int = 10) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, side, side, generator=generator), torch.arange(n) % C


class Network(nn.Sequential):
    """With a ``forward`` of its own: torch 2.6 compiles none of torch.nn's in place."""

    def forward(self, values: Tensor) -> Tensor:
        for layer in self:
            values = layer(values)
        return values


def small_network() -> Network:
    torch.manual_seed(0)
    return Network(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, C)
    )


#: One small member of each family, and the p that its paper gives it.
FAMILIES = {
    "alexnet": 4096,
    "vgg11_bn": 4096,
    "resnet18": 512,
    "resnext50_32x4d": 2048,
    "densenet121": 1024,
    "googlenet": 1024,
    "inception_v3": 2048,
    "mobilenet_v2": 1280,
    "mobilenet_v3_small": 1024,
    "efficientnet_b0": 1280,
    "efficientnet_v2_s": 1280,
    "mnasnet0_5": 1280,
    "regnet_x_400mf": 400,
    "regnet_y_400mf": 440,
    "shufflenet_v2_x0_5": 1024,
    "convnext_tiny": 768,
    "swin_t": 768,
    "swin_v2_t": 768,
    "vit_b_32": 768,
}


@pytest.mark.parametrize("name", FAMILIES)
def test_torchvision_families(name: str) -> None:
    import torchvision

    options: dict[str, Any] = {"vit_b_32": {"image_size": 32}}.get(name, {})
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False  # drawing truncated normals takes them half a minute
    side = {"alexnet": 64, "inception_v3": 75}.get(name, 32)
    model = torchvision.models.get_model(name, weights=None, num_classes=C, **options)
    model.train()
    inputs, targets = images(side)
    frame = fs.watch(model, inputs, targets, errors=False).snapshot()
    assert frame.eigenvalues.shape[0] <= len(inputs)
    assert (np.diff(frame.eigenvalues) <= 0).all()
    assert frame.projections.shape == (10, 8)
    assert model.training
    model.eval()
    entering: list[Tensor] = []
    head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    head.register_forward_pre_hook(lambda _, args: entering.append(args[0]))
    with torch.no_grad():
        outputs = model(inputs)
    features = entering[-1].double()
    assert features.shape == (10, FAMILIES[name])
    # Σ_k ρ_k is the mean of ‖Φ‖².
    trace = float(features.square().sum(1).mean())
    scale = frame.scalars.get("eigenvalue_scale", 1.0)
    assert scale * float(frame.eigenvalues.sum()) == pytest.approx(trace, rel=1e-4)
    np.testing.assert_array_equal(frame.arrays["predictions"], outputs.argmax(1))


def test_a_convolutional_head_is_refused_in_words() -> None:
    import torchvision

    model = torchvision.models.squeezenet1_1(num_classes=C)
    with pytest.raises(ValueError, match=r"SqueezeNet: .* must come from one linear layer"):
        fs.watch(model, *images(32))


@pytest.mark.parametrize(
    "name", ["resnet10t", "test_vit", "test_convnext", "test_efficientnet", "test_mambaout"]
)
def test_timm(name: str) -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model(name, pretrained=False, num_classes=C)
    frame = fs.watch(model, *images(160 if name == "test_vit" else 64), layers="all").snapshot()
    assert len(frame.arrays["layer_low_rank_measure"]) >= 2
    assert frame.scalars["output_rank"] <= C - 1


def hugging_face(kind: str) -> tuple[nn.Module, dict[str, Tensor]]:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    tokens = {
        "input_ids": torch.randint(5, 90, (10, 7)),
        "attention_mask": (torch.arange(7) < torch.randint(3, 8, (10, 1))).long(),
    }
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "num_labels": C}
    text = {**sizes, "vocab_size": 99, "intermediate_size": 32, "max_position_embeddings": 16}
    if kind == "bert":
        config = transformers.BertConfig(**text)
        return transformers.BertForSequenceClassification(config), tokens
    if kind == "distilbert":
        config = transformers.DistilBertConfig(
            vocab_size=99, dim=24, n_layers=2, n_heads=2, hidden_dim=32, num_labels=C
        )
        return transformers.DistilBertForSequenceClassification(config), tokens
    if kind == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=99, n_embd=24, n_layer=2, n_head=2, num_labels=C, pad_token_id=0
        )
        return transformers.GPT2ForSequenceClassification(config), tokens
    if kind == "llama":
        config = transformers.LlamaConfig(**text, pad_token_id=0)
        return transformers.LlamaForSequenceClassification(config), tokens
    pictures = {"pixel_values": images(16)[0]}
    if kind == "vit":
        config = transformers.ViTConfig(**sizes, intermediate_size=32, image_size=16, patch_size=8)
        return transformers.ViTForImageClassification(config), pictures
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=C
    )
    return transformers.ResNetForImageClassification(config), pictures


@pytest.mark.parametrize("kind", ["bert", "distilbert", "gpt2", "llama", "vit", "resnet"])
def test_hugging_face(kind: str) -> None:
    model, inputs = hugging_face(kind)
    model.eval()
    targets = torch.arange(10) % C
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        probe = fs.watch(model, inputs, targets, batch_size=4)
        frame = probe.snapshot()
        with torch.no_grad():
            logits = model(**inputs).logits
    np.testing.assert_array_equal(frame.arrays["predictions"], logits.argmax(1))
    assert probe.recording.info.num_features == (16 if kind == "resnet" else 24)
    assert (probe.recording.info.thumbnails is None) == ("input_ids" in inputs)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("in_place", [False, True])
def test_compiled(in_place: bool) -> None:
    plain = small_network()
    model: Any = small_network()
    compilations = 0

    def backend(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., Any]:
        nonlocal compilations
        compilations += 1
        return graph.forward

    if in_place:
        model.compile(backend=backend)
    else:
        model = torch.compile(model, backend=backend)
    inputs, targets = images(8)
    expected = fs.watch(plain, inputs, targets).snapshot()
    model.train()
    model(inputs).sum().backward()
    compiled = compilations
    assert compiled
    model.load_state_dict(
        {f"{'' if in_place else '_orig_mod.'}{k}": v for k, v in plain.state_dict().items()}
    )
    probe = fs.watch(model, inputs, targets)
    frame = probe.snapshot()
    np.testing.assert_array_equal(frame.eigenvalues, expected.eigenvalues)
    model(inputs).sum().backward()
    # Neither the pass nor what comes after it is compiled anew.
    assert compilations == compiled


def test_a_wide_head_is_measured_in_the_span_of_the_probe() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 200), nn.Tanh(), nn.Linear(200, C))
    inputs, targets = torch.randn(60, 6), torch.arange(60) % C
    probe = fs.watch(model, inputs, targets, held_out=(inputs, targets), layers=["0"])
    probe.snapshot()
    with torch.no_grad():
        before = torch.tanh(model[0](inputs))
        model[0].weight.add_(0.5 * torch.randn(200, 6))
        features = torch.tanh(model[0](inputs))
        outputs = model(inputs)
    frame = probe.snapshot()
    expected = fs.analyze(features, outputs, targets, reference=before)
    np.testing.assert_allclose(frame.eigenvalues, expected.eigenvalues, rtol=1e-4)
    np.testing.assert_allclose(frame.utilization, expected.utilization, atol=1e-4)
    for name in ("low_rank_measure", "kernel_drift", "nc1", "effective_rank"):
        assert frame.scalars[name] == pytest.approx(getattr(expected, name), rel=1e-3), name
    error = expected.errors["low_rank_measure"]
    assert frame.scalars["low_rank_measure_error"] == pytest.approx(error, rel=1e-3)
    assert "of 200 features" in frame.labels["evidence"]
    (only,) = frame.arrays["layer_low_rank_measure"]
    assert frame.scalars["mean_layer_low_rank_measure"] == pytest.approx(only)
    assert frame.scalars["quality_agreement"] == pytest.approx(agreement(frame))
    held = frame.arrays["held_out_projections"]
    np.testing.assert_allclose(held, frame.projections, atol=1e-4)


class FakeViewer:
    """The part of a Viewer that a Watch uses."""

    def __init__(self) -> None:
        self.state = "running"
        self.states: list[str] = []
        self.message = ""
        self.packed = self.pushed = 0

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "state" and hasattr(self, "states"):
            self.states.append(value)
        super().__setattr__(name, value)

    def push(self) -> None:
        self.pushed += 1

    def pack(self) -> None:
        self.packed += 1


@pytest.fixture
def watched() -> Watch:
    probe = fs.watch(small_network(), *images(8), errors=False)
    probe._viewer = FakeViewer()  # type: ignore[assignment]
    return probe


def test_stop_ends_the_with_block_quietly(watched: Watch) -> None:
    epochs = []
    with watched as probe:
        for epoch in range(10):
            if epoch == 3:
                probe._control.stop()
            probe.snapshot(epoch)
            epochs.append(epoch)
    assert epochs == [0, 1, 2]
    assert len(watched.recording) == 4
    assert watched._viewer.state == "finished"
    assert watched._viewer.packed == 1
    assert watched._viewer.pushed >= 4


def test_stop_without_a_with_block_has_a_short_traceback(watched: Watch) -> None:
    watched._control.stop()
    with pytest.raises(StopTraining, match="after epoch 2") as caught:
        watched.snapshot(2)
    assert caught.value._render_traceback_() == [str(caught.value)]


@pytest.mark.parametrize(("command", "frames"), [("resume", 3), ("step", 2)])
def test_pause_blocks_at_the_next_snapshot(watched: Watch, command: str, frames: int) -> None:
    viewer = watched._viewer
    watched._control.pause()

    def loop() -> None:
        for epoch in range(3):
            watched.snapshot(epoch)

    thread = threading.Thread(target=loop)
    thread.start()
    wait_for(lambda: viewer.state == "paused")
    assert len(watched.recording) == 1
    assert viewer.packed == 1  # a notebook saved during a pause replays what there is
    getattr(watched._control, command)()
    if command == "step":
        wait_for(lambda: viewer.states.count("paused") == 2)
        assert len(watched.recording) == frames
        watched._control.resume()
    thread.join(60)
    assert len(watched.recording) == 3
    assert viewer.state == "running"


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("waited a minute in vain")


def test_divergence_and_errors_are_shown(watched: Watch) -> None:
    with torch.no_grad():
        watched.model[-1].weight.fill_(torch.inf)
    with pytest.raises(Diverged), watched as probe:
        probe.snapshot(1)
    assert watched._viewer.state == "diverged"
    assert "not finite" in watched._viewer.message
    with pytest.raises(ZeroDivisionError), watched:
        print(1 / 0)
    assert watched._viewer.state == "error"


@pytest.mark.parametrize("kind", ["watch", "recorder"])
def test_a_cell_s_end_packs_the_recording_and_the_next_one_goes_on(
    watched: Watch, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: dict[str, Callable[[Any], None]] = {}
    shell = SimpleNamespace(events=SimpleNamespace(register=registered.__setitem__))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    viewer = watched._viewer
    live: LiveView = watched
    snapshot: Callable[[], object] = watched.snapshot
    if kind == "recorder":
        live, rows = fs.Recorder(), np.eye(3).repeat(4, 0)
        live._viewer = viewer
        snapshot = functools.partial(live.snapshot, rows, rows, np.arange(3).repeat(4))
    live._pack_after_cells(viewer)
    for cell in (1, 2):
        snapshot()
        assert viewer.state == "running"
        registered["post_run_cell"](None)
        registered["post_run_cell"](None)  # in which nothing was recorded
        assert (viewer.packed, viewer.state) == (cell, "finished")


def test_watching_changes_nothing_in_a_loop_of_ones_own() -> None:
    def run(watching: bool) -> dict[str, Tensor]:
        model = small_network().train()
        model.insert(4, nn.Dropout(0.5))
        inputs, targets = images(8)
        probe = fs.watch(model, inputs, targets, layers="all") if watching else None
        optimizer = torch.optim.AdamW(model.parameters())
        torch.manual_seed(3)
        for step in range(8):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            if probe is not None:
                probe.snapshot(step=step, loss=loss)
        return {**model.state_dict(), "next draw": torch.rand(3)}

    alone, watched = run(False), run(True)
    for name, value in alone.items():
        assert torch.equal(value, watched[name]), name
