"""The report's page: what it must show, that it needs nothing from outside, and its figures."""

import base64
import json
import re
import xml.etree.ElementTree as ET
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bivit.cli.pages import figures, page
from bivit.model.train.curves import draw_curves

UNITS = ["dense", "xnor_array", "sign_norm", "head_norm", "attention_threshold"]
CYCLES = 12_000


def made_up_schedule() -> dict[str, Any]:
    random = np.random.default_rng(3)
    spans = []
    for row, unit in enumerate(UNITS):
        at = 40 * row
        while at < CYCLES - 400:
            length = int(random.integers(20, 220))
            block = at * 4 // CYCLES
            spans.append({"unit": unit, "start": at, "end": at + length, "what": f"block {block}"})
            spans[-1] |= {"image": row % 3, "block": block}
            at += length + int(random.integers(10, 200))
    busy = {u: sum(s["end"] - s["start"] for s in spans if s["unit"] == u) / CYCLES for u in UNITS}
    stalls = {"room": 400, "keys": 12}
    rates = {"steps": 9000, "packing": 0.97, "steady": 0.96, "reached": 0.6}
    return {"images": 3, "units": UNITS, "spans": spans, "cycles": CYCLES, "busy": busy, "stalls": stalls, **rates}


def made_up_report() -> dict[str, Any]:
    """A report with every part filled, values invented."""
    random = np.random.default_rng(1)
    tails = ("norm1", "attn.q_norm", "attn.k_norm", "attn.v_sign", "attn.attn_sign", "attn.context", "norm2", "mlp.act")
    red = (200, 30, 30)
    return {
        "made": "2026-01-31",
        "network": {"name": "digits"},
        "engine": {"name": "digits"},
        "tiles": [
            {"label": "Top-1, integer network", "value": "95.3%"},
            {"label": "cycles an image", "value": "12,000"},
        ],
        "accuracy": [
            {"model": "real-valued teacher", "arithmetic": "float32", "images": 360, "top1": 0.9806},
            {"model": "integer network", "arithmetic": "integers", "images": 360, "top1": 0.9528},
        ],
        "training": [
            {"phase": phase, "epoch": epoch, "lr": 1e-3, "loss": 1 / epoch, "top1": 1 - 0.5 / epoch}
            for phase in ("teacher", "stages.0")
            for epoch in (1, 2, 3)
        ],
        "heads": [
            {"head": f"blocks.0.attn.attn_sign[{h}]", "scale": 0.1, "ones": 0.2, "entropy": 2.0, "empty_rows": 0.0}
            | {"state": "alive"}
            for h in (0, 1)
        ],
        "agreement": {
            "comparisons": [
                {
                    "compared": "torch integer mode = reference",
                    "images": 360,
                    "tensors": 105,
                    "result": "equal",
                    "good": True,
                },
                {"compared": "RTL = reference", "images": 16, "tensors": 105, "result": "2 differ", "good": False},
            ],
            "calibration_images": 256,
            "tensors": {f"blocks.{b}.{t}": 0.97 + 0.001 * b for b in range(4) for t in tails if (b, t) != (3, "norm2")},
            "warnings": ["head 1 of block 2 is constant"],
        },
        "cosim": [
            {
                "run": run,
                "images": 16,
                "mismatches": 0,
                "cycles_estimated": 192_000,
                "cycles_stalled": stalled,
                "cycles_simulated": 192_000 + stalled + wrong,
                "cycles_accounted": wrong == 0,
                "array_utilisation": 0.6,
                "kcycles_per_s": 120.5,
            }
            for run, stalled, wrong in (("streams never stall", 0, 0), ("random stalls", 5120, 7))
        ],
        "stalls": [{"run": "random stalls", "cause": "pixels", "cycles": 5120}],
        "schedule": made_up_schedule(),
        "units": [
            {"unit": "xnor_array", "luts": 21_000, "dsps": 0, "kind": "estimated"},
            {"unit": "loader", "luts": None, "dsps": 0, "kind": "unknown"},
        ],
        "unit_columns": [("unit", "unit"), ("luts", "LUT"), ("dsps", "DSP"), ("kind", "kind")],
        "unit_target": "LUT6 devices",
        "devices": [{"target": "ZCU102", "clock_mhz": 200.0, "images_per_s": 16_667.0, "kind": "assumed"}],
        "device_columns": [("target", "target"), ("clock_mhz", "MHz"), ("images_per_s", "images/s"), ("kind", "clock")],
        "samples": [
            {
                "label": label,
                "prediction": label if label else 6,
                "image": figures.picture(random.integers(0, 256, (8, 8), dtype=np.uint8)),
                "received_float": figures.heat(random.random((4, 4)), red),
                "received_binary": figures.heat(random.random((4, 4)), red),
            }
            for label in range(8)
        ],
        "attention": {
            "columns": [f"block {b}, head {h}" for b in range(4) for h in range(2)],
            "float": [figures.heat(random.random((16, 16)), red) for _ in range(8)],
            "binary": [figures.heat(random.integers(0, 2, (16, 16)).astype(float), red) for _ in range(8)],
        },
        "facts": {"seed": 0, "command": "bivit demo <out>"},
        "versions": {"bivit": "0.1.0", "numpy": "2.4"},
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    # Through JSON, as `bivit report` reads it back: tuples become lists, NaN would not survive.
    report = json.loads(json.dumps(made_up_report(), allow_nan=False))
    html, markdown = page.render(report, tmp_path_factory.mktemp("report"))
    return html.read_text(), markdown.read_text()


def test_the_page_is_one_file(written: tuple[str, str]) -> None:
    html, _ = written
    addresses = re.findall(r'(?:src|href)="([^"]*)"', html) + re.findall(r"url\(([^)]*)\)", html)
    assert addresses
    inside = ("data:image/png;base64,", "data:image/svg+xml;base64,")
    assert [address[:40] for address in addresses if not address.startswith(inside)] == []
    assert "<script" not in html
    assert "@import" not in html


def test_the_page_shows_every_part(written: tuple[str, str]) -> None:
    for text in written:
        for part in (
            "Accuracy",
            "Agreement",
            "Cycles",
            "Timeline of 3 images",
            "packing" if text is written[0] else "never waited",
            "97.0%",
            "Resources",
            "Devices",
            "Sample images",
        ):
            assert part in text
        assert "98.06%" in text
        assert "192,000" in text
        assert "unknown" in text
        assert "head 1 of block 2 is constant" in text


def test_the_page_shows_the_curves_of_the_training(written: tuple[str, str]) -> None:
    uris = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', written[0])
    assert [base64.b64decode(uri).decode() for uri in uris] == [draw_curves(made_up_report()["training"])]


def test_cycles_that_are_not_accounted_for_are_shown_as_such(written: tuple[str, str]) -> None:
    html, _ = written
    assert html.count('<span class="tag good">all</span>') == 1
    assert html.count('<span class="tag bad">not all</span>') == 1


def test_text_is_escaped(written: tuple[str, str]) -> None:
    html, markdown = written
    assert "bivit demo &lt;out&gt;" in html
    assert "bivit demo <out>" in markdown


def test_markdown_tables_are_whole(written: tuple[str, str]) -> None:
    _, markdown = written
    for table in re.findall(r"(?:^\|.*\| *\n)+", markdown, flags=re.MULTILINE):
        lines = table.strip().splitlines()
        assert set(lines[1]) <= set("|-: ")
        assert {line.count("|") for line in lines} == {lines[0].count("|")}
    assert "\n|---|\n" not in markdown


def test_a_missing_value_is_an_error(tmp_path: Path) -> None:
    report = made_up_report()
    del report["accuracy"][0]["top1"]
    with pytest.raises(Exception, match="top1"):
        page.render(report, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_agreement_table_keeps_the_place_of_a_missing_tensor() -> None:
    stages, rows = page.agreement_table({"blocks.1.norm1": 0.5, "blocks.1.mlp.act": 1.0, "patch_embed": 0.1})
    assert (stages[0], stages[-1]) == ("norm1", "hidden")
    assert rows == [("block 1", [0.5, None, None, None, None, None, None, 1.0])]


def test_timeline_places_spans_to_scale() -> None:
    schedule = {
        "units": ["a", "b"],
        "spans": [
            {"unit": "a", "start": 0, "end": 50, "what": "first", "image": 0},
            {"unit": "b", "start": 50, "end": 100, "what": "second", "image": 1},
            {"unit": "b", "start": 100, "end": 200, "what": "outside", "image": 2},
        ],
    }
    root = ET.fromstring(figures.timeline(schedule, 0, 100))
    spans = [node for node in root.iter("{http://www.w3.org/2000/svg}rect") if node.get("class", "").startswith("span")]
    assert [node[0].text for node in spans] == ["first: cycles 0 to 50", "second: cycles 50 to 100"]
    left, right = spans
    assert float(left.get("width", "")) == float(right.get("width", ""))
    assert float(left.get("x", "")) + float(left.get("width", "")) == float(right.get("x", ""))


def test_bars_draw_nothing_for_unknown() -> None:
    root = ET.fromstring(figures.bars([("known", 2.0, "2"), ("not", None, "unknown"), ("none", 0.0, "0")]))
    assert len(list(root.iter("{http://www.w3.org/2000/svg}rect"))) == 1
    assert [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")][3] == "unknown"


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3), (3, 5, 4)])
def test_picture_is_a_png_with_the_same_pixels(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(decode(figures.picture(pixels)), pixels)


def test_heat_scales_to_the_largest_value() -> None:
    values = np.array([[0.0, 1.0], [2.0, 4.0]])
    decoded = decode(figures.heat(values, (1, 2, 3)))
    assert decoded[..., 3].tolist() == [[0, 64], [128, 255]]
    assert decoded[..., :3].reshape(-1, 3).tolist() == [[1, 2, 3]] * 4
    assert decode(figures.heat(np.zeros((2, 2)), (1, 2, 3)))[..., 3].max() == 0


def test_equal_pixels_are_equal_files() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    assert figures.picture(pixels) == figures.picture(np.asfortranarray(pixels))


def decode(uri: str) -> np.ndarray:
    """Pixels of a PNG."""
    with Image.open(BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))) as image:
        assert (image.format, image.info) == ("PNG", {})
        return np.asarray(image)
