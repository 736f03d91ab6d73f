"""From a trained network to a model package: ONNX graphs, integer tables, a card.

The float graphs' weights are rounded to eight significant bits and stored as float16, whose idle bits the package's
deflate takes out (the arithmetic stays float32). The integer prior is stored twice: as integers (`prior.npz`, the
normative form, which the reference decoder reads) and compiled into graphs, whose float32 weights w_int * 2^-k are
exact.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from .. import entropy
from ..errors import BadInput
from ..nn.codec import STEPS, Codec
from ..nn.prior import SCALES, Prior, sigma
from ..nn.quantised import BITS, SIGNED, UNSIGNED, IntConv
from ..package import Package
from .prior_graphs import compiled

LIMIT = 2**24  # below it float32 holds every integer, so sums are exact in any order


class AnalysisGraph(nn.Module):
    """uint8 pixels (1, h, w, 3) to latents (1, M, h/16, w/16)."""

    def __init__(self, codec: Codec):
        super().__init__()
        self.analysis = codec.analysis

    def forward(self, pixels: Tensor) -> Tensor:
        return self.analysis(pixels.movedim(3, 1).float())


class SynthesisGraph(nn.Module):
    """Latents (1, M, h, w), t = q/63 (1, 1, h, w), realism (1, 1, 1, 1) and, where the network takes it, noise
    (1, 1, 16h, 16w) to uint8 pixels (1, 16h, 16w, 3)."""

    def __init__(self, codec: Codec):
        super().__init__()
        self.synthesis = codec.synthesis

    def forward(self, latents: Tensor, t: Tensor, realism: Tensor, noise: Tensor | None = None) -> Tensor:
        x = self.synthesis(latents, t, realism, noise)
        return torch.floor(x + 0.5).clamp(0, 255).to(torch.uint8).movedim(1, 3)


class SelectiveGraph(SynthesisGraph):
    """The same of a network that synthesises from labels: kept (1, 1, h, w) and labels uint8 (1, 1, 16h, 16w)."""

    def forward(  # type: ignore[override]
        self, latents: Tensor, t: Tensor, realism: Tensor, kept: Tensor, labels: Tensor
    ) -> Tensor:
        x = self.synthesis(latents, t, realism, None, kept, labels)
        return torch.floor(x + 0.5).clamp(0, 255).to(torch.uint8).movedim(1, 3)


class _FixedConv(nn.Conv2d):
    """An `IntConv` as a plain convolution with its exact dyadic weights, and the half of the rounding rule."""

    def __init__(self, source: IntConv):
        weight, bias, shift = source.integers()
        factor = torch.exp2(-shift)
        out, inputs = weight.shape[:2]
        groups = out if source.depthwise else 1
        super().__init__(inputs * groups, out, weight.shape[2], padding=weight.shape[2] // 2, groups=groups)
        self.weight.data = weight * factor[:, None, None, None]
        assert self.bias is not None
        self.bias.data = bias * factor + 0.5


def fixed(prior: Prior) -> Prior:
    """A copy of `prior` whose convolutions hold the exported integers."""
    prior = copy.deepcopy(prior)
    for module in list(prior.modules()):
        for name, child in module.named_children():
            if isinstance(child, IntConv):
                setattr(module, name, _FixedConv(child))
    return prior


def integers(prior: nn.Module) -> dict[str, np.ndarray]:
    """The normative form: NAME.weight int8, NAME.bias int32, NAME.shift uint8. Raises where a sum could reach 2^24."""
    arrays: dict[str, np.ndarray] = {}
    for name, module in prior.named_modules():
        if not isinstance(module, IntConv):
            continue
        weight, bias, shift = module.integers()
        most = -SIGNED[0] if name.endswith(("enter", "expand")) else UNSIGNED[1]
        # the trunk that is added, shifted, and the half of the rounding join the sum
        more = 2**BITS if module.joined else 1
        bound = weight.abs().sum((1, 2, 3)) * most + bias.abs() + more * torch.exp2(shift)
        if name == "start.enter" and getattr(prior, "hyper", None) is not None:  # sums of sixteenths, from +-128 on
            bound = 16 * (weight.abs().sum((1, 2, 3)) * 128 + bias.abs() + torch.exp2(shift))
        bound *= torch.where(shift == 0, 2, 1)  # the half is then no integer, so float32 must hold multiples of 1/2
        if bound.max() >= LIMIT:
            raise BadInput(f"{name}: a sum can reach {int(bound.max())}, not below 2^24; train with smaller weights")
        arrays[f"{name}.weight"] = weight.numpy().astype(np.int8)
        arrays[f"{name}.bias"] = bias.numpy().astype(np.int32)
        arrays[f"{name}.shift"] = shift.numpy().astype(np.uint8)
    return arrays


def rounded(weight: Tensor, bits: int = 8) -> Tensor:
    """Real numbers to `bits` significant bits, in the range of float16 (below 2^-14 with fewer)."""
    mantissa, exponent = torch.frexp(weight)
    return torch.ldexp(torch.round(mantissa * 2**bits), exponent - bits).half().float()


def halves(model: onnx.ModelProto) -> bytes:
    """Store every weight that float16 holds exactly as float16; the runtime folds the cast when it loads."""
    graph = model.graph
    for tensor in list(graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):  # what overflows does not compare equal below, and stays float32
            small = values.astype(np.float16)
        if values.size < 64 or not np.array_equal(small.astype(np.float32), values):
            continue
        stored = f"{tensor.name}.half"
        graph.initializer.remove(tensor)
        graph.initializer.append(onnx.numpy_helper.from_array(small, stored))
        graph.node.insert(0, onnx.helper.make_node("Cast", [stored], [tensor.name], to=onnx.TensorProto.FLOAT))
    del model.metadata_props[:]
    for node in graph.node:  # the exporter's stack traces name this machine's folders
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*graph.value_info, *graph.input, *graph.output, *graph.initializer]:
        del value.metadata_props[:]
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def graph(
    module: nn.Module, inputs: Mapping[str, Tensor], sides: Mapping[str, tuple[int, int]], outputs: list[str]
) -> bytes:
    """Export `module`; `sides` names the two axes of every input that vary, all by the same two symbols."""
    dynamic = {}
    for name in inputs:
        axes = sides.get(name)
        dynamic[name] = {axes[0]: torch.export.Dim.DYNAMIC, axes[1]: torch.export.Dim.DYNAMIC} if axes else None
    program = torch.onnx.export(
        module.eval(), tuple(inputs.values()), dynamo=True, opset_version=20, dynamic_shapes=tuple(dynamic.values()),
        input_names=list(inputs), output_names=outputs, external_data=False, verbose=False,
    )
    assert program is not None
    return halves(program.model_proto)


def graphs(codec: Codec) -> dict[str, bytes]:
    """All graphs of a package, by name."""
    codec = copy.deepcopy(codec).eval().requires_grad_(False)
    codec.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    with torch.no_grad():
        for module in (codec.analysis, codec.hyper, codec.synthesis):
            for name, parameter in module.named_parameters():
                # what the dial adds is small beside the weights that it is added to, but for the filter's
                parameter.copy_(rounded(parameter, 5 if "dial_" in name and not name.startswith("filter") else 8))
    m, last = codec.shape.latents, (2, 3)
    h, w = 24, 40  # any example size: both sides are symbols
    decoded = {"latents": torch.zeros(1, m, h, w), "t": torch.zeros(1, 1, h, w), "realism": torch.zeros(1, 1, 1, 1)}
    if codec.synthesis.noisy:
        decoded["noise"] = torch.zeros(1, 1, 16 * h, 16 * w)
    selective = bool(classes(codec))
    if selective:
        decoded["kept"] = torch.zeros(1, 1, h, w)
        decoded["labels"] = torch.zeros(1, 1, 16 * h, 16 * w, dtype=torch.uint8)
    result = {
        "analysis": graph(AnalysisGraph(codec), {"pixels": torch.zeros(1, 16 * h, 16 * w, 3, dtype=torch.uint8)},
                          {"pixels": (1, 2)}, ["latents"]),
        "hyper": graph(codec.hyper, {"latents": torch.zeros(1, m, h, w), "t": torch.zeros(1, 1, h // 4, w // 4)},
                       {"latents": last, "t": last}, ["z"]),
        "synthesis": graph((SelectiveGraph if selective else SynthesisGraph)(codec), decoded,
                           dict.fromkeys(("latents", "t", "noise", "kept", "labels"), last), ["pixels"]),
    }
    result |= {name: halves(model) for name, model in compiled(codec.prior).items()}
    return result


def classes(codec: Codec) -> list[str]:
    """Names of the classes that the synthesis knows, by label; none where it knows no labels."""
    return list(getattr(codec.synthesis, "classes", ()))


def halo(module: nn.Module) -> int | str:
    """What the card says of how far a network reaches: pixels, in whole latents, or "whole"."""
    reach: Any = module.reach
    return "whole" if reach == "whole" else -(-int(reach) // 16) * 16


def finite_tables(tables: entropy.Tables, levels: int) -> entropy.Tables:
    """For an alphabet of `levels` symbols: each of `tables` cut off beyond it, for the latents, and then all of them as
    they are, for the hyper-latents, which are not bounded."""
    half = (levels - 1) // 2
    cut = []
    for s in range(len(tables)):
        counts = tables.counts(s)[:-1].astype(float)
        reach = len(counts) // 2
        inside = np.zeros(levels + 1)  # the last entry, the escape, keeps the one count that a table must give it
        n = min(half, reach)
        inside[half - n : half + n + 1] = counts[reach - n : reach + n + 1]
        cut.append(integer_counts(inside))
    return entropy.Tables([*cut, *(tables.counts(s) for s in range(len(tables)))])


def integer_counts(p: np.ndarray) -> np.ndarray:
    """Counts of at least 1 in proportion to p that sum to 2^24; what rounding leaves over goes to the largest."""
    values = np.floor(p / p.sum() * (entropy.TOTAL - len(p))).astype(np.int64) + 1
    values[np.argmax(values)] += entropy.TOTAL - values.sum()
    return values.astype(np.uint32)


def export(codec: Codec, card: dict, tables: entropy.Tables | None = None) -> Package:
    """Assemble a package. `card` gets the numbers that the runtime needs; the rest of it is the caller's text."""
    with torch.no_grad():
        q = torch.arange(STEPS).float()
        gains = codec.gain(q[None, None])[0, :, 0].T.contiguous().numpy()
        hyper_index = codec.hyper_index(q[None, None])[0, :, 0].T.numpy().astype(np.uint8)
    shape = codec.shape
    card = {
        **card,
        "network": {**vars(shape), "parameters": sum(p.numel() for p in codec.parameters())},
        "latents": shape.latents, "hyper": shape.hyper, "steps": STEPS,
        "passes": [list(p) for p in codec.prior.passes], "seen": list(codec.prior.seen),
        "activations": BITS,
        "halo": {"analysis": halo(codec.analysis), "synthesis": halo(codec.synthesis)},
    }
    if codec.prior.hyper is not None:
        card["hyper_groups"] = [end for _, end in codec.prior.hyper.spans]
    if classes(codec):
        card["labels"] = classes(codec)
    if codec.rounding != "optimised":
        card["rounding"] = codec.rounding
    if codec.levels:
        card["levels"] = codec.levels
        hyper_index += SCALES  # behind the alphabet's tables, see `finite_tables`
    if tables is None:
        tables = entropy.gaussian_tables(sigma(torch.arange(SCALES, dtype=torch.float64)).tolist())
        if codec.levels:
            tables = finite_tables(tables, codec.levels)
    counts, sizes = tables.arrays()
    return Package.assemble(
        card, graphs(codec), tables={"gains": gains, "hyper_index": hyper_index, "counts": counts, "sizes": sizes},
        prior=integers(codec.prior),
    )
