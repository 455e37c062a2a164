"""The trained models of the repository give the accuracy that their cards state."""

import json

import pytest

from bivit.cli.evaluate import Evaluation, evaluate_file
from helpers import ROOT

ZOO = ROOT / "zoo"
FASHION = ROOT.parent / "shared" / "data" / "fashion-mnist"


def measured(name: str, data: str) -> None:
    metrics = json.loads((ZOO / name / "metrics.json").read_text())
    found = evaluate_file(ZOO / name / "network.safetensors", data)
    assert found == Evaluation("integer", metrics["top1"], metrics["images"])
    assert metrics["same_predictions"] >= 0.99
    assert abs(metrics["top1"] - metrics["top1_model"]) <= 0.005
    assert f"{100 * metrics['top1']:.2f}%" in (ZOO / name / "README.md").read_text()


def test_every_model_is_measured() -> None:
    assert {path.name for path in ZOO.iterdir() if path.is_dir()} == {"digits", "digits_lean", "fashion"}


@pytest.mark.parametrize("name", ["digits", "digits_lean"])
def test_digits(name: str) -> None:
    measured(name, "digits")


@pytest.mark.skipif(not FASHION.is_dir(), reason="no shared/data/fashion-mnist beside the repository")
def test_fashion() -> None:
    measured("fashion", str(FASHION))
