"""Lists that people, spreadsheets and Windows write: the names of the classes, and the class of each picture."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...sim.errors import BivitError, check
from ...sim.system.files import read_text
from ...sim.system.typed import shown

#: What may stand between a picture and its class; the first that gives a picture and a class is taken.
_SEPARATORS = "\t,; "
#: Characters of a line; longer ones are no list.
_LONGEST = 4096
#: Digits of a class that is given by number.
_DIGITS = 9


@dataclass(frozen=True)
class _Row:
    """A line that could be read: the picture's index and how the line gives its class."""

    line: int
    picture: int
    word: str


def read_names(path: Path) -> tuple[str, ...]:
    """Read the names of classes, one a line, perhaps in quotes.

    Raises
    ------
    BivitError
        When there are none, one occurs twice, or the file is no such list: the number of the line.
    """
    names: dict[str, int] = {}
    for number, line in _lines(path, "names of classes"):
        check("\t" not in line, f"{path}, line {number}, has columns; it must hold one name of a class a line")
        name = _unquoted(line)
        check(
            name not in names,
            f"{path} names a class twice: {shown(name)} in lines {names.get(name)} and {number}; "
            "each line must be another name",
        )
        names[name] = number
    check(bool(names), f"{path} is empty; it must hold one name of a class a line")
    return tuple(names)


def read_labels(
    listed: Path, root: Path, paths: Sequence[str], classes: Sequence[str], more: bool = False
) -> NDArray[np.int64]:
    """Read the label of each picture from lines NAME CLASS, or CLASS alone in the order of the pictures.

    A picture is named by its path or the end of it, with or without its suffix; between it and the class stands a tab,
    a comma, a semicolon or a blank. The classes are all names, or all numbers in the order of the names.

    Parameters
    ----------
    listed : Path
        The list.
    root : Path
        Folder of the pictures, for messages.
    paths : sequence of str
        Pictures, relative to `root`.
    classes : sequence of str
        Names, in the order of the labels.
    more : bool
        Whether other columns may follow the class, as in Kaggle's list.

    Returns
    -------
    int64[n]

    Raises
    ------
    BivitError
        When a line cannot be read, with its number, or not every picture has one label.
    """
    lines = list(_lines(listed, "list of labels"))
    check(bool(lines), f"{listed} is empty; it must hold lines NAME CLASS")
    numbers = {_plain(name): label for label, name in enumerate(classes)}
    alone = _classes_alone(lines, numbers, len(paths))
    if alone is not None:
        check(
            len(alone) == len(paths),
            f"{listed} has {len(alone)} labels, but {root} has {len(paths)} images; one a line, in the order of names",
        )
        rows = [_Row(number, picture, _plain(line)) for picture, (number, line) in enumerate(alone)]
    else:
        rows = _Pairs(listed, root, paths, numbers, more).read(lines)
    labels = np.empty(len(paths), dtype=np.int64)
    labels[[row.picture for row in rows]] = _labels(listed, rows, numbers)
    return labels


class _Pairs:
    """Reads lines NAME CLASS; where a line is parted follows from the pictures and classes, which are known."""

    def __init__(self, listed: Path, root: Path, paths: Sequence[str], numbers: dict[str, int], more: bool) -> None:
        self.listed, self.root, self.paths, self.numbers, self.more = listed, root, paths, numbers, more
        self._ends: dict[str, list[int]] = {}
        self._stems: dict[str, list[int]] = {}
        for picture, path in enumerate(paths):
            for end in _ends(_normal(path)):
                self._ends.setdefault(end, []).append(picture)
                self._stems.setdefault(_stem(end), []).append(picture)

    def read(self, lines: list[tuple[int, str]]) -> list[_Row]:
        """Read all lines; `BivitError` unless each picture has one."""
        rows: dict[int, _Row] = {}
        strange: list[tuple[int, str]] = []
        for place, (number, line) in enumerate(lines):
            reading = self._reading(number, line, heading=place == 0)
            if isinstance(reading, str):
                strange += [(number, reading)]
            elif reading is not None:
                before = rows.get(reading.picture)
                check(
                    before is None,
                    f"{self.listed}, lines {before.line if before else 0} and {number}, both label "
                    f"{self.paths[reading.picture]}; keep one",
                )
                rows[reading.picture] = reading
        named = f"; line {strange[0][0]} names {shown(strange[0][1])}, which is not there" if strange else ""
        lacking = [path for picture, path in enumerate(self.paths) if picture not in rows]
        check(
            not lacking,
            f"{self.listed} has no label for {self.root / lacking[0] if lacking else ''} ({len(lacking)} such){named}",
        )
        check(
            not strange,
            f"{self.listed} labels {len(rows) + len(strange)} images, but {self.root} holds {len(self.paths)}{named}; "
            "fetch the missing ones or remove the lines",
        )
        return list(rows.values())

    def _reading(self, number: int, line: str, heading: bool) -> _Row | str | None:
        """What a line says; the name where there is no such picture, None for a heading."""
        readings = [(self._find(name), name, word) for name, word in self._readings(line)]
        check(
            bool(readings),
            f"{self.listed} must hold lines NAME CLASS, or CLASS alone, not both; line {number} is {shown(line)}",
        )
        for found, name, word in readings:
            if found and _known(word, self.numbers):
                check(
                    len(found) == 1,
                    f"{self.listed}, line {number}: {shown(name)} may be {self.paths[found[0]]} or "
                    f"{self.paths[found[-1]]}; give the whole path",
                )
                return _Row(number, found[0], word)
        for found, _, word in readings:
            if found:
                raise _unknown_class(self.listed, number, word, self.numbers)
        if heading and not any(_known(word, self.numbers) for _, _, word in readings):
            return None
        return readings[0][1]

    def _readings(self, line: str) -> Iterator[tuple[str, str]]:
        """Every way to part a line into a name and a class."""
        for separator in filter(line.__contains__, _SEPARATORS):
            places = [place for place, character in enumerate(line) if character == separator]
            # A class of one word is more common than a name of one.
            for place in reversed(places) if separator == " " else places:
                name, word = _plain(line[:place]), _plain(line[place + 1 :])
                if name and word:
                    yield name, word.split()[0] if self.more else word

    def _find(self, name: str) -> list[int]:
        """Pictures that a name may mean: those with the longest common end, or else without the suffix."""
        ends = list(_ends(_normal(name)))
        for known, wanted in ((self._ends, ends), (self._stems, ends), (self._stems, map(_stem, ends))):
            for end in wanted:
                if end in known:
                    return known[end]
        return []


