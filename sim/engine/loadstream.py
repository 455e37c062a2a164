"""The load stream: program, weights and thresholds on their way to an engine (docs/accelerator.md)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from enum import IntEnum

from ..errors import BivitError, check
from .target import Target
from .words import BEAT_BITS, LoadMemory

#: First beat of every stream, the bytes ``BIVITNET``.
MAGIC = int.from_bytes(b"BIVITNET", "little")
#: Version of the stream format, bits 31:0 of the second beat.
STREAM_VERSION = 1
#: Bytes of one beat.
BEAT_BYTES = BEAT_BITS // 8
#: Most words in one section and most beats in one stream: 32-bit fields.
_FIELD_LIMIT = 1 << 32

#: Words by the address of the first one, by name of the memory.
Sections = Mapping[str, Mapping[int, Sequence[int]]]


class LoadError(IntEnum):
    """Why a stream was refused; the same codes in `hw.loader.Loader` and in the ERROR register.

    A beat's TLAST is judged before what it holds, and the first error of a stream is the one that is reported.
    """

    NONE = 0
    MAGIC = 1  #: The first beat is not `MAGIC`.
    VERSION = 2  #: Another version of the format.
    ENGINE = 3  #: Made for another engine configuration.
    LENGTH = 4  #: TLAST early or late, a section that goes on past the length, or a stream that was given up.
    SECTION = 5  #: No memory of this id, or words beyond its end.
    CRC = 6  #: The checksum is not that of the beats before.


class LoadRefused(BivitError):
    """A load stream is not acceptable; `code` is what the hardware would report.

    Parameters
    ----------
    code : LoadError
        Reason.
    message : str
        What was wrong, what is allowed, what was got.
    """

    def __init__(self, code: LoadError, message: str):
        super().__init__(f"{message} ({code.name}); write the stream again with `bivit generate` for this engine")
        self.code = code


def build_stream(engine: Target, sections: Sections) -> bytes:
    """Return the load stream that writes `sections`, little-endian beats with the CRC at the end.

    A stream replaces everything: a word that no section names holds afterwards what the stream before the last one
    put there.

    Parameters
    ----------
    engine : Target
        Engine that the stream is for; its fingerprint is in the stream.
    sections : Mapping[str, Mapping[int, Sequence[int]]]
        For each memory (a name of `Target.load_memories`), words by the address of the first; unsigned integers
        of the memory's width.

    Returns
    -------
    bytes
        A multiple of 8 bytes.

    Raises
    ------
    BivitError
        When a memory does not exist, words lie beyond its end, or a word does not fit its width.
    """
    memories = engine.load_memories
    body = bytearray(engine.fingerprint().to_bytes(BEAT_BYTES, "little"))
    for name, runs in sections.items():
        check(name in memories, f"there is no memory {name!r}; this engine has {', '.join(memories)}")
        for first, words in runs.items():
            body += _section(name, memories[name], first, words)
    beats = len(body) // BEAT_BYTES
    check(beats < _FIELD_LIMIT, f"a load stream holds fewer than 2^32 beats, got {beats}")
    stream = MAGIC.to_bytes(BEAT_BYTES, "little") + _beat(STREAM_VERSION | beats << 32) + bytes(body)
    return stream + _beat(zlib.crc32(stream))


def parse_stream(engine: Target, data: bytes) -> dict[str, dict[int, list[int]]]:
    """Return the words that the engine takes from `data`, or refuse it as the hardware does.

    Parameters
    ----------
    engine : Target
        Engine that receives the stream.
    data : bytes
        The stream; TLAST is its last beat.

    Returns
    -------
    dict[str, dict[int, list[int]]]
        For each memory, words by the address of the first; a later section with the same start replaces the earlier.

    Raises
    ------
    LoadRefused
        With the `LoadError` that `hw.loader.Loader` reports for the same beats.
    """
    if not data or len(data) % BEAT_BYTES:
        raise LoadRefused(
            LoadError.LENGTH, f"a load stream is a positive multiple of {BEAT_BYTES} bytes, got {len(data)}"
        )
    beats = _Beats(data)
    magic = beats.take()
    if magic != MAGIC:
        raise LoadRefused(LoadError.MAGIC, f"a load stream starts with {MAGIC:#x} ('BIVITNET'), got {magic:#x}")
    version, length = _split(beats.take(), 32)
    if version != STREAM_VERSION:
        raise LoadRefused(
            LoadError.VERSION, f"the load stream has version {version}, this engine takes {STREAM_VERSION}"
        )
    if length == 0:
        raise LoadRefused(LoadError.LENGTH, "the load stream's length must count at least one beat, got 0")
    beats.end = beats.at + length
    fingerprint = beats.take()
    if fingerprint != engine.fingerprint():
        message = f"the load stream is for engine {fingerprint:#018x}, this one is {engine.fingerprint():#018x}"
        raise LoadRefused(LoadError.ENGINE, message)
    sections: dict[str, dict[int, list[int]]] = {}
    while beats.at < beats.end:
        name, first, words = _parse_section(engine, beats)
        sections.setdefault(name, {})[first] = words
    _check_crc(data, beats.end)
    return sections


class _Beats:
    """Reads a stream beat by beat; `end` is the index of the CRC beat once the length is known."""

    def __init__(self, data: bytes):
        self.data = data
        self.count = len(data) // BEAT_BYTES
        self.at = 0
        self.end = _FIELD_LIMIT

    def take(self, beats: int = 1) -> int:
        """Return the next `beats` beats as one unsigned integer, the first in the least significant bits."""
        if self.at + beats > self.end:
            message = f"a section goes on past the {self.end} beats that the load stream's header gives"
            raise LoadRefused(LoadError.LENGTH, message)
        if self.at + beats >= self.count:
            raise LoadRefused(LoadError.LENGTH, f"the load stream is cut short after {self.count} beats")
        start = self.at * BEAT_BYTES
        self.at += beats
        return int.from_bytes(self.data[start : self.at * BEAT_BYTES], "little")


def _parse_section(engine: Target, beats: _Beats) -> tuple[str, int, list[int]]:
    """Return memory name, first address and words of the section that starts at the next beat."""
    by_id = {spec.id: (name, spec) for name, spec in engine.load_memories.items()}
    place, count = _split(beats.take(), 32)
    memory, first = _split(place, 8)
    if memory not in by_id:
        known = ", ".join(f"{i} ({name})" for i, (name, _) in by_id.items())
        raise LoadRefused(LoadError.SECTION, f"there is no memory {memory}; this engine has {known}")
    name, spec = by_id[memory]
    if first + count > spec.depth:
        message = f"memory {name} has words 0 to {spec.depth - 1}, got a section of {count} from {first}"
        raise LoadRefused(LoadError.SECTION, message)
    mask = (1 << spec.width) - 1
    return name, first, [beats.take(spec.beats) & mask for _ in range(count)]


def _check_crc(data: bytes, end: int) -> None:
    """Raise unless beat `end` is the last one and holds the CRC of the beats before."""
    size = end * BEAT_BYTES
    if len(data) != size + BEAT_BYTES:
        beats = len(data) // BEAT_BYTES
        raise LoadRefused(LoadError.LENGTH, f"the load stream must have {end + 1} beats by its header, got {beats}")
    expected, got = zlib.crc32(data[:size]), int.from_bytes(data[size:], "little")
    if got != expected:
        raise LoadRefused(LoadError.CRC, f"the load stream's CRC-32 must be {expected:#010x}, got {got:#010x}")


def _section(name: str, spec: LoadMemory, first: int, words: Sequence[int]) -> bytes:
    """Return header and words of one section."""
    check(
        first >= 0 and first + len(words) <= spec.depth,
        f"memory {name} has words 0 to {spec.depth - 1}, got {len(words)} from {first}; generate a larger engine",
    )
    section = bytearray(_beat(spec.id | first << 8 | len(words) << 32))
    for i, word in enumerate(words):
        check(
            0 <= word < 1 << spec.width,
            f"memory {name} has words of {spec.width} bits, got {word} at {first + i}",
        )
        section += word.to_bytes(spec.beats * BEAT_BYTES, "little")
    return bytes(section)


def _beat(value: int) -> bytes:
    return value.to_bytes(BEAT_BYTES, "little")


def _split(value: int, bits: int) -> tuple[int, int]:
    """Return the low `bits` bits of `value` and the rest."""
    return value & (1 << bits) - 1, value >> bits
