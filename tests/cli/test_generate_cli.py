"""`bivit generate`: what its options do to the folder, and what it refuses before it writes anything."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from engines import tiny_flow
from program import assert_refused, invoke
from shapes import TINY

from bivit.sim.engine.loadstream import parse_stream
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.network.file import save_network
from bivit.sim.network.random import random_network

NETWORK = random_network(TINY, seed=5)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network, an engine and images; no Verilog is converted, and that of an embedded network has its words."""

    def verilog(engine: object, contents: object = None) -> str:
        return f"module bivit_engine ();\nendmodule\n// {contents}\n"

    monkeypatch.setattr("bivit.hw.folder.generate.engine_verilog", verilog)
    save_network(NETWORK, tmp_path / "net")
    (tmp_path / "engine.json").write_text(json.dumps(asdict(tiny_flow())))
    images = np.random.default_rng(0).integers(0, 256, (30, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.tile([0, 1, 2], 10))
    return tmp_path


def generated(folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[dict, dict]:
    """What the command prints, and the manifest."""
    command = ("generate", "--engine", "engine.json", "--net", "net", "--out", "out", "--json", *options)
    done = invoke(*command, cwd=folder, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), json.loads((folder / "out" / "manifest.json").read_text())


def test_images_are_random_where_no_data_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = []
    for options in (["--images", "3"], ["--images", "3", "--seed", "1"], ["--images", "3", "--seed", "1"]):
        result, manifest = generated(folder, monkeypatch, *options)
        assert (result["images"], result["data"]) == (3, "random pixels")
        assert (manifest["golden"]["images"], manifest["golden"]["data"]) == (3, "random pixels")
        pixels.append((folder / "out" / "golden" / "pixels.bin").read_bytes())
    assert len(pixels[0]) == 3 * 16
    assert pixels[0] != pixels[1] == pixels[2]


def test_images_of_a_data_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = generated(folder, monkeypatch, "--data", "images.npz")
    assert result["images"] == 2
    images = np.load(folder / "images.npz")["images"]
    pixels = (folder / "out" / "golden" / "pixels.bin").read_bytes()
    assert pixels[:16] in {image.tobytes() for image in images}


def test_without_images_there_are_no_benches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, manifest = generated(folder, monkeypatch, "--images", "0")
    assert (result["images"], result["data"]) == (0, None)
    assert "golden" not in manifest
    assert not (folder / "out" / "bench").exists()


def test_without_a_network_its_values_are_null(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("generate", "--engine", "engine.json", "--out", "out")
    result = json.loads(invoke(*command, "--json", cwd=folder, monkeypatch=monkeypatch).stdout)
    names = ("load_stream", "image_cycles", "latency_cycles", "data")
    assert [result[name] for name in names] == [None] * 4
    text = invoke(*command, cwd=folder, monkeypatch=monkeypatch).stdout
    assert text.count("none, no network was given") == 4


def test_an_embedded_network_is_the_one_of_the_load_stream(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, manifest = generated(folder, monkeypatch, "--embed", "--aresetn", "--clock-mhz", "250")
    words = parse_stream(FlowMachine(tiny_flow()), Path(folder / result["load_stream"]).read_bytes())
    contents = (folder / "out" / "bivit_engine.v").read_text().partition("// ")[2]
    assert str(words["slots"][0][:3])[:-1] in contents
    assert (manifest["top"], manifest["network"]["embedded"]) == ("bivit_engine_aresetn", True)
    assert manifest["clock_mhz"] == 250
    assert "period 4.000" in (folder / "out" / "constraints" / "clock.xdc").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--images", "2"], "--images 2 needs a network to run them; name one with --net"),
        (["--data", "digits"], "--data digits needs a network"),
        (["--embed"], "--embed needs a network"),
        (["--net", "net", "--images", "-1"], "images must be 0 or more, got -1"),
        (["--net", "net", "--data", "digits"], "8"),
        (["--net", "net", "--data", "gone.npz"], "gone.npz"),
        (["--net", "net", "--clock-mhz", "0"], "the clock must be 1 to 1000 MHz, got 0"),
        (["--net", "swin_fashion"], "has no windows, which networks of the family swin need"),
    ],
)
def test_what_is_refused_writes_nothing(
    options: list[str], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(folder.iterdir())
    command = ("generate", "--engine", "engine.json", "--out", "out", *options)
    assert_refused(invoke(*command, cwd=folder, monkeypatch=monkeypatch), message)
    assert sorted(folder.iterdir()) == before
