"""The bench on a tiny engine: streams with stalls, faults on the load stream, resets, observation, first difference."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import verilog
from numpy.typing import NDArray
from simulators import FASTEST_BUILD, NEEDS_ICARUS
from tiny_engine import CLASSES, ENGINE, IMAGE_BEATS, TinyEngine, tiny_logits

from bivit.cosim.compare import Mismatch, Writes
from bivit.cosim.monitor import BENCH_TOP, bench_top, read_trace
from bivit.cosim.runner import build
from bivit.cosim.scenario import Load, Outcome, Run, Step, play
from bivit.cosim.session import WAVE_AFTER, WAVE_BEFORE, Expected, Session
from bivit.cosim.toolchain import has_lz4
from bivit.hw.verilog_ports import ports_of
from bivit.sim.engine.loadstream import LoadError, build_stream
from bivit.sim.engine.probe import Probe
from bivit.sim.engine.registers import ErrorCode, constants
from bivit.sim.errors import BivitError
from helpers import ROOT, started

SLOW_SIMULATORS = [
    pytest.param("verilator", marks=pytest.mark.slow),
    pytest.param("icarus", marks=[pytest.mark.slow, NEEDS_ICARUS]),
]
TABLE = [100, 2000, 131071]
PROBES = [Probe("x", "x.w_en", ("x.w_addr",), "x.w_data", 1, 32, False)]


@pytest.fixture(scope="session")
def tiny_verilog() -> str:
    return verilog.convert(TinyEngine(), name="tiny", emit_src=False)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cosim-cache")


def sources(text: str) -> dict[str, str]:
    return {"bench_top.sv": bench_top("tiny", ports_of(text, "tiny"), PROBES), "tiny.v": text}


def stream(table: list[int]) -> bytes:
    return build_stream(ENGINE, {"tables": {0: table}})


def pixels(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 8 * IMAGE_BEATS), dtype=np.uint8)


def run_of(images: NDArray[np.uint8], reset_after: int | None = None) -> Run:
    return Run([image.tobytes() for image in images], 5000, reset_after)


def logits_of(outcome: Outcome) -> list[list[int]]:
    """Logits in rows of one image; tags and TLAST must be right."""
    for i, (_, tag, last) in enumerate(outcome.logits):
        assert (tag, last) == (i // CLASSES, int(i % CLASSES == CLASSES - 1))
    values = [value for value, _, _ in outcome.logits]
    return [values[i : i + CLASSES] for i in range(0, len(values), CLASSES)]


@pytest.mark.parametrize("simulator", SLOW_SIMULATORS)
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_images_and_counters(simulator: str, stall: float, tiny_verilog: str, cache_dir: Path, tmp_path: Path) -> None:
    images = pixels(5)
    built = build(sources(tiny_verilog), BENCH_TOP, simulator=simulator, cache_dir=cache_dir)
    load, run = play(built, [Load(stream(TABLE)), run_of(images)], tmp_path, stall=stall, seed=4)
    assert {name: load.registers[name] for name in ("ID", "SHAPE")}.items() <= constants(ENGINE).items()
    assert (load.registers["LOADS_OK"], load.registers["STATUS"]) == (1, 2)
    assert run.finished
    assert logits_of(run) == tiny_logits(TABLE, images).tolist()
    registers = run.registers
    assert (registers["ERROR"], registers["DONE"], registers["ARRAY_BUSY"]) == (0, 5, 5)
    # The engine takes a cycle for each beat and one more between; all others are accounted for as stalls.
    work = 5 * (IMAGE_BEATS + 1 + CLASSES)
    assert registers["CYCLES"] == work + registers["STALL_PIXELS"] + registers["STALL_LOGITS"]
    assert (registers["STALL_PIXELS"] > 0, registers["STALL_LOGITS"] > 0) == (stall > 0, stall > 0)
    trace = read_trace(tmp_path / "trace.txt", PROBES)["x"]
    sums = images.astype(np.int64).sum(axis=1)
    assert trace.keys[:, 0].tolist() == list(range(5))
    assert [int.from_bytes(row.tobytes(), "little") for row in trace.data] == sums.tolist()


@pytest.mark.slow
@NEEDS_ICARUS
def test_both_simulators_agree_on_every_cycle(tiny_verilog: str, cache_dir: Path, tmp_path: Path) -> None:
    outcomes, traces = [], []
    for simulator in ("verilator", "icarus"):
        folder = tmp_path / simulator
        folder.mkdir()
        built = build(sources(tiny_verilog), BENCH_TOP, simulator=simulator, cache_dir=cache_dir)
        steps: list[Step] = [Load(stream(TABLE)), run_of(pixels(4))]
        outcomes.append([dataclasses.replace(o, seconds=0) for o in play(built, steps, folder, stall=0.4, seed=9)])
        traces.append((folder / "trace.txt").read_text())
    assert outcomes[0] == outcomes[1]
    assert traces[0] == traces[1]
    assert len(traces[0].splitlines()) == 4


@pytest.mark.slow
def test_refused_streams_leave_the_network_in_use(tiny_verilog: str, cache_dir: Path, tmp_path: Path) -> None:
    good, other, images = stream(TABLE), stream([1, 2, 3]), pixels(2)
    flipped = bytearray(other)
    flipped[40] ^= 4
    built = build(sources(tiny_verilog), BENCH_TOP, simulator=FASTEST_BUILD, cache_dir=cache_dir)
    broken = {
        LoadError.CRC: Load(bytes(flipped)),
        LoadError.MAGIC: Load(b"BIVITNES" + other[8:]),
        LoadError.LENGTH: Load(other[:-16]),
        LoadError.ENGINE: Load(other[:16] + bytes(8) + other[24:]),
        LoadError.SECTION: Load(other[:24] + b"\xff" + other[25:]),
    }
    unfinished = Load(other[:-8], complete=False)
    steps: list[Step] = [run_of(images), Load(good)]
    for load in (*broken.values(), unfinished):
        steps += [load, run_of(images)]
    outcomes = play(built, [*steps, Load(other), run_of(images)], tmp_path, stall=0.2)
    assert outcomes[0].registers["ERROR"] == ErrorCode.START_WITHOUT_PROGRAM
    refused = outcomes[2:-2:2]
    assert [outcome.registers["ERROR"] for outcome in refused] == [*broken, LoadError.LENGTH]
    assert refused[-1].registers["LOADS_BAD"] == len(refused)
    for outcome in outcomes[3:-2:2]:
        assert logits_of(outcome) == tiny_logits(TABLE, images).tolist()
    assert logits_of(outcomes[-1]) == tiny_logits([1, 2, 3], images).tolist()
    assert outcomes[-1].registers["ERROR"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("cycles", [3, 9, 20])
def test_a_reset_in_mid_image(cycles: int, tiny_verilog: str, cache_dir: Path, tmp_path: Path) -> None:
    images = pixels(3)
    built = build(sources(tiny_verilog), BENCH_TOP, simulator=FASTEST_BUILD, cache_dir=cache_dir)
    steps: list[Step] = [
        Load(stream(TABLE)),
        run_of(images, cycles),
        run_of(images),
        Load(stream(TABLE)),
        run_of(images),
    ]
    outcomes = play(built, steps, tmp_path)
    assert not outcomes[1].finished
    assert outcomes[1].registers["STATUS"] == 0
    assert outcomes[2].registers["ERROR"] == ErrorCode.START_WITHOUT_PROGRAM
    assert logits_of(outcomes[4]) == tiny_logits(TABLE, images).tolist()


def expected_of(images: NDArray[np.uint8], **registers: int) -> Expected:
    """Expected writes of each image: its sum, as tensor `pool` with one element."""
    ones = np.ones((1, 1), bool)
    writes = [
        (i, Writes("x", "pool", np.array([[i]]), np.array([[value]]), ones, lambda w, e: (0, 7)))
        for i, value in enumerate(images.astype(np.int64).sum(axis=1))
    ]
    logits = tiny_logits(TABLE, images)
    return Expected(lambda traces: writes, logits, registers, {"pool": ("row", "channel")})


def session(text: str, images: NDArray[np.uint8], simulator: str, cache_dir: Path) -> Session:
    steps: list[Step] = [Load(stream(TABLE)), run_of(images)]
    return Session(sources(text), PROBES, steps, simulator=simulator, stall=0.3, seed=2, cache_dir=cache_dir)


def alive(pattern: str, program: str) -> list[str]:
    """Command lines of running `program`s that hold `pattern`."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(process.read_text().split("\0"))
    return [" ".join(words) for words in found if program in words[0] and pattern in " ".join(words)]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


