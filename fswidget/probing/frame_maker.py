"""From features, outputs and targets of fixed samples to frames: what `watch`, `Recorder` and
training share."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fswidget.analysis.api import FeatureMoments
from fswidget.analysis.averages import Averages
from fswidget.analysis.basis import (
    are_many,
    fewer_outputs,
    of_many_outputs,
    orthonormal_basis,
    project,
)
from fswidget.analysis.linear_outputs import LinearOutputs, as_whole, pieces
from fswidget.analysis.measures import first_at, kernel_drift, measures_of
from fswidget.analysis.spectrum import Spectrum
from fswidget.analysis.targets import assign_blocks, class_weights, minimal_features
from fswidget.probing import measures
from fswidget.probing.arguments import check_flags
from fswidget.probing.by_sample import kept_and_nearest, without_each
from fswidget.probing.distributed import Communicator
from fswidget.probing.frames import (
    Reference,
    bands_of,
    eigenfunctions,
    layer_arrays,
    layer_means,
    rotation_towards,
    scalars_of,
    spectrum_of,
    total_quality,
    turned,
    within_float32,
)
from fswidget.probing.inference import Activations
from fswidget.probing.outputs import precision
from fswidget.probing.samples import Samples, widened
from fswidget.recording.frame import Frame, RunInfo

_NUM_BLOCKS = 8
# Sums of all jackknife blocks may take so much; beyond it there are no error bars (our choice).
_MAX_BYTES = 1_000_000_000
# Outputs that left those of the reference by this share of their size have moved (our choice).
_MOVED = 1e-3


class FrameMaker:
    """Turns rows of the same samples into frames, each aligned to the one before.

    Parameters
    ----------
    samples, held_out : Samples
        As `Samples.fit` settled them; `held_out` may be None.
    num_features, num_outputs, num_eigenfunctions : int
    errors, top, more_measures
        See `Probe`.
    head : str, optional
        The name of the last linear layer, where it is known.

    Attributes
    ----------
    reference : Reference or None
        What drift is measured from.
    previous : tuple (eigenvectors or None, points) or None
        Of the last frame.
    regime : str, optional
        The label of the last frame.
    unknown : bool
        Whether no untrained network is known: drift is left out and LAZY not said.
    team : Communicator
    """

    def __init__(
        self,
        samples: Samples,
        held_out: Samples | None,
        *,
        num_features: int,
        num_outputs: int,
        num_eigenfunctions: int,
        errors: bool,
        top: int | None,
        more_measures: bool = False,
        head: str | None = None,
    ) -> None:
        check_flags(errors=errors, more_measures=more_measures)
        self.samples, self.held_out = samples, held_out
        self.num_features, self.num_outputs = num_features, num_outputs
        self.num_eigenfunctions = num_eigenfunctions
        self.errors, self.top, self.more_measures, self.head = errors, top, more_measures, head
        self.team = Communicator()
        self.reference: Reference | None = None
        self.previous: tuple[NDArray[np.float64] | None, NDArray[np.float64]] | None = None
        self.unknown = False
        self.regime: str | None = None
        self._few: Any = None
        self._there: Tensor | None = None
        self._settle()

    @property
    def by_weights(self) -> bool:
        """Whether outputs are so many that they are kept as what makes them."""
        labels = self.samples.labels is not None and self.samples.targets.ndim == 1
        many = are_many(len(self.samples), self.num_features, self.num_outputs)
        return self.team.size == 1 and labels and many

    def _settle(self) -> None:
        """What follows from the targets."""
        self._blocks = assign_blocks(self.samples.named, _NUM_BLOCKS, self.samples.groups)
        self._weights = class_weights(self.samples.labels)
        self._classes = self._classes_there()

    def describe(
        self,
        *,
        config: dict[str, Any],
        title: str,
        layers: tuple[str, ...],
        class_names: tuple[str, ...],
        pictures: NDArray[np.uint8] | None,
    ) -> RunInfo:
        """What does not change from frame to frame."""
        samples, held_out = self.samples, self.held_out
        return RunInfo(
            config=config,
            task=samples.task,
            num_features=self.num_features,
            num_outputs=self.num_outputs,
            labels=samples.display_labels(),
            class_names=class_names,
            thumbnails=pictures,
            held_out_labels=None if held_out is None else held_out.display_labels(),
            targets=samples.display_targets(),
            tokens=samples.display_tokens(),
            layers=layers,
            **samples.told,
            num_samples=len(samples),
            title=title,
            minimal_features=minimal_features(
                samples.task, samples.labels is not None, self.num_outputs
            ),
        )

    def retarget(self, targets: Tensor) -> None:
        """Measure against other targets of the same kind from now on."""
        where = self.samples.positions
        targets = targets if where is None else where.targets(targets)
        goal = dataclasses.replace(self.samples, targets=targets)
        shown = int(goal.shown.sum())
        self.samples = goal.fit(self.num_outputs, goal.task, shown)
        self._settle()

    def refer_to(self, rows: Activations) -> None:
        """Measure drift from these rows on."""
        features = project(rows.features, self._basis(rows.features))
        self.reference, self.unknown = Reference.of(features, rows.outputs), False

    def make(
        self, epoch: float, step: int, rows: Activations, held_out: Activations | None = None
    ) -> Frame:
        """The frame of these rows."""
        basis = self._basis(rows.features)
        features = project(rows.features, basis)
        reference, moved = self._since(features, rows, begins=epoch == 0 and step == 0)
        self._few = fewer_outputs(rows.features, rows.outputs) if self.team.size == 1 else None
        self._there = None if self._few is None else self._classes
        drift = self._output_drift(rows) if moved and reference is not None else math.nan
        spectrum, blocks = self._measured(features, short := self._shortened(rows), reference)
        whole = dataclasses.replace(spectrum, num_features=self.num_features)
        regime = whole.classify(
            outputs_moved=moved,
            output_drift=1.0 if math.isnan(drift) else drift,
            previous=self.regime,
        )
        self.regime = regime.label
        count = min(self.num_eigenfunctions, self.num_features)
        points = eigenfunctions(spectrum, self._shown(features, self.samples), count)
        before = self.previous and self.previous[1]
        points = turned(points, rotation := rotation_towards(before, spectrum, points))
        self.previous = (spectrum.eigenvectors, points)
        outputs = self._shown(rows.outputs, self.samples)
        eigenvalues, scale = within_float32(spectrum.eigenvalues)
        errors = self._errors(rows, self.samples)
        arrays: dict[str, NDArray[Any] | None] = {
            "eigenvalues": eigenvalues,
            "quality": spectrum.quality,
            "utilization": spectrum.utilization,
            "quality_error": spectrum.quality_error,
            "utilization_error": spectrum.utilization_error,
            "projections": points,
            "predictions": self.samples.predictions(outputs),
            "label_accuracy": self.samples.label_accuracy(errors),
        }
        scalars = scalars_of(whole) | scale | self.samples.score(errors, "train")
        if blocks > 1:
            scalars["regime_confidence"] = regime.confidence
        if not math.isnan(drift):
            scalars["output_drift"] = drift
        if self.unknown:
            scalars.pop("kernel_drift", None)
        elif reference is None or not moved:
            scalars |= bands_of(spectrum.lazy_twin, "twin")
            scalars["kernel_drift"] = 0.0 if reference is None else scalars["kernel_drift"]
        if held_out is not None and self.held_out is not None:
            numbers, points = self._held_out(spectrum, held_out, basis, count)
            scalars |= numbers
            arrays["held_out_projections"] = turned(points, rotation)
        layers = self._measure_layers(short)
        arrays |= layers
        scalars |= layer_means(layers, list(rows.layers), self.head) | self._own_measures(rows)
        if self.more_measures:
            mine = turned(eigenfunctions(spectrum, features, count), rotation)
            arrays["ablated_score"] = without_each(self.samples, self.team, mine, rows)
            scalars |= kept_and_nearest(self.samples, self.team, spectrum, features, rows, arrays)
        words = {"regime": regime.label, "evidence": regime.evidence, "solver": spectrum.solver}
        known = {name: value for name, value in arrays.items() if value is not None}
        return Frame(epoch, step, scalars, words | self.samples.told, known)

    def _measured(
        self, features: Tensor, rows: Activations, reference: Tensor | None
    ) -> tuple[Spectrum, int]:
        """The spectrum, and how many blocks its errors are from."""
        moments = self._moments(features, rows, self.samples, reference, self.errors)
        start, weighted = None if self.previous is None else self.previous[0], None
        if self._weights is not None:
            weighted = self._moments(features, rows, self.samples, weights=self._weights)
        spectrum = spectrum_of(moments, self.samples.task, self.top, start, weighted)
        if self._few is not None:
            spectrum = of_many_outputs(spectrum, self.num_outputs, self._there)
        return spectrum, moments.num_blocks

    def _since(
        self, features: Tensor, rows: Activations, *, begins: bool
    ) -> tuple[Tensor | None, bool]:
        """The features that drift is measured from, and whether the outputs have moved since.

        A network that is first seen after its training began is no reference: what it was before is
        not known.
        """
        if self.unknown:
            return None, True
        if self.reference is None:
            self.reference = Reference.of(features, rows.outputs)
            self.unknown = not begins
            return None, not begins
        change, least = self._moved(rows.outputs, self.reference)
        if self.previous is None and not begins and change == 0:
            self.unknown = True
            return None, True
        return self.reference.features, change > least

    def _held_out(
        self, spectrum: Spectrum, rows: Activations, basis: Tensor | None, count: int
    ) -> tuple[dict[str, float], NDArray[np.float64]]:
        """Scalars of the samples held out, and their eigenfunctions."""
        assert self.held_out is not None
        features = project(rows.features, basis)
        moments = self._moments(features, self._shortened(rows), self.held_out)
        quality, utilization = spectrum.held_out(moments)
        scalars = self.held_out.score(self._errors(rows, self.held_out), "test")
        measured = measures_of(moments, self.samples.task).numbers
        if spectrum.classification:
            scalars |= {f"{name}_held_out": measured[name] for name in ("nc1", "cdnv")}
        scalars["quality_total_held_out"] = total_quality(quality)
        scalars["used_features_held_out"] = first_at(utilization, self.num_features)
        scalars["low_rank_measure_held_out"] = measured["low_rank_measure_plain"]
        return scalars, eigenfunctions(spectrum, self._shown(features, self.held_out), count)

    def _basis(self, features: Tensor) -> Tensor | None:
        # The processes of a team would each find a basis of their own samples.
        return orthonormal_basis(features) if self.team.size == 1 else None

    def _shortened(self, rows: Activations) -> Activations:
        """The same with few outputs and targets in the place of many; see `FewerOutputs`."""
        if self._few is None:
            return rows
        targets, there = rows.targets, self._there
        if there is not None:
            targets = torch.searchsorted(there.to(targets.device), targets)
        return dataclasses.replace(rows, outputs=self._few.reduce(rows.outputs), targets=targets)

    def _classes_there(self) -> Tensor | None:
        """The classes of all samples, on the CPU; those of none change no measure."""
        given = [one for one in (self.samples, self.held_out) if one is not None]
        if any(one.labels is None or one.targets.ndim > 1 for one in given):
            return None
        there: Tensor = torch.unique(torch.cat([one.targets for one in given]))
        return there.cpu()

    def _moments(
        self,
        features: Tensor,
        rows: Activations,
        samples: Samples,
        reference: Tensor | None = None,
        errors: bool = False,
        weights: Tensor | None = None,
    ) -> FeatureMoments:
        """Moments over all processes."""
        width, widest = features.shape[1], 0 if reference is None else reference.shape[1]
        outputs = rows.outputs.shape[1]  # of a single column of targets integers are values
        targets = samples.num_targets if self._there is None else max(2, len(self._there))
        nbytes = 8 * _NUM_BLOCKS * (width + widest + outputs + targets) ** 2
        moments = FeatureMoments(
            width,
            outputs,
            targets,
            num_reference=widest,
            num_blocks=_NUM_BLOCKS if errors and nbytes <= _MAX_BYTES else 1,
            device=features.device,
        )
        # The same blocks however many processes share the probe.
        mine = slice(rows.start, rows.start + len(features))
        blocks = self._blocks[mine] if moments.num_blocks > 1 else None
        arrays = features, rows.outputs, rows.targets, reference
        moments.update(*arrays, blocks=blocks, weights=None if weights is None else weights[mine])
        return moments if self.team.group is None else moments.all_reduce(self.team.group)

    def _shown(self, values: Any, samples: Samples) -> Any:
        """The rows of the shown samples, of all processes."""
        parts = [samples.part(rank, self.team.size)[0].shown for rank in range(self.team.size)]
        # Numbered on the CPU: finding them on a GPU would make it wait.
        mine = values[parts[self.team.rank].nonzero()[:, 0].to(values.device)]
        return self.team.gather(mine, [int(part.sum()) for part in parts])

    def _errors(self, rows: Activations, samples: Samples) -> list[float]:
        """The errors of `Samples.error` over all processes."""
        errors = samples.error(rows.outputs, rows.targets)
        return self.team.sum(errors.tolist(), rows.outputs.device)

    def _moved(self, outputs: Tensor | LinearOutputs, first: Reference) -> tuple[float, float]:
        """By what share of their size the outputs left the reference's, and what share counts: more
        than their number type rounds. Infinite as soon as it is more than that."""
        least = max(_MOVED, precision(outputs.dtype, first.outputs.dtype))
        size = self.team.sum([first.size], outputs.device)[0]
        # In pieces: of many outputs a whole copy in float64 is large.
        both = zip(pieces(first.outputs), pieces(outputs), strict=True)
        changes = ((widened(new) - widened(old)).square().sum() for old, new in both)
        # The first piece tells of most that moved; then one question: a GPU waits for each.
        change = float(next(changes, 0.0))
        if self.team.group is None and change > 2 * least**2 * size > 0:
            return math.inf, least
        change = self.team.sum([change + float(sum(changes))], outputs.device)[0]
        if math.isnan(change):  # of the reference only the features are known
            return math.inf, least
        if size == 0:
            return (math.inf if change else 0.0), least
        return math.sqrt(change / size), least

    def _output_drift(self, rows: Activations) -> float:
        """1 − CKA, centred, of the outputs and the reference's, as the kernel drift is of features;
        NaN where either is constant or only the reference's features are known."""
        assert self.reference is not None
        if math.isnan(self.reference.size):
            return math.nan
        if self._few is not None:  # CKA stays what it is
            first, now = self.reference.fewer_outputs, self._few.reduce(rows.outputs)
        else:
            first, now = as_whole(self.reference.outputs), as_whole(rows.outputs)
        if self.samples.task == "cross_entropy":  # a common shift of logits changes nothing
            first, now = (widened(values) for values in (first, now))
            first, now = (values - values.mean(1, keepdim=True) for values in (first, now))
        # Of outputs and targets nothing is asked: a column of each is enough.
        width = first.shape[1]
        size = now.shape[1], 1, 1
        moments = FeatureMoments(*size, num_reference=width, num_blocks=1, device=now.device)
        moments.update(now, now[:, :1], now[:, :1], first)
        if self.team.group is not None:
            moments = moments.all_reduce(self.team.group)
        return float(kernel_drift(Averages.of(moments), debias=False))

    def _own_measures(self, rows: Activations) -> dict[str, float]:
        """Measures that the user registered, on the rows of all processes."""
        if not measures.registered():
            return {}
        parts = [self.samples.part(rank, self.team.size)[0] for rank in range(self.team.size)]
        counts = [len(part) for part in parts]
        whole = [
            self.team.gather(widened(v), counts) for v in (rows.features, as_whole(rows.outputs))
        ]
        arrays = [values.cpu().numpy() for values in (*whole, self.samples.targets)]
        return measures.measured(arrays[0], arrays[1], arrays[2], self._blocks)

    def _measure_layers(self, rows: Activations) -> dict[str, NDArray[Any]]:
        spectra = []
        for values in rows.layers.values():
            features = project(values, self._basis(values))
            moments = self._moments(features, rows, self.samples)
            spectra.append(spectrum_of(moments, self.samples.task, self.top, bands=False))
        return layer_arrays(spectra)
