"""From moments to a `Spectrum`: the eigensolve, and the measures with their errors."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fswidget.analysis.arrays import to_numpy
from fswidget.analysis.averages import Averages
from fswidget.analysis.by_row import ClassCenters
from fswidget.analysis.eigensolvers import EigenDecomposition, eigh_full, eigh_topk
from fswidget.analysis.jackknife import Jackknife, jackknife
from fswidget.analysis.measures import ASIDE, USED, Measures, cumulative, measures_of
from fswidget.analysis.moments import Moments
from fswidget.analysis.nulls import Band, Features, lazy_twin, random_heads
from fswidget.analysis.spectrum import Spectrum
from fswidget.analysis.targets import check_task

_LEAST_TOLERANCE = 1e-8  # about √ε: smaller singular values are all rounding


def diagonalize(
    moments: Moments,
    task: str = "cross_entropy",
    *,
    debias: bool = False,
    errors: bool = False,
    top: int | None = None,
    start: Any | None = None,
    tolerance: float = 1e-5,
    outputs_moved: bool = True,
    basis: Tensor | None = None,
    weighted: Moments | None = None,
    bands: bool = True,
) -> Spectrum:
    """See `FeatureMoments.spectrum`; features are coordinates on `basis`, shape (p, n).

    `weighted` are moments of the same samples with `class_weights`. Without `bands` random heads
    and the lazy twin stay unknown.
    """
    _check(moments, task, errors, top, tolerance)
    averages = Averages.of(moments)
    measures = Measures.of(averages, moments, task, tolerance, debias)
    part = averages.columns.features
    covariance, mean = averages.covariance(part, part), averages.mean(part)
    whole = covariance + torch.outer(mean, mean)
    trace, square = torch.stack([whole.trace(), whole.square().sum()]).tolist()
    solution = _solve(covariance, mean, measures, top, start)
    coefficients = measures.coefficients(solution)
    quality, utilization = (cumulative(c) for c in coefficients)
    num_features = moments.num_features if basis is None else len(basis)
    spread = Jackknife()
    if errors:
        spread = jackknife(moments, averages, solution, utilization, num_features, measures, debias)
    numbers = measures.numbers
    more: dict[str, Any] = {name: numbers[name] for name in numbers if name not in ASIDE}
    more |= {name: int(more[name]) for name in ("output_rank", "target_rank")}
    if bands and solution.complete:
        more |= _bands(averages, more["output_rank"], solution, coefficients[0])
    more["_centers"] = _centers(measures, averages, solution, basis)
    more["low_rank_measure_weighted"] = _class_weighted(measures, weighted)
    return Spectrum(
        **_eigenpairs(solution, basis),
        quality=quality,
        utilization=utilization,
        task=task,
        classification=moments.classification and task != "multilabel",
        num_features=num_features,
        num_outputs=moments.num_outputs,
        num_samples=moments.num_samples,
        tolerance=tolerance,
        trace=trace,
        square=square,
        debiased=debias,
        outputs_moved=outputs_moved,
        target_share=measures.target_share(averages),
        **more,
        errors=spread.errors,
        quality_error=spread.quality_error,
        utilization_error=spread.utilization_error,
        _replicates=spread.replicates,
        _debiased=spread.debiased,
        _coefficients=tuple(to_numpy(c) for c in coefficients),
        _maps=tuple(to_numpy(basis) for basis in measures.maps(averages)),
    )


def _eigenpairs(solution: EigenDecomposition, basis: Tensor | None) -> dict[str, Any]:
    vectors = solution.vectors if basis is None else basis @ solution.vectors
    return {
        "eigenvalues": to_numpy(solution.values),
        "eigenvectors": to_numpy(vectors),
        "floor": solution.floor,
        "solver": solution.solver,
        "complete": solution.complete,
    }


def _class_weighted(measures: Measures, weighted: Moments | None) -> float:
    """D_LR with classes of equal weight; NaN where they are unequal and no such moments given."""
    if weighted is not None:
        found = measures_of(weighted, measures.task, measures.tolerance)
    elif measures.counts is not None and np.ptp(measures.counts[measures.counts > 0]) < 0.5:
        found = measures
    else:
        return math.nan
    return float(found.numbers["low_rank_measure_plain"])


def _centers(
    measures: Measures, averages: Averages, solution: EigenDecomposition, basis: Tensor | None
) -> ClassCenters | None:
    if measures.classes is None or measures.counts is None:
        return None
    means = measures.classes.means + averages.mean(averages.columns.features)[:, None]
    means = means if basis is None else basis @ means
    names = np.flatnonzero(measures.counts)
    return ClassCenters(
        names,
        to_numpy(means).T[names],
        to_numpy(measures.coefficients_of_outputs(averages, solution)),
        averages.columns.outputs.stop - averages.columns.outputs.start == 1,
    )


def _bands(
    averages: Averages, rank: int, solution: EigenDecomposition, wanted: Tensor
) -> dict[str, Band]:
    """Of random heads of so many outputs and of the lazy twin, after a complete solve."""
    part = averages.columns.features
    norm = math.sqrt(float(averages.inner_product(part, part)))
    means = solution.vectors.T @ averages.mean(part) / solution.values.sqrt()
    features = Features(to_numpy(solution.values), to_numpy(means), norm)
    twin = lazy_twin(features, to_numpy(wanted))
    return {"null": random_heads(features, rank), "lazy_twin": twin}


def _solve(
    covariance: Tensor, mean: Tensor, measures: Measures, top: int | None, start: Any | None
) -> EigenDecomposition:
    if top is None:
        return eigh_full(covariance, mean)

    def suffices(values: Tensor, vectors: Tensor) -> bool:
        found = EigenDecomposition(values, vectors, 0.0, "", False)
        return bool(cumulative(measures.coefficients(found)[1])[-1] >= USED)

    known = None if start is None else torch.as_tensor(np.asarray(start), device="cpu")
    matrix = covariance + torch.outer(mean, mean)
    found = eigh_topk(matrix, top, start=known, suffices=suffices)
    if found is not None and suffices(found.values, found.vectors):
        return found
    why = "did not converge" if found is None else "do not reach 95% utilization"
    complete = eigh_full(covariance, mean)
    return replace(complete, solver=f"{complete.solver}: {top} leading {why}")


def _check(moments: Moments, task: str, errors: bool, top: Any, tolerance: Any) -> None:
    """Raise ValueError for what no spectrum can be made with."""
    check_task(task, moments.num_outputs)
    if task == "cross_entropy" and not moments.classification and moments.num_samples:
        raise ValueError(
            "task='cross_entropy': the targets were no classes (rows ≥ 0 that sum to 1, or "
            "α·one-hot); must be 'multilabel' for several labels per sample, 'squared_error' for "
            "values"
        )
    if errors and moments.num_blocks < 2:
        raise ValueError(f"errors=True: needs num_blocks ≥ 2, not {moments.num_blocks}")
    if top is not None and (not isinstance(top, (int, np.integer)) or top < 1):
        raise ValueError(f"top={top!r}: must be an integer ≥ 1, or None for all eigenvalues")
    known = isinstance(tolerance, (int, float, np.floating))
    if not known or not _LEAST_TOLERANCE <= tolerance < 1:
        raise ValueError(
            f"tolerance={tolerance!r}: must be a number from {_LEAST_TOLERANCE:g} to below 1"
        )
