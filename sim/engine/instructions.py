"""Instructions of a program: a command, and when the next one follows."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import check
from .commands import DELAY_BITS, OPCODE_BITS, OPCODES, Command
from .fields import pack_field


@dataclass(frozen=True)
class Instruction:
    """One command and the delay to the next issue; 0 stands for the least."""

    command: Command
    delay: int = 0

    def __post_init__(self) -> None:
        if self.delay == 0:
            object.__setattr__(self, "delay", self.command.least_delay)

    def encode(self) -> int:
        """Return the instruction word, an unsigned integer of `INSTRUCTION_BITS`.

        Raises
        ------
        BivitError
            When the delay is out of range, or a field does not fit its width.
        """
        name, least = self.command.name, self.command.least_delay
        check(
            least <= self.delay < 1 << DELAY_BITS,
            f"{name}: delay must be {least} to 2^{DELAY_BITS} - 1 cycles, got {self.delay}",
        )
        word = OPCODES[type(self.command)] | self.delay << OPCODE_BITS
        at = OPCODE_BITS + DELAY_BITS
        for field_name, part in self.command.layout().items():
            value = getattr(self.command, field_name)
            word |= pack_field(value, part.width, f"{name}.{field_name}", signed=part.signed) << at
            at += part.width
        return word
