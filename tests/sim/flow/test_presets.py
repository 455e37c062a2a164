"""The named engines: files of the folder `engines`."""

import json
from dataclasses import replace

import pytest

from bivit.sim.estimate.devices import DEVICES
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.presets import ABOUT, ENGINES_FOLDER, FLOW_ENGINES
from bivit.sim.mapping.compiled import check_runs
from bivit.sim.mapping.pass_limits import windows_needs, with_windows
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import preset


def test_every_file_is_a_named_engine() -> None:
    assert {path.stem for path in ENGINES_FOLDER.iterdir()} == set(FLOW_ENGINES) == set(ABOUT)


@pytest.mark.parametrize("name", FLOW_ENGINES)
def test_an_engine_holds_what_it_is_made_for_in_the_logic_of_its_device(name: str) -> None:
    about, flow = ABOUT[name], FLOW_ENGINES[name]
    assert about.networks
    for network in about.networks:
        check_runs(preset(network), Formats(), flow)
    if about.target is not None:
        assert flow.engine.fabric == DEVICES[about.target].fabric


@pytest.mark.parametrize("name", FLOW_ENGINES)
def test_a_file_says_every_field(name: str) -> None:
    """So that a default that changes changes no engine."""
    values = json.loads((ENGINES_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    del values["about"]
    assert values == json.loads(json.dumps(FlowMachine(FLOW_ENGINES[name]).to_dict()))


@pytest.mark.parametrize("name", [name for name, flow in FLOW_ENGINES.items() if flow.windows])
def test_limits_of_windows_are_what_the_networks_need(name: str) -> None:
    flow = FLOW_ENGINES[name]
    assert flow.windows is not None
    needed = with_windows(flow, *(preset(net) for net in ABOUT[name].networks), images=flow.windows.images)
    assert needed.windows is not None
    # A ring may be shorter than what is usual, but no part may be too large for it.
    least = max(windows_needs(preset(net), flow)["ring_words"] for net in ABOUT[name].networks)
    assert least <= flow.windows.ring_words
    assert replace(flow, windows=replace(flow.windows, ring_words=needed.windows.ring_words)) == needed
