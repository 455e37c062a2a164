"""The generated folder: files that agree with each other and say what they are, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from engines import streamed_flow, tiny_flow
from shapes import TOKENS, random_images
from windowed import tiny_swin, windowed_for

from bivit import __version__
from bivit.hw.emit import engine_verilog
from bivit.hw.folder.generate import Generated, generate
from bivit.hw.folder.pages import TEXTS
from bivit.hw.verilog_top import ENGINE_TOP
from bivit.sim.engine.loadstream import parse_stream
from bivit.sim.engine.registers import REGISTERS
from bivit.sim.errors import BivitError
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.presets import engine_from_dict
from bivit.sim.mapping.cycles import estimate_cycles
from bivit.sim.mapping.program import compile_network
from bivit.sim.network.random import random_network
from bivit.sim.reference.run import run_reference
from helpers import ROOT

NETWORK = random_network(TOKENS, seed=1)
IMAGES = np.random.default_rng(2).integers(0, 256, (2, 6, 6, 2), dtype=np.uint8)
STUB = f"module {ENGINE_TOP} ();\nendmodule\n"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Verilog is converted."""
    monkeypatch.setattr("bivit.hw.folder.generate.engine_verilog", lambda engine, contents=None: STUB)


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_files_agree(tmp_path: Path) -> None:
    engine = tiny_flow()
    machine = FlowMachine(engine)
    made = generate(engine, NETWORK, tmp_path / "out", images=IMAGES)
    text = made.verilog.read_text()
    manifest = json.loads(made.manifest.read_text())
    assert text == engine_verilog(engine)
    assert manifest["verilog_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert engine_from_dict(json.loads(made.engine.read_text())) == engine
    assert manifest["fingerprint"] == f"{machine.fingerprint():016x}"
    header = re.search(rf"^module {ENGINE_TOP} ?\((.*?)^\);", text, re.M | re.S)
    assert header is not None
    assert [port["name"] for port in manifest["ports"]] == re.findall(
        r"^  (?:in|out)put .*?(\w+)(?: = .*)?,?$", header[1], re.M
    )
    assert made.load_stream is not None
    words = parse_stream(machine, made.load_stream.read_bytes())
    assert set(words) == set(machine.load_memories)
    assert "0x" in (tmp_path / "out" / "registers.md").read_text()
    assert "#define BIVIT_" in (tmp_path / "out" / "bivit_registers.h").read_text()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("with_network", "with_images", "options"),
    [(False, False, {}), (True, False, {}), (True, True, {}), (True, True, {"aresetn": True, "embed": True})],
)
def test_every_file_is_described_and_hashed(
    with_network: bool, with_images: bool, options: dict[str, bool], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    generate(tiny_flow(), NETWORK if with_network else None, out, images=IMAGES if with_images else None, **options)
    files = files_of(out)
    manifest, readme = json.loads((out / "manifest.json").read_text()), (out / "README.md").read_text()
    assert manifest["version"] == 3
    assert [row["path"] for row in manifest["files"]] == [name for name in files if name != "manifest.json"]
    for row in manifest["files"]:
        data = (out / row["path"]).read_bytes()
        assert (row["bytes"], row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert set(re.findall(r"^\| `([\w./]+)` \| [^|]* \|$", readme, re.M)) == set(files)
    for name in files:
        text = (out / name).read_bytes()
        assert str(tmp_path).encode() not in text
        if name not in ("engine.json", "manifest.json", "registers.md", "README.md", f"{ENGINE_TOP}.v"):
            assert name.startswith("golden") or name == "network.bin" or b"SPDX-License-Identifier: Apache-2.0" in text


@pytest.mark.usefixtures("quick")
def test_every_kind_of_file_is_written_by_some_folder(tmp_path: Path) -> None:
    generate(streamed_flow(), NETWORK, tmp_path / "out", images=IMAGES, aresetn=True)
    assert files_of(tmp_path / "out") == sorted(TEXTS)


@pytest.mark.usefixtures("quick")
def test_the_manifest_says_where_streamed_weights_lie(tmp_path: Path) -> None:
    """Every layer of every block, one behind the other, and what a pass reads of them."""
    flow = streamed_flow()
    made = generate(flow, NETWORK, tmp_path / "out")
    weights = json.loads(made.manifest.read_text())["network"]["weights"]
    assert made.program is not None
    image = (tmp_path / "out" / "weights.bin").read_bytes()
    assert weights["bytes"] == len(image)
    assert [part["layer"] for part in weights["parts"][:4]] == [
        f"blocks.0.{name}" for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    ]
    assert len(weights["parts"]) == 4 * TOKENS.depth
    ends = [part["byte"] + part["beats"] * weights["beat_bytes"] for part in weights["parts"]]
    assert all(end <= part["byte"] for end, part in zip(ends, weights["parts"][1:], strict=False))
    assert ends[-1] <= len(image)
    assert weights["pass_bytes"] == sum(part["beats"] for part in weights["parts"]) * weights["beat_bytes"]


@pytest.mark.usefixtures("quick")
def test_a_swin_has_streamed_weights_as_well(tmp_path: Path) -> None:
    """Of its blocks and patch mergings, in the order of the passes; two images share them."""
    swin = random_network(tiny_swin(), seed=1)
    flow = replace(windowed_for([swin.config], columns=8), weights="streamed")
    made = generate(flow, swin, tmp_path / "out", images=random_images(swin.config, 2))
    found, machine = json.loads(made.manifest.read_text())["network"], FlowMachine(flow)
    image = (tmp_path / "out" / "weights.bin").read_bytes()
    assert found["weights"]["bytes"] == len(image)
    assert found["weights"]["images_a_pass"] == 2
    assert found["weights"]["bytes_a_cycle"] * found["image_cycles"] * 2 == pytest.approx(
        found["weights"]["pass_bytes"]
    )
    assert [part["layer"] for part in found["weights"]["parts"][3:6]] == [
        "layers.0.blocks.0.mlp.fc2",
        "layers.1.downsample.reduction",
        "layers.1.blocks.0.attn.qkv",
    ]
    assert made.load_stream is not None
    words = parse_stream(machine, made.load_stream.read_bytes())
    assert "parts" in words
    assert "weights" not in words
    assert f"({len(image):,} bytes)" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.usefixtures("quick")
def test_the_same_folder_again(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        generate(tiny_flow(), NETWORK, tmp_path / name, images=IMAGES, aresetn=True)
        found.append({file: (tmp_path / name / file).read_bytes() for file in files_of(tmp_path / name)})
    assert found[0] == found[1]


@pytest.mark.usefixtures("quick")
def test_ports_of_the_manifest(tmp_path: Path) -> None:
    for aresetn, clock, reset in ((False, "clk", "rst"), (True, "aclk", "aresetn")):
        generate(tiny_flow(), None, tmp_path / "out", aresetn=aresetn)
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
        ports = {port["name"]: port for port in manifest["ports"]}
        assert list(ports)[:2] == [clock, reset]
        assert ports[reset]["polarity"] == ("active low" if aresetn else "active high")
        assert ports["s_axis_pixels_tdata"] == {
            "name": "s_axis_pixels_tdata",
            "direction": "input",
            "bits": 8,
            "signal": "TDATA",
            "interface": "s_axis_pixels",
            "protocol": "AXI4-Stream",
            "role": "sink",
            "polarity": None,
            "clock": clock,
        }
        assert (tmp_path / "out" / f"{manifest['top']}.v").is_file()


@pytest.mark.usefixtures("quick")
def test_golden_vectors_are_those_of_the_reference(tmp_path: Path) -> None:
    generate(tiny_flow(), NETWORK, tmp_path / "out", images=IMAGES, data="noise")
    golden, reference = tmp_path / "out" / "golden", run_reference(NETWORK, IMAGES)
    assert (golden / "pixels.bin").read_bytes() == IMAGES.tobytes()
    logits = np.frombuffer((golden / "logits.bin").read_bytes(), "<i4").reshape(2, 11)
    assert np.array_equal(logits, reference.logits)
    numbers = dict(line.split() for line in (golden / "expected.txt").read_text().splitlines())
    estimate = estimate_cycles(compile_network(NETWORK, tiny_flow()), 2)
    assert numbers == {
        "images": "2",
        "image_bytes": "72",
        "classes": "11",
        "cycles": str(estimate.cycles),
        "array_busy": str(estimate.array_busy),
        "saturations": str(reference.saturations),
    }
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["golden"] == {"data": "noise"} | {name: int(value) for name, value in numbers.items()}
    image = manifest["network"]["image"]
    assert (image["height"], image["width"], image["channels"], image["bytes"], image["beats"]) == (6, 6, 2, 72, 72)


@pytest.mark.usefixtures("quick")
def test_the_readme_names_what_a_host_writes(tmp_path: Path) -> None:
    made = generate(tiny_flow(), NETWORK, tmp_path / "out", images=IMAGES)
    text = made.readme.read_text()
    for name in ("ID", "LOADS_OK", "IMAGES", "CONTROL", "STATUS", "DONE", "ERROR"):
        (offset,) = (register.offset for register in REGISTERS if register.name == name)
        assert re.search(rf"{name} \(0x{offset:02x}", text), name
    for word in (
        __version__,
        f"{FlowMachine(tiny_flow()).fingerprint():016x}",
        "72 bytes in 72 beats of 1",
        "active high",
    ):
        assert word in text
    assert "{{" not in text
    assert "make -C bench/icarus" in text
    without = generate(tiny_flow(), NETWORK, tmp_path / "none").readme.read_text()
    assert "bench/" not in without


@pytest.mark.usefixtures("quick")
def test_packaging_names_files_that_are_there(tmp_path: Path) -> None:
    generate(tiny_flow(), NETWORK, tmp_path / "out", images=IMAGES, aresetn=True, clock_mhz=125)
    core = yaml.safe_load((tmp_path / "out" / f"{ENGINE_TOP}.core").read_text().removeprefix("CAPI=2:\n"))
    named = [
        file if isinstance(file, str) else next(iter(file))
        for fileset in core["filesets"].values()
        for file in fileset["files"]
    ]
    assert set(named) <= set(files_of(tmp_path / "out"))
    assert f"{ENGINE_TOP}_aresetn.v" in named
    assert {"rtl", "lint", "sim", "sim_verilator"} < set(core["targets"])
    for target in core["targets"].values():
        assert {name.partition("(")[2].rstrip(")") or name for name in target["filesets"]} <= set(core["filesets"])
    tcl = (tmp_path / "out" / "package_ip.tcl").read_text()
    assert f"foreach source {{{ENGINE_TOP}.v {ENGINE_TOP}_aresetn.v}}" in tcl
    for name, line in (
        ("xdc", "create_clock -name aclk -period 8.000 [get_ports aclk]"),
        ("sdc", "create_clock -name aclk -period 8.000 [get_ports {aclk}]"),
        ("lpf", 'FREQUENCY PORT "aclk" 125 MHZ;'),
    ):
        assert line in (tmp_path / "out" / "constraints" / f"clock.{name}").read_text()


@pytest.mark.usefixtures("quick")
def test_the_register_map_as_systemrdl_is_the_register_map(tmp_path: Path) -> None:
    from systemrdl import RDLCompiler

    generate(tiny_flow(), None, tmp_path / "out")
    compiler = RDLCompiler()
    compiler.compile_file(str(tmp_path / "out" / "registers.rdl"))
    found = {
        register.inst_name: (
            register.absolute_address,
            [(field.inst_name, field.lsb, field.width, field.is_sw_writable) for field in register.fields()],
        )
        for register in compiler.elaborate().top.registers()
    }
    assert found == {
        register.name: (
            register.offset,
            [(field.name, field.lsb, field.width, field.access != "ro") for field in register.fields],
        )
        for register in REGISTERS
    }


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (None, {"images": IMAGES}, "golden vectors need a network"),
        (None, {"embed": True}, "no network to embed"),
        (NETWORK, {"images": IMAGES[:0]}, "at least one image, got 0"),
        (NETWORK, {"images": IMAGES[:, :4]}, "images"),
        (NETWORK, {"clock_mhz": float("nan")}, "clock must be 1 to 1000 MHz, got nan"),
        (NETWORK, {"clock_mhz": 0.5}, "clock must be 1 to 1000 MHz, got 0.5"),
    ],
)
def test_bad_input_writes_nothing(network: object, options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(BivitError, match=message):
        generate(tiny_flow(), network, tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_refuses_a_folder_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(BivitError, match="is no folder of `bivit generate`"):
        generate(tiny_flow(), None, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.usefixtures("quick")
def test_what_a_user_added_or_changed_is_lost_only_when_that_is_said(tmp_path: Path) -> None:
    out = tmp_path / "out"
    generate(tiny_flow(), NETWORK, out, images=IMAGES)
    (out / "bench/verilator/obj_dir").mkdir()
    (out / "bench/verilator/obj_dir/bench").write_text("built")
    generate(tiny_flow(), NETWORK, out, images=IMAGES)
    assert not (out / "bench/verilator/obj_dir").exists()
    (out / "constraints/mine.xdc").write_text("of the user")
    with pytest.raises(BivitError, match=r"did not write so: constraints/mine.xdc \(added\); .* --overwrite"):
        generate(tiny_flow(), None, out)
    (out / f"{ENGINE_TOP}.v").write_text(STUB + "// of the user\n")
    before = {name: (out / name).read_bytes() for name in files_of(out)}
    with pytest.raises(BivitError, match=rf"mine.xdc \(added\), {ENGINE_TOP}.v \(changed\)"):
        generate(tiny_flow(), None, out)
    assert {name: (out / name).read_bytes() for name in files_of(out)} == before
    generate(tiny_flow(), None, out, overwrite=True)
    assert "constraints/mine.xdc" not in files_of(out)
    assert (out / f"{ENGINE_TOP}.v").read_text() == STUB


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("text", ["{}", '{"files": [{"path": "a"}]}', "[", '{"name": "a web page", "files": 3}'])
def test_a_manifest_of_something_else(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(BivitError, match=r"manifest\.json.*choose another folder"):
        generate(tiny_flow(), None, tmp_path)
    assert (tmp_path / "manifest.json").read_text() == text


@pytest.mark.usefixtures("quick")
def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    generate(tiny_flow(), None, out)
    before = sorted(out.iterdir())

    def fail(*values: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bivit.hw.folder.generate.manifest", fail)
    with pytest.raises(KeyboardInterrupt):
        generate(tiny_flow(), NETWORK, out, images=IMAGES)
    assert sorted(out.iterdir()) == before
    assert list(tmp_path.iterdir()) == [out]


def test_templates_are_installed_with_the_package() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["bivit"]
    packed = {path for pattern in patterns for path in ROOT.glob(pattern)}
    assert set((ROOT / "hw").rglob("*.j2")) <= packed


def test_generated_says_where_everything_is(tmp_path: Path, quick: None) -> None:
    made = generate(tiny_flow(), None, tmp_path / "out")
    assert made == Generated(
        verilog=tmp_path / "out" / f"{ENGINE_TOP}.v",
        manifest=tmp_path / "out" / "manifest.json",
        engine=tmp_path / "out" / "engine.json",
        load_stream=None,
        program=None,
        readme=tmp_path / "out" / "README.md",
        image_cycles=None,
        latency_cycles=None,
    )
