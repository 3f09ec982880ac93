"""The callbacks, in the real trainers."""

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import fswidget as fs
from fswidget.callbacks import lightning_callback, transformers_callback
from fswidget.probing.watching import Watch

pytestmark = pytest.mark.filterwarnings("ignore")
C, N = 3, 48


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(N) % C
    return torch.randn(N, 6, generator=generator) + targets[:, None], targets


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, C))


def press_stop(probe: Watch) -> None:
    """Put a viewer there in which Stop is pressed after the second snapshot."""

    def push() -> None:
        if len(probe.recording) == 2:
            probe._control.stop()

    probe._viewer = SimpleNamespace(  # type: ignore[assignment]
        state="", message="", push=push, pack=lambda: None
    )


def fit_lightning(
    folder: Path,
    *make_callbacks: Any,
    epochs: int = 3,
    lr: float = 0.1,
    fits: int = 1,
    loader: Any = None,
    **options: Any,
) -> Any:
    pytest.importorskip("lightning")
    from lightning.pytorch import LightningModule, Trainer

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            return functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=lr)

    module = Module()
    callbacks = [make(module) for make in make_callbacks]
    torch.manual_seed(1)
    for _ in range(fits):
        trainer = Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            callbacks=callbacks,
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **options,
        )
        rows = DataLoader(TensorDataset(*data()), batch_size=16, shuffle=True)
        trainer.fit(module, rows if loader is None else loader)
    return SimpleNamespace(trainer=trainer, module=module)


def test_lightning(tmp_path: Path) -> None:
    probes: list[Watch] = []

    def watching(module: nn.Module) -> Any:
        probes.append(fs.watch(module, *data()))
        return lightning_callback(probes[0])

    watched = fit_lightning(tmp_path, watching)
    alone = fit_lightning(tmp_path)
    frames = list(probes[0].recording)
    assert [frame.epoch for frame in frames] == [0, 1, 2, 3]
    assert [frame.step for frame in frames] == [0, 3, 6, 9]
    assert frames[0].labels["regime"] == "UNTRAINED"
    losses = [frame.scalars["loss"] for frame in frames[1:]]
    assert losses == sorted(losses, reverse=True)
    assert frames[1].scalars["lr"] == pytest.approx(0.1)
    for name, value in alone.module.state_dict().items():
        assert torch.equal(value, watched.module.state_dict()[name]), name


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_frames_within_a_half_precision_run_are_those_outside(
    tmp_path: Path, precision: str
) -> None:
    """Nothing is learned: frames in the run differ from those before by rounding, if at all."""
    probes: list[Watch] = []

    def watching(module: nn.Module) -> Any:
        module.net[1].momentum = 0.0
        probes.append(fs.watch(module, *data()))
        probes[0].snapshot(epoch=0)
        return lightning_callback(probes[0])

    fit_lightning(tmp_path, watching, lr=0.0, epochs=2, precision=precision)
    before, *within = probes[0].recording
    assert len(within) == 2
    for frame in within:
        assert frame.labels["regime"] == "UNTRAINED"
        if precision == "bf16-mixed":  # of which only the autocast is half
            np.testing.assert_array_equal(frame.eigenvalues, before.eigenvalues)
        np.testing.assert_allclose(frame.eigenvalues, before.eigenvalues, rtol=0.05, atol=0.01)


def test_fabric_is_looked_through() -> None:
    pytest.importorskip("lightning")
    from lightning.fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    model = network()
    alone = fs.watch(model, *data()).snapshot()
    wrapped = fabric.setup_module(model)
    probe = fs.watch(wrapped, *data())
    with fabric.autocast():
        frame = probe.snapshot()
    np.testing.assert_array_equal(frame.eigenvalues, alone.eigenvalues)


def test_accelerate_is_looked_through() -> None:
    pytest.importorskip("accelerate")
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(mixed_precision="bf16", cpu=True)
    model = network()
    before = fs.watch(model, *data())
    alone = before.snapshot()
    prepared = accelerator.prepare(model)
    assert prepared.eval()(data()[0]).dtype == torch.float32
    for probe in (before, fs.watch(prepared, *data())):
        with accelerator.autocast():
            frame = probe.snapshot()
        np.testing.assert_array_equal(frame.eigenvalues, alone.eigenvalues)
    AcceleratorState._reset_state(reset_partial_state=True)


