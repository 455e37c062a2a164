"""Compares what an engine wrote with what the reference says, and names the first difference in hardware order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..hw.lanes import Lane
from ..sim.errors import check
from ..sim.program.expected import Block
from .monitor import LaneTrace


@dataclass(frozen=True)
class Mismatch:
    """The first difference between engine and reference.

    Parameters
    ----------
    image : int
        Number of the image.
    tensor : str
        Name of docs/network.md, or of the port for what only a port shows.
    index : tuple of int
        Element of the tensor.
    kind : {"value", "address", "missing", "extra"}
        A wrong value; a write to a wrong address; a write that never came; a write that nothing expects.
    expected, got : int, tuple of int, or None
        Values in the tensor's units, or addresses; None where there is none.
    lane : str
        Where it was observed.
    cycle : int
        When, in clock edges since the simulation's start; for a missing write, when the last write at all came.
    axes : tuple of str
        What each number of the index counts; empty for a tensor that is no tap of a network.
    """

    image: int
    tensor: str
    index: tuple[int, ...]
    kind: Literal["value", "address", "missing", "extra"]
    expected: int | tuple[int, ...] | None
    got: int | tuple[int, ...] | None
    lane: str
    cycle: int
    axes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def block(self) -> int | None:
        """Number of the transformer block, where the tensor belongs to one."""
        head, _, rest = self.tensor.partition(".")
        return int(rest.partition(".")[0]) if head == "blocks" else None

    def where(self) -> dict[str, int]:
        """Return the index with the names of its axes, such as token and channel; numbers where they have none."""
        axes = self.axes or [f"axis {axis}" for axis in range(len(self.index))]
        return dict(zip(axes, self.index, strict=True))

    def __str__(self) -> str:
        place = ", ".join(f"{name} {value}" for name, value in self.where().items())
        what = {
            "value": f"expected {self.expected}, got {self.got}",
            "address": f"expected at address {self.expected}, written at {self.got}",
            "missing": f"expected {self.expected}, never written",
            "extra": f"nothing more expected, got {self.got}",
        }[self.kind]
        return f"image {self.image}, {self.tensor} ({place}): {what}; port {self.lane}, cycle {self.cycle}"


class Comparison:
    """Goes through the writes of each lane, image after image.

    Parameters
    ----------
    lanes : sequence of Lane
        What was observed.
    traces : mapping of str to LaneTrace
        The writes.
    axes : mapping of str to tuple of str
        Axes of each tensor that is a tap (`sim.network.taps.Tap`).
    """

    def __init__(
        self, lanes: Sequence[Lane], traces: Mapping[str, LaneTrace], axes: Mapping[str, tuple[str, ...]] | None = None
    ):
        self.lanes = {lane.name: lane for lane in lanes}
        self.traces, self.axes = traces, axes or {}
        #: Elements compared so far.
        self.values = 0
        self._next = dict.fromkeys(self.lanes, 0)
        #: Cycle of the last write of all.
        self.last_cycle = max((int(trace.cycles[-1]) for trace in traces.values() if len(trace.cycles)), default=0)

    def image(self, image: int, blocks: Iterable[Block]) -> Mismatch | None:
        """Compare the writes of one image, in the order of `blocks`; return the first difference."""
        first = None
        for block in blocks:
            found = self._block(image, block) if first is None else None
            self._next[block.lane] += len(block.values)
            first = first or found
        return first

    def rest(self, image: int) -> Mismatch | None:
        """Return the earliest write after everything that was expected, as one of `image`, or None."""
        extra = [
            (int(trace.cycles[self._next[name]]), name)
            for name, trace in self.traces.items()
            if len(trace.cycles) > self._next[name]
        ]
        if not extra:
            return None
        cycle, name = min(extra)
        data = int.from_bytes(self.traces[name].data[self._next[name]].tobytes(), "little")
        return Mismatch(image, name, (), "extra", None, data, name, cycle)

    def _block(self, image: int, block: Block) -> Mismatch | None:
        lane, trace, start = self.lanes[block.lane], self.traces[block.lane], self._next[block.lane]
        check(block.values.shape[1] == lane.elements, f"lane {lane.name} has {lane.elements} elements")
        keys, data = trace.keys[start : start + len(block.values)], trace.data[start : start + len(block.values)]
        count = len(keys)
        wrong_key = (keys != block.keys[:count]).any(axis=1)
        mask = _pack(np.where(block.valid[:count], -1, 0), lane.bits)
        wrong_data = ((data ^ _pack(block.values[:count], lane.bits)) & mask).any(axis=1)
        self.values += int(block.valid[:count].sum())
        bad = np.flatnonzero(wrong_key | wrong_data)
        if len(bad):
            return self._difference(image, block, int(bad[0]), bool(wrong_key[bad[0]]))
        if count < len(block.values):
            return self._missing(image, block, count)
        return None

    def _difference(self, image: int, block: Block, write: int, wrong_key: bool) -> Mismatch:
        """Describe write `write` of `block`, whose address or data is wrong."""
        lane, trace = self.lanes[block.lane], self.traces[block.lane]
        at = self._next[block.lane] + write
        cycle, axes = int(trace.cycles[at]), self.axes.get(block.tap, ())
        if wrong_key:
            index = block.index(write, int(np.argmax(block.valid[write])))
            expected, got = (tuple(int(key) for key in keys) for keys in (block.keys[write], trace.keys[at]))
            return Mismatch(image, block.tap, index, "address", expected, got, lane.name, cycle, axes)
        elements = _unpack(trace.data[at], lane)
        element = next(
            e for e in range(lane.elements) if block.valid[write, e] and elements[e] != int(block.values[write, e])
        )
        wanted, seen = int(block.values[write, element]), elements[element]
        expected_value, got_value = (block.to_tap(write, element, value) for value in (wanted, seen))
        index = block.index(write, element)
        return Mismatch(image, block.tap, index, "value", expected_value, got_value, lane.name, cycle, axes)

    def _missing(self, image: int, block: Block, write: int) -> Mismatch:
        element = int(np.argmax(block.valid[write]))
        wanted = block.to_tap(write, element, int(block.values[write, element]))
        index, axes = block.index(write, element), self.axes.get(block.tap, ())
        return Mismatch(image, block.tap, index, "missing", wanted, None, block.lane, self.last_cycle, axes)


def _pack(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Pack int64 [n, e] into fields of `bits`, uint8 [n, bytes], the first element least significant."""
    fields = (values[..., None] >> np.arange(bits)) & 1
    rows = fields.reshape(len(values), values.shape[1] * bits).astype(np.uint8)
    return np.packbits(rows, axis=1, bitorder="little")


def _unpack(data: NDArray[np.uint8], lane: Lane) -> list[int]:
    """Return the elements of one write."""
    word, mask = int.from_bytes(data.tobytes(), "little"), (1 << lane.bits) - 1
    elements = [word >> element * lane.bits & mask for element in range(lane.elements)]
    sign = 1 << lane.bits - 1
    return [(value ^ sign) - sign if lane.signed else value for value in elements]
