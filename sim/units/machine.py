"""The one list of an engine's hardware units: commands, memories and probes by unit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from ..engine.commands import Command
from ..engine.config import EngineConfig
from ..engine.timing import Activity
from .attention_threshold import AttentionThresholdUnit
from .bit_store import BitStoreUnit
from .dense import DenseUnit
from .front import (
    CoreUnit,
    EdgeUnit,
    LoaderUnit,
    LogitsQueueUnit,
    LogitsUnit,
    PixelBufferUnit,
    RegistersUnit,
    RunUnit,
    SettingsUnit,
)
from .last_norm import LastNormUnit
from .matmul import MatmulUnit
from .norm import HeadNormUnit, SignNormUnit
from .residual_add import ResidualAddUnit
from .stores import HeadBuffer, PreloadStore, ResidualStore, WeightStore
from .unit import Probe, Unit
from .value_sums import ValueSumsUnit

AnyUnit = TypeVar("AnyUnit", bound=Unit)

#: Every unit of an engine by name, in the order of reports.
UNITS: dict[str, type[Unit]] = {
    unit.name: unit
    for unit in (
        RegistersUnit,
        LoaderUnit,
        SettingsUnit,
        RunUnit,
        EdgeUnit,
        CoreUnit,
        PixelBufferUnit,
        DenseUnit,
        ResidualStore,
        SignNormUnit,
        MatmulUnit,
        WeightStore,
        PreloadStore,
        BitStoreUnit,
        ValueSumsUnit,
        HeadBuffer,
        HeadNormUnit,
        AttentionThresholdUnit,
        ResidualAddUnit,
        LastNormUnit,
        LogitsUnit,
        LogitsQueueUnit,
    )
}


@dataclass(frozen=True)
class Machine:
    """All units of one engine.

    Parameters
    ----------
    engine : EngineConfig
    """

    engine: EngineConfig

    @cached_property
    def units(self) -> dict[str, Unit]:
        """Units by name."""
        return {name: unit(self.engine) for name, unit in UNITS.items()}

    def __getitem__(self, kind: type[AnyUnit]) -> AnyUnit:
        """The unit of a class."""
        unit = self.units[kind.name]
        assert isinstance(unit, kind)
        return unit

    @cached_property
    def takers(self) -> dict[type[Command], Unit]:
        """The unit that carries out each command."""
        return {command: unit for unit in self.units.values() for command in unit.commands}

    def timing(self, command: Command) -> Activity:
        """Return what a command does and when, counted from its issue."""
        return self.taker(command).timing(command)

    def taker(self, command: Command) -> Unit:
        """Return the unit that carries a command out."""
        return self.takers[type(command)]

    @property
    def probes(self) -> list[Probe]:
        """Observed write ports of all units; names are relative to the top module."""
        return [probe for unit in self.units.values() for probe in unit.probes()]


def memory_depths(engine: EngineConfig) -> dict[str, int]:
    """Return the words of every memory of `engine` by name."""
    own = {name: memory.depth for unit in Machine(engine).units.values() for name, memory in unit.memories.items()}
    return own | {name: memory.depth for name, memory in engine.load_memories.items()}
