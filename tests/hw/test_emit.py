"""What `generate` writes: Verilog that is the same every time and lints clean, and files that agree with each other."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from shapes import TOKENS, tiny_engine

from bivit.cosim.toolchain import find_simulator
from bivit.hw import emit
from bivit.hw.emit import ENGINE_TOP, convert_engine, engine_verilog, generate
from bivit.hw.probes import probes
from bivit.hw.settings import Settings
from bivit.sim.engine import config as sim_engine
from bivit.sim.engine.config import EngineConfig
from bivit.sim.engine.loadstream import parse_stream
from bivit.sim.engine.presets import engine_from_dict
from bivit.sim.errors import BivitError
from bivit.sim.network.random import random_network

#: What Amaranth's Verilog writer does by itself: widths of operators, initial values, signals that only have a name;
#: and one file for all modules.
WAIVED = ("WIDTHEXPAND", "WIDTHTRUNC", "PROCASSINIT", "UNUSEDSIGNAL", "DECLFILENAME")


@functools.cache
def verilog() -> str:
    return engine_verilog(tiny_engine())


def test_the_text_is_the_same_again_and_names_no_file():
    assert convert_engine(tiny_engine()) == verilog()
    assert str(Path.cwd()) not in verilog()
    assert "(* src" not in verilog()


@pytest.fixture
def conversions(tmp_path, monkeypatch) -> list[EngineConfig]:
    """An empty cache, and the engines that are converted instead of found in it."""
    converted = []

    def convert(engine):
        converted.append(engine)
        return f"module of {engine.fabric}"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("bivit.hw.emit.convert_engine", convert)
    # The replacement above is no unit.
    monkeypatch.setattr(emit, "_units_are_replaced", lambda: False)
    return converted


def test_an_engine_is_converted_once(conversions, monkeypatch):
    lut6, lut4 = tiny_engine(), tiny_engine(fabric="lut4")
    assert [engine_verilog(engine) for engine in (lut6, lut4, lut6, lut6)] == [
        f"module of {fabric}" for fabric in ("lut6", "lut4", "lut6", "lut6")
    ]
    assert conversions == [lut6, lut4]
    # Other sources, or another converter, make another text.
    monkeypatch.setattr(emit, "_sources_hash", lambda: "other")
    engine_verilog(lut6)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0")
    engine_verilog(lut6)
    assert conversions == [lut6, lut4, lut6, lut6]


def test_the_sources_of_all_units_count():
    hashes, read = [], Path.read_bytes
    for path in (Path(emit.__file__), Path(sim_engine.__file__)):
        emit._sources_hash.cache_clear()
        hashes.append(emit._sources_hash())
        emit._sources_hash.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "read_bytes", lambda self, path=path: read(self) + b"#" * (self == path))
            hashes.append(emit._sources_hash())
    emit._sources_hash.cache_clear()
    assert hashes[0] == hashes[2]
    assert len(set(hashes)) == 3


def test_a_planted_fault_is_not_kept(monkeypatch):
    assert not emit._units_are_replaced()
    monkeypatch.setattr(Settings, "elaborate", lambda self, platform: None)
    assert emit._units_are_replaced()


@pytest.mark.slow
@pytest.mark.parametrize("fabric", ["lut6", "lut4"])
def test_lints_clean(fabric, tmp_path):
    text = verilog() if fabric == "lut6" else engine_verilog(tiny_engine(fabric=fabric))
    (tmp_path / f"{ENGINE_TOP}.v").write_text(text)
    assert lint(tmp_path) == ""
    # The check can fail: a signal that nothing drives.
    broken = re.sub(r"  assign irq = [^;]*;\n", "", text, count=1)
    assert broken != text
    (tmp_path / f"{ENGINE_TOP}.v").write_text(broken)
    assert "irq" in lint(tmp_path)


def lint(folder: Path) -> str:
    found = find_simulator("verilator")
    command = [str(found.executable), "--lint-only", "-Wall", *(f"-Wno-{rule}" for rule in WAIVED), f"{ENGINE_TOP}.v"]
    root = {"VERILATOR_ROOT": str(found.root)} if found.root else {}
    done = subprocess.run(command, cwd=folder, env=os.environ | root, capture_output=True, text=True, check=False)
    return done.stderr


def test_files_agree(tmp_path):
    engine, network = tiny_engine(), random_network(TOKENS, seed=1)
    made = generate(engine, network, tmp_path / "out")
    text = made.verilog.read_text()
    manifest = json.loads(made.manifest.read_text())
    assert text == verilog()
    assert manifest["verilog_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert engine_from_dict(json.loads(made.engine.read_text())) == engine
    assert manifest["fingerprint"] == f"{engine.fingerprint():016x}"
    header = re.search(rf"^module {ENGINE_TOP} ?\((.*?)\);", text, re.M | re.S)
    assert header is not None
    assert {port["name"] for port in manifest["ports"]} == {name.strip() for name in header[1].split(",")}
    words = parse_stream(engine, made.load_stream.read_bytes())
    for name, spec in engine.load_memories.items():
        lines = (tmp_path / "out" / "memories" / f"{name}.hex").read_text().split()
        image = [int(line, 16) for line in lines if not line.startswith("@")]
        assert image == [word for part in words.get(name, {}).values() for word in part]
        assert len(image) <= spec.depth
    assert "0x" in (tmp_path / "out" / "registers.md").read_text()
    assert "#define BIVIT_" in (tmp_path / "out" / "bivit_registers.h").read_text()


def test_observed_signals_exist():
    """Every probe names a wire of the module that it says it is in."""
    modules = {
        name.removeprefix("\\").strip(): body
        for name, body in re.findall(r"^module (\\\S+ |\w+) ?\((.*?)^endmodule", verilog(), re.M | re.S)
    }
    top = modules[ENGINE_TOP]
    for probe in probes(tiny_engine()):
        for path in (probe.enable, probe.data, *probe.keys):
            *units, signal = path.split(".")
            body = top
            for unit in units:
                found = re.search(rf"^  \\?(\S+)  ?\\?{unit} +\($", body, re.M)
                assert found is not None, path
                body = modules[found[1]]
            assert re.search(rf"^  (wire|reg) (\[\d+:0\] )?{signal}( =.*)?;", body, re.M), path


def test_refuses_a_folder_that_it_did_not_make(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(BivitError, match="was not generated by bivit"):
        generate(tiny_engine(), None, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr("bivit.hw.emit.engine_verilog", lambda engine: verilog())
    generate(tiny_engine(), None, out)
    before = sorted(out.iterdir())

    def fail(engine):
        raise KeyboardInterrupt

    monkeypatch.setattr("bivit.hw.emit.engine_verilog", fail)
    with pytest.raises(KeyboardInterrupt):
        generate(tiny_engine(), None, out)
    assert sorted(out.iterdir()) == before
    assert list(tmp_path.iterdir()) == [out]
