"""What Verilator is told of ports and of repeated modules, and that it then compiles one function for all of them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from engines import tiny_flow, tiny_verilog

from bivit.cosim import runner, toolchain
from bivit.cosim.toolchain import find_simulator
from bivit.cosim.verilator_control import CONTROL_FILE, VERILATOR_COMPILES, control_file
from bivit.hw.verilog_top import ENGINE_TOP


def module(name: str, lines: int, *instances: str) -> str:
    """Verilog as Yosys writes it, of so many lines and with instances of other modules."""
    inner = "".join(f"  {kind}  part_{k} (\n    .i(i)\n  );\n" for k, kind in enumerate(instances))
    filler = "".join(f"  wire w{k} = i;\n" for k in range(lines))
    ports = "  input clk;\n  wire clk;\n  input [7:0] i;\n  wire [7:0] i;\n"
    return f"module {name} (i, o, clk);\n{ports}{filler}{inner}endmodule\n"


def test_large_modules_with_many_instances_are_named() -> None:
    text = module("large", 400) + module("small", 20) + module("row", 10, *["large"] * 8, *["small"] * 8)
    text += module("once", 20_000) + module("top", 10, *["row"] * 4, "once")
    # 32 times large; small ones become part of the row, and what is there once is compiled once anyway.
    assert named(text) == ['public_flat_rd -module "large" -var "i"']
    assert named(module("top", 10, *["large"] * 8) + module("large", 400)) == []  # 8 x 400 lines


def named(text: str) -> list[str]:
    """What is said of other modules than the top."""
    first, *lines = control_file([text], "top").splitlines()
    assert first == "`verilator_config"
    return [line for line in lines if '"top"' not in line]


def test_inputs_of_the_top_can_be_written_and_outputs_be_read() -> None:
    # The head of a bench, and of Yosys.
    bench = "module top (\n  input wire [0:0] clk,\n  output wire [7:0] o\n);\nendmodule\n"
    yosys = "module top (o, clk);\n  input clk;\n  wire clk;\n  output [7:0] o;\n  wire [7:0] o;\nendmodule\n"
    for text in (bench, yosys):
        lines = control_file(["module part ();\nendmodule\n", text], "top").splitlines()[1:]
        assert sorted(lines) == [
            'public_flat_rd -module "top" -var "o"',
            'public_flat_rw -module "top" -var "clk"',
        ]


def test_only_verilator_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[tuple[str, list[str]]] = []

    def note(folder: Path, runner_: object, sources: dict[str, str], *_: object) -> None:
        built.append((type(runner_).__name__, list(sources)))
        folder.mkdir()

    monkeypatch.setattr(runner, "_build_into", note)
    monkeypatch.setattr(runner._Icarus, "_simulator_in_path", lambda self: None)  # it need not be installed
    monkeypatch.setattr(runner, "control_file", lambda texts, top: "`verilator_config\n")
    found = {name: runner.Simulator(name, "1", Path("/bin/true")) for name in ("verilator", "icarus")}
    monkeypatch.setattr(runner, "find_simulator", found.__getitem__)
    for simulator in found:
        runner.build({"top.v": "module top ();\nendmodule\n"}, "top", simulator=simulator, cache_dir=tmp_path)
    assert built == [("_Verilator", [CONTROL_FILE, "top.v"]), ("_Icarus", ["top.v"])]


def test_a_simulation_is_of_one_kind_of_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_build_into", lambda folder, *_: folder.mkdir())
    monkeypatch.setattr(runner, "find_simulator", lambda name: runner.Simulator(name, "1", Path("/bin/true")))
    for kind in ("old", "new", "old"):
        monkeypatch.setattr(runner, "processor", lambda kind=kind: kind)
        runner.build({"top.v": "module top ();\nendmodule\n"}, "top", cache_dir=tmp_path)
    assert sum(path.is_dir() for path in tmp_path.iterdir()) == 2
    assert "+" in toolchain.processor()


def test_all_processors_compile_that_bivit_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(runner._OwnProcesses, "_execute_cmds", lambda self, commands, *_: ran.extend(commands))
    monkeypatch.setattr(runner, "find_simulator", lambda name: runner.Simulator(name, "1", Path("/bin/true")))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(7)), raising=False)
    runner.build({"top.v": "module top ();\nendmodule\n"}, "top", cache_dir=tmp_path)
    translate, make = ran
    assert set(VERILATOR_COMPILES) <= set(translate)
    assert make[make.index("-j") + 1] == "7"
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert toolchain.processors() == 3


@pytest.mark.slow
def test_equal_instances_are_one_function(tmp_path: Path) -> None:
    """Of the dot units of an array; without the control file there are as many as instances."""
    verilator = find_simulator("verilator")
    root = {"VERILATOR_ROOT": str(verilator.root)} if verilator.root else {}
    (tmp_path / CONTROL_FILE).write_text(control_file([tiny_verilog()], ENGINE_TOP))
    (tmp_path / "engine.v").write_text(tiny_verilog())
    functions = []
    for name, sources in (("told", [CONTROL_FILE, "engine.v"]), ("untold", ["engine.v"])):
        options = ["--cc", "--Mdir", name, "--top-module", ENGINE_TOP, "-Wno-fatal", *VERILATOR_COMPILES]
        command = [str(verilator.executable), *options, *sources]
        subprocess.run(command, cwd=tmp_path, env=os.environ | root, check=True, capture_output=True)
        texts = [path.read_text() for path in (tmp_path / name).glob("*dot_0_0__?.cpp")]
        functions.append(sum(text.count("\nvoid ") for text in texts))
    assert 0 < functions[0] <= 4
    assert functions[1] >= tiny_flow().engine.rows * tiny_flow().engine.columns
