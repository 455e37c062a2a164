"""`bivit cosim`: whole images through the engine's Verilog, every tensor compared, cycles estimated and simulated."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..sim.errors import check
from ..sim.system.result import INLINE, Result
from .runs.simulating import simulate_runs
from .shared.common import JsonFlag, messages, show
from .shared.net import EngineOption, NetArgument, NetFacts, find_engine, find_net
from .shared.pixels import DataOption, test_source
from .shared.progress import step

if TYPE_CHECKING:
    from ..cosim.summary import CosimSummary

#: Exit code when the hardware and the reference differ.
EXIT_MISMATCH = 1
#: The engine that is taken where none is named.
_ENGINE = "sim"
#: Above this a run would mostly wait.
MAX_STALL = 0.9


@dataclass(frozen=True, kw_only=True)
class CosimReport(Result):
    """What `bivit cosim` prints; `engine` is its name or its file."""

    facts: NetFacts = field(metadata=INLINE)
    engine: str
    data: str
    seed: int
    found: CosimSummary = field(metadata=INLINE)


def cosim(
    net: NetArgument,
    engine: EngineOption = None,
    images: Annotated[int, typer.Option(help="Test images to run.")] = 4,
    data: DataOption = None,
    stall: Annotated[float, typer.Option(help="Probability of a pause before each beat, 0 to 0.9.")] = 0.2,
    seed: Annotated[
        int, typer.Option(help="Of the pauses, of random pixels, and of the random weights of a preset.")
    ] = 0,
    simulator: Annotated[str, typer.Option(help="verilator or icarus.")] = "verilator",
    out: Annotated[Path, typer.Option(help="Folder for a waveform around the first difference.")] = Path("out/cosim"),
    as_json: JsonFlag = False,
) -> None:
    """Run images through the engine's Verilog over its bus ports; compare every tensor and register with the reference.

    One run with streams that never stall, whose cycles, and what the array waits for, cause by cause, must equal the
    estimate, and one with random stalls. The ports are watched for the rules of AXI. Exit code 0 when everything
    agrees, 1 when not, naming what differs. Engines are sim, zcu102 and latency; without --engine, sim is taken.

    Example: bivit cosim digits --images 2

    Example: bivit cosim zoo/digits/network.safetensors --images 4

    Example: bivit cosim deit_tiny --engine zcu102 --images 4
    """
    from ..cosim.toolchain import find_simulator
    from ..model.data.dataset import take
    from ..sim.network.config import vit_only

    check(0 <= stall <= MAX_STALL, f"stall must be a probability of 0 to {MAX_STALL}, got {stall}")
    chosen = find_net(net, seed)
    vit_only(chosen.config)
    find_simulator(simulator)
    engine_name, engine_config = find_engine(engine, chosen, default=_ENGINE)
    with step("open the images"):
        source = test_source(chosen, data, images, seed)
        pixels = take(source, images).images
    found = simulate_runs(
        chosen.network, engine_config, pixels, stall=stall, seed=seed, simulator=simulator, out_dir=out
    )
    report = CosimReport(facts=chosen.facts, engine=engine_name, data=source.name, seed=seed, found=found)
    if as_json:
        show(report, True, "")
    else:
        _print(report, f"{net} on engine {engine_name}")
    if not found.agrees:
        for difference in found.differences:
            messages.print(f"difference: {difference}", markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_MISMATCH)


def _print(report: CosimReport, title: str) -> None:
    """Print the report without what is empty, and with the columns of the runs that fit a terminal."""
    brief = {name: value for name, value in report.to_dict().items() if value not in (None, [])}
    brief["runs"] = [
        {
            "run": row.run,
            "mismatches": row.mismatches,
            "estimated": row.cycles_estimated,
            "stalled": row.cycles_stalled,
            "simulated": row.cycles_simulated,
        }
        for row in report.found.runs
    ]
    stalls = {cause: cycles for cause, cycles in report.found.stalls.items() if cycles}
    brief["stalls"] = [{"array waits for": cause, "cycles": cycles} for cause, cycles in stalls.items()]
    show(brief, False, title)
