"""Tar shards (model/data/shards.py): read from front to end, shuffled within bounded memory, checked before use."""

import gzip
import os
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from pictures import encoded, noise, write_shards, write_tar

from bivit.model.data import loader, shard_index
from bivit.model.data.dataset import take
from bivit.model.data.open import load_dataset, open_source
from bivit.model.data.picture import Framing
from bivit.model.data.shards import ShardSource, find_shards, shuffled_through
from bivit.model.data.source import Epoch, PassedOverWarning
from bivit.sim.errors import BivitError
from helpers import ROOT

REAL = ROOT.parent / "shared" / "data" / "cifar10-jpeg"
PICTURE = encoded(noise(0))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bivit" / "shards"


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz"])
def test_images_come_in_the_order_of_the_shards(tmp_path: Path, suffix: str) -> None:
    train = load_dataset(str(write_shards(tmp_path, (4, 3, 5), suffix)), "train")
    assert np.array_equal(train.images, np.stack([noise(seed) for seed in range(12)]))
    assert train.labels.tolist() == [number % 3 for number in range(12)]
    assert train.classes == ("0", "1", "2")


def test_names_of_the_classes(tmp_path: Path) -> None:
    (write_shards(tmp_path, (2,)) / "classes.txt").write_text("cat\ndog\ncow\nrat\n")
    assert open_source(str(tmp_path), "train").classes == ("cat", "dog", "cow", "rat")


@pytest.mark.parametrize("name", ["test-0.tar", "val-000001.tgz", "imagenet1k-validation-07.tar.gz"])
def test_names_of_evaluation_shards(tmp_path: Path, name: str) -> None:
    write_shards(tmp_path, (2,))
    (tmp_path / "train-notes.tar").touch()
    write_tar(tmp_path / name, {"a.jpg": encoded(noise(0), "jpeg"), "a.cls": b"1\n"})
    assert [path.name for path in find_shards(tmp_path, "test")] == [name]
    assert open_source(str(tmp_path), "test").labels.tolist() == [1]
    assert [path.name for path in find_shards(tmp_path, "train")] == ["train-0000.tar"]


def test_other_members_are_counted_and_named(tmp_path: Path) -> None:
    members = {
        "x/1.cls": b"0",
        "x/1.json": b"{}",
        "x/.1.png": b"",
        "x/2.png": PICTURE,
        "x/2.seg.png": b"",
        "README": b"",
        ".git/3.png": PICTURE,
        ".git/3.cls": b"0",
    }
    write_tar(tmp_path / "train-0.tar", members | {"x/1.PNG": encoded(noise(1)), "x/2.cls": b"1"})
    # Also when the index is recalled.
    for _ in range(2):
        passed = r"over 6 members .*: x/1\.json in train-0\.tar, x/\.1\.png in .*, README .*/3\.cls .* and 1 more$"
        with pytest.warns(PassedOverWarning, match=passed):
            train = load_dataset(str(tmp_path), "train")
    assert train.labels.tolist() == [1, 0]
    assert np.array_equal(train.images, np.stack([noise(0), noise(1)]))