#: Verifies a design whose pixels stop before the image is complete, with the patience of a billion cycles.
ENDLESS = """
import sys
from pathlib import Path
import test_cosim as t
text, images = Path(sys.argv[1]).read_text(), t.pixels(1)
steps = [t.Load(t.stream(t.TABLE)), t.Run([i.tobytes() for i in images], 10**9)]
text = text.replace("s_axis_pixels_tready = ", "s_axis_pixels_tready = 1'd0 & ")
how = {"simulator": sys.argv[2], "stall": 0, "seed": 0, "cache_dir": Path(sys.argv[3])}
session = t.Session(t.sources(text), t.PROBES, steps, **how)
expected = t.Expected(lambda traces: [], t.tiny_logits(t.TABLE, images), {})
session.verify(expected, out_dir=Path(sys.argv[4]))
"""


def start_endless(text: str, simulator: str, folder: Path) -> AbstractContextManager[subprocess.Popen[str]]:
    """Start a co-simulation that would not end, all of whose files are in `folder`."""
    (folder / "tiny.v").write_text(text)
    arguments = [str(folder / "tiny.v"), simulator, str(folder / "cache"), str(folder / "out")]
    modules = os.pathsep.join(map(str, (ROOT / "tests" / "tools", Path(__file__).parent)))
    environment = {**os.environ, "PYTHONPATH": modules, "TMPDIR": str(folder)}
    command = [sys.executable, "-c", ENDLESS, *arguments]
    return started(command, stderr=subprocess.PIPE, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("simulator", "program"), [("verilator", "verilator_bin"), pytest.param("icarus", "vvp", marks=NEEDS_ICARUS)]
)
def test_ctrl_c_ends_the_child_and_leaves_nothing(
    simulator: str, program: str, tiny_verilog: str, tmp_path: Path
) -> None:
    """While it builds (Verilator) and while it simulates (Icarus)."""
    with start_endless(tiny_verilog, simulator, tmp_path) as process:
        wait_until(lambda: bool(alive(str(tmp_path), program)))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert alive(str(tmp_path), program) == []
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.v", "cache"}
    cached = [path.suffix for path in sorted((tmp_path / "cache").iterdir())]
    assert cached == ([".lock"] if simulator == "verilator" else ["", ".lock"])