def test_lightning_every_so_many_steps_and_stop(tmp_path: Path) -> None:
    probes: list[Watch] = []

    def watching(module: nn.Module) -> Any:
        probes.append(fs.watch(module, *data()))
        press_stop(probes[0])
        return lightning_callback(probes[0], every_n_steps=2)

    result = fit_lightning(tmp_path, watching, epochs=50)
    assert [frame.step for frame in probes[0].recording] == [0, 2]
    assert [frame.epoch for frame in probes[0].recording] == [0, pytest.approx(2 / 3)]
    assert result.trainer.current_epoch < 3
    assert probes[0]._viewer.state == "finished"


def test_a_diverged_run_goes_on_unwatched(tmp_path: Path) -> None:
    probes: list[Watch] = []

    def watching(module: nn.Module) -> Any:
        probes.append(fs.watch(module, *data()))
        return lightning_callback(probes[0])

    with pytest.warns(UserWarning, match="watching ended: epoch 1, step 3: .* not finite"):
        result = fit_lightning(tmp_path, watching, lr=torch.inf)
    assert len(probes[0].recording) == 1
    assert result.trainer.global_step == 9


def test_another_fit_goes_on_with_the_numbers(tmp_path: Path) -> None:
    probes: list[Watch] = []

    def watching(module: nn.Module) -> Any:
        probes.append(fs.watch(module, *data()))
        probes[0].snapshot(epoch=0)
        return lightning_callback(probes[0])

    result = fit_lightning(tmp_path, watching, fits=2, epochs=2)
    assert [frame.epoch for frame in probes[0].recording] == [0, 1, 2, 3, 4]
    assert [frame.step for frame in probes[0].recording] == [0, 3, 6, 9, 12]
    assert result.trainer.global_step == 6
    # With the same trainer, which counts on by itself.
    result.trainer.fit_loop.max_epochs = 3
    result.trainer.fit(result.module, DataLoader(TensorDataset(*data()), batch_size=16))
    assert [frame.epoch for frame in probes[0].recording] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("where", ["snapshot", "on_frame", "view", "end"])
def test_nothing_that_fails_here_ends_the_training(tmp_path: Path, where: str) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("of ours")

    def watching(module: nn.Module) -> Any:
        probe = fs.watch(module, *data(), on_frame=fails if where == "on_frame" else None)
        if where == "snapshot":
            probe.frame = fails  # type: ignore[method-assign]
        elif where != "on_frame":
            push = fails if where == "view" else lambda: None
            probe._viewer = SimpleNamespace(push=push, pack=fails)  # type: ignore[assignment]
        return lightning_callback(probe)

    with pytest.warns(UserWarning, match="watching ended: of ours"):
        result = fit_lightning(tmp_path, watching)
    assert result.trainer.global_step == 9


class Stream(IterableDataset):
    """Batches without end."""

    def __iter__(self) -> Iterator[list[Tensor]]:
        while True:
            yield list(data())


def test_a_stream_of_unknown_length_has_epochs_that_grow(tmp_path: Path) -> None:
    probes: list[Watch] = []

    def watching(module: nn.Module) -> Any:
        probes.append(fs.watch(module, *data()))
        return lightning_callback(probes[0], every_n_steps=2)

    stream = DataLoader(Stream(), batch_size=None)
    fit_lightning(tmp_path, watching, loader=stream, epochs=-1, max_steps=6)
    assert [frame.step for frame in probes[0].recording] == [0, 2, 4, 6]


