"""Batches of a source: the same order for any number of processes and workers, whatever the images are kept in."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import noise, write_folder, write_shards
from torch import Tensor

from bivit.model.data import loader
from bivit.model.data.dataset import take
from bivit.model.data.open import Dataset, open_source
from bivit.model.data.source import Epoch, Source
from bivit.sim.errors import BivitError

COUNT = 22
Batches = list[tuple[Tensor, Tensor]]

#: Newer Pythons warn of every fork of a process with threads, of which torch starts some.
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def memory(folder: Path) -> Source:
    images = np.stack([noise(seed) for seed in range(COUNT)])
    return Dataset("noise", images, np.arange(COUNT) % 3, ("a", "b", "c"))


def reframed(folder: Path) -> Source:
    # Of two classes of 13 images, two of each are the test split.
    images = np.stack([noise(seed) for seed in range(COUNT + 4)])
    np.savez(folder / "data.npz", images=images, labels=np.arange(COUNT + 4) % 2)
    return open_source(str(folder / "data.npz"), "train", 6, channels=1)


def folder_of_pictures(folder: Path) -> Source:
    return open_source(str(write_folder(folder, {"train": COUNT // 2}, width=9, height=7)), "train", 6)


def shards(folder: Path) -> Source:
    source = open_source(str(write_shards(folder, (9, 6, 7), width=9, height=7)), "train", 6)
    source.buffer = 5  # type: ignore[attr-defined]
    return source


@pytest.fixture(params=[memory, reframed, folder_of_pictures, shards], ids=lambda make: make.__name__)
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make: Callable[[Path], Source] = request.param
    return make(tmp_path)


def equal(left: Batches, right: Batches) -> bool:
    pairs = zip(left, right, strict=True)
    return all(torch.equal(a, b) and torch.equal(m, n) for (a, m), (b, n) in pairs)


def joined(batches: Batches) -> tuple[Tensor, Tensor]:
    return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])


def test_batches_have_the_documented_form(source: Source) -> None:
    batches = list(loader.batches(source, 8))
    assert [len(images) for images, _ in batches] == [8, 8, 6]
    assert source.count_batches(8) == 3
    for images, labels in batches:
        assert images.shape == (len(labels), *source.shape)
        assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
    assert len(source) == COUNT


def test_an_epoch_holds_every_image_once(source: Source) -> None:
    ordered = source.order(Epoch(0, 0, shuffle=False))
    assert ordered.tolist() == list(range(COUNT))
    for seed in range(5):
        assert sorted(source.order(Epoch(seed, 0, shuffle=True)).tolist()) == ordered.tolist()


def test_unshuffled_batches_are_in_order(source: Source) -> None:
    images, labels = joined(list(loader.batches(source, 8, shuffle=False)))
    assert labels.tolist() == source.labels.tolist()
    taken = take(source, COUNT)
    assert np.array_equal(taken.images, images.numpy())
    assert np.array_equal(taken.labels, labels.numpy())


def test_seed_and_epoch_determine_the_batches(source: Source) -> None:
    first = list(loader.batches(source, 8, seed=3, epoch=1))
    assert equal(first, list(loader.batches(source, 8, seed=3, epoch=1)))
    assert not equal(first, list(loader.batches(source, 8, seed=4, epoch=1)))
    assert not equal(first, list(loader.batches(source, 8, seed=3, epoch=2)))
    assert not equal(first, list(loader.batches(source, 8, shuffle=False)))
    # The size of a batch changes neither order nor crops.
    assert equal([joined(first)], [joined(list(loader.batches(source, 5, seed=3, epoch=1)))])


@pytest.mark.parametrize("world", [2, 3, 8])
def test_slices_of_all_processes_make_the_global_batch(source: Source, world: int) -> None:
    whole = list(loader.batches(source, 8, seed=5))
    parts = [list(loader.batches(source, 8, seed=5, rank=rank, world=world)) for rank in range(world)]
    assert {len(part) for part in parts} == {len(whole)}
    assert equal(whole, [joined(list(slices)) for slices in zip(*parts, strict=True)])
    assert max(len(slices[0][0]) for slices in parts) - min(len(slices[0][0]) for slices in parts) <= 1


def test_skipped_batches_are_not_read(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(loader.batches(source, 8, seed=5))
    assert equal(whole[2:], list(loader.batches(source, 8, seed=5, skip=2)))
    assert list(loader.batches(source, 8, skip=3)) == []
    read: list[int] = []
    plain = type(source).read
    monkeypatch.setattr(
        type(source), "read", lambda self, slices, epoch: (read.extend(map(len, slices)), plain(self, slices, epoch))[1]
    )
    list(loader.batches(source, 8, seed=5, skip=2))
    assert read == [6]


def test_the_last_batch_can_be_left_out(source: Source) -> None:
    whole = list(loader.batches(source, 8, seed=5))
    assert equal(whole[:2], list(loader.batches(source, 8, seed=5, drop_last=True)))
    assert source.count_batches(8, drop_last=True) == 2
    with pytest.raises(BivitError, match="no whole batch of 23"):
        loader.batches(source, 23, drop_last=True)


@forks
def test_workers_change_nothing(source: Source) -> None:
    before = torch.random.get_rng_state()
    for workers in (1, 2):
        options = {"seed": 7, "epoch": 1, "rank": 1, "world": 2, "skip": 1}
        assert equal(
            list(loader.batches(source, 4, **options)), list(loader.batches(source, 4, workers=workers, **options))
        )
    assert torch.equal(torch.random.get_rng_state(), before)


def test_sources_can_be_sent_to_a_process(source: Source) -> None:
    again = pickle.loads(pickle.dumps(source))
    assert equal(list(loader.batches(again, 8)), list(loader.batches(source, 8)))


def test_a_random_choice_can_be_taken(source: Source) -> None:
    some, other = take(source, 6, seed=1), take(source, 6, seed=2)
    assert len(some) == 6
    assert not np.array_equal(some.images, other.images)
    assert np.array_equal(some.images, take(source, 6, seed=1).images)
    with pytest.raises(BivitError, match="can give 1 to 22 images, got 23"):
        take(source, 23)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"rank": 2, "world": 2}, "rank must be 0 to world - 1, got rank 2 of world 2"),
        ({"rank": -1}, "rank must be 0 to world - 1"),
        ({"skip": -1}, "skip must be 0 or more, got -1"),
        ({"workers": -1}, "workers must be 0 or more"),
        ({"seed": -1}, "seed must be 0 or more"),
    ],
)
def test_wrong_numbers_are_refused_at_once(tmp_path: Path, options: dict[str, int], message: str) -> None:
    with pytest.raises(BivitError, match=message):
        loader.batches(memory(tmp_path), **{"batch_size": 4, **options})  # type: ignore[arg-type]
