"""The commands that the compiler writes and the sequencer walks: a class each, with the bits of every field.

An instruction is `INSTRUCTION_BITS` wide: the opcode, the delay (cycles from its issue to the issue of the next one,
at least its `least_delay`), then the command's own fields, first field in the least significant bits.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Annotated, ClassVar, get_type_hints

INSTRUCTION_BITS = 256
OPCODE_BITS = 4
DELAY_BITS = 24
MIN_DELAY = 2
#: Least delay behind an instruction that goes elsewhere than to the next: what was read ahead is read anew.
JUMP_DELAY = 4


class OperandMemory(IntEnum):
    """Memories of bits: all can be written to, and the array reads them as one or the other operand."""

    def __str__(self) -> str:
        """Lower case, as in names of ports and of the hardware's memories."""
        return self.name.lower()

    NORM = 0
    QUERY = 1
    ATTENTION = 2
    CONTEXT = 3
    HIDDEN = 4
    KEY = 5
    VALUE = 6


#: Memories of bits that the array reads as its row operand; `KEY` and `VALUE` are column operands.
ROW_MEMORIES = (
    OperandMemory.NORM,
    OperandMemory.QUERY,
    OperandMemory.ATTENTION,
    OperandMemory.CONTEXT,
    OperandMemory.HIDDEN,
)


class ColumnMemory(IntEnum):
    """Memories that the array reads as its column operand."""

    WEIGHTS = 0
    KEY = 1
    VALUE = 2


class Epilogue(IntEnum):
    """What happens to the drained accumulators."""

    BITS = 0
    RESIDUAL = 1
    HEAD_NORM = 2
    SCORES = 3


class Preload(IntEnum):
    """Where the accumulator's start comes from, before the command's constant is added."""

    NONE = 0
    PRELOAD = 1
    VALUE_SUMS = 2


@dataclass(frozen=True)
class Base:
    """What makes a field relative to a block's parameters.

    Parameters
    ----------
    step : str
        Field of `Loop` that moves the base on with every block.
    chooser : str
        Field that must hold `choice`, where the field is not always an address of parameters; else empty.
    choice : int
        See `chooser`.
    """

    step: str
    chooser: str = ""
    choice: int = 0


@dataclass(frozen=True)
class Bits:
    """How a field lies in its instruction: width, two's complement or not, and what it is relative to."""

    width: int
    signed: bool = False
    base: Base | None = None


@dataclass(frozen=True, kw_only=True)
class Command:
    """What one unit does once; a subclass for each operation, in `COMMANDS`."""

    #: The only name of the operation: in programs, reports, and signals of the hardware.
    name: ClassVar[str]
    #: Fewest cycles from its issue to the next one.
    least_delay: ClassVar[int] = MIN_DELAY

    @classmethod
    def layout(cls) -> dict[str, Bits]:
        """Fields in the order of their bits."""
        return _LAYOUTS[cls]

    @classmethod
    def width(cls) -> int:
        """Bits of all fields."""
        return sum(part.width for part in cls.layout().values())


@dataclass(frozen=True, kw_only=True)
class End(Command):
    """The image is done."""

    name = "end"
    least_delay = JUMP_DELAY