class Spawned:
    """Makes a callback that says in a file what it recorded in its process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, frame: fs.Frame) -> None:
        with (self.folder / "epochs").open("a") as file:
            file.write(f"{frame.epoch:g} ")


def test_a_callback_that_is_sent_to_another_process_says_where_its_frames_are(
    tmp_path: Path,
) -> None:
    probe = fs.watch(network(), *data(), on_frame=Spawned(tmp_path))
    callback = pickle.loads(pickle.dumps(lightning_callback(probe, every_n_steps=2)))
    assert type(callback).__name__ == "FeatureSpectrum"
    sent = pickle.loads(pickle.dumps(probe))
    sent._made_in -= 1
    with pytest.warns(UserWarning, match=r"frames of this run stay in the process .*on_frame"):
        result = fit_lightning(tmp_path, lambda module: lightning_callback(sent), epochs=1)
    assert (tmp_path / "epochs").read_text() == "0 1 "
    assert result.trainer.global_step == 3


def fit_transformers(
    folder: Path, *, lr: float = 1e-3, bf16: bool = False, **options: Any
) -> tuple[Watch, Any]:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=C,
    )
    model = transformers.BertForSequenceClassification(config)
    tokens = torch.randint(3, 30, (N, 5), generator=torch.Generator().manual_seed(0))
    targets = torch.arange(N) % C
    rows = [{"input_ids": t, "labels": y} for t, y in zip(tokens, targets, strict=True)]
    probe = fs.watch(model, {"input_ids": tokens}, targets)
    if options.pop("stopping", False):
        press_stop(probe)
    watching = options.pop("watching", True)
    callback = transformers_callback(probe, every_n_steps=options.pop("every_n_steps", None))
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=3,
        per_device_train_batch_size=16,
        learning_rate=lr,
        bf16=bf16,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        seed=1,
    )
    trainer = transformers.Trainer(
        model=model, args=arguments, train_dataset=rows, callbacks=[callback] if watching else []
    )
    for _ in range(options.pop("trains", 1)):
        trainer.train()
    return probe, trainer


def test_transformers(tmp_path: Path) -> None:
    probe, trainer = fit_transformers(tmp_path)
    assert [frame.epoch for frame in probe.recording] == [0, 1, 2, 3]
    assert [frame.step for frame in probe.recording] == [0, 3, 6, 9]
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert probe.recording[1].scalars["loss"] == pytest.approx(sum(logged[:3]) / 3)
    assert 0 < probe.recording[1].scalars["lr"] < 1e-3
    _, alone = fit_transformers(tmp_path, watching=False)
    for name, value in alone.model.state_dict().items():
        assert torch.equal(value, trainer.model.state_dict()[name]), name


def test_another_train_goes_on_with_the_numbers(tmp_path: Path) -> None:
    probe, _ = fit_transformers(tmp_path, trains=2)
    assert [frame.epoch for frame in probe.recording] == [0, 1, 2, 3, 4, 5, 6]
    assert [frame.step for frame in probe.recording] == [0, 3, 6, 9, 12, 15, 18]


def test_frames_within_a_half_precision_trainer_are_those_outside(tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    probe, _ = fit_transformers(tmp_path, lr=0.0, bf16=True)
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    for frame in probe.recording:
        assert frame.labels["regime"] == "UNTRAINED"
        np.testing.assert_array_equal(frame.eigenvalues, probe.recording[0].eigenvalues)


def test_transformers_stop(tmp_path: Path) -> None:
    probe, trainer = fit_transformers(tmp_path, every_n_steps=4, stopping=True)
    assert [frame.step for frame in probe.recording] == [0, 4]
    assert trainer.state.global_step == 4


@pytest.mark.parametrize("make", [lightning_callback, transformers_callback])
def test_broken_arguments_are_named(make: Any) -> None:
    with pytest.raises(TypeError, match="probe=<object"):
        make(object())
    probe = fs.watch(network(), *data())
    for steps in (0, 1.5):
        with pytest.raises(ValueError, match=f"every_n_steps={steps}"):
            make(probe, every_n_steps=steps)


@pytest.mark.parametrize(
    ("make", "library"), [(lightning_callback, "lightning"), (transformers_callback, "transform")]
)
def test_a_missing_library_is_named(
    make: Any, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("lightning.pytorch", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"pip install 'fswidget\[{library}"):
        make(fs.watch(network(), *data()))