def _lines(path: Path, what: str) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of each line that is neither empty nor a comment."""
    text = read_text(path, what)
    place = text.find("\0")
    check(place < 0, f"{path} ({what}) holds zero bytes, in line {text.count(chr(10), 0, place) + 1}; save it as UTF-8")
    # Lines end as in files of any system, but not at the rarer marks that str.splitlines knows.
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        # Spreadsheets end lines with empty columns.
        line = line.strip().rstrip(_SEPARATORS)
        check(len(line) <= _LONGEST, f"{path} ({what}), line {number}, has {len(line)} characters; that is no list")
        if line and line != "#" and not line.startswith("# "):
            yield number, line


def _unquoted(text: str) -> str:
    """A field of a line, without blanks around it and without the quotes of a spreadsheet."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        fields = next(csv.reader([text]), [])
        return fields[0].strip() if len(fields) == 1 else text
    return text


def _plain(text: str) -> str:
    """A field as it is compared: with composed Unicode, which file systems take apart."""
    return unicodedata.normalize("NFC", _unquoted(text))


def _normal(name: str) -> str:
    """A path as it is compared, with the separators of any system."""
    return unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./")


def _ends(path: str) -> Iterator[str]:
    """The path, and what is left of it without its first folders."""
    parts = path.split("/")
    return ("/".join(parts[place:]) for place in range(len(parts)))


def _stem(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name)


def _known(word: str, numbers: dict[str, int]) -> bool:
    return word in numbers or _is_number(word, numbers)


def _is_number(word: str, numbers: dict[str, int]) -> bool:
    return word.isascii() and word.isdecimal() and len(word) <= _DIGITS and int(word) < len(numbers)


def _classes_alone(
    lines: list[tuple[int, str]], numbers: dict[str, int], pictures: int
) -> list[tuple[int, str]] | None:
    """The lines when each holds a class alone, without a heading; None when they do not."""
    known = [_known(_plain(line), numbers) for _, line in lines]
    if all(known[1:]) and not known[0] and len(lines) == pictures + 1:
        return lines[1:]
    single = not any(separator in line for _, line in lines for separator in _SEPARATORS)
    return lines if single or all(known) else None


def _labels(listed: Path, rows: list[_Row], numbers: dict[str, int]) -> list[int]:
    """Labels of classes that are all given by name, or all by number: numbers may be names too, in another order."""
    nameless = [row for row in rows if row.word not in numbers]
    if not nameless:
        return [numbers[row.word] for row in rows]
    for row in rows:
        if not _known(row.word, numbers):
            raise _unknown_class(listed, row.line, row.word, numbers)
    named = next((row for row in rows if not _is_number(row.word, numbers)), None)
    if named is not None:
        raise BivitError(
            f"{listed} gives the class in line {nameless[0].line} by number, {shown(nameless[0].word)}, but in line "
            f"{named.line} by name, {shown(named.word)}; write all of them in one way"
        )
    return [int(row.word) for row in rows]


def _unknown_class(listed: Path, line: int, word: str, numbers: dict[str, int]) -> BivitError:
    first = ", ".join(list(numbers)[:3])
    return BivitError(
        f"{listed}, line {line}, has the label {shown(word)}, which is neither a class folder of train/ nor a name in "
        f"classes.txt ({first}{', ...' * (len(numbers) > 3)}) nor a number of 0 to {len(numbers) - 1}"
    )
