"""The edge: x of every image, every logit, and every cycle, against the reference and the model."""

from typing import Any

import pytest
from amaranth.hdl import Cat, Const, Value
from flow_edge import Bench, flow_of, tiny

from bivit.hw.edge import products
from bivit.hw.edge.pair_block import PairBlock
from bivit.sim.flow.edge_lines import EdgeLinesUnit, Line

#: Changes of the network, of the engine, and images.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "one image": ({}, {}, 1),
    "mean, no prefix, passes across rows of patches": (
        {"img_size": 6, "class_token": False, "pool": "mean"},
        {"dense_patches": 2, "dense_lanes": 16, "pixel_bytes": 4},
        3,
    ),
    "two tokens, tiles of one row": ({"img_size": 4, "dist_token": True}, {"rows": 1}, 3),
    "several groups of classes": ({"img_size": 4, "num_classes": 19}, {"dense_patches": 3}, 3),
    "rows side by side, a last tile and word that are not full": (
        {"img_size": 6, "embed_dim": 24, "num_classes": 17},
        {"dense_patches": 5, "dense_lanes": 16, "norm_lanes": 16, "rows": 5, "drain_rows": 4, "pixel_bytes": 4},
        3,
    ),
    "parts of a row, a last column group that is not full, odd rows of pixels": (
        {"img_size": 6, "patch_size": 3, "in_chans": 3, "embed_dim": 24, "pool": "mean"},
        {"columns": 16, "dense_lanes": 16, "dense_patches": 3, "softmax_lanes": 16, "norm_lanes": 8, "pixel_bytes": 2},
        3,
    ),
    "more patches in a pass than in an image": ({"img_size": 4}, {"dense_patches": 6, "pixel_bytes": 1}, 2),
    "other multipliers, several chunks of several rows in a word": (
        {"img_size": 4, "embed_dim": 24},
        {"fabric": "lut4", "columns": 16, "norm_lanes": 32, "rows": 4, "softmax_lanes": 16, "pixel_bytes": 4},
        2,
    ),
    "two channels a multiplier": ({"img_size": 4}, {"dense_patches": 3, "products_per_dsp": 2}, 2),
    "two channels a multiplier, several blocks, patches of one byte": (
        {"img_size": 3, "patch_size": 1, "embed_dim": 80, "num_heads": 2},
        {"dense_patches": 2, "dense_lanes": 72, "pixel_bytes": 1, "products_per_dsp": 2},
        2,
    ),
    "beats of 16 bytes": ({"patch_size": 4, "in_chans": 4}, {"dense_patches": 2, "pixel_bytes": 16}, 3),
    # Words of x behind the channels of the last column group have none.
    "columns beyond all channels": ({"embed_dim": 8, "img_size": 4}, {"columns": 32, "norm_lanes": 8}, 2),
}


def run(network: dict[str, Any], engine: dict[str, Any], images: int, **more: Any) -> Bench:
    config = tiny(**network)
    bench = Bench(config, flow_of(config, **engine), images, **more)
    bench.run()
    bench.check_values()
    return bench


@pytest.mark.parametrize("case", CASES)
def test_every_value_and_every_cycle(case: str) -> None:
    network, engine, images = CASES[case]
    run(network, engine, images, seed=images).check_cycles()


def test_chunks_of_pairs_are_parted_a_cycle_later() -> None:
    """Those of the prefix, behind which the passes wait until all is quiet, and the last ones."""
    plain, paired = (run({"img_size": 4}, {"dense_patches": 2, "products_per_dsp": count}, 1) for count in (1, 2))
    assert paired.embedded[0] == plain.embedded[0] + 2


