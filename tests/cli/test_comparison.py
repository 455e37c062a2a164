"""docs/comparison.md: what the data and the estimates say, with the kind and the source of every number."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from bivit.cli.pages.accelerators import RIVALS, Accelerator, Number, kept, ours, rivals, sought
from bivit.cli.pages.comparison import COMPARISON_PAGE, KNOWN, MEASURES, render
from bivit.sim.errors import BivitError
from bivit.sim.estimate.devices import device
from bivit.sim.estimate.resources import estimate_resources
from bivit.sim.flow.presets import FLOW_ENGINES, engine_from_dict
from bivit.sim.mapping.loads import loads_of
from bivit.sim.network.presets import vit_preset


def test_the_page_in_the_docs_is_what_data_and_estimates_say() -> None:
    assert COMPARISON_PAGE.read_text(encoding="utf-8") == render([*ours(), *rivals()])


def test_every_number_has_a_kind_and_a_source() -> None:
    names = Counter((one.name, one.device, one.work, one.bits) for one in rivals())
    assert set(names.values()) == {1}
    assert {"HG-PIPE", "COBRA", "BETA", "Auto-ViT-Acc", "VAQF", "FINN, TinyDeiT example"} <= {
        name for name, *_ in names
    }
    for one in rivals():
        assert set(one.numbers) <= set(MEASURES)
        for number in one.numbers.values():
            assert number.kind in KNOWN
            assert number.source
            assert (number.value is None) == (number.kind == "unknown")
            assert number.value is None or number.value > 0


def test_what_is_derived_is_its_arithmetic() -> None:
    """Of the quotient that its source states, with the value that it gives."""
    checked = 0
    for number in (number for one in rivals() for number in one.numbers.values() if number.kind == "derived"):
        quotient = re.match(r"([\d,.]+) GOPS / ([\d.]+) kLUT", number.source)
        if quotient:
            gops, luts = (float(text.replace(",", "")) for text in quotient.groups())
            assert number.value == pytest.approx(gops / luts, rel=2e-3)
            checked += 1
    (pipe,) = [one for one in rivals() if (one.name, one.device) == ("HG-PIPE", "VCK190")]
    assert pipe.numbers["utilisation_percent"].value == pytest.approx(100 * 7118 * 57_624 / 425e6, rel=1e-3)
    assert checked == 4


def test_what_is_not_comparable_comes_first_and_nothing_is_unlabelled() -> None:
    page = COMPARISON_PAGE.read_text(encoding="utf-8")
    heads = re.findall(r"^## (.*)$", page, re.M)
    assert heads[:2] == ["What is not comparable", "How numbers are known"]
    rows = [line.strip("| ").split(" | ") for line in page.partition("## DeiT-Tiny")[2].splitlines() if "| " in line]
    rows = [row for row in rows if row[0] not in ("accelerator", "---")]
    assert len(rows) > 50
    for *_, number, kind, source in rows:
        assert kind in KNOWN or kind.startswith("ours, ")
        assert (number == "unknown") == (kind == "unknown")
        assert source.startswith("`bivit ") == kind.startswith("ours, ")


def test_our_numbers_hang_together() -> None:
    for one in ours():
        values = {name: number.value for name, number in one.numbers.items()}
        assert None not in values.values()
        assert values["gops_per_klut"] == pytest.approx(values["gops"] / values["luts"] * 1000)
        assert 0 < values["utilisation_percent"] < 100
        assert 1 < values["luts_per_mac"] < 2
        assert 0 < int(re.search(r", (\d+) % full", one.device)[1]) <= 100


def test_an_unknown_number_is_shown_as_such_and_a_changed_one_changes_its_row() -> None:
    one = Accelerator("a", "b", "DeiT-Tiny", "W1A1", {"images_per_s": Number(2.5, "quoted", "c")})
    assert "| a | b | W1A1 | 2.5 | quoted | c |" in render([one])
    unknown = replace(one, numbers={"images_per_s": Number(None, "unknown", "c")})
    assert "| a | b | W1A1 | unknown | unknown | c |" in render([unknown])


def test_a_number_without_a_source_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = json.loads(RIVALS.read_text(encoding="utf-8"))
    del values[0]["numbers"]["gops"]["source"]
    (tmp_path / "rivals.json").write_text(json.dumps(values))
    monkeypatch.setattr("bivit.cli.pages.accelerators.RIVALS", tmp_path / "rivals.json")
    with pytest.raises(BivitError, match=r"gops of rivals.json, HG-PIPE is incomplete: it lacks source"):
        rivals()


def test_engines_that_were_found_still_fit_and_are_not_faster_than_their_loads() -> None:
    for one in kept():
        flow = engine_from_dict(one.engine)
        assert loads_of(vit_preset(one.net), flow).bound <= one.interval_cycles
        assert estimate_resources(flow, device(one.target)).fits
        assert one.command == f"bivit explore {one.net} --target {one.target}"


@pytest.mark.slow
def test_a_search_finds_what_is_kept() -> None:
    one = kept()[0]
    again = sought(one.net, one.target)
    assert (again.interval_cycles, engine_from_dict(json.loads(json.dumps(again.engine)))) == (
        one.interval_cycles,
        engine_from_dict(one.engine),
    )


def test_deit_base_fits_a_zcu102_with_all_that_is_large_in_its_memory() -> None:
    """As the page says of devices that differ."""
    flow = FLOW_ENGINES["base_zcu102"]
    assert estimate_resources(flow, "zu9eg").fits
    assert not estimate_resources(replace(flow, edge_weights="resident", patch_weights="resident"), "zu9eg").fits
