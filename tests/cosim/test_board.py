"""A host on the serial pins of a simulated board: images, long frames, numbers, faults and resets."""

import random

import numpy as np
import pytest
from link_campaign import LONG_PATIENCE_S, bench, inject
from noise import KINDS, Fault

from bivit.cosim import board
from bivit.host.operations import read, write
from bivit.sim import BivitError


@pytest.mark.slow
def test_a_bench_that_nobody_calls_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for its connection for ever, and whoever began it for its end."""

    def fails(number: int) -> None:
        raise RuntimeError("no host")

    monkeypatch.setattr(board, "SimulatedBoard", fails)
    with pytest.raises(RuntimeError, match="no host"), bench(8):
        pass


@pytest.mark.slow
def test_a_host_classifies_on_a_simulated_board_whatever_the_line_does() -> None:
    with bench(8, patience_s=LONG_PATIENCE_S) as one:
        assert np.array_equal(one.engine.classify(one.images), one.logits)
        assert one.engine.traffic.repeated == 0
        session = one.engine._session

        # The longest frame, of what has to be escaped; more answers than there is room for; numbers go around.
        assert session.exchange(write("IMAGES", 0x7E7D7E7D) * 144 + read("IMAGES")) == bytes.fromhex("7d7e7d7e")
        with pytest.raises(BivitError, match="refused an operation"):
            session.exchange(read("IMAGES") * 256)
        for _ in range(260):
            assert session.exchange(b"") == b""

        one.again()
        rng, outcomes = random.Random(2), set()
        for number in range(12):
            kind = (*KINDS, "reset")[number % 5]
            outcomes.add(inject(one, Fault(kind, bool(rng.getrandbits(1)), rng.randrange(120))))
        assert "wrong" not in outcomes
        assert "repaired" in outcomes
