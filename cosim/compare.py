"""Compares what an engine wrote with what the reference says, and names the first difference in hardware order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..sim.engine.probe import Probe
from ..sim.errors import check
from .monitor import ProbeTrace


def as_is(write: int, element: int, value: int) -> int:
    """Return a value that is the same on the wire and in the tensor."""
    return value


@dataclass(frozen=True)
class Writes:
    """Consecutive writes at one probe that hold a piece of one tensor.

    Parameters
    ----------
    probe : str
        Name of the observed port (`hw.probes`).
    tap : str
        Tensor of docs/network.md.
    keys : int64 [n, k]
        Addresses that each write must have.
    values : int64 [n, e]
        Elements that each write must carry, as they are on the wire.
    valid : bool [n, e]
        Elements that mean something; others are padding of a last chunk.
    index : callable
        (write, element) to the tensor's index.
    to_tap : callable
        (write, element, value on the wire) to the value in the tensor's own units.
    """

    probe: str
    tap: str
    keys: NDArray[np.int64]
    values: NDArray[np.int64]
    valid: NDArray[np.bool_]
    index: Callable[[int, int], tuple[int, ...]]
    to_tap: Callable[[int, int, int], int] = as_is


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
    probe : str
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
    probe: str
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
        return f"image {self.image}, {self.tensor} ({place}): {what}; port {self.probe}, cycle {self.cycle}"


class Comparison:
    """Goes through the writes of each probe.

    Parameters
    ----------
    probes : sequence of Probe
        What was observed.
    traces : mapping of str to ProbeTrace
        The writes.
    axes : mapping of str to tuple of str
        Axes of each tensor that is a tap (`sim.network.taps.Tap`).
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        traces: Mapping[str, ProbeTrace],
        axes: Mapping[str, tuple[str, ...]] | None = None,
    ):
        self.probes = {probe.name: probe for probe in probes}
        self.traces, self.axes = traces, axes or {}
        #: Elements compared so far.
        self.values = 0
        self._next = dict.fromkeys(self.probes, 0)
        #: Cycle of the last write of all.
        self.last_cycle = max((int(trace.cycles[-1]) for trace in traces.values() if len(trace.cycles)), default=0)

    def images(self, expected: Iterable[tuple[int, Writes]]) -> dict[int, Mismatch]:
        """Compare the writes of all images, in the order of `expected`; return the first difference of each image.

        Parameters
        ----------
        expected : iterable of (int, Writes)
            Number of the image, and what is written for it; images may take turns.
        """
        first = dict[int, Mismatch]()
        for image, writes in expected:
            found = self._compare(image, writes) if image not in first else None
            self._next[writes.probe] += len(writes.values)
            if found is not None:
                first[image] = found
        return first

    def rest(self, image: int) -> Mismatch | None:
        """Return the earliest write after everything that was expected, as one of `image`, or None."""
        extra = [
            (int(self.traces[name].cycles[place]), name)
            for name, place in self._next.items()
            if len(self.traces[name].cycles) > place
        ]
        if not extra:
            return None
        cycle, name = min(extra)
        data = int.from_bytes(self.traces[name].data[self._next[name]].tobytes(), "little")
        return Mismatch(image, name, (), "extra", None, data, name, cycle)

    def _compare(self, image: int, writes: Writes) -> Mismatch | None:
        probe, trace, start = self.probes[writes.probe], self.traces[writes.probe], self._next[writes.probe]
        check(writes.values.shape[1] == probe.elements, f"probe {probe.name} has {probe.elements} elements")
        keys, data = trace.keys[start : start + len(writes.values)], trace.data[start : start + len(writes.values)]
        count = len(keys)
        wrong_key = (keys != writes.keys[:count]).any(axis=1)
        wrong, valid = data ^ _pack(writes.values[:count], probe.bits), writes.valid[:count]
        if not valid.all():
            wrong &= _pack(-valid.astype(np.int64), probe.bits)
        wrong_data = wrong.any(axis=1)
        self.values += int(valid.sum())
        bad = np.flatnonzero(wrong_key | wrong_data)
        if len(bad):
            return self._difference(image, writes, int(bad[0]), bool(wrong_key[bad[0]]))
        if count < len(writes.values):
            return self._missing(image, writes, count)
        return None

    def _difference(self, image: int, writes: Writes, write: int, wrong_key: bool) -> Mismatch:
        """Describe the write `write` of `writes`, whose address or data is wrong."""
        probe, trace = self.probes[writes.probe], self.traces[writes.probe]
        at = self._next[writes.probe] + write
        cycle, axes = int(trace.cycles[at]), self.axes.get(writes.tap, ())
        if wrong_key:
            index = writes.index(write, int(np.argmax(writes.valid[write])))
            expected, got = (tuple(int(key) for key in keys) for keys in (writes.keys[write], trace.keys[at]))
            return Mismatch(image, writes.tap, index, "address", expected, got, probe.name, cycle, axes)
        elements = _unpack(trace.data[at], probe)
        wrong = [
            e for e in range(probe.elements) if writes.valid[write, e] and elements[e] != int(writes.values[write, e])
        ]
        element = wrong[0]
        wanted, seen = int(writes.values[write, element]), elements[element]
        expected_value, got_value = (writes.to_tap(write, element, value) for value in (wanted, seen))
        index = writes.index(write, element)
        return Mismatch(image, writes.tap, index, "value", expected_value, got_value, probe.name, cycle, axes)

    def _missing(self, image: int, writes: Writes, write: int) -> Mismatch:
        element = int(np.argmax(writes.valid[write]))
        wanted = writes.to_tap(write, element, int(writes.values[write, element]))
        index, axes = writes.index(write, element), self.axes.get(writes.tap, ())
        return Mismatch(image, writes.tap, index, "missing", wanted, None, writes.probe, self.last_cycle, axes)


def _pack(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Pack int64 [n, e] into fields of `bits`, uint8 [n, bytes], the first element least significant."""
    fields = (values[..., None] >> np.arange(bits)) & 1
    rows = fields.reshape(len(values), values.shape[1] * bits).astype(np.uint8)
    return np.packbits(rows, axis=1, bitorder="little")


def _unpack(data: NDArray[np.uint8], probe: Probe) -> list[int]:
    """Return the elements of one write."""
    word, mask = int.from_bytes(data.tobytes(), "little"), (1 << probe.bits) - 1
    elements = [word >> element * probe.bits & mask for element in range(probe.elements)]
    sign = 1 << probe.bits - 1
    return [(value ^ sign) - sign if probe.signed else value for value in elements]
