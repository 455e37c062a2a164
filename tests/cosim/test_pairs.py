"""Networks and engines that nobody has seen: one pair of each kind in RTL, and a prediction that is wrong is found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pair_campaign
import pytest
from pair_campaign import drawn, network_text, pairs, simulated

from bivit.sim.estimate.choice import too_small
from bivit.sim.mapping.cycles import estimate_cycles


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 4])
def test_a_pair_is_as_predicted(seed: int) -> None:
    one = simulated(seed)
    assert one is not None
    assert one.agrees
    assert one.values > 1000
    assert (one.seed, one.kind) == (seed, "sized" if seed % 2 else "drawn")


@pytest.mark.slow
def test_a_wrong_prediction_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*arguments: object) -> object:
        found = estimate_cycles(*arguments)  # type: ignore[arg-type]
        return replace(found, cycles=found.cycles + 1)

    monkeypatch.setattr(pair_campaign, "estimate_cycles", late)
    one = simulated(4)
    assert one is not None
    assert not one.agrees
    assert (one.predicted, one.wrong) == (one.simulated + 1, 0)


def test_pairs_are_those_of_their_seeds_and_seldom_repeat() -> None:
    both = {seed: found for seed in range(1, 41) if (found := drawn(seed))}
    assert len(both) > 20
    assert len({network_text(config) for config, _ in both.values()}) > 0.9 * len(both)
    assert all(drawn(seed) == found for seed, found in list(both.items())[:6])
    assert all(not too_small(config, flow.engine.formats, flow) for config, flow in both.values())


def test_seeds_without_a_pair_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def every_third(seed: int) -> int | None:
        asked.append(seed)
        return seed if seed % 3 == 0 else None

    monkeypatch.setattr(pair_campaign, "simulated", every_third)
    found: Iterator[object] = pairs(2, 4)
    assert list(found) == [6, 9]
    assert asked == [4, 5, 6, 7, 8, 9]
