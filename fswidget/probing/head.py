"""Finds the last linear layer of any torch module by what produces its output, not by its name.

Every linear layer's output becomes a leaf of the autograd graph; the head is the one leaf that the
model's output depends on. What comes after it is then tried with other numbers in its place: it may
select, reorder, scale and shift, alike for every sample, and normalise as a log-softmax does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from fswidget.probing.modes import evaluating, kept, overwriting, param_dtype
from fswidget.probing.outputs import (
    WAY_OUT,
    Select,
    check_masked,
    check_not_scalar,
    float_tensors,
    main_output,
    precision,
)


@dataclass(frozen=True)
class Head:
    """The last linear layer of a model.

    Parameters
    ----------
    name : str
        Its name in the (unwrapped) model; "" where the model is the layer itself.
    module : torch.nn.Module
    num_features, num_outputs : int
        p, and how many numbers it gives.
    axis : int
        Where features lie: the last axis, or 1 of a convolution over single pixels.
    select : str or int, optional
        Which of several tensors that the model returns it makes.
    """

    name: str
    module: nn.Module
    num_features: int
    num_outputs: int
    axis: int = -1
    select: str | int | None = None

    @property
    def matrix(self) -> tuple[Tensor, Tensor | None] | None:
        """Its weights, shape (num_outputs, p), and constants, (num_outputs,), where it has them
        under their usual names."""
        weight, bias = (getattr(self.module, name, None) for name in ("weight", "bias"))
        if not isinstance(weight, Tensor) or weight.numel() != self.num_features * self.num_outputs:
            return None
        sizes = (self.num_outputs, self.num_features)
        straight = len(weight) == self.num_outputs
        weight = weight.detach()
        weight = weight.reshape(sizes) if straight else weight.reshape(sizes[::-1]).T
        if isinstance(bias, Tensor) and bias.shape == (self.num_outputs,):
            return weight, bias.detach()
        return weight, None

    def rows(self, values: Tensor) -> Tensor:
        """What enters or leaves it, one row per position."""
        return values.movedim(self.axis, -1).reshape(-1, values.shape[self.axis])


@dataclass(frozen=True)
class _Call:
    """One call of a layer that may be the head: what entered, and the leaf put in the place of what
    left it."""

    name: str
    module: nn.Module
    entering: Tensor
    leaf: Tensor
    axis: int


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside what torch.compile, (Distributed)DataParallel and Fabric wrap it in."""
    while True:
        if isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif isinstance(inner := getattr(model, "_original_module", None), nn.Module):
            model = inner  # Lightning Fabric's
        else:
            return model


def _axis(module: nn.Module) -> int | None:
    """The axis that a layer maps by one matrix; None where it is no such layer."""
    # torch's own, and layers of other libraries that hold one matrix and map the last axis by it
    # (transformers' Conv1D).
    if isinstance(module, torch.jit.ScriptModule):
        return None  # which cannot be hooked
    if isinstance(module, nn.Linear):
        return -1
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        single = all(size == 1 for size in (*module.kernel_size, *module.stride, module.groups))
        return 1 if single else None
    weight = getattr(module, "weight", None)
    known = isinstance(weight, Tensor) and weight.ndim == 2 and not list(module.children())
    other = (nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.Bilinear)
    return -1 if known and not isinstance(module, other) else None


def find_head(model: nn.Module, *example_inputs: Any, **example_options: Any) -> Head:
    """Find the linear layer that makes the model's output.

    Parameters
    ----------
    model : torch.nn.Module
        Bare or in DataParallel, DistributedDataParallel or torch.compile. It is run a few times, in
        eval mode; training mode and random state are put back.
    *example_inputs, **example_options
        What to call it with; two samples are enough.

    Raises
    ------
    ValueError
        If no linear layer's output is the model's output up to selection, reordering, scale and
        shift, alike for every sample, and a softmax's normalisation.
    """
    return find(model, example_inputs, example_options)


def find(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    name: str | None = None,
    select: Select | None = None,
    shift: bool = True,
) -> Head:
    """`find_head` with a layer's `name` given, the outputs picked by `select`, and `shift` telling
    whether a common shift of a sample's outputs counts for nothing."""
    model = unwrap(model)
    if name is None:
        layers = {n: axis for n, m in model.named_modules() if (axis := _axis(m)) is not None}
    else:
        layers = {name: _axis(_named(model, name)) or -1}
    run = _Run(model, args, kwargs, select, shift)
    # Weights made in inference mode cannot have gradients: there values tell.
    gradients = not any(parameter.is_inference() for parameter in model.parameters())
    with (
        evaluating(model),
        torch.set_grad_enabled(gradients),
        overwriting() if gradients else nullcontext(),
    ):
        found = run.find(layers, named=name is not None, choosing=name is not None)
        found = run.tried(found) if isinstance(found, Head) else found
    if isinstance(found, str):
        raise ValueError(
            f"model={type(model).__name__}: {found}; its output must come from one linear layer "
            f"(torch.nn.Linear or alike) and be scaled, shifted or selected at most: {WAY_OUT}"
        )
    return found