@pytest.mark.slow
@NEEDS_ICARUS
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child when its parent is killed")
def test_the_simulation_does_not_outlive_bivit(tiny_verilog: str, tmp_path: Path) -> None:
    with start_endless(tiny_verilog, "icarus", tmp_path):
        wait_until(lambda: bool(alive(str(tmp_path), "vvp")))
    wait_until(lambda: alive(str(tmp_path), "vvp") == [])


@pytest.mark.slow
def test_verilog_that_does_not_compile(tiny_verilog: str, tmp_path: Path) -> None:
    broken = {**sources(tiny_verilog), "tiny.v": tiny_verilog + "\nmodule unfinished"}
    with pytest.raises(
        BivitError, match=r"cannot be built: \w+ returned \d+; its last output:\n(?:.|\n)*tiny.v:\d+:.* syntax"
    ):
        build(broken, BENCH_TOP, simulator=FASTEST_BUILD, cache_dir=tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.slow
def test_the_cache_is_keyed_by_content(tiny_verilog: str, tmp_path: Path) -> None:
    first = build(sources(tiny_verilog), BENCH_TOP, simulator=FASTEST_BUILD, cache_dir=tmp_path)
    again = build(sources(tiny_verilog), BENCH_TOP, simulator=FASTEST_BUILD, cache_dir=tmp_path)
    other = build(sources(tiny_verilog + "\n"), BENCH_TOP, simulator=FASTEST_BUILD, cache_dir=tmp_path)
    waves = build(sources(tiny_verilog), BENCH_TOP, simulator=FASTEST_BUILD, cache_dir=tmp_path, waves=True)
    assert first.seconds > 0
    assert (again.folder, again.seconds) == (first.folder, 0)
    assert len({first.folder, other.folder, waves.folder}) == 3
    left = {"icarus": "sim.vvp", "verilator": BENCH_TOP}[FASTEST_BUILD]
    assert [path.name for path in first.folder.iterdir()] == [left]


@pytest.mark.slow
def test_a_right_engine_verifies(tiny_verilog: str, cache_dir: Path, tmp_path: Path) -> None:
    images = pixels(4)
    said: list[str] = []
    result = session(tiny_verilog, images, FASTEST_BUILD, cache_dir).verify(
        expected_of(images, DONE=4, LOADS_OK=1), out_dir=tmp_path / "out", progress=said.append
    )
    assert (result.images, result.mismatches, result.first_mismatch, result.waveform) == (4, 0, None, None)
    assert result.values == 4 + 4 * CLASSES
    assert result.cycles == 4 * (IMAGE_BEATS + 1 + CLASSES) + result.stall_pixels + result.stall_logits
    assert result.simulator.startswith(f"{FASTEST_BUILD} ")
    assert [text.split()[0] for text in said] == ["building", "simulating", "comparing"]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_engine_that_refuses_its_program_is_an_error(tiny_verilog: str, cache_dir: Path) -> None:
    images = pixels(1)
    broken = session(tiny_verilog, images, FASTEST_BUILD, cache_dir)
    broken.steps = [Load(stream(TABLE)[:-8]), run_of(images)]
    with pytest.raises(BivitError, match="error LOAD_LENGTH: load stream refused: cut short"):
        broken.verify(Expected(lambda traces: [], tiny_logits(TABLE, images), {}))


@pytest.mark.slow
def test_an_engine_that_hangs_misses_its_first_write(tiny_verilog: str, cache_dir: Path) -> None:
    (line,) = re.findall(r"^  assign s_axis_pixels_tready = .*$", tiny_verilog, re.MULTILINE)
    hanging = tiny_verilog.replace(line, "  assign s_axis_pixels_tready = 1'd0;")
    images = pixels(2)
    result = session(hanging, images, FASTEST_BUILD, cache_dir).verify(expected_of(images))
    assert result.mismatches == 2
    wanted = int(images[0].astype(np.int64).sum())
    assert result.first_mismatch == Mismatch(0, "pool", (0, 7), "missing", wanted, None, "x", 0)


@pytest.mark.slow
def test_a_silent_port_is_an_error(tiny_verilog: str, cache_dir: Path, tmp_path: Path) -> None:
    connected = ".beats__ready(s_axis_load_tready)"
    assert tiny_verilog.count(connected) == 1
    silent = tiny_verilog.replace(connected, ".beats__ready()")
    built = build(sources(silent), BENCH_TOP, simulator=FASTEST_BUILD, cache_dir=cache_dir)
    with pytest.raises(BivitError, match="ended without results; its last output:"):
        play(built, [Load(stream(TABLE))], tmp_path)


@pytest.mark.slow
def test_a_stuck_wire_is_named_and_recorded(tiny_verilog: str, cache_dir: Path, tmp_path: Path) -> None:
    images = pixels(4)
    sums = images.astype(np.int64).sum(axis=1)
    first = next(i for i, value in enumerate(sums) if not value & 8)
    (line,) = re.findall(r"^    \.write__data\(.*\),?$", tiny_verilog, re.MULTILINE)
    broken = tiny_verilog.replace(line, line.replace(")", " | 32'd8)"))
    result = session(broken, images, FASTEST_BUILD, cache_dir).verify(expected_of(images), out_dir=tmp_path / "out")
    mismatch = result.first_mismatch
    assert mismatch is not None
    assert result.mismatches == sum(not value & 8 for value in sums)
    assert (mismatch.image, mismatch.tensor, mismatch.where()) == (first, "pool", {"row": 0, "channel": 7})
    assert (mismatch.expected, mismatch.got) == (int(sums[first]), int(sums[first]) + 8)
    form = "fst" if FASTEST_BUILD == "icarus" or has_lz4() else "vcd"
    assert result.waveform == tmp_path / "out" / f"mismatch.{form}"
    assert result.waveform.stat().st_size > 1000
    assert list((tmp_path / "out").iterdir()) == [result.waveform]


@pytest.mark.slow
def test_a_waveform_around_the_first_difference(tiny_verilog: str, cache_dir: Path, tmp_path: Path) -> None:
    """Verilator, with a wrong expectation for the third image, so that the engine itself is built before."""
    images = pixels(120)
    expected = expected_of(images)
    dict(expected.writes({}))[100].values[0, 0] += 1
    result = session(tiny_verilog, images, "verilator", cache_dir).verify(expected, out_dir=tmp_path)
    assert result.first_mismatch is not None
    assert (result.mismatches, result.first_mismatch.image) == (1, 100)
    assert result.waveform is not None
    assert result.waveform.suffix == (".fst" if has_lz4() else ".vcd")
    assert result.waveform.stat().st_size > 1000
    if not has_lz4():
        text = result.waveform.read_text()
        assert re.search(r"\$var wire +32 \S+ w_data", text)
        times = [int(time) // 10_000 for time in re.findall(r"^#(\d+)", text, re.MULTILINE)]
        assert (min(times), max(times)) == (
            result.first_mismatch.cycle - WAVE_BEFORE,
            result.first_mismatch.cycle + WAVE_AFTER,
        )
