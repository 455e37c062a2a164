import pytest

from bivit.sim.errors import BivitError
from bivit.sim.estimate.devices import ALIASES, DEVICES, device

REQUIRED = {"lfe5u-25f", "lfe5u-45f", "lfe5u-85f", "xc7a100t", "xc7z020", "zu3eg", "zu9eg", "k26", "xcvc1902"}


def test_the_devices_of_the_readme_are_there() -> None:
    assert set(DEVICES) == REQUIRED
    assert all(DEVICES[name].name == name for name in DEVICES)
    assert set(ALIASES.values()) <= set(DEVICES)
    assert set(ALIASES).isdisjoint(DEVICES)


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_numbers_are_those_of_the_architecture(name: str) -> None:
    found = DEVICES[name]
    assert found.lut_inputs == (4 if found.architecture == "ECP5" else 6)
    assert found.family == ("lut4" if found.architecture == "ECP5" else "lut6")
    assert found.bram_kbits == (18 if found.architecture == "ECP5" else 36)
    # A LUT has one flip-flop on ECP5, two on the others.
    assert found.ffs == (found.luts if found.architecture == "ECP5" else 2 * found.luts)
    assert min(found.luts, found.ffs, found.dsps, found.brams) > 0
    assert found.clock_kind == "assumed"
    assert 50 <= found.clock_mhz <= 400
    assert found.source


def test_block_memory_adds_up_to_the_data_sheets_megabits() -> None:
    megabits = {name: found.brams * found.bram_kbits / 1024 for name, found in DEVICES.items()}
    assert round(megabits["zu9eg"], 1) == 32.1
    assert round(megabits["zu3eg"], 1) == 7.6
    assert round(megabits["k26"], 1) == 5.1
    assert round(megabits["xcvc1902"]) == 34
    assert DEVICES["lfe5u-85f"].brams * DEVICES["lfe5u-85f"].bram_kbits == 3744
    assert DEVICES["xc7a100t"].brams * DEVICES["xc7a100t"].bram_kbits == 4860


def test_boards_are_other_names_of_devices() -> None:
    assert device("zcu102") is DEVICES["zu9eg"]
    assert device(" KV260 ") is DEVICES["k26"]
    assert device("LFE5U-85F") is DEVICES["lfe5u-85f"]


def test_an_unknown_device_is_refused_with_the_names() -> None:
    with pytest.raises(BivitError, match=r"no device 'zu99'.*lfe5u-25f.*zcu102"):
        device("zu99")
