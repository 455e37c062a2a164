"""`bivit explore`: what it prints, the file that other commands take, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from program import assert_refused, invoke
from windowed import tiny_swin

from bivit.sim.engine.words import WORD
from bivit.sim.estimate.devices import device
from bivit.sim.flow.presets import load_engine
from bivit.sim.network.file import save_network
from bivit.sim.network.random import random_network

KEYS = ["networks", "target", "part", "shape", "images", "images_per_s", "latency_us", "cycles", "interval_cycles"]
KEYS += ["cycles_kind", "clock_mhz", "clock_kind", "binds", "loads", "utilisation_percent", "resources_kind", "fits"]
KEYS += ["engine", "front", "alternatives", "sized", "fill_percent", "seconds", "command", "bivit", "clock_source"]
KEYS += ["array_utilisation", "packing", "memory_gb_s", "board_memory_gb_s", "resources", "units", "ceilings", "tile"]
KEYS += ["points"]


def explored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> dict[str, Any]:
    done = invoke("explore", *arguments, "--json", cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_is_printed_and_the_file_that_estimate_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = explored(tmp_path, monkeypatch, "digits", "--target", "ULX3S", "--out", "out/engine")
    file = tmp_path / "out/engine/engine.json"
    assert [key for key in found if key not in ("name", "engine_file")] == KEYS
    assert (found["target"], found["clock_mhz"], found["fits"]) == ("lfe5u-85f", device("ulx3s").clock_mhz, True)
    assert (found["cycles_kind"], found["clock_kind"], found["resources_kind"]) == ("exact", "assumed", "estimated")
    assert (found["engine_file"], json.loads(file.read_text())) == ("out/engine/engine.json", found["engine"])
    assert [path.name for path in file.parent.iterdir()] == ["engine.json"]
    assert next(iter(found["loads"])) == found["binds"]
    flow = load_engine(str(file))
    assert found["shape"] == f"{flow.engine.rows}x{flow.engine.columns}x{WORD}"
    arguments = ("estimate", "digits", "--engine", file, "--target", "ulx3s", "--json")
    again = json.loads(invoke(*arguments, cwd=tmp_path, monkeypatch=monkeypatch).stdout)
    assert again["cycles"] == found["cycles"]
    assert again["interval_cycles"] == round(found["interval_cycles"])
    same = "fits binds loads array_utilisation packing memory_gb_s resources units clock_source"
    for key in same.split():
        assert again[key] == found[key]
    for row in (*found["front"], *found["alternatives"]):
        assert set(row["utilisation_percent"]) == set(found["utilisation_percent"])


def test_what_may_be_taken_of_the_device_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all of it look-up tables are all but full, which is told; with less of it none is fuller than that."""
    full = invoke("explore", "digits", "--target", "lfe5u-45f", cwd=tmp_path, monkeypatch=monkeypatch).stdout
    assert "leave place and route little room; --fill 85 seeks" in full
    found = explored(tmp_path, monkeypatch, "digits", "--target", "lfe5u-45f", "--fill", "92.5")
    assert found["fill_percent"] == 92.5
    assert "--fill 92.5" in found["command"]
    shown = [found, *found["front"], *found["alternatives"]]
    assert max(percent for row in shown for percent in row["utilisation_percent"].values() if percent) <= 92.5
    less = invoke("explore", "digits", "--target", "lfe5u-45f", "--fill", "40", cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(less, "of it, of which 40 % may be taken (--fill); it fits")


def test_a_named_engine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = explored(tmp_path, monkeypatch, "deit_tiny", "--target", "kv260")
    assert (found["name"], found["target"], found["shape"]) == ("kv260", "k26", "11x32x64")
    assert found["engine"] == json.loads(json.dumps(found["engine"]))
    assert "engine_file" not in found


def test_a_swin_gets_an_engine_with_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `bivit estimate` and `bivit generate` take it; the page has what a Swin's engine has beside others."""
    config = tiny_swin(embed_dim=32, depths=(2, 1), num_heads=(2, 4), window_size=4)
    save_network(random_network(config, seed=1), tmp_path / "swin")
    arguments = ("swin", "--target", "k26", "--fps", "500", "--out", "out", "--report", "page.html")
    found = explored(tmp_path, monkeypatch, *arguments)
    assert (found["fits"], found["cycles_kind"], found["tile"]) == (True, "exact", None)
    assert found["images_per_s"] >= 500
    assert found["engine"]["windows"]["image_tokens"] == config.num_tokens
    assert "norms of embedded patches" in (tmp_path / "page.html").read_text()
    command = ("estimate", "swin", "--engine", "out/engine.json", "--target", "k26", "--json")
    again = json.loads(invoke(*command, cwd=tmp_path, monkeypatch=monkeypatch).stdout)
    assert (again["cycles"], again["interval_cycles"]) == (found["cycles"], round(found["interval_cycles"]))
    for key in ("binds", "loads", "packing", "array_utilisation", "resources", "units"):
        assert again[key] == found[key]


def test_text_says_how_everything_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("explore", "digits", "--target", "auto", "--fps", "100", "--clock-mhz", "50")
    done = invoke(*arguments, cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    for part in ("cycles are exact, at 50 MHz, given", "binds;", "bounds by loads", "images/s"):
        assert part in done.stdout
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("digits --target zcu1", "there is no device 'zcu1'"),
        ("digit --target ulx3s", "did you mean digits"),
        ("digits --target gatemate", "there are no estimates for GateMate"),
        ("digits --target auto", "say how fast with --fps"),
        ("digits --target ulx3s --fps 0", "--fps must be above 0"),
        ("digits --target ulx3s --fps -3", "--fps must be above 0"),
        ("digits --target ulx3s --fps nan", "--fps must be a finite number"),
        ("digits --target ulx3s --fps 100 --latency", "give one of the two"),
        ("digits --target ulx3s --clock-mhz 0", "--clock-mhz must be 0.001 to 10,000 MHz, got 0"),
        ("digits --target ulx3s --clock-mhz 1e9", "--clock-mhz must be 0.001 to 10,000 MHz"),
        ("digits --target ulx3s --fill 0", "--fill must be above 0 and at most 100 percent of the device, got 0"),
        ("digits --target ulx3s --fill 100.5", "at most 100 percent of the device, got 100.5"),
        ("swin_fashion --target ulx3s", "what an engine with windows takes of LFE5U-85F (ULX3S) is not known"),
        ("deit_tiny --target lfe5u-25f", "no engine for this fits LFE5U-25F"),
    ],
)
def test_what_cannot_be_is_refused(arguments: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = invoke("explore", *arguments.split(), "--out", "out", cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(done, says)
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_is_a_file_is_refused_before_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bivit.sim.explore import search

    monkeypatch.setattr(search, "explore", None)
    (tmp_path / "out").write_text("")
    done = invoke("explore", "digits", "--target", "ulx3s", "--out", "out", cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(done, "--out must be a folder, out is a file")


def test_a_speed_that_is_impossible_is_refused_with_the_fastest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = invoke("explore", "digits", "--target", "ulx3s", "--fps", "1e7", cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(done, "the fastest gives ")
