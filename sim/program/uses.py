"""What a command occupies: its unit, the ports of each window, and when; the compiler's only look at the timing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..engine import timing
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
    SignNorm,
    Table,
)
from ..engine.config import EngineConfig
from ..engine.timing import Activity


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


def uses_of(engine: EngineConfig, command: Command) -> Uses:
    """Return what `command` occupies in `engine`."""
    return _USES[type(command)](engine, command)


def commands_with_uses() -> set[type[Command]]:
    """Return the commands of which this module says what they occupy."""
    return set(_USES)


def _with(activity: Activity, name: str, window: tuple[int, int]) -> Activity:
    """Return `activity` with one more window, or another one of that name."""
    return Activity(activity.busy, {**activity.windows, name: window})


def _bits_written(activity: Activity) -> Activity:
    """Move a unit's bits by the cycle that the store takes to write them; until then their destination is kept."""
    first, end = (offset + timing.BITS_WRITE for offset in activity.windows["bits.write"])
    return _with(_with(activity, "bits.write", (first, end)), "destination", (0, end))


def _bits_to(memory: OperandMemory, unit: str) -> dict[str, str]:
    return {"bits.write": f"{memory}.write", "destination": f"{unit}.destination"}


def _matmul(engine: EngineConfig, command: Matmul) -> Uses:
    bits_to = command.dst_mem if command.epilogue == Epilogue.BITS else None
    return _tile(command.steps, command.rows, command.chunks, command.epilogue, bits_to)


@functools.cache
def _tile(steps: int, rows: int, chunks: int, epilogue: Epilogue, bits_to: OperandMemory | None) -> Uses:
    """What a tile occupies; thousands of tiles are one of a few kinds."""
    activity = timing.matmul(steps, rows, chunks)
    ports = {"array": "array", "preload.read": "preload.read", "drain": "drain"}
    if bits_to is not None:
        ports["bits.write"] = f"{bits_to}.write"
    if epilogue == Epilogue.RESIDUAL:
        ports |= {"x.read": "x.read", "x.write": "x.write"}
    return Uses("xnor_array", _with(activity, "x.read", activity.windows["drain"]), ports)


def _sign_norm(engine: EngineConfig, command: SignNorm) -> Uses:
    activity, ports = timing.sign_norm(engine, command.apply, command.rows, command.chunks), {"x.read": "x.read"}
    if command.apply:
        activity, ports = _bits_written(activity), ports | _bits_to(command.dst_mem, "sign_norm")
    return Uses("sign_norm", activity, ports)


def _head_norm(engine: EngineConfig, command: HeadNorm) -> Uses:
    activity = timing.head_norm(engine, command.apply, command.rows, command.chunks)
    if not command.apply:
        return Uses("head_norm", activity)
    return Uses("head_norm", _bits_written(activity), _bits_to(command.dst_mem, "head_norm"))


def _table(engine: EngineConfig, command: Table) -> Uses:
    activity = timing.table(engine)
    return Uses("attention_threshold", _with(activity, "all", (0, activity.busy)))


def _attention(engine: EngineConfig, command: Attention) -> Uses:
    activity = _bits_written(timing.attention(engine, command.rows, command.keys))
    return Uses("attention_threshold", activity, _bits_to(OperandMemory.ATTENTION, "attention"))


def _prefix(engine: EngineConfig, command: Prefix) -> Uses:
    return Uses("dense", timing.prefix(engine, command.words), {"x.write": "x.write"})


def _embed(engine: EngineConfig, command: Embed) -> Uses:
    patch_bytes = command.patch_rows * command.patch_row_bytes
    activity = timing.embed(engine, command.patches, command.groups, command.chunks, patch_bytes)
    return Uses("dense", activity, {"x.write": "x.write"})


def _pool(engine: EngineConfig, command: Pool) -> Uses:
    activity = timing.pool(engine, command.tokens, command.chunks)
    return Uses("head", activity, {"x.read": "x.read", "x.write": "x.write"})


def _normalise(engine: EngineConfig, command: Normalise) -> Uses:
    return Uses("head", timing.normalise(engine, command.channels), {"x.read": "x.read"})


def _logits(engine: EngineConfig, command: Logits) -> Uses:
    return Uses("dense", timing.logits(engine, command.inputs, command.groups))


def _output(engine: EngineConfig, command: Output) -> Uses:
    activity = timing.output(engine, command.classes)
    # The memory's first word is read ahead of the first beat.
    return Uses("logits", _with(activity, "logits.read", (1, activity.windows["logits.write"][1])))


_USES: dict[type[Command], Callable[[EngineConfig, Any], Uses]] = {
    Matmul: _matmul,
    SignNorm: _sign_norm,
    HeadNorm: _head_norm,
    Table: _table,
    Attention: _attention,
    Embed: _embed,
    Prefix: _prefix,
    Logits: _logits,
    Pool: _pool,
    Normalise: _normalise,
    Output: _output,
}
