"""Training: what a run yields, that it repeats, resumes and stops, and when it makes frames."""

import io
import math

import pytest
import torch
from torch import nn

from fswidget.probing.inference import Diverged
from fswidget.recording.frame import SCALARS, Frame
from fswidget.training import networks
from fswidget.training.config import Config
from fswidget.training.frame_schedule import FrameSchedule as Cadence
from fswidget.training.loop import Training, train
from fswidget.training.run_folder import record

SMALL = {"width": 16, "train_size": 200, "test_size": 50, "epochs": 3, "frame_every": "epoch"}
#: Frames at the beginning and the end alone.
ENDS = {"frame_every": 10**6}
CASES = {
    "mlp": {"loss": "mse", "batchnorm": True, "optimizer": "adamw", "weight_decay": 0.01},
    "sgd": {"optimizer": "sgd", "nesterov": True, "schedule": "cosine", "warmup_steps": 3},
    "cnn": {"model": "cnn", "augment": True, "label_noise": 0.2},
    "resnet18": {"model": "resnet18", "batchnorm": True, "train_size": 40},
    "centred": {"output_scale": 10.0, "optimizer": "sgd", "schedule": "step", "batchnorm": True},
    "last layer": {"last_layer_only": True},
    "teacher": {"dataset": "teacher", "loss": "mse", "target_scale": 0.1},
    "mixed": {"precision": "bfloat16"},
    "modular": {"model": "transformer", "dataset": "modular", "modulus": 13, "final_norm": True},
}


def small(**settings: object) -> Config:
    values = {**SMALL, **settings}
    if values.get("dataset") == "modular":
        del values["train_size"]
    return Config(**values)  # type: ignore[arg-type]


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_frame_an_epoch_from_the_untrained_network_on() -> None:
    frames = list(train(small(lr=0.02)))
    assert [frame.epoch for frame in frames] == [0, 1, 2, 3]
    assert [frame.step for frame in frames] == [0, 4, 8, 12]
    assert frames[0].labels["regime"] == "UNTRAINED"
    assert "loss" not in frames[0].scalars
    losses = [frame.scalars["loss"] for frame in frames[1:]]
    assert losses[-1] < losses[0]
    assert frames[-1].scalars["train_accuracy"] > 0.6
    seconds = [frame.scalars["seconds"] for frame in frames]
    assert seconds == sorted(seconds)
    assert frames[-1].labels["cadence"].startswith("each epoch: 4 frames in 3 epochs")


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_run_gives_finite_known_numbers(case: str) -> None:
    frame = record(small(**CASES[case], epochs=1))[-1]
    assert set(frame.scalars) <= set(SCALARS)
    needed = {"loss", "lr", "low_rank_measure", "used_features", "parameter_norm_squared"}
    needed |= {"kernel_drift", "seconds", "analysis_seconds"}
    needed |= {"test_r2"} if case == "teacher" else {"test_accuracy", "train_accuracy"}
    assert needed <= set(frame.scalars)
    assert all(math.isfinite(frame.scalars[name]) for name in needed)


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_is_the_same_bit_for_bit(case: str) -> None:
    config = small(**CASES[case], frame_every=3)
    whole, first = Training(config), Training(config)
    frames = list(whole)
    for frame in first:
        if frame.step == 3:
            break
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    # Anything that came between must not matter.
    torch.manual_seed(12345)
    state = torch.load(file, weights_only=True)
    resumed = Training(config, state=state)
    later = list(resumed)
    assert next(train(config, state=state)).step == 3
    assert same(whole.model, resumed.model)
    assert [frame.step for frame in later] == [frame.step for frame in frames[1:]]
    for name in ("low_rank_measure", "kernel_drift", "parameter_norm_squared"):
        assert later[-1].scalars[name] == frames[-1].scalars[name]


def test_the_state_is_a_copy() -> None:
    training = Training(small())
    frames = iter(training)
    next(frames)
    state = training.state_dict()
    before = state["model"]["1.weight"].clone()
    next(frames)
    assert torch.equal(state["model"]["1.weight"], before)


def test_a_state_of_another_run_is_refused() -> None:
    state = Training(small()).state_dict()
    Training(small(epochs=9), state=state)
    with pytest.raises(ValueError, match=r"state: is of another run \(width 16 → 32\)"):
        Training(small(width=32), state=state)


def test_frames_do_not_change_what_is_learned() -> None:
    trained = []
    for every in (1, 5, "epoch", "log", "auto"):
        training = Training(small(frame_every=every, batchnorm=True))
        for _ in training:
            torch.rand(3)
        trained.append(training.model)
    assert all(same(trained[0], other) for other in trained[1:])


def test_seeds_repeat_and_differ() -> None:
    first, again, other = (record(small(seed=seed))[-1] for seed in (0, 0, 1))
    assert first.scalars["loss"] == again.scalars["loss"]
    assert first.scalars["loss"] != other.scalars["loss"]


