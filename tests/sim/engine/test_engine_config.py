"""Engine configurations: what is refused, and how; JSON there and back."""

import hashlib
import json
from dataclasses import asdict, replace

import pytest
from engines import tiny_flow

from bivit.sim.errors import BivitError
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.presets import FLOW_ENGINES, engine_from_dict, load_engine

ARRAY = replace(tiny_flow().engine, pixel_bytes=4, max_strip_bytes=12, dense_lanes=16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 0}, "rows must be 1 to 64, got 0"),
        ({"rows": 65}, "rows must be 1 to 64, got 65"),
        ({"columns": 24}, "columns must be 8, 16, 32 or 64, got 24"),
        ({"lanes": 16}, "at most columns .8., got 16"),
        ({"dense_lanes": 12}, "dense_lanes must be a multiple of lanes .8., got 12"),
        ({"dense_lanes": 520}, "dense_lanes must be at most 512, got 520"),
        ({"pixel_bytes": 3}, "pixel_bytes must be 1, 2, 4, 8 or 16, got 3"),
        ({"fabric": "lut5"}, "fabric must be lut6 or lut4, got 'lut5'"),
        ({"max_tokens": 0}, "max_tokens must be 1 to 4095, got 0"),
        ({"max_tokens": 1017}, "max_tokens must be at most 127 . lanes .1016., got 1017; choose more lanes"),
        ({"max_embed_dim": 12}, "max_embed_dim must be a multiple of lanes .8., got 12"),
        ({"queue_logits": 10}, "queue_logits must be at least 11, so that the queue holds an image .*, got 10"),
        ({"queue_logits": 65537}, "queue_logits must be 1 to 65536, got 65537"),
        ({"max_classes": 2, "queue_logits": 2}, "queue_logits must be at least 3,"),
        ({"max_strip_bytes": 13}, "max_strip_bytes must be a multiple of pixel_bytes .4., got 13"),
    ],
)
def test_values_out_of_range_are_named(change, message):
    with pytest.raises(BivitError, match=message):
        replace(ARRAY, **change)


def test_json_there_and_back(tmp_path):
    path = tmp_path / "engine.json"
    path.write_text(json.dumps(FlowMachine(tiny_flow()).to_dict()))
    assert load_engine(str(path)) == tiny_flow()
    assert load_engine("sim") is FLOW_ENGINES["sim"]


def test_what_a_file_leaves_out_has_its_default():
    values = asdict(tiny_flow())
    del values["engine"]["queue_logits"]
    flow = engine_from_dict(values)
    assert flow.engine.queue_logits == 4096
    assert FlowMachine(flow).fingerprint() != FlowMachine(tiny_flow()).fingerprint()


def test_named_engines_queue_four_images_or_more():
    """Or two, where one goes through the passes at a time."""
    for flow in FLOW_ENGINES.values():
        images = 2 if flow.windows and flow.windows.images == 1 else 4
        assert flow.engine.queue_logits >= images * flow.engine.max_classes


def test_fingerprints_tell_engines_apart():
    flows = [*FLOW_ENGINES.values(), tiny_flow(), tiny_flow(images=3), tiny_flow(products_per_dsp=2)]
    assert len({FlowMachine(flow).fingerprint() for flow in flows}) == len(flows)
    assert FlowMachine(tiny_flow()).fingerprint() == FlowMachine(tiny_flow()).fingerprint()


def test_engines_keep_their_number_where_a_later_field_says_nothing():
    values = asdict(tiny_flow())
    later = {
        "products_per_dsp": 1,
        "weights": "resident",
        "memory_bits": 128,
        "edge_weights": "resident",
        "patch_weights": "resident",
        "windows": None,
        "patch_slots": 0,
        "ring_words": 0,
    }
    assert {name: values.pop(name) for name in later} == later
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).digest()
    assert FlowMachine(tiny_flow()).fingerprint() == int.from_bytes(digest[:8], "little")


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(BivitError, match="no engine 'nowhere': neither a file nor one of the names sim"):
        load_engine("nowhere")
    path = tmp_path / "engine.json"
    path.write_text("{")
    with pytest.raises(BivitError, match="is not JSON"):
        load_engine(str(path))
    path.write_text("[1]")
    with pytest.raises(BivitError, match=r"engine configuration .* must be a table"):
        load_engine(str(path))
    values = asdict(tiny_flow())
    with pytest.raises(BivitError, match="unknown keys colour"):
        engine_from_dict(values | {"colour": 1})
    del values["engine"]["rows"]
    with pytest.raises(BivitError, match="rows"):
        engine_from_dict(values)
