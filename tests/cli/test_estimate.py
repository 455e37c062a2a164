"""`bivit estimate`: cycles, resources and whether an engine fits, of named engines and files."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from program import assert_refused, invoke

from bivit.sim.estimate.devices import device
from bivit.sim.estimate.resources import estimate_resources
from bivit.sim.estimate.units import FOOTPRINTS
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.presets import FLOW_ENGINES
from bivit.sim.flow.streams import TileShape
from bivit.sim.mapping.cycles import long_run_cycles, useful_macs
from bivit.sim.mapping.program import flow_cycles
from bivit.sim.mapping.shipped import table_of
from bivit.sim.network.presets import vit_preset

SIM = FLOW_ENGINES["sim"]


def in_fabric(flow: FlowConfig, fabric: Literal["lut6", "lut4"]) -> FlowConfig:
    return replace(flow, engine=replace(flow.engine, fabric=fabric))


def estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[dict[str, Any], str]:
    done = invoke("estimate", *arguments, "--json", cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_cycles_speed_and_resources_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = estimated(tmp_path, monkeypatch, "digits", "--engine", "sim", "--clock-mhz", "100")
    config = vit_preset("digits")
    table = table_of(config, SIM)
    assert result["cycles"] == flow_cycles(config, SIM, table, 1).total
    interval = long_run_cycles(config, SIM, table)
    assert interval is not None
    assert result["interval_cycles"] == round(interval)
    assert result["images_per_s"] == pytest.approx(100e6 / interval)
    assert result["array_utilisation"] == pytest.approx(useful_macs(config) / (interval * 4 * 16 * 64))
    assert result["array_utilisation"] <= result["packing"] == TileShape(config, 4, 16).packing
    assert (result["binds"], result["loads"]["array"]) == ("array", 1.0)
    assert list(result["loads"].values()) == sorted(result["loads"].values(), reverse=True)
    report = estimate_resources(SIM, "zcu102")
    assert [row["resource"] for row in result["resources"]] == ["LUT", "FF", "DSP", "BRAM"]
    assert [row["used"] for row in result["resources"]] == [report.total_of(name) for name in report.quantities]
    assert [row["unit"] for row in result["units"]] == list(FOOTPRINTS)
    assert result["fits"] is report.fits is True
    # The same from a file.
    (tmp_path / "flow.json").write_text(json.dumps(asdict(SIM)))
    of_file, _ = estimated(tmp_path, monkeypatch, "digits", "--engine", "flow.json", "--clock", "100")
    assert of_file == {**result, "engine": "flow.json"}
    # And from a folder, as `bivit explore --out` writes it.
    (tmp_path / "made").mkdir()
    (tmp_path / "flow.json").rename(tmp_path / "made/engine.json")
    of_folder, said = estimated(tmp_path, monkeypatch, "digits", "--engine", "made", "--clock", "100")
    assert of_folder == {**result, "engine": "made"}
    assert "bivit explore" not in said


def test_an_engine_that_nobody_named_can_be_sized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, said = estimated(tmp_path, monkeypatch, "digits", "--target", "u250")
    assert result["engine"] == "digits"
    assert "`bivit explore digits --target u250` sizes one" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("",), "net must not be empty; give a value"),
        (("digits", "--target", ""), "--target must not be empty; give a value, or leave it out"),
        (("digits", "--engine", " "), "--engine must not be empty; give a value, or leave it out"),
    ],
)
def test_empty_texts_are_refused(
    arguments: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_refused(invoke("estimate", *arguments, cwd=tmp_path, monkeypatch=monkeypatch), says)


def test_ultra_ram_is_told_of_a_device_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_it, without = (
        estimated(tmp_path, monkeypatch, "digits", "--engine", "sim", "--target", name)[0]
        for name in ("kv260", "zcu102")
    )
    units = {row["unit"]: row["urams"] for row in with_it["units"]}
    (row,) = [row for row in with_it["resources"] if row["resource"] == "URAM"]
    assert row["used"] == sum(units.values()) > units["weights"] > 0
    assert (row["available"], row["share"]) == (64, row["used"] / 64)
    assert all("urams" not in row for row in without["units"])


def test_an_engine_is_estimated_in_the_logic_of_the_device_unless_its_file_says_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def luts(fabric: Literal["lut6", "lut4"]) -> float | None:
        return estimate_resources(in_fabric(SIM, fabric), "ulx3s").total_of("luts")

    found, said = estimated(tmp_path, monkeypatch, "digits", "--engine", "sim", "--target", "ulx3s")
    assert found["resources"][0]["used"] == luts("lut4")
    assert ("on ECP5 are unknown" in said) == (luts("lut4") is None)
    assert (found["clock_kind"], "suits" in said) == (device("ulx3s").clock_kind, False)
    assert found["clock_source"] == device("ulx3s").clock.source
    (tmp_path / "six.json").write_text(json.dumps(asdict(SIM)), encoding="utf-8")
    found, said = estimated(tmp_path, monkeypatch, "digits", "--engine", "six.json", "--target", "ulx3s")
    assert found["resources"][0]["used"] == luts("lut6")
    assert "six.json is written in lut6; lut4 suits LFE5U-85F" in said
    found, said = estimated(tmp_path, monkeypatch, "digits", "--engine", "sim", "--target", "gw2a-18")
    assert (found["resources"][0]["used"], found["fits"]) == (None, None)
    assert "there are no estimates for Gowin" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engine", "sim", "--target", "nothing"], "there is no device 'nothing'"),
        (["--engine", "sim", "--clock", "0"], "must be above 0"),
        (["--engine", "zcu101"], "there is no engine 'zcu101'"),
        (["--engine", "small.json"], "the engine is too small"),
    ],
)
def test_bad_input_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    small = replace(SIM, engine=replace(SIM.engine, max_tokens=8))
    (tmp_path / "small.json").write_text(json.dumps(asdict(small)), encoding="utf-8")
    assert_refused(invoke("estimate", "digits", *arguments, cwd=tmp_path, monkeypatch=monkeypatch), message)


def test_an_estimate_of_a_preset_needs_no_weights_and_no_hardware() -> None:
    script = (
        "import sys; from bivit.cli.main import app; app(sys.argv[1:], standalone_mode=False); "
        "assert not {'torch', 'amaranth', 'sklearn', 'onnx'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", script, "estimate", "digits", "--target", "zcu102"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "random" in done.stdout
