"""Where these tests run: on CUDA, or in a rehearsal on the device that a variable names."""

import os

import pytest
import torch


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The device that is compared with the CPU."""
    named = os.environ.get("FSWIDGET_GPU_TESTS_ON")
    if named is None and not torch.cuda.is_available():
        pytest.skip("no CUDA here")
    return torch.device(named or "cuda")


@pytest.fixture(scope="session")
def widest(device: torch.device) -> int:
    """The widest features that are tried: a rehearsal on the CPU stays short."""
    return 4096 if device.type == "cuda" else 64
