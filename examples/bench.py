"""How fast the reference and the co-simulation are, and how far from the hardware; `make bench` runs it.

python examples/bench.py             reference and co-simulation of the digits engine
python examples/bench.py --quick     the reference only, few images
"""

import sys
import time

import numpy as np

from bivit.cosim import run_cosim
from bivit.sim import compile_network, device, estimate_cycles, load_engine, preset, random_network, run_reference

COSIM_IMAGES = 8
TARGET = "ZCU102"


def seconds_of(function, repeat: int) -> float:
    """Least time of several calls, the first one, which compiles, not counted."""
    function()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def bench_reference(name: str, images: int, repeat: int) -> float:
    """Images a second of the reference."""
    network = random_network(preset(name), seed=1)
    shape = (images, network.config.img_size, network.config.img_size, network.config.in_chans)
    pixels = np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)
    speed = images / seconds_of(lambda: run_reference(network, pixels), repeat)
    print(f"reference, {name}: {speed:,.1f} images/s")
    return speed


def bench_cosim(reference: float) -> None:
    """Thousands of cycles a second under Verilator, and how the three compare."""
    network, engine = random_network(preset("digits"), seed=1), load_engine("digits")
    pixels = np.random.default_rng(2).integers(0, 256, (COSIM_IMAGES, 8, 8, 1), dtype=np.uint8)
    result = run_cosim(network, engine, pixels, stall=0.0)
    assert result.mismatches == 0
    cycles = estimate_cycles(compile_network(network, engine), COSIM_IMAGES).cycles_per_image
    clock = device(TARGET).clock_mhz
    simulated, hardware = 1000 * result.kcycles_per_s / cycles, 1e6 * clock / cycles
    print(f"co-simulation, digits: {result.kcycles_per_s:,.1f} thousand cycles/s, {simulated:,.1f} images/s")
    print(f"reference / co-simulation: {reference / simulated:,.0f}")
    print(f"engine at {clock:g} MHz (assumed clock of {TARGET}): {hardware:,.0f} images/s, "
          f"{hardware / reference:,.1f} times the reference")  # fmt: skip


def main() -> None:
    """Time everything, or the reference only."""
    quick = "--quick" in sys.argv[1:]
    reference = bench_reference("digits", images=8 if quick else 256, repeat=1 if quick else 3)
    if not quick:
        bench_reference("deit_tiny", images=4, repeat=2)
        bench_cosim(reference)


if __name__ == "__main__":
    main()
