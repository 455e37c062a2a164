"""`bivit build`: what a board is configured with, from a network, or the project that makes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...sim.errors import check
from ...sim.system.files import whole_folder, write_text
from ...sim.system.result import Result
from ..shared.common import JsonFlag, OverwriteFlag, show
from ..shared.net import EngineOption, Net, NetArgument, SeedOption, find_engine, find_net
from ..shared.progress import Step, step
from .project import UNVERIFIED, Asked, build_project, check_own_folder, write_report

if TYPE_CHECKING:
    from ...hw.board.boards import Board
    from ...hw.synthesis.bitstream import Bitstream
    from ...sim.estimate.devices import Device
    from ...sim.flow.config import FlowConfig
    from ...sim.network.network import IntNetwork

#: Placements that a command may be asked for.
_MOST_SEEDS = 64
#: Files of the folder; beside them `hw.folder` writes its own into `engine`.
_BITSTREAM, _PINS, _ENGINE = "board.bit", "pins.lpf", "engine"


@dataclass(frozen=True, kw_only=True)
class Built(Result):
    """What `bivit build` wrote.

    `fmax_mhz` is placed and routed, `clock_mhz` the clock that the bitstream makes of the board's; cells are those that
    were placed, and shares are of the part. `images_per_s_engine` follows from the clock and the cycles of a long run,
    which are known before; `images_per_s_link` is modelled: what the serial line lets through at most.
    """

    board: str
    part: str
    kind: str = "bitstream"
    engine: str
    network: str
    weights: str
    embedded: bool
    bitstream: Path
    fits: bool
    fmax_mhz: float
    fmax_kind: str
    clock_mhz: float
    seed: int
    luts: int
    ffs: int
    block_memories: int
    multipliers: int
    luts_share: float
    ffs_share: float
    block_memories_share: float
    multipliers_share: float
    image_cycles: int
    images_per_s_engine: float
    baud: int
    images_per_s_link: float
    on_silicon: str
    seconds: float


def build(
    net: NetArgument,
    board: Annotated[
        str, typer.Option("--board", help="ulx3s, colorlight-i5, -i9, orangecrab-25, -85; arty, kv260, zcu102.")
    ] = "ulx3s",
    engine: EngineOption = None,
    clock_mhz: Annotated[
        float | None,
        typer.Option(help="Clock of the engine at most; when left out the board's default, or the device's."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Placements to try, until one meets the clock; of a bitstream.")] = 4,
    first_seed: Annotated[int, typer.Option(help="Where the first of them begins.")] = 1,
    baud: Annotated[int | None, typer.Option(help="Bits a second of a serial line; a million when left out.")] = None,
    embed: Annotated[
        bool | None,
        typer.Option(
            "--embed/--no-embed",
            help="Put the network into the bitstream; on kv260 and zcu102 only when asked.",
        ),
    ] = None,
    seed: SeedOption = 0,
    timeout: Annotated[float, typer.Option(help="Seconds that one run of a tool may take; of a bitstream.")] = 3600,
    out: Annotated[Path, typer.Option(help="Folder to write; one written before is replaced.")] = Path("out/board"),
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the bitstream of a board that runs a network, or for AMD's boards the project that makes it.

    For boards with an ECP5: synthesis, placements until the clock is met, packing, by tools from PyPI. Minutes for
    each placement; what was done before is not done again, so a run that was stopped goes on where it was. The folder
    holds the bitstream, its constraints and a report, and in `engine` what `bivit generate` writes (docs/boards.md).
    `bivit host classify` then classifies.

    For arty, kv260 and zcu102 no bitstream is made: the folder holds a project for Vivado, which was never run in it.

    Example: bivit build zoo/digits/network.safetensors --board ulx3s --out out/board --json

    Example: bivit build digits --board colorlight-i9 --clock-mhz 60 --seeds 8

    Example: bivit build deit_tiny --board zcu102 --out out/zcu102
    """
    from ...hw.board.boards import ZynqBoard, find_board
    from ...sim.engine.link import BAUD
    from ...sim.estimate.devices import device

    check(1 <= seeds <= _MOST_SEEDS, f"seeds must be 1 to {_MOST_SEEDS}, got {seeds}")
    check(first_seed >= 0, f"the first seed must be 0 or more, got {first_seed}")
    check(timeout > 0, f"timeout must be above 0 seconds, got {timeout:g}")
    target = find_board(board)
    check_own_folder(out, overwrite)
    chosen = find_net(net, seed)
    name, flow = find_engine(engine, chosen, device(target.part))
    _check_room(name, flow, device(target.part))
    title = f"build {chosen.name} on engine {name} for {board}"
    if isinstance(target, ZynqBoard) or target.family != "ecp5":
        with step(title) as one:
            project = build_project(Asked(chosen, name, flow, target, clock_mhz, baud or BAUD, embed), out, one)
        show(project, as_json, f"project for {board} in {out}, for Vivado; no bitstream was made")
        return
    placements = range(first_seed, first_seed + seeds)
    with step(title) as one:
        job = _Job(chosen.network, flow, target, clock_mhz or target.default_mhz, baud or BAUD, embed is not False)
        report = _built(job, chosen, name, placements, timeout, out, one)
    show(report, as_json, f"{board} in {out}")