@dataclass(frozen=True, kw_only=True)
class Matmul(Command):
    """One tile on the array: rows of one operand times columns of the other, from a start to an epilogue."""

    name = "matmul"
    a_mem: Annotated[OperandMemory, Bits(3)]  # one of ROW_MEMORIES
    a_addr: Annotated[int, Bits(16)]
    w_mem: Annotated[ColumnMemory, Bits(2)]
    w_addr: Annotated[int, Bits(20, base=Base("weights_step", "w_mem", ColumnMemory.WEIGHTS))]
    steps: Annotated[int, Bits(8)]  # 64-bit words of the dot product
    preload: Annotated[Preload, Bits(2)]
    preload_addr: Annotated[int, Bits(16, base=Base("preload_step", "preload", Preload.PRELOAD))]
    preload_const: Annotated[int, Bits(14, signed=True)]  # added to every column
    epilogue: Annotated[Epilogue, Bits(2)]
    rows: Annotated[int, Bits(7)]
    chunks: Annotated[int, Bits(4)]  # drained chunks of one row
    columns: Annotated[int, Bits(7)]  # columns that count; bits of the others are 0
    dst_mem: Annotated[OperandMemory, Bits(3)]
    dst_addr: Annotated[int, Bits(16)]
    dst_chunk: Annotated[int, Bits(7)]  # first chunk in the destination's row or word
    token: Annotated[int, Bits(12)]  # first token of the tile
    stride: Annotated[int, Bits(8)]  # words from one token of x to the next
    # Residual: Scale and Bias of the first chunk.
    param_addr: Annotated[int, Bits(16, base=Base("residual_step", "epilogue", Epilogue.RESIDUAL))]
    first: Annotated[int, Bits(1)]  # value: start the column sums at 0


@dataclass(frozen=True, kw_only=True)
class _Norm(Command):
    """One pass of a norm over a tile; subclasses differ in where parameters and Eps lie."""

    apply: Annotated[int, Bits(1)]  # 0: first pass, sums and root; 1: second pass, bits
    rows: Annotated[int, Bits(7)]
    chunks: Annotated[int, Bits(7)]  # of one row
    x_addr: Annotated[int, Bits(20)]
    stride: Annotated[int, Bits(8)]  # words from one row of x to the next
    param_addr: Annotated[int, Bits(16)]
    channels: Annotated[int, Bits(11)]
    # In the program a word of the memory `norm_eps`, which the sequencer puts in its place.
    eps: Annotated[int, Bits(48, base=Base("eps_step"))]
    mean: Annotated[int, Bits(1)]  # mode `mean`: R is the constant
    dst_mem: Annotated[OperandMemory, Bits(3)]
    dst_addr: Annotated[int, Bits(16)]
    token: Annotated[int, Bits(12)]  # first token of the tile, for the destination `key`


@dataclass(frozen=True, kw_only=True)
class SignNorm(_Norm):
    """One pass of SignNorm over rows of the residual."""

    name = "sign_norm"
    param_addr: Annotated[int, Bits(16, base=Base("sign_norm_step"))]


@dataclass(frozen=True, kw_only=True)
class HeadNorm(_Norm):
    """One pass of HeadNorm over buffered sums."""

    name = "head_norm"
    param_addr: Annotated[int, Bits(16, base=Base("head_norm_step"))]


@dataclass(frozen=True, kw_only=True)
class Table(Command):
    """Load one head's table into the attention unit."""

    name = "table"
    param_addr: Annotated[int, Bits(16, base=Base("tables_step"))]


@dataclass(frozen=True, kw_only=True)
class Attention(Command):
    """Attention bits of one tile from its scores."""

    name = "attention"
    rows: Annotated[int, Bits(7)]
    keys: Annotated[int, Bits(12)]
    dst_addr: Annotated[int, Bits(16)]


@dataclass(frozen=True, kw_only=True)
class Embed(Command):
    """Patch embedding of one strip."""

    name = "embed"
    token: Annotated[int, Bits(12)]  # of the first patch
    patches: Annotated[int, Bits(8)]
    groups: Annotated[int, Bits(8)]  # of dense lanes, a token
    chunks: Annotated[int, Bits(7)]  # of one token
    stride: Annotated[int, Bits(8)]
    patch_rows: Annotated[int, Bits(6)]
    patch_row_bytes: Annotated[int, Bits(10)]
    row_bytes: Annotated[int, Bits(16)]  # of the image
    shift: Annotated[int, Bits(6)]


@dataclass(frozen=True, kw_only=True)
class Prefix(Command):
    """Constant tokens before the patches."""

    name = "prefix"
    words: Annotated[int, Bits(14)]


