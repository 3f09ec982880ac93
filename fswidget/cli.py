"""``python -m fswidget``: train, repeat an experiment of the paper, or look at a recording."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
import webbrowser
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from fswidget import __version__
from fswidget.cli_run import INTERRUPTED, described, finite, run
from fswidget.cli_sweep import several, sweep
from fswidget.recording.quiet import silence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0; 1 if training diverged or a check failed; 2 for impossible arguments; 130 after Ctrl-C.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        asked = [word for word in given if not word.startswith("-")][:1]
        options = vars(_parser(asked).parse_args(given))
        action: Callable[..., int] = options.pop("action")
        with silence(options.get("quiet", False)):
            status = action(**options)
        sys.stdout.flush()  # what cannot be written is told here, and not when Python ends
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read what we print has enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, ImportError) as error:
        print(f"fswidget: {error}", file=sys.stderr)
        return 2


def _parser(asked: Iterable[str]) -> argparse.ArgumentParser:
    """What reads the command line, with the options of the commands that are asked for."""
    parser = argparse.ArgumentParser(prog="fswidget", description="See a network learn features.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="{run,sweep,recipe,view,completion}")
    for name, add, help in (
        ("run", _add_run, "train a network, with a progress bar"),
        ("sweep", _add_sweep, "train a network for every combination of settings"),
        ("recipe", _add_recipe, "repeat an experiment of the paper"),
        ("view", _add_view, "look at a saved recording or sweep in the browser"),
        ("completion", _add_completion, "print what has a shell complete commands and options"),
    ):
        command = commands.add_parser(name, help=help, description=help.capitalize() + ".")
        # `run` imports torch, and `view` works without it.
        if name in asked:
            command.set_defaults(action=add(command))
    return parser


#: Headings of the settings in the help.
_GROUPS = {
    "data": "dataset root download train_size test_size label_noise label_pixels target_scale "
    "augment pixels grey held_out modulus operation train_fraction num_targets",
    "network": "model width depth batchnorm activation final_norm output_scale init_scale "
    "parametrization last_layer_only",
    "training": "loss optimizer lr momentum nesterov beta2 weight_decay schedule warmup_steps "
    "batch_size epochs max_steps frozen precision compile device seed",
    "measuring": "probe_size frame_every analysis_budget layers num_eigenfunctions num_shown "
    "more_measures ntk",
}


def _add_run(parser: argparse.ArgumentParser) -> Callable[..., int]:
    _add_output(parser, html="write the run as one interactive page")
    parser.add_argument(
        "--save", metavar="FILE", help="write the recording, for `view` and fs.load"
    )
    parser.add_argument(
        "--overlap",
        action=argparse.BooleanOptionalAction,
        help="train on while a frame is made (default: on a GPU, or where a core is idle)",
    )
    _add_settings(parser, _option)
    return run


def _add_sweep(parser: argparse.ArgumentParser) -> Callable[..., int]:
    parser.description = (
        "Train a network for every combination of settings: a setting takes several values with "
        "commas between them, as in --width=32,128 --batchnorm=true,false --seed=0,1,2."
    )
    _add_output(parser, html="keep the recordings, and write a page whose sliders swap them")
    parser.add_argument("--save", metavar="FILE", help="write the sweep, for `view` and fs.load")
    parser.add_argument(
        "--resume", metavar="FILE", help="add each run to this file, and leave out what it holds"
    )
    parser.add_argument(
        "--byte-budget",
        type=int,
        default=64_000_000,
        metavar="BYTES",
        help="memory of all kept recordings together (default: 64000000)",
    )
    _add_settings(parser, lambda setting: several(_option(setting), setting))
    return sweep


def _add_output(parser: argparse.ArgumentParser, html: str) -> None:
    parser.add_argument("--html", metavar="FILE", help=html)
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument(
        "--json", dest="as_json", action="store_true", help="print what came out as JSON"
    )


def _add_settings(
    parser: argparse.ArgumentParser, option: Callable[[Field[Any]], dict[str, Any]]
) -> None:
    """An option for each setting, under headings."""
    from fswidget import Config

    headings = {name: title for title, names in _GROUPS.items() for name in names.split()}
    groups = {title: parser.add_argument_group(title) for title in (*_GROUPS, "other settings")}
    for setting in fields(Config):
        flag = f"--{setting.name.replace('_', '-')}"
        group = groups[headings.get(setting.name, "other settings")]
        group.add_argument(flag, dest=setting.name, **option(setting))


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


def _add_recipe(parser: argparse.ArgumentParser) -> Callable[..., int]:
    from fswidget import recipes

    names = ", ".join(recipes)
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help=f"one of {names}; all are told without it"
    )
    parser.add_argument("--size", default="laptop", help="laptop (the default), desk or full")
    parser.add_argument("--seeds", type=int, help="how many; the recipe's own number by default")
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--device", default="auto", help="auto, cpu, mps, cuda or cuda:N")
    parser.add_argument(
        "--store", default=".reproduce", help="folder of finished runs, which are not repeated"
    )
    parser.add_argument("--workers", type=int, default=1, help="runs side by side (default: 1)")
    parser.add_argument(
        "--hours", type=float, help="stop after so long and say what is left; no bound by default"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument(
        "--json", dest="as_json", action="store_true", help="print what came out as JSON"
    )
    return _recipe


def _recipe(*, name: str | None, quiet: bool, as_json: bool, **options: Any) -> int:
    from fswidget import recipes

    if name is None:
        titles = {recipe.name: recipe.title for recipe in recipes.values()}
        listed = [f"{name:<24} {title}" for name, title in titles.items()]
        print(json.dumps(titles) if as_json else "\n".join(listed))
        return 0
    if name not in recipes:
        raise ValueError(f"NAME={name!r}: must be one of {', '.join(recipes)}")
    recipe = recipes[name]
    size, seeds, store = options["size"], options["seeds"], options["store"]
    status = 0
    try:
        recipe.run(progress=not quiet, **options)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except RuntimeError as error:  # of one run or more; the others are worth showing
        print(f"fswidget: {error}", file=sys.stderr)
        status = 1
    results = recipe.results(size, seeds=seeds, store=store)
    left = [f"{arm}, seed {config.seed}" for arm, config, _ in recipe.left(size, seeds, store)]
    table, verdicts = recipe.table(results), recipe.verdict(results, size)
    if as_json:
        told = {verdict.claim: verdict.outcome for verdict in verdicts}
        out = {"recipe": name, "table": finite(table), "verdict": told, "left": left}
        print(json.dumps(out))
    elif not quiet:
        print(recipe.title, recipe.claim, _columns(table), sep="\n")
        for verdict in verdicts:
            print(f"{verdict.claim}: {verdict.text}")
        if left:
            print(f"left, to go on with the same command: {'; '.join(left)}")
    return status or int(any(verdict.outcome == "does not hold" for verdict in verdicts))


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
    parser.add_argument("file", metavar="FILE", help="what Recording.save or --save wrote")
    _add_output(parser, html="write the page there and open nothing")
    return _view


def _view(*, file: str, html: str | None, quiet: bool, as_json: bool) -> int:
    from fswidget.recording.loading import load
    from fswidget.recording.recording import Recording

    found = load(file)
    # Beside other temporary files, for the browser reads it after we are gone.
    name = f"{Path(file).stem}.html"
    page = found.to_html(_page_folder() / name if html is None else html)
    if as_json:
        told = described(found) if isinstance(found, Recording) else {"axes": found.axes}
        print(json.dumps({**told, "files": [str(page)]}))
    elif not quiet:
        print(f"wrote {page}")
    if html is None and not webbrowser.open(page.absolute().as_uri()):
        print("no browser found: open the file in one", file=sys.stderr)
    return 0


def _page_folder() -> Path:
    """A new temporary folder; those of earlier days are removed."""
    for folder in Path(tempfile.gettempdir()).glob("fswidget-view-*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > 86_400:
                shutil.rmtree(folder)
    return Path(tempfile.mkdtemp(prefix="fswidget-view-"))


def _add_completion(parser: argparse.ArgumentParser) -> Callable[..., int]:
    parser.epilog = (
        "For example: fswidget completion bash > ~/.local/share/bash-completion/fswidget"
    )
    parser.add_argument("shell", choices=("bash", "zsh"), help="for which shell")
    return _completion


def _completion(*, shell: str) -> int:
    try:
        import shtab
    except ImportError:
        raise ImportError('completion needs shtab: pip install "fswidget[completion]"') from None
    from fswidget import Config, recipes
    from fswidget.training.registry import CHOICES

    parser = _parser(("run", "sweep", "recipe", "view", "completion"))
    known = {field.name: field.metadata["choices"] for field in fields(Config)}
    known |= {**{name: [*entries] for name, entries in CHOICES.items()}, "name": [*recipes]}
    commands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for command in commands.choices.values():
        for option in command._actions:
            # Of a parser that reads nothing: what is refused is for Config to say.
            option.choices = option.choices or known.get(option.dest)
            if option.metavar == "FILE":
                option.complete = shtab.FILE
    print(shtab.complete(parser, shell))
    return 0
