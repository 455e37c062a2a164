"""`bivit generate`: write an engine as Verilog, and a network as what it loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import EngineOption, JsonFlag, show, step


def generate(
    engine: EngineOption = "digits",
    net: Annotated[
        Path | None,
        typer.Option("--net", help="Network to compile: its load stream and memory images are written too."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write; one written before is replaced.")] = Path("out/verilog"),
    as_json: JsonFlag = False,
) -> None:
    """Write Verilog, JSON manifest, register map, C header and, with a network, its load stream and memory images.

    Example: bivit generate --engine digits --net out/demo/network.safetensors --out out/verilog
    """
    from ..hw.emit import generate as write
    from ..sim.artefact import load_network
    from ..sim.engine import load_engine

    shape = load_engine(engine)
    network = load_network(net) if net is not None else None
    with step(f"generate engine {engine}"):
        written = write(shape, network, out)
    result = {
        "verilog": str(written.verilog),
        "verilog_lines": len(written.verilog.read_text(encoding="utf-8").splitlines()),
        "manifest": str(written.manifest),
        "engine": str(written.engine),
        "load_stream": str(written.load_stream) if written.load_stream else "none, no network was given",
        "image_cycles": written.program.image_cycles if written.program else "none, no network was given",
    }
    show(result, as_json, f"engine {engine} in {out}")
