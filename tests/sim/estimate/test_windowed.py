"""Estimates of engines with windows: known where such engines were synthesised, and what windows add to units."""

from __future__ import annotations

import pytest

from bivit.hw.synthesis.calibrate import fit, load_measurements
from bivit.hw.synthesis.calibrated import FITTED_ENGINES
from bivit.hw.synthesis.synth import OTHER_COMPONENTS, synthesised
from bivit.sim.estimate.constants import CONSTANTS
from bivit.sim.estimate.devices import DEVICES
from bivit.sim.estimate.engine_units import footprints
from bivit.sim.estimate.resources import estimate_resources
from bivit.sim.estimate.units import FOOTPRINTS
from bivit.sim.estimate.windowed import WINDOWED_FOOTPRINTS
from bivit.sim.flow.presets import FLOW_ENGINES

#: A device of each family.
DEVICE_OF = {family: next(name for name, one in DEVICES.items() if one.family == family) for family in CONSTANTS}
WITH_WINDOWS = {m.family for m in load_measurements() if m.flow.windows}


@pytest.mark.parametrize("family", CONSTANTS)
@pytest.mark.parametrize("engine", ["swin", "swin_zcu102"])
def test_logic_is_known_where_windows_were_synthesised(engine: str, family: str) -> None:
    report = estimate_resources(FLOW_ENGINES[engine], DEVICE_OF[family])
    known = family in WITH_WINDOWS
    assert [report.total_of(name) is not None for name in ("luts", "ffs")] == [known, known]
    assert report.total_of("brams") is not None
    assert {report.units[unit].luts is not None for unit in WINDOWED_FOOTPRINTS} == {known}


def test_ultrascale_is_one_of_these() -> None:
    assert "xcup" in WITH_WINDOWS
    totals = estimate_resources(FLOW_ENGINES["swin_zcu102"], "zu9eg").totals
    plain = estimate_resources(FLOW_ENGINES["zcu102"], "zu9eg").totals
    assert totals.luts is not None
    assert plain.luts is not None
    assert totals.luts > plain.luts


def test_units_are_listed_where_they_are() -> None:
    plain, windows = (FITTED_ENGINES[name] for name in ("2x8", "2x8-windows"))
    assert (
        set(footprints(windows)) - set(footprints(plain))
        == {"passes", "patch_norm"}
        == set(WINDOWED_FOOTPRINTS) - {*FOOTPRINTS}
    )
    assert set(synthesised(windows)) - set(synthesised(plain)) == {"passes", "patch_norm"}
    assert set(synthesised(FITTED_ENGINES["2x8-streamed"])) - set(synthesised(plain)) == {"fetch"}
    assert set(synthesised(FITTED_ENGINES["2x8-edge"])) - set(synthesised(plain)) == {"fetch", "edge_lines"}
    assert set(OTHER_COMPONENTS) == {"passes", "patch_norm", "fetch", "edge_lines"}


def test_measurements_of_windows_move_no_other_weight() -> None:
    measured = load_measurements()
    without = fit([m for m in measured if not m.flow.windows])
    for family, units in without.items():
        for unit, quantities in units.items():
            for quantity, weights in quantities.items():
                assert weights.items() <= CONSTANTS[family][unit][quantity].items()