def test_global_state_is_as_before() -> None:
    torch.manual_seed(0)
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    training = Training(small())
    for _ in training:
        assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.is_grad_enabled()


def test_small_networks_train_on_one_thread() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen = []
        training = Training(small(), keep_going=lambda: not seen.append(torch.get_num_threads()))
        list(training)
        assert set(seen) == {1} == {training.threads}
        assert torch.get_num_threads() == 2
        assert Training(small(width=1024, batch_size=128, depth=4)).threads == 2
        whole = Config(width=16, epochs=1)  # enough samples that sums of them are divided
        on_two = Training(whole)
        torch.set_num_threads(1)
        assert torch.equal(Training(whole).data.inputs, on_two.data.inputs)
    finally:
        torch.set_num_threads(threads)


def test_stopping_keeps_the_network() -> None:
    allowed = iter([True] * 6)
    training = Training(small(frame_every=100), keep_going=lambda: next(allowed, False))
    frames = list(training)
    assert [frame.step for frame in frames] == [0]
    assert training.step == training.progress.step == 5
    assert 0 < training.progress.fraction < 1
    untrained = Training(small())
    assert not same(training.model, untrained.model)


def test_pauses_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("fswidget.training.optimisation.time.perf_counter", lambda: now[0])

    def pause() -> bool:
        now[0] += 100
        return True

    training = Training(small(), keep_going=pause)
    assert list(training)[-1].scalars["seconds"] == 0
    assert training.progress.seconds == 0


def test_a_step_is_that_of_a_plain_loop() -> None:
    """One epoch against the loop a reader would write, squared error as the paper has it."""
    config = small(loss="mse", optimizer="sgd", lr=0.01, epochs=1, batch_size=200)
    training = Training(config)
    plain = networks.build(config, (1, 8, 8), 10)
    list(training)
    data = training.data
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.01, momentum=0.9)
    residual = plain(data.inputs) - nn.functional.one_hot(data.targets, 10)
    (residual.square().sum() / 200).backward()
    optimizer.step()
    torch.testing.assert_close(training.model.state_dict(), plain.state_dict())


def test_only_the_last_layer_moves() -> None:
    training = Training(small(last_layer_only=True, batchnorm=True, lr=0.1))
    before = {name: value.clone() for name, value in training.model.state_dict().items()}
    frames = list(training)
    moved = {n for n, v in training.model.state_dict().items() if not torch.equal(v, before[n])}
    names = list(before)
    assert moved == set(names[-2:])
    assert frames[-1].scalars["kernel_drift"] == pytest.approx(0, abs=1e-9)
    assert frames[-1].labels["regime"] == "LAZY"


def test_a_large_output_scale_is_lazy() -> None:
    settings = {"loss": "mse", "optimizer": "sgd", "lr": 0.003, "epochs": 20, **ENDS, "width": 64}
    rich, lazy = (record(small(**settings, output_scale=scale))[-1] for scale in (1.0, 1000.0))
    assert lazy.scalars["kernel_drift"] < 0.01 < rich.scalars["kernel_drift"]
    assert lazy.scalars["loss"] < 1e-6
    assert lazy.scalars["test_accuracy"] > 0.6


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_a_large_output_scale_is_lazy_with_adam_too(loss: str) -> None:
    settings = {"loss": loss, "epochs": 10, "width": 64, **ENDS}
    rich, lazy = (record(small(**settings, output_scale=scale))[-1] for scale in (1.0, 1000.0))
    assert lazy.scalars["kernel_drift"] < 0.01 < rich.scalars["kernel_drift"]
    assert lazy.scalars["train_accuracy"] > 0.8
    assert lazy.labels["regime"] == "LAZY" != rich.labels["regime"]


def test_statistics_of_batch_norm_are_no_drift() -> None:
    settings = {"batchnorm": True, "optimizer": "sgd", "lr": 0.02, "width": 64, "loss": "mse"}
    rich, lazy = (record(small(**settings, output_scale=scale))[-1] for scale in (1.0, 1000.0))
    assert lazy.scalars["kernel_drift"] < 0.01 < rich.scalars["kernel_drift"]
    assert lazy.scalars["train_accuracy"] > 0.8


