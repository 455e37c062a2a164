"""What a command occupies, its unit and ports, and when; the words of memories that it touches; what it writes.

The compiler's only look at the units, which say all of it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from ..engine.commands import Command
from ..engine.config import EngineConfig
from ..units.machine import Machine
from ..units.uses import Extent, Uses
from ..units.written import Written

_machine = functools.cache(Machine)


def uses_of(engine: EngineConfig, command: Command) -> Uses:
    """Return what `command` occupies in `engine`."""
    return _machine(engine).taker(command).uses(command)


def extents(engine: EngineConfig, command: Command) -> list[Extent]:
    """Return the words that a command's fields point at, in every memory that has addresses."""
    return [each for each in _machine(engine).taker(command).reach(command) if each.words]


def writes_of(engine: EngineConfig, command: Command) -> Iterable[Written]:
    """Return what a command writes that is observed."""
    return _machine(engine).taker(command).writes(command)
