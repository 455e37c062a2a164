"""Image folders and ImageNet's layouts (model/data/image_folder.py), and what is found wrong with them."""

import os
import shutil
from pathlib import Path

import pytest
from pictures import encoded, noise, write_folder, write_picture, write_shards

from bivit.model.data.image_folder import FolderSource
from bivit.model.data.open import load_dataset, open_source
from bivit.model.data.source import PassedOverWarning
from bivit.sim.errors import BivitError

CLASSES = ("n01440764", "n01443537", "n02085620")
#: Classes of the pictures of a flat val folder, in the order of their names.
VAL = (2, 0, 1, 1, 0)
WORDS = [CLASSES[label] for label in VAL]
NAMES = [f"ILSVRC2012_val_{number:08}" for number in range(1, 6)]


def names(source: object) -> list[str]:
    """Names of the files of a source, in its order."""
    assert isinstance(source, FolderSource)
    return [path.decode() for path in source.paths]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path, {"train": 3, "val": 2})


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    """Training images in class folders, evaluation images all in one."""
    write_folder(tmp_path, {"train": 2}, CLASSES)
    for seed, name in enumerate(NAMES):
        write_picture(tmp_path / "val" / f"{name}.JPEG", seed)
    return tmp_path


def test_class_folders(folder: Path) -> None:
    train, test = open_source(str(folder), "train"), open_source(str(folder), "test")
    assert train.classes == test.classes == ("cat", "dog")
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert names(test) == ["cat/cat_00.png", "cat/cat_01.png", "dog/dog_00.png", "dog/dog_01.png"]
    assert train.name == f"{folder} (train)"
    assert train.shape == (8, 8, 3)


def test_only_pictures_are_counted(folder: Path) -> None:
    (folder / "train" / "cat" / "Thumbs.db").write_bytes(b"no picture")
    (folder / "train" / "cat" / "._cat_00.png").write_bytes(b"no picture")
    (folder / "train" / "readme.txt").write_text("no class")
    (folder / "train" / ".cache").mkdir()
    write_picture(folder / "train" / "dog" / "more" / "DOG.JPEG", 1)
    passed = r"passed over 4 .*: train/\.cache, train/cat/\._cat_00\.png, train/cat/Thumbs\.db, train/readme\.txt$"
    with pytest.warns(PassedOverWarning, match=passed):
        train = open_source(str(folder), "train")
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert names(train)[-1] == "dog/more/DOG.JPEG"


def test_names_of_any_bytes_are_kept(folder: Path) -> None:
    write_picture(folder / "val" / "cat" / "Käse 猫.png", 1)
    assert len(load_dataset(str(folder), "test")) == 5


def test_the_evaluation_folder_may_have_either_name(folder: Path) -> None:
    shutil.copytree(folder / "val", folder / "test")
    write_picture(folder / "test" / "cat" / "third.png", 1)
    with pytest.warns(PassedOverWarning, match="passed over 1 files and folders .*: val$"):
        assert len(open_source(str(folder), "test")) == 5
    # ImageNet's test images have no labels, so they cannot be meant.
    shutil.rmtree(folder / "test")
    write_picture(folder / "test" / "ILSVRC2012_test_00000001.JPEG", 1)
    with pytest.warns(PassedOverWarning, match=": test$"):
        assert len(open_source(str(folder), "test")) == 4
    shutil.rmtree(folder / "val")
    with pytest.raises(
        BivitError, match=r"test has neither class folders nor a list of labels .* found ILSVRC2012_test"
    ):
        open_source(str(folder), "test")


def test_evaluation_needs_no_training_images(folder: Path) -> None:
    shutil.rmtree(folder / "train")
    assert open_source(str(folder), "test").classes == ("cat", "dog")
    with pytest.raises(BivitError, match=r"has no train/ folder, which the train split needs; found val/"):
        open_source(str(folder), "train")


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("val.txt", [f"{name}.JPEG {label}" for name, label in zip(NAMES, VAL, strict=True)][::-1]),
        ("val.txt", [f"val/{name}.JPEG {word}" for name, word in zip(NAMES, WORDS, strict=True)]),
        ("val/val.txt", [f"{name}.JPEG\t{word}" for name, word in zip(NAMES, WORDS, strict=True)]),
        ("imagenet_2012_validation_synset_labels.txt", WORDS),
        (
            "LOC_val_solution.csv",
            ["ImageId,PredictionString", *(f"{n},{w} 1 2 3 4 {w} 5 6 7 8" for n, w in zip(NAMES, WORDS, strict=True))],
        ),
    ],
    ids=["numbers", "names", "inside", "synsets", "kaggle"],
)
def test_flat_evaluation_images_with_a_list(imagenet: Path, name: str, lines: list[str]) -> None:
    (imagenet / name).write_text("\n".join(lines) + "\n")
    test = open_source(str(imagenet), "test")
    assert test.labels.tolist() == list(VAL)
    assert test.classes == CLASSES
    assert names(test) == [f"{name}.JPEG" for name in NAMES]


