"""`bivit synth` by tools that are played, and what it refuses."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from played import cell, module, play
from program import assert_refused, invoke
from small_flow import small_flow

from bivit.hw.synthesis.synth import UNIT_COMPONENTS

CELLS = ["luts_raw", "luts_packed", "ffs", "carry", "dsps", "brams"]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine's file that leaves the fabric open; its units are not converted, the tools here do not look at them."""
    monkeypatch.setattr("bivit.hw.synthesis.survey._text", lambda unit, engine, placed: f"{unit} {placed}")
    values = asdict(small_flow())
    del values["engine"]["fabric"]
    path = tmp_path / "engine.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def test_all_units_are_counted(engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, tmp_path)
    done = invoke("synth", "--engine", engine, "--json", cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert list(found) == [
        *("engine", "family", "fabric", "tools", *CELLS, "luts_per_mac_array", "luts_per_mac_engine", "units"),
    ]
    assert (found["family"], found["fabric"], found["tools"]) == ("ecp5", "lut4", "yosys 1.0")
    assert [list(row) for row in found["units"]] == [["unit", *CELLS]] * len(UNIT_COMPONENTS)
    macs = small_flow().engine.rows * small_flow().engine.columns * 64
    assert found["luts_per_mac_array"] == 2 / macs
    assert found["luts_per_mac_engine"] == 2 * len(UNIT_COMPONENTS) / macs
    assert found["luts_raw"] == 2 * len(UNIT_COMPONENTS)


def test_ultra_ram_is_counted_where_it_is_asked_for(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_it = module({"a": cell("URAM288"), "b": cell("RAMB36E2")}, {})
    (tmp_path / "ultra.json").write_text(json.dumps(with_it), encoding="utf-8")
    runs = play(monkeypatch, tmp_path, yosys=f"cp '{tmp_path}/ultra.json' unit.json")
    asked = ("synth", "--engine", engine, "--family", "xcup-uram", "--unit", "run", "--unit", "slots")
    refused = invoke(*asked, "--place", cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(refused, "there are delays of xcup, xc7, ecp5 only, got family 'xcup-uram'")
    assert runs() == 0
    found = json.loads(invoke(*asked, "--json", cwd=tmp_path, monkeypatch=monkeypatch).stdout)
    assert (found["fabric"], found["brams"], found["urams"]) == ("lut6", 2, 2)
    assert [row["urams"] for row in found["units"]] == [1, 1]


def test_with_place_the_clock_and_its_path_are_told(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, tmp_path)
    asked = ("synth", "--engine", engine, "--unit", "run", "--whole", "--place", "--seeds", "2")
    done = invoke(*asked, "--json", "--out", "kept.json", cwd=tmp_path, monkeypatch=monkeypatch)
    found = json.loads(done.stdout)
    assert (found["fmax_mhz"], found["fmax_kind"], found["fmax_of"]) == (226.67, "placed", "engine")
    assert found["part"] == "LFE5U-85F-6"
    steps = found["critical_path"]["steps"]
    assert [step["unit"] for step in steps] == ["matmul", "matmul", "loader"]
    assert list(steps[0]) == ["unit", "signal", "cell", "logic_ns", "routing_ns", "fan_out"]
    assert [row["unit"] for row in found["units"]] == ["run", "engine"]
    assert found["units"][0]["fmax_seeds"] == [216.67, 226.67]
    assert found["luts_raw"] == 2  # of the whole, not a sum
    assert json.loads((tmp_path / "kept.json").read_text(encoding="utf-8")) == found
    table = invoke(*asked, cwd=tmp_path, monkeypatch=monkeypatch)
    for text in ("fmax_mhz", "226.7", "path of engine, placed", "datapath.matmul.first"):
        assert text in table.stdout


def test_without_units_the_whole_engine_is_placed_on_the_part_that_is_asked_for(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = play(monkeypatch, tmp_path)
    asked = ("synth", "--engine", engine, "--place", "--seeds", "1", "--json")
    found = json.loads(invoke(*asked, "--part", "LFE5U-25F", cwd=tmp_path, monkeypatch=monkeypatch).stdout)
    assert (found["fmax_of"], found["fmax_kind"], found["part"]) == ("engine", "placed", "LFE5U-25F-6")
    assert [row["unit"] for row in found["units"] if "fmax_mhz" in row] == ["engine"]
    assert [row["unit"] for row in found["units"]] == [*UNIT_COMPONENTS, "engine"]
    assert runs() == len(UNIT_COMPONENTS) + 1 + 2  # each once, the whole once more with pins, and placed
    assert json.loads(invoke(*asked, cwd=tmp_path, monkeypatch=monkeypatch).stdout)["part"] == "LFE5U-85F-6"
    assert runs() == len(UNIT_COMPONENTS) + 1 + 2 + 1  # another part is another placement


def test_a_named_engine_is_placed_on_the_part_that_it_is_made_for(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, tmp_path)
    asked = ("synth", "--engine", "ecp5_45", "--unit", "run", "--place", "--seeds", "1", "--json")
    assert json.loads(invoke(*asked, cwd=tmp_path, monkeypatch=monkeypatch).stdout)["part"] == "LFE5U-45F-6"


def test_what_a_tool_refuses_is_said_and_the_rest_is_shown(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, tmp_path, nextpnr="echo 'ERROR: CIN driven by a constant' >&2; exit 1")
    asked = ("synth", "--engine", engine, "--family", "nexus", "--unit", "run", "--place", "--seeds", "1")
    assert_refused(
        invoke(*asked, cwd=tmp_path, monkeypatch=monkeypatch), "run: nextpnr-nexus failed: ERROR: CIN driven by a con"
    )


def test_a_fabric_that_the_file_names_is_kept_and_a_line_says_which_suits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, tmp_path)
    (tmp_path / "six.json").write_text(json.dumps(asdict(small_flow())), encoding="utf-8")
    asked = ("synth", "--unit", "run", "--json", "--engine")
    done = invoke(*asked, "six.json", cwd=tmp_path, monkeypatch=monkeypatch)
    assert json.loads(done.stdout)["fabric"] == "lut6"
    assert "six.json is written in lut6; lut4 suits ecp5 better" in done.stderr
    done = invoke(*asked, "sim", cwd=tmp_path, monkeypatch=monkeypatch)
    assert json.loads(done.stdout)["fabric"] == "lut4"
    assert "suits" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--family", "ecp4"), "family must be one of xcup, xc7, ecp5, nexus, gowin, xcup-uram, got 'ecp4'"),
        (("--unit", "logits"), "there is no unit 'logits'; there are registers"),
        (("--engine", "simm"), "there is no engine 'simm'"),
        (("--place", "--part", "lfe5u-12f"), "part must be one of lfe5u-25f, lfe5u-45f, lfe5u-85f, got 'lfe5u-12f'"),
        (("--seeds", "0"), "seeds must be 1 to 64, got 0"),
        (("--jobs", "0"), "jobs must be 1 to 256, got 0"),
        (("--timeout", "0"), "timeout must be above 0 seconds, got 0"),
    ],
)
def test_bad_input_is_refused(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = play(monkeypatch, tmp_path)
    assert_refused(invoke("synth", *arguments, cwd=tmp_path, monkeypatch=monkeypatch), message)
    assert runs() == 0
