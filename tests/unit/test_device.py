"""On a GPU nothing waits for it within an epoch, and no tensor is on the wrong side.

No GPU is needed: fake tensors say that they are on one, refuse to be mixed with others, and hold no
numbers, so that whatever would have to be read is seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode

from fswidget.analysis import eigensolvers, replicates
from fswidget.analysis.api import FeatureMoments
from fswidget.analysis.averages import Averages
from fswidget.analysis.basis import FewerOutputs
from fswidget.analysis.eigensolvers import eigh_full
from fswidget.analysis.jackknife import LeftOut
from fswidget.analysis.linear_outputs import FewerOfLinear, LinearOutputs
from fswidget.analysis.measures import Measures
from fswidget.analysis.positions import Layout, Positions
from fswidget.analysis.replicates import Neighbourhood
from fswidget.probing.distributed import Communicator
from fswidget.probing.inference import run
from fswidget.probing.probe import Probe
from fswidget.probing.tangent import TangentKernel
from fswidget.training.config import Config
from fswidget.training.loop import Training
from fswidget.training.optimisation import make_optimizer

CARD = torch.device("cuda")
RUNS = {
    "mlp": {"loss": "mse", "batchnorm": True, "optimizer": "adamw"},
    "cnn": {"model": "cnn", "augment": True, "batchnorm": True},
    "centred": {"output_scale": 10.0},
    "transformer": {"model": "transformer", "dataset": "modular", "modulus": 13},
    "teacher": {"dataset": "teacher", "loss": "mse"},
}
#: Operations of which the result, or its shape, must be known on the CPU.
READS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "bincount", "_unique2"}
READS |= {"is_nonzero", "linalg_eigh", "_linalg_eigh", "unique_dim", "unique_consecutive"}


class HostReads(TorchDispatchMode):
    """Counts what makes a GPU wait; a truth that is asked for is true, a number 1."""

    def __init__(self, everywhere: bool = False) -> None:
        super().__init__()
        self.everywhere = everywhere
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        fake = isinstance(args[0], FakeTensor) if args else False
        away = self.everywhere or (fake and args[0].device.type == "cuda")
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        masked = any(isinstance(i, Tensor) and i.dtype == torch.bool for i in indices)
        goal = kwargs.get("device")
        home = goal is not None and goal.type == "cpu"
        if fake and not away and name == "_to_copy" and goal and goal.type == "cuda":
            self.seen["upload"] += 1
        if away and (name in READS or masked or (name == "_to_copy" and home)):
            self.seen[name] += 1
            if fake and name == "_local_scalar_dense":
                return True if args[0].dtype == torch.bool else 1
        return func(*args, **kwargs)


@pytest.fixture
def mode() -> Iterator[FakeTensorMode]:
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        try:
            torch.empty(2, device=CARD)[torch.zeros(1, dtype=torch.int64, device=CARD)]
        except RuntimeError as error:
            first = str(error).splitlines()[0]
            pytest.skip(f"torch {torch.__version__} asks a driver of tensors without data: {first}")
        yield mode


def move(tensor: Tensor, mode: FakeTensorMode) -> Tensor:
    fake = mode.from_tensor(tensor.detach())
    moved = torch.empty_like(fake, device=CARD)
    return nn.Parameter(moved, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else moved


def move_module(model: nn.Module, mode: FakeTensorMode) -> None:
    for module in model.modules():
        for table in (module._parameters, module._buffers):
            for name, value in table.items():
                if value is not None:
                    table[name] = move(value, mode)  # type: ignore[assignment]


def config_of(**settings: Any) -> Config:
    values = {"width": 16, "train_size": 100, "test_size": 50, "batch_size": 32, **settings}
    if values.get("dataset") == "modular":
        del values["train_size"]
    return Config(**values)


def moved_training(mode: FakeTensorMode, **settings: Any) -> Training:
    """A run as it is on a GPU."""
    with unset_fake_temporarily():
        training = Training(config_of(**settings))
    training.device = CARD
    move_module(training.model, mode)
    batches = training._batches
    batches.inputs, batches.targets = (move(x, mode) for x in (batches.inputs, batches.targets))
    # The hook of f − f₀ holds the untrained network.
    for hook in training.model._forward_pre_hooks.values():
        for cell in hook.__closure__ or ():
            if isinstance(cell.cell_contents, nn.Module):
                move_module(cell.cell_contents, mode)
    training._optimizer = make_optimizer(training.config, training.model)
    return training


@pytest.mark.parametrize("case", RUNS)
def test_a_training_step_never_reads_from_the_gpu(
    case: str, mode: FakeTensorMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = moved_training(mode, **RUNS[case])

    # The engine of backward passes asks for a GPU's streams: only what it leaves is made here.
    def backward(loss: Tensor) -> None:
        assert loss.device.type == "cuda"
        for parameter in training.model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.empty_like(parameter)

    monkeypatch.setattr(Tensor, "backward", backward)
    total = torch.zeros((), device=CARD)
    with HostReads() as reads:
        for _ in range(training.steps_per_epoch + 1):
            loss, count = training._train_step(0.1)
            training.step += 1
            total += loss * count
    assert total.device.type == "cuda"
    # Only order and crops of an epoch go there, once each; this is the second.
    uploads = 2 * (3 if training.config.augment else 1)
    assert reads.seen == {"upload": uploads}


@pytest.mark.parametrize("case", RUNS)
def test_an_epoch_reads_its_loss_once(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backward passes included: on the CPU, but as a GPU would be asked."""
    training = Training(config_of(**RUNS[case], epochs=2, frame_every=1000))
    training._reads_each_loss = False
    monkeypatch.setattr(training, "_frame", lambda **_: training)
    with HostReads(everywhere=True) as reads:
        training._advance()
    assert training.step == training.total_steps == 2 * training.steps_per_epoch
    assert reads.seen == {"_local_scalar_dense": 2}