def test_learning_rates_of_the_schedules() -> None:
    def rates(**settings: object) -> list[float]:
        training = Training(small(lr=1.0, epochs=2, max_steps=8, frame_every=1, **settings))
        return [frame.scalars["lr"] for frame in list(training)[1:]]

    assert rates() == [1.0] * 8
    assert rates(warmup_steps=4)[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates(schedule="step") == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    cosine = rates(schedule="cosine")
    assert cosine[4] == pytest.approx(0.5)
    assert cosine == sorted(cosine, reverse=True)


def test_a_last_batch_of_one_joins_the_one_before() -> None:
    training = Training(small(train_size=129, batch_size=64, batchnorm=True, epochs=1))
    assert training.steps_per_epoch == 2
    assert list(training)[-1].step == 2
    assert Training(small(train_size=129, batch_size=64)).steps_per_epoch == 3


def test_most_steps_end_within_an_epoch() -> None:
    frames = list(train(small(max_steps=6)))
    assert [(frame.epoch, frame.step) for frame in frames] == [(0, 0), (1, 4), (1.5, 6)]


def test_divergence_is_named_and_good_frames_stay() -> None:
    config = small(optimizer="sgd", lr=10.0, loss="mse", epochs=20, width=256)
    seen: list[Frame] = []
    with pytest.raises(Diverged, match=r"loss is (nan|inf) at step \d+ .*lr=10.0 may be too large"):
        seen.extend(train(config))
    assert seen
    assert all(math.isfinite(frame.scalars["low_rank_measure"]) for frame in seen)


@pytest.mark.parametrize("config", ["mlp", None, {"width": 8}])
def test_only_a_config_trains(config: object) -> None:
    for run in (train, record):
        with pytest.raises(TypeError, match=r"^config=.*: must be a fswidget\.Config"):
            run(config)  # type: ignore[arg-type]


@pytest.mark.parametrize("least", [{"width": 1}, {"probe_size": 2}], ids=str)
def test_the_least_that_a_setting_allows_is_measured(least: dict[str, int]) -> None:
    small = Config(loss="mse", width=8, epochs=1, train_size=40, test_size=20, device="cpu")
    assert record(small.replace(**least))[-1].scalars["used_features"] >= 1


def test_errors_come_at_once() -> None:
    with pytest.raises(FileNotFoundError):
        train(Config(dataset="mnist", root="/nowhere"))
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"device='cuda': this machine has 0"):
            train(Config(device="cuda"))
    with pytest.raises(ValueError, match=r"device='cpu:7'"):
        train(Config(device="cpu:7"))


def test_scaled_targets_of_a_regression_do_not_spoil_the_score() -> None:
    settings = {"dataset": "teacher", "loss": "mse", "train_size": 1000, "epochs": 20, "width": 64}
    scaled = record(small(**settings, **ENDS, target_scale=0.1))[-1]
    assert scaled.scalars["test_r2"] > 0.5


class Simulation:
    """A run whose epochs and frames take given times."""

    def __init__(self, epoch: float, cost: float, epochs: int, steps: int = 100) -> None:
        self.cadence = Cadence("auto", 0.1, steps, epochs * steps)
        now, step = 0.0, 0
        self.starts, self.steps = [], []
        while True:
            self.starts.append(now)
            self.steps.append(step)
            self.cadence.took(now, now + cost)
            now += cost
            if step == epochs * steps:
                self.seconds = now
                return
            while True:
                step += 1
                now += epoch / steps
                if self.cadence.due(step, now):
                    break


@pytest.mark.parametrize("cost", [0.01, 0.3, 1.0, 6.0])
def test_long_epochs_keep_to_the_budget(cost: float) -> None:
    run = Simulation(epoch=10.0, cost=cost, epochs=30)
    assert run.cadence.share <= 0.1
    assert run.cadence.share == pytest.approx(cost * len(run.starts) / run.seconds)
    assert run.steps[-1] == 3000
    # What is allowed is also used, and first at the start, where most happens.
    assert run.steps[1] == (1 if cost < 5 else 1200)
    assert len(run.starts) >= min(31, int(0.05 * 300 / cost))


def test_cheap_frames_come_each_epoch() -> None:
    run = Simulation(epoch=10.0, cost=0.01, epochs=30)
    assert run.steps == [0, 1, 4, 16, 64, *range(100, 3001, 100)]


@pytest.mark.parametrize(("epoch", "cost"), [(0.002, 0.001), (0.03, 0.01), (0.2, 0.1)])
def test_short_epochs_give_at_most_twenty_frames_a_second(epoch: float, cost: float) -> None:
    run = Simulation(epoch=epoch, cost=cost, epochs=200)
    gaps = [b - a for a, b in zip(run.starts, run.starts[1:], strict=False)]
    # The last frame comes in any case.
    assert min(gaps[:-1]) >= 0.05 - 1e-9
    assert max(gaps) <= 0.05 + epoch + cost + 1e-9
    assert all(step % 100 == 0 for step in run.steps)
    # No budget is named that short epochs are not held to.
    assert str(run.cadence).startswith("automatic, up to 20 a second: ")


def test_a_resumed_cadence_forgets_nothing_it_needs() -> None:
    cadence = Cadence("auto", 0.1, 100, 1000)
    cadence.resume(500)
    cadence.took(0.0, 0.5)
    assert not cadence.due(550, 5.0)
    assert str(cadence).startswith("automatic, budget 10%: 1 frames in 0.5 epochs")
