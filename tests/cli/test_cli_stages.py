"""The commands from training to the report, on small networks: what they print, write and refuse."""

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from engines import tiny_flow
from program import COMMAND, assert_refused, bivit, invoke
from shapes import TINY

from bivit.cosim.protocol import Violation
from bivit.cosim.register_check import RegisterDifference
from bivit.cosim.session import CosimResult
from bivit.sim.errors import BivitError
from bivit.sim.mapping.cycles import estimate_cycles
from bivit.sim.mapping.program import compile_network
from bivit.sim.network.file import save_network
from bivit.sim.network.presets import preset
from bivit.sim.network.random import random_network
from helpers import started

NETWORK = random_network(TINY, seed=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network, an engine for it and images of its size."""
    path = tmp_path_factory.mktemp("stages")
    save_network(NETWORK, path / "tiny.safetensors")
    save_network(random_network(preset("digits"), seed=1), path / "digits.safetensors")
    (path / "engine.json").write_text(json.dumps(asdict(tiny_flow())))
    random = np.random.default_rng(0)
    labels = np.tile([0, 1, 2], 10)
    np.savez(path / "images.npz", images=random.integers(0, 256, (30, 4, 4), dtype=np.uint8), labels=labels)
    return path


def test_generate_writes_what_it_says(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "verilog"
    done = bivit(
        "generate", "--engine", folder / "engine.json", "--net", folder / "tiny.safetensors", "--out", out, "--json"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["verilog_lines"] == len(Path(result["verilog"]).read_text().splitlines()) > 1000
    program = compile_network(NETWORK, tiny_flow())
    assert result["latency_cycles"] == program.cycles(1).total > result["image_cycles"]
    assert {path.name for path in out.iterdir()} >= {
        "manifest.json",
        "registers.md",
        "bivit_registers.h",
        "network.bin",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["verilog"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engine", "nothing"], "there is no engine 'nothing'"),
        (["--engine", "{folder}/images.npz"], "is not UTF-8 text"),
        (["--engine", "{folder}/engine.json", "--net", "{folder}/digits.safetensors"], "max_tokens"),
        (["--engine", "{folder}/engine.json", "--out", "{folder}"], "is no folder of `bivit generate`"),
    ],
)
def test_generate_refuses_bad_input(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    filled = [argument.format(folder=folder) for argument in arguments]
    assert_refused(invoke("generate", *filled, "--json", cwd=tmp_path, monkeypatch=monkeypatch), message)
    assert list(tmp_path.iterdir()) == []


def cosim_arguments(folder: Path, *more: str) -> list[str]:
    names = [str(folder / name) for name in ("tiny.safetensors", "engine.json", "images.npz")]
    return ["cosim", names[0], "--engine", names[1], "--data", names[2], *more]


@pytest.mark.slow
def test_cosim_agrees_with_the_estimate(folder: Path, tmp_path: Path) -> None:
    done = bivit(*cosim_arguments(folder, "--images", "3", "--stall", "0.5", "--json"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["cosim_images"], result["cosim_mismatches"]) == (3, 0)
    estimate = estimate_cycles(compile_network(NETWORK, tiny_flow()), 3)
    assert result["cycles_simulated"] == result["cycles_estimated"] == estimate.cycles
    assert result["array_utilisation"] == estimate.array_utilisation
    assert result["stalls"] == estimate.stalls
    stalled = result["runs"][1]
    assert stalled["cycles_stalled"] >= 0
    assert stalled["cycles_estimated"] + stalled["cycles_stalled"] == stalled["cycles_simulated"]
    assert (stalled["cycles_accounted"], result["cycles_explained"]) == (True, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "0"], "can give 1 to 6 images, got 0"),
        (["--simulator", "other"], "simulator must be one of verilator, icarus"),
        (["--stall", "1.5"], "stall must be a probability"),
        (["--memory-latency", "soon"], "--memory-latency must be MIN:MAX in cycles, such as 20:60, got 'soon'"),
        (["--memory-latency", "60:20"], "the latency of the memory must be 1 to 5000 cycles, the least one first"),
        (["--data", "digits"], "images must have shape"),
    ],
)
def test_cosim_refuses_bad_input(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    filled = cosim_arguments(folder, *arguments, "--json")
    assert_refused(invoke(*filled, cwd=tmp_path, monkeypatch=monkeypatch), message)
    assert list(tmp_path.iterdir()) == []


def test_cosim_without_a_simulator_says_how_to_get_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = invoke(*cosim_arguments(folder, "--json"), cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(done, "Verilator needs perl, which is not on the PATH; apt-get install perl")


def processes_that_name(folder: Path) -> list[str]:
    """Command lines of running processes with a path in this folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if str(folder) in line]


