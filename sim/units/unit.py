"""What every hardware unit says of itself: its name, width, commands, memories, multipliers, logic and probes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..engine.commands import Command
from ..engine.config import EngineConfig
from ..engine.pipeline import Product
from ..engine.probe import Probe as Probe
from ..engine.timing import Activity
from ..engine.words import LoadMemory, Memory
from .uses import Extent, Uses
from .written import Written

#: Method of a unit that says what one of its commands does.
Timings = Mapping[type[Command], Callable[[Any], Activity]]


@dataclass(frozen=True)
class Unit:
    """One hardware unit of an engine; a subclass for each, in `sim.units.machine.UNITS`.

    A *stage* of a subclass counts cycles from the one in which a chunk's address is given, which is stage 0.

    Parameters
    ----------
    engine : EngineConfig
    """

    engine: EngineConfig

    #: The only name: of the submodule, of the row in estimates, of what is synthesised, in the paths of probes.
    name: ClassVar[str]
    #: Path of the component that it is a submodule of; empty for the top.
    parent: ClassVar[str] = "datapath"
    #: Names of the loadable memories whose words it takes.
    loadable: ClassVar[tuple[str, ...]] = ()

    @property
    def path(self) -> str:
        """Hierarchical name, relative to the top."""
        return f"{self.parent}.{self.name}" if self.parent else self.name

    @property
    def lanes(self) -> int:
        """Elements that it takes a cycle, and that a word of its ports and memories has."""
        return self.engine.lanes

    @property
    def timings(self) -> Timings:
        """What each of its commands does and when."""
        return {}

    @property
    def commands(self) -> tuple[type[Command], ...]:
        """What it carries out."""
        return tuple(self.timings)

    def timing(self, command: Command) -> Activity:
        """Return what one of its commands does and when."""
        return self.timings[type(command)](command)

    def uses(self, command: Any) -> Uses:
        """Return what one of its commands occupies; a unit with commands says it."""
        raise NotImplementedError(f"{self.name} does not say what its commands occupy")

    def reach(self, command: Any) -> Iterable[Extent]:
        """Return the words that the fields of one of its commands point at; a unit with commands says it."""
        raise NotImplementedError(f"{self.name} does not say how far its commands reach")

    def writes(self, command: Any) -> Iterable[Written]:
        """Return what one of its commands writes that is observed; a unit with commands says it."""
        raise NotImplementedError(f"{self.name} does not say what its commands write")

    @property
    def memories(self) -> Mapping[str, Memory]:
        """Its own memories, by name."""
        return {}

    @property
    def load_memories(self) -> dict[str, LoadMemory]:
        """Its memories that the load stream fills, by name."""
        return {name: self.engine.load_memories[name] for name in self.loadable}

    @property
    def read_bits(self) -> dict[str, int]:
        """Bits of a word that are read, of loadable memories whose words are not full."""
        return {}

    def features(self) -> dict[str, float]:
        """Return names and sizes of what its logic grows with; the weights are in `sim.estimate.constants`."""
        return {"unit": 1}

    def products(self) -> list[Product]:
        """Return its multiplications, one an entry."""
        return []

    def probes(self) -> list[Probe]:
        """Return its observed write ports."""
        return []

    def _probe(
        self, name: str, enable: str, keys: tuple[str, ...], data: str, bits: int, *, elements: int = 1, signed: bool
    ) -> Probe:
        """Return a probe of signals of this unit."""
        keys = tuple(f"{self.path}.{key}" for key in keys)
        return Probe(name, f"{self.path}.{enable}", keys, f"{self.path}.{data}", elements, bits, signed)
