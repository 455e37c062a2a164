"""The engine that is taken where none is named, and names that are nearly right."""

import re
from dataclasses import replace

import pytest

from bivit.sim.engine.presets import ENGINES
from bivit.sim.errors import BivitError, near
from bivit.sim.estimate.choice import smallest_engine
from bivit.sim.estimate.devices import ALIASES, DEVICES, device
from bivit.sim.estimate.resources import estimate_resources
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import PRESETS, preset, vit_preset
from bivit.sim.program.compiler import compile_program


@pytest.mark.parametrize("name", ["digits", "fashion_cls", "deit_tiny", "deit_small"])
@pytest.mark.parametrize("target", [None, "zu9eg", "lfe5u-25f"])
def test_the_smallest_engine_that_holds_and_fits_is_taken(name: str, target: str | None) -> None:
    config, found = vit_preset(name), None if target is None else device(target)
    holding = []
    for engine_name, engine in sorted(ENGINES.items(), key=lambda item: item[1].rows * item[1].columns):
        try:
            compile_program(config, Formats(), engine)
        except BivitError:
            continue
        holding.append(engine_name)
    if not holding:
        with pytest.raises(BivitError, match="no shipped engine holds this network"):
            smallest_engine(config, Formats(), found)
        return
    suited = {one: ENGINES[one] if found is None else replace(ENGINES[one], fabric=found.fabric) for one in holding}
    fitting = [one for one in holding if found is None or estimate_resources(suited[one], found).fits]
    choice = smallest_engine(config, Formats(), found)
    assert choice.engine == suited[choice.name]
    assert choice.name == (fitting or holding)[0]
    assert bool(choice.warning) == (not fitting)
    if found is not None and not fitting:
        assert found.part in choice.warning
        assert choice.name in choice.warning
        assert re.search(r"(LUT|FF|DSP|BRAM) \d+ %", choice.warning)


@pytest.mark.parametrize("name", ["deit_small", "deit_base"])
def test_the_message_says_an_engine_that_holds_the_network(name: str) -> None:
    with pytest.raises(BivitError, match=r"embed_dim at most 192 .*num_heads at most 3 ") as raised:
        smallest_engine(vit_preset(name), Formats())
    base = re.search(r"--engine (\w+)", str(raised.value))
    fields = re.search(r"set (.*), and give", str(raised.value))
    assert base
    assert fields
    values = {key: int(value) for key, value in (field.split() for field in fields[1].split(", "))}
    compile_program(vit_preset(name), Formats(), replace(ENGINES[base[1]], **values))
    with pytest.raises(BivitError):  # each of them is needed
        compile_program(vit_preset(name), Formats(), replace(ENGINES[base[1]], **values | {"program_words": 1024}))


def test_swin_has_no_engine() -> None:
    with pytest.raises(BivitError, match="`bivit run` runs every family"):
        smallest_engine(preset("swin_tiny"), Formats())


def test_other_number_formats_have_no_shipped_engine() -> None:
    with pytest.raises(BivitError, match="number formats"):
        smallest_engine(preset("digits"), replace(Formats(), theta_bits=Formats().theta_bits - 1))


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
