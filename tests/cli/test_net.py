"""A preset wherever a network is expected: weights from a seed, the engine that is taken, and what is refused."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from engines import tiny_flow
from program import assert_refused, bivit, invoke
from shapes import TINY

from bivit.sim.engine.loadstream import parse_stream
from bivit.sim.estimate.devices import device
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.presets import FLOW_ENGINES
from bivit.sim.mapping.cycles import estimate_cycles, long_run_cycles
from bivit.sim.mapping.program import compile_network, flow_cycles
from bivit.sim.mapping.shipped import table_of
from bivit.sim.network.file import load_network, network_hash, save_network
from bivit.sim.network.presets import PRESETS, preset, vit_preset
from bivit.sim.network.random import random_network
from bivit.sim.reference.run import run_reference


def run_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> dict:
    done = invoke(*arguments, "--json", cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("target", ["Pynq Z2", "zcu102"])
def test_a_preset_is_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    result = run_json(tmp_path, monkeypatch, "estimate", "digits", "--target", target)
    assert (result["network"], result["weights"], result["seed"]) == ("digits", "random", 0)
    flow, config = FLOW_ENGINES[result["engine"]].in_fabric(device(target).fabric), vit_preset("digits")
    assert result["cycles"] == flow_cycles(config, flow, table_of(config, flow), 1).total
    # The weights do not count, and a file of the same shape gives the same.
    save_network(random_network(preset("digits"), seed=7), tmp_path / "net")
    of_file = run_json(tmp_path, monkeypatch, "estimate", "net", "--target", target)
    assert of_file.pop("weights") == "net"
    assert {key: value for key, value in result.items() if key not in ("network", "weights", "seed")} == {
        key: value for key, value in of_file.items() if key != "network"
    }


@pytest.mark.parametrize("command", [["estimate"], ["cosim"], ["generate", "--net"]])
def test_what_is_no_engine_is_refused_with_what_is_allowed(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(engine: str) -> str:
        done = invoke(*command, "digits", "--engine", engine, cwd=tmp_path, monkeypatch=monkeypatch)
        return assert_refused(done, "engine") or done.stderr

    for name in ("fashion", "deit_tiny_6x32", "zcu101"):
        names = ", ".join(FLOW_ENGINES)
        assert f"there is no engine '{name}': neither a file nor one of the names {names}" in refused(name)
    values = asdict(FLOW_ENGINES["sim"])
    (tmp_path / "flow.json").write_text(json.dumps(values | {"drain_rows": 9}))
    assert "drain_rows must be 1 to rows (4), got 9" in refused("flow.json")
    (tmp_path / "flat.json").write_text(json.dumps(values["engine"]))
    assert "flat.json has `rows` at its top, where a table `engine` must stand" in refused("flat.json")


def test_an_engine_that_does_not_hold_the_network_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in (["cosim", "deit_small"], ["cosim", "deit_small", "--engine", "latency"]):
        assert_refused(invoke(*command, cwd=tmp_path, monkeypatch=monkeypatch), "max_embed_dim")


@pytest.mark.parametrize("command", [["estimate"], ["cosim"], ["run"], ["judge"], ["ops"], ["generate", "--net"]])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("deit_tinny", "did you mean deit_tiny?"),
        ("none.safetensors", "there is no network file none.safetensors"),
        ("here", "here is a folder"),
    ],
)
def test_what_is_no_network_is_refused_the_same_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], name: str, message: str
) -> None:
    (tmp_path / "here").mkdir()
    done = invoke(*command, name, cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(done, message)
    assert ", ".join(PRESETS) in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


@pytest.mark.parametrize("command", [["estimate"], ["cosim"], ["generate", "--net"]])
def test_what_no_engine_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    save_network(random_network(replace(vit_preset("digits"), num_classes=1001), seed=3), tmp_path / "many.safetensors")
    done = invoke(*command, "many.safetensors", cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(done, "num_classes at most 1000")
    assert [path.name for path in tmp_path.iterdir()] == ["many.safetensors"]


def test_a_preset_goes_before_a_file_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_network(random_network(preset("fashion"), seed=3), tmp_path / "digits")
    done = invoke("estimate", "digits", "--json", cwd=tmp_path, monkeypatch=monkeypatch)
    assert json.loads(done.stdout)["weights"] == "random"
    assert "digits is the preset; ./digits is the file of that name" in done.stderr
    of_file = run_json(tmp_path, monkeypatch, "estimate", "./digits")
    assert of_file["weights"] == "digits"
    assert of_file["engine"] != "digits"


def test_the_seed_gives_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bivit.hw.folder.generate.engine_verilog", lambda engine, contents: "module bivit_engine ();\nendmodule\n"
    )
    streams, flow = [], FLOW_ENGINES["sim"]
    for seed in (0, 5, 5):
        result = run_json(tmp_path, monkeypatch, "generate", "--net", "digits", "--seed", str(seed), "--out", "out")
        assert (result["weights"], result["seed"], result["engine"]) == ("random", seed, "sim")
        network = random_network(preset("digits"), seed=seed)
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
        assert manifest["network"]["sha256"] == network_hash(network)
        assert result["latency_cycles"] == compile_network(network, flow).cycles(1).total
        assert result["image_cycles"] == round(long_run_cycles(network.config, flow, table_of(network.config, flow)))
        streams.append((tmp_path / result["load_stream"]).read_bytes())
        parse_stream(FlowMachine(flow), streams[-1])
    assert streams[0] != streams[1] == streams[2]


def test_without_a_network_sim_is_generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bivit.hw.folder.generate.engine_verilog", lambda engine, contents: "module bivit_engine ();\nendmodule\n"
    )
    result = run_json(tmp_path, monkeypatch, "generate")
    assert result["engine"] == "sim"
    assert "weights" not in result
    assert Path(tmp_path / result["engine_file"]).is_file()


def test_a_preset_is_run_on_random_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_json(tmp_path, monkeypatch, "run", "swin_fashion", "--images", "3", "--seed", "2", "--out", "t.csv")
    assert (result["weights"], result["seed"], result["data"]) == ("random", 2, "random pixels")
    assert (result["top1"], result["images"]) == (None, 3)
    pixels = np.random.default_rng(2).integers(0, 256, (3, 28, 28, 1), dtype=np.uint8)
    predictions = run_reference(random_network(preset("swin_fashion"), seed=2), pixels).predictions
    rows = list(csv.reader((tmp_path / "t.csv").read_text().splitlines()))
    assert rows == [["image", "label", "prediction"], *([str(i), "", str(p)] for i, p in enumerate(predictions))]
    with_data = run_json(tmp_path, monkeypatch, "run", "digits", "--images", "4", "--data", "digits")
    assert with_data["top1"] is not None
    assert with_data["data"] == "digits (test)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "0"], "images must be 1 or more, got 0"),
        (["--images", "99999999"], "at most"),
        (["--seed", "-1"], ""),
        (["--data", "digits"], "images must have shape"),
    ],
)
def test_random_pixels_have_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    for command in ("run", "cosim", "judge"):
        done = invoke(command, "fashion", *arguments, cwd=tmp_path, monkeypatch=monkeypatch)
        assert done.returncode == 2
        assert done.stdout == ""
        assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_preset_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_json(tmp_path, monkeypatch, "judge", "digits", "--images", "1", "--judge", "onnxruntime")
    assert (result["weights"], result["data"], result["mismatches"]) == ("random", "random pixels", 0)


def test_a_preset_is_exported_as_a_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_json(tmp_path, monkeypatch, "export", "digits", "--qonnx", "net.onnx", "--seed", "3")
    assert (result["weights"], result["seed"]) == ("random", 3)
    save_network(random_network(preset("digits"), seed=3), tmp_path / "net")
    run_json(tmp_path, monkeypatch, "export", "net", "--qonnx", "other.onnx")
    assert (tmp_path / "net.onnx").read_bytes() == (tmp_path / "other.onnx").read_bytes()
    assert_refused(
        invoke("export", "digits", cwd=tmp_path, monkeypatch=monkeypatch),
        "digits is a preset, whose weights are random; give --qonnx FILE to write its graph",
    )


@pytest.mark.slow
def test_a_preset_is_co_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small preset and engine of the test's own: the named ones take minutes to build."""
    flow = tiny_flow()
    (tmp_path / "engine.json").write_text(json.dumps(asdict(flow)))
    monkeypatch.setitem(PRESETS, "tiny", TINY)
    monkeypatch.setitem(FLOW_ENGINES, "sim", flow)
    base = ("cosim", "tiny", "--images", "2", "--seed", "4")
    named = run_json(tmp_path, monkeypatch, *base, "--engine", "engine.json")
    chosen = run_json(tmp_path, monkeypatch, *base)
    assert (named["engine"], chosen["engine"]) == ("engine.json", "sim")
    estimate = estimate_cycles(compile_network(random_network(TINY, seed=4), flow), 2)
    for result in (named, chosen):
        assert (result["weights"], result["seed"], result["data"]) == ("random", 4, "random pixels")
        assert (result["cosim_mismatches"], result["in_flight"]) == (0, 2)
        assert (result["cycles_simulated"], result["stalls"]) == (estimate.cycles, estimate.stalls)
        assert {"build_s", "generate_s", "kcycles_per_s", "array_utilisation"} <= set(result)
        plain, stalled = result["runs"]
        assert plain["stalls"] == estimate.stalls
        assert (plain["cycles_accounted"], stalled["cycles_accounted"]) == (True, True)
    assert {key: value for key, value in named.items() if key.startswith("cycles")} == {
        key: value for key, value in chosen.items() if key.startswith("cycles")
    }


def test_steps_are_said_on_standard_error(tmp_path: Path) -> None:
    save_network(random_network(preset("digits"), seed=1), tmp_path / "net")
    done = bivit("judge", tmp_path / "net", "--images", "1", "--json")
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    assert "bivit: " in done.stderr
    assert load_network(tmp_path / "net").config == preset("digits")