def test_class_folders_come_before_a_list(imagenet: Path) -> None:
    shutil.rmtree(imagenet / "val")
    write_folder(imagenet, {"val": 1}, CLASSES)
    (imagenet / "val.txt").write_text("something else")
    with pytest.warns(PassedOverWarning, match=r": val\.txt$"):
        assert open_source(str(imagenet), "test").labels.tolist() == [0, 1, 2]


def test_classes_can_be_named_in_a_file(imagenet: Path) -> None:
    shutil.rmtree(imagenet / "train")
    (imagenet / "val.txt").write_text("\n".join(f"{name} {word}" for name, word in zip(NAMES, WORDS, strict=True)))
    with pytest.raises(BivitError, match=r"val has no class folders to name the classes; .* write .*classes\.txt"):
        open_source(str(imagenet), "test")
    (imagenet / "classes.txt").write_text("\n".join(CLASSES))
    assert open_source(str(imagenet), "test").labels.tolist() == list(VAL)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a"] * 4, "has 4 labels, but .*val has 5 images"),
        ([f"{name} 0" for name in NAMES[:3]], r"has no label for .*00000004.JPEG \(2 such\)"),
        ([f"{name} 0" for name in [*NAMES, "ILSVRC2012_val_9"]], "labels 6 images, but .*val holds 5"),
        ([f"{name} 3" for name in NAMES], "label '3', which is neither a class folder .* nor a number of 0 to 2"),
        ([f"{name} n999" for name in NAMES], "label 'n999'"),
        ([f"{NAMES[0]} 0", "1"], "lines NAME CLASS, or CLASS alone, not both"),
    ],
)
def test_wrong_lists_are_refused(imagenet: Path, lines: list[str], message: str) -> None:
    (imagenet / "val.txt").write_text("\n".join(lines))
    with pytest.raises(BivitError, match=message):
        open_source(str(imagenet), "test")


def test_the_order_of_the_devkit_is_not_guessed(imagenet: Path) -> None:
    (imagenet / "ILSVRC2012_validation_ground_truth.txt").write_text("490\n361\n171\n822\n297\n")
    with pytest.raises(BivitError, match=r"an order of its own; write val\.txt, lines NAME CLASS"):
        open_source(str(imagenet), "test")


def test_classes_of_the_splits_must_agree(folder: Path) -> None:
    (folder / "val" / "dog").rename(folder / "val" / "wolf")
    with pytest.raises(BivitError, match=r"val lacks the class dog of 2 in train/ \(1 missing\)"):
        open_source(str(folder), "test")
    write_picture(folder / "val" / "dog" / "a.png", 1)
    with pytest.raises(BivitError, match="val holds the class wolf, which is not in train/"):
        open_source(str(folder), "test")


def test_a_class_without_images_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "train" / "dog")
    (folder / "train" / "dog").mkdir()
    with pytest.raises(BivitError, match="train/dog holds no images"):
        open_source(str(folder), "train")


def test_the_size_of_the_first_is_the_default(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 1}, width=9, height=7)
    with pytest.raises(BivitError, match=r"cat_00\.png has 9 x 7 pixels, which is no square; give the size"):
        open_source(str(tmp_path), "train")
    (tmp_path / "train" / "cat" / "cat_00.png").write_bytes(b"")
    with pytest.raises(BivitError, match=r"cat_00\.png cannot be read"):
        open_source(str(tmp_path), "train")


@pytest.mark.parametrize("target", [".", "../cat", "more"])
def test_a_folder_that_is_reached_again_is_counted_once(folder: Path, target: str) -> None:
    write_picture(folder / "val" / "cat" / "more" / "a.png", 1)
    (folder / "val" / "cat" / "again").symlink_to(target)
    assert names(open_source(str(folder), "test"))[:3] == ["cat/cat_00.png", "cat/cat_01.png", "cat/more/a.png"]
    assert len(open_source(str(folder), "test")) == 5


