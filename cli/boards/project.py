"""The project that `bivit build` writes for boards whose bitstream only their vendor's tool makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ...sim.system.files import whole_folder, write_json
from ...sim.system.own_folder import check_replaceable, file_rows
from ...sim.system.result import OPTIONAL, Result
from ..runs.estimates import ResourceRow, resource_rows
from ..shared.net import Net
from ..shared.progress import Step, say

if TYPE_CHECKING:
    from ...hw.board.boards import Board, ZynqBoard
    from ...sim.flow.config import FlowConfig

#: File of the report, in every folder that `bivit build` writes.
REPORT = "board.json"
#: Files of its folder.
_FILES = "files.json"
_VIVADO = "not run: no Vivado was at hand"
#: What `on_silicon` says of every board.
UNVERIFIED = "not verified: no board was asked"


@dataclass(frozen=True, kw_only=True)
class Project(Result):
    """What `bivit build` wrote for a board whose bitstream its vendor's tool makes.

    `bitstream` is None, since there is none yet. `script_checked` is whether the script was run with stand-ins for the
    tool's commands and compared with the engine; None where this Python has no Tcl. `fits` and `resources` are
    estimated, of the engine alone. `images_per_s_engine` follows from the clock that is asked for and the cycles of a
    long run. `baud` is there for boards with a serial line.
    """

    board: str
    part: str
    kind: str = "project"
    engine: str
    network: str
    weights: str
    embedded: bool
    bitstream: Path | None = None
    script: Path
    script_checked: bool | None
    vivado: str = _VIVADO
    fits: bool | None
    resources: tuple[ResourceRow, ...]
    clock_mhz: float
    clock_kind: str
    image_cycles: int
    images_per_s_engine: float
    baud: int | None = field(default=None, metadata=OPTIONAL)
    on_silicon: str = UNVERIFIED
    seconds: float


@dataclass(frozen=True)
class Asked:
    """What a project is to be.

    Parameters
    ----------
    net : Net
    engine : str
        Name of it.
    flow : FlowConfig
    board : Board or ZynqBoard
    clock_mhz : float, optional
        The board's, or the device's, when left out.
    baud : int
        Of a serial line.
    embed : bool, optional
        Only behind a serial line when left out: a DMA loads a network in no time.
    """

    net: Net
    engine: str
    flow: FlowConfig
    board: Board | ZynqBoard
    clock_mhz: float | None
    baud: int
    embed: bool | None


def build_project(asked: Asked, out: Path, told: Step) -> Project:
    """Write a project, whole or not at all.

    Parameters
    ----------
    asked : Asked
    out : Path
        Folder that is replaced.
    told : Step
        Is told what begins.

    Raises
    ------
    BivitError
        When the network does not fit the engine, or the clock cannot be made.
    """
    from ...hw.board.boards import ZynqBoard
    from ...hw.board.project import ENGINE_FOLDER, SCRIPT, Words, write_project
    from ...hw.board.top import BoardTop
    from ...hw.folder.generate import generate
    from ...sim.estimate.devices import device
    from ...sim.estimate.resources import estimate_resources

    board, flow, target = asked.board, asked.flow, device(asked.board.part)
    beside = isinstance(board, ZynqBoard)
    embed = not beside if asked.embed is None else asked.embed
    resources = estimate_resources(flow, target)
    if resources.fits is False:
        say(f"{asked.engine} does not fit {target.part}, by estimate; the project is written all the same")
    top = None
    clock = asked.clock_mhz or (target.clock_mhz if isinstance(board, ZynqBoard) else board.default_mhz)
    if not isinstance(board, ZynqBoard):
        top = BoardTop(board, flow, clock, asked.baud)
        clock = round(top.clock_mhz, 3)
    kind = "given" if asked.clock_mhz else target.clock_kind if beside else "assumed"
    with whole_folder(out) as folder:
        told("writing the engine's folder")
        engine = folder / ENGINE_FOLDER
        made = generate(flow, asked.net.network, engine, embed=embed, aresetn=beside, clock_mhz=clock)
        told("writing and checking the project")
        words = made.program.words if embed and made.program else None
        checked = write_project(folder, board, Words(asked.engine, kind, asked.baud), top=top, contents=words)
        if beside:
            _write_driver(folder)
        assert made.image_cycles is not None
        report = Project(
            board=board.name,
            part=board.part,
            engine=asked.engine,
            network=asked.net.facts.network,
            weights=asked.net.facts.weights,
            embedded=embed,
            script=out / SCRIPT,
            script_checked=checked,
            fits=resources.fits,
            resources=resource_rows(resources),
            clock_mhz=clock,
            clock_kind=kind,
            image_cycles=made.image_cycles,
            images_per_s_engine=round(clock * 1e6 / made.image_cycles, 1),
            baud=None if beside else asked.baud,
            seconds=round(told.seconds, 1),
        )
        write_report(folder, report)
    return report


def write_report(folder: Path, report: Result) -> None:
    """Write what was built, and the files of the folder, whose names and hashes keep what a user adds from being lost.

    Parameters
    ----------
    folder : Path
        Holds all other files.
    report : Result
    """
    write_json(folder / REPORT, report.to_dict())
    write_json(folder / _FILES, {"files": file_rows(folder)})


def check_own_folder(out: Path, overwrite: bool) -> None:
    """Refuse a folder that is none of `bivit build`, or unless `overwrite` holds more than that wrote.

    Raises
    ------
    BivitError
        Naming what would be lost.
    """
    from ...hw.board.project import ENGINE_FOLDER
    from ...hw.folder.manifest import BENCH_OUTPUTS

    check_replaceable(out, _FILES, "`bivit build`", overwrite, [f"{ENGINE_FOLDER}/{name}" for name in BENCH_OUTPUTS])


def _write_driver(folder: Path) -> None:
    """Put the driver for PYNQ beside the project; it needs nothing else of bivit."""
    import shutil

    from ...host import pynq_overlay

    source = Path(pynq_overlay.__file__)
    shutil.copyfile(source, folder / source.name)