def test_a_shuffled_epoch_mixes_shards_and_images(tmp_path: Path) -> None:
    source = _source(write_shards(tmp_path, (20, 20, 20, 20)), buffer=15)
    first = source.order(Epoch(0, 0, shuffle=True)) // 20
    assert len({tuple(dict.fromkeys(source.order(Epoch(0, number, True)) // 20)) for number in range(20)}) > 5
    # More changes of shard than there are borders: the buffer mixes neighbours.
    assert np.count_nonzero(np.diff(first)) > 3
    for seed in range(3):
        stream = _source(tmp_path, buffer=1).order(Epoch(seed, 0, shuffle=True))
        assert np.count_nonzero(np.diff(stream // 20)) == 3
        assert (np.diff(stream.reshape(4, 20)) == 1).all()


@pytest.mark.parametrize(("count", "buffer"), [(1, 1), (50, 1), (50, 7), (50, 50), (50, 80)])
def test_shuffle_buffer(count: int, buffer: int) -> None:
    stream = np.arange(100, 100 + count)
    out = shuffled_through(stream, buffer, np.random.default_rng(0))
    assert sorted(out.tolist()) == stream.tolist()
    assert (out - 100 < np.arange(count) + buffer).all()
    assert (buffer == 1) == (out.tolist() == stream.tolist())


def test_a_buffer_of_all_images_shuffles_evenly() -> None:
    # Where the first element comes out, over many seeds: each of 8 places about 1/8 of the time.
    places = [shuffled_through(np.arange(8), 8, np.random.default_rng(seed)).tolist().index(0) for seed in range(800)]
    assert np.abs(np.bincount(places, minlength=8) - 100).max() < 40


@pytest.mark.parametrize("suffix", ["tar", "tgz"])
def test_memory_stays_bounded(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shards(tmp_path, (40,) * 8, suffix, width=48, height=48)
    source = _source(tmp_path, buffer=16, size=48)
    all_images = len(source) * 48 * 48 * 3
    read, given, held = 0, 0, []
    contents = ShardSource._contents

    def counted(self: ShardSource, indices: np.ndarray) -> object:
        nonlocal read
        for item in contents(self, indices):
            read += 1
            held.append(read - given)
            yield item

    monkeypatch.setattr(ShardSource, "_contents", counted)
    batches = loader.batches(source, 8, seed=1)
    next(batches)  # what is only imported or computed once
    given = 8
    tracemalloc.start()
    for images, _ in batches:
        given += len(images)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert given == read == 320
    # A batch is only counted as given once it is whole.
    assert max(held) <= 16 + 8
    assert peak < all_images / 4


def test_a_process_reads_only_its_own_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = _source(write_shards(tmp_path, (10, 10)), buffer=4)
    wanted: list[int] = []
    contents = ShardSource._contents
    monkeypatch.setattr(
        ShardSource, "_contents", lambda self, indices: (wanted.extend(indices.tolist()), contents(self, indices))[1]
    )
    list(loader.batches(source, 5, rank=1, world=5, skip=2))
    assert len(wanted) == 2


def test_the_index_is_remembered(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned: list[str] = []
    scan = shard_index._scan
    monkeypatch.setattr(shard_index, "_scan", lambda path: (scanned.append(path.name), scan(path))[1])
    folder = write_shards(tmp_path / "data", (3, 2))
    first = open_source(str(folder), "train")
    again = open_source(str(folder), "train")
    assert len(scanned) == 2
    assert again.labels.tolist() == first.labels.tolist()
    assert len(list(cache.iterdir())) == 1
    # A changed shard is read again, and so are all when the cache is damaged or cannot be written.
    write_tar(folder / "train-0001.tar", {"a.png": PICTURE, "a.cls": b"2"})
    assert len(open_source(str(folder), "train")) == 4
    for path in cache.iterdir():
        path.write_bytes(b"damaged")
    assert len(open_source(str(folder), "train")) == 4
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "train-0000.tar"))
    assert len(open_source(str(folder), "train")) == 4
    assert len(scanned) == 8


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.png": PICTURE}, r"holds a\.png, but no label of the same name; 1 members"),
        ({"a.png": PICTURE, "a.cls": b"0", "b.cls": b"0"}, r"holds b\.cls, but no picture of the same name"),
        (
            {"a.png": PICTURE, "a.cls": b"cat"},
            r"a\.cls in .*train-0\.tar must hold the number of a class .* got b'cat'",
        ),
        ({"a.png": PICTURE, "a.jpg": PICTURE, "a.cls": b"0"}, "two pictures named a"),
        ({"a.png": PICTURE, "a.cls": b"0", "A.cls": b"0"}, r"holds A\.cls, but no picture of the same name; 1 members"),
        ({"x/a.png": PICTURE, "x/a.cls": b"0", "./x/a.png": PICTURE}, r"holds two pictures named x/a; keep one"),
        ({"a.png": PICTURE, "a.v1.cls": b"0"}, r"holds a\.png, but no label of the same name; 2 members"),
        (
            {"a.png": PICTURE, "a.cls": b"0", "b.heic": b"", "b.cls": b"0"},
            r"b\.heic in .* is a picture of a kind that is",
        ),
        ({"a.png": PICTURE, "a.cls": b"1_0"}, r"a\.cls in .* must hold the number of a class as text, got b'1_0'"),
        ({"a.png": PICTURE, "a.cls": b"1.0"}, "must hold the number of a class as text"),
        ({"a.png": PICTURE, "a.cls": b""}, "must hold the number of a class as text, got b''"),
        ({"a.png": PICTURE, "a.cls": b"1" * 5000}, "must hold the number of a class as text"),
        ({"a.png": PICTURE, "a.cls": b"1700000000"}, r"a\.cls in .* holds the label 1700000000; .* at most 1048575"),
        ({"a.png": PICTURE, "a.cls": b"9" * 40}, "holds the label 99999"),
        ({"notes.txt": b""}, r"holds no pictures; members must be named KEY\.jpg"),
        ({}, "holds no pictures"),
        ({"a.png": PICTURE, "a.cls": b"0", "b.png": PICTURE, "b.cls": b"2"}, "label of image 1 .* is 2; .* here 1"),
        ({"a.png": PICTURE, "a.cls": b"-1"}, "label of image 0 .* is -1"),
    ],
)
def test_wrong_members_are_named(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    write_tar(tmp_path / "train-0.tar", members)
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(BivitError, match=message):
        open_source(str(tmp_path), "train")


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_shard_that_is_cut_short_is_named(tmp_path: Path, suffix: str) -> None:
    path = write_shards(tmp_path, (6,), suffix) / f"train-0000.{suffix}"
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        ends = [member.offset for member in tar][1:]
    for length in (0, 100, 700, len(whole) // 2, len(whole) - 4, *(ends if suffix == "tar" else [])):
        if suffix == "tar" and length == len(whole) - 4:
            continue  # only padding is lost
        path.write_bytes(whole[:length])
        with pytest.raises(BivitError, match=r"train-0000\.tar(\.gz)? (is cut short|is no whole tar file)"):
            open_source(str(tmp_path), "train")
    path.write_bytes(b"<html>not found</html>" * 100)
    with pytest.raises(BivitError, match="is no whole tar file"):
        open_source(str(tmp_path), "train")


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    members = {"a.png": PICTURE, "a.cls": b"0", "b.png": PICTURE[:60], "b.cls": b"0"}
    write_tar(tmp_path / "train-0.tar", members)
    with pytest.raises(BivitError, match=r"image 1 \(from 0\) of .*train-0\.tar cannot be read"):
        take(open_source(str(tmp_path), "train"), 2)


def test_a_missing_split_is_named(tmp_path: Path) -> None:
    with pytest.raises(BivitError, match=r"shards of the train split only; give test-0000\.tar"):
        open_source(str(write_shards(tmp_path, (2,))), "test")


@pytest.mark.parametrize("text", ["", "cat\ncat\n"])
def test_wrong_lists_of_classes_are_refused(tmp_path: Path, text: str) -> None:
    (write_shards(tmp_path, (2,)) / "classes.txt").write_text(text)
    with pytest.raises(BivitError, match=r"classes\.txt (is empty|names a class twice)"):
        open_source(str(tmp_path), "train")


def pairs(first: int, last: int, name: str = "{:04}") -> dict[str, bytes]:
    """Members of pictures of these numbers."""
    members = {}
    for number in range(first, last):
        members[f"{name.format(number)}.png"] = encoded(noise(number))
        members[f"{name.format(number)}.cls"] = str(number % 3).encode()
    return members


@pytest.mark.parametrize("padding", [0, 512, 10240, 1 << 20])
def test_archives_that_were_appended_are_read(tmp_path: Path, padding: int) -> None:
    parts = [write_tar(tmp_path / f"{first}.tar", pairs(first, first + 3)) for first in (0, 3, 6)]
    whole = bytes(padding).join(part.read_bytes() for part in parts)
    for name, content in (("train-0.tar", whole), ("train-0.tgz", gzip.compress(whole))):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).write_bytes(content)
        train = load_dataset(str(tmp_path / "data"), "train")
        assert np.array_equal(train.images, np.stack([noise(seed) for seed in range(9)]))
        (tmp_path / "data" / name).unlink()


@pytest.mark.parametrize("place", [0, 512, 5000])
def test_damage_after_the_end_of_an_archive_is_damage(tmp_path: Path, place: int) -> None:
    path = write_tar(tmp_path / "train-0.tar", pairs(0, 3))
    end = path.stat().st_size
    path.write_bytes(path.read_bytes() + bytes(place) + b"appended by mistake")
    with pytest.raises(BivitError, match=f"is cut short or damaged at byte {end + place - place % 512}"):
        open_source(str(tmp_path), "train")
    # The second of two archives lost its first block, or its last.
    more = write_tar(tmp_path / "more.tar", pairs(3, 6)).read_bytes()
    for lost in (more[512:], more[:2000]):
        write_tar(path, pairs(0, 3))
        path.write_bytes(path.read_bytes() + lost)
        with pytest.raises(BivitError, match=r"is (cut short or damaged at byte|no whole tar file)"):
            open_source(str(tmp_path), "train")


def test_names_with_dots(tmp_path: Path) -> None:
    write_tar(tmp_path / "train-0.tar", pairs(0, 2) | pairs(2, 4, "v1.0/photo.v{}") | pairs(4, 6, "n01.x/{}.tar"))
    train = load_dataset(str(tmp_path), "train")
    assert np.array_equal(train.images, np.stack([noise(seed) for seed in range(6)]))
    assert train.labels.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("suffix", ["JPG", "jpeg", "PNG", "gif", "pgm", "tiff", "tif", "webp", "bmp"])
def test_kinds_of_pictures(tmp_path: Path, suffix: str) -> None:
    kind = {"jpg": "jpeg", "pgm": "ppm", "tif": "tiff"}.get(suffix.lower(), suffix.lower())
    write_tar(tmp_path / "train-0.tar", {f"a.{suffix}": encoded(noise(0), kind), "a.CLS": b"\xef\xbb\xbf1\r\n"})
    assert load_dataset(str(tmp_path), "train").labels.tolist() == [1]


def test_one_name_in_many_shards_is_no_copy(tmp_path: Path) -> None:
    # Keys that begin again in each shard are common; these pictures have one size in bytes too.
    for shard in range(3):
        pixels = {f"{number}.bmp": encoded(noise(10 * shard + number), "bmp") for number in range(3)}
        write_tar(tmp_path / f"train-{shard}.tar", pixels | {f"{number}.cls": b"0" for number in range(3)})
    assert len(open_source(str(tmp_path), "train")) == 9


def test_a_shard_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    def refused(message: str, path: Path) -> None:
        with pytest.raises(BivitError, match=message):
            open_source(str(tmp_path), "train")
        path.unlink()

    plain = write_tar(tmp_path / "train-0.tar", pairs(0, 3))
    for name in ("train-0.tar.gz", "train-0.tgz"):
        path = write_tar(tmp_path / name, pairs(0, 3))
        refused(rf"train-0\.tar and {name} are one shard, plain and packed", path)
    for name in ("train-1.tar", "a-train-0.tar"):
        (tmp_path / name).symlink_to(plain)
        refused(r"are one file, which would be counted twice", tmp_path / name)
    path = write_tar(tmp_path / "train-00.tgz", pairs(2, 5))
    refused(
        r"image 0002 is in .*train-0\.tar and again in .*train-00\.tgz \(1 such\), and would be counted twice", path
    )
    assert len(open_source(str(tmp_path), "train")) == 3


def test_shards_of_two_evaluation_splits(tmp_path: Path) -> None:
    write_tar(tmp_path / "val-0.tar", pairs(0, 3))
    write_tar(tmp_path / "test-0.tar", pairs(3, 5))
    with pytest.warns(PassedOverWarning, match=r"passed over 1 shards of another name of the split: val-0\.tar$"):
        assert len(open_source(str(tmp_path), "test")) == 2


@pytest.mark.parametrize(
    "name", ["train-a.tar", "train_0001.tar", "train.tar", "train-1.tar.xz", "train-1 (1).tar", "x.train-1.tar.part"]
)
def test_archives_that_would_be_left_out_are_refused(tmp_path: Path, name: str) -> None:
    write_tar(tmp_path / "train-0.tar", pairs(0, 3))
    write_tar(tmp_path / "val-0.tar", pairs(0, 3))
    (tmp_path / name).touch()
    for harmless in ("constraints.tar", "train-0.tar.md5", "train-0.tar.idx", "._train-0.tar", "._a-train-0.tar"):
        (tmp_path / harmless).touch()
    with pytest.raises(BivitError, match=r"would not be read: shards of the train split are tar files"):
        open_source(str(tmp_path), "train")
    assert len(open_source(str(tmp_path), "test")) == 3
    (tmp_path / name).unlink()
    assert len(open_source(str(tmp_path), "train")) == 3


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE])
def test_links_in_a_shard_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = write_tar(tmp_path / "train-0.tar", pairs(0, 2))
    with tarfile.open(path, "a") as tar:
        for name in ("0002.png", "0002.cls"):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, f"0001.{name[-3:]}"
            tar.addfile(info)
    with pytest.raises(BivitError, match=r"0002\.png in .* is a link or no file; pack the shard again with tar -h"):
        open_source(str(tmp_path), "train")


def test_a_shard_changed_within_a_moment_is_read_again(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "train-0.tar", pairs(0, 3))
    before = path.stat()
    for label in (b"1", b"2", b"0", b"1"):
        assert len(open_source(str(tmp_path), "train")) == 3
        write_tar(path, pairs(0, 3) | {"0000.cls": label})
        # The same size, and by its own word the same age.
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size
        assert open_source(str(tmp_path), "train").labels[0] == int(label)


def test_an_index_that_is_not_one_is_made_again(tmp_path: Path, cache: Path) -> None:
    write_tar(tmp_path / "train-0.tar", pairs(0, 3))
    open_source(str(tmp_path), "train")
    (kept,) = cache.iterdir()
    with np.load(kept) as file:
        arrays = dict(file)
    for wrong in ({"labels": arrays["labels"][:2]}, {"sizes": arrays["sizes"] / 2}, {"starts": np.array([0, 2])}):
        np.savez(kept, **(arrays | wrong))
        assert open_source(str(tmp_path), "train").labels.tolist() == [0, 1, 2]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real images at {REAL.parent.name}/{REAL.name} beside the repository")
def test_real_shards() -> None:
    test = open_source(str(REAL), "test")
    assert (len(test), test.shape, len(test.classes)) == (10_000, (32, 32, 3), 10)
    assert np.bincount(test.labels).tolist() == [1000] * 10
    images, labels = next(loader.batches(test, 256, seed=1))
    # Natural images: bright and dark ones of several classes.
    assert images.float().mean(dim=(1, 2, 3)).std() > 20
    assert len(labels.unique()) > 3


def _source(folder: Path, buffer: int, size: int = 8) -> ShardSource:
    framing = Framing(size=size, random=True)
    return ShardSource("shards", find_shards(folder, "train"), None, framing, buffer=buffer)
