"""Whether every command stays within the memories that its fields point into."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from ..engine.commands import (
    Attention,
    Command,
    Embed,
    Epilogue,
    HeadNorm,
    Logits,
    Matmul,
    Normalise,
    OperandMemory,
    Output,
    Pool,
    Prefix,
    Preload,
    SignNorm,
    Table,
)
from ..engine.config import EngineConfig
from ..engine.words import WORD, ceil_div
from ..errors import BivitError
from .place import TABLE_WORDS, Op, memory_depths

#: Memories with parameters of each block; in the last block a command points so many blocks further.
_BY_BLOCK = ("weights", "preload", "sign_norm", "head_norm", "residual", "tables", "norm_eps")


class Extent(NamedTuple):
    """Words of a memory that a command touches."""

    memory: str
    first: int
    words: int


def extents(engine: EngineConfig, command: Command) -> list[Extent]:
    """Return the words that a command's fields point at, in every memory that has addresses."""
    return [each for each in _EXTENTS[type(command)](engine, command) if each.words]


def commands_with_extents() -> set[type[Command]]:
    """Return the commands of which this module says how far they reach."""
    return set(_EXTENTS)


def check_capacity(engine: EngineConfig, ops: Iterable[Op], steps: dict[str, int], repeat: int = 1) -> None:
    """Check that every word that operations touch is in its memory, in the last of `repeat` blocks too.

    Parameters
    ----------
    engine : EngineConfig
        The engine.
    ops : iterable of Op
        Operations of a section.
    steps : dict of str to int
        Words of one block in the memories of parameters.
    repeat : int
        How often the section runs.

    Raises
    ------
    BivitError
        Naming the operation, the memory, the words and how many it has.
    """
    depths = memory_depths(engine)
    for op in ops:
        for memory, first, words in extents(engine, op.command):
            moved = steps.get(memory, 0) * (repeat - 1) if memory in _BY_BLOCK else 0
            end = first + moved + words
            if first < 0 or end > depths[memory]:
                raise BivitError(
                    f"program: {op} uses words {first + moved} to {end - 1} of {memory}, which has {depths[memory]}"
                )


def _bits(engine: EngineConfig, memory: OperandMemory, addr: int, token: int, rows: int, chunks: int) -> Extent:
    """Words that bits of a tile go to: rows of one word, or words by token."""
    if memory not in (OperandMemory.KEY, OperandMemory.VALUE):
        return Extent(str(memory), addr, ceil_div(chunks, engine.chunks_per_word))
    per_word = engine.columns if memory == OperandMemory.KEY else WORD
    first = token // per_word
    return Extent(str(memory), addr + first, (token + rows - 1) // per_word - first + 1)


def _rows(rows: int, stride: int, chunks: int) -> int:
    """Words from the first of a rectangle to its last."""
    return (rows - 1) * stride + chunks


def _matmul(engine: EngineConfig, command: Matmul) -> Iterator[Extent]:
    yield Extent(str(OperandMemory(command.a_mem)), command.a_addr, command.steps)
    yield Extent(command.w_mem.name.lower(), command.w_addr, command.steps)
    if command.preload != Preload.NONE:
        yield Extent("preload" if command.preload == Preload.PRELOAD else "value_sums", command.preload_addr, 1)
    chunks = command.dst_chunk + command.chunks
    if command.epilogue == Epilogue.BITS:
        yield _bits(engine, command.dst_mem, command.dst_addr, command.token, command.rows, chunks)
        if command.dst_mem == OperandMemory.VALUE:
            yield Extent("value_sums", command.param_addr, 1)
    if command.epilogue == Epilogue.RESIDUAL:
        yield Extent("x", command.dst_addr, _rows(command.rows, command.stride, command.chunks))
        yield Extent("residual", command.param_addr, command.chunks)
    if command.epilogue == Epilogue.HEAD_NORM:
        yield Extent("head_buffer", 0, _rows(command.rows, engine.chunks_per_word, chunks))


def _norm(source: str) -> Callable[[EngineConfig, Any], Iterator[Extent]]:
    """How far a norm reaches that reads `source`."""

    def reach(engine: EngineConfig, command: SignNorm | HeadNorm) -> Iterator[Extent]:
        yield Extent(source, command.x_addr, _rows(command.rows, command.stride, command.chunks))
        yield Extent("norm_eps", command.eps, 1)
        if command.apply:
            yield Extent(command.name, command.param_addr, command.chunks)
            yield _bits(engine, command.dst_mem, command.dst_addr, command.token, command.rows, command.chunks)

    return reach


def _attention(engine: EngineConfig, command: Attention) -> Iterator[Extent]:
    chunks = ceil_div(command.keys, engine.lanes)
    yield _bits(engine, OperandMemory.ATTENTION, command.dst_addr, 0, command.rows, chunks)


def _embed(engine: EngineConfig, command: Embed) -> Iterator[Extent]:
    first, words = command.token * command.stride, _rows(command.patches, command.stride, command.chunks)
    yield Extent("x", first, words)
    yield Extent("positions", first, words)
    yield Extent("dense_weights", 0, command.groups * command.patch_rows * command.patch_row_bytes)
    yield Extent("patch_params", 0, command.chunks)


def _pool(engine: EngineConfig, command: Pool) -> Iterator[Extent]:
    yield Extent("x", 0, _rows(command.tokens, command.stride, command.chunks))
    yield Extent("x", command.dst_addr, command.chunks)


def _normalise(engine: EngineConfig, command: Normalise) -> Iterator[Extent]:
    yield Extent("x", command.x_addr, ceil_div(command.channels, engine.lanes))
    yield Extent("y", command.y_addr, command.channels)


def _logits(engine: EngineConfig, command: Logits) -> Iterator[Extent]:
    yield Extent("y", 0, command.inputs)
    yield Extent("dense_weights", command.weight_addr, command.groups * command.inputs)
    yield Extent("head_bias", 0, command.groups * (engine.dense_lanes // engine.lanes))


_EXTENTS: dict[type[Command], Callable[[EngineConfig, Any], Iterable[Extent]]] = {
    Matmul: _matmul,
    SignNorm: _norm("x"),
    HeadNorm: _norm("head_buffer"),
    Table: lambda engine, command: [Extent("tables", command.param_addr, TABLE_WORDS)],
    Attention: _attention,
    Embed: _embed,
    Prefix: lambda engine, command: [Extent(memory, 0, command.words) for memory in ("x", "positions")],
    Logits: _logits,
    Pool: _pool,
    Normalise: _normalise,
    Output: lambda engine, command: [],
}
