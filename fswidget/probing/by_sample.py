"""What no moments can give, and is found from the samples one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fswidget.analysis.linear_outputs import as_whole
from fswidget.analysis.spectrum import Spectrum
from fswidget.probing.distributed import Communicator
from fswidget.probing.inference import Activations
from fswidget.probing.samples import Samples, widened

#: Evenly spread over the probe, the truncated accuracy and NC4 look at so many (our choice).
_MOST_ROWS = 1000


def kept_and_nearest(
    samples: Samples,
    team: Communicator,
    spectrum: Spectrum,
    features: Tensor,
    rows: Activations,
    arrays: dict[str, NDArray[Any] | None],
) -> dict[str, float]:
    """NC4, and into `arrays` the truncated accuracy, on some rows of all processes; nothing without
    classes."""
    labels = samples.labels
    if labels is None:
        return {}
    step = -(-len(labels) // _MOST_ROWS)
    mine = slice(-rows.start % step, None, step)
    some = features[mine], as_whole(rows.outputs[mine])
    truth = labels[rows.start : rows.start + len(features)][mine]
    told = spectrum.truncates
    found = np.zeros(2 + (len(spectrum.eigenvalues) if told else 0))
    if len(truth):
        right = spectrum.truncated_accuracy(*some, truth) if told else np.empty(0)
        found = len(truth) * np.array([*right, spectrum.nc4_of(*some), 1])
    *hits, wrong, count = team.sum(found.tolist(), features.device)
    if told:
        arrays["truncated_accuracy"] = np.array(hits) / count
    return {"nc4": wrong / count}


def without_each(
    samples: Samples, team: Communicator, points: NDArray[np.float64], rows: Activations
) -> NDArray[np.float64]:
    """Accuracy, that of labels, or R² on the probe without each eigenfunction that is shown.

    Of f̂ − ⟨f̂|e_k⟩ e_k; which features the answers could not do without. Our choice.

    Parameters
    ----------
    points : ndarray, shape (n, m)
        The eigenfunctions of this process's samples, turned as they are shown.

    Returns
    -------
    ndarray, shape (m,)
        NaN where there is no such eigenfunction.
    """
    outputs, device = widened(as_whole(rows.outputs)), rows.outputs.device
    values = torch.as_tensor(points).to(outputs)
    sums = team.sum((values.T @ outputs).flatten().tolist(), device)
    shares = torch.tensor(sums).to(outputs).reshape(values.shape[1], -1) / len(samples)
    pairs = zip(values.T, shares, strict=True)
    wrong = [samples.error(outputs - torch.outer(*pair), rows.targets) for pair in pairs]
    if not wrong:
        return np.array([])
    # Read at once: a GPU waits for each time.
    counts = np.array(team.sum(torch.stack(wrong).double().flatten().tolist(), device))
    found = [
        next(iter(samples.score(errors, "").values()))
        for errors in counts.reshape(len(wrong), -1).tolist()
    ]
    return np.where(np.isfinite(sums).reshape(len(wrong), -1).all(1), found, np.nan)
