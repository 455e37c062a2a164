"""What a command occupies: its unit and ports, and when; and the words of memories that it touches.

The compiler's only look at the timing of units.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
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
from ..engine.timing import Activity
from ..engine.words import WORD, ceil_div
from ..units.bit_store import BitStoreUnit
from ..units.machine import Machine
from ..units.matmul import MatmulUnit

#: Words of one table: Tau, then Exp[1] to Exp[64].
TABLE_WORDS = WORD + 1


@dataclass(frozen=True)
class Uses:
    """What one command occupies.

    Parameters
    ----------
    unit : str
        Unit that carries it out.
    activity : Activity
        When it uses what, from its issue on.
    ports : dict of str to str
        Port that each window occupies; windows without an entry occupy none.
    """

    unit: str
    activity: Activity
    ports: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def each(self) -> tuple[tuple[str, int, int], ...]:
        """Unit and ports, with the cycles in which they are used."""
        windows = self.activity.windows
        return (self.unit, 0, self.activity.busy), *((port, *windows[window]) for window, port in self.ports.items())


class Extent(NamedTuple):
    """Words of a memory that a command touches."""

    memory: str
    first: int
    words: int


def uses_of(engine: EngineConfig, command: Command) -> Uses:
    """Return what `command` occupies in `engine`."""
    return _KINDS[type(command)].uses(engine, command)


def extents(engine: EngineConfig, command: Command) -> list[Extent]:
    """Return the words that a command's fields point at, in every memory that has addresses."""
    return [each for each in _KINDS[type(command)].reach(engine, command) if each.words]


def commands_with_uses() -> set[type[Command]]:
    """Return the commands of which this module says what they occupy."""
    return set(_KINDS)


_machine = functools.cache(Machine)


def _activity(engine: EngineConfig, command: Command) -> Activity:
    """What a command does and when, by its unit."""
    return _machine(engine).timing(command)


def _with(activity: Activity, name: str, window: tuple[int, int]) -> Activity:
    """Return `activity` with one more window, or another one of that name."""
    return Activity(activity.busy, {**activity.windows, name: window})


def _bits_written(activity: Activity) -> Activity:
    """Move a unit's bits by the cycle that the store takes to write them; until then their destination is kept."""
    first, end = (offset + BitStoreUnit.write_stage for offset in activity.windows["bits.write"])
    return _with(_with(activity, "bits.write", (first, end)), "destination", (0, end))


def _bits_to(memory: OperandMemory, unit: str) -> dict[str, str]:
    return {"bits.write": f"{memory}.write", "destination": f"{unit}.destination"}


def _matmul(engine: EngineConfig, command: Matmul) -> Uses:
    bits_to = command.dst_mem if command.epilogue == Epilogue.BITS else None
    return _tile(engine, command.steps, command.rows, command.chunks, command.epilogue, bits_to)


@functools.cache
def _tile(
    engine: EngineConfig, steps: int, rows: int, chunks: int, epilogue: Epilogue, bits_to: OperandMemory | None
) -> Uses:
    """What a tile occupies; thousands of tiles are one of a few kinds."""
    activity = MatmulUnit(engine).tile(steps, rows, chunks)
    ports = {"array": "array", "preload.read": "preload.read", "drain": "drain"}
    if bits_to is not None:
        ports["bits.write"] = f"{bits_to}.write"
    if epilogue == Epilogue.RESIDUAL:
        ports |= {"x.read": "x.read", "x.write": "x.write"}
    return Uses("xnor_array", _with(activity, "x.read", activity.windows["drain"]), ports)


def _sign_norm(engine: EngineConfig, command: SignNorm) -> Uses:
    activity, ports = _activity(engine, command), {"x.read": "x.read"}
    if command.apply:
        activity, ports = _bits_written(activity), ports | _bits_to(command.dst_mem, "sign_norm")
    return Uses("sign_norm", activity, ports)


def _head_norm(engine: EngineConfig, command: HeadNorm) -> Uses:
    activity = _activity(engine, command)
    if not command.apply:
        return Uses("head_norm", activity)
    return Uses("head_norm", _bits_written(activity), _bits_to(command.dst_mem, "head_norm"))


def _table(engine: EngineConfig, command: Table) -> Uses:
    activity = _activity(engine, command)
    return Uses("attention_threshold", _with(activity, "all", (0, activity.busy)))


def _attention(engine: EngineConfig, command: Attention) -> Uses:
    activity = _bits_written(_activity(engine, command))
    return Uses("attention_threshold", activity, _bits_to(OperandMemory.ATTENTION, "attention"))


def _prefix(engine: EngineConfig, command: Prefix) -> Uses:
    return Uses("dense", _activity(engine, command), {"x.write": "x.write"})


def _embed(engine: EngineConfig, command: Embed) -> Uses:
    return Uses("dense", _activity(engine, command), {"x.write": "x.write"})


def _pool(engine: EngineConfig, command: Pool) -> Uses:
    activity = _activity(engine, command)
    return Uses("head", activity, {"x.read": "x.read", "x.write": "x.write"})


def _normalise(engine: EngineConfig, command: Normalise) -> Uses:
    return Uses("head", _activity(engine, command), {"x.read": "x.read"})


def _logits(engine: EngineConfig, command: Logits) -> Uses:
    return Uses("dense", _activity(engine, command))


