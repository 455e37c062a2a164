from dataclasses import replace

import pytest

from bivit.sim.engine.pipeline import SHARED_PRODUCT
from bivit.sim.errors import BivitError
from bivit.sim.estimate.clocks import CLOCKS, Clock
from bivit.sim.estimate.devices import ALIASES, DEVICES, device
from bivit.sim.estimate.resources import dsp_blocks, estimate_resources
from bivit.sim.flow.presets import FLOW_ENGINES

ECP5 = {"lfe5u-12f", "lfe5u-25f", "lfe5u-45f", "lfe5u-85f"}
SERIES_7 = {"xc7a35t", "xc7a100t", "xc7a200t", "xc7z020"}
REQUIRED = ECP5 | SERIES_7 | {"zu3eg", "zu7ev", "zu9eg", "k26", "xcvc1902", "xcu50", "xcu250"}
#: Parts that nothing is estimated for.
OTHERS = {"lifcl-40", "gw2a-18", "gw5a-25", "gw5ast-138", "ice40up5k", "ccgm1a1"}


def test_the_devices_of_the_readme_are_there() -> None:
    assert set(DEVICES) == REQUIRED | OTHERS
    assert all(DEVICES[name].name == name for name in DEVICES)
    assert set(ALIASES.values()) <= set(DEVICES)
    assert set(ALIASES).isdisjoint(DEVICES)


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_numbers_are_those_of_the_architecture(name: str) -> None:
    found = DEVICES[name]
    assert found.lut_inputs == (4 if found.architecture == "ECP5" else 6)
    assert found.family == ("ecp5" if name in ECP5 else "xc7" if name in SERIES_7 else "xcup")
    assert found.fabric == ("lut4" if found.architecture == "ECP5" else "lut6")
    assert found.bram_kbits == (18 if found.architecture == "ECP5" else 36)
    # A LUT has one flip-flop on ECP5, two on the others.
    assert found.ffs == (found.luts if found.architecture == "ECP5" else 2 * found.luts)
    assert min(found.luts, found.ffs, found.dsps, found.brams) > 0
    assert found.source


@pytest.mark.parametrize("name", sorted(REQUIRED | OTHERS))
def test_every_clock_says_how_it_is_known(name: str) -> None:
    found = DEVICES[name]
    measured = CLOCKS.get(found.family or "")
    if measured is not None and found.architecture != "Versal":
        assert found.clock_mhz == measured.mhz
        assert f"{measured.kind} is {measured.source}" in found.clock.source
    assert found.clock_kind == "assumed"  # of an engine that nobody has placed
    assert 20 <= found.clock_mhz <= 400
    assert found.clock.source


def test_a_measured_clock_takes_the_place_of_the_assumed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Clock(61.5, "placed", "the slowest unit")
    monkeypatch.setitem(CLOCKS, "ecp5", measured)
    monkeypatch.setitem(CLOCKS, "xcup", replace(measured, kind="modelled"))
    assert {DEVICES[name].clock_mhz for name in (*ECP5, "zu9eg")} == {61.5}
    assert DEVICES["lfe5u-85f"].clock.source == "placed is the slowest unit; no other engine is"
    assert DEVICES["zu9eg"].clock.source.startswith("modelled is")
    assert DEVICES["xcvc1902"].clock_mhz != 61.5  # estimated as UltraScale+, which it is not


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_nothing_is_estimated_for_parts_without_constants(name: str) -> None:
    report = estimate_resources(FLOW_ENGINES["sim"], name)
    assert {row.value for row in report.rows} == {None}
    assert all(DEVICES[name].architecture in row.source for row in report.rows)
    assert report.fits is None


def test_block_memory_adds_up_to_the_data_sheets_megabits() -> None:
    megabits = {name: found.brams * found.bram_kbits / 1024 for name, found in DEVICES.items()}
    assert round(megabits["zu9eg"], 1) == 32.1
    assert round(megabits["zu3eg"], 1) == 7.6
    assert round(megabits["k26"], 1) == 5.1
    assert round(megabits["xcvc1902"]) == 34
    assert DEVICES["lfe5u-85f"].brams * DEVICES["lfe5u-85f"].bram_kbits == 3744
    assert DEVICES["xc7a100t"].brams * DEVICES["xc7a100t"].bram_kbits == 4860
    assert DEVICES["xc7a35t"].brams * DEVICES["xc7a35t"].bram_kbits == 1800
    assert DEVICES["xc7a200t"].brams * DEVICES["xc7a200t"].bram_kbits == 13140
    assert round(megabits["zu7ev"], 1) == 11.0


def test_boards_are_other_names_of_devices() -> None:
    assert device("zcu102") is DEVICES["zu9eg"]
    assert device(" KV260 ") is device("Kria") is DEVICES["k26"]
    assert device("ULX3S") is DEVICES["lfe5u-85f"]
    assert device("Colorlight i9") is DEVICES["lfe5u-45f"]
    assert device("Arty A7-35") is DEVICES["xc7a35t"]
    assert device("LFE5U-85F") is DEVICES["lfe5u-85f"]


def test_an_unknown_device_is_refused_with_the_names() -> None:
    with pytest.raises(BivitError, match=r"no device 'zu99'.*lfe5u-25f.*zcu102"):
        device("zu99")


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_two_products_share_a_block_of_every_device_whose_fabric_may_say_so(name: str) -> None:
    """`FlowConfig` asks the fabric, which stands for its devices."""
    found = device(name)
    assert (dsp_blocks(SHARED_PRODUCT, found.dsp_bits) == 1) == (found.fabric == "lut6")
