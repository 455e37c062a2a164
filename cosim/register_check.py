"""What an engine's registers must hold after a run, and where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..sim.engine.registers import BY_NAME, ErrorCode, constants
from ..sim.engine.target import Target
from ..sim.network.file import network_hash
from ..sim.network.network import IntNetwork
from .scenario import Outcome


@dataclass(frozen=True)
class RegisterDifference:
    """A register, or the interrupt pin, that does not hold what it must.

    Parameters
    ----------
    name : str
        As in docs/registers.md, 64-bit counters without `_LO` and `_HI`; ``irq`` for the pin.
    expected, got : int
        What it must hold, what was read.
    """

    name: str
    expected: int
    got: int

    def __str__(self) -> str:
        return f"register {self.name}: expected {self.expected} ({self.expected:#x}), got {self.got} ({self.got:#x})"


def expected_registers(engine: Target, network: IntNetwork, images: int, saturations: int) -> dict[str, int]:
    """Return what registers hold after one load, one run without errors, and all of its logits read.

    Those that count cycles are left out.

    Parameters
    ----------
    engine : Target
    network : IntNetwork
    images : int
        Images of the run.
    saturations : int
        Of all of them, as the reference counts.
    """
    status = sum(BY_NAME["STATUS"].field(name).mask for name in ("loaded", "irq"))
    return {
        **constants(engine),
        "CONTROL": BY_NAME["CONTROL"].field("irq_enable").mask,
        "STATUS": status,
        "ERROR": ErrorCode.NONE,
        "IMAGES": images,
        "DONE": images,
        "SATURATIONS": saturations,
        "LOADS_OK": 1,
        "LOADS_BAD": 0,
        "NETWORK": int(network_hash(network)[:8], 16),
        "QUEUE": 0,
    }


def compare_counters(expected: Mapping[str, int], counted: Mapping[str, int]) -> Iterator[RegisterDifference]:
    """Yield the counters of `expected` that were counted otherwise."""
    for name, value in expected.items():
        if counted[name] != value:
            yield RegisterDifference(name, value, counted[name])


def compare_registers(expected: Mapping[str, int], outcome: Outcome) -> Iterator[RegisterDifference]:
    """Yield the registers of `expected` that hold something else, and the pin when it does not follow them."""
    for name, value in expected.items():
        got = outcome.registers[name]
        if got != value:
            yield RegisterDifference(name, int(value), got)
    raised = outcome.registers["STATUS"] & BY_NAME["STATUS"].field("irq").mask != 0
    enabled = outcome.registers["CONTROL"] & BY_NAME["CONTROL"].field("irq_enable").mask != 0
    level = int(raised and enabled)
    if outcome.irq != level:
        yield RegisterDifference("irq", level, outcome.irq)
