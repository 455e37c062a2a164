"""The board's end of the link against bytes: what is done, done once, repaired or refused."""

import random

import pytest
from link_bench import LinkBench

from bivit.host.frames import Answer, request
from bivit.host.operations import Logit, beats, logits, operation, read, write
from bivit.sim.engine.link import LINK_VERSION, Operation, Status
from bivit.sim.engine.registers import BY_NAME

IMAGES = BY_NAME["IMAGES"].offset
OPEN = request(0, operation(Operation.IDENTIFY))
OPENED = Answer(0, Status.DONE, bytes([LINK_VERSION]))


def test_registers_are_written_and_read() -> None:
    bench = LinkBench()
    asked = write("IMAGES", 0x7E7D1234) + read("IMAGES") + write("CONTROL", 1)
    assert bench.play(OPEN, request(1, asked)) == [OPENED, Answer(1, Status.DONE, (0x7E7D1234).to_bytes(4, "little"))]
    assert bench.registers == {IMAGES: 0x7E7D1234, BY_NAME["CONTROL"].offset: 1}


@pytest.mark.parametrize("pixel_bytes", [2, 16])
def test_beats_and_logits(pixel_bytes: int) -> None:
    bench = LinkBench([(-5, 64 + 3, 0), (1 << 30, 64 + 3, 1)], pixel_bytes=pixel_bytes)
    stream = bytes(range(100, 132))
    asked = beats(Operation.LOAD, stream[:16], 8, last=True) + beats(Operation.PIXELS, stream, pixel_bytes, last=False)
    answers = bench.play(OPEN, request(1, asked), request(2, operation(Operation.LOGITS, 3)))
    assert answers[1] == Answer(1, Status.DONE, b"")
    assert bench.beats["load"] == [
        (int.from_bytes(stream[:8], "little"), 0),
        (int.from_bytes(stream[8:16], "little"), 1),
    ]
    pixels = [stream[at : at + pixel_bytes] for at in range(0, len(stream), pixel_bytes)]
    assert bench.beats["pixels"] == [(int.from_bytes(beat, "little"), 0) for beat in pixels]
    assert answers[2] is not None
    assert list(logits(answers[2].answers)) == [Logit(3, False, -5), Logit(3, True, 1 << 30)]
    assert len(answers[2].answers) == 11


def test_a_frame_that_comes_again_is_answered_and_not_done_again() -> None:
    bench = LinkBench([(7, 0, 1), (8, 1, 1)])
    frame = request(1, beats(Operation.PIXELS, b"\x05", 1, last=True) + operation(Operation.LOGITS, 1))
    answers = bench.play(OPEN, frame, frame, frame)
    assert answers[1:] == [answers[1]] * 3
    assert bench.beats["pixels"] == [(5, 1)]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request(2, write("IMAGES", 1)), Status.UNEXPECTED),
        (request(255, write("IMAGES", 1)), Status.UNEXPECTED),
        (request(1, bytes([99, 0, 0])), Status.REFUSED),
        (request(1, write("IMAGES", 1)[:-1]), Status.REFUSED),
        (request(1, write("ID", 1)), Status.REFUSED),
    ],
)
def test_what_is_not_done(sent: bytes, status: Status) -> None:
    bench = LinkBench()
    _, answer = bench.play(OPEN, sent)
    assert answer is not None
    assert answer.status == status
    assert IMAGES not in bench.registers


def test_nothing_is_done_before_a_session_is_open() -> None:
    bench = LinkBench()
    assert bench.play(request(1, write("IMAGES", 1))) == [Answer(0, Status.UNEXPECTED, b"")]
    assert bench.registers == {}


def test_what_comes_while_a_frame_is_worked_on_is_not_heard() -> None:
    bench = LinkBench(takes_pixels=False, patience=1000, allowed=[("pixels_t", "WITHDRAWN")])
    waits = request(1, beats(Operation.PIXELS, b"1", 1, last=True))
    answers = bench.play(OPEN, waits + waits, waits)
    assert answers[1:] == [Answer(1, Status.STALLED, b"")] * 2
    assert bench.resets == 1


def test_damage_of_every_kind_is_found_and_repaired() -> None:
    """A flipped bit, a lost byte, a doubled one, a cut: nothing of the frame is done, and the next try is."""
    rng = random.Random(1)
    whole = request(1, write("IMAGES", 77) + beats(Operation.PIXELS, bytes(range(120, 130)), 1, last=True))
    broken = []
    for at in range(len(whole)):
        broken.append(whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :])
        broken.append(whole[:at] + whole[at + 1 :])
        broken.append(whole[: at + 1] + whole[at:])
        broken.append(whole[:at])
    for one in rng.sample(broken, 8):
        bench = LinkBench()
        answers = bench.play(OPEN, one, whole, whole)  # the first flag of one may end what came before
        assert answers[-1] == Answer(1, Status.DONE, b""), one
        assert {answer and answer.status for answer in answers[:-1]} <= {Status.DONE, Status.DAMAGED}, one
        assert bench.beats["pixels"] == [(k, k == 129) for k in range(120, 130)], one


def test_an_engine_that_stalls_is_reset_and_the_host_is_told() -> None:
    bench = LinkBench(takes_pixels=False, allowed=[("pixels_t", "WITHDRAWN")])  # to an engine that is reset
    answers = bench.play(
        OPEN, request(1, beats(Operation.PIXELS, b"12", 1, last=True) + write("IMAGES", 1)), request(2, b"")
    )
    assert [answer and answer.status for answer in answers] == [Status.DONE, Status.STALLED, Status.DONE]
    assert bench.resets == 1
    assert bench.registers == {}


def test_a_reset_of_the_engine_is_done_where_it_stands() -> None:
    bench = LinkBench()
    bench.play(OPEN, request(1, write("IMAGES", 1) + operation(Operation.RESET) + write("IMAGES", 2)))
    assert bench.resets == 1
    assert bench.registers == {IMAGES: 2}
