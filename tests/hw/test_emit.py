"""Verilog that is the same every time, lints clean, and can be read by strangers."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from engines import tiny_flow, tiny_verilog
from flow_random import random_engine

from bivit import __version__
from bivit.cosim.toolchain import find_simulator
from bivit.hw import emit
from bivit.hw.emit import convert_engine, engine_modules, engine_verilog
from bivit.hw.multiplier_blocks import with_guards
from bivit.hw.ports import engine_ports, interfaces
from bivit.hw.probes import probes
from bivit.hw.run import Run
from bivit.hw.verilog_text import module_names
from bivit.hw.verilog_top import ENGINE_TOP, with_listed_ports
from bivit.sim.engine import config as sim_engine
from bivit.sim.errors import BivitError
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.machine import FlowMachine

#: What Amaranth's Verilog writer does by itself and the text does not waive: initial values of registers, a signal with
#: the name of the instance that its module has, signals that nothing drives since nothing reads them.
WAIVED = ("PROCASSINIT", "VARHIDDEN", "UNDRIVEN")


MACHINE = FlowMachine(tiny_flow())


def lut4_flow() -> FlowConfig:
    return replace(tiny_flow(), engine=replace(tiny_flow().engine, fabric="lut4"))


def test_the_text_is_the_same_again_and_names_no_file():
    assert convert_engine(tiny_flow()) == engine_modules(tiny_flow())
    assert str(Path.cwd()) not in tiny_verilog()
    assert "(* src" not in tiny_verilog()


@pytest.fixture
def conversions(tmp_path, monkeypatch) -> list[FlowConfig]:
    """An empty cache, and the engines that are converted instead of found in it."""
    converted = []

    def convert(flow, contents=None):
        converted.append(flow)
        return f"module of {flow.engine.fabric}"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("bivit.hw.emit.convert_engine", convert)
    # The replacement above is no unit.
    monkeypatch.setattr(emit, "_units_are_replaced", lambda: False)
    return converted


def test_an_engine_is_converted_once(conversions, monkeypatch):
    lut6, lut4 = tiny_flow(), lut4_flow()
    assert [engine_modules(engine) for engine in (lut6, lut4, lut6, lut6)] == [
        f"module of {fabric}" for fabric in ("lut6", "lut4", "lut6", "lut6")
    ]
    assert conversions == [lut6, lut4]
    # Other sources, or another converter, make another text.
    monkeypatch.setattr(emit, "_sources_hash", lambda: "other")
    engine_modules(lut6)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0")
    engine_modules(lut6)
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
    monkeypatch.setattr(Run, "elaborate", lambda self, platform: None)
    assert emit._units_are_replaced()


@pytest.mark.slow
@pytest.mark.parametrize("fabric", ["lut6", "lut4"])
def test_lints_clean(fabric, tmp_path):
    text = tiny_verilog() if fabric == "lut6" else engine_verilog(lut4_flow())
    (tmp_path / f"{ENGINE_TOP}.v").write_text(text)
    assert lint(tmp_path, "-Wall", *(f"-Wno-{rule}" for rule in WAIVED)) == (0, "")
    # The check can fail: a signal that nothing declares.
    broken = re.sub(r"  assign irq = ", "  assign irqs = ", text, count=1)
    assert broken != text
    (tmp_path / f"{ENGINE_TOP}.v").write_text(broken)
    code, output = lint(tmp_path, "-Wall", *(f"-Wno-{rule}" for rule in WAIVED))
    assert code
    assert "irqs" in output


@pytest.mark.slow
@pytest.mark.parametrize("seed", [71002, 71003, 71011])
def test_random_engines_lint_clean(seed, tmp_path):
    """Single rows and lanes, one table word for all channels, queues of two: counters that count to one."""
    text = engine_verilog(random_engine(Random(seed)))
    assert "[-1:0]" not in text
    (tmp_path / f"{ENGINE_TOP}.v").write_text(text)
    assert lint(tmp_path) == (0, "")
    assert lint(tmp_path, "-Wall", *(f"-Wno-{rule}" for rule in WAIVED)) == (0, "")


def test_every_signal_has_bits():
    assert "[-1:0]" not in tiny_verilog()


@pytest.mark.slow
def test_lints_without_options(tmp_path):
    """As whoever has only the file calls it; without the pragmas in its head it does not pass."""
    (tmp_path / f"{ENGINE_TOP}.v").write_text(tiny_verilog())
    assert lint(tmp_path) == (0, "")
    (tmp_path / f"{ENGINE_TOP}.v").write_text(tiny_verilog().replace("/* verilator lint_off WIDTH */", ""))
    assert lint(tmp_path)[0]


def lint(folder: Path, *options: str) -> tuple[int, str]:
    found = find_simulator("verilator")
    command = [str(found.executable), "--lint-only", *options, f"{ENGINE_TOP}.v"]
    root = {"VERILATOR_ROOT": str(found.root)} if found.root else {}
    done = subprocess.run(command, cwd=folder, env=os.environ | root, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_a_header_says_what_it_is():
    head = tiny_verilog().partition("module ")[0]
    assert head.startswith("// SPDX-License-Identifier: Apache-2.0\n")
    for word in (f"bivit {__version__}", f"{MACHINE.fingerprint():016x}", "3 rows, 8 columns, 8 lanes"):
        assert word in head
    assert tiny_verilog().endswith(with_guards(engine_modules(tiny_flow())))


def test_names_of_modules_are_plain():
    names = module_names(tiny_verilog())
    assert len(names) == len(set(names)) > 50
    assert [name for name in names if not re.fullmatch(r"\w+", name)] == []
    instances = re.findall(r"^  (\S+) +\S+ +\($", tiny_verilog(), re.M)
    assert set(instances) <= set(names)


def test_ports_stand_in_the_head_in_the_order_of_their_buses():
    head = re.search(rf"^module {ENGINE_TOP} \((.*?)^\);", tiny_verilog(), re.M | re.S)
    assert head is not None
    listed = re.findall(r"^  (input|output) (?:wire|reg) (?:\[(\d+):0\] )?(\w+)", head[1], re.M)
    ports = [port for bus in interfaces(MACHINE) for port in bus.ports]
    assert listed == [(port.direction, str(port.bits - 1) if port.bits > 1 else "", port.name) for port in ports]
    assert [port.name for port in ports if port.name in {"clk", "rst", *engine_ports(MACHINE)}] == [
        port.name for port in ports
    ]
    assert len(ports) == 2 + len(engine_ports(MACHINE))
    assert [bus.name for bus in interfaces(MACHINE)][:3] == ["clk", "rst", "s_axil"]
    info = re.findall(r'X_INTERFACE_INFO = "xilinx.com:\S+ (\S+) (\w+)"', head[1])
    assert len(info) == len(ports)
    assert ("s_axis_pixels", "TDATA") in info


def test_a_writer_that_declares_ports_otherwise_is_noticed():
    text = f"module {ENGINE_TOP}(clk);\n  input wire clk;\nendmodule\n"
    with pytest.raises(BivitError, match="does not declare the input clk"):
        with_listed_ports(text, MACHINE)
    with pytest.raises(BivitError, match="has no module"):
        with_listed_ports("", MACHINE)


def test_observed_signals_exist():
    """Every probe names a wire of the module that it says it is in."""
    modules = {
        name.removeprefix("\\").strip(): body
        for name, body in re.findall(r"^module (\\\S+ |\w+) ?\((.*?)^endmodule", tiny_verilog(), re.M | re.S)
    }
    top = modules[ENGINE_TOP]
    for probe in probes(tiny_flow()):
        for path in (probe.enable, probe.data, *probe.keys):
            *units, signal = path.partition(":")[0].split(".")  # behind a colon is a field of the signal
            body = top
            for unit in units:
                found = re.search(rf"^  \\?(\S+)  ?\\?{unit} +\($", body, re.M)
                assert found is not None, path
                body = modules[found[1]]
            assert re.search(rf"^  (wire|reg) (\[\d+:0\] )?{signal}( =.*)?;", body, re.M), path
