"""What people imported and kept before the modules moved into rooms still works."""

import importlib
import pickle
from pathlib import Path

import pytest

import fswidget as fs
from fswidget.experiments.sweeping import load as load_sweep

KEPT = Path(__file__).parents[1] / "fixtures" / "before_rooms"


def test_a_recording_made_before_opens() -> None:
    recording = fs.load(KEPT / "recording.npz")
    assert len(recording) == 2
    assert recording[-1].scalars["low_rank_measure"] == pytest.approx(0.42792705045569035)


def test_a_recording_pickled_before_opens() -> None:
    recording = pickle.loads((KEPT / "recording.pkl").read_bytes())
    assert isinstance(recording, fs.Recording)
    assert recording[-1].epoch == 2


def test_a_spectrum_pickled_before_opens() -> None:
    spectrum = pickle.loads((KEPT / "spectrum.pkl").read_bytes())
    assert isinstance(spectrum, fs.Spectrum)
    assert spectrum.low_rank_measure == pytest.approx(0.3379204711984317)
    assert (spectrum.used_features, spectrum.regime.label) == (6, "TRANSITION")


def test_a_sweep_made_before_opens() -> None:
    assert [run.settings["width"] for run in load_sweep(KEPT / "sweep.json")] == [8, 12]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("config", "Config"),
        ("moments", "FeatureMoments"),
        ("spectrum", "analyze"),
        ("viewer", "compare"),
        ("sweeping", "sweep"),
        ("training", "record"),
        ("experiments", "recipes"),
    ],
)
def test_a_former_module_gives_the_public_name(module: str, name: str) -> None:
    assert getattr(importlib.import_module(f"fswidget.{module}"), name) is getattr(fs, name)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("callbacks", "lightning_callback"),
        ("data", "source"),
        ("figures", "figure"),
        ("models", "network"),
        ("recording", "SCALARS"),
        ("reproduction", "main"),
        ("training", "Training"),
    ],
)
def test_a_former_module_goes_on_working(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(f"fswidget.{module}"), name)
