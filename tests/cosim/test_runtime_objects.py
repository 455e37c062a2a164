"""Verilator's own library is compiled once for all designs that are built alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from bivit.cosim.runner import build
from bivit.cosim.runtime_objects import RuntimeObjects
from bivit.cosim.toolchain import Simulator
from bivit.sim.errors import BivitError

ADDER = "module top(input clk, input [{0}:0] a, output reg [{0}:0] b);\nalways @(posedge clk) b <= a + b;\nendmodule\n"


def build_one(width: int, cache: Path, **more: bool) -> Path:
    return build({"top.v": ADDER.format(width)}, "top", cache_dir=cache, **more).folder


def kept(cache: Path) -> list[Path]:
    return sorted(path for path in cache.glob("runtime-*") if path.is_dir())


@pytest.mark.slow
def test_a_second_design_takes_what_the_first_one_left(tmp_path: Path) -> None:
    assert (build_one(7, tmp_path) / "top").is_file()
    (runtime,) = kept(tmp_path)
    assert {"verilated.o", "verilated_vpi.o"} <= {path.name for path in runtime.iterdir()}
    left = {path: path.stat().st_mtime_ns for path in runtime.iterdir()}
    assert (build_one(8, tmp_path) / "top").is_file()
    assert {path: path.stat().st_mtime_ns for path in runtime.iterdir()} == left
    (runtime / "verilated.o").write_bytes(b"no object")  # it is this that is linked
    with pytest.raises(BivitError, match=r"verilated\.o"):
        build_one(9, tmp_path)


@pytest.mark.slow
def test_a_build_that_fails_keeps_nothing(tmp_path: Path) -> None:
    with pytest.raises(BivitError, match="cannot be built"):
        build({"top.v": "module top(input clk);\nassign x = ;\nendmodule\n"}, "top", cache_dir=tmp_path)
    assert kept(tmp_path) == []


def test_other_arguments_or_another_simulator_have_other_objects(tmp_path: Path) -> None:
    here = Simulator("verilator", "5", Path("verilator"), None)
    there = Simulator("verilator", "6", Path("verilator"), None)
    folders = [
        RuntimeObjects.of(found, arguments, tmp_path).folder
        for found, arguments in ((here, ["-O3"]), (there, ["-O3"]), (here, ["-O3", "--trace-vcd"]), (here, ["-O3"]))
    ]
    assert len(set(folders)) == 3
    assert folders[0] == folders[3]
