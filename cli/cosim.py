"""`bivit cosim`: whole images through the engine's Verilog, every tensor compared, cycles estimated and simulated."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..sim.errors import check
from ..sim.system.result import INLINE, OPTIONAL, Result
from .runs.simulating import simulate_runs
from .shared.common import JsonFlag, messages, show
from .shared.net import EngineOption, NetArgument, NetFacts, find_engine, find_net
from .shared.pixels import DataOption, test_source
from .shared.progress import step

if TYPE_CHECKING:
    from ..cosim.summary import CosimSummary

#: Exit code when the hardware and the reference differ.
EXIT_MISMATCH = 1
#: Device whose clock counts for an engine that is made for none.
_TARGET = "zcu102"
#: Above this a run would mostly wait.
MAX_STALL = 0.9


@dataclass(frozen=True, kw_only=True)
class CosimReport(Result):
    """What `bivit cosim` prints; `engine` is its name or its file.

    Streamed weights need `memory_gb_s_needed` of the memory in a long run, at the clock of the device that the engine
    is made for, or of the device that estimates take by default.
    """

    facts: NetFacts = field(metadata=INLINE)
    engine: str
    data: str
    seed: int
    memory_gb_s_needed: float | None = field(default=None, metadata=OPTIONAL)
    memory_clock_mhz: float | None = field(default=None, metadata=OPTIONAL)
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
    memory_latency: Annotated[
        str | None,
        typer.Option(
            help="Weights are streamed, from a memory that takes so many cycles, as 20:60: drawn for each burst, with "
            "refreshes."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for a waveform around the first difference.")] = Path("out/cosim"),
    as_json: JsonFlag = False,
) -> None:
    """Run images through the engine's Verilog over its bus ports; compare every tensor and register with the reference.

    One run with streams that never stall, whose cycles, and what the array waits for, cause by cause, must equal the
    estimate, and one with random stalls. The ports are watched for the rules of AXI. Exit code 0 when everything
    agrees, 1 when not, naming what differs. `bivit engines` lists the engines; without --engine, sim is
    taken, or swin for a Swin.

    Example: bivit cosim digits --images 2

    Example: bivit cosim zoo/digits/network.safetensors --images 4

    Example: bivit cosim deit_tiny --engine zcu102 --images 4

    Example: bivit cosim swin_fashion --images 2

    Example: bivit cosim digits --engine sim --memory-latency 20:60
    """
    from ..cosim.toolchain import find_simulator
    from ..model.data.dataset import take
    from ..sim.estimate.choice import default_engine

    check(0 <= stall <= MAX_STALL, f"stall must be a probability of 0 to {MAX_STALL}, got {stall}")
    chosen = find_net(net, seed)
    find_simulator(simulator)
    engine_name, engine_config = find_engine(engine, chosen, default=default_engine(chosen.config))
    latency = _latency(memory_latency)
    if latency and not engine_config.streamed:
        engine_config, engine_name = replace(engine_config, weights="streamed"), f"{engine_name}, weights streamed"
    with step("open the images"):
        source = test_source(chosen, data, images, seed)
        pixels = take(source, images).images
    found = simulate_runs(
        *(chosen.network, engine_config, pixels),
        stall=stall,
        seed=seed,
        simulator=simulator,
        out_dir=out,
        memory_latency=latency,
    )
    needed, clock = _memory(engine_name, found)
    report = CosimReport(
        facts=chosen.facts,
        engine=engine_name,
        data=source.name,
        seed=seed,
        memory_gb_s_needed=needed,
        memory_clock_mhz=clock,
        found=found,
    )
    if as_json:
        show(report, True, "")
    else:
        _print(report, f"{net} on engine {engine_name}")
    if not found.agrees:
        for difference in found.differences:
            messages.print(f"difference: {difference}", markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_MISMATCH)


def _memory(engine: str, found: CosimSummary) -> tuple[float | None, float | None]:
    """Return what streamed weights take of the memory, and at which clock."""
    if found.memory_bytes_a_cycle is None:
        return None, None
    from ..sim.estimate.devices import device
    from ..sim.flow.presets import ABOUT

    about = ABOUT.get(engine)
    clock = device(about.target if about and about.target else _TARGET).clock_mhz
    return found.memory_bytes_a_cycle * clock / 1e3, clock


def _latency(text: str | None) -> tuple[int, int] | None:
    """Return least and most cycles of a memory."""
    if text is None:
        return None
    least, _, most = text.partition(":")
    most = most or least
    check(
        least.isdecimal() and most.isdecimal(),
        f"--memory-latency must be MIN:MAX in cycles, such as 20:60, got {text!r}",
    )
    return int(least), int(most)


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
