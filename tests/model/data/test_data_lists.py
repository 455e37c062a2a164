"""Lists of classes and labels as people, spreadsheets and Windows write them (model/data/lists.py)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bivit.model.data.lists import read_labels, read_names
from bivit.sim.errors import BivitError

CLASSES = ("golden retriever", "tabby cat", "tench, Tinca tinca", "fish")
LABELS = [3, 1, 0, 2]
WORDS = [CLASSES[label] for label in LABELS]
PLAIN = ["a.png", "b.png", "c.png", "d.png"]
SPACED = ["my photo 1.png", "my photo 10.png", "my, photo.png", "my  photo.png"]


def listed(tmp_path: Path, content: str | bytes, paths: Sequence[str] = PLAIN, more: bool = False) -> list[int]:
    path = tmp_path / "val.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_labels(path, tmp_path / "val", paths, CLASSES, more).tolist()


def lines(names: Sequence[str], words: Sequence[object], between: str) -> str:
    return "".join(f"{name}{between}{word}\n" for name, word in zip(names, words, strict=True))


@pytest.mark.parametrize("paths", [PLAIN, SPACED])
@pytest.mark.parametrize("words", [WORDS, LABELS], ids=["names", "numbers"])
@pytest.mark.parametrize("between", ["\t", ",", ";", " ", "   ", ", ", "\t\t"])
def test_every_separator(tmp_path: Path, paths: list[str], words: list[object], between: str) -> None:
    plain = lines(paths, words, between)
    assert listed(tmp_path, plain, paths) == LABELS
    assert listed(tmp_path, plain.replace("\n", "\r\n"), paths) == LABELS
    assert listed(tmp_path, plain.replace("\n", "\r"), paths) == LABELS
    assert listed(tmp_path, plain.encode("utf-8-sig"), paths) == LABELS
    assert listed(tmp_path, plain.replace("\n", ",,\n"), paths) == LABELS
    heading = between.join(["filename", "label"])
    assert listed(tmp_path, f"# written by hand\n\n{heading}\n{plain}\n  \n# end\n", paths) == LABELS
    quoted = lines([f'"{name}"' for name in paths], [f'"{word}"' for word in words], between)
    assert listed(tmp_path, quoted, paths) == LABELS


@pytest.mark.parametrize(
    "shown",
    ["val/{}", "./val/{}", "/home/me/data/val/{}", "val\\{}", "C:\\data\\val\\{}", "{}"],
)
def test_every_path(tmp_path: Path, shown: str) -> None:
    assert listed(tmp_path, lines([shown.format(name) for name in PLAIN], LABELS, " ")) == LABELS
    # Kaggle names no suffix, and what was converted since has another one.
    for suffix in ("", ".JPEG"):
        names = [shown.format(name[:-4] + suffix) for name in PLAIN]
        assert listed(tmp_path, lines(names, WORDS, ",")) == LABELS


def test_pictures_of_one_name_are_told_apart(tmp_path: Path) -> None:
    paths = ["a.jpg", "a.png", "x/b.png", "y/b.png"]
    assert listed(tmp_path, lines(paths, LABELS, " "), paths) == LABELS
    with pytest.raises(BivitError, match=r"line 3: 'b\.png' may be x/b\.png or y/b\.png; give the whole path"):
        listed(tmp_path, lines(["a.jpg", "a.png", "b.png", "y/b.png"], LABELS, " "), paths)
    with pytest.raises(BivitError, match=r"line 1: 'a' may be a\.jpg or a\.png"):
        listed(tmp_path, lines(["a", "a.png", "x/b.png", "y/b.png"], LABELS, " "), paths)


def test_unicode_that_a_file_system_took_apart(tmp_path: Path) -> None:
    paths = ["Ka\u0308se.png", "b.png", "c.png", "d.png"]
    assert listed(tmp_path, lines(["K\u00e4se.png", *paths[1:]], LABELS, ","), paths) == LABELS


def test_marks_that_end_no_line(tmp_path: Path) -> None:
    paths = ["a\x0bb.png", "b\u2028.png", "c\x85.png", "d\x1c.png"]
    assert listed(tmp_path, lines(paths, LABELS, ","), paths) == LABELS


def test_other_columns(tmp_path: Path) -> None:
    boxes = lines(PLAIN, ["fish 1 2 3 4 fish 5 6 7 8"] * 4, ",")
    assert listed(tmp_path, "ImageId,PredictionString\n" + boxes, more=True) == [3] * 4
    assert listed(tmp_path, lines(PLAIN, ["fish\t0\t0\t62\t63"] * 4, "\t"), more=True) == [3] * 4
    with pytest.raises(BivitError, match=r"line 1, has the label 'fish,0\.9'"):
        listed(tmp_path, lines(PLAIN, ["fish,0.9"] * 4, ","))


@pytest.mark.parametrize("words", [WORDS, LABELS])
def test_classes_alone(tmp_path: Path, words: list[object]) -> None:
    text = "\n".join(map(str, words))
    assert listed(tmp_path, text) == LABELS
    assert listed(tmp_path, f"class\n{text}\n") == LABELS


def test_classes_whose_names_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "val.txt"
    path.write_text(lines(PLAIN, [1, 2, 10, 3], " "))
    # In the order of the names, 10 comes before 2.
    assert read_labels(path, tmp_path, PLAIN, ("1", "10", "2", "3")).tolist() == [0, 2, 1, 3]
    # These can only be meant from 0, although three of them are names.
    path.write_text(lines(PLAIN, [0, 1, 2, 3], " "))
    assert read_labels(path, tmp_path, PLAIN, ("1", "10", "2", "3")).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n# nothing\n", "is empty"),
        (lines(PLAIN, LABELS, " ").encode("utf-16"), "is not UTF-8 text: line 1 holds the byte 0xff"),
        (lines(PLAIN, LABELS, " ").encode("utf-16-le"), "holds zero bytes, in line 1; save it as UTF-8"),
        (
            lines(["a.png", "K\u00e4se.png"], "01", " ").encode("latin-1"),
            "line 2 holds the byte 0xe4; save it",
        ),
        (lines(PLAIN[:3], LABELS[:3], " "), r"has no label for .*val/d\.png \(1 such\)$"),
        (
            lines([*PLAIN[:3], "e.png"], LABELS, " "),
            r"no label for .*d\.png \(1 such\); line 4 names 'e\.png'",
        ),
        (
            lines([*PLAIN, "e.png"], [*LABELS, 0], " "),
            r"labels 5 images, .* holds 4; line 5 names 'e\.png'",
        ),
        (lines([*PLAIN, "b.png"], [*LABELS, 1], " "), r"lines 2 and 5, both label b\.png"),
        (
            lines(PLAIN, [0, 1, 2, "dog"], "\t"),
            r"line 4, has the label 'dog', .* \(golden retriever, .*0 to 3",
        ),
        (lines(PLAIN, [0, 1, 2, 4], "\t"), r"line 4, has the label '4'"),
        (lines(PLAIN, [0, 1, -1, 2], "\t"), r"line 3, has the label '-1'"),
        (lines(PLAIN, [0, 1, 2, "9" * 5000], "\t")[:4000], r"line 4, has the label '9"),
        (lines(PLAIN, [0, 1, 2, "9" * 5000], "\t"), r"line 4, has 5006 characters"),
        (lines(PLAIN, [0, "fish", 2, 3], " "), "in line 1 by number, '0', but in line 2 by name, 'fish'"),
        (lines(PLAIN, LABELS, " ") + "e.png\n", r"NAME CLASS, or CLASS alone, not both; line 5 is 'e\.png'"),
        ("fish\n" * 3, "has 3 labels, but .*val has 4 images"),
        ("fish\n" * 5, "has 5 labels, but .*val has 4 images"),
        (lines(LABELS, PLAIN, " "), r"has no label for .*a\.png \(4 such\); line 2 names"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(BivitError, match=message) as caught:
        listed(tmp_path, content)
    assert "val.txt" in str(caught.value)


def test_names_of_classes(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes('# mine\r\ngolden retriever\r\n"tench, Tinca tinca"\r\n\r\n  fish \r\n'.encode("utf-8-sig"))
    assert read_names(path) == ("golden retriever", "tench, Tinca tinca", "fish")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"cat\ndog\n\ncat\n", "names a class twice: 'cat' in lines 1 and 4"),
        (b"0\tcat\n", "line 1, has columns"),
        (b"cat\nK\xe4se\n", "line 2 holds the byte 0xe4"),
    ],
)
def test_wrong_names_of_classes(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes(content)
    with pytest.raises(BivitError, match=message):
        read_names(path)


def test_a_long_list_is_read_quickly(tmp_path: Path) -> None:
    paths = [f"ILSVRC2012_val_{number:08}.JPEG" for number in range(20_000)]
    labels = np.arange(20_000) % 4
    assert listed(tmp_path, lines(paths, [CLASSES[label] for label in labels], " "), paths) == labels.tolist()
