"""Measurements side by side, each kept at once; a family is fitted as soon as it is measured."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bivit.hw.synthesis import calibrate
from bivit.hw.synthesis.calibrate import fit, load_measurements, measure, render_constants
from bivit.sim.engine.config import EngineConfig
from bivit.sim.errors import BivitError
from bivit.sim.estimate.constants import CONSTANTS
from bivit.sim.estimate.cost import Cost


@pytest.fixture
def synthesised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synthesised; of `logits` Yosys makes nothing."""
    asked = []

    def synthesise(unit: str, engine: EngineConfig, family: str) -> Cost:
        asked.append(f"{unit}/{engine.rows}/{engine.fabric}/{family}")
        if unit == "logits":
            raise BivitError("yosys failed")
        return Cost(luts=engine.rows, ffs=2, dsps=3, brams=4)

    monkeypatch.setattr(calibrate, "synthesise", synthesise)
    return asked


def test_what_is_not_there_is_measured_and_kept(synthesised: list[str], tmp_path: Path) -> None:
    path = tmp_path / "synthesis.json"
    measure(path, ["run", "logits", "matmul"], ["2x8x8", "4x8x8"], ["xc7", "ecp5"], jobs=3)
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert set(kept) == {
        *(f"run/{engine}/{fabric}" for engine in ("2x8x8", "4x8x8") for fabric in ("lut6/xc7", "lut4/ecp5")),
        *(f"matmul/{engine}/{fabric}/{family}" for engine in ("2x8x8", "4x8x8") for fabric in ("lut6", "lut4")
          for family in ("xc7", "ecp5")),
    }  # fmt: skip
    assert kept["run/4x8x8/lut4/ecp5"] == [4, 2, 3, 4]
    assert len(load_measurements(path)) == len(kept)
    # Only what failed is tried again.
    synthesised.clear()
    measure(path, ["run", "logits"], ["2x8x8"], ["xc7", "ecp5"], jobs=1)
    assert sorted(synthesised) == ["logits/2/lut4/ecp5", "logits/2/lut6/xc7"]


def test_a_family_has_constants_as_soon_as_it_is_measured() -> None:
    measurements = [m for m in load_measurements() if m.family != "xc7"]
    assert "xc7" not in fit(measurements)
    as_series_7 = [
        replace(m, family="xc7") for m in measurements if m.family == "xcup" and m.unit in ("run", "settings")
    ]
    found = fit([*measurements, *as_series_7])
    assert found["xc7"]["run"] == CONSTANTS["xcup"]["run"]
    assert '    "xc7": "' in render_constants(found)
