"""The names in what commands print with `--json`, and their order: scripts read them, so they change with a reason."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines import tiny_flow
from program import invoke
from shapes import TINY

from bivit.cli.demo import Summary
from bivit.cosim.compare import Mismatch
from bivit.cosim.session import CosimResult
from bivit.cosim.summary import summarise
from bivit.sim.mapping.cycles import estimate_cycles
from bivit.sim.mapping.program import compile_network
from bivit.sim.network.file import save_network
from bivit.sim.network.random import random_network
from bivit.sim.timing.replay_state import causes_of

NETWORK = random_network(TINY, seed=5)
#: What every command on a preset, and on a file, says of its network.
PRESET, FILE = "network weights seed", "network weights"
#: Why the array takes no step.
STALLS = " ".join(cause.name.lower() for cause in causes_of(streamed=False))
RUN = "run images values mismatches cycles_estimated cycles_stalled cycles_simulated cycles_accounted"
RUN += f" stall_pixels stall_logits stalls{STALLS} array_utilisation kcycles_per_s"
COSIM = "cosim_images cosim_mismatches cycles_estimated cycles_simulated cycles_explained array_utilisation"
COSIM += f" kcycles_per_s generate_s build_s in_flight stalls{STALLS} simulator first_mismatch register_differences"
COSIM += f" bus_violations waveform runs[{RUN}]"
UNIT = "unit luts ffs dsps brams kind"
#: From the largest on.
LOADS = "array residual_add drain sign_norm head_norm dense row_writer tables softmax pixels logits"
#: Tools that synthesis depends on, and what names a comparison with it.
TOOLS, COMPARED = "yosys amaranth", "engine unit family quantity"
RESULTS = {
    "estimate digits --engine sim": f"{PRESET} engine target part cycles interval_cycles array_utilisation packing"
    f" clock_mhz latency_us images_per_s binds loads{LOADS} memory_gb_s clock_kind clock_source fits"
    f" resources[resource used available share kind] units[{UNIT}]",
    "estimate --check --engine ulx3s": f"kept tools_kept{TOOLS} tools_here{TOOLS} tools_differ clocks_kept clock_tools"
    "2x8 4x8 zcu102 smallest ulx3s ecp5_45 ecp5_25"
    " summary[family quantity of engines rows exact median_error worst_error worst]"
    f" clock_summary[family kind rows median_error worst_error] rows[{COMPARED} estimated synthesised error]"
    " clocks[engine unit family part estimated_mhz kind placed_mhz error held_out]",
    "generate --net net --engine engine.json": f"{FILE} engine verilog verilog_lines manifest engine_file load_stream"
    " image_cycles latency_cycles readme images data",
    "generate --engine engine.json": "engine verilog verilog_lines manifest engine_file load_stream image_cycles"
    " latency_cycles readme images data",
    "run net --images 2": f"{FILE} data top1 images images_per_s saturations empty_attention_rows",
    "run digits --images 2 --out t.csv": f"{PRESET} data top1 images images_per_s saturations empty_attention_rows"
    " predictions",
    "judge net --images 1 --judge torch": f"{FILE} data tensors_compared mismatches images not_expressed[]"
    " judges[judge version images tensors mismatches first differing{}]",
    "export net --qonnx graph.onnx": f"{FILE} qonnx nodes named_tensors bytes",
    "eval net --data images.npz": "kind top1 images",
    "ops all": "presets",
}


def named(values: Any) -> str:
    """Names of an object in their order, `[...]` behind one that holds rows and `{}` behind an empty object."""
    if isinstance(values, dict):
        return " ".join(name + named(value) for name, value in values.items()) or "{}"
    if isinstance(values, list) and (not values or isinstance(values[0], dict)):
        return f"[{named(values[0])}]" if values else "[]"
    return ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results")
    save_network(NETWORK, path / "net")
    (path / "engine.json").write_text(json.dumps(asdict(tiny_flow())))
    images = np.random.default_rng(0).integers(0, 256, (30, 4, 4), dtype=np.uint8)
    np.savez(path / "images.npz", images=images, labels=np.tile([0, 1, 2], 10))
    return path


@pytest.mark.parametrize("command", RESULTS)
def test_names_and_their_order(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = invoke(*command.split(), "--json", cwd=folder, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    found = named(json.loads(done.stdout))
    assert (found.partition("[")[0] if command == "ops all" else found) == RESULTS[command]


def result_of(**changes: object) -> CosimResult:
    """One image that took the estimated cycles, and what a test changes of that."""
    estimate = estimate_cycles(compile_network(NETWORK, tiny_flow()), 1)
    plain = CosimResult(
        images=1,
        mismatches=0,
        values=9,
        first_mismatch=None,
        cycles=estimate.cycles,
        array_busy=estimate.array_busy,
        stall_pixels=0,
        stall_logits=0,
        saturations=0,
        kcycles_per_s=1.0,
        simulator="none 1",
        stall=0.0,
        seed=0,
        build_seconds=0.0,
        run_seconds=1.0,
        waveform=None,
        registers=(),
        violations=(),
        logits=np.zeros((1, 3), np.int64),
        counters={**estimate.stalls, "cycles": 30 + estimate.array_busy + sum(estimate.stalls.values())},
    )
    return replace(plain, **changes)


def test_names_of_a_cosimulation_and_of_a_demo(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bivit.cosim.run.Case.run", lambda case, **options: result_of())
    arguments = ["net", "--engine", "engine.json", "--data", "images.npz", "--images", "1", "--stall", "0"]
    done = invoke("cosim", *arguments, "--json", cwd=folder, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    quiet = COSIM.replace("register_differences bus_violations", "register_differences[] bus_violations[]")
    assert named(json.loads(done.stdout)) == f"{FILE} engine data seed {quiet}"
    summary = Summary(
        top1_float=None,
        top1_student=0.5,
        top1_integer=0.5,
        test_images=9,
        agreement=1.0,
        integer_mode_images=9,
        integer_mode_tensors=30,
        integer_mode_differing=[],
        cosim=summarise({"run": result_of()}, estimate_cycles(compile_network(NETWORK, tiny_flow()), 1)),
    )
    own = "top1_float top1_student top1_integer test_images agreement integer_mode_images integer_mode_tensors"
    assert named(summary.to_dict()) == f"{own} integer_mode_differing[] {quiet}"


def test_runs_are_summed_up_and_explained() -> None:
    estimate = estimate_cycles(compile_network(NETWORK, tiny_flow()), 1)
    wrong = Mismatch(0, "head", (1,), "value", 5, 6, "a", 77, ("class",))
    stalled = result_of(
        mismatches=1, first_mismatch=wrong, cycles=estimate.cycles + 7, stall_logits=7, waveform=Path("out/wave.fst")
    )
    both = summarise({"plain": result_of(), "stalled": stalled}, estimate)
    assert (both.cosim_images, both.cosim_mismatches, both.cycles_explained, both.agrees) == (1, 1, True, False)
    assert [row.cycles_stalled for row in both.runs] == [0, 7]
    assert both.differences == ("image 0, head (class 1): expected 5, got 6; port a, cycle 77",)
    assert both.to_dict()["waveform"] == "out/wave.fst"
    assert summarise({"plain": result_of()}, estimate).agrees
    unexplained = summarise(
        {"plain": result_of(), "stalled": replace(stalled, array_busy=stalled.array_busy - 1)}, estimate
    )
    assert not unexplained.cycles_explained