@pytest.mark.parametrize(
    ("link", "target", "message"),
    [
        (
            "val/cat/up",
            "..",
            r"val/cat/up is a link to .*val, above .*val/cat, and so to pictures that belong",
        ),
        ("val/cat/up", "../../..", "is a link to .*, above"),
        ("val/cat/more", "../dog", r"val/dog is reached below .*val/cat too, .* counted in both"),
        ("val/dog/more", "../cat", r"val/dog/more is reached below .*val/cat too"),
        ("val/cat/b.png", "cat_00.png", r"val/cat/b\.png and .*val/cat/cat_00\.png are one file, .* counted twice"),
        ("val/dog/b.png", "../cat/cat_00.png", r"val/dog/b\.png and .*val/cat/cat_00\.png are one file"),
    ],
)
def test_links_to_what_belongs_elsewhere_are_refused(folder: Path, link: str, target: str, message: str) -> None:
    (folder / link).symlink_to(target)
    with pytest.raises(BivitError, match=message):
        open_source(str(folder), "test")


def test_one_file_under_two_names_is_refused(folder: Path) -> None:
    store = folder / "store.png"
    write_picture(store, 7)
    (folder / "val" / "cat" / "x.png").symlink_to(store)
    assert len(open_source(str(folder), "test")) == 5
    (folder / "val" / "dog" / "y.png").symlink_to(store)
    with pytest.raises(BivitError, match=r"val/dog/y\.png and .*val/cat/x\.png are one file"):
        open_source(str(folder), "test")
    (folder / "val" / "dog" / "y.png").unlink()
    (folder / "val" / "dog" / "y.png").hardlink_to(folder / "val" / "dog" / "dog_00.png")
    with pytest.raises(BivitError, match=r"dog/y\.png and .*dog/dog_00\.png are one file"):
        open_source(str(folder), "test")


def test_a_linked_class_is_read(folder: Path) -> None:
    (folder / "val" / "dog").rename(folder / "elsewhere")
    (folder / "val" / "dog").symlink_to(folder / "elsewhere")
    assert names(open_source(str(folder), "test"))[2:] == ["dog/dog_00.png", "dog/dog_01.png"]
    (folder / "val" / "dog").unlink()
    (folder / "val" / "dog").symlink_to("cat")
    with pytest.raises(BivitError, match=r"val/dog is reached below .*val/cat too"):
        open_source(str(folder), "test")


def test_pictures_that_would_be_left_out_are_refused(folder: Path) -> None:
    (folder / "val" / "cat" / "a.AVIF").touch()
    with pytest.raises(BivitError, match=r"cat/a\.AVIF is a picture of a kind that is not read .*; convert it"):
        open_source(str(folder), "test")
    (folder / "val" / "cat" / "a.AVIF").unlink()
    for kind in ("png", "jpeg", "gif", "webp", "tiff"):
        (folder / "val" / "cat" / "image 7").write_bytes(encoded(noise(1), kind))
        with pytest.raises(BivitError, match="cat/image 7 is a picture by its content, but not by its name"):
            open_source(str(folder), "test")
    (folder / "val" / "cat" / "image 7").unlink()
    write_picture(folder / "val" / "a.png", 1)
    with pytest.raises(BivitError, match=r"val/a\.png lies beside the class folders, in none"):
        open_source(str(folder), "test")
    (folder / "val" / "a.png").unlink()
    os.mkfifo(folder / "val" / "cat" / "pipe.png")
    with pytest.raises(BivitError, match=r"cat/pipe\.png is no file"):
        open_source(str(folder), "test")


def test_one_layout_for_a_split(folder: Path) -> None:
    write_shards(folder, (2,), split="val")
    with pytest.raises(BivitError, match=r"holds the test split twice, as shards \(val-0000\.tar\) and as val/"):
        open_source(str(folder), "test")
    assert len(open_source(str(folder), "train")) == 6


def test_one_layout_in_memory(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte").touch()
    with pytest.raises(BivitError, match="holds the test split twice, as idx files and as val/; move one of them"):
        open_source(str(folder), "test")
    (folder / "t10k-labels-idx1-ubyte").rename(folder / "test_batch")
    with pytest.raises(BivitError, match="holds the train split twice, as CIFAR batches and as train/"):
        open_source(str(folder), "train")