def test_a_pass_over_the_probe_reads_once(mode: FakeTensorMode) -> None:
    training = moved_training(mode, model="cnn", batchnorm=True)
    probe = training.probe
    samples = replace(
        probe._maker.samples,
        args=tuple(move(x, mode) for x in probe._maker.samples.args),
        targets=move(probe._maker.samples.targets, mode),
    )
    how: dict[str, Any] = {"batch_size": 16, "device": CARD, "team": Communicator()}
    training.model.eval()
    with HostReads() as reads, torch.no_grad():
        read = run(probe._reader, samples, **how)
        assert reads.seen == {"_local_scalar_dense": 1}
        reads.seen.clear()
        # Many outputs are kept as what makes them: whether it does, whether layers are finite, how
        # many axes there are; and whether outputs that are whole lie in the span of the features.
        linear = run(probe._reader, samples, by_weights=True, **how).outputs
        assert isinstance(linear, LinearOutputs)
        assert reads.seen == {"_local_scalar_dense": 2}
        few = FewerOfLinear.of(linear).reduce(linear[torch.arange(4, device=CARD)])
        assert few.device.type == "cuda"
        assert reads.seen == {"_local_scalar_dense": 3, "_linalg_eigh": 1}
        many = torch.empty(len(samples), 2100, device=CARD)
        axes = FewerOutputs.of(torch.empty(len(samples), 16, device=CARD), many)
        assert axes is not None
        assert axes.reduce(many).device.type == "cuda"
        assert reads.seen == {"_local_scalar_dense": 4, "_linalg_eigh": 1}
        reads.seen.clear()
        moments = FeatureMoments(16, 10, 10, num_reference=16, device=CARD)
        moments.update(read.features, read.outputs, read.targets, read.features)
    assert moments._upper.device.type == "cuda"
    # Whether each of three arrays is finite, the least and the largest label; and the rows in the
    # order of their jackknife blocks, with the section of the outputs, go there.
    assert reads.seen == {"_local_scalar_dense": 5, "upload": 2}


@pytest.mark.parametrize("shape", [(5, 3, 6, 6), (5, 6, 6, 3)])
def test_positions_are_taken_where_the_outputs_are(shape: tuple[int, ...]) -> None:
    """On a device without data, where nothing can be read."""
    positions = Positions.draw(torch.zeros(5, 6, 6), Layout(1), most=40)
    taken = positions.take(torch.empty(shape, device="meta"))
    assert taken.device.type == "meta"
    assert taken.shape == (40, 3)


def test_the_tangent_kernel_stays_where_the_network_is() -> None:
    """There gradients can be taken, too."""
    probe = Training(config_of(loss="mse")).probe
    meta = torch.device("meta")
    kernel = TangentKernel(probe._maker.samples, 10).kernel(probe.model.to(meta), meta)
    assert kernel.device == meta
    assert kernel.dtype == torch.float64


def test_replicates_of_error_bars_are_measured_on_the_gpu(mode: FakeTensorMode) -> None:
    with unset_fake_temporarily():
        generator, labels = torch.Generator().manual_seed(0), torch.arange(800) % 10
        features = torch.randn(800, 160, generator=generator)
        moments = FeatureMoments(160, 10, 10, num_reference=160)
        moments.update(features, features[:, :10], labels, features)
        averages = Averages.of(moments)
        left_out = LeftOut(moments._gram, averages).averages([0, 1, 2])
        known = eigh_full(averages.second(averages.columns.features, averages.columns.features))
        near = Neighbourhood(averages, known, 10)

    def there(some: Averages) -> Averages:
        tensors = (move(tensor, mode) for tensor in (some.n, some.origin, some.about))
        return Averages(*tensors, some.columns)

    near.known = replace(known, values=move(known.values, mode), vectors=move(known.vectors, mode))
    near._averages, some = there(averages), there(left_out)
    with HostReads() as reads:
        measured = Measures.of(some, moments, "cross_entropy", 1e-5, debias=True, by_class=True)
        step = near._step(some)
        found = [near._expand(step, measured.rows), *near._entropy.terms(step)]
    assert {tensor.device.type for tensor in (*found, *measured.tensors.values())} == {"cuda"}
    # Small solves of all at once: two spans, directions, leverages, and the leading eigenpairs.
    # What the outputs are combined with, and signs of random vectors, go there.
    assert reads.seen == {"_linalg_eigh": 5, "upload": 2}