@pytest.mark.parametrize("lost", ["overflows", "pixels"])
def test_what_a_pair_loses_is_seen_in_x(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: overflows of the lower sums, of which each is a hundredth of a step of x; or sums of pixels."""

    def broken(block: PairBlock) -> Value:
        kept = {"overflows": block.overflows.as_value(), "pixels": block.pixels}
        return Cat(value if name != lost else Const(0, len(value)) for name, value in kept.items())

    monkeypatch.setattr(products, "beside_of", broken)
    engine = {"dense_patches": 2, "products_per_dsp": 2, "pixel_bytes": 16}
    with pytest.raises(AssertionError):
        run({"img_size": 16, "patch_size": 4, "in_chans": 4}, engine, 1)


def test_an_image_waits_for_the_bank_of_the_one_before_it() -> None:
    bench = run({"img_size": 4}, {"images": 1}, 4, least_delay=300, most_delay=300)
    bench.check_cycles()
    assert bench.unit.banks == 3
    assert bench.embedded[2] < bench.finished[0] < bench.embedded[3]


def test_finished_images_wait_for_each_other_and_for_passes() -> None:
    bench = run({"img_size": 4}, {}, 3, most_delay=0)
    bench.check_cycles()
    assert max(done - finished for done, finished in zip(bench.done, bench.finished, strict=True)) > 200


def test_what_saturates_is_counted() -> None:
    bench = run({"img_size": 4}, {"dense_patches": 2}, 1, saturates=True)
    assert bench.saturations > 10


def test_missing_pixels_and_a_full_queue_cost_time_only() -> None:
    network, engine = {"img_size": 4, "num_classes": 9}, {"dense_patches": 2, "queue_logits": 12, "pixel_bytes": 1}
    bench = run(network, engine, 3, pixel_stall=0.8, logit_stall=0.98, most_delay=0)
    assert min(bench.starved, bench.held) > 20


def test_an_image_does_not_wait_for_the_room_that_its_own_logits_take() -> None:
    network, engine = {"img_size": 4, "num_classes": 21}, {"dense_patches": 2, "queue_logits": 22, "pixel_bytes": 1}
    bench = run(network, engine, 3, logit_stall=0.98, most_delay=0)
    assert bench.held > 20


@pytest.mark.parametrize("cycles", [9, 60])
def test_a_run_that_is_cut_leaves_nothing_to_the_next(cycles: int) -> None:
    run({"img_size": 8}, {"dense_patches": 3, "pixel_bytes": 1}, 1, abandoned=cycles).check_cycles()


#: Cases in which classifier and positions are streamed, and bits of the port.
STREAMED = {
    "two tokens, tiles of one row": 64,
    "several groups of classes": 128,
    "rows side by side, a last tile and word that are not full": 512,
    "mean, no prefix, passes across rows of patches": 64,
}


@pytest.mark.parametrize("patches", ["resident", "streamed"])
@pytest.mark.parametrize("case", STREAMED)
def test_streamed_words_in_time_keep_every_cycle(case: str, patches: str) -> None:
    """At the pace of the classifier and of the patch embedding, which the model knows."""
    network, engine, images = CASES[case]
    bench = run(network, engine | streamed(STREAMED[case], patches), images, seed=images)
    assert bench.settings["class_pace"] > 1
    bench.check_cycles()
    assert {ring.waited for ring in bench.rings} == {0}


@pytest.mark.parametrize("patches", ["resident", "streamed"])
@pytest.mark.parametrize("case", STREAMED)
@pytest.mark.parametrize("late", [0.5, 0.97])
def test_late_words_cost_time_only(case: str, late: float, patches: str) -> None:
    """Steps and passes wait, and say so; every value is as it must be."""
    network, engine, images = CASES[case]
    bench = run(network, engine | streamed(STREAMED[case], patches), images, seed=images, late=late, most=60_000)
    assert late < 0.9 or sum(ring.waited for ring in bench.rings) > 100


def test_a_pass_waits_for_its_steps_alone() -> None:
    """Those of the classifier and positions are in time."""
    network, engine, images = CASES["several groups of classes"]
    config = tiny(**network)
    bench = Bench(config, flow_of(config, **engine, **streamed(256, "streamed")), images, seed=images)
    late = next(ring for ring in bench.rings if ring.name == "patch_weights")
    late.late = 0.9
    bench.run()
    bench.check_values()
    assert late.waited > 100
    assert sum(ring.waited for ring in bench.rings) == late.waited


@pytest.mark.parametrize(("bits", "pace"), [(64, 2), (64, 7), (256, 1), (256, 3)])
def test_steps_keep_their_pace(bits: int, pace: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one a cycle, and where a word of the port holds several steps of a pass."""
    monkeypatch.setattr(EdgeLinesUnit, "pace", lambda unit, line, config: pace)
    network, engine, images = CASES["several groups of classes"]
    bench = run(network, engine | streamed(bits, "streamed"), images, seed=images)
    assert EdgeLinesUnit(bench.flow).word_steps(Line.PATCH_WEIGHTS) == bits // 64
    bench.check_cycles()


@pytest.mark.parametrize("name", ["class_pace", "patch_pace"])
def test_another_pace_than_the_models_is_seen(name: str) -> None:
    """A planted fault: the engine is told a cycle more a step."""
    network, engine, images = CASES["several groups of classes"]
    config = tiny(**network)
    bench = Bench(config, flow_of(config, **engine, **streamed(128, "streamed")), images, seed=images)
    bench.settings[name] += 1
    bench.run()
    bench.check_values()
    with pytest.raises(AssertionError):
        bench.check_cycles()


def streamed(bits: int, patches: str) -> dict[str, Any]:
    return {"weights": "streamed", "edge_weights": "streamed", "patch_weights": patches, "memory_bits": bits}
