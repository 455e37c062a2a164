"""Slot tables: the order in which the array serves its streams, from a place on a time line for every operation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..engine.words import ceil_div
from .streams import Stream, TileShape

#: Places are counted in parts of a cycle of the array, so that they are whole numbers on any machine.
GRAIN = 16


@dataclass(frozen=True)
class SlotTable:
    """The order in which the array serves its streams, replayed again and again.

    Parameters
    ----------
    slots : tuple of Stream
        Streams, each as often as it has operations in a tile.
    lag : mapping of Stream to int
        Operations that each stream begins late.
    """

    slots: tuple[Stream, ...]
    lag: Mapping[Stream, int]

    def of_a_tile(self, shape: TileShape) -> bool:
        """Return whether the table has the operations of one tile, and not those of a block.

        Parameters
        ----------
        shape : TileShape
        """
        return len(self.slots) == sum(shape.operations.values())


@dataclass(frozen=True)
class Places:
    """Where the operations of one tile stand on a time line, in parts of a cycle after the first of its scores.

    The same line serves every tile, a tile's steps later each time.

    Parameters
    ----------
    phase, width : mapping of Stream to int
        Where a stream begins, and over how much its operations are spread evenly.
    shift : mapping of (Stream, int) to int
        By how much single operations stand later than that.
    """

    phase: Mapping[Stream, int]
    width: Mapping[Stream, int]
    shift: Mapping[tuple[Stream, int], int]

    def of(self, stream: Stream, operations: int) -> list[int]:
        """Return the places of a stream's operations, in order.

        Parameters
        ----------
        stream : Stream
        operations : int
            How many it has.
        """
        phase, width = self.phase[stream], self.width[stream]
        even = [phase + width * (2 * number + 1) // (2 * operations) for number in range(operations)]
        return sorted(place + self.shift.get((stream, number), 0) for number, place in enumerate(even))


def slot_table(shape: TileShape, places: Places) -> SlotTable:
    """Return the table of a time line: what is later than a tile's steps is served in a later round of the table.

    Parameters
    ----------
    shape : TileShape
    places : Places

    Examples
    --------
    >>> from ..network.presets import vit_preset
    >>> shape = TileShape(vit_preset("digits"), 4, 16)
    >>> line = Places({one: 100 * one for one in Stream}, {one: GRAIN * shape.tile_steps for one in Stream}, {})
    >>> table = slot_table(shape, line)
    >>> len(table.slots), table.lag[Stream.SCORES], table.lag[Stream.QKV]
    (82, 0, 4)
    """
    period = GRAIN * shape.tile_steps
    folded: list[tuple[int, Stream]] = []
    lag = {}
    for stream in Stream:
        operations = shape.operations[stream]
        found = [
            (place % period, place // period, number) for number, place in enumerate(places.of(stream, operations))
        ]
        found.sort()
        folded += [(place, stream) for place, _, _ in found]
        # In its first round the table comes to this stream's earliest place, which is of a tile so many rounds back.
        _, rounds, number = found[0]
        lag[stream] = rounds * operations - number
    # Nothing can begin early: then all begin some rounds later.
    rounds = max(ceil_div(-lag[stream], shape.operations[stream]) for stream in Stream)
    late = {stream: lag[stream] + max(0, rounds) * shape.operations[stream] for stream in Stream}
    return SlotTable(tuple(stream for _, stream in sorted(folded)), late)
