"""Training goes on from a released package: its graphs and integers hold every weight that the trainer needs.

The transforms come back as they are stored (float16 values), the prior as its integers. What is lost is below the
quantiser's step, so the first step of the new training starts where the old one ended.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from torch import Tensor

from ..errors import WrongModel
from ..nn.codec import KNOTS, STEPS, Codec
from ..nn.prior import Prior
from ..nn.quantised import OUTSIDE, IntConv
from ..nn.transforms import Shape
from ..package import Package


def shape_of(package: Package) -> Shape:
    """The network's numbers, from the card. Raises WrongModel where it is no network of the released kind."""
    network = {k: v for k, v in package.card.get("network", {}).items() if k != "parameters"}
    network = {"filter": 0, "hyper_groups": [], **network} if network else network  # older packages have none
    if network.keys() != vars(Shape()).keys():
        raise WrongModel(f"model {package.name}: is no network of the released kind, and a package of another kind is "
                         "not read back into one that can be trained; give the checkpoint of its run (last.pt)")
    return Shape(**{k: tuple(v) if isinstance(v, list) else v for k, v in network.items()})  # type: ignore[arg-type]


def _weights(graph: bytes) -> dict[str, Tensor]:
    """Named weights of an exported graph, as float32."""
    found = {}
    for tensor in onnx.load_from_string(graph).graph.initializer:
        values = np.array(onnx.numpy_helper.to_array(tensor))
        if values.dtype.kind == "f":
            found[tensor.name.removesuffix(".half")] = torch.from_numpy(values.astype(np.float32))
    return found


def state(package: Package) -> dict[str, Tensor]:
    """A state dict for `Codec(shape_of(package))`."""
    result: dict[str, Tensor] = {}
    for name, prefix in (("analysis", ""), ("synthesis", ""), ("hyper", "hyper.")):
        for key, value in _weights(package.members[f"{name}.onnx"]).items():
            if key.endswith("hidden.weight") and value.shape[1] == 2:  # before dials, realism was a second condition
                value = value[:, :1]
            if key.endswith((".weight", ".bias")) or ".dial_" in key:
                result[prefix + key] = value
    result |= {f"prior.{name}": value for name, value in prior_state(package, Codec(shape_of(package)).prior).items()}
    knots = np.arange(KNOTS) * ((STEPS - 1) // (KNOTS - 1))
    result["log_gain"] = torch.from_numpy(np.log(package.tables["gains"][knots]))
    result["hyper_scale"] = torch.from_numpy(package.tables["hyper_index"][knots].astype(np.float32) / 16)
    return result


def prior_state(package: Package, prior: Prior) -> dict[str, Tensor]:
    """A state dict for `prior`, which has the layers of the package's, whatever bits their activations have there."""
    integers, unit = package.arrays("prior"), 2 ** (package.card.get("activations", 8) - 4)
    result = {}
    layers = {name: layer for name, layer in prior.named_modules() if isinstance(layer, IntConv)}
    if strange := [name for name in integers if name.rsplit(".", 1)[0] not in layers]:
        raise WrongModel(f"model {package.name}: its prior has {strange[0]}, which its card does not tell of; export "
                         "it again")
    for name, layer in layers.items():
        if f"{name}.weight" in integers:
            takes, gives = (OUTSIDE if n == OUTSIDE else unit for n in (layer.takes, layer.gives))
            weight, bias = (integers[f"{name}.{kind}"].astype(np.float32) for kind in ("weight", "bias"))
            factor = np.exp2(-integers[f"{name}.shift"].astype(np.float32))
            result[f"{name}.weight"] = torch.from_numpy(weight * (factor * takes / gives)[:, None, None, None])
            result[f"{name}.bias"] = torch.from_numpy(bias * factor / gives)
    return result


def grouped(network: Codec, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights for `network`, which may code its hyper-latents in groups where theirs did not: then their channels are
    put in order of scale, the widest first, in which groups are to be decoded. It is the same codec."""
    if network.prior.hyper is None or any(name.startswith("prior.hyper.") for name in weights):
        return weights
    order = weights["hyper_scale"].mean(0).argsort(descending=True)
    result = dict(weights)
    for name in ("hyper.out.weight", "hyper.out.bias"):
        result[name] = weights[name][order]
    result["hyper_scale"] = weights["hyper_scale"][:, order]
    enter = weights["prior.start.enter.weight"]
    result["prior.start.enter.weight"] = torch.cat([enter[:, order], enter[:, len(order) :]], 1)
    return result


def codec(package: Package) -> Codec:
    """The network of a package, ready to train. Raises WrongModel where the package lacks weights."""
    network = Codec(shape_of(package))
    missing, unexpected = network.load_state_dict(state(package), strict=False)
    missing = [name for name in missing if ".dial_" not in name]  # younger than some
    if missing or unexpected:
        names = ", ".join([*missing, *unexpected][:5])
        raise WrongModel(f"model {package.name}: its weights do not fit its card ({names} ...); export it again")
    return network
