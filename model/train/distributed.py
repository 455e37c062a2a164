"""One training by several processes (torchrun), each on its device; a plain call is a world of one process.

Each process computes its slice of the global batch. The gradient is the mean over the global batch whatever the slices
are, so that the result differs from that of one process by the order of float sums only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True)
class World:
    """The processes of a training, and this one's place among them."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def place(self, count: int) -> tuple[int, int]:
        """Return where this process's `count` images begin in the global batch, and how many that has."""
        if self.size == 1:
            return 0, count
        counts = [torch.zeros((), dtype=torch.int64, device=self.device) for _ in range(self.size)]
        dist.all_gather(counts, torch.tensor(count, device=self.device))
        whole = [int(one) for one in counts]
        return sum(whole[: self.rank]), sum(whole)

    def sum(self, values: list[float]) -> list[float]:
        """Return the sums over all processes."""
        if self.size == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return [float(value) for value in total]

    def parallel(self, module: nn.Module) -> nn.Module:
        """Return a module whose gradients are the means over all processes."""
        if self.size == 1 or not any(parameter.requires_grad for parameter in module.parameters()):
            return module
        return nn.parallel.DistributedDataParallel(module)

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join_world() -> Iterator[World]:
    """Join the processes that torchrun started; without it, be alone on the first GPU or the CPU.

    Yields
    ------
    World
    """
    local = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield World(device=device)
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()
