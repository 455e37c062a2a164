"""A redesign keeps what it does not mean to change: words, streams, cycles, estimates and Verilog are as they were."""

import json

import pytest

from bivit.sim.flow.presets import FLOW_ENGINES
from frozen import CASES, FILE, VERILOG, frozen_case, frozen_estimate, frozen_verilog

EXPECTED = json.loads(FILE.read_text())


def test_every_case_is_frozen() -> None:
    assert set(EXPECTED["cases"]) == set(CASES)
    assert set(EXPECTED["verilog"]) == set(VERILOG)


@pytest.mark.parametrize("name", CASES)
def test_words_streams_cycles_and_estimates_are_as_they_were(name: str) -> None:
    assert frozen_case(name) == EXPECTED["cases"][name]


@pytest.mark.parametrize("name", FLOW_ENGINES)
def test_estimates_of_resources_are_as_they_were(name: str) -> None:
    assert frozen_estimate(name) == EXPECTED["estimates"][name]


@pytest.mark.slow
@pytest.mark.parametrize("name", VERILOG)
def test_the_verilog_is_as_it_was(name: str) -> None:
    assert frozen_verilog(name) == EXPECTED["verilog"][name]
