"""The engine that is taken where none is named, and names that are nearly right."""

import re
from contextlib import suppress
from dataclasses import replace

import pytest

from bivit.sim.errors import BivitError, near
from bivit.sim.estimate.choice import DEFAULT, suited_engine
from bivit.sim.estimate.devices import ALIASES, DEVICES, device
from bivit.sim.estimate.resources import estimate_resources
from bivit.sim.flow.presets import ABOUT, FLOW_ENGINES
from bivit.sim.mapping.compiled import check_runs
from bivit.sim.mapping.layout import check_fits
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import PRESETS, preset, vit_preset


@pytest.mark.parametrize("name", ["digits", "fashion_cls", "deit_tiny", "deit_small"])
@pytest.mark.parametrize("target", [None, "zu9eg", "lfe5u-25f"])
def test_the_suited_engine_that_holds_and_fits_is_taken(name: str, target: str | None) -> None:
    config, found = vit_preset(name), None if target is None else device(target)
    holding = []
    macs = {one: flow.engine.rows * flow.engine.columns for one, flow in FLOW_ENGINES.items()}
    plain = [one for one, flow in FLOW_ENGINES.items() if flow.windows is None]
    for one in sorted(plain, key=lambda one: macs[one]):
        with suppress(BivitError):
            check_fits(config, Formats(), FLOW_ENGINES[one])
            holding.append(one)
    suited = {one: FLOW_ENGINES[one] for one in holding}
    if found is not None:
        suited = {one: flow.in_fabric(found.fabric) for one, flow in suited.items()}
    fitting = [one for one in holding if found is None or estimate_resources(suited[one], found).fits is not False]
    made = [one for one in reversed(fitting) if found is not None and ABOUT[one].target == found.name]
    named = [DEFAULT] if found is None and DEFAULT in holding else []
    choice = suited_engine(config, Formats(), found)
    assert choice.flow == suited[choice.name]
    assert choice.name == (named or made or fitting or holding)[0]
    assert bool(choice.warning) == (not fitting)
    if found is not None and not fitting:
        assert found.part in choice.warning
        assert choice.name in choice.warning
        assert re.search(r"(LUT|FF|DSP|BRAM) \d+ %", choice.warning)


def test_the_message_says_an_engine_that_holds_the_network() -> None:
    config = replace(vit_preset("deit_base"), embed_dim=1024, num_heads=16)
    with pytest.raises(BivitError, match=r"embed_dim at most 384 .*num_heads at most 6 ") as raised:
        suited_engine(config, Formats())
    base = re.search(r"--engine (\w+)", str(raised.value))
    fields = re.search(r"set (.*) in `engine`, and give", str(raised.value))
    assert base
    assert fields
    values = {key: int(value) for key, value in (field.split() for field in fields[1].split(", "))}
    flow = FLOW_ENGINES[base[1]]
    check_fits(config, Formats(), replace(flow, engine=replace(flow.engine, **values)))


def test_a_swin_gets_an_engine_with_windows() -> None:
    assert suited_engine(preset("swin_fashion"), Formats()).name == "swin"
    assert suited_engine(preset("swin_tiny"), Formats()).name == "swin"
    choice = suited_engine(preset("swin_tiny"), Formats(), device("zcu102"))
    fits = estimate_resources(FLOW_ENGINES["swin_zcu102"], "zu9eg").fits
    assert (choice.name, bool(choice.warning)) == (("swin", True) if fits is False else ("swin_zcu102", False))


def test_the_message_says_an_engine_that_holds_a_larger_swin() -> None:
    larger = replace(preset("swin_tiny"), depths=(2, 2, 24, 2), num_classes=1001)
    with pytest.raises(BivitError, match="no named engine holds this network") as raised:
        suited_engine(larger, Formats())
    base, fields, windows = re.search(  # type: ignore[union-attr]
        r"--engine (\w+) .*set (.*) in `engine` and (.*) in `windows`, and give", str(raised.value)
    ).groups()
    flow = FLOW_ENGINES[base]
    assert flow.windows is not None
    raised_fields, raised_windows = (
        {key: int(value) for key, value in (field.split() for field in said.split(", "))} for said in (fields, windows)
    )
    fitting = replace(
        flow, engine=replace(flow.engine, **raised_fields), windows=replace(flow.windows, **raised_windows)
    )
    check_runs(larger, Formats(), fitting)
    assert flow.streamed != ("weight_words" in raised_windows)
    raised_windows.pop("preload_words")
    with pytest.raises(BivitError, match=r"windows\.preload_words is "):
        check_runs(larger, Formats(), replace(fitting, windows=replace(flow.windows, **raised_windows)))


def test_other_number_formats_have_no_named_engine() -> None:
    with pytest.raises(BivitError, match="number formats"):
        suited_engine(preset("digits"), replace(Formats(), theta_bits=Formats().theta_bits - 1))


@pytest.mark.parametrize("name", [*DEVICES, *ALIASES])
def test_devices_are_found_in_any_spelling(name: str) -> None:
    found = device(name)
    for spelling in (name.upper(), name.capitalize(), f" {name} ", name.replace("-", " "), name.replace("-", "_")):
        assert device(spelling) is found


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("deit_tinny", "deit_tiny"), ("DeiT-Small", "deit_small"), ("deit", "deit_tiny"), ("swin-tny", "swin_tiny")],
)
def test_a_nearly_right_preset_is_suggested(wrong: str, right: str) -> None:
    with pytest.raises(BivitError, match=rf"there is no preset .*allowed are .*; did you mean {right}\?"):
        preset(wrong)


def test_nothing_is_suggested_for_something_else() -> None:
    assert near("resnet", PRESETS) == ""
    with pytest.raises(BivitError, match=r"zcu112.*did you mean zcu102\?"):
        device("zcu112")
