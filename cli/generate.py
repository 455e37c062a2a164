"""`bivit generate`: write an engine as Verilog, and a network as what it loads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from ..sim.system.result import INLINE, Result
from .shared.common import JsonFlag, show
from .shared.net import EngineOption, NetFacts, SeedOption, find_engine, find_net
from .shared.progress import step


@dataclass(frozen=True, kw_only=True)
class Files(Result):
    """What `bivit generate` wrote; the last two say so where there is no network."""

    facts: NetFacts | None = field(metadata=INLINE)
    engine: str
    verilog: Path
    verilog_lines: int
    manifest: Path
    engine_file: Path
    load_stream: Path | str
    image_cycles: int | str


def generate(
    engine: EngineOption = None,
    net: Annotated[
        str | None,
        typer.Option(
            "--net",
            metavar="NET",
            help="Network to compile, a file or a preset with random weights: its load stream and memory images are "
            "written too.",
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="FPGA or board that an engine chosen for NET is to fit; any when left out.")
    ] = None,
    seed: SeedOption = 0,
    out: Annotated[Path, typer.Option(help="Folder to write; one written before is replaced.")] = Path("out/verilog"),
    as_json: JsonFlag = False,
) -> None:
    """Write Verilog, JSON manifest, register map, C header and, with a network, its load stream and memory images.

    Without --engine, the smallest shipped engine that holds the network is taken; digits when there is no network
    either.

    Example: bivit generate --engine digits --out out/verilog

    Example: bivit generate --net deit_tiny --engine deit_tiny_33x32 --out out/verilog
    """
    from ..sim.estimate.devices import device

    found = None if target is None else device(target)
    chosen = None if net is None else find_net(net, seed)
    engine_name, engine_config = find_engine(engine, chosen, found)
    with step(f"generate engine {engine_name}") as say:
        say("loading Amaranth")
        from ..hw.emit import generate as write

        network = None if chosen is None else chosen.network
        say("converting it to Verilog; the first time takes a while")
        written = write(engine_config, network, out)
    none = "none, no network was given"
    report = Files(
        facts=None if chosen is None else chosen.facts,
        engine=engine_name,
        verilog=written.verilog,
        verilog_lines=len(written.verilog.read_text(encoding="utf-8").splitlines()),
        manifest=written.manifest,
        engine_file=written.engine,
        load_stream=written.load_stream or none,
        image_cycles=written.program.image_cycles if written.program else none,
    )
    show(report, as_json, f"engine {engine_name} in {out}")
