"""Several processes, one training: started by torchrun, one process a GPU (or a CPU share), on one node or many.

    torchrun --nproc-per-node 8 -m intaglio train intaglio1 --data PHOTOS --out RUN

Every process holds the whole network and its part of the batch. Gradients are averaged once a step, as one tensor, so
that the discriminators and the frozen parts of a network need no wrapper. With the same seed, n processes of batch b
follow one process of batch n * b, up to rounding, as long as a loss is a mean over pictures. What is reckoned or drawn
for a batch as a whole is each process's own: a batch norm's statistics, a mean rate held against a target, the points
of wgan-gp's penalty, which pictures perceptual1 and realism1 glimpse at, where, and how far realism1 shifts them.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable

import torch
import torch.distributed as dist


def join(gpu: bool | None = None) -> tuple[int, int, int]:
    """(rank, local rank, number of processes); joins the group where torchrun has started one. gpu: whether tensors of
    GPUs are to be averaged; None where there is one."""
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world == 1:
        return 0, 0, 1
    if not dist.is_initialized():
        # What this defines keeps the group that it finds, for ever; the group's threads would then outlive `leave` and
        # abort the process when they meet an interpreter that is ending. Every optimiser imports it sooner or later.
        importlib.import_module("torch._dynamo")
        dist.init_process_group("nccl" if (torch.cuda.is_available() if gpu is None else gpu) else "gloo")
    return dist.get_rank(), int(os.environ.get("LOCAL_RANK", 0)), world


def leave() -> None:
    """Leave the group, where there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def wait(world: int) -> None:
    """Go on when every process has come here."""
    if world > 1:
        dist.barrier()


def average(parameters: Iterable[torch.nn.Parameter], world: int) -> None:
    """Average the gradients over the processes, in place."""
    if world == 1:
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    flat /= world
    start = 0
    for g in grads:
        g.copy_(flat[start : start + g.numel()].view_as(g))
        start += g.numel()


def agree(value: float, world: int, device: torch.device) -> float:
    """The first process's number, in every process: clocks differ, and all must end at the same step."""
    if world == 1:
        return value
    shared = torch.tensor([value], dtype=torch.float64, device=device)
    dist.broadcast(shared, 0)
    return shared.item()
