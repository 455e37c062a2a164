"""The named engines: files of the folder `engines`."""

import json

import pytest

from bivit.sim.estimate.devices import DEVICES
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.presets import ABOUT, ENGINES_FOLDER, FLOW_ENGINES
from bivit.sim.mapping.layout import check_fits
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import vit_preset


def test_every_file_is_a_named_engine() -> None:
    assert {path.stem for path in ENGINES_FOLDER.iterdir()} == set(FLOW_ENGINES) == set(ABOUT)


@pytest.mark.parametrize("name", FLOW_ENGINES)
def test_an_engine_holds_what_it_is_made_for_in_the_logic_of_its_device(name: str) -> None:
    about, flow = ABOUT[name], FLOW_ENGINES[name]
    assert about.networks
    for network in about.networks:
        check_fits(vit_preset(network), Formats(), flow)
    if about.target is not None:
        assert flow.engine.fabric == DEVICES[about.target].fabric


@pytest.mark.parametrize("name", FLOW_ENGINES)
def test_a_file_says_every_field(name: str) -> None:
    """So that a default that changes changes no engine."""
    values = json.loads((ENGINES_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    del values["about"]
    assert values == json.loads(json.dumps(FlowMachine(FLOW_ENGINES[name]).to_dict()))
