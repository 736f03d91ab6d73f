"""The integer prior compiled into ONNX graphs, node by node: what docs/format.md writes down, and nothing beside it.

Weights are w_int * 2^-k and biases b_int * 2^-k + 1/2, exact in float32 (and in float16, as they are stored), so that
every requantisation is one floor and one clip. Sides are symbols: any tile fits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..nn import hyper_prior
from ..nn.prior import MAX_MEAN, SCALES, Pass, Prior
from ..nn.quantised import SIGNED, UNSIGNED, IntBlock, IntConv

OPSET, IR = 20, 10


class _Graph:
    """Nodes and constants as they are made; every method returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def node(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        name = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, name: str, value: Any) -> str:
        self.constants.setdefault(name, numpy_helper.from_array(np.asarray(value), name))
        return name

    def number(self, value: float) -> str:
        return self.constant(f"number_{value}", np.float32(value))

    def conv(self, x: str, layer: IntConv, name: str) -> str:
        weight, bias, shift = (v.numpy() for v in layer.integers())
        factor = np.exp2(-shift).astype(np.float32)
        weights = self.constant(f"{name}.weight", (weight * factor[:, None, None, None]).astype(np.float32))
        biases = self.constant(f"{name}.bias", (bias * factor + np.float32(0.5)).astype(np.float32))
        side = weight.shape[2]
        return self.node("Conv", x, weights, biases, group=weight.shape[0] if layer.depthwise else 1,
                         kernel_shape=[side, side], pads=[side // 2] * 4)  # fmt: skip

    def floor(self, x: str, limits: tuple[float, float], name: str = "") -> str:
        return self.node("Clip", self.node("Floor", x), self.number(limits[0]), self.number(limits[1]), name=name)

    def block(self, x: str, block: IntBlock, name: str) -> str:
        h = self.floor(self.conv(x, block.spatial, f"{name}.spatial"), SIGNED)
        h = self.floor(self.conv(h, block.expand, f"{name}.expand"), UNSIGNED)
        return self.floor(self.node("Add", x, self.conv(h, block.project, f"{name}.project")), UNSIGNED)

    def steps_of(self, x: str, unit: int) -> str:
        """Sixteenths to signed steps of `unit`, rounded half up."""
        return self.floor(self.node("Add", self.node("Mul", x, self.number(1 / unit)), self.number(0.5)), SIGNED)

    def model(self, inputs: dict[str, list], outputs: dict[str, tuple[int, list]]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes, "prior",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
            list(self.constants.values()),
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)


def _start(prior: Prior) -> onnx.ModelProto:
    start, g = prior.start, _Graph()
    width, hyper = start.enter.weight.shape[0], start.enter.weight.shape[1] - 1
    x = g.floor(g.conv(g.node("Concat", "z", "q", axis=1), start.enter, "start.enter"), UNSIGNED)
    x = g.floor(g.conv(g.block(x, start.block, "start.block"), start.rise, "start.rise"), UNSIGNED)
    x = g.node("DepthToSpace", x, blocksize=4, mode="CRD")
    g.node("Identity", g.block(x, start.after, "start.after"), name="features")
    return g.model({"z": [1, hyper, "h", "w"], "q": [1, 1, "h", "w"]},
                   {"features": (TensorProto.FLOAT, [1, width, "4h", "4w"])})  # fmt: skip


def _hyper(group: hyper_prior.Group, hyper: int, name: str) -> onnx.ModelProto:
    g = _Graph()
    seen = g.node("Concat", g.steps_of("z16", 4), "q", "done", axis=1)
    x = g.floor(g.conv(seen, group.enter, f"{name}.enter"), UNSIGNED)
    for i, block in enumerate(group.blocks):
        assert isinstance(block, IntBlock)
        x = g.block(x, block, f"{name}.blocks.{i}")
    channels = group.mean.weight.shape[0]
    g.floor(g.conv(x, group.mean, f"{name}.mean"), (-hyper_prior.MAX_MEAN, hyper_prior.MAX_MEAN), "mean")
    g.floor(g.conv(x, group.scale, f"{name}.scale"), (-hyper_prior.MAX_OFFSET, hyper_prior.MAX_OFFSET), "offset")
    one, shape = [1, 1, "h", "w"], (TensorProto.FLOAT, [1, channels, "h", "w"])
    return g.model({"z16": [1, hyper, "h", "w"], "q": one, "done": one}, {"mean": shape, "offset": shape})


def _pass(step: Pass, seen: int, low: int, width: int, name: str) -> onnx.ModelProto:
    g, x = _Graph(), "features"
    inputs: dict[str, list] = {"features": [1, width, "h", "w"]}
    if step.enter is not None:
        inputs["y16"] = [1, seen, "h", "w"]
        first = (g.constant(name, np.array([n])) for name, n in (("zero", 0), ("low", low), ("axis", 1)))
        context = g.node("Concat", g.steps_of("y16", 2), g.steps_of(g.node("Slice", "y16", *first), 128), axis=1)
        x = g.floor(g.node("Add", x, g.conv(context, step.enter, f"{name}.enter")), UNSIGNED)
    for i, block in enumerate(step.blocks):
        assert isinstance(block, IntBlock)
        x = g.block(x, block, f"{name}.blocks.{i}")
    channels = step.mean.weight.shape[0]
    g.floor(g.conv(x, step.mean, f"{name}.mean"), (-MAX_MEAN, MAX_MEAN), "mean")
    index = g.floor(g.conv(x, step.scale, f"{name}.scale"), (0, SCALES - 1))
    g.node("Cast", index, name="index", to=TensorProto.UINT8)
    shape = [1, channels, "h", "w"]
    return g.model(inputs, {"mean": (TensorProto.FLOAT, shape), "index": (TensorProto.UINT8, shape)})


def compiled(prior: Prior) -> dict[str, onnx.ModelProto]:
    """The graphs of a package by name: prior_start, prior_0, .., and prior_hyper_0, .. where there are any."""
    width = prior.start.enter.weight.shape[0]
    graphs = {"prior_start": _start(prior)}
    for k, (step, seen) in enumerate(zip(prior.steps, prior.seen, strict=True)):
        assert isinstance(step, Pass)
        graphs[f"prior_{k}"] = _pass(step, seen, prior.low, width, f"steps.{k}")
    for k, group in enumerate(prior.hyper.groups if prior.hyper is not None else ()):
        assert isinstance(group, hyper_prior.Group)
        graphs[f"prior_hyper_{k}"] = _hyper(group, prior.start.enter.weight.shape[1] - 1, f"hyper.groups.{k}")
    return graphs
