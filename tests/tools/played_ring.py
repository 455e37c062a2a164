"""A line of words that the edge reads of a memory, played by a test: there at once, or late at random."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from typing import Any

from bivit.hw.edge.edge import Edge
from bivit.sim.flow.edge_lines import EdgeLinesUnit, Line


class PlayedRing:
    """The steps of a line, image after image; each cycle as many come as were asked for, or one with some probability.

    It checks what the hardware behind it relies on: no step is taken that is not there, or read behind its `freed`.
    """

    def __init__(self, unit: EdgeLinesUnit, line: Line, steps: Sequence[int], *, late: float = 0.0, seed: int = 0):
        self.name, self.steps, self.late = line.name.lower(), steps, late
        self.depth = unit.ring(line).depth * unit.word_steps(line)
        self.random = random.Random(f"{seed} {line.name}")
        self.given = self.taken = self.freed = self.waited = 0
        self.data = deque([0] * (unit.read_cycles(line) - 1))

    def before(self, ctx: Any, dut: Edge) -> None:
        """Set what the edge sees in a cycle."""
        if not self.late:
            self.given = self.freed + self.depth
        elif self.random.random() >= self.late:
            self.given = min(self.given + 1, self.freed + self.depth)
        ctx.set(getattr(dut, f"{self.name}_given").level, self.given - self.taken)

    def after(self, ctx: Any, dut: Edge) -> None:
        """Do what the edge asks for in it."""
        read, given = getattr(dut, f"{self.name}_read"), getattr(dut, f"{self.name}_given")
        self.waited += ctx.get(given.waits)
        if ctx.get(given.take):
            self.taken += ctx.get(given.count)
            assert self.taken <= self.given, "steps are taken that are not there"
        self.data.append(self.step(ctx.get(read.addr)))
        self.next = self.data.popleft()
        self.freed += ctx.get(read.freed)
        assert self.freed <= self.taken, "a step is given back that was not taken"

    def move(self, ctx: Any, dut: Edge) -> None:
        """Show the step behind the clock's edge."""
        ctx.set(getattr(dut, f"{self.name}_read").data, self.next)

    def step(self, addr: int) -> int:
        """The step that lies at an address: of those that are not freed, there is one."""
        return self.steps[(self.freed + (addr - self.freed) % self.depth) % len(self.steps)]
