"""Commands and who takes them: one unit a command, no more and no less."""

from types import SimpleNamespace

import pytest

from bivit.hw.datapath import Datapath
from bivit.hw.engine import Engine
from bivit.hw.parts.stream import takers
from bivit.hw.units.logits import Logits
from bivit.sim.engine.commands import ISSUED, Attention, Table
from bivit.sim.engine.presets import ENGINES
from bivit.sim.errors import BivitError


def test_every_command_has_one_unit() -> None:
    engine = ENGINES["digits"]
    datapath = Datapath(engine)
    assert set(takers(Datapath.commands, datapath.units)) == set(Datapath.commands)
    assert set(takers(ISSUED, {"datapath": datapath, "logits": Logits(engine)})) == set(ISSUED)


def test_a_command_that_nobody_or_two_carry_out_is_refused() -> None:
    both = SimpleNamespace(commands=(Attention, Table))
    with pytest.raises(BivitError, match=r"the command table must have one unit that carries it out, got none"):
        takers([Attention, Table], {"attention": SimpleNamespace(commands=(Attention,)), "memory": object()})
    with pytest.raises(BivitError, match=r"the command attention .* got one, two"):
        takers([Attention], {"one": both, "two": both})


def test_an_engine_with_a_unit_too_few_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Logits, "commands", ())
    with pytest.raises(BivitError, match="the command output must have one unit"):
        Engine(ENGINES["digits"]).elaborate(None)