def _output(engine: EngineConfig, command: Output) -> Uses:
    activity = _activity(engine, command)
    # The memory's first word is read ahead of the first beat.
    return Uses("logits", _with(activity, "logits.read", (1, activity.windows["logits.write"][1])))


# Words that commands touch.


def _bits_reach(engine: EngineConfig, memory: OperandMemory, addr: int, token: int, rows: int, chunks: int) -> Extent:
    """Words that bits of a tile go to: rows of one word, or words by token."""
    if memory not in (OperandMemory.KEY, OperandMemory.VALUE):
        return Extent(str(memory), addr, ceil_div(chunks, engine.chunks_per_word))
    per_word = engine.columns if memory == OperandMemory.KEY else WORD
    first = token // per_word
    return Extent(str(memory), addr + first, (token + rows - 1) // per_word - first + 1)


def _rows(rows: int, stride: int, chunks: int) -> int:
    """Words from the first of a rectangle to its last."""
    return (rows - 1) * stride + chunks


def _matmul_reach(engine: EngineConfig, command: Matmul) -> Iterator[Extent]:
    yield Extent(str(OperandMemory(command.a_mem)), command.a_addr, command.steps)
    yield Extent(command.w_mem.name.lower(), command.w_addr, command.steps)
    if command.preload != Preload.NONE:
        yield Extent("preload" if command.preload == Preload.PRELOAD else "value_sums", command.preload_addr, 1)
    chunks = command.dst_chunk + command.chunks
    if command.epilogue == Epilogue.BITS:
        yield _bits_reach(engine, command.dst_mem, command.dst_addr, command.token, command.rows, chunks)
        if command.dst_mem == OperandMemory.VALUE:
            yield Extent("value_sums", command.param_addr, 1)
    if command.epilogue == Epilogue.RESIDUAL:
        yield Extent("x", command.dst_addr, _rows(command.rows, command.stride, command.chunks))
        yield Extent("residual", command.param_addr, command.chunks)
    if command.epilogue == Epilogue.HEAD_NORM:
        yield Extent("head_buffer", 0, _rows(command.rows, engine.chunks_per_word, chunks))


def _norm_reach(source: str) -> Callable[[EngineConfig, Any], Iterator[Extent]]:
    """How far a norm reaches that reads `source`."""

    def reach(engine: EngineConfig, command: SignNorm | HeadNorm) -> Iterator[Extent]:
        yield Extent(source, command.x_addr, _rows(command.rows, command.stride, command.chunks))
        yield Extent("norm_eps", command.eps, 1)
        if command.apply:
            yield Extent(command.name, command.param_addr, command.chunks)
            yield _bits_reach(engine, command.dst_mem, command.dst_addr, command.token, command.rows, command.chunks)

    return reach


def _attention_reach(engine: EngineConfig, command: Attention) -> Iterator[Extent]:
    chunks = ceil_div(command.keys, engine.lanes)
    yield _bits_reach(engine, OperandMemory.ATTENTION, command.dst_addr, 0, command.rows, chunks)


def _embed_reach(engine: EngineConfig, command: Embed) -> Iterator[Extent]:
    first, words = command.token * command.stride, _rows(command.patches, command.stride, command.chunks)
    yield Extent("x", first, words)
    yield Extent("positions", first, words)
    yield Extent("dense_weights", 0, command.groups * command.patch_rows * command.patch_row_bytes)
    yield Extent("patch_params", 0, command.chunks)


def _pool_reach(engine: EngineConfig, command: Pool) -> Iterator[Extent]:
    yield Extent("x", 0, _rows(command.tokens, command.stride, command.chunks))
    yield Extent("x", command.dst_addr, command.chunks)


def _normalise_reach(engine: EngineConfig, command: Normalise) -> Iterator[Extent]:
    yield Extent("x", command.x_addr, ceil_div(command.channels, engine.lanes))
    yield Extent("y", command.y_addr, command.channels)


def _logits_reach(engine: EngineConfig, command: Logits) -> Iterator[Extent]:
    yield Extent("y", 0, command.inputs)
    yield Extent("dense_weights", command.weight_addr, command.groups * command.inputs)
    yield Extent("head_bias", 0, command.groups * (engine.dense_lanes // engine.lanes))


class _Kind(NamedTuple):
    """What a command occupies, and how far it reaches."""

    uses: Callable[[EngineConfig, Any], Uses]
    reach: Callable[[EngineConfig, Any], Iterable[Extent]]


_KINDS: dict[type[Command], _Kind] = {
    Matmul: _Kind(_matmul, _matmul_reach),
    SignNorm: _Kind(_sign_norm, _norm_reach("x")),
    HeadNorm: _Kind(_head_norm, _norm_reach("head_buffer")),
    Table: _Kind(_table, lambda engine, command: [Extent("tables", command.param_addr, TABLE_WORDS)]),
    Attention: _Kind(_attention, _attention_reach),
    Embed: _Kind(_embed, _embed_reach),
    Prefix: _Kind(_prefix, lambda engine, command: [Extent(each, 0, command.words) for each in ("x", "positions")]),
    Logits: _Kind(_logits, _logits_reach),
    Pool: _Kind(_pool, _pool_reach),
    Normalise: _Kind(_normalise, _normalise_reach),
    Output: _Kind(_output, lambda engine, command: []),
}