@dataclass(frozen=True, kw_only=True)
class Logits(Command):
    """Classifier."""

    name = "logits"
    inputs: Annotated[int, Bits(12)]
    groups: Annotated[int, Bits(12)]
    weight_addr: Annotated[int, Bits(20)]


@dataclass(frozen=True, kw_only=True)
class Pool(Command):
    """Mean over all tokens."""

    name = "pool"
    tokens: Annotated[int, Bits(12)]
    chunks: Annotated[int, Bits(7)]
    stride: Annotated[int, Bits(8)]
    shift: Annotated[int, Bits(4)]
    dst_addr: Annotated[int, Bits(20)]


@dataclass(frozen=True, kw_only=True)
class Normalise(Command):
    """Last norm of one row."""

    name = "normalise"
    row: Annotated[int, Bits(7)]
    x_addr: Annotated[int, Bits(20)]
    channels: Annotated[int, Bits(11)]
    y_addr: Annotated[int, Bits(12)]


@dataclass(frozen=True, kw_only=True)
class Output(Command):
    """Send the logits."""

    name = "output"
    classes: Annotated[int, Bits(12)]


@dataclass(frozen=True, kw_only=True)
class Loop(Command):
    """Go back to `target` until the body has run `count` times, moving on to the next block's parameters."""

    name = "loop"
    least_delay = JUMP_DELAY
    target: Annotated[int, Bits(16)]
    count: Annotated[int, Bits(8)]
    weights_step: Annotated[int, Bits(20)]
    preload_step: Annotated[int, Bits(16)]
    sign_norm_step: Annotated[int, Bits(16)]
    head_norm_step: Annotated[int, Bits(16)]
    residual_step: Annotated[int, Bits(16)]
    tables_step: Annotated[int, Bits(16)]
    eps_step: Annotated[int, Bits(16)]


@dataclass(frozen=True, kw_only=True)
class Tell(Command):
    """Hand over to the other process: what was issued here has been done."""

    name = "tell"


@dataclass(frozen=True, kw_only=True)
class Wait(Command):
    """Go on when the other process has told."""

    name = "wait"


#: Every command; its position is its opcode.
COMMANDS: tuple[type[Command], ...] = (
    End,
    Matmul,
    SignNorm,
    HeadNorm,
    Table,
    Attention,
    Embed,
    Prefix,
    Logits,
    Pool,
    Normalise,
    Output,
    Loop,
    Tell,
    Wait,
)
_LAYOUTS: dict[type[Command], dict[str, Bits]] = {
    command: {
        name: hint.__metadata__[0]
        for name, hint in get_type_hints(command, include_extras=True).items()
        if name in {each.name for each in fields(command)}
    }
    for command in COMMANDS
}
OPCODES = {command: code for code, command in enumerate(COMMANDS)}
#: Commands that units carry out; the others are the sequencer's own.
ISSUED = tuple(command for command in COMMANDS if command not in (End, Loop, Tell, Wait))


@dataclass(frozen=True)
class Process:
    """One of the two programs of an engine, each walked by its own sequencer; they meet between images only.

    Parameters
    ----------
    name : str
        Of the process, its sequencer and its part of a report.
    memory : str
        Loadable memory of its program.
    bits : int
        Width of an instruction.
    issued : tuple of command classes
        What it gives to units.
    own : tuple of command classes
        What its sequencer does itself.
    """

    name: str
    memory: str
    bits: int
    issued: tuple[type[Command], ...]
    own: tuple[type[Command], ...]


#: What streams can make wait: pixels come in, logits go out.
EDGE = Process("edge", "edge_program", 128, (Embed, Prefix, Logits, Output), (Tell, Wait, End))
#: Everything else: once an image has begun here, nothing makes it wait.
_CORE = tuple(command for command in ISSUED if command not in EDGE.issued)
CORE = Process("core", "program", INSTRUCTION_BITS, _CORE, (Loop, Tell, Wait, End))
PROCESSES = (EDGE, CORE)
