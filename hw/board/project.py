"""Writes the project of a board whose bitstream the vendor's tool makes: script, constraints, page, and its check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...sim.engine.loadstream import Sections
from ...sim.flow.machine import FlowMachine
from ...sim.system.files import read_json, write_text
from ..convert import verilog_text
from ..parts.contents import Contents
from ..ports import WEIGHTS_PORT
from ..templates import environment
from ..verilog_text import compact
from .boards import Board, ZynqBoard
from .constraints import xdc
from .project_check import check_project
from .top import BoardTop

#: Script of a project, and the module of a board's top.
SCRIPT, TOP = "build.tcl", "bivit_board"
#: Room of the templates.
_ROOM = "bivit.hw.board"
#: Where the processor sees registers: cell, interface, address.
SEGMENTS = (
    ("engine", "s_axil", 0xA000_0000),
    ("dma", "S_AXI_LITE", 0xA001_0000),
    ("dma_load", "S_AXI_LITE", 0xA002_0000),
)
#: What the folder of the engine is called in a project.
ENGINE_FOLDER = "engine"


@dataclass(frozen=True)
class Words:
    """What a project's page says beside its engine and board.

    Parameters
    ----------
    engine : str
        Name of it.
    clock_kind : str
        How the clock is known.
    baud : int
        Of a serial line.
    """

    engine: str
    clock_kind: str
    baud: int


def write_project(
    folder: Path,
    board: Board | ZynqBoard,
    words: Words,
    *,
    top: BoardTop | None = None,
    contents: Sections | None = None,
) -> bool | None:
    """Write what Vivado needs beside the engine's folder, and check it.

    Parameters
    ----------
    folder : Path
        Has the engine's folder, `ENGINE_FOLDER`, made with the clock of the project and for a processor with `aresetn`.
    board : Board or ZynqBoard
    words : Words
    top : BoardTop, optional
        Of a board with a serial line.
    contents : mapping, optional
        Words of a network that the top holds without a load stream.

    Returns
    -------
    bool or None
        Whether the script was checked; None where it could not be.

    Raises
    ------
    BivitError
        When what was written does not fit the engine.
    """
    manifest = read_json(folder / ENGINE_FOLDER / "manifest.json", "the manifest")
    if isinstance(board, ZynqBoard):
        return _written(folder, board, words, manifest, "zynq", _of_zynq(manifest))
    assert top is not None
    held = None if contents is None else Contents.of(FlowMachine(top.flow), contents)
    write_text(folder / "board.v", compact(verilog_text(top, TOP, held)))
    write_text(folder / "pins.xdc", xdc(board))
    return _written(folder, board, words, manifest, "serial", {"top": TOP, "baud": words.baud})


def _of_zynq(manifest: Mapping[str, Any]) -> dict[str, Any]:
    bits = {port["name"]: port["bits"] for port in manifest["ports"]}
    blocks = ("zynq_ultra_ps_e", "proc_sys_reset", "axi_dma", "smartconnect")
    image = manifest.get("network", {}).get("image")
    axes = ("height", "width", "channels")
    shape = [str(image[axis]) for axis in axes] if image else axes
    return {
        "pixel_bits": bits["s_axis_pixels_tdata"],
        "streamed": f"{WEIGHTS_PORT}_araddr" in bits,
        "vlnvs": [*(f"xilinx.com:ip:{name}" for name in blocks), f"bivit:engine:{manifest['top']}"],
        "image": f"[images, {', '.join(shape)}]",
    }


def _written(
    folder: Path, board: Board | ZynqBoard, words: Words, manifest: Mapping[str, Any], kind: str, more: dict[str, Any]
) -> bool | None:
    """Fill the templates in, check, and write the page, which says what was checked."""
    made = environment(_ROOM)
    made.globals |= {"board": board, "manifest": manifest, "segments": SEGMENTS, **more}
    write_text(folder / SCRIPT, made.get_template(f"{kind}.tcl.j2").render())
    if kind == "zynq":
        write_text(folder / "registers.c", made.get_template("registers.c.j2").render())
    checked = check_project(folder, board, manifest)
    page = made.get_template(f"{kind}.md.j2").render(
        engine=words.engine, clock_kind=words.clock_kind, checked=_CHECKED if checked else _UNCHECKED
    )
    write_text(folder / "README.md", page)
    return checked


_CHECKED = (
    "The script was run in a Tcl interpreter with stand-ins for Vivado's commands, and every port, interface, file, "
    "address and clock that it names was compared with the engine and the board."
)
_UNCHECKED = "The script was not checked either: this machine's Python has no Tcl interpreter (tkinter)."
