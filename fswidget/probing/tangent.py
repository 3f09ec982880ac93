"""The empirical neural tangent kernel on few samples: how far it moved, what it is aligned with."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from fswidget.probing.modes import param_dtype
from fswidget.probing.outputs import Select, as_rows, main_output
from fswidget.probing.samples import Samples, widened

#: At most so many samples, and fewer where their gradients would be more numbers than this; of
#: more outputs than this, as many random sums (our choice).
_MOST_SAMPLES, _MOST_NUMBERS, _MOST_OUTPUTS = 100, 10**8, 10
_LEAST_SAMPLES = 16


class TangentKernel:
    """Measures the kernel of a network's gradients, and how far it is from the untrained one's.

    Θ(x, x') = Σ_c ⟨∂f_c(x)/∂θ, ∂f_c(x')/∂θ⟩ over the parameters θ that train and the outputs c
    (Jacot, Gabriel and Hongler 2018; the sum over outputs and leaving frozen parameters out are our
    choice), of outputs less their mean over classes under cross-entropy, which a common shift does
    not change. Where there are more than 10 outputs the sum is over 10 random ones of their sums
    Σ_c ±f_c, the same for every frame, which is Θ on the mean (our choice).

    ``ntk_drift`` is 1 − CKA(Θ_t, Θ_0), centred (Kornblith et al. 2019), 0 to 1: 0 where the network
    trains as its linearisation does. Fort et al. (2020) take the cosine without centring.
    ``ntk_alignment`` is CKA(Θ_t, Y Yᵀ) with the targets Y, centred (Cortes, Mohri and Rostamizadeh
    2012; of the tangent kernel Baratin et al. 2021), 0 to 1. Both are of 100 samples at most,
    classes as in the probe, without error bars: the drift is biased low and the alignment high, as
    plain CKA of few samples is.

    Parameters
    ----------
    samples : Samples
        The probe.
    num_outputs : int
    select : str, int or callable, optional
        Which of what the model returns are its outputs.
    """

    def __init__(self, samples: Samples, num_outputs: int, select: Select | None = None) -> None:
        self._all, self._select = samples, select
        self._few: Samples | None = None
        self._first: Tensor | None = None
        self._directions = _directions(num_outputs, samples.task == "cross_entropy")

    def __bool__(self) -> bool:
        return self._first is not None

    def refer_to(self, model: nn.Module, device: torch.device) -> None:
        """Measure drift from the kernel of the network as it is now."""
        self._first = self.kernel(model, device)

    def of(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Drift, where it is known from what, and alignment, under their names in a frame."""
        now = self.kernel(model, device)
        few = self._samples(model)
        goal = few.targets if few.labels is None else F.one_hot(few.labels)
        goal = widened(goal.reshape(len(few), -1)).to(now.device)
        found = {"ntk_alignment": _cka(now, goal @ goal.T)}
        if self._first is not None and self._first.shape == now.shape:
            found["ntk_drift"] = 1 - _cka(now, self._first)
        return found

    def kernel(self, model: nn.Module, device: torch.device) -> Tensor:
        """Θ, shape (n, n), float64.

        Raises
        ------
        ValueError
            If `torch.func` cannot differentiate the network sample by sample.
        """
        few = self._samples(model)
        (batch,) = few.batches(len(few), device, param_dtype(model))
        trained = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}

        def sum_of_outputs(
            parameters: dict[str, Tensor], args: Any, kwargs: Any, direction: Tensor
        ) -> Tensor:
            args = tuple(value[None] for value in args)
            kwargs = {n: v[None] if isinstance(v, Tensor) else v for n, v in kwargs.items()}
            returned = functional_call(model, parameters, args, kwargs)
            return (as_rows(main_output(returned, self._select), 1)[0] * direction).sum()

        along = {n: 0 if isinstance(v, Tensor) else None for n, v in batch.kwargs.items()}
        each = vmap(grad(sum_of_outputs), in_dims=(None, 0, along or None, None))
        total = torch.zeros(len(few), len(few), dtype=param_dtype(model), device=device)
        for direction in self._directions.to(total):
            try:
                with sdpa_kernel(SDPBackend.MATH):  # of the others vmap knows none
                    gradients = each(trained, batch.args, batch.kwargs, direction)
            except RuntimeError as error:
                raise ValueError(
                    f"ntk=True: torch.func cannot differentiate {type(model).__name__} sample by "
                    f"sample ({str(error).splitlines()[0]}); must be False"
                ) from error
            for values in gradients.values():
                rows = values.reshape(len(few), -1)
                total += rows @ rows.T
        return widened(total)

    def _samples(self, model: nn.Module) -> Samples:
        """As many as there is memory for, chosen once."""
        if self._few is None:
            size = sum(p.numel() for p in model.parameters())
            count = max(_LEAST_SAMPLES, min(_MOST_SAMPLES, _MOST_NUMBERS // max(1, size)))
            self._few = self._all.spread(count)
        return self._few


def _directions(num_outputs: int, shift: bool) -> Tensor:
    """What the outputs are summed with, shape (m, C)."""
    kind: Any = {"dtype": torch.float64, "device": "cpu"}
    if num_outputs <= _MOST_OUTPUTS:
        rows = torch.eye(num_outputs, **kind)
    else:
        generator = torch.Generator("cpu").manual_seed(0)
        coins = torch.randint(0, 2, (_MOST_OUTPUTS, num_outputs), generator=generator, device="cpu")
        rows = (2 * coins - 1).to(**kind) / math.sqrt(_MOST_OUTPUTS)
    return rows - rows.mean(1, keepdim=True) if shift and num_outputs > 1 else rows


def _cka(first: Tensor, second: Tensor) -> float:
    """Of two kernels, shape (n, n), centred; NaN where one is constant."""
    centred = [k - k.mean(0) - k.mean(1, keepdim=True) + k.mean() for k in (first, second)]
    norms = [torch.linalg.vector_norm(kernel) for kernel in centred]
    # Read at once: a GPU waits for each time.
    *sizes, product = torch.stack([*norms, (centred[0] * centred[1]).sum()]).tolist()
    return min(1.0, product / (sizes[0] * sizes[1])) if min(sizes) > 0 else math.nan
