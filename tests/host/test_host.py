"""The host against a board that is played: what it sends and reads, what it repairs, and what it reports how."""

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pytest
from noise import KINDS, Fault, NoisyPort
from numpy.typing import NDArray
from played_board import PlayedBoard

from bivit.host.engine import Engine
from bivit.host.folder import Folder, read_folder
from bivit.sim.errors import BivitError

IMAGE, CLASSES = (40, 40, 1), 3


def logits_of(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Made up, and different for any two images that are."""
    flat = images.reshape(len(images), -1).astype(np.int64)
    weights = np.random.default_rng(0).integers(-9, 9, (flat.shape[1], CLASSES))
    return flat @ weights


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    stream = random.Random(1).randbytes(8 * 300)
    (tmp_path / "network.bin").write_bytes(stream)
    image = dict(zip(("height", "width", "channels"), IMAGE, strict=True)) | {"classes": CLASSES}
    manifest = {
        "fingerprint": "7e7d7e7d00112233",
        "network": {"sha256": "fedcba98" * 8, "image": image},
        "files": [{"path": "network.bin", "sha256": hashlib.sha256(stream).hexdigest()}],
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return read_folder(tmp_path)


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (90, *IMAGE), dtype=np.uint8)


def test_a_network_is_loaded_once_and_images_of_several_frames_are_classified(
    folder: Folder, images: NDArray[np.uint8]
) -> None:
    engine = Engine(PlayedBoard(folder, logits_of), patience_s=0.1)
    assert (engine.info.loaded, engine.info.network, engine.info.pixel_bytes) == (False, None, 1)
    told: list[tuple[int, int]] = []
    engine.load(folder, lambda done, total: told.append((done, total)))
    assert engine.info.network == "fedcba98"
    assert told[-1] == (2400, 2400)
    frames = engine.traffic.frames
    engine.load(folder)
    assert engine.traffic.frames == frames
    assert np.array_equal(engine.classify(images), logits_of(images))
    assert engine.traffic.repeated == 0
    assert engine.classify(images[:0]).shape == (0, CLASSES)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_anywhere_is_repaired(folder: Folder, images: NDArray[np.uint8], kind: str) -> None:
    line = NoisyPort(PlayedBoard(folder, logits_of), seed=5)
    engine = Engine(line, patience_s=0.02).load(folder)
    rng = random.Random(kind)
    for _ in range(12):
        line.arm(Fault(kind, bool(rng.getrandbits(1)), rng.randrange(60)))
        assert np.array_equal(engine.classify(images[:2]), logits_of(images[:2]))
    assert line.happened == 12


def test_a_noisy_line_is_repaired_or_reported(folder: Folder, images: NDArray[np.uint8]) -> None:
    line = NoisyPort(PlayedBoard(folder, logits_of), seed=6, share=2e-4)
    engine = Engine(line, patience_s=0.02).load(folder)
    assert np.array_equal(engine.classify(images), logits_of(images))
    assert engine.traffic.repeated > 0
    line = NoisyPort(PlayedBoard(folder, logits_of), seed=6, share=0.2)
    with pytest.raises(BivitError, match="too noisy"):
        Engine(line, patience_s=0.02)


def test_a_board_that_is_reset_is_loaded_again_and_goes_on(folder: Folder, images: NDArray[np.uint8]) -> None:
    board = PlayedBoard(folder, logits_of)
    line = NoisyPort(board, press=board.reset)
    engine = Engine(line, patience_s=0.05).load(folder)
    line.arm(Fault("reset", True, 60_000))
    assert np.array_equal(engine.classify(images), logits_of(images))
    assert line.happened == 1
    # In every frame of a run, the last one included, which asks for nothing but its end.
    for at in range(10, 6000, 90):
        line.arm(Fault("reset", True, at))
        assert np.array_equal(engine.classify(images[:2]), logits_of(images[:2]))
    assert line.happened > 30


def test_what_is_wrong_is_said(folder: Folder, images: NDArray[np.uint8]) -> None:
    board = PlayedBoard(folder, logits_of)
    engine = Engine(board, patience_s=0.02)
    with pytest.raises(BivitError, match="no network is loaded; call load first"):
        engine.classify(images)
    engine.load(folder)
    with pytest.raises(BivitError, match=r"takes uint8 images of 40 x 40 x 1 .* got uint8 of 20 x 40 x 1"):
        engine.classify(images[:, :20])
    board.dead = True
    with pytest.raises(BivitError, match="no board answers; is it configured"):
        engine.classify(images[:1])


def test_another_bitstream_and_another_version_are_refused(folder: Folder) -> None:
    board = PlayedBoard(folder, logits_of)
    board.shown["ENGINE_LO"] ^= 1
    with pytest.raises(BivitError, match=r"the board holds engine 7e7d7e7d00112232, .* is for 7e7d7e7d00112233"):
        Engine(board, patience_s=0.02).load(folder)
    board.shown["VERSION"] += 1
    with pytest.raises(BivitError, match="no board of this version of bivit"):
        Engine(board, patience_s=0.02)


def test_a_refused_load_is_said(folder: Folder) -> None:
    board = PlayedBoard(folder, logits_of)
    engine = Engine(board, patience_s=0.02)
    folder.stream.write_bytes(folder.stream.read_bytes()[:-8])
    board.folder = Folder(**{**vars(folder), "stream": folder.path / "manifest.json"})
    with pytest.raises(BivitError, match="the engine refused the network: load stream refused: wrong checksum"):
        engine.load(folder)


def test_logits_of_another_image_are_refused(folder: Folder, images: NDArray[np.uint8]) -> None:
    board = PlayedBoard(folder, logits_of)
    engine = Engine(board, patience_s=0.02).load(folder)
    board._queue.append(b"\xff\0\0\0\0")
    with pytest.raises(BivitError, match="logit 0 of image 0 was due, another one came"):
        engine.classify(images[:1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", "has no network"),
        ("[]", "is no manifest"),
        ('{"network": {"image": 1}, "files": []}', "is no manifest"),
        ("nonsense", "is not JSON"),
    ],
)
def test_a_folder_that_is_none(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(BivitError, match=expected):
        read_folder(tmp_path)
    with pytest.raises(BivitError, match=r"has no manifest\.json"):
        read_folder(tmp_path / "none")


def test_a_changed_stream_is_found(folder: Folder) -> None:
    folder.stream.write_bytes(b"12345678")
    with pytest.raises(BivitError, match="is not the file that was written with its manifest"):
        read_folder(folder.path)
