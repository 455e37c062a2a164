"""The register map, once, as data: hardware, driver, the table for the docs and the C header are views of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, cast

from .loadstream import LoadError
from .target import Target

#: Value of the ID register, the bytes ``BIVT``.
ID = int.from_bytes(b"BIVT", "little")
#: Version of this map.
MAP_VERSION = 2
#: Bits of a byte address.
ADDR_BITS = 8

Access = Literal["ro", "rw", "w1s", "w1c"]


class ErrorCode(IntEnum):
    """Values of the ERROR register: the codes of `LoadError` and what the engine finds by itself."""

    NONE = LoadError.NONE
    LOAD_MAGIC = LoadError.MAGIC
    LOAD_VERSION = LoadError.VERSION
    LOAD_ENGINE = LoadError.ENGINE
    LOAD_LENGTH = LoadError.LENGTH
    LOAD_SECTION = LoadError.SECTION
    LOAD_CRC = LoadError.CRC
    START_WITHOUT_PROGRAM = 8
    START_WHILE_BUSY = 9
    START_WITHOUT_IMAGES = 10
    PIXEL_FRAME = 11
    MEMORY_READ = 12
    MEMORY_CRC = 13
    MEMORY_TIMEOUT = 14


#: What each code of the ERROR register means.
ERROR_TEXTS: dict[ErrorCode, str] = {
    ErrorCode.NONE: "no error",
    ErrorCode.LOAD_MAGIC: "load stream refused: it does not start with BIVITNET",
    ErrorCode.LOAD_VERSION: "load stream refused: another version of the format",
    ErrorCode.LOAD_ENGINE: "load stream refused: made for another engine configuration",
    ErrorCode.LOAD_LENGTH: "load stream refused: cut short, too long, or given up",
    ErrorCode.LOAD_SECTION: "load stream refused: no such memory, or words beyond its end",
    ErrorCode.LOAD_CRC: "load stream refused: wrong checksum",
    ErrorCode.START_WITHOUT_PROGRAM: "start refused: there is no network",
    ErrorCode.START_WHILE_BUSY: "start refused: the engine still works on the images before",
    ErrorCode.START_WITHOUT_IMAGES: "start refused: IMAGES is 0",
    ErrorCode.PIXEL_FRAME: "pixel stream: TLAST not at the last beat of an image; the run ended with the images before",
    ErrorCode.MEMORY_READ: "memory of the weights: an error was answered, or a burst of another length; the run ended",
    ErrorCode.MEMORY_CRC: "memory of the weights: not what the loaded network has there; the run ended",
    ErrorCode.MEMORY_TIMEOUT: "memory of the weights: no answer while the engine waited for it; the run ended",
}


@dataclass(frozen=True)
class Field:
    """Bits of a register.

    Parameters
    ----------
    name : str
        Lower case.
    lsb, width : int
        Place.
    access : {"ro", "rw", "w1s", "w1c"}
        Read only; read and write; writing 1 triggers and it reads as 0; writing 1 clears.
    text : str
        Meaning.
    """

    name: str
    lsb: int
    width: int
    access: Access
    text: str

    @property
    def mask(self) -> int:
        """Ones at the bits of the field."""
        return ((1 << self.width) - 1) << self.lsb


@dataclass(frozen=True)
class Register:
    """A 32-bit register.

    Parameters
    ----------
    name : str
        Upper case.
    offset : int
        Byte address, a multiple of 4.
    fields : tuple[Field, ...]
        From the least significant bit; other bits read as 0.
    text : str
        Meaning.
    """

    name: str
    offset: int
    fields: tuple[Field, ...]
    text: str

    @property
    def writable(self) -> bool:
        """Whether a write has an effect; a write to another register answers SLVERR."""
        return any(field.access != "ro" for field in self.fields)

    def field(self, name: str) -> Field:
        """Return the field called `name`; KeyError when there is none."""
        return {field.name: field for field in self.fields}[name]


def _value(name: str, offset: int, text: str, access: Access = "ro") -> Register:
    """Return a register that is one 32-bit number."""
    return Register(name, offset, (Field("value", 0, 32, access, text),), text)


def _wide(name: str, offset: int, text: str) -> tuple[Register, Register]:
    """Return the two halves of a 64-bit number; reading the low one holds the high one for the next read."""
    low = _value(f"{name}_LO", offset, f"{text}, bits 31:0; reading it holds {name}_HI")
    return low, _value(f"{name}_HI", offset + 4, f"{text}, bits 63:32 at the last read of {name}_LO")


_SHAPE = (
    Field("rows", 0, 8, "ro", "tokens a tile, R"),
    Field("columns", 8, 8, "ro", "channels a tile, C"),
    Field("lanes", 16, 8, "ro", "elements a cycle of the element-wise units"),
    Field("pixel_bytes", 24, 8, "ro", "bytes a beat of the pixel stream"),
)
_CONTROL = (
    Field("start", 0, 1, "w1s", "work on IMAGES images; clears ERROR"),
    Field("abort", 1, 1, "w1s", "give up an unfinished load stream"),
    Field("irq_enable", 2, 1, "rw", "let STATUS.irq drive the interrupt pin"),
    Field("stop", 3, 1, "w1s", "take no more pixels and end the run; without a run, give up dropping"),
)
_STATUS = (
    Field("busy", 0, 1, "ro", "a run goes on; when it ends, all its logits are in the queue or were taken"),
    Field("loaded", 1, 1, "ro", "a network is there, from a load stream since reset or embedded"),
    Field("error", 2, 1, "w1c", "ERROR is not 0; writing 1 clears ERROR"),
    Field("irq", 3, 1, "w1c", "a run ended or an error came up; writing 1 clears it"),
    Field("dropping", 4, 1, "ro", "pixels are taken and dropped, up to TLAST"),
)

#: 64-bit counters, named as in the map without `_LO` and `_HI`: what they count since the last start.
COUNTERS = {
    "CYCLES": "cycles from start to the last logit that went into the queue",
    "ARRAY_BUSY": "cycles in which the array took operands",
    "STALL_PIXELS": "cycles that waited for pixels",
    "STALL_LOGITS": "cycles that waited for room in the queue of logits",
}

#: Every register, in the order of the addresses.
REGISTERS: tuple[Register, ...] = (
    _value("ID", 0x00, "identification, the bytes BIVT"),
    _value("VERSION", 0x04, "version of this register map"),
    _value("ENGINE_LO", 0x08, "engine configuration's fingerprint, bits 31:0"),
    _value("ENGINE_HI", 0x0C, "engine configuration's fingerprint, bits 63:32"),
    Register("SHAPE", 0x10, _SHAPE, "shape of the engine"),
    Register("CONTROL", 0x14, _CONTROL, "commands"),
    Register("STATUS", 0x18, _STATUS, "state"),
    Register("ERROR", 0x1C, (Field("code", 0, 8, "ro", "first error since it was cleared"),), "error code"),
    _value("IMAGES", 0x20, "images of the next run; a start copies it", "rw"),
    _value("DONE", 0x24, "images since the last start whose logits all went into the queue"),
    *(half for i, (name, text) in enumerate(COUNTERS.items()) for half in _wide(name, 0x28 + 8 * i, text)),
    _value("SATURATIONS", 0x48, "values of the residual that were saturated since the last start"),
    _value("LOADS_OK", 0x4C, "load streams taken since reset"),
    _value("LOADS_BAD", 0x50, "load streams refused since reset"),
    _value("NETWORK", 0x54, "first 32 bits of the loaded network's SHA-256, as the load stream says, else 0"),
    _value("QUEUE", 0x58, "logits in the queue"),
    _value("QUEUE_SIZE", 0x5C, "logits that the queue can hold"),
)

#: Those of engines whose weights are streamed, behind the others.
STREAM_REGISTERS: tuple[Register, ...] = (
    _value(
        "WEIGHTS_LO",
        0x60,
        "memory image of the weights, address bits 31:0, a multiple of 4096; a write begins to read",
        "rw",
    ),
    _value("WEIGHTS_HI", 0x64, "memory image of the weights, address bits 63:32; to be written first", "rw"),
    _value("STALL_MEMORY", 0x68, "cycles in which the array waited for weights since the last start"),
)

#: That of engines whose classifier and positions are streamed as well.
EDGE_REGISTERS: tuple[Register, ...] = (
    _value("STALL_EDGE", 0x6C, "cycles in which the edge waited for words of the memory since the last start"),
)
_EVERY = (*REGISTERS, *STREAM_REGISTERS, *EDGE_REGISTERS)

#: Register by name.
BY_NAME = {register.name: register for register in _EVERY}


def registers_of(engine: Target) -> tuple[Register, ...]:
    """Return the registers that an engine has, in the order of the addresses.

    Parameters
    ----------
    engine : Target
    """
    streamed = STREAM_REGISTERS if engine.memory_bits else ()
    return (*REGISTERS, *streamed, *(EDGE_REGISTERS if engine.edge_streamed else ()))


def error_codes(engine: Target) -> type[IntEnum]:
    """Return the codes that an engine's ERROR can have: those of a memory only where weights are streamed.

    Parameters
    ----------
    engine : Target
    """
    if engine.memory_bits:
        return ErrorCode
    codes = {code.name: code.value for code in ErrorCode if not code.name.startswith("MEMORY_")}
    return cast(type[IntEnum], IntEnum("ErrorCode", codes))  # a class, which mypy takes for a member


def constants(engine: Target) -> dict[str, int]:
    """Return the registers whose value the engine configuration fixes, by name.

    Parameters
    ----------
    engine : Target
        The engine behind the registers.
    """
    fingerprint = engine.fingerprint()
    return {
        "ID": ID,
        "VERSION": MAP_VERSION,
        "ENGINE_LO": fingerprint & 0xFFFFFFFF,
        "ENGINE_HI": fingerprint >> 32,
        "QUEUE_SIZE": engine.queue_logits,
        "SHAPE": sum(getattr(engine, field.name) << field.lsb for field in _SHAPE),
    }


def render_markdown() -> str:
    """Return the register map and the error codes as two Markdown tables."""
    lines = ["| offset | register | bits | field | access | meaning |", "|---|---|---|---|---|---|"]
    for register in _EVERY:
        for i, field in enumerate(register.fields):
            top = field.lsb + field.width - 1
            bits = f"{top}:{field.lsb}" if field.width > 1 else f"{top}"
            start = f"| 0x{register.offset:02x} | {register.name} " if i == 0 else "| | "
            lines.append(f"{start}| {bits} | {field.name} | {field.access} | {field.text} |")
    lines += ["", "| code | error | meaning |", "|---|---|---|"]
    lines += [f"| {code.value} | {code.name} | {text} |" for code, text in ERROR_TEXTS.items()]
    return "\n".join(lines) + "\n"


def render_c_header() -> str:
    """Return the register map as a C header: byte offsets, masks and shifts of fields, error codes."""
    lines = [
        "/* SPDX-License-Identifier: Apache-2.0 */",
        f"/* Register map of the bivit engine, version {MAP_VERSION}; generated from sim/engine/registers.py. */",
        "#ifndef BIVIT_REGISTERS_H",
        "#define BIVIT_REGISTERS_H",
        "",
        f"#define BIVIT_ID_VALUE 0x{ID:08x}u",
        f"#define BIVIT_MAP_VERSION {MAP_VERSION}u",
    ]
    for register in _EVERY:
        lines += ["", f"/* {register.text} */", f"#define BIVIT_{register.name} 0x{register.offset:02x}u"]
        if len(register.fields) > 1:
            for field in register.fields:
                name = f"BIVIT_{register.name}_{field.name.upper()}"
                lines.append(f"#define {name}_MASK 0x{field.mask:08x}u /* {field.access}: {field.text} */")
                lines.append(f"#define {name}_SHIFT {field.lsb}u")
    lines += ["", "enum bivit_error {"]
    lines += [f"    BIVIT_ERROR_{code.name} = {code.value}, /* {text} */" for code, text in ERROR_TEXTS.items()]
    return "\n".join([*lines, "};", "", "#endif", ""])
