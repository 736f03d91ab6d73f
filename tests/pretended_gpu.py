"""A GPU that is none: tensors that say they are on a device of their own, while the CPU does their arithmetic.

As on a real GPU, an operation on tensors of two devices is an error (numbers without dimensions and indices apart), so
a training that would fail there fails here. Registers a device for the whole process: import it in one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch._dynamo  # imports much that must not meet the modes below
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretended"
_setup_privateuseone_for_python_backend(NAME)
DEVICE = torch.device(NAME, 0)
module: Any = getattr(torch, NAME)
module.get_amp_supported_dtype = lambda: [torch.bfloat16]
module.get_rng_state = lambda device: torch.empty(0)
module.set_rng_state = lambda *_: None
INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
JOINED = ("aten::cat", "aten::stack")
_generators: dict[int, tuple[torch.Generator, Any]] = {}


class Far(Tensor):
    """A tensor of the pretended GPU; `near` holds its numbers."""

    near: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, near: Tensor) -> Far:
        far = torch.Tensor._make_wrapper_subclass(
            cls, near.size(), strides=near.stride(), storage_offset=near.storage_offset(), dtype=near.dtype,
            layout=near.layout, device=DEVICE, requires_grad=near.requires_grad,
        )
        far.near = near
        return far

    def __reduce_ex__(self, protocol):  # a checkpoint of a GPU's tensors is loaded on the CPU
        return self.near.detach().__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _is_far(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def _near(value: Any) -> Any:
    return value.near if isinstance(value, Far) else value


def _run(func, args, kwargs):
    name = func._schema.name
    given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    device = kwargs.get("device")
    if _is_far(device):
        kwargs = kwargs | {"device": "cpu"}
    if name == "aten::_to_copy":
        out = func(*tree_map(_near, args), **kwargs)
        return Far(out) if _is_far(args[0].device if device is None else device) else out
    if name == "aten::copy_":
        func(*tree_map(_near, args), **kwargs)
        return args[0]
    if name == "aten::_local_scalar_dense":
        return func(_near(args[0]))
    must = [t for t in given if t.dim() or name in JOINED]
    if name in INDEXED:  # indices may lie elsewhere, what is read and written may not
        must = [args[0], *args[2:3]]
    if func._schema.is_mutable and isinstance(args[0], Tensor):
        must.append(args[0])
    if any(isinstance(t, Far) for t in given) and not all(isinstance(t, Far) for t in must):
        raise RuntimeError(f"{name}: tensors on two devices: {[(str(t.device), tuple(t.shape)) for t in given]}")
    out = func(*tree_map(_near, args), **tree_map(_near, kwargs))
    if not _is_far(device) and not any(isinstance(t, Far) for t in given):
        return out
    changed = {id(_near(t)): t for t in given}  # what was changed in place stays the tensor that it was
    return tree_map(lambda t: changed[id(t)] if id(t) in changed else Far(t) if type(t) is Tensor else t, out)


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Calls(TorchFunctionMode):
    """What would ask for a device's library before it comes to the operations."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch._C._nn._parse_to:
            named = args[0] if args else kwargs.get("device")
            if isinstance(named, (str, torch.device)) and _is_far(named):
                rest = {k: v for k, v in kwargs.items() if k != "device"}
                return DEVICE, *func("cpu", *args[1:], **rest)[1:]
        if func is torch.Tensor.cpu:
            return self._moved(args[0], "cpu")
        if func is torch.Tensor.to:
            return self._moved(*args, **kwargs)
        if func is torch.Tensor.tolist and isinstance(args[0], Far):
            return args[0].near.tolist()
        if func is torch.Tensor.new_tensor and isinstance(args[0], Far):
            return Far(torch.tensor(*args[1:], **{"dtype": args[0].dtype} | kwargs))
        if kwargs.get("generator") is not None and func is not torch.Tensor.normal_:
            of = _generators[id(kwargs["generator"])][1]
            if _is_far(of) != _is_far(kwargs.get("device", "cpu")):
                raise RuntimeError(f"{func.__name__}: a generator of {of or 'cpu'} draws for another device")
        if _is_far(kwargs.get("device")) and not any(isinstance(a, Tensor) for a in args):
            return Far(func(*args, **kwargs | {"device": "cpu"}))
        return func(*args, **kwargs)

    @staticmethod
    def _moved(tensor: Tensor, *where: Any, **how: Any) -> Tensor:
        for word in where:
            if isinstance(word, Tensor):
                how |= {"device": word.device, "dtype": word.dtype}
            elif isinstance(word, torch.dtype):
                how["dtype"] = word
            elif isinstance(word, (str, torch.device)):
                how["device"] = word
        how = {k: torch.device(v) if k == "device" else v for k, v in how.items() if v is not None and k != "copy"}
        stays = how.get("device", tensor.device).type == tensor.device.type
        if stays and how.get("dtype", tensor.dtype) == tensor.dtype and "memory_format" not in how:
            return tensor
        return torch.ops.aten._to_copy.default(tensor, **how)


@contextmanager
def lent() -> Iterator[str]:
    """Inside, there is a device of the name that is given."""
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    generator = torch.Generator

    def made(device: Any = None) -> torch.Generator:
        new = generator()
        _generators[id(new)] = new, device
        return new

    torch.Generator = made  # type: ignore[assignment,misc]
    try:
        with _Operations(), _Calls():
            yield NAME
    finally:
        torch.Generator = generator  # type: ignore[misc]
