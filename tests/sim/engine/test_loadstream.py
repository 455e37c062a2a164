"""The load stream's writer and reader: exact bytes, everything that is refused, and the round trip."""

import random
import zlib

import pytest

from bivit.sim.engine.config import EngineConfig
from bivit.sim.engine.loadstream import LoadError, LoadRefused, build_stream, parse_stream
from bivit.sim.errors import BivitError
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.presets import FLOW_ENGINES

ENGINE = FlowMachine(FLOW_ENGINES["sim"])
MEMORIES = ENGINE.load_memories


def stream_of(*beats: int) -> bytes:
    """Beats followed by their CRC."""
    data = b"".join(beat.to_bytes(8, "little") for beat in beats)
    return data + zlib.crc32(data).to_bytes(8, "little")


def header(body_beats: int, engine: EngineConfig = ENGINE, version: int = 1) -> list[int]:
    """The three beats in front of `body_beats` beats of sections."""
    return [int.from_bytes(b"BIVITNET", "little"), version | (body_beats + 1) << 32, engine.fingerprint()]


def refusal(data: bytes, engine: EngineConfig = ENGINE) -> LoadError:
    with pytest.raises(LoadRefused) as refused:
        parse_stream(engine, data)
    assert refused.value.code.name in str(refused.value)
    return refused.value.code


def test_the_bytes_of_a_stream() -> None:
    words = [0xFFFF_0000_1111_2222, 3]
    section = MEMORIES["settings"].id | 5 << 8 | 2 << 32
    assert build_stream(ENGINE, {"settings": {5: words}}) == stream_of(*header(3), section, *words)


def test_a_word_is_split_into_beats_least_significant_first() -> None:
    spec = MEMORIES["preload"]
    word = random.Random(1).getrandbits(spec.width) | 1 << spec.width - 1
    beats = [word >> 64 * i & (1 << 64) - 1 for i in range(spec.beats)]
    assert spec.width % 64
    expected = stream_of(*header(1 + spec.beats), spec.id | 1 << 32, *beats)
    assert build_stream(ENGINE, {"preload": {0: [word]}}) == expected


def test_round_trip_of_every_memory() -> None:
    rng = random.Random(2)
    sections = {
        name: {
            0: [rng.getrandbits(spec.width), (1 << spec.width) - 1],
            spec.depth - 1: [rng.getrandbits(spec.width)],
        }
        for name, spec in MEMORIES.items()
    }
    assert parse_stream(ENGINE, build_stream(ENGINE, sections)) == sections


def test_an_empty_stream_and_an_empty_section_are_right() -> None:
    assert parse_stream(ENGINE, build_stream(ENGINE, {})) == {}
    assert parse_stream(ENGINE, build_stream(ENGINE, {"tables": {7: []}})) == {"tables": {7: []}}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"weight": {0: [1]}}, "there is no memory 'weight'; this engine has settings, slots"),
        ({"settings": {127: [1, 2]}}, "memory settings has words 0 to 127, got 2 from 127"),
        ({"settings": {-1: [1]}}, "got 1 from -1"),
        ({"tables": {3: [0, 1 << 17]}}, "memory tables has words of 17 bits, got 131072 at 4"),
        ({"tables": {3: [-1]}}, "got -1 at 3"),
    ],
)
def test_what_the_writer_refuses(sections: dict[str, dict[int, list[int]]], message: str) -> None:
    with pytest.raises(BivitError, match=message):
        build_stream(ENGINE, sections)


def test_codes_of_refused_streams() -> None:
    settings = MEMORIES["settings"].id
    good = [*header(2), settings | 1 << 32, 7]
    other = FlowMachine(FLOW_ENGINES["latency"])
    assert parse_stream(ENGINE, stream_of(*good)) == {"settings": {0: [7]}}
    assert refusal(stream_of(good[0] ^ 1 << 63, *good[1:])) == LoadError.MAGIC
    assert refusal(stream_of(*header(2, version=2), *good[3:])) == LoadError.VERSION
    assert refusal(stream_of(*header(2, version=1 | 1 << 31), *good[3:])) == LoadError.VERSION
    assert refusal(stream_of(*header(2, engine=other), *good[3:])) == LoadError.ENGINE
    assert refusal(stream_of(*good), other) == LoadError.ENGINE
    assert refusal(stream_of(*header(2), len(MEMORIES) | 1 << 32, 7)) == LoadError.SECTION
    assert refusal(stream_of(*header(2), settings | 128 << 8 | 1 << 32, 7)) == LoadError.SECTION
    assert refusal(stream_of(*header(2), settings | 0xFFFFFF << 8 | 0xFFFFFFFF << 32, 7)) == LoadError.SECTION
    assert refusal(stream_of(*header(1), settings | 129 << 8)) == LoadError.SECTION


@pytest.mark.parametrize("body", [[], [1 << 32], [2 << 32, 7], [2 << 32, 7, 8, 9]], ids=len)
def test_a_length_that_does_not_fit_the_sections(body: list[int]) -> None:
    """Against a length of two beats of sections: a missing one, or a section that goes past it or ends before it."""
    data = stream_of(*header(2), *body)
    assert refusal(data) == LoadError.LENGTH


def test_a_section_past_the_length_is_refused_even_when_the_stream_is_long_enough() -> None:
    assert refusal(stream_of(*header(1), 2 << 32, 7, 8)) == LoadError.LENGTH
    assert refusal(stream_of(*header(2), 2 << 32, 7, 8)) == LoadError.LENGTH


def test_a_length_of_zero() -> None:
    magic, _, fingerprint = header(0)
    assert refusal(stream_of(magic, 1, fingerprint)) == LoadError.LENGTH


def test_every_truncation_is_refused_with_length() -> None:
    data = build_stream(ENGINE, {"settings": {0: [1, 2]}, "residual": {1: [5]}})
    assert {refusal(data[:size]) for size in range(len(data))} == {LoadError.LENGTH}
    assert refusal(data + bytes(8)) == LoadError.LENGTH


def test_every_flipped_bit_is_refused() -> None:
    data = build_stream(ENGINE, {"settings": {0: [1]}, "tables": {2: [3]}})
    codes = []
    for bit in range(8 * len(data)):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        codes.append(refusal(bytes(broken)))
    assert codes[:64] == [LoadError.MAGIC] * 64
    assert codes[-64:] == [LoadError.CRC] * 64
    assert set(codes) == set(LoadError) - {LoadError.NONE}
