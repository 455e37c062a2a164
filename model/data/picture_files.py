"""The files of pictures below folders: each real file once, and what is passed over counted and named."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ...sim.errors import check, some

#: Kinds of pictures that are read; their names may end in capitals.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".gif", ".tif", ".tiff")
#: Kinds that are not: a data set that holds one would be evaluated without it.
_UNREAD = (
    " .apng .arw .avif .bpg .cr2 .dds .dib .dng .exr .hdr .heic .heif .ico .j2c .j2k .jfif .jp2 .jpe .jpf .jpx .jxl "
    ".mpo .nef .orf .pbm .pcx .pfm .pnm .psd .qoi .ras .sgi .svg .tga .xbm .xpm "
)
#: How files of pictures begin, whatever they are called, and names of files that do not.
_MAGICS = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")
_TEXTS = (".txt", ".json", ".xml", ".csv", ".tsv", ".md", ".html", ".yaml", ".yml", ".npy", ".npz", ".db", ".log")
#: Names that a message gives.
_NAMED = 5


def refuse_unread(name: str, where: object) -> None:
    """Raise `BivitError` when a name is that of a picture of a kind that is not read; `where` leads to it."""
    check(
        f" {Path(name).suffix.lower() or name} " not in _UNREAD,
        f"{where} is a picture of a kind that is not read ({', '.join(SUFFIXES)} are); convert it, or move it away",
    )


def passed_over(names: list[str]) -> str:
    """Return the first of the names that are passed over, and how many more there are."""
    return some(names, _NAMED)


class PictureFiles:
    """Walks over the folders of one split.

    Parameters
    ----------
    root : Path
        Folder of the split.

    Attributes
    ----------
    passed : list of str
        What is no picture, relative to `root`: other files, and whatever is hidden.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.passed: list[str] = []
        #: Real path of each folder that was walked, and for which folder of the caller.
        self._walked: dict[str, Path] = {}
        #: Every picture, its number on the device, and the links among them.
        self._paths: list[str] = []
        self._inodes: list[int] = []
        self._links: list[str] = []

    def below(self, top: Path) -> list[str]:
        """Return the paths of all pictures below a folder, relative to it, sorted.

        Links are followed; a folder that is reached again is not walked again.

        Raises
        ------
        BivitError
            When a link leads to a folder above `top`, or to one that belongs to another `top`; when a picture is no
            file, or of a kind that is not read.
        """
        found: list[str] = []
        start = os.path.realpath(top)
        folders, links = [""], list[str]()
        while folders or links:
            # Links last: pictures are named by their own folder wherever they can be.
            prefix = folders.pop() if folders else links.pop()
            real = self._entered(top, prefix, start)
            if real is None:
                continue
            with os.scandir(top / prefix) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    path = prefix + entry.name
                    if entry.name.startswith("."):
                        self._pass(top, path + "/" * entry.is_dir())
                    elif entry.is_dir():
                        (links if entry.is_symlink() else folders).append(f"{path}/")
                    elif self._is_picture(entry):
                        self._add(entry, f"{real}/{entry.name}")
                        found.append(path)
                    else:
                        self._pass(top, path)
        return sorted(found)

    def refuse_loose(self) -> None:
        """Note the files of `root` itself; `BivitError` when there are pictures among them, which have no class."""
        with os.scandir(self.root) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith(".") or not entry.is_dir():
                    loose = not entry.name.startswith(".") and self._is_picture(entry)
                    check(not loose, f"{entry.path} lies beside the class folders, in none; move it into one, or away")
                    self._pass(self.root, entry.name + "/" * entry.is_dir())

    def refuse_twice(self) -> None:
        """Raise `BivitError` when one file is there under two names: through a link, or twice in the file system."""
        reals = {os.path.realpath(link): link for link in reversed(self._links)}
        for link in self._links:
            real = os.path.realpath(link)
            _not_twice(link, reals[real])
            folder, _, name = real.rpartition("/")
            if folder in self._walked and self._counted(name) and Path(real).exists():
                _not_twice(link, real)
        inodes = np.array(self._inodes, dtype=np.uint64)
        order = np.argsort(inodes, kind="stable")
        for place in np.flatnonzero(np.diff(inodes[order]) == 0).tolist():
            first, second = (self._paths[order[place + step]] for step in (0, 1))
            if Path(first).samefile(second):
                _not_twice(second, first)

    def _entered(self, top: Path, prefix: str, start: str) -> str | None:
        """Real path of a folder that is to be walked; None when it was already."""
        folder = top / prefix
        real = os.path.realpath(folder)
        check(
            real == start or os.path.commonpath([real, start]) != real,
            f"{folder} is a link to {real}, above {top}, and so to pictures that belong elsewhere; remove the link",
        )
        owner = self._walked.get(real)
        check(
            owner in (None, top),
            f"{folder} is reached below {owner} too, so its pictures would be counted in both; remove the link",
        )
        self._walked[real] = top
        return None if owner == top else real

    @staticmethod
    def _counted(name: str) -> bool:
        return name.lower().endswith(SUFFIXES) and not name.startswith(".")

    def _is_picture(self, entry: os.DirEntry[str]) -> bool:
        """Whether a file is a picture by its name; `BivitError` when it is one that cannot be read."""
        if not self._counted(entry.name):
            refuse_unread(entry.name, entry.path)
            check(
                not _begins_as_picture(entry),
                f"{entry.path} is a picture by its content, but not by its name ({', '.join(SUFFIXES)}); rename it, or "
                "move it away",
            )
            return False
        # A link to nothing is a picture that cannot be opened; a pipe would never end.
        check(entry.is_file() or not Path(entry.path).exists(), f"{entry.path} is no file; remove it")
        return True

    def _add(self, entry: os.DirEntry[str], real: str) -> None:
        if entry.is_symlink():
            self._links.append(entry.path)
        else:
            self._paths.append(real)
            self._inodes.append(entry.inode())

    def _pass(self, top: Path, path: str) -> None:
        self.passed.append(os.path.relpath(top / path, self.root) + "/" * path.endswith("/"))


def _begins_as_picture(entry: os.DirEntry[str]) -> bool:
    """Whether a file of no known kind holds a picture; text and arrays that lie beside pictures are not opened."""
    if entry.name.lower().endswith(_TEXTS) or not entry.is_file():
        return False
    with Path(entry.path).open("rb") as file:
        start = file.read(12)
    return start.startswith(_MAGICS) or (start[:4], start[8:]) == (b"RIFF", b"WEBP")


def _not_twice(path: str, other: str) -> None:
    check(path == other, f"{path} and {other} are one file, which would be counted twice; remove one of them")
