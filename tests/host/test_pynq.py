"""The driver for PYNQ against the RTL: a stand-in of PYNQ's API, whose overlay is an engine in a simulator."""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import played_pynq
import pytest
from engines import tiny_flow
from played_pynq import Rtl, played_module, simulated_pynq
from shapes import TINY

from bivit.host import pynq_overlay
from bivit.host.pynq_overlay import BivitOverlay, EngineError
from bivit.hw.folder.generate import generate
from bivit.sim import load_engine, load_network, run_reference
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.random import random_network
from helpers import ROOT

#: Where an answer has to come, however busy the machine is.
PATIENCE_S = 300.0


def images(network: IntNetwork, count: int, seed: int) -> np.ndarray:
    config = network.config
    shape = (count, config.img_size, config.img_size, config.in_chans)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def network() -> IntNetwork:
    return load_network(str(ROOT / "zoo/digits/network.safetensors"))


@pytest.fixture(scope="module")
def folder(network: IntNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pynq") / "engine"
    generate(load_engine("digits"), network, out)
    return out


@pytest.fixture(scope="module")
def board(folder: Path) -> Iterator[Rtl]:
    with simulated_pynq(load_engine("digits"), folder) as rtl:
        yield rtl


@pytest.fixture
def rtl(board: Rtl, monkeypatch: pytest.MonkeyPatch) -> Rtl:
    """The board after a reset, without faults, and with its `pynq`."""
    board.ask("reset")
    board.lost, board.cut, board.transfers = set(), set(), 0
    monkeypatch.setitem(sys.modules, "pynq", played_module(board))
    return board


def other_folder(folder: Path, target: Path, **changes: object) -> Path:
    """A copy of a folder with another manifest."""
    shutil.copytree(folder, target)
    manifest = json.loads((target / "manifest.json").read_text())
    (target / "manifest.json").write_text(json.dumps(manifest | changes))
    return target


@pytest.mark.slow
def test_logits_are_those_of_the_reference(rtl: Rtl, folder: Path, network: IntNetwork) -> None:
    overlay = BivitOverlay("board.bit", str(folder), patience_s=PATIENCE_S)
    for count, seed in ((7, 1), (1, 2), (20, 3)):
        pixels = images(network, count, seed)
        logits = overlay.classify(pixels)
        assert logits.dtype == np.int32
        assert np.array_equal(logits, run_reference(network, pixels).logits)
        assert overlay.cycles > 1000 * count
    assert overlay.classify(images(network, 0, 0)).shape == (0, network.config.num_classes)
    assert overlay.read("LOADS_OK") == 1


@pytest.mark.slow
def test_many_images_are_several_runs(
    rtl: Rtl, folder: Path, network: IntNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pynq_overlay, "_RUN_BYTES", 2 * 64)
    overlay = BivitOverlay("board.bit", str(folder.parent), patience_s=PATIENCE_S)
    pixels = images(network, 5, 8)
    assert np.array_equal(overlay.classify(pixels), run_reference(network, pixels).logits)
    assert overlay.read("DONE") == 1


@pytest.mark.slow
def test_a_network_that_is_there_is_not_loaded_again(rtl: Rtl, folder: Path) -> None:
    overlay = BivitOverlay("board.bit", str(folder), patience_s=PATIENCE_S)
    BivitOverlay("board.bit", str(folder), patience_s=PATIENCE_S)
    assert overlay.read("LOADS_OK") == 1
    overlay.load(again=True)
    assert overlay.read("LOADS_OK") == 2


@pytest.mark.slow
def test_what_does_not_belong_together_is_refused(rtl: Rtl, folder: Path, tmp_path: Path, network: IntNetwork) -> None:
    with pytest.raises(EngineError, match=r"the bitstream holds engine .* is for 0123"):
        BivitOverlay("board.bit", str(other_folder(folder, tmp_path / "a", fingerprint="0123")))
    with pytest.raises(EngineError, match="is no folder of a network"):
        BivitOverlay("board.bit", str(tmp_path))
    damaged = other_folder(folder, tmp_path / "b")
    stream = bytearray((damaged / "network.bin").read_bytes())
    stream[100] ^= 1
    (damaged / "network.bin").write_bytes(stream)
    with pytest.raises(EngineError, match="is not the file that was written"):
        BivitOverlay("board.bit", str(damaged))
    files = [{"path": "network.bin", "sha256": hashlib.sha256(stream).hexdigest()}]
    with pytest.raises(EngineError, match="error 6: load stream refused: wrong checksum"):
        BivitOverlay("board.bit", str(other_folder(damaged, tmp_path / "c", files=files)))
    overlay = BivitOverlay("board.bit", str(folder), patience_s=PATIENCE_S)
    with pytest.raises(EngineError, match=r"images must be uint8 \[images, 8, 8, 1\], got uint8 \(2, 4, 4, 1\)"):
        overlay.classify(np.zeros((2, 4, 4, 1), np.uint8))
    pixels = images(network, 2, 4)
    assert np.array_equal(overlay.classify(pixels), run_reference(network, pixels).logits)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "message"),
    [("cut", "error 11: pixel stream: TLAST not at the last beat"), ("lost", "no logits for 2 s, after . of 4 images")],
)
def test_after_a_fault_the_engine_is_reset(
    fault: str, message: str, rtl: Rtl, folder: Path, network: IntNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay = BivitOverlay("board.bit", str(folder), patience_s=PATIENCE_S)
    (rtl.cut if fault == "cut" else rtl.lost).add(3)
    pixels = images(network, 4, 5)
    reset = overlay.reset

    def patient_reset() -> None:
        overlay.patience_s = PATIENCE_S
        reset()

    monkeypatch.setattr(overlay, "reset", patient_reset)
    if fault == "lost":
        overlay.patience_s = 2
    with pytest.raises(EngineError, match=message):
        overlay.classify(pixels)
    assert np.array_equal(overlay.classify(pixels), run_reference(network, pixels).logits)


@pytest.mark.slow
def test_streamed_weights_are_read_from_a_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow, network = tiny_flow(weights="streamed"), random_network(TINY, seed=6)
    generate(flow, network, tmp_path / "engine")
    with simulated_pynq(flow, tmp_path / "engine") as rtl:
        monkeypatch.setitem(sys.modules, "pynq", played_module(rtl))
        overlay = BivitOverlay("board.bit", str(tmp_path / "engine"), patience_s=PATIENCE_S)
        pixels = images(network, 3, 7)
        assert np.array_equal(overlay.classify(pixels), run_reference(network, pixels).logits)


@pytest.mark.slow
def test_a_bench_that_nobody_calls_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(number: int, weights: bytes) -> None:
        raise RuntimeError("no host")

    monkeypatch.setattr(played_pynq, "Rtl", fails)
    with pytest.raises(RuntimeError, match="no host"), simulated_pynq(load_engine("digits"), folder):
        pass


def test_the_driver_needs_nothing_else_of_bivit(tmp_path: Path) -> None:
    """It is copied to a board, whose Python has numpy and pynq, and may be an old one."""
    ast.parse(Path(pynq_overlay.__file__).read_text(encoding="utf-8"), feature_version=(3, 8))
    copy = tmp_path / "pynq_overlay.py"
    shutil.copyfile(pynq_overlay.__file__, copy)
    code = "import sys, pynq_overlay; print(any(name.split('.')[0] == 'bivit' for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