def test_ctrl_c_during_a_cosimulation(folder: Path, tmp_path: Path) -> None:
    arguments = cosim_arguments(folder, "--images", "6", "--out", str(tmp_path / "out"))
    # A cache of its own, so that there is something to build and thus time to interrupt it.
    environment = dict(os.environ, XDG_CACHE_HOME=str(tmp_path / "cache"))
    command = [*COMMAND, *arguments]
    with started(command, stderr=subprocess.PIPE, env=environment, start_new_session=True) as process:
        deadline = time.monotonic() + 120
        while not list((tmp_path / "cache").rglob(".*.partial/work/objects")) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert processes_that_name(tmp_path / "cache") == []
    assert not (tmp_path / "out").exists()
    left = [path for path in (tmp_path / "cache" / "bivit" / "cosim").rglob("*") if path.is_file()]
    assert {path.suffix for path in left} <= {".lock"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--preset", "nothing"], "there is no preset 'nothing'"),
        (["train", "--preset", "deit_tiny"], "images must have shape [B, 224, 224, 3]"),
        (["train", "--data", "{folder}/images.npz"], "images must have shape"),
        (["train", "--epochs", "0"], "epochs must be a positive integer, got 0"),
        (["eval", "nothing.safetensors"], "there is no file nothing.safetensors"),
        (["export", "{folder}/tiny.safetensors"], "is an integer network already; give --qonnx FILE"),
        (["export", "{folder}/images.npz"], "it is a zip archive, as torch.save writes"),
        (["export", "nothing.safetensors"], "there is no checkpoint nothing.safetensors"),
        (["report", "nothing"], "there is no nothing/report.json"),
    ],
)
def test_other_commands_refuse_bad_input(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    filled = [argument.format(folder=folder) for argument in arguments]
    assert_refused(invoke(*filled, "--json", cwd=tmp_path, monkeypatch=monkeypatch), message)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_demo_and_report(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = bivit("demo", "--out", out, "--epochs", "1", "--images", "1", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert json.loads(done.stdout).items() <= summary.items()
    assert (summary["cosim_images"], summary["cosim_mismatches"]) == (1, 0)
    assert summary["cycles_estimated"] == summary["cycles_simulated"]
    assert summary["integer_mode_differing"] == []
    assert 0 < summary["array_utilisation"] < 1
    assert {"top1_float", "top1_integer", "agreement"} <= set(summary)
    assert (out / "verilog" / "manifest.json").is_file()
    before = {name: (out / name).read_text() for name in ("report.html", "report.md")}
    readme = tmp_path / "page.md"
    readme.write_text("top\n<!-- results: begin -->\nold\n<!-- results: end -->\nend\n")
    done = bivit("report", out, "--readme", readme, "--json")
    assert done.returncode == 0, done.stderr
    assert {name: (out / name).read_text() for name in before} == before
    page = readme.read_text()
    assert "old" not in page
    assert f"{summary['cycles_estimated']:,} / {summary['cycles_simulated']:,}" in page


def test_cosim_names_registers_and_bus_rules_that_are_wrong(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every tensor and every cycle agrees; a register and a port do not."""
    estimate = estimate_cycles(compile_network(NETWORK, tiny_flow()), 1)
    result = CosimResult(
        images=1,
        mismatches=0,
        values=9,
        first_mismatch=None,
        cycles=estimate.cycles,
        array_busy=estimate.array_busy,
        stall_pixels=0,
        stall_logits=0,
        saturations=4,
        kcycles_per_s=1.0,
        simulator="none",
        stall=0.0,
        seed=0,
        build_seconds=0.0,
        run_seconds=1.0,
        waveform=None,
        registers=(RegisterDifference("SATURATIONS", 5, 4),),
        violations=(Violation("m_axis_logits", "WITHDRAWN", 77),),
        logits=np.zeros((1, 3), np.int64),
    )
    monkeypatch.setattr("bivit.cosim.run.engine_verilog", lambda engine: "")
    for broken in (result, replace(result, registers=()), replace(result, violations=())):
        monkeypatch.setattr("bivit.cosim.run.Case.run", lambda case, broken=broken, **options: broken)
        done = invoke(
            *cosim_arguments(folder, "--images", "1", "--stall", "0", "--json"), cwd=tmp_path, monkeypatch=monkeypatch
        )
        assert done.returncode == 1
        assert ("register SATURATIONS: expected 5" in done.stderr) == bool(broken.registers)
        assert ("m_axis_logits breaks the bus rule WITHDRAWN in cycle 77" in done.stderr) == bool(broken.violations)
        assert json.loads(done.stdout)["bus_violations"] == [str(violation) for violation in broken.violations]
    right = replace(result, registers=(), violations=())
    monkeypatch.setattr("bivit.cosim.run.Case.run", lambda case, **options: right)
    arguments = cosim_arguments(folder, "--images", "1", "--stall", "0", "--json")
    assert invoke(*arguments, cwd=tmp_path, monkeypatch=monkeypatch).returncode == 0


def test_two_runs_of_a_case_share_all_but_the_simulation(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled, packed and run through the reference once; each run is loaded with the same stream."""
    from bivit.cosim import run

    made: list[str] = []
    for name in ("compile_for", "build_stream", "engine_verilog", "run_reference"):
        plain = getattr(run, name)
        monkeypatch.setattr(
            run, name, lambda *args, name=name, plain=plain, **more: made.append(name) or plain(*args, **more)
        )
    loaded: list[bytes] = []

    def verify(session: run.Session, expected: run.Expected, **more: object) -> None:
        loaded.append(session.steps[0].stream)
        assert expected.axes["blocks.0.attn.scores"] == ("head", "token", "key")
        if len(loaded) == 2:
            raise BivitError("enough")

    monkeypatch.setattr(run.Session, "verify", verify)
    assert_refused(invoke(*cosim_arguments(folder), cwd=tmp_path, monkeypatch=monkeypatch), "enough")
    assert sorted(made) == ["build_stream", "compile_for", "engine_verilog", "run_reference"]
    assert loaded[0] == loaded[1]