def _check_room(name: str, flow: FlowConfig, target: Device) -> None:
    """Refuse an engine whose blocks, which estimates count exactly, are too many, before minutes of synthesis."""
    from ...sim.estimate.resources import estimate_resources, shares_text

    shares = estimate_resources(flow, target).beyond()
    blocks = {what: share for what, share in shares.items() if what in ("dsps", "brams", "urams")}
    check(
        not blocks,
        f"engine {name} does not fit {target.part}: it takes {shares_text(blocks)} of it; give another --engine, "
        f"as `bivit explore` finds for --target {target.name}, or a larger --board",
    )


def _built(job: _Job, chosen: Net, name: str, seeds: range, timeout: float, out: Path, one: Step) -> Built:
    """Make a bitstream, write its folder, and return the report."""
    made = job.bitstream(seeds, timeout, one)
    with whole_folder(out) as folder:
        image_cycles, link = job.write(folder, made, one)
        report = Built(
            board=job.board.name,
            part=job.board.part,
            engine=name,
            network=chosen.facts.network,
            weights=chosen.facts.weights,
            embedded=job.embed,
            bitstream=out / _BITSTREAM,
            fits=True,
            fmax_kind="placed",
            clock_mhz=round(job.top.clock_mhz, 3),
            image_cycles=image_cycles,
            images_per_s_engine=round(job.top.clock_mhz * 1e6 / image_cycles, 1),
            images_per_s_link=round(link, 1),
            baud=job.baud,
            on_silicon=UNVERIFIED,
            seconds=round(one.seconds, 1),
            **made.figures,
        )
        write_report(folder, report)
    return report


class _Job:
    """One network on one board."""

    def __init__(
        self, network: IntNetwork, flow: FlowConfig, board: Board, clock_mhz: float, baud: int, embed: bool
    ) -> None:
        from ...hw.board.top import BoardTop

        self.network, self.flow, self.board, self.baud, self.embed = network, flow, board, baud, embed
        self.top = BoardTop(board, flow, clock_mhz, baud)

    def bitstream(self, seeds: range, timeout_s: float, told: Step) -> Bitstream:
        """Make the bitstream, or find what was made before."""
        from ...hw.synthesis.bitstream import build_bitstream
        from ...sim.mapping.compiled import compile_for

        program = compile_for(self.network, self.flow)
        program.verify()
        words = program.words if self.embed else None
        return build_bitstream(self.top, words, seeds=seeds, timeout_s=timeout_s, told=told)

    def write(self, folder: Path, made: Bitstream, told: Step) -> tuple[int, float]:
        """Write the folder; return cycles an image, and images a second of the link."""
        from ...host.run import link_images_per_s
        from ...hw.board.constraints import lpf
        from ...hw.folder.generate import generate

        told("writing the engine's folder")
        written = generate(
            self.flow, self.network, folder / _ENGINE, embed=self.embed, clock_mhz=round(self.top.clock_mhz, 3)
        )
        (folder / _BITSTREAM).write_bytes(made.data)
        write_text(folder / _PINS, lpf(self.board))
        config = self.network.config
        pixels = config.img_size * config.img_size * config.in_chans
        link = link_images_per_s(pixels, config.num_classes, self.flow.engine.queue_logits, self.baud)
        assert written.image_cycles is not None
        return written.image_cycles, link
