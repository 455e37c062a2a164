"""A network in the device's configuration: there without a load stream, back after a reset, never half overwritten."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import pytest
from front import Front, Shape

from bivit.hw.parts.contents import Contents, first_words
from bivit.sim.engine.loadstream import build_stream
from bivit.sim.engine.registers import BY_NAME, ErrorCode

START = BY_NAME["CONTROL"].field("start").mask
BUSY, LOADED = (BY_NAME["STATUS"].field(name).mask for name in ("busy", "loaded"))
SHAPE = Shape(pixel_bytes=1, strip_beats=3, strips=1, classes=3, queue=9)


def reset(front: Front) -> Generator[None, None, None]:
    front.ctx.set(front.reset, 1)
    yield
    front.ctx.set(front.reset, 0)
    yield


def loaded(front: Front) -> Generator[None, None, tuple[bool, int]]:
    """Whether a network is there, and which."""
    status = yield from front.read("STATUS")
    network = yield from front.read("NETWORK")
    return bool(status & LOADED), network


def answers(front: Front) -> Generator[None, None, None]:
    """Run one image; it must be answered as the shape says, in the cycles that it says."""
    frame, before = front.sender.frame, len(front.logits)
    front.sender.silent = False
    yield from front.write("IMAGES", 1)
    yield from front.write("CONTROL", START)
    while (yield from front.read("STATUS")) & BUSY:
        pass
    for _ in range(front.shape.classes + 2):
        yield
    expected = front.shape.answer([byte for beat in front.sender.at(frame).beats for byte in beat])
    assert [value for value, _, _ in front.logits[before:]] == expected


def test_a_network_is_there_without_a_load_stream() -> None:
    front = Front(SHAPE, embedded=True)

    def host() -> Generator[None, None, None]:
        assert (yield from loaded(front)) == (True, 7)
        assert (yield from front.read("LOADS_OK")) == 0
        yield from answers(front)
        yield from reset(front)
        assert (yield from loaded(front)) == (True, 7)

    front.run(host())


def test_a_load_stream_replaces_it_until_the_reset() -> None:
    front = Front(SHAPE, embedded=True)

    def host() -> Generator[None, None, None]:
        yield from front.load(network=8)
        assert (yield from loaded(front)) == (True, 8)
        yield from answers(front)
        yield from reset(front)
        front.sender.silent = True
        assert (yield from loaded(front)) == (True, 7)

    front.run(host())


def test_it_is_gone_after_a_reset_when_its_bank_was_written() -> None:
    front = Front(SHAPE, embedded=True)

    def host() -> Generator[None, None, None]:
        yield from front.load(network=8)
        yield from front.load(network=9)
        assert (yield from loaded(front)) == (True, 9)
        yield from reset(front)
        assert not (yield from loaded(front))[0]
        yield from front.write("IMAGES", 1)
        yield from front.write("CONTROL", START)
        yield
        assert (yield from front.read("ERROR")) == ErrorCode.START_WITHOUT_PROGRAM
        yield from front.load(network=8)
        yield from front.write("STATUS", 0xF)
        yield from answers(front)

    front.run(host())


def test_without_contents_there_is_no_network() -> None:
    front = Front(SHAPE)

    def host() -> Generator[None, None, None]:
        assert (yield from loaded(front)) == (False, 0)

    front.run(host())


def test_words_are_those_that_a_stream_brings() -> None:
    engine = replace(SHAPE.engine, program_words=16)
    memory = engine.load_memories["weights"]
    sections = {"weights": {1: [5, 6], 4: [7]}, "tables": {0: []}}
    assert build_stream(engine, sections)
    contents = Contents.of(engine, sections)
    assert first_words(contents, memory) == [0, 5, 6, 0, 7]
    assert first_words(contents, engine.load_memories["tables"]) == []
    assert first_words(None, memory) == []
    assert first_words(contents, engine.load_memories["settings"]) == []


@pytest.mark.parametrize("name", ["settings", "edge_program"])
def test_a_wrong_word_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: one bit of what is embedded is wrong."""
    front = Front(SHAPE, embedded=True)
    words = front.words()
    words[name][0][0] ^= 1
    monkeypatch.setattr(front, "words", lambda network=7: words)

    def host() -> Generator[None, None, None]:
        for _ in range(60):
            yield
        yield from front.write("IMAGES", 1)
        yield from front.write("CONTROL", START)
        for _ in range(60):
            yield
        done = yield from front.read("DONE")
        expected = front.shape.answer([byte for beat in front.sender.at(0).beats for byte in beat])
        assert (done, [value for value, _, _ in front.logits]) != (1, expected)

    front.run(host())
