"""Curves of a training: every metric of every phase is a line, and the bytes depend on the rows alone."""

import re
import xml.etree.ElementTree as ET
from typing import Any

import matplotlib
import pytest

from bivit.model.train.curves import draw_curves

SVG = "{http://www.w3.org/2000/svg}"


def rows(epochs: int = 4) -> list[dict[str, Any]]:
    """Metrics of a teacher and of a student with one stage, as in metrics.jsonl."""
    made = []
    for phase, names in (("teacher", ("loss",)), ("stages.0", ("loss", "labels", "logits", "ranking", "agreement"))):
        for epoch in range(1, epochs + 1):
            values = {name: (1 + index) / epoch for index, name in enumerate(names)}
            made.append({"phase": phase, "epoch": epoch, "step": 9 * epoch, "lr": 0.1 / epoch, "top1": 0.5} | values)
    return made


def lines(svg: str) -> dict[str, list[tuple[float, float]]]:
    """Corners of each line by its name, in the picture's points: y grows downwards."""
    found = {}
    for group in ET.fromstring(svg).iter(f"{SVG}g"):
        name = group.get("id", "")
        if ": " in name:
            path = group.find(f"{SVG}path")
            assert path is not None
            numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", path.get("d", ""))]
            found[name] = list(zip(numbers[::2], numbers[1::2], strict=True))
    return found


def test_every_metric_of_every_phase_is_a_line_through_its_values() -> None:
    svg = draw_curves(rows())
    drawn = lines(svg)
    student = {f"stages.0: loss: {name}" for name in ("loss", "labels", "logits", "ranking")}
    both = {f"{p}: {n}" for p in ("teacher", "stages.0") for n in ("learning rate: lr", "accuracy and agreement: top1")}
    assert set(drawn) == {"teacher: loss: loss", *student, *both, "stages.0: accuracy and agreement: agreement"}
    points = drawn["teacher: loss: loss"]
    assert [x - points[0][0] for x, _ in points] == pytest.approx([k * (points[1][0] - points[0][0]) for k in range(4)])
    drop = points[3][1] - points[0][1]  # from 1 to 1 / 4
    assert [(y - points[0][1]) / drop for _, y in points] == pytest.approx([(1 - 1 / e) / 0.75 for e in (1, 2, 3, 4)])
    texts = ["".join(text.itertext()) for text in ET.fromstring(svg).iter(f"{SVG}text")]
    assert {"teacher: loss", "loss 0.25", "ranking 1", "top1 0.5", "lr 0.025", "epoch"} <= set(texts)


def test_a_changed_value_moves_its_line_alone() -> None:
    changed = rows()
    changed[2]["loss"] = 0.4
    before, after = lines(draw_curves(rows())), lines(draw_curves(changed))
    assert [name for name in before if before[name] != after[name]] == ["teacher: loss: loss"]


def test_the_same_rows_give_the_same_bytes_whatever_the_users_settings() -> None:
    expected = draw_curves(rows())
    with matplotlib.rc_context({"lines.linewidth": 9.0, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert draw_curves(rows()) == expected
        assert matplotlib.rcParams["axes.facecolor"] == "red"
    assert "<metadata" not in expected


def test_a_metric_that_no_epoch_measured_is_left_out() -> None:
    unmeasured = [row | {"top1": None} for row in rows()]
    for row in unmeasured:
        row.pop("agreement", None)
    assert not any("accuracy" in name for name in lines(draw_curves(unmeasured)))


def test_one_epoch_and_many_can_be_drawn() -> None:
    assert len(lines(draw_curves(rows(1)))["teacher: loss: loss"]) == 1
    assert len(lines(draw_curves(rows(60)))) == 10
