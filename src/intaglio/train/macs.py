"""Multiply-accumulates of an exported graph, counted from its convolutions at a concrete size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort


def macs(graph: bytes, inputs: Mapping[str, Sequence[int]]) -> int:
    """Multiply-accumulates of one run with inputs of the given shapes: the graph is run, and the outputs of its
    convolutions and matrix products measured, since pixel shuffles hide their sizes from shape inference."""
    model = onnx.load_from_string(graph)
    products = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose", "MatMul")]
    others = {"Gemm", "Einsum"} & {node.op_type for node in model.graph.node}
    if others:
        raise NotImplementedError(f"counting {', '.join(sorted(others))} is not written yet")
    del model.graph.output[:]
    names = [name for node in products for name in (node.output[0], *node.input[:2])]
    # a weight may be an initialiser, which cannot be an output as it is
    for name in {t.name for t in model.graph.initializer}.intersection(names):
        model.graph.node.append(onnx.helper.make_node("Identity", [name], [f"{name}.seen"]))
        names = [f"{name}.seen" if n == name else n for n in names]
    given = {i.name for i in model.graph.input}  # an input may be no output either, and its size is known
    wanted = [name for name in dict.fromkeys(names) if name not in given]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    types = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}
    feed = {i.name: np.zeros(inputs[i.name], types[i.type]) for i in session.get_inputs()}
    found = feed | dict(zip(wanted, session.run(None, feed), strict=True))
    total = 0
    for node, out, a, b in zip(products, names[::3], names[1::3], names[2::3], strict=True):
        if node.op_type == "MatMul":
            total += found[out].size * found[a].shape[-1]
        else:  # every output of a convolution, every input of a transposed one, meets the weights of one channel
            total += found[out if node.op_type == "Conv" else a].size * math.prod(found[b].shape[1:])
    return total


def per_pixel(
    graphs: Mapping[str, bytes], latents: int, hyper: int, features: int, seen: Sequence[int], hyper_groups: int = 0
) -> dict[str, float]:
    """Thousands of multiply-accumulates for each pixel, by stage, at 768x512."""
    h, w = 32, 48
    shapes: dict[str, dict[str, tuple[int, ...]]] = {
        "analysis": {"pixels": (1, 16 * h, 16 * w, 3)},
        "hyper": {"latents": (1, latents, h, w), "t": (1, 1, h // 4, w // 4)},
        "synthesis": {"latents": (1, latents, h, w), "t": (1, 1, h, w), "realism": (1, 1, 1, 1),
                      "noise": (1, 1, 16 * h, 16 * w), "kept": (1, 1, h, w), "labels": (1, 1, 16 * h, 16 * w)},
        "prior_start": {"z": (1, hyper, h // 4, w // 4), "q": (1, 1, h // 4, w // 4)},
    }
    for k, n in enumerate(seen):
        shapes[f"prior_{k}"] = {"features": (1, features, h, w)}
        if n:
            shapes[f"prior_{k}"]["y16"] = (1, n, h, w)
    for k in range(hyper_groups):
        one = (1, 1, h // 4, w // 4)
        shapes[f"prior_hyper_{k}"] = {"z16": (1, hyper, h // 4, w // 4), "q": one, "done": one}
    result = {"analysis": 0.0, "hyper": 0.0, "prior": 0.0, "synthesis": 0.0}
    for name, inputs in shapes.items():
        stage = "prior" if name.startswith("prior") else name
        runs = 4 if name.startswith("prior_hyper") else 1  # one for each phase
        result[stage] += runs * macs(graphs[name], inputs) / (256 * h * w) / 1000
    return {k: round(v, 3) for k, v in result.items()}
