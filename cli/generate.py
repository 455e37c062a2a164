"""`bivit generate`: write an engine as Verilog, and a network as what it loads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..sim.errors import check
from ..sim.system.result import INLINE, Result
from .shared.common import JsonFlag, OverwriteFlag, show
from .shared.net import EngineOption, Net, NetFacts, find_engine, find_net
from .shared.pixels import DataOption, test_source
from .shared.progress import step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Images of the golden vectors of a network where nothing is said.
_IMAGES = 2
#: What stands for a value that there is none of.
_NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Files(Result):
    """What `bivit generate` wrote; what needs a network is None where there is none.

    `images` are those of the golden vectors, from `data`, which is None without any; `image_cycles` are from image to
    image in a long run, `latency_cycles` those of one by itself.
    """

    facts: NetFacts | None = field(metadata=INLINE)
    engine: str
    verilog: Path
    verilog_lines: int
    manifest: Path
    engine_file: Path
    load_stream: Path | None
    image_cycles: int | None
    latency_cycles: int | None
    readme: Path
    images: int
    data: str | None


def generate(
    engine: EngineOption = None,
    net: Annotated[
        str | None,
        typer.Option(
            "--net",
            metavar="NET",
            help="Network to compile, a file or a preset with random weights: its load stream, golden vectors and "
            "benches are written too.",
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="FPGA or board that an engine chosen for NET is to fit; any when left out.")
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            help="Images of the golden vectors, which the benches run; 0 leaves both out. When left out: 2, if there "
            "is a network.",
            show_default=False,
        ),
    ] = None,
    data: DataOption = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the random weights of a preset, and of random pixels.")] = 0,
    embed: Annotated[
        bool, typer.Option("--embed", help="Write the network into the Verilog: no load stream is needed.")
    ] = False,
    aresetn: Annotated[
        bool, typer.Option("--aresetn", help="Add a top module with `aclk` and an active-low `aresetn`, as AMD's.")
    ] = False,
    clock_mhz: Annotated[float, typer.Option(help="Frequency in the constraints.")] = 100.0,
    out: Annotated[Path, typer.Option(help="Folder to write; one written before is replaced.")] = Path("out/verilog"),
    overwrite: OverwriteFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Write a folder with which a stranger can simulate, check and integrate an engine (docs/folder.md).

    Verilog, README, manifest, register map, constraints, FuseSoC core, Vivado packaging; with a network its load
    stream, golden vectors, and a bench each for Verilator and Icarus Verilog that need no Python.
    `bivit engines` lists the engines; without --engine, sim is taken, or the smallest that holds the network.

    Example: bivit generate --engine sim --out out/verilog

    Example: bivit generate --net zoo/digits/network.safetensors --images 4 --out out/verilog

    Example: bivit generate --net deit_tiny --engine zcu102 --aresetn --clock-mhz 250

    Example: bivit generate --net zoo/digits/network.safetensors --embed
    """
    from ..sim.estimate.devices import device

    check(net is not None or not images, f"--images {images} needs a network to run them; name one with --net")
    check(net is not None or data is None, f"--data {data} needs a network to run it; name one with --net")
    check(net is not None or not embed, "--embed needs a network to put into the Verilog; name one with --net")
    check(images is None or images >= 0, f"images must be 0 or more, got {images}")
    found = None if target is None else device(target)
    chosen = None if net is None else find_net(net, seed)
    engine_name, engine_config = find_engine(engine, chosen, found)
    pixels, source = _images(chosen, _IMAGES if images is None else images, data, seed)
    with step(f"generate engine {engine_name}") as say:
        say("loading Amaranth")
        from ..hw.folder.generate import generate as write

        say("checking times and writing Verilog; the first time takes a while")
        written = write(
            engine_config,
            None if chosen is None else chosen.network,
            out,
            images=pixels,
            data=source or _NONE,
            embed=embed,
            aresetn=aresetn,
            clock_mhz=clock_mhz,
            overwrite=overwrite,
        )
    report = Files(
        facts=None if chosen is None else chosen.facts,
        engine=engine_name,
        verilog=written.verilog,
        verilog_lines=len(written.verilog.read_text(encoding="utf-8").splitlines()),
        manifest=written.manifest,
        engine_file=written.engine,
        load_stream=written.load_stream,
        image_cycles=written.image_cycles,
        latency_cycles=written.latency_cycles,
        readme=written.readme,
        images=0 if pixels is None else len(pixels),
        data=source,
    )
    shown = report if as_json else _in_words(report)
    show(shown, as_json, f"engine {engine_name} in {out}")


def _in_words(report: Files) -> dict[str, Any]:
    """What the report says to a reader: why a value is missing, where one is."""
    why = _NONE if report.facts else f"{_NONE}, no network was given"
    return {name: why if value is None else value for name, value in report.to_dict().items()}


def _images(net: Net | None, count: int, data: str | None, seed: int) -> tuple[NDArray[np.uint8] | None, str | None]:
    """Return the images of the golden vectors, and where they are from."""
    if net is None or not count:
        return None, None
    from ..model.data.dataset import take

    with step("open the images"):
        source = test_source(net, data, count, seed)
        return take(source, count).images, source.name
