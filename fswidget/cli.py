"""``python -m fswidget``: train, repeat an experiment of the paper, or look at a recording."""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fswidget import __version__
from fswidget.recording.frame import SCALARS, Frame
from fswidget.recording.recording import Recording

#: What a shell expects after Ctrl-C.
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0; 1 if training diverged or a check failed; 2 for impossible arguments; 130 after Ctrl-C.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="fswidget", description="See a network learn features.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="{run,recipe,view}")
    for name, add, help in (
        ("run", _add_run, "train a network, with a progress bar"),
        ("recipe", _add_recipe, "repeat an experiment of the paper"),
        ("view", _add_view, "look at a saved recording in the browser"),
    ):
        command = commands.add_parser(name, help=help, description=help.capitalize() + ".")
        # Only for the command in use: `run` imports torch, and `view` works without it.
        if name in given:
            command.set_defaults(action=add(command))
    options = vars(parser.parse_args(given))
    action: Callable[..., int] = options.pop("action")
    try:
        return action(**options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (ValueError, OSError, ImportError) as error:
        print(f"fswidget: {error}", file=sys.stderr)
        return 2


def _add_run(parser: argparse.ArgumentParser) -> Callable[..., int]:
    from fswidget.training.config import Config

    parser.add_argument("--html", metavar="FILE", help="write the run as one interactive page")
    parser.add_argument(
        "--save", metavar="FILE", help="write the recording, for `view` and fs.load"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    for setting in fields(Config):
        flag = f"--{setting.name.replace('_', '-')}"
        parser.add_argument(flag, dest=setting.name, **_option(setting))
    return _run


def _option(setting: Field[Any]) -> dict[str, Any]:
    """How argparse reads a setting; whether a value is possible is for Config to say."""
    default = setting.default
    assert default is not MISSING
    # argparse takes % for a placeholder.
    about = setting.metadata["help"].replace("%", "%%")
    choices = setting.metadata["choices"]
    listed = f" One of {', '.join(map(str, choices))}." if choices else ""
    common = {"help": f"{about}{listed} (default: {default})", "default": argparse.SUPPRESS}
    if isinstance(default, bool):
        return {**common, "action": argparse.BooleanOptionalAction}
    if setting.name == "layers":
        return {**common, "type": _layers, "metavar": "NAME,…|all"}
    kind = {int: int, float: float}.get(type(default), _word)
    return {**common, "type": kind, "metavar": setting.name.split("_")[-1].upper()}


def _word(text: str) -> str | int | None:
    """A word, a whole number, or none: what the settings without a type of their own take."""
    if text.isdecimal():
        return int(text)
    return None if text.lower() == "none" else text


def _layers(text: str) -> str | tuple[str, ...]:
    return text if text == "all" else tuple(text.split(","))


def _run(*, html: str | None, save: str | None, quiet: bool, **settings: Any) -> int:
    from fswidget.probing.inference import Diverged
    from fswidget.training.config import Config
    from fswidget.training.loop import Training

    for option, file in (("--save", save), ("--html", html)):
        # Said now, not when hours of training are to be kept.
        if file is not None and not Path(file).parent.is_dir():
            raise FileNotFoundError(f"{option}={file!r}: must be in a folder that is there")
    training = Training(Config(**settings))
    recording = Recording(training.info)
    status = 0
    bar = tqdm(
        total=training.total_steps,
        desc=training.info.title,
        unit="step",
        disable=quiet,
        leave=False,
    )
    try:
        for frame in training:
            recording.append(frame)
            bar.update(frame.step - bar.n)
            bar.set_postfix_str(_glance(frame))
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Diverged as error:
        print(f"fswidget: training diverged: {error}", file=sys.stderr)
        status = 1
    finally:
        bar.close()
        # What was recorded is kept, whatever ended the run.
        if len(recording):
            _keep(recording, html=html, save=save)
    return status


def _keep(recording: Recording, *, html: str | None, save: str | None) -> None:
    print(_summary(recording))
    if save is not None:
        print(f"wrote {recording.save(save)}")
    if html is not None:
        print(f"wrote {recording.to_html(html)}")


def _glance(frame: Frame) -> str:
    parts = {
        "loss": "loss",
        "test_accuracy": "test",
        "test_r2": "test R²",
        "low_rank_measure": "D_LR",
    }
    numbers = [
        f"{label} {frame.scalars[k]:.3g}" for k, label in parts.items() if k in frame.scalars
    ]
    return ", ".join([*numbers, frame.labels["regime"]])


def _summary(recording: Recording) -> str:
    """The last frame, one number per line."""
    frame = recording[-1]
    lines = [f"{recording.info.title}, epoch {frame.epoch:g}, step {frame.step}"]
    for name, (unit, _) in SCALARS.items():
        value = frame.scalars.get(name, math.nan)
        if math.isfinite(value) and not name.endswith("_error"):
            error = frame.scalars.get(f"{name}_error", math.nan)
            spread = f" ± {error:.2g}" if math.isfinite(error) else ""
            lines.append(f"  {name:<26} {value:.4g}{spread} {unit}")
    lines.append(f"  {'regime':<26} {frame.labels['regime']}: {frame.labels['evidence']}")
    return "\n".join(lines)


def _add_recipe(parser: argparse.ArgumentParser) -> Callable[..., int]:
    parser.add_argument("name", nargs="?", metavar="NAME", help="which; all are listed without it")
    parser.add_argument("--size", default="laptop", help="laptop (the default), desk or full")
    parser.add_argument("--seeds", type=int, help="how many; the recipe's own number by default")
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--device", default="auto", help="auto, cpu, mps, cuda or cuda:N")
    parser.add_argument(
        "--store", default=".reproduce", help="folder of finished runs, which are not repeated"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    return _recipe


def _recipe(*, name: str | None, quiet: bool, **options: Any) -> int:
    from fswidget.experiments.catalogue import recipes

    if name is None:
        for recipe in recipes.values():
            print(f"{recipe.name:<24} {recipe.title}")
        return 0
    if name not in recipes:
        raise ValueError(f"NAME={name!r}: must be one of {', '.join(recipes)}")
    recipe = recipes[name]
    results = recipe.run(progress=not quiet, **options)
    print(recipe.title, recipe.claim, _columns(recipe.table(results)), sep="\n")
    verdict = recipe.verdict(results)
    for claim, holds in verdict:
        print(f"{'yes' if holds else 'NO ' if holds is False else '?  '} {claim}")
    return int(any(holds is False for _, holds in verdict))


def _columns(table: Mapping[str, Sequence[Any]]) -> str:
    """A table in plain text."""

    def cell(value: Any) -> str:
        if value is None:
            return "–"
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    columns = [[name, *map(cell, values)] for name, values in table.items()]
    widths = [max(map(len, column)) for column in columns]
    rows = zip(*columns, strict=True)
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _add_view(parser: argparse.ArgumentParser) -> Callable[..., int]:
    parser.add_argument("file", metavar="FILE.npz", help="what Recording.save or --save wrote")
    parser.add_argument("--html", metavar="FILE", help="write the page there and open nothing")
    return _view


def _view(*, file: str, html: str | None) -> int:
    from fswidget.recording.recording import load

    recording = load(file)
    if html is not None:
        print(f"wrote {recording.to_html(html)}")
        return 0
    # Beside other temporary files, for the browser reads it after we are gone.
    folder = Path(tempfile.mkdtemp(prefix="fswidget-"))
    page = recording.to_html(folder / f"{Path(file).stem}.html")
    print(f"wrote {page}")
    if not webbrowser.open(page.as_uri()):
        print("no browser found: open the file in one", file=sys.stderr)
    return 0
