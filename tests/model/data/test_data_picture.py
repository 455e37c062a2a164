"""Framing of pictures: which part of them is taken, at which size, and what happens to those that are broken."""

import struct
from pathlib import Path

import numpy as np
import pytest
from pictures import encoded, noise, write_folder, write_picture
from PIL import Image

from bivit.model.data import loader
from bivit.model.data.dataset import take
from bivit.model.data.open import open_source
from bivit.model.data.picture import Framing, random_part
from bivit.model.data.source import BrokenImageWarning, Epoch, Source
from bivit.sim.errors import BivitError

RNG = np.random.default_rng


def ramp(width: int, height: int) -> np.ndarray:
    """Red counts columns, green counts rows."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(width), np.arange(height)[:, None]
    return pixels


def test_pictures_of_the_right_size_are_not_touched() -> None:
    pixels = noise(1, 8, 8)
    for rng in (None, RNG(0)):
        assert np.array_equal(Framing(size=8, random=True).apply(Image.fromarray(pixels), rng), pixels)


def test_the_centre_is_taken_at_the_usual_share() -> None:
    # The short side 64 becomes int(28 / 0.875) = 32, one of two columns and rows is left; the centre 28 of 64 and 32.
    framed = Framing(size=28).apply(Image.fromarray(ramp(128, 64)), None)
    assert framed.shape == (28, 28, 3)
    inner = framed[2:-2, 2:-2].astype(int)
    columns, rows = 2 * (18 + np.arange(28)) + 0.5, 2 * (2 + np.arange(28)) + 0.5
    assert np.abs(inner[..., 0] - columns[2:-2]).max() <= 1
    assert np.abs(inner[..., 1] - rows[2:-2, None]).max() <= 1
    # With the whole short side nothing is cut off above and below.
    whole = Framing(size=32, centre=1.0).apply(Image.fromarray(ramp(64, 64)), None)
    assert whole[0, 0].max() <= 1
    assert whole[-1, -1, :2].min() >= 62


def test_small_pictures_are_enlarged() -> None:
    assert Framing(size=16).apply(Image.fromarray(noise(0, 5, 4)), None).shape == (16, 16, 3)
    assert Framing(size=16).apply(Image.fromarray(noise(0, 5, 4)), RNG(0)).shape == (16, 16, 3)


def test_random_parts_keep_to_the_limits() -> None:
    areas, aspects = [], []
    for seed in range(300):
        left, top, width, height = random_part(100, 80, (0.2, 0.5), (0.5, 2.0), RNG(seed))
        assert left >= 0
        assert top >= 0
        assert left + width <= 100
        assert top + height <= 80
        areas.append(width * height / 8000)
        aspects.append(width / height)
    # Sides are whole pixels, so the limits hold to a few percent; both ranges are used to near their ends.
    assert 0.19 < min(areas) < 0.22
    assert 0.47 < max(areas) < 0.52
    assert 0.48 < min(aspects) < 0.55
    assert 1.8 < max(aspects) < 2.1
    assert abs(np.mean(np.log(aspects))) < 0.1


def test_a_part_that_never_fits_is_the_largest_allowed() -> None:
    # A strip has no part of the whole area with an aspect of 1; the centred square is the largest.
    assert random_part(100, 10, (1.0, 1.0), (1.0, 1.0), RNG(0)) == (45, 0, 10, 10)
    assert random_part(10, 100, (1.0, 1.0), (0.5, 1.0), RNG(0)) == (0, 40, 10, 20)


@pytest.mark.parametrize(
    ("kind", "channels", "expected"),
    [
        (Image.new("L", (4, 4), 90), 3, [90, 90, 90]),
        (Image.new("1", (4, 4), 1), 3, [255, 255, 255]),
        (Image.new("RGBA", (4, 4), (10, 20, 30, 0)), 3, [10, 20, 30]),
        (Image.new("RGB", (4, 4), (10, 20, 30)).quantize(), 3, [10, 20, 30]),
        (Image.new("CMYK", (4, 4), (255, 0, 0, 0)), 3, [0, 255, 255]),
        (Image.new("RGB", (4, 4), (100, 100, 100)), 1, [100]),
    ],
    ids=["grey", "bits", "transparent", "palette", "print", "colour"],
)
def test_other_modes_are_converted(kind: Image.Image, channels: int, expected: list[int]) -> None:
    framed = Framing(size=4, channels=channels).apply(kind, None)
    assert framed.shape == (4, 4, channels)
    assert framed[2, 1].tolist() == expected


def test_deep_pixels_are_broken_rather_than_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "train" / "only" / "deep.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(path)
    with pytest.raises(BivitError, match=r"deep\.png cannot .* have more than 8 bits"):
        take(open_source(str(tmp_path), "train", 4), 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 0}, "size must be 1 pixel or more, got 0"),
        ({"channels": 2}, r"channels must be 1 \(grey\) or 3"),
        ({"scale": (0.0, 1.0)}, "scale needs two shares"),
        ({"scale": (0.5, 0.2)}, "scale needs two shares"),
        ({"ratio": (2.0, 1.0)}, "ratio needs two aspect ratios"),
        ({"centre": 1.5}, "centre must be a share"),
    ],
)
def test_wrong_framings_are_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(BivitError, match=message):
        Framing(**{"size": 8, **fields})


def test_training_takes_random_parts_and_evaluation_the_centre(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 2, "val": 2}, width=20, height=16)
    train, test = open_source(str(tmp_path), "train", 8), open_source(str(tmp_path), "test", 8)
    assert not any(np.array_equal(*pair) for pair in zip(_epoch(train, 0), _epoch(train, 1), strict=True))
    for source in (train, test):
        expected = [source.framing.apply(Image.open(path), None) for path in sorted(source.root.rglob("*.png"))]  # type: ignore[attr-defined]
        assert np.array_equal(take(source, 4).images, np.stack(expected))
    # A shuffled test split is in another order, but framed the same.
    assert np.array_equal(_epoch(test, 0), take(test, 4).images)


def test_options_reach_the_framing(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 2, "val": 2}, width=20, height=16)
    whole = open_source(str(tmp_path), "train", 8, scale=(1.0, 1.0), ratio=(1.25, 1.25))
    assert np.array_equal(_epoch(whole, 0), _epoch(whole, 1))
    close = open_source(str(tmp_path), "test", 8, centre=0.5)
    assert not np.array_equal(take(close, 4).images, take(open_source(str(tmp_path), "test", 8), 4).images)


def _epoch(source: Source, epoch: int) -> np.ndarray:
    """Images of a shuffled epoch, back in the source's order."""
    (batch,) = loader.batches(source, len(source), epoch=epoch)
    return batch[0].numpy()[np.argsort(source.order(Epoch(0, epoch, shuffle=True)))]


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Ten pictures, of which 2, 3 and 7 are damaged: cut short, empty, no picture."""
    for i in range(10):
        write_picture(tmp_path / "val" / "only" / f"{i}.png", i)
    whole = encoded(noise(2, 40, 40))
    for number, content in ((2, whole[: len(whole) // 2]), (3, b""), (7, b"<html>not found</html>")):
        (tmp_path / "val" / "only" / f"{number}.png").write_bytes(content)
    return tmp_path


def test_a_strip_is_broken_rather_than_enlarged(tmp_path: Path) -> None:
    write_picture(tmp_path / "val" / "only" / "a.png", 1, width=1, height=60_000)
    with pytest.raises(BivitError, match=r"a\.png cannot be read .*it is a strip of 1 x 60000 pixels; cut it"):
        take(open_source(str(tmp_path), "test", 224), 1)


def test_whatever_a_decoder_raises_is_a_broken_picture(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (KeyError(274), ZeroDivisionError(), struct.error("short"), MemoryError()):
        monkeypatch.setattr(Framing, "apply", lambda *given, error=error: (_ for _ in ()).throw(error))
        with pytest.raises(
            BivitError, match=r"0\.png cannot be read as an image \((274|ZeroDiv.*|short|MemoryError)\);"
        ):
            take(open_source(str(broken), "test", 8), 1)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_broken_picture_stops_by_default(broken: Path, workers: int) -> None:
    source = open_source(str(broken), "test", 8)
    with pytest.raises(BivitError, match=r"val/only/2\.png cannot be read as an image .*on_broken='skip'") as caught:
        list(loader.batches(source, 4, shuffle=False, workers=workers))
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_broken_pictures_can_be_left_out(broken: Path, workers: int) -> None:
    source = open_source(str(broken), "test", 8, on_broken="skip")
    with pytest.warns(BrokenImageWarning, match=r"3 images could not .* first: .*/2\.png \(.*/3\.png .*/7\.png"):
        batches = list(loader.batches(source, 4, shuffle=False, workers=workers))
    assert [len(images) for images, _ in batches] == [2, 3, 2]
    assert np.array_equal(batches[0][0].numpy(), np.stack([noise(0), noise(1)]))
    assert np.array_equal(batches[1][0].numpy(), np.stack([noise(4), noise(5), noise(6)]))
    with pytest.warns(BrokenImageWarning, match="1 images"):
        assert len(take(source, 3)) == 2


def test_a_picture_that_is_too_large_says_so(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(BivitError, match=r"it has [\d,]+ pixels, and at most 20 are decoded; scale it down"):
        take(open_source(str(broken), "test", 8), 1)


def test_a_batch_of_broken_pictures_is_empty(broken: Path) -> None:
    source = open_source(str(broken), "test", 8, on_broken="skip")
    with pytest.warns(BrokenImageWarning):
        batches = list(loader.batches(source, 1, shuffle=False))
    assert [len(images) for images, _ in batches] == [1, 1, 0, 0, 1, 1, 1, 0, 1, 1]
    assert batches[2][0].shape == (0, 8, 8, 3)


def test_a_picture_that_disappears_is_broken(broken: Path) -> None:
    source = open_source(str(broken), "test", 8)
    (broken / "val" / "only" / "0.png").unlink()
    with pytest.raises(BivitError, match=r"0\.png cannot be read"):
        take(source, 1)


def test_the_option_is_checked(broken: Path) -> None:
    with pytest.raises(BivitError, match="on_broken must be one of stop, skip, got 'ignore'"):
        open_source(str(broken), "test", 8, on_broken="ignore")
