"""What it takes to write an engine as Verilog and to build its simulation; `make bench` runs it.

python examples/bench_generation.py                 the named engines
python examples/bench_generation.py sim my.json     others: by name or file
python examples/bench_generation.py --quick         Verilog of one small engine

Seconds are by the clock and of all processors; memory is the most that this process and Yosys held together, and the
most that one process of Verilator or the C++ compiler held.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

from bivit.cosim.monitor import BENCH_TOP, bench_top
from bivit.cosim.runner import build
from bivit.hw.emit import convert_engine
from bivit.hw.probes import TURN_PROBE, probes, stalls_probe
from bivit.hw.synthesis.calibrated import FITTED_ENGINES
from bivit.hw.verilog_ports import ports_of
from bivit.hw.verilog_top import ENGINE_TOP
from bivit.sim import FLOW_ENGINES, load_engine


def processor_seconds() -> float:
    """What this process and its children have used so far."""
    return sum(used.ru_utime + used.ru_stime for used in map(getrusage, (RUSAGE_SELF, RUSAGE_CHILDREN)))


def mib(who: int) -> float:
    """Most memory that this process, or one of its children, has held."""
    return getrusage(who).ru_maxrss / 1024


def measure(name: str, engine, *, simulation: bool) -> None:
    """Print a row of an engine; memory is right in a process that has done nothing else."""
    before, start = mib(RUSAGE_SELF), time.perf_counter()
    used = processor_seconds()
    text = convert_engine(engine)
    wall, used = time.perf_counter() - start, processor_seconds() - used
    print(f"{name}: Verilog {len(text) / 1e6:.1f} MB in {wall:.0f} s ({used:.0f} s of processors), "
          f"{mib(RUSAGE_SELF) + mib(RUSAGE_CHILDREN):.0f} MiB, {before:.0f} before", end="", flush=True)  # fmt: skip
    if simulation:
        top = bench_top(ENGINE_TOP, ports_of(text, ENGINE_TOP), [*probes(engine), TURN_PROBE, stalls_probe(engine)])
        used = processor_seconds()
        with tempfile.TemporaryDirectory() as folder:
            built = build({f"{BENCH_TOP}.sv": top, f"{ENGINE_TOP}.v": text}, BENCH_TOP, cache_dir=Path(folder))
        used = processor_seconds() - used
        print(f"; simulation in {built.seconds:.0f} s ({used:.0f} s), {mib(RUSAGE_CHILDREN):.0f} MiB", end="")
    print(flush=True)


def main() -> None:
    """Measure the engines that are named, each in a process of its own."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--one"]:
        measure(arguments[1], load_engine(arguments[1]), simulation=True)
    elif "--quick" in arguments:
        measure("2x8", FITTED_ENGINES["2x8"], simulation=False)
    else:
        for name in arguments or FLOW_ENGINES:
            subprocess.run([sys.executable, __file__, "--one", name], check=True)


if __name__ == "__main__":
    main()