def _named(model: nn.Module, name: str) -> nn.Module:
    modules = dict(model.named_modules())
    if name not in modules:
        names = ", ".join(n for n, m in modules.items() if n and _axis(m) is not None)
        raise ValueError(f"head={name!r}: no such module; the linear layers are {names or 'none'}")
    module: nn.Module = modules[name]
    return module


@dataclass(frozen=True)
class _Run:
    """A model and how to call it on a few samples."""

    model: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    select: Select | None
    shift: bool

    def _call(self) -> Any:
        # Copies: a model that works in place must not change what the next call gets.
        args = [value.clone() if isinstance(value, Tensor) else value for value in self.args]
        kwargs = {k: v.clone() if isinstance(v, Tensor) else v for k, v in self.kwargs.items()}
        with kept(self.model):  # one call must not change what the next one sees
            return self.model(*args, **kwargs)

    def find(self, layers: Mapping[str, int], named: bool, choosing: bool = False) -> Head | str:
        """The layer that the output depends on, or why there is none; where a layer that was named
        is `choosing`, the output is the one that depends on it."""
        calls, returned = self._cut(layers)
        if not calls:
            if named:
                return f"its layer {next(iter(layers))!r} did not run, or maps no float tensor"
            return f"it has no linear layer that ran{_cause(self.model)}"
        tensors: dict[str | int | None, Tensor] = {}
        if choosing and self.select is None and not isinstance(returned, Tensor):
            tensors = dict(float_tensors(returned).items())
        if len(tensors) < 2:
            tensors = {None: main_output(returned, self.select)}
        for tensor in tensors.values():
            check_not_scalar(tensor)
        reached = {key: self._reached(tensor, calls) for key, tensor in tensors.items()}
        reached = {key: names for key, names in reached.items() if names}
        if not reached:
            return "its output does not depend on the output of any linear layer"
        if len(reached) > 1:
            options = " or ".join(f"outputs={key!r}" for key in reached)
            return f"several of its outputs come from {calls[0].name!r}: pass {options}"
        ((key, names),) = reached.items()
        if len(names) > 1:
            around = self._around(names)
            if isinstance(around, Head):
                return around
            listed = ", ".join(map(repr, names))
            return f"its output mixes {len(names)} linear layers ({listed})"
        call = next(call for call in calls if call.name == names[0])
        width, outputs = (values.shape[call.axis] for values in (call.entering, call.leaf))
        return Head(call.name, call.module, width, outputs, call.axis, key)

    def _reached(self, output: Tensor, calls: list[_Call]) -> list[str]:
        """Names of the layers that an output depends on."""
        if not output.requires_grad:
            return self._last_that_matters(output, calls)
        # Weights that add up to nothing over the outputs, so that a log-softmax changes nothing.
        generator = torch.Generator("cpu").manual_seed(0)
        weights = (
            torch.rand(output.shape, generator=generator, dtype=torch.float64, device="cpu") + 1
        )
        if output.ndim > 1 and output.shape[-1] > 1:
            weights -= weights.mean(-1, keepdim=True)
        leaves = [call.leaf for call in calls]
        weights = weights.to(output.device, output.dtype)
        try:
            gradients = torch.autograd.grad(output, leaves, weights, allow_unused=True)
        except RuntimeError:  # something on the way has no derivative: values tell
            return self._last_that_matters(output.detach(), calls)
        reached = [
            call.name
            for call, gradient in zip(calls, gradients, strict=True)
            if gradient is not None and bool(gradient.any())
        ]
        return list(dict.fromkeys(reached))

    def _last_that_matters(self, output: Tensor, calls: list[_Call]) -> list[str]:
        """For a network that switches gradients off: the last layer that changes the output."""
        for call in reversed(calls):
            width, outputs = (values.shape[call.axis] for values in (call.entering, call.leaf))
            head = Head(call.name, call.module, width, outputs, call.axis)
            if not torch.equal(self._with_row(head, 0), output):
                return [call.name]
        return []

    def _around(self, names: list[str]) -> Head | None:
        """What holds a layer and its low-rank updates, where that is linear itself."""
        parts = [name.split(".")[:-1] for name in names]
        common = [here[0] for here in zip(*parts, strict=False) if len(set(here)) == 1]
        found = self.find({".".join(common): -1}, named=True)
        return found if isinstance(found, Head) and not isinstance(self.tried(found), str) else None

    def _cut(self, layers: Mapping[str, int]) -> tuple[list[_Call], Any]:
        """Run the model with a leaf in the place of what leaves each of the layers."""
        calls: list[_Call] = []

        def cutting(name: str, axis: int) -> Any:
            def cut(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
                entering = args[0] if args else None
                if not (_is_float(entering) and _is_float(output)):
                    return None
                if entering.ndim != output.ndim:
                    return None
                if entering.movedim(axis, -1).shape[:-1] != output.movedim(axis, -1).shape[:-1]:
                    return None
                leaf = output.detach().clone().requires_grad_()
                calls.append(_Call(name, module, entering.detach().clone(), leaf, axis))
                # A module that changes its input in place must not meet a leaf.
                return leaf * 1

            return cut

        modules = dict(self.model.named_modules())
        with ExitStack() as hooks:
            for name, axis in layers.items():
                handle = modules[name].register_forward_hook(cutting(name, axis))
                hooks.callback(handle.remove)
            return calls, self._call()

    def tried(self, head: Head) -> Head | str:
        """The head, or what speaks against it: its own outputs replaced, the same for all samples,
        the model's must be the same for all, and affine in them."""
        kind = param_dtype(self.model)
        if not self._is_affine(head, precision(kind)):
            return f"its last layer {head.name!r} is not linear in what enters it"
        returned = [self._with_row(head, number) for number in range(4)]
        tolerance = precision(kind, returned[0].dtype)
        outputs = [output.double() for output in returned]
        if len({output.shape for output in outputs}) > 1 or not outputs[0].ndim:
            return f"the shape of its output depends on the numbers that {head.name!r} gives"
        if outputs[0].ndim == 2:
            check_masked(outputs[0])
        size = torch.stack([output.abs().amax() for output in outputs]).sum()
        excess = outputs[0] + outputs[1] - outputs[2] - outputs[3]
        axis = -1 if excess.ndim == 2 else head.axis
        if self.shift and excess.ndim > 1:
            excess = excess - excess.mean(axis, keepdim=True)
        if not bool((excess.abs() <= tolerance * size).all()):
            return (
                f"its output is not the output of its last linear layer {head.name!r}, but made "
                "from it"
            )
        if not bool(((outputs[0] - outputs[0][:1]).abs() <= tolerance * size).all()):
            return (
                f"its output depends on more than its last linear layer {head.name!r}: something "
                "that differs by sample is added to it, or scales it"
            )
        return head

    def _with_row(self, head: Head, number: int) -> Tensor:
        """The model's output where the head gives one and the same row for all samples."""

        sizes: list[float] = []

        def replace(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            # One size for all calls: the rows must be the same.
            size = float(output.detach().abs().amax())
            sizes.append(size if 0 < size < math.inf else 1.0)
            generator = torch.Generator("cpu").manual_seed(0)
            kind: Any = {"dtype": torch.float64, "device": "cpu"}
            u, w = torch.randn(2, head.num_outputs, generator=generator, **kind)
            row = _quadruple(u, w)[number] * sizes[0]
            row = row.to(output.device, output.dtype)
            return row.expand(output.movedim(head.axis, -1).shape).movedim(-1, head.axis).clone()

        handle = head.module.register_forward_hook(replace)
        try:
            select = self.select if head.select is None else head.select
            output = main_output(self._call(), select)
            return output.detach()
        finally:
            handle.remove()

    def _is_affine(self, head: Head, tolerance: float) -> bool:
        if type(head.module) in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d):
            return True
        answers: list[bool] = []

        def test(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            if answers:
                return
            answers.append(True)
            four = _quadruple(args[0], args[0].roll(1, head.axis))
            first, second, third, fourth = (
                module.forward(value, *args[1:], **kwargs).double() for value in four
            )
            size = first.abs().amax() + second.abs().amax() + third.abs().amax()
            excess = (first + second - third - fourth).abs()
            answers[0] = bool((excess <= tolerance * size).all())

        handle = head.module.register_forward_hook(test, with_kwargs=True)
        try:
            self._call()
        finally:
            handle.remove()
        return all(answers)


def _quadruple(u: Tensor, w: Tensor) -> list[Tensor]:
    """Two values and two others of the same sum, on both sides of 0."""
    return [u, 0.5 * w - u, w, -0.5 * w]


def _is_float(value: Any) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 1


def _cause(model: nn.Module) -> str:
    """Why the layers of a model may not be seen."""
    kinds = {type(module).__module__ for module in model.modules()}
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        return ": it is TorchScript (scripted or traced), whose layers cannot be watched"
    if any("quantized" in kind for kind in kinds):
        return ": it is quantised, and its layers hold no float weights"
    if isinstance(model, torch.fx.GraphModule):
        return ": it is an exported graph, which calls functions and no layers"
    return ""
