"""Swins on engines with windows, as a user runs them: what commands print, write and refuse."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from benches import alone, flip, run_bench
from program import Done, assert_refused, invoke
from windowed import tiny_swin, windowed_flow

from bivit.sim.flow.config import FlowConfig
from bivit.sim.mapping.compiled import compile_for
from bivit.sim.mapping.cycles import estimate_cycles, interval_of, peak_macs, useful_macs
from bivit.sim.mapping.loads import loads_of
from bivit.sim.mapping.pass_limits import with_windows
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.file import save_network
from bivit.sim.network.random import random_network
from bivit.sim.reference.run import run_reference

CONFIG = tiny_swin(embed_dim=32, depths=(2, 1), num_heads=(2, 4), window_size=4)
DEIT = ViTConfig(img_size=4, patch_size=2, in_chans=1, num_classes=3, embed_dim=16, depth=2, num_heads=2)
NETWORK = random_network(CONFIG, seed=3)


def engine() -> FlowConfig:
    """An engine for both, two images of which go through the stages together."""
    flow = windowed_flow(64, 4, rows=4, max_embed_dim=64, pixel_bytes=4, queue_logits=64, program_words=4096)
    return with_windows(replace(flow, images=2), CONFIG, DEIT, images=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_network(NETWORK, tmp_path / "swin")
    save_network(random_network(DEIT, seed=3), tmp_path / "deit")
    (tmp_path / "engine.json").write_text(json.dumps(asdict(engine())))
    return tmp_path


def printed(done: Done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("name", "config"), [("swin", CONFIG), ("deit", DEIT)])
def test_cycles_loads_and_use_are_estimated(
    name: str, config: ViTConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = printed(invoke("estimate", name, "--engine", "engine.json", "--json", cwd=folder, monkeypatch=monkeypatch))
    flow, program = engine(), compile_for(random_network(config, seed=1), engine())
    assert found["cycles"] == program.cycles(1).total
    assert found["interval_cycles"] == round(interval_of(program))
    # In whole groups: two more groups of a long run take as much.
    longer = program.cycles(16).total - program.cycles(12).total
    assert found["interval_cycles"] == pytest.approx(longer / 4, rel=0.01)
    assert found["array_utilisation"] == pytest.approx(useful_macs(config) / (interval_of(program) * peak_macs(flow)))
    loads = loads_of(config, flow)
    assert loads.bound <= interval_of(program)
    assert (found["binds"], found["loads"]) == (loads.binds, loads.shares)
    assert found["array_utilisation"] < found["packing"] < 1
    assert found["memory_gb_s"] is None


def test_an_engine_is_chosen_that_has_windows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = printed(invoke("estimate", "swin_fashion", "--json", cwd=folder, monkeypatch=monkeypatch))
    assert (found["engine"], found["fits"]) == ("swin", False)
    row = next(row for row in found["resources"] if row["resource"] == "BRAM")
    assert row["used"] > row["available"]


@pytest.mark.parametrize("command", [["estimate"], ["cosim"], ["generate", "--net"]])
def test_an_engine_that_does_not_run_it_names_those_that_do(
    command: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: str) -> str:
        done = invoke(*command, *arguments, cwd=folder, monkeypatch=monkeypatch)
        return assert_refused(done, "engine") or done.stderr

    before = {*folder.iterdir()}
    assert "has no windows, which networks of the family swin need" in refused("swin", "--engine", "sim")
    assert "choose one that has them: swin, swin_zcu102" in refused("swin", "--engine", "sim")
    assert "max_tokens is 16, the network needs 49" in refused("swin_fashion", "--engine", "engine.json")
    assert {*folder.iterdir()} == before


def test_engines_say_what_swins_they_hold(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = printed(invoke("engines", "swin", "--json", cwd=folder, monkeypatch=monkeypatch))
    (row,) = found["engines"]
    swins = {"swin_fashion", "swin_cifar", "swin_tiny", "swin_small"}
    assert swins | {"digits", "fashion"} <= set(row["holds"])
    assert {net["network"] for net in row["networks"]} == swins
    speeds = {net["network"]: net["images_per_s"] for net in row["networks"]}
    assert speeds["swin_tiny"] < speeds["swin_cifar"] < speeds["swin_fashion"]


def test_a_folder_has_the_cycles_and_logits_of_a_swin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bivit.hw.folder.generate.engine_verilog", lambda *_: "module bivit_engine ();\nendmodule\n")
    command = ("generate", "--engine", "engine.json", "--net", "swin", "--images", "3", "--out", "out", "--json")
    found = printed(invoke(*command, cwd=folder, monkeypatch=monkeypatch))
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    program, estimate = compile_for(NETWORK, engine()), estimate_cycles(compile_for(NETWORK, engine()), 3)
    assert found["image_cycles"] == round(interval_of(program)) == manifest["network"]["image_cycles"]
    assert manifest["network"]["slots"] == program.slots
    assert (manifest["golden"]["cycles"], manifest["golden"]["array_busy"]) == (estimate.cycles, estimate.array_busy)
    pixels = np.fromfile(folder / "out" / "golden" / "pixels.bin", np.uint8).reshape(3, 16, 16, 1)
    logits = np.fromfile(folder / "out" / "golden" / "logits.bin", "<i4").reshape(3, 5)
    assert (run_reference(NETWORK, pixels).logits == logits).all()
    assert "2 windows in flight of 2 images" in (folder / "out" / "README.md").read_text()


@pytest.mark.slow
def test_a_swin_is_simulated_with_the_cycles_that_are_estimated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("cosim", "swin", "--engine", "engine.json", "--images", "3", "--json")
    found = printed(invoke(*command, cwd=folder, monkeypatch=monkeypatch))
    assert found["cosim_mismatches"] == 0
    assert found["cycles_estimated"] == found["cycles_simulated"] == compile_for(NETWORK, engine()).cycles(3).total


@pytest.mark.slow
def test_the_bench_of_a_swin_passes_and_finds_a_wrong_bit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("generate", "--engine", "engine.json", "--net", "swin", "--images", "3", "--out", "out", "--json")
    printed(invoke(*command, cwd=folder, monkeypatch=monkeypatch))
    apart = alone(folder / "out", folder / "alone")
    cycles = compile_for(NETWORK, engine()).cycles(3).total
    assert run_bench(apart, "verilator") == (0, f"PASS: 3 images, 15 logits, {cycles} cycles")
    flip(apart / "golden" / "logits.bin", 4)
    code, verdict = run_bench(apart, "verilator")
    assert code
    assert verdict.startswith("FAIL: image 0, class 1: the logit is")
