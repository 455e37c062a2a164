"""The benchmark: what it measures, on small cases; no time is asserted, only what must hold for any."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bivit.cli import bench
from bivit.cli.benches import models as bench_models
from bivit.cli.benches.job import ModelJob
from bivit.cli.benches.models import held_mib, run_job
from bivit.cli.benches.page import bench_page, roofline
from bivit.cli.benches.units import bench_units
from bivit.cli.main import app
from bivit.sim.errors import BivitError
from bivit.sim.reference import products as kernels
from bivit.sim.reference.peak import popcount_peak

KERNEL = {
    "name": "kernel.198x192x576",
    "gmacs": 2000.0,
    "peak_ratio": 0.8,
    "peak_ratio_low": 0.7,
    "peak_ratio_high": 0.9,
    "float32_ratio": 36.0,
    "macs": 1_000_000,
    "bytes": 10_000,
}
MODEL = {"name": "digits", "batch": 2, "threads": 1, "ms_per_image": 0.5, "ms_low": 0.4, "ms_high": 0.7}
MODEL |= {"ms_torch_float32": 4.0, "ratio_torch_float32": 8.0, "ms_ort_int8": 2.0, "ratio_ort_int8": 4.0}
REPORT = {
    "command": "bivit bench",
    "machine": {
        "processor": "P",
        "target": "t",
        "vectors": ["avx2"],
        "cores": 2,
        "memory_gib": 24.0,
        "system": "s",
    },
    "peak_gmacs": 2500.0,
    "copy_gbytes": 20.0,
    "rows": [KERNEL, MODEL | {"peak_mib": None}],
    "units": [{"name": "digits", "unit": "binary_linear", "ms_per_image": 0.1, "share": 0.25}],
    "versions": {"bivit": "0.1.0"},
}


def test_the_peak_counts_what_it_claims() -> None:
    keys = [index * 0x9E3779B97F4A7C15 % 2**64 for index in range(1, 9)]
    assert popcount_peak(800) == sum((key ^ number).bit_count() for key in keys for number in range(100))


@pytest.mark.slow
def test_kernels_alone_as_json(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["bench", "--models", "none", "--rounds", "1", "--out", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert json.loads((tmp_path / "bench.json").read_text()) == report
    names = [row["name"] for row in report["rows"]]
    assert names[:3] == ["kernel.198x192x576", "kernel.198x768x192", "kernel.198x192x768"]
    for row in report["rows"]:
        rows, length, outputs = map(int, row["name"].removeprefix("kernel.").split("x"))
        assert row["macs"] == 8 * rows * length * outputs
        assert 0 < row["peak_ratio_low"] <= row["peak_ratio"] <= row["peak_ratio_high"]
        assert row["float32_ratio"] > 0
    assert report["machine"]["cores"] > 0
    assert (tmp_path / "roofline.svg").read_text().startswith("<svg")


@pytest.mark.slow
def test_a_network_beside_all_engines(tmp_path: Path) -> None:
    """Each engine runs, in a process of its own; the integer network's memory is above the interpreter's."""
    row = bench._model_row(ModelJob("digits", 2, 1, 2, bench.RUNTIMES))
    assert (row["name"], row["batch"], row["threads"]) == ("digits", 2, 1)
    assert row["ms_low"] <= row["ms_per_image"] <= row["ms_high"]
    for engine in bench.RUNTIMES:
        assert row[f"ratio_{engine}"] > 0
    assert row["peak_mib"] is None or row["peak_mib"] > 1


def test_engines_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    engines = {name: (lambda name=name: turns.append(name)) for name in ("bivit", "torch_float32")}
    monkeypatch.setattr(bench_models, "_engines", lambda job, folder: engines)
    monkeypatch.setattr(bench_models.time, "sleep", lambda _: turns.append("pause"))
    row = run_job(ModelJob("digits", 2, 1, 3, ("torch_float32",)))
    assert turns[:2] == ["bivit", "torch_float32"]
    # Four runs of two images are the eight of a turn.
    assert turns[2:] == ["pause", *["bivit"] * 4, "pause", *["torch_float32"] * 4] * 3
    assert set(row) >= {"ms_per_image", "ms_torch_float32", "ratio_torch_float32"}


def test_units_are_all_of_the_time() -> None:
    before = kernels.binary_linear
    rows = bench_units("digits", 2, 1)
    assert sum(row["share"] for row in rows) == pytest.approx(1.0)
    assert {"binary_linear", "attention", "context", "sign_norm", "head_norm", "rest"} <= {row["unit"] for row in rows}
    assert kernels.binary_linear is before, "the clock is still there"


def test_page_and_picture_hold_every_row() -> None:
    page = bench_page(REPORT)
    assert "| kernel.198x192x576 | 2,000 | 80 % | 70 to 90 % | 36 |" in page
    assert "| digits | 2 | 1 | 0.50 | 0.40 to 0.70 | 8.0 | 4.0 | unknown |" in page
    assert "| binary_linear | 0.100 (25 %) |" in page
    picture = roofline(REPORT)
    assert "198x192x576, 80 % of peak" in picture
    assert picture == roofline(REPORT)


def test_memory_that_the_system_does_not_tell_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, **_: object) -> str:
        raise FileNotFoundError(str(self))

    monkeypatch.setattr(Path, "read_text", refuse)
    assert held_mib() is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "resnet"], "there is no preset 'resnet'"),
        (["--batches", "1,x"], "batches must be whole numbers"),
        (["--threads", "0"], "threads must be 1 or more"),
    ],
)
def test_what_cannot_be_measured_is_refused(options: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["bench", *options, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert message in result.output.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_a_failed_measurement_says_why() -> None:
    with pytest.raises(BivitError, match=r"(?s)exit code 1: .*no_such_name"):
        bench._run_child(["-c", "no_such_name"], 1)
