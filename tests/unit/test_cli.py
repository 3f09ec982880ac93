"""The command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import webbrowser
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import fswidget as fs
from fswidget.cli import main
from fswidget.experiments import catalogue, workers
from fswidget.experiments.results import Verdict
from fswidget.training import run_folder
from tests import children

SMALL = ["--width=8", "--train-size=40", "--test-size=40", "--epochs=2", "--device=cpu"]


def test_run_trains_saves_and_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", *SMALL, "--batchnorm", "--save=run", "--html=run"]) == 0
    output = capsys.readouterr()
    recording = fs.load(tmp_path / "run.npz")
    assert recording.config["width"] == 8
    assert recording.config["batchnorm"] is True
    assert recording[-1].epoch == 2
    assert f"{recording[-1].scalars['low_rank_measure']:.4g}" in output.out
    assert recording[-1].labels["evidence"] in output.out
    assert "D_LR" in output.err  # the progress bar
    assert "<script" in (tmp_path / "run.html").read_text(encoding="utf-8")
    assert main(["view", "run.npz", "--html", "seen"]) == 0
    assert (tmp_path / "seen.html").is_file()


def test_every_setting_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    text = capsys.readouterr().out
    for setting in fields(fs.Config):
        assert f"--{setting.name.replace('_', '-')}" in text, setting.name


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_learns_commands_options_and_names(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    for word in ("sweep", "--batch-size", "resnet18", "grokking"):
        assert word in text
    if shell == "bash" and (bash := shutil.which("bash")):
        asked = "COMP_WORDS=(fswidget run --model res); COMP_CWORD=3; _shtab_fswidget"
        asked += "; echo ${COMPREPLY[@]}"
        done = subprocess.run([bash, "-c", f"{text}\n{asked}"], capture_output=True, text=True)
        assert "resnet18" in done.stdout.split(), done.stderr


def test_completion_without_shtab_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert 'pip install "fswidget[completion]"' in capsys.readouterr().err


def test_settings_of_every_type(tmp_path: Path) -> None:
    path = str(tmp_path / "run.npz")
    options = ["--quiet", "--max-steps=4", "--frame-every=2", "--layers=0,2", "--lr=0.01"]
    options.append("--overlap")
    assert (
        main(["run", *SMALL, "--batch-size=8", *options, "--probe-size=none", "--save", path]) == 0
    )
    config = fs.load(path).config
    assert config["frame_every"] == 2
    assert config["layers"] == ["0", "2"]
    assert config["probe_size"] is None
    assert [frame.step for frame in fs.load(path)] == [0, 2, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--width=0"], "width=0: must be an integer"),
        (["run", "--model=perceptron"], "model='perceptron': must be one of"),
        (["run", "--probe-size=many"], "probe_size='many': must be"),
        (["run", "--dataset=mnist", "--root=nowhere"], "nowhere"),
        (["run", "--save=nowhere/run"], "--save='nowhere/run': must be in a folder"),
        (["run", "--html=nowhere/run"], "--html='nowhere/run': must be in a folder"),
        (["recipe", "learning_rate", "--seeds=0"], "seeds=0: must be an integer ≥ 1"),
        (["recipe", "mup", "--size=desk"], "size='desk': mup has no such runs; must be one of lap"),
        (["recipe", "regression", "--store=/dev/null"], "store='/dev/null': must be a folder"),
        (["recipe", "regression", "--workers=0"], "workers=0: must be an integer ≥ 1"),
        (["recipe", "regression", "--hours=nan"], "hours=nan: must be a positive number"),
        (["recipe", "cold_fusion"], "'cold_fusion': must be one of"),
        (["view", "nothing.npz"], "nothing.npz"),
    ],
)
def test_impossible_arguments_are_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_whoever_reads_the_output_may_have_enough(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    with open(writes, "w", encoding="utf-8") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["recipe"]) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("arguments", [[], ["walk"], ["run", "--colour=red"], ["view"]])
def test_unknown_arguments_show_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: fswidget" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt, 130), (RuntimeError, None), (ValueError, 2)]
)
def test_what_was_recorded_is_kept(
    error: type[BaseException],
    status: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fswidget.training import run_folder

    class Broken(run_folder.OverlappedTraining):
        def __iter__(self) -> Any:
            yield next(super().__iter__())
            raise error("no eigenvalues")

    monkeypatch.setattr(run_folder, "OverlappedTraining", Broken)
    path, page = tmp_path / "run.npz", tmp_path / "run.html"
    arguments = ["run", *SMALL, "--quiet", f"--save={path}", f"--html={page}"]
    if status is None:
        with pytest.raises(error, match="no eigenvalues"):
            main(arguments)
    else:
        assert main(arguments) == status
    assert len(fs.load(path)) == 1
    assert page.is_file()


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_the_frame_that_is_being_made_is_kept_however_a_run_is_ended(
    name: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fswidget.probing.probe import Probe
    from fswidget.training.overlap import OverlappedTraining

    learn, measure, ended = OverlappedTraining._learn, Probe.frame, threading.Event()

    def end(training: OverlappedTraining) -> bool:
        if training.step == 3 and not ended.is_set():
            ended.set()
            signal.raise_signal(getattr(signal, name))
        return learn(training)

    def slow(probe: Probe, *args: Any, **scalars: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            assert ended.wait(60)
        return measure(probe, *args, **scalars)

    monkeypatch.setattr(OverlappedTraining, "_learn", end)
    monkeypatch.setattr(Probe, "frame", slow)
    path = tmp_path / "run.npz"
    options = ["--overlap", "--frame-every=2", "--epochs=9", "--quiet", f"--save={path}"]
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # of a shell's background: none
    try:
        assert main(["run", *SMALL, *options]) == status
    finally:
        signal.signal(signal.SIGINT, before)
    assert [frame.step for frame in fs.load(path)] == [0, 2]


def test_a_diverged_run_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.npz"
    diverging = ["--optimizer=sgd", "--lr=10", "--loss=mse", "--init-scale=100", "--quiet"]
    assert main(["run", *SMALL, *diverging, "--save", str(path)]) == 1
    assert "diverged" in capsys.readouterr().err
    assert len(fs.load(path)) >= 1


def test_recipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["recipe"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in catalogue.recipes)
    calls: list[dict[str, Any]] = []

    def run(**options: Any) -> str:
        calls.append(options)
        return "results"

    fake = SimpleNamespace(
        title="A title",
        claim="A claim.",
        run=run,
        results=lambda *_, **__: "results",
        left=lambda *_: [("lazy", SimpleNamespace(seed=1), "a path")],
        table=lambda _: {"arm": ["rich", "lazy"], "low_rank_measure": [0.0123456, None]},
        verdict=lambda *_: [
            Verdict("it is", "holds", 3, True, 1.0),
            Verdict("it is not", "does not hold", 3, False, 0.0),
            Verdict("it may be", "undecided", 1, True),
        ],
    )
    monkeypatch.setitem(catalogue.recipes, "fake", fake)  # type: ignore[misc]
    assert main(["recipe", "fake", "--seeds=2", "--store=there"]) == 1
    assert calls[0]["seeds"] == 2
    assert calls[0]["store"] == "there"
    assert (calls[0]["workers"], calls[0]["hours"]) == (1, None)
    output = capsys.readouterr().out.splitlines()
    assert output[2:] == [
        "arm   low_rank_measure",
        "rich  0.0123",
        "lazy  –",
        "it is: holds (3 seeds)",
        "it is not: does not hold (3 seeds)",
        "it may be: undecided: it holds in one seed, and three are the least",
        "left, to go on with the same command: lazy, seed 1",
    ]


def test_view_opens_the_browser(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "run.npz")
    main(["run", *SMALL, "--quiet", "--save", path])
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: bool(opened.append(url)))
    assert main(["view", path]) == 0
    assert opened[0].startswith("file://")
    assert opened[0].endswith("run.html")
    assert "no browser found" in capsys.readouterr().err


def test_view_needs_no_torch(tmp_path: Path) -> None:
    main(["run", *SMALL, "--quiet", "--save", str(tmp_path / "run.npz")])
    code = (
        "import sys; sys.modules['torch'] = None; from fswidget.__main__ import main; "
        "sys.exit(main(['view', sys.argv[1], '--html', sys.argv[2]]))"
    )
    files = [str(tmp_path / "run.npz"), str(tmp_path / "run.html")]
    subprocess.run([sys.executable, "-c", code, *files], check=True)
    assert (tmp_path / "run.html").is_file()


LONG = ["--width=8", "--train-size=40", "--test-size=40", "--epochs=100000", "--device=cpu"]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_run_that_is_ended_keeps_what_was_recorded(tmp_path: Path, name: str) -> None:
    path, number = tmp_path / "run.npz", getattr(signal, name)
    process = children.start(children.command, ["run", *LONG, "--quiet", "--save", str(path)])
    # A second checkpoint: what is killed leaves more than the first frame.
    while process.is_alive() and not (path.exists() and len(fs.load(path)) > 1):
        time.sleep(0.05)
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == (-number if name == "SIGKILL" else 128 + number)
    assert len(fs.load(path)) > 1


def test_targets_are_tried_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_folder, "training_that", lambda _: pytest.fail("training began"))
    (tmp_path / "folder.html").mkdir()
    os.mkfifo(tmp_path / "pipe.npz")
    for options, message in (
        ([f"--html={tmp_path}/folder.html"], "a folder, not a file"),
        ([f"--save={tmp_path}/pipe.npz"], "a pipe or a device"),
        ([f"--save={tmp_path}/one.x", f"--html={tmp_path}/one.x"], "the same file as --save"),
    ):
        assert main(["run", *SMALL, *options]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("failing", ["save", "to_html"])
def test_the_rest_is_written_when_one_fails(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failing: str,
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fs.Recording, failing, full)
    files = [f"--save={tmp_path}/run", f"--html={tmp_path}/run"]
    assert main(["run", *SMALL, "--quiet", *files]) == 2
    assert "No space left" in capsys.readouterr().err
    (written,) = tmp_path.iterdir()
    assert written.suffix == (".html" if failing == "save" else ".npz")


def test_quiet_prints_nothing_and_json_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["run", *SMALL, "--quiet", "--save=~/run"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["view", "~/run", "--quiet", "--html=~/page"]) == 0
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "page.html").is_file()
    assert main(["run", *SMALL, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["config"]["width"] == 8
    assert told["scalars"]["low_rank_measure"] > 0
    assert "root" not in told["config"]


def test_help_has_headings_and_recipes_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    text = capsys.readouterr().out
    assert [t for t in ("data:", "network:", "training:", "measuring:") if t not in text] == []
    assert "other settings:" not in text  # every setting has its heading
    with pytest.raises(SystemExit):
        main(["recipe", "--help"])
    text = "".join(capsys.readouterr().out.split())
    assert [name for name in catalogue.recipes if name not in text] == []


def test_a_sweep_becomes_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_pool", ThreadPoolExecutor)
    grid = ["--width=4,8", "--batchnorm=true,false", "--lr=0.01", "--epochs=1", "--quiet"]
    small = ["--train-size=40", "--test-size=40", "--device=cpu", "--num-shown=10"]
    files = [f"--html={tmp_path}/page", f"--save={tmp_path}/sweep"]
    assert main(["sweep", *grid, *small, *files]) == 0
    assert capsys.readouterr() == ("", "")
    sweep = fs.load(tmp_path / "sweep")
    assert sweep.axes == {"width": [4, 8], "batchnorm": [True, False]}
    assert sweep.sel(width=8, batchnorm=False).config["lr"] == 0.01
    assert (tmp_path / "page.html").is_file()
    assert main(["view", f"{tmp_path}/sweep", "--json", f"--html={tmp_path}/again"]) == 0
    assert json.loads(capsys.readouterr().out)["axes"] == sweep.axes
    assert main(["sweep", "--width=8"]) == 2
    assert "give a setting several values" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["sweep", "--batchnorm=perhaps,false"])
    assert "perhaps" in capsys.readouterr().err
