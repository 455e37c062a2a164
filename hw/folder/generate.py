"""Writes an engine and a network into a folder, with everything that a user needs to simulate and integrate them."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...sim.engine.loadstream import build_stream
from ...sim.engine.registers import render_c_header, render_markdown
from ...sim.errors import check
from ...sim.flow.config import FlowConfig
from ...sim.flow.machine import FlowMachine
from ...sim.mapping.compiled import Program, compile_for
from ...sim.mapping.weight_image import weight_image
from ...sim.network.network import IntNetwork
from ...sim.system.files import whole_folder, write_json, write_text
from ...sim.system.own_folder import check_replaceable
from ..emit import engine_verilog
from ..multiplier_blocks import multiplier_blocks
from ..verilog_top import ARESETN_TOP, ENGINE_TOP, LICENCE, aresetn_wrapper
from .golden import golden, write_golden
from .manifest import BENCH_OUTPUTS, MANIFEST, manifest
from .pages import Facts, write_pages

#: Frequencies that constraints can name.
_CLOCK_MHZ = (1.0, 1000.0)


@dataclass(frozen=True)
class Generated:
    """Paths of what `generate` wrote; those of a network are None without one."""

    verilog: Path
    manifest: Path
    engine: Path
    load_stream: Path | None
    program: Program | None
    readme: Path
    image_cycles: int | None
    latency_cycles: int | None


def generate(
    engine: FlowConfig,
    network: IntNetwork | None,
    out_dir: str | os.PathLike[str],
    *,
    images: NDArray[np.uint8] | None = None,
    data: str = "images of the caller",
    embed: bool = False,
    aresetn: bool = False,
    clock_mhz: float = 100.0,
    overwrite: bool = False,
) -> Generated:
    """Write an engine's Verilog, README, manifest, register map and packaging; load stream and benches of a network.

    Parameters
    ----------
    engine : FlowConfig
        Engine to generate.
    network : IntNetwork, optional
        Network to compile for it.
    out_dir : path
        Folder to make; one that exists is replaced, if it holds what this function wrote and nothing else.
    images : uint8 [B, height, width, channels], optional
        Images of the golden vectors, without which there are no benches either.
    data : str
        Where the images are from.
    embed : bool
        Write the network into the Verilog: it is there from the device's configuration on, without a load stream.
    aresetn : bool
        Wrap the engine in a top module with `aclk` and an active-low `aresetn`.
    clock_mhz : float
        Frequency in the constraints, 1 to 1000.
    overwrite : bool
        Replace a folder of this function although files were added to it or changed.

    Returns
    -------
    Generated
        What was written.

    Raises
    ------
    BivitError
        When the network does not fit the engine or the images the network, or `out_dir` holds
        something else, naming it.
    """
    out = Path(out_dir)
    check(network is not None or images is None, "golden vectors need a network; name one, or leave the images out")
    check(network is not None or not embed, "there is no network to embed in the Verilog; name one")
    low, high = _CLOCK_MHZ
    check(
        math.isfinite(clock_mhz) and low <= clock_mhz <= high,
        f"the clock must be {low:g} to {high:g} MHz, got {clock_mhz}",
    )
    check_replaceable(out, MANIFEST, "`bivit generate`", overwrite, BENCH_OUTPUTS)
    program = compile_for(network, engine) if network else None
    if program:
        program.verify()
    words = program.words if program else None
    machine = FlowMachine(engine)
    vectors = golden(network, program, images, data) if network and program and images is not None else None
    facts = Facts(machine, network, program, vectors, embed, aresetn, clock_mhz)
    with whole_folder(out) as folder:
        text = engine_verilog(engine, words if embed else None)
        write_text(folder / f"{ENGINE_TOP}.v", text)
        for path, cell in facts.block_files.items():
            (folder / path).parent.mkdir(exist_ok=True)
            write_text(folder / path, f"// SPDX-License-Identifier: {LICENCE}\n{multiplier_blocks(text, cell)}")
        if aresetn:
            write_text(folder / f"{ARESETN_TOP}.v", aresetn_wrapper(machine))
        write_json(folder / "engine.json", machine.to_dict())
        write_text(folder / "registers.md", render_markdown())
        write_text(folder / "bivit_registers.h", render_c_header())
        if words is not None:
            (folder / "network.bin").write_bytes(build_stream(machine, words))
        if program is not None and engine.streamed:
            (folder / "weights.bin").write_bytes(weight_image(program))
        if vectors is not None:
            write_golden(vectors, folder / "golden")
        write_pages(facts, folder)
        write_json(folder / MANIFEST, manifest(facts, folder))
    return Generated(
        verilog=out / f"{ENGINE_TOP}.v",
        manifest=out / MANIFEST,
        engine=out / "engine.json",
        load_stream=out / "network.bin" if network else None,
        program=program,
        readme=out / "README.md",
        image_cycles=facts.image_cycles,
        latency_cycles=facts.latency_cycles,
    )
