"""What an engine must write where while it runs a network: the reference's taps as the hardware's writes.

Which piece of which tensor it is, the task says; where and when it is written, the unit that carries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..network.network import IntNetwork
from ..units import written
from ..units.written import Written
from .compiler import Program
from .graph import Piece
from .uses import writes_of
from .writes import Ints, Source, Writes

__all__ = ["Writes", "expected_writes"]

Pieces = Mapping[str, Piece]


def expected_writes(network: IntNetwork, program: Program, taps: Mapping[str, Ints], image: int) -> Iterator[Writes]:
    """Yield everything that the engine writes for one image, in the order of the cycles in which it begins to.

    Parameters
    ----------
    network, program : IntNetwork, Program
        What runs.
    taps : mapping of str to int64 [B, ...]
        All taps of the reference.
    image : int
        Which image of the batch.
    """
    one = {name: tap[image] for name, tap in taps.items()}
    names = [f"{block.name}." for stage in network.config.stages for block in stage.blocks]
    engine = program.layout.engine
    sources = {None: Source(engine, one, network.tensors)} | {
        number: Source(engine, one, network.tensors, prefix) for number, prefix in enumerate(names)
    }
    found: list[tuple[int, int, Source, Written, Pieces]] = []
    for number, entry in enumerate(program.unrolled()):
        op = entry.op
        for each in writes_of(engine, op.command):
            begins = entry.issue + op.uses.activity.windows[each.window][0]
            found.append((begins, number, sources[entry.block], each, op.task.pieces))
    for _, _, source, each, pieces in sorted(found, key=lambda write: write[:2]):
        yield _WRITERS[type(each)](source, each, pieces)


def _scalars(source: Source, each: written.Scalars, pieces: Pieces) -> Writes:
    keys = () if each.count is None else range(each.first, each.first + each.count)
    return source.scalars(each.probe, pieces[each.piece], keys)


def _rows(source: Source, each: written.Rows, pieces: Pieces) -> Writes:
    return source.rows(pieces[each.piece], each.addr, each.stride)


def _bits(source: Source, each: written.Bits, pieces: Pieces) -> Writes:
    return source.bits(pieces[each.piece], each.memory, each.addr, each.token, each.chunk)


def _sums(source: Source, each: written.Sums, pieces: Pieces) -> Writes:
    return source.sums(pieces[each.piece], pieces.get("theta"))


def _padded(source: Source, each: written.Padded, pieces: Pieces) -> Writes:
    return source.logits(pieces[each.piece], each.groups)


#: How the pieces of each kind of write are laid out.
_WRITERS: dict[type[Written], Callable[[Source, Any, Pieces], Writes]] = {
    written.Scalars: _scalars,
    written.Rows: _rows,
    written.Bits: _bits,
    written.Sums: _sums,
    written.Padded: _padded,
}