def test_replicates_are_solved_for_in_float64_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch's float32 solver has taken three times as long; on a CPU it takes half."""
    seen: list[torch.dtype] = []

    def solved(matrix: Tensor, spare: float) -> tuple[Tensor, Tensor]:
        seen.append(matrix.dtype)
        raise RuntimeError

    monkeypatch.setattr(eigensolvers, "_solved", solved)
    monkeypatch.setattr(eigensolvers, "eigh_full", lambda matrix: matrix.device.type)
    for name in ("cpu", "meta"):  # of tensors without data nothing can be solved
        matrix = torch.empty(5, 5, dtype=torch.float64, device=name)
        assert eigensolvers.eigh_for_errors(matrix) == name
    assert seen == [torch.float32, torch.float64]


@pytest.mark.parametrize(("narrow", "most"), [(16, 100), (128, 100)], ids=["near", "solved"])
def test_a_spectrum_with_errors_reads_a_stated_number_of_times(
    narrow: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU, but as a GPU would be asked: small solves and numbers, with drift and classes."""
    generator, labels = torch.Generator().manual_seed(0), torch.arange(800) % 10
    features = torch.randn(800, 48, generator=generator)
    features[:, :10] += 4 * torch.eye(10)[labels]
    moments = FeatureMoments(48, 10, 10, num_reference=48)
    moments.update(features, features[:, :10], labels, features.roll(1, 1))
    # From few known eigenpairs, as for wide features, and by full solves.
    monkeypatch.setattr(replicates, "_NARROW", narrow)
    seen = reads_of(lambda: moments.spectrum(errors=True), monkeypatch)
    assert 9 < sum(seen.values()) <= most, seen


def reads_of(work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What a GPU would be asked, told on the CPU; copies from type to type are none."""
    with monkeypatch.context() as patches, HostReads(everywhere=True) as reads:
        # On the CPU these read without an operation.
        for name in ("cpu", "tolist"):
            patches.setattr(Tensor, name, _counted(name, getattr(Tensor, name), reads.seen))
        work()
    del reads.seen["_to_copy"]
    return reads.seen


class Tagger(nn.Module):
    """A prediction for each token of a sequence."""

    def __init__(self, num_outputs: int) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(13, 12), nn.Linear(12, num_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.relu(self.embedding(tokens)))


def tokens(num_outputs: int, **options: Any) -> Probe:
    inputs = torch.arange(240).view(20, 12) % 13
    return Probe(Tagger(num_outputs), inputs, inputs, num_positions=100, **options)


def rows(num_outputs: int, width: int = 12, **options: Any) -> Probe:
    model = nn.Sequential(nn.Linear(9, width), nn.ReLU(), nn.Linear(width, num_outputs))
    return Probe(model, torch.randn(120, 9), torch.arange(120) % 10, **options)


#: What makes a probe, and how often a frame of its network reads from a GPU.
FRAMES: dict[str, tuple[Callable[..., Probe], int]] = {
    "rows": (lambda **k: rows(10, **k), 54),
    "measures by row": (lambda **k: rows(10, more_measures=True, **k), 72),
    "more outputs than features": (lambda **k: rows(40, **k), 66),
    "tokens": (lambda **k: tokens(13, **k), 68),
    "tokens of many outputs": (lambda **k: tokens(40, **k), 72),
    "tangent kernel": (lambda **k: rows(10, ntk=True, **k), 58),
    "leading eigenpairs": (lambda **k: rows(10, width=96, top=4, **k), 58),
}


@pytest.mark.parametrize("case", FRAMES)
def test_a_frame_reads_a_stated_number_of_times_however_many_batches(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, most = FRAMES[case]
    torch.manual_seed(0)
    probe = make(batch_size=24, errors=False)
    for _ in range(2):  # what is done once is done
        probe.snapshot()
        with torch.no_grad():
            for parameter in probe.model.parameters():
                parameter *= 1.5
    few = reads_of(probe.snapshot, monkeypatch)
    assert sum(few.values()) <= most, few
    probe.batch_size = 300
    assert reads_of(probe.snapshot, monkeypatch) == few


def _counted(name: str, read: Any, seen: Counter[str]) -> Any:
    def reading(tensor: Tensor) -> Any:
        seen[name] += 1
        return read(tensor)

    return reading


def test_mixing_devices_is_seen(mode: FakeTensorMode) -> None:
    training = moved_training(mode)
    training._batches.targets = torch.zeros(100, dtype=torch.int64)
    with pytest.raises(Exception, match="same device"):
        training._train_step(0.1)
