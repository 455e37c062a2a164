"""In which order a dataflow engine takes the operations of all images: what its slot table says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..sim.flow.streams import Stream, TileShape
from ..sim.flow.table import SlotTable
from ..sim.mapping.program import FlowProgram
from ..sim.network.config import vit_only


class Operation(NamedTuple):
    """An operation of the array, numbered as in `sim.mapping.expected.Expected`."""

    image: int
    block: int
    stream: Stream
    tile: int
    number: int


class Entry(NamedTuple):
    """A tile of a new image is read for its first block's norm, behind the sums of the image before."""

    image: int
    tile: int


class _Work(NamedTuple):
    """What a lane works on in one of its turns."""

    image: int
    block: int


def order(program: FlowProgram, images: int, taken: Sequence[bool]) -> Iterator[Operation | Entry]:
    """Yield what the array and ResidualAdd do for all images of a run, in the order of the slots.

    Parameters
    ----------
    program : FlowProgram
    images : int
        Of the run.
    taken : sequence of bool
        As of `in_order`.
    """
    depth = vit_only(program.network.config).depth
    yield from in_order(program.layout.shape, program.table, program.flow.images, images, depth, taken)


def in_order(
    shape: TileShape, table: SlotTable, lanes: int, images: int, depth: int, taken: Sequence[bool]
) -> Iterator[Operation | Entry]:
    """Yield what the array and ResidualAdd do for images, or for the windows of a pass, in the order of the slots.

    The table fixes the order of slots, and images are taken in turn. All that depends on time, and so on how the ports
    stall, is which turn of a lane without work takes the next image: the engine decides that, and shows it.

    Parameters
    ----------
    shape : TileShape
    table : SlotTable
    lanes, images, depth : int
        Lanes; images, or windows; blocks that each goes through.
    taken : sequence of bool
        For each turn of fc2, whether the lane works on something in its next turn; a lane without work takes an image
        that is left in turns beyond the last of these.
    """
    operations = shape.operations
    left = images * depth * shape.tiles * sum(shape.work.values())
    works, entered = dict[int, _Work](), 0
    position = {stream: -table.lag[stream] for stream in Stream}
    while left:
        for stream in table.slots:
            place = position[stream]
            position[stream] += 1
            if place < 0:
                continue
            tiles, number = divmod(place, operations[stream])
            turn, tile = divmod(tiles, shape.tiles)
            if stream is Stream.FC2 and number == 0 and tile == 0:
                work = works.get(turn)
                if work is not None and work.block + 1 < depth:
                    works[turn + lanes] = _Work(work.image, work.block + 1)
                elif entered < images and (turn >= len(taken) or taken[turn]):
                    works[turn + lanes] = _Work(entered, 0)
                    entered += 1
            work = works.get(turn + lanes * (stream is Stream.QKV))
            if work is not None and stream in shape.work:
                yield Operation(work.image, work.block, stream, tile, number)
                left -= 1
            if stream is Stream.FC2 and number == operations[stream] - 1:
                behind = works.get(turn + lanes)
                if behind is not None and behind.block == 0:
                    yield Entry(behind.image, tile)
