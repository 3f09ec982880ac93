"""Two gloo processes against one."""

from __future__ import annotations

import numpy as np
import pytest

import fswidget as fs
from fswidget.analysis.targets import assign_blocks
from tests.distributed import both, group


def sample():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    features = rng.normal(size=(4, 12))[labels] + rng.normal(size=(200, 12)) + 3
    return features, features @ rng.normal(size=(12, 4)), labels


SHARES = ((100, 100), (17, 183), (0, 200))


def work(rank: int, path: str) -> None:
    with group(rank, path):
        for share in SHARES:
            save(rank, share, f"{path}/{share[0]}-{rank}.npz")


def save(rank: int, share: tuple[int, int], path: str) -> None:
    data = sample()
    blocks = assign_blocks(data[2])
    rows = slice(0, share[0]) if rank == 0 else slice(share[0], sum(share))
    moments = fs.FeatureMoments(12, 4, 4)
    moments.update(*(array[rows] for array in data), blocks=blocks[rows])
    before = moments.num_samples
    total = moments.all_reduce()
    assert moments.num_samples == before
    spectrum = total.spectrum(errors=True)
    np.savez(
        path,
        samples=total.num_samples,
        eigenvalues=spectrum.eigenvalues,
        measures=[spectrum.low_rank_measure, spectrum.low_rank_measure_debiased, spectrum.nc1],
        errors=[spectrum.errors[name] for name in sorted(spectrum.errors)],
    )


def test_two_processes_give_what_one_gives(tmp_path):
    both(work, tmp_path)
    data = sample()
    expected = fs.analyze(*data)
    for path in [tmp_path / f"{first}-{rank}.npz" for first, _ in SHARES for rank in (0, 1)]:
        with np.load(path) as found:
            assert found["samples"] == 200
            np.testing.assert_allclose(found["eigenvalues"], expected.eigenvalues, rtol=1e-10)
            np.testing.assert_allclose(
                found["measures"],
                [expected.low_rank_measure, expected.low_rank_measure_debiased, expected.nc1],
                rtol=1e-9,
            )
            errors = [expected.errors[name] for name in sorted(expected.errors)]
            np.testing.assert_allclose(found["errors"], errors, rtol=1e-4)


def test_without_a_process_group_it_says_so():
    with pytest.raises(RuntimeError, match="init_process_group"):
        fs.FeatureMoments(2, 2, 2).all_reduce()
