"""How fast cycles are known: the bound of a shape, exact cycles of a table, a search, a check; `make bench` runs it.

python examples/bench_cycles.py                          DeiT-Tiny on the named engines
python examples/bench_cycles.py digits --engine sim      another network, one engine
python examples/bench_cycles.py --quick                  digits on `sim`, fewer shapes

Seconds are of this process, one core, and without the compilation of kernels.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

from bivit.sim import FLOW_ENGINES, preset
from bivit.sim.flow.streams import TileShape
from bivit.sim.mapping.program import flow_cycles
from bivit.sim.mapping.shipped import sought, table_of
from bivit.sim.mapping.verify import verify_run


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of some work."""
    start = time.process_time()
    work()
    return time.process_time() - start


def bound(shape: TileShape) -> tuple[int, float]:
    """Cycles of an image and use of the array, where it never waits."""
    return shape.config.depth * shape.tiles * shape.tile_steps, shape.packing


def bounds(config, count: int) -> None:
    """Print how many shapes of an array have their bound a second."""
    shapes = [(1 + number % 64, 8 << number % 4) for number in range(count)]
    took = seconds(lambda: [bound(TileShape(config, *shape)) for shape in shapes])
    print(f"bound of cycles and use: {count / took:,.0f} shapes/s")


def exact(name: str, config, tries: int) -> None:
    """Print how long an engine's exact cycles, a table and its check take."""
    flow = FLOW_ENGINES[name]
    table = table_of(config, flow)
    flow_cycles(replace(config, depth=1), flow, table, 1)  # compiles
    cycles = seconds(lambda: flow_cycles(config, flow, table, 8))
    search = seconds(lambda: sought(config, flow, tries=tries))
    check = seconds(lambda: verify_run(config, flow, table))
    print(
        f"{name}: exact cycles of 8 images {cycles:.2f} s, search {search:.1f} s ({tries} tries), check {check:.1f} s"
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="deit_tiny", help="a preset")
    parser.add_argument("--engine", choices=FLOW_ENGINES, help="all when left out")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    config = preset("digits" if asked.quick else asked.network)
    plain = [name for name, flow in FLOW_ENGINES.items() if flow.windows is None]
    bounds(config, 1_000 if asked.quick else 20_000)
    for name in ["sim"] if asked.quick else [asked.engine] if asked.engine else plain:
        exact(name, config, tries=2 if asked.quick else 20)


if __name__ == "__main__":
    main()
