"""The callbacks, in the real trainers."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

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


def fit_lightning(folder: Path, *callbacks: Any, epochs: int = 3, lr: float = 0.1) -> Any:
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
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[make(module) for make in callbacks],
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    torch.manual_seed(1)
    trainer.fit(module, DataLoader(TensorDataset(*data()), batch_size=16, shuffle=True))
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


def fit_transformers(folder: Path, **options: Any) -> tuple[Watch, Any]:
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
        learning_rate=1e-3,
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
