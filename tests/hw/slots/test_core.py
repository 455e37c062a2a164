"""The blocks of the dataflow engine: every slot in the predicted cycle, every stall with its cause, every x."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_bench import CoreBench, Prediction
from shapes import MODES, random_images

from bivit.hw.slots import stream_walk
from bivit.sim.engine.presets import engine_for
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.streams import Stream, TileShape
from bivit.sim.flow.table import GRAIN, Places, SlotTable, slot_table
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.random import random_network


def half_tiles(shape: TileShape) -> SlotTable:
    """A table in which each stream begins half a tile after the one before, and is through when the next one begins."""
    tile = GRAIN * shape.tile_steps
    phase = {stream: number * tile // 2 for number, stream in enumerate(Stream)}
    return slot_table(shape, Places(phase, dict.fromkeys(Stream, tile * 9 // 20), {}))


def bench(config: ViTConfig, embedded: list[int], rows: int = 2, **widths: int) -> tuple[CoreBench, Prediction]:
    engine = engine_for(config, rows=rows, columns=8, lanes=8, dense_lanes=8, program_words=64, pixel_bytes=1)
    lanes = {"drain_rows": 1, "norm_lanes": 8, "head_norm_lanes": 8, "softmax_lanes": 8}
    flow = FlowConfig(engine=engine, **(lanes | widths))
    network, table = random_network(config, seed=3), half_tiles(TileShape(config, rows, 8))
    images = random_images(config, len(embedded))
    return CoreBench(network, flow, table, images, embedded), Prediction(network, flow, table, embedded)


def test_images_in_flight_go_through_in_the_predicted_cycles() -> None:
    run, predicted = bench(MODES["softmax"], [5, 300])
    run.run(predicted)
    run.check()


def test_tiles_of_an_empty_lane_are_left_out_in_the_predicted_cycles() -> None:
    config = replace(MODES["score"], img_size=6, depth=1)
    run, predicted = bench(config, [5], rows=1)
    every = Prediction(run.network, run.flow, run.table, [5], skips=False)
    assert predicted.finished[-1] < every.finished[-1]
    run.run(predicted)
    run.check()


def test_a_tile_of_one_slot_reads_the_image_that_was_just_decided() -> None:
    """A slot of fc2 that is a turn's first and a tile's last passes in the cycle after the decision."""
    run, predicted = bench(replace(MODES["score"], embed_dim=8, num_heads=1, depth=1), [5, 9])
    run.run(predicted)
    run.check()


def test_a_stream_that_is_ready_too_late_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_walk, "TURN_CYCLES", stream_walk.TURN_CYCLES + 60)
    run, predicted = bench(MODES["score"], [5])
    with pytest.raises(AssertionError, match=r"in cycle \d+, not Taken"):
        run.run(predicted)


def test_a_wrong_weight_is_seen() -> None:
    run, predicted = bench(MODES["score"], [5])
    run.words["weights"][0][0] ^= 1 << 3
    with pytest.raises(AssertionError, match="0, "):
        run.run(predicted)
