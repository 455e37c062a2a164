"""Checks a project without Vivado: its script is run with stand-ins, and what it names is compared with the engine."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from ...sim.errors import BivitError
from ...sim.system.files import scratch_folder
from ..verilog_ports import ports_of
from .amd_blocks import BlockPin, block_pins, engine_pins
from .boards import Board, ZynqBoard
from .tcl import has_tcl
from .vivado import Design, recorded

#: What every script leaves, and those with a processor.
_LEFT, _LEFT_BESIDE = ("board.bit",), ("board.bit", "board.hwh")
_REPORTS = {"utilisation.rpt", "utilisation_engine.rpt", "timing.rpt"}


def check_project(folder: Path, board: Board | ZynqBoard, manifest: Mapping[str, Any]) -> bool | None:
    """Compare what the script of a project asks for with its engine and its board.

    Parameters
    ----------
    folder : Path
        The project, which stays as it is.
    board : Board or ZynqBoard
    manifest : mapping
        Of the engine.

    Returns
    -------
    bool or None
        True, or None where this Python has no Tcl interpreter.

    Raises
    ------
    BivitError
        With all that is wrong.
    """
    if not has_tcl():
        return None
    with scratch_folder("bivit-project") as scratch:
        copy = scratch / "project"
        shutil.copytree(folder, copy)
        design = recorded(copy, "build.tcl", manifest)
        left = _LEFT_BESIDE if isinstance(board, ZynqBoard) else _LEFT
        wrong = [f"the script leaves no {name}" for name in left if not (copy / name).is_file()]
        wrong += _differences(design, copy, board, manifest)
    if wrong:
        raise BivitError(f"the project for {board.name} is wrong: {'; '.join(wrong)}")
    return True


def _differences(design: Design, folder: Path, board: Board | ZynqBoard, manifest: Mapping[str, Any]) -> Iterator[str]:
    engine = ports_of((folder / "engine" / f"{manifest['top']}.v").read_text(encoding="utf-8"), manifest["top"])
    if engine != {port["name"]: (port["direction"], port["bits"]) for port in manifest["ports"]}:
        yield "ports of the Verilog are not those of the manifest"
    if {path.name for path in design.reports} != _REPORTS:
        yield f"reports are {', '.join(sorted(path.name for path in design.reports))}"
    if isinstance(board, ZynqBoard):
        yield from _of_part(design, board.full_part)
        yield from _of_block_design(design, manifest)
    else:
        yield from _of_part(design, f"{board.part}{board.package}")
        yield from _of_pins(design, folder, board)


def _of_part(design: Design, part: str) -> Iterator[str]:
    if design.part != part:
        yield f"the part is {design.part}, the board has {part}"


def _of_pins(design: Design, folder: Path, board: Board) -> Iterator[str]:
    """Compare constraints with the ports of the top and the pins of the board."""
    ports = ports_of((folder / "board.v").read_text(encoding="utf-8"), design.top)
    if set(design.pins) != set(ports):
        yield f"pins are given for {', '.join(design.pins)}, the top has {', '.join(ports)}"
    sites = {name: pin.get("PACKAGE_PIN") for name, pin in design.pins.items()}
    if sites != {name: pin.site for name, pin in board.pins.items()}:
        yield "pins are not those of the board"
    if any("IOSTANDARD" not in pin for pin in design.pins.values()):
        yield "a pin has no standard"
    if design.clocks != {"clk": round(1000 / board.clock_mhz, 3)}:
        yield f"clocks are {design.clocks}, the board has {board.clock_mhz:g} MHz at clk"


def _of_block_design(design: Design, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Compare a block design with the pins of its cells, and with the engine's registers and clock."""
    own = f"bivit:engine:{manifest['top']}"
    pins = {
        f"{cell}/{name}": pin
        for cell, ip in design.cells.items()
        for name, pin in (engine_pins(manifest) if ip == own else block_pins(ip, design.config[cell])).items()
    }
    for one, other in design.links:
        yield from _link(one, other, pins)
    for source, sink in design.nets:
        if (pins[source].gives, pins[sink].gives, pins[source].kind) != (True, False, pins[sink].kind):
            yield f"{source} cannot drive {sink}"
    yield from _of_connections(design, pins)
    yield from _of_addresses(design, pins)
    asked = design.config["ps"].get("PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ")
    if asked is None or float(asked) != float(f"{manifest['clock_mhz']:g}"):
        yield f"the processor is asked for {asked} MHz, the engine for {manifest['clock_mhz']:g}"
    if design.registers != {name: one["offset"] for name, one in manifest["registers"].items()}:
        yield "registers of the packed engine are not those of the manifest"
    if not design.validated or design.top != "system_wrapper":
        yield "the block design is not validated, or its wrapper is not the top"


def _link(one: str, other: str, pins: Mapping[str, BlockPin]) -> Iterator[str]:
    here, there = pins[one], pins[other]
    if here.kind != there.kind or here.gives == there.gives:
        yield f"{one} and {other} cannot be connected"
    if here.bits and there.bits and here.bits != there.bits:
        yield f"{one} has {here.bits} bits, {other} {there.bits}"


def _of_connections(design: Design, pins: Mapping[str, BlockPin]) -> Iterator[str]:
    """What must be connected is, once; all clocks are the processor's."""
    ends = Counter([end for link in design.links for end in link] + [sink for _, sink in design.nets])
    sources = {source for source, _ in design.nets}
    for name, pin in pins.items():
        if pin.needed and not ends[name] and name not in sources:
            yield f"{name} is not connected"
        if ends[name] > 1:
            yield f"{name} is connected {ends[name]} times"
    for source, sink in design.nets:
        if pins[sink].kind == "clock" and source != "ps/pl_clk0":
            yield f"the clock of {sink} is {source}"


def _of_addresses(design: Design, pins: Mapping[str, BlockPin]) -> Iterator[str]:
    """Every slave has a place by itself, where a range of its size may begin."""
    for name in (name for name, pin in pins.items() if pin.address and name not in design.segments):
        yield f"{name} has no address"
    places = sorted((offset, offset + size, name) for name, (offset, size) in design.segments.items())
    for (_, end, name), (offset, _, other) in pairwise(places):
        if offset < end:
            yield f"{name} and {other} have the same addresses"
    for name, (offset, size) in design.segments.items():
        if offset % size or not 0xA0000000 <= offset <= 0xB0000000 - size:
            yield f"{name} cannot lie at {offset:#x}"
