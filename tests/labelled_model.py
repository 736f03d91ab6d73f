"""The tiny frozen model with a synthesis that shows what it is told: red the sum of the latents, green what was kept,
blue the labels. Made of a handful of nodes, so that every pixel is known."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from intaglio.package import Package

NAMES = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "cyclist",
         "unlabelled"]


def synthesis(latents: int) -> bytes:
    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(kind, inputs, [output], **attributes)

    large = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    numbers = {"scales": np.array([1, 1, 16, 16], np.float32), "channel": np.array([1]), "full": np.float32(255),
               "half": np.float32(0.5), "low": np.float32(0), "middle": np.float32(128)}
    nodes = [
        node("ReduceSum", ["latents", "channel"], "sum"),
        node("Resize", ["sum", "", "scales"], "sum_large", **large),
        node("Add", ["sum_large", "middle"], "red"),
        node("Resize", ["kept", "", "scales"], "kept_large", **large),
        node("Mul", ["kept_large", "full"], "green"),
        node("Cast", ["labels"], "blue", to=TensorProto.FLOAT),
        node("Concat", ["red", "green", "blue"], "x", axis=1),
        node("Add", ["x", "half"], "above"),
        node("Floor", ["above"], "floor"),
        node("Clip", ["floor", "low", "full"], "clipped"),
        node("Cast", ["clipped"], "bytes", to=TensorProto.UINT8),
        node("Transpose", ["bytes"], "pixels", perm=[0, 2, 3, 1]),
    ]
    sides, pixels = ["h", "w"], ["H", "W"]
    inputs = [
        helper.make_tensor_value_info("latents", TensorProto.FLOAT, [1, latents, *sides]),
        helper.make_tensor_value_info("t", TensorProto.FLOAT, [1, 1, *sides]),
        helper.make_tensor_value_info("realism", TensorProto.FLOAT, [1, 1, 1, 1]),
        helper.make_tensor_value_info("kept", TensorProto.FLOAT, [1, 1, *sides]),
        helper.make_tensor_value_info("labels", TensorProto.UINT8, [1, 1, *pixels]),
    ]
    output = helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, *pixels, 3])
    constants = [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in numbers.items()]
    graph = helper.make_graph(nodes, "synthesis", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def labelled(tiny: Package) -> Package:
    card = {k: v for k, v in tiny.card.items() if k not in ("sha256", "fingerprint")} | {"labels": NAMES}
    card["halo"] = {**card["halo"], "synthesis": 16}
    graphs = {k[:-5]: v for k, v in tiny.members.items() if k.endswith(".onnx")}
    graphs["synthesis"] = synthesis(card["latents"])
    return Package.assemble(card | {"name": "labelled"}, graphs, tiny.tables, tiny.arrays("prior"))
