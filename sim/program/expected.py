"""What an engine must write where while it runs a network: the reference's taps as the hardware's writes.

A function for each command and window in which it writes something that is observed; which piece of which tensor it
is, the task says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ..engine.commands import (
    Attention,
    Command,
    Embed,
    HeadNorm,
    Logits,
    Matmul,
    Normalise,
    OperandMemory,
    Output,
    Pool,
    Prefix,
    SignNorm,
    Table,
)
from ..network.network import IntNetwork
from .compiler import Program
from .graph import Piece
from .schedule import Scheduled
from .writes import Ints, Source, Writes

__all__ = ["Writes", "commands_with_writes", "expected_writes"]

Pieces = Mapping[str, Piece]
Writer = Callable[[Source, Any, Pieces], Iterator[Writes]]


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
    found: list[tuple[int, int, Scheduled, Writer]] = []
    for number, entry in enumerate(program.unrolled()):
        op = entry.op
        for window, writer in _WRITERS[type(op.command)].items():
            if window in op.uses.activity.windows:
                found.append((entry.issue + op.uses.activity.windows[window][0], number, entry, writer))
    for _, _, entry, writer in sorted(found, key=lambda each: each[:2]):
        yield from writer(sources[entry.block], entry.op.command, entry.op.task.pieces)


def commands_with_writes() -> set[type[Command]]:
    """Return the commands of which this module says what they write, if only that it is nothing."""
    return set(_WRITERS)


def _sums(source: Source, command: Matmul, pieces: Pieces) -> Iterator[Writes]:
    yield source.sums(pieces["sums"], pieces.get("theta"))


def _tile_bits(source: Source, command: Matmul, pieces: Pieces) -> Iterator[Writes]:
    """Bits of an epilogue; scores and sums that are kept for a norm are seen by their readers."""
    if "bits" in pieces:
        yield source.bits(pieces["bits"], command.dst_mem, command.dst_addr, command.token, command.dst_chunk)


def _tile_rows(source: Source, command: Matmul, pieces: Pieces) -> Iterator[Writes]:
    if "rows" in pieces:
        yield source.rows(pieces["rows"], command.dst_addr, command.stride)


def _norm_stats(source: Source, command: SignNorm | HeadNorm, pieces: Pieces) -> Iterator[Writes]:
    for what in ("s1", "r"):
        yield source.scalars(f"{command.name}_{what}", pieces[what], range(command.rows))


def _norm_bits(source: Source, command: SignNorm | HeadNorm, pieces: Pieces) -> Iterator[Writes]:
    yield source.bits(pieces["bits"], command.dst_mem, command.dst_addr, command.token)


def _attention(source: Source, command: Attention, pieces: Pieces) -> Iterator[Writes]:
    for what in ("m", "z"):
        yield source.scalars(f"attention_{what}", pieces[what], range(command.rows))
    yield source.bits(pieces["bits"], OperandMemory.ATTENTION, command.dst_addr, token=0)


def _prefix(source: Source, command: Prefix, pieces: Pieces) -> Iterator[Writes]:
    tokens, _ = pieces["rows"].shape
    yield source.rows(pieces["rows"], 0, command.words // tokens)


def _embed(source: Source, command: Embed, pieces: Pieces) -> Iterator[Writes]:
    yield source.rows(pieces["rows"], command.token * command.stride, command.stride)


def _pool(source: Source, command: Pool, pieces: Pieces) -> Iterator[Writes]:
    yield source.rows(pieces["rows"], command.dst_addr, command.stride)


def _quotient(source: Source, command: Normalise, pieces: Pieces) -> Iterator[Writes]:
    yield source.scalars("norm_q", pieces["q"])


def _normalised(source: Source, command: Normalise, pieces: Pieces) -> Iterator[Writes]:
    yield source.scalars("y", pieces["y"], command.y_addr + np.arange(command.channels))


def _logits(source: Source, command: Logits, pieces: Pieces) -> Iterator[Writes]:
    yield source.logits(pieces["logits"], command.groups)


#: By command, the windows in which it writes something that is observed.
_WRITERS: dict[type[Command], dict[str, Writer]] = {
    Matmul: {"drain": _sums, "bits.write": _tile_bits, "x.write": _tile_rows},
    SignNorm: {"stats.write": _norm_stats, "bits.write": _norm_bits},
    HeadNorm: {"stats.write": _norm_stats, "bits.write": _norm_bits},
    Table: {},  # loads parameters
    Attention: {"bits.write": _attention},
    Prefix: {"x.write": _prefix},
    Embed: {"x.write": _embed},
    Pool: {"x.write": _pool},
    Normalise: {"stats.read": _quotient, "y.write": _normalised},
    Logits: {"logits.w": _logits},
    Output: {},  # reads
}
