"""The public face of the numbers: `analyze` and `FeatureMoments`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fswidget.analysis.arrays import as_matrix, as_tensor
from fswidget.analysis.basis import FewerOutputs, of_many_outputs, orthonormal_basis, project
from fswidget.analysis.diagonalization import diagonalize
from fswidget.analysis.moments import Moments
from fswidget.analysis.positions import DRAWN, IGNORED, Positions, read_draw
from fswidget.analysis.spectrum import Spectrum
from fswidget.analysis.targets import (
    Targets,
    assign_blocks,
    check_task,
    class_weights,
    read_targets,
    warn_unbalanced,
)


class FeatureMoments(Moments):
    """Second moments of features, outputs and targets over a probe, added up batch by batch.

    Parameters
    ----------
    num_features, num_outputs, num_targets : int
        p, the dimension of Φ; C, the number of outputs; and the number of classes, or of target
        dimensions of a regression.
    num_reference : int, default 0
        Dimension of the reference features Φ_0 (the untrained network's), for the kernel drift.
    num_blocks : int, default 8
        Jackknife blocks, for error bars and the regime's confidence; 1 keeps none.
    first_sample : int, default 0
        Running number of the first sample. Processes that each take a consecutive part of the
        samples get the blocks of a single process by giving where their part begins.
    device : torch.device or str, optional
        Where the sums live; the CPU by default and wherever a device lacks float64.

    Notes
    -----
    Memory is ``8 · num_blocks · d²`` bytes whatever the number of samples, with
    ``d ≤ p + C + num_targets + num_reference + 58``, plus float64 copies of at most 2,048 rows
    (16,384 on a GPU) while updating. Point estimates do not depend on how the
    samples are cut into batches nor on the order of merges. A sample's block follows a fixed
    pseudo-random table by its running number, so that classes that come sorted or in turn do not
    line up with the blocks (our choice).

    Examples
    --------
    >>> random, labels = np.random.default_rng(0), np.arange(300) % 3
    >>> features = random.normal(size=(300, 20)) + 5 * np.eye(3, 20)[labels]
    >>> moments = fs.FeatureMoments(num_features=20, num_outputs=3, num_targets=3)
    >>> for part in np.split(np.arange(300), 3):
    ...     _ = moments.update(features[part], features[part, :3], labels[part])
    >>> moments.spectrum().used_features
    3
    """

    def spectrum(
        self,
        task: str = "cross_entropy",
        *,
        debias: bool = False,
        errors: bool = False,
        top: int | None = None,
        start: Any | None = None,
        tolerance: float = 1e-5,
        outputs_moved: bool = True,
    ) -> Spectrum:
        """Diagonalise the feature operator; see `fswidget.Spectrum`.

        Parameters
        ----------
        task : {"cross_entropy", "squared_error", "multilabel", "binary"}
            What the outputs mean. For cross-entropy, whose targets must be classes, Ĥ is the span
            of the logits less their mean over classes; for the others, that of the outputs as they
            are: values, one logit per label, a single logit.
        debias : bool, default False
            Whether `low_rank_measure` is the debiased estimate.
        errors : bool, default False
            Whether to compute jackknife errors; needs ``num_blocks`` ≥ 2.
        top : int, optional
            Compute only about this many leading eigenvalues where that suffices; for wide features.
        start : array, shape (num_features, k), optional
            Eigenvectors of an earlier spectrum, from which the top-k solver starts.
        tolerance : float, default 1e-5
            Relative singular value below which a direction does not count for the rank of a span;
            from 1e-8 to below 1.
        outputs_moved : bool, default True
            False for the untrained network, whose regime is then "UNTRAINED".

        Raises
        ------
        ValueError
            On an unknown task, cross-entropy of one output, a tolerance out of range, without
            samples, or for errors without blocks.
        """
        return diagonalize(
            self,
            task,
            debias=debias,
            errors=errors,
            top=top,
            start=start,
            tolerance=tolerance,
            outputs_moved=outputs_moved,
        )


def analyze(
    features: Any,
    outputs: Any,
    targets: Any,
    *,
    task: str = "cross_entropy",
    debias: bool = False,
    reference: Any | None = None,
    errors: bool = True,
    top: int | None = None,
    tolerance: float = 1e-5,
    num_positions: int = DRAWN,
    ignore_index: int = IGNORED,
    positions_seed: int = 0,
) -> Spectrum:
    """Spectrum and measures of one set of samples.

    Parameters
    ----------
    features : tensor or array, shape (n, p)
        What enters the last linear layer.
    outputs : tensor or array, shape (n, C)
        What it gives: logits, or the regression's outputs.
    targets : tensor or array, shape (n,) of int, or (n, C), or (n,) or (n, d) of float
        Class labels from 0 to C − 1; or rows ≥ 0 that sum to 1, or α·one-hot, which are classes,
        soft or not. Any other rows are values, for squared error; with one output integers are
        values too. For ``"multilabel"`` rows of 0 and 1, for ``"binary"`` one 0 or 1 per sample.
    task : {"cross_entropy", "squared_error", "multilabel", "binary"}
        What the outputs mean: logits, of which a common shift does not count (C ≥ 2), values, one
        logit for each of C independent labels, or a single logit.
    debias : bool, default False
        Whether `low_rank_measure` is the debiased estimate; its standard deviation at n = p is 0.8
        to 1.5 times the plain one's, on the spectra of ``benchmarks/measures_accuracy.py``.
    reference : tensor or array, shape (n, p_0), optional
        Features of the untrained network on the same samples, for the kernel drift.
    errors : bool, default True
        Whether to compute jackknife errors over 8 blocks, which hold 64 p² bytes.
    top : int, optional
        Compute only about this many leading eigenvalues where they reach 95% utilization; all by
        default, which takes tens of seconds from p = 4,096 on. Frames of more than 1,024 features
        take four per class, 64 at least.
    tolerance : float, default 1e-5
        Relative singular value below which a direction does not count for a rank; from 1e-8
        to below 1. Of m functions, singular values below √(m ε), 5e-8 for m = 10, are rounding and
        never count.
    num_positions, ignore_index, positions_seed : int
        Of features (n, length, p), outputs (n, length, C) and targets (n, length), or (n, p,
        height, width), (n, C, height, width) and (n, height, width), the tokens or pixels are the
        samples: at most so many (4,096), drawn by this seed from those whose target is not
        `ignore_index` (−100). Errors then leave out whole sequences or pictures.

    Raises
    ------
    TypeError
        If an array holds anything but numbers.
    ValueError
        On wrong shapes, targets that do not fit the task and the outputs, labels out of range, an
        unknown task, or values that are not finite.

    Warns
    -----
    UserWarning
        Where a class has half as many samples again as another, beyond chance.


    Examples
    --------
    Three classes, each of which has a feature of its own beside 17 that are noise:

    >>> random, labels = np.random.default_rng(0), np.arange(300) % 3
    >>> features = random.normal(size=(300, 20)) + 5 * np.eye(3, 20)[labels]
    >>> spectrum = fs.analyze(features, features[:, :3], labels)
    >>> spectrum.used_features, spectrum.regime.label
    (3, 'MF')
    """
    draw = read_draw(num_positions, ignore_index, positions_seed)
    outputs, targets = as_tensor("outputs", outputs), as_tensor("targets", targets)
    positions = Positions.among(outputs, targets, task, **draw)
    if positions is not None:
        features, outputs = positions.take(features, "features"), positions.take(outputs)
        targets = positions.targets(targets)
        reference = None if reference is None else positions.take(reference, "reference")
    features, outputs, read = _read(features, outputs, targets, task)
    reference = None if reference is None else as_matrix("reference", reference, "p_0")
    groups = None if positions is None else positions.owners.numpy()
    basis, few = orthonormal_basis(features), FewerOutputs.of(features, outputs)
    num_outputs, labels, there = outputs.shape[1], read.labels, None
    if labels is not None:
        warn_unbalanced(labels, read.num_targets)
    if few is not None:
        outputs = few.reduce(outputs)
        read, there = _classes_there(read)
    many, few = few is not None, None  # its axes are large
    moments = _moments(features, outputs, read, reference, basis, errors, groups=groups)
    weighted, weights = None, class_weights(labels)
    if weights is not None:
        weighted = _moments(features, outputs, read, None, basis, False, weights)
    errors = moments.num_blocks > 1
    options: dict[str, Any] = {"debias": debias, "errors": errors, "top": top}
    options["tolerance"] = tolerance
    found = diagonalize(moments, task, basis=basis, weighted=weighted, **options)
    return of_many_outputs(found, num_outputs, there) if many else found


def _classes_there(read: Targets) -> tuple[Targets, Tensor | None]:
    """Without the classes that no sample has, which change no measure, and those that are there."""
    if read.rows.ndim > 1:
        return read, None
    there, labels = torch.unique(read.rows, return_inverse=True)
    # Of a single column integers are values.
    return Targets(labels, labels, max(2, len(there))), there.cpu()


def _read(
    features: Any, outputs: Tensor, targets: Any, task: str
) -> tuple[Tensor, Tensor, Targets]:
    features = as_matrix("features", features, "p")
    outputs = as_matrix("outputs", outputs[:, None] if outputs.ndim == 1 else outputs, "C")
    if not len(features):
        raise ValueError("features: 0 samples; must be at least 1")
    check_task(task, outputs.shape[1])
    return features, outputs, read_targets(targets, task, outputs.shape[1])


def _moments(
    features: Tensor,
    outputs: Tensor,
    targets: Targets,
    reference: Tensor | None,
    basis: Tensor | None,
    errors: bool,
    weights: Tensor | None = None,
    groups: NDArray[np.int64] | None = None,
) -> Moments:
    """All samples at once, in the coordinates of `basis`."""
    features = project(features, basis)
    if reference is not None:
        reference = project(reference, orthonormal_basis(reference))
    moments = Moments(
        features.shape[1],
        outputs.shape[1],
        targets.num_targets,
        num_reference=0 if reference is None else reference.shape[1],
        num_blocks=min(8, len(features)) if errors else 1,
        device=features.device,
    )
    named = targets.rows if targets.labels is None else targets.labels
    blocks = assign_blocks(named, moments.num_blocks, groups)
    rows = features, outputs, targets.rows, reference
    return moments.update(*rows, blocks=blocks, weights=weights)
