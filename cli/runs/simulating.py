"""Co-simulation of images with and without stalls, as `bivit cosim` and `demo` run it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..shared.progress import step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...cosim.session import CosimResult
    from ...cosim.summary import CosimSummary
    from ...sim.flow.config import FlowConfig
    from ...sim.network.network import IntNetwork


def simulate_runs(
    network: IntNetwork,
    engine: FlowConfig,
    images: NDArray[np.uint8],
    *,
    stall: float,
    seed: int,
    simulator: str,
    out_dir: Path,
    verilog: str | None = None,
    memory_latency: tuple[int, int] | None = None,
) -> CosimSummary:
    """Simulate the images twice: with streams that never stall, and with random stalls.

    Parameters
    ----------
    network : IntNetwork
    engine : FlowConfig
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
    memory_latency : (int, int), optional
        Cycles that the memory of streamed weights takes, least and most; 1 without it.
    """
    with step("prepare the co-simulation") as say:
        say("loading Amaranth and cocotb")
        from ...cosim.run import Case
        from ...cosim.summary import summarise

        latency = memory_latency or (1, 1)
        case = Case(network, engine, images, verilog=verilog, memory_latency=latency, progress=say)
    names = {"streams never stall": 0.0, f"random stalls, {stall:.0%} of beats": stall}
    results: dict[str, CosimResult] = {}
    for name, probability in names.items():
        if probability or not results:
            with step(f"co-simulate {len(images)} images, {name}") as say:
                results[name] = case.run(
                    simulator=simulator, stall=probability, seed=seed, out_dir=out_dir, progress=say
                )
    return summarise(
        *(results, case.estimate),
        generate_s=case.generate_seconds,
        in_flight=case.in_flight,
        memory_bytes=case.memory_bytes,
    )
