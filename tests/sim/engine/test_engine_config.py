"""Engine configurations: what is refused, and how; JSON there and back."""

import json
from dataclasses import replace

import pytest
from shapes import tiny_engine

from bivit.sim.engine.presets import ENGINES, engine_from_dict, load_engine
from bivit.sim.errors import BivitError


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
        ({"max_classes": 1, "queue_logits": 1}, "queue_logits must be at least 2,"),
        (
            {"dense_lanes": 8, "max_embed_dim": 1016, "max_classes": 4095, "max_patch_dim": 1023, "queue_logits": 4096},
            "memory dense_weights would have 1170305 words, and its addresses have 20 bits; choose more lanes",
        ),
        ({"max_strip_bytes": 13}, "max_strip_bytes must be a multiple of pixel_bytes .4., got 13"),
    ],
)
def test_values_out_of_range_are_named(change, message):
    with pytest.raises(BivitError, match=message):
        replace(tiny_engine(), **change)


def test_json_there_and_back(tmp_path):
    path = tmp_path / "engine.json"
    path.write_text(json.dumps(tiny_engine().to_dict()))
    assert load_engine(str(path)) == tiny_engine()
    assert load_engine("digits") is ENGINES["digits"]


def test_a_file_from_before_the_queue_is_read():
    values = tiny_engine().to_dict()
    del values["queue_logits"]
    engine = engine_from_dict(values)
    assert engine.queue_logits == 4096
    assert engine.fingerprint() != tiny_engine().fingerprint()


def test_named_engines_queue_four_images_or_more():
    assert {name: engine.queue_logits for name, engine in ENGINES.items()} == {
        "digits": 512,
        "deit_tiny_6x32": 4096,
        "deit_tiny_33x32": 4096,
    }


def test_fingerprints_tell_engines_apart():
    fingerprints = {engine.fingerprint() for engine in (*ENGINES.values(), tiny_engine(), tiny_engine(rows=2))}
    assert len(fingerprints) == len(ENGINES) + 2
    assert tiny_engine().fingerprint() == tiny_engine().fingerprint()


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(BivitError, match="no engine 'nowhere': neither a file nor one of the names digits"):
        load_engine("nowhere")
    path = tmp_path / "engine.json"
    path.write_text("{")
    with pytest.raises(BivitError, match="is not JSON"):
        load_engine(str(path))
    path.write_text("[1]")
    with pytest.raises(BivitError, match=r"engine configuration .* must be a table"):
        load_engine(str(path))
    values = tiny_engine().to_dict()
    with pytest.raises(BivitError, match="unknown keys colour"):
        engine_from_dict(values | {"colour": 1})
    del values["rows"]
    with pytest.raises(BivitError, match="rows"):
        engine_from_dict(values)
