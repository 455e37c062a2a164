"""`bivit engines`: names, shapes, devices, what fits."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from program import assert_refused, invoke

from bivit.sim.estimate.devices import device
from bivit.sim.estimate.resources import estimate_resources, images_per_s
from bivit.sim.flow.presets import ABOUT, FLOW_ENGINES
from bivit.sim.mapping.cycles import peak_macs, useful_macs
from bivit.sim.mapping.shipped import shipped_cycles
from bivit.sim.network.presets import vit_preset


def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[dict[str, Any]]:
    done = invoke("engines", *arguments, "--json", cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["engines"]


def test_all_are_listed_with_what_they_are_made_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {row["name"]: row for row in listed(tmp_path, monkeypatch)}
    assert list(rows) == list(FLOW_ENGINES)
    for name, row in rows.items():
        assert ABOUT[name].target in (None, row["target"])
        assert row["text"] == ABOUT[name].text
        assert row["fits"] is estimate_resources(FLOW_ENGINES[name], row["target"]).fits
        assert {one["network"] for one in row["networks"]} == set(ABOUT[name].networks) <= set(row["holds"])
    assert (rows["zcu102"]["shape"], rows["zcu102"]["images"]) == ("33x32x64", 2)


def test_speed_is_that_of_the_shipped_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = listed(tmp_path, monkeypatch, "zcu102", "--target", "vck190")
    config, flow = vit_preset("deit_tiny"), FLOW_ENGINES["zcu102"]
    found = shipped_cycles(config, flow)
    assert found is not None
    (net,) = row["networks"]
    clock = device("vck190").clock_mhz
    assert (row["target"], row["clock_mhz"]) == ("xcvc1902", clock)
    assert net["interval_cycles"] == round(found[1])
    assert net["images_per_s"] == images_per_s(found[1], clock)
    assert net["array_utilisation"] == useful_macs(config) / (found[1] * peak_macs(flow))


@pytest.mark.parametrize(
    ("engine", "network", "target"),
    [
        ("zcu102", "deit_tiny", "ulx3s"),  # in other logic: two products no longer share a multiplier block
        ("swin_zcu102", "swin_tiny", "zcu102"),  # which waits for streamed weights now and then
    ],
)
def test_speed_is_what_estimate_says(
    engine: str, network: str, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = listed(tmp_path, monkeypatch, engine, "--target", target)
    (net,) = row["networks"]
    asked = ["estimate", network, "--engine", engine, "--target", target, "--json"]
    estimated = json.loads(invoke(*asked, cwd=tmp_path, monkeypatch=monkeypatch).stdout)
    for name in ("interval_cycles", "images_per_s", "array_utilisation"):
        assert net[name] == estimated[name], name


def test_the_table_says_what_fits_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = invoke("engines", cwd=tmp_path, monkeypatch=monkeypatch)
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert set(FLOW_ENGINES) <= set(lines)
    assert "unknown" not in lines["ulx3s"]
    assert "URAM %" in done.stdout  # of those whose device has any
    one = invoke("engines", "arty", cwd=tmp_path, monkeypatch=monkeypatch).stdout
    assert ABOUT["arty"].why in one.replace("\n", " ")


def test_an_engine_of_a_file_or_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made/engine.json").write_text(json.dumps(asdict(FLOW_ENGINES["ulx3s"])))
    (named,) = listed(tmp_path, monkeypatch, "ulx3s")
    for name in ("made", "made/engine.json"):
        (row,) = listed(tmp_path, monkeypatch, name, "--target", "ulx3s")
        same = ("shape", "images", "target", "utilisation_percent", "holds", "fits")
        assert {key: row[key] for key in same} == {key: named[key] for key in same}
        assert (row["name"], row["networks"]) == (name, [])
    (tmp_path / "empty").mkdir()
    done = invoke("engines", "empty", cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(done, "empty is a folder without engine.json")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("zcu10",), "there is no engine 'zcu10'"), (("--target", "zcu1"), "there is no device 'zcu1'")],
)
def test_what_is_not_there_is_refused(
    arguments: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_refused(invoke("engines", *arguments, cwd=tmp_path, monkeypatch=monkeypatch), says)
