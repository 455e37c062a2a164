"""`bivit cosim`: whole images through the engine's Verilog, every tensor compared, cycles estimated and simulated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..sim.errors import check
from .shared.common import JsonFlag, messages, show
from .shared.net import EngineOption, NetArgument, find_engine, find_net
from .shared.pixels import DataOption, test_source
from .shared.progress import step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..cosim.run import CosimResult
    from ..sim.engine.config import EngineConfig
    from ..sim.network.network import IntNetwork
    from ..sim.program.cycles import CycleEstimate

#: Exit code when the hardware and the reference differ.
EXIT_MISMATCH = 1
#: Above this a run would mostly wait.
MAX_STALL = 0.9


def simulate_runs(
    network: IntNetwork,
    engine: EngineConfig,
    images: NDArray[np.uint8],
    *,
    stall: float,
    seed: int,
    simulator: str,
    out_dir: Path,
    verilog: str | None = None,
) -> dict[str, Any]:
    """Simulate the images twice: with streams that never stall, and with random stalls.

    Parameters
    ----------
    network : IntNetwork
    engine : EngineConfig
    images : uint8[B, H, W, C]
    stall : float
        Probability of a pause before each beat in the second run; 0 leaves that run out.
    seed : int
        Of the pauses.
    simulator : str
        ``verilator`` or ``icarus``.
    out_dir : Path
        Where a waveform around the first difference goes.
    verilog : str, optional
        The engine's Verilog where it was generated already.

    Returns
    -------
    dict
        `cosim_images`, `cosim_mismatches`, `cycles_estimated` and `cycles_simulated` (streams that never stall),
        `array_utilisation`, `kcycles_per_s`, `simulator`, `first_mismatch`, `register_differences` (registers that do
        not hold what they must), `bus_violations` (rules of the ports that were broken), `waveform`,
        `cycles_explained` (the stall counters account for every cycle of every run), and `runs`, one row each.
    """
    with step("prepare the co-simulation") as say:
        say("loading Amaranth and cocotb")
        from ..cosim.run import run_cosim
        from ..hw.emit import engine_verilog
        from ..sim.program.compiler import compile_network
        from ..sim.program.cycles import estimate_cycles

        say("compiling the network")
        estimate = estimate_cycles(compile_network(network, engine), len(images))
        if verilog is None:
            say("converting the engine to Verilog; the first time takes a while")
            verilog = engine_verilog(engine)
    rows: list[dict[str, Any]] = []
    results = []
    for name, probability in (("streams never stall", 0.0), (f"random stalls, {stall:.0%} of beats", stall))[
        : 2 if stall else 1
    ]:
        with step(f"co-simulate {len(images)} images, {name}") as say:
            result = run_cosim(
                network,
                engine,
                images,
                simulator=simulator,
                stall=probability,
                seed=seed,
                out_dir=out_dir,
                verilog=verilog,
                progress=say,
            )
        results.append(result)
        rows.append(_run_row(name, result, estimate))
    return _summary(rows, results, estimate)


def _summary(rows: list[dict[str, Any]], results: list[CosimResult], estimate: CycleEstimate) -> dict[str, Any]:
    """What all runs say together; cycles, utilisation and speed are those of the first."""
    mismatches = [str(result.first_mismatch) for result in results if result.first_mismatch is not None]
    waveforms = [str(result.waveform) for result in results if result.waveform is not None]
    return {
        "cosim_images": results[0].images,
        "cosim_mismatches": sum(result.mismatches for result in results),
        "cycles_estimated": estimate.cycles,
        "cycles_simulated": results[0].cycles,
        "cycles_explained": all(
            row["cycles_estimated"] + row["cycles_stalled"] == row["cycles_simulated"] for row in rows
        ),
        "array_utilisation": rows[0]["array_utilisation"],
        "kcycles_per_s": rows[0]["kcycles_per_s"],
        "simulator": results[0].simulator,
        "first_mismatch": mismatches[0] if mismatches else None,
        "register_differences": [str(difference) for result in results for difference in result.registers],
        "bus_violations": [str(violation) for result in results for violation in result.violations],
        "waveform": waveforms[0] if waveforms else None,
        "runs": rows,
    }


def _run_row(name: str, result: CosimResult, estimate: CycleEstimate) -> dict[str, Any]:
    """One run beside its estimate."""
    return {
        "run": name,
        "images": result.images,
        "values": result.values,
        "mismatches": result.mismatches,
        "cycles_estimated": estimate.cycles,
        # The estimate holds the time that a stream needs to bring the pixels even when it never stalls.
        "cycles_stalled": result.stall_pixels + result.stall_logits - estimate.stall_pixels,
        "cycles_simulated": result.cycles,
        "stall_pixels": result.stall_pixels,
        "stall_logits": result.stall_logits,
        "array_utilisation": estimate.useful_macs / (result.cycles * estimate.peak_macs),
        "kcycles_per_s": result.kcycles_per_s,
    }


def agrees(result: dict[str, Any]) -> bool:
    """Whether `simulate_runs` found no difference, in values, registers, bus rules or cycles."""
    return (
        result["cosim_mismatches"] == 0
        and not result["register_differences"]
        and not result["bus_violations"]
        and result["cycles_estimated"] == result["cycles_simulated"]
        and result["cycles_explained"]
    )


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

    One run with streams that never stall, whose cycles must equal the estimate, and one with random stalls.
    The ports are watched for the rules of AXI. Exit code 0 when everything agrees, 1 when not, naming what differs.
    Without --engine, the smallest shipped engine that holds the network is taken.

    Example: bivit cosim digits --images 2

    Example: bivit cosim zoo/digits/network.safetensors --engine digits --images 4
    """
    from ..cosim.toolchain import find_simulator
    from ..model.data.dataset import take
    from ..sim.network.config import vit_only

    check(0 <= stall <= MAX_STALL, f"stall must be a probability of 0 to {MAX_STALL}, got {stall}")
    chosen = find_net(net, seed)
    vit_only(chosen.config)
    find_simulator(simulator)
    name, shape = find_engine(engine, chosen)
    with step("open the images"):
        source = test_source(chosen, data, images, seed)
        pixels = take(source, images).images
    result = {**chosen.facts, "engine": name, "data": source.name, "seed": seed}
    result |= simulate_runs(chosen.network, shape, pixels, stall=stall, seed=seed, simulator=simulator, out_dir=out)
    show(result if as_json else _in_brief(result), as_json, f"{net} on engine {name}")
    if not agrees(result):
        found = [result["first_mismatch"], *result["register_differences"], *result["bus_violations"][:1]]
        for difference in filter(None, found):
            messages.print(f"difference: {difference}", markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_MISMATCH)


def _in_brief(result: dict[str, Any]) -> dict[str, Any]:
    """The result without what is empty, and with the columns of the runs that fit a terminal."""
    columns = {
        "run": "run",
        "mismatches": "mismatches",
        "cycles_estimated": "estimated",
        "cycles_stalled": "stalled",
        "cycles_simulated": "simulated",
    }
    brief = {name: value for name, value in result.items() if value not in (None, [])}
    brief["runs"] = [{columns[name]: row[name] for name in columns} for row in result["runs"]]
    return brief
