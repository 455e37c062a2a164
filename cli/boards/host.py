"""`bivit host`: works with an engine on a board, over its serial port."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...sim.errors import BivitError, check
from ...sim.system.result import INLINE, Result
from ..shared.common import Group, JsonFlag, show
from ..shared.progress import Command, step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...host.engine import BoardInfo, Engine
    from ...host.folder import Folder

PortOption = Annotated[
    str, typer.Option("--port", help="Serial port, as /dev/ttyUSB0 or COM3, or an address, as socket://localhost:5000.")
]
BaudOption = Annotated[
    int | None, typer.Option("--baud", help="Bits a second, those of the bitstream; a million when left out.")
]
PatienceOption = Annotated[
    float | None,
    typer.Option("--patience", help="Seconds that the board may take for a frame; a simulated one needs more."),
]
FolderOption = Annotated[
    Path, typer.Option("--folder", help="What `bivit build` wrote, or `bivit generate` with a network.")
]
_FOLDER = Path("out/board")

host = typer.Typer(
    cls=Group,
    help="Load networks and classify images on a board, over its serial port (docs/boards.md); each with --json.\n\n"
    "Example: bivit host classify image.png --port /dev/ttyUSB0 --json",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@dataclass(frozen=True, kw_only=True)
class Link(Result):
    """What went over the line; `repeated` frames did not come through at first."""

    port: str
    frames: int
    repeated: int
    bytes_out: int
    bytes_in: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Info(Result):
    """What `bivit host info` prints."""

    board: BoardInfo = field(metadata=INLINE)
    link: Link = field(metadata=INLINE)


@dataclass(frozen=True, kw_only=True)
class Row(Result):
    """One image."""

    image: str
    prediction: int
    logits: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Classified(Result):
    """What `bivit host classify` prints; the time is that of the images, without that of a load."""

    link: Link = field(metadata=INLINE)
    images: int
    images_per_s: float
    rows: tuple[Row, ...]


@host.command(cls=Command)
def info(port: PortOption, baud: BaudOption = None, patience: PatienceOption = None, as_json: JsonFlag = False) -> None:
    """Say what engine and network a board has.

    Example: bivit host info --port /dev/ttyUSB0 --json
    """
    start = time.monotonic()
    with closing(_opened(port, baud, patience)) as engine:
        found = Info(board=engine.info, link=_link(engine, port, start))
    show(found, as_json, f"board at {port}")


@host.command(cls=Command)
def load(
    port: PortOption,
    folder: FolderOption = _FOLDER,
    baud: BaudOption = None,
    patience: PatienceOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Load a network into a board's engine, also where it is there already.

    Example: bivit host load --port /dev/ttyUSB0 --folder out/board
    """
    start = time.monotonic()
    found = _folder(folder)
    with closing(_opened(port, baud, patience)) as engine:
        _load(engine, found, again=True)
        result = Info(board=engine.info, link=_link(engine, port, start))
    show(result, as_json, f"network of {folder} on the board at {port}")


@host.command(cls=Command)
def classify(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Pictures, or .npy files of uint8 [images, rows, columns, channels]."),
    ],
    port: PortOption,
    folder: FolderOption = _FOLDER,
    baud: BaudOption = None,
    patience: PatienceOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Classify images on a board; its network is loaded where it is not there.

    Pictures are framed for the network: resized, and the middle taken. What the line damages is sent again; a board
    that is reset is loaded again, and goes on with the first image that it did not answer.

    Example: bivit host classify picture.png --port /dev/ttyUSB0 --folder out/board --json

    Example: bivit host classify digits.npy --port socket://localhost:5000 --patience 60
    """
    found = _folder(folder)
    names, pixels = read_images(images, found.image)
    with closing(_opened(port, baud, patience)) as engine:
        _load(engine, found, again=False)
        start = time.monotonic()
        with step(f"classify {len(names)} images", len(names)) as bar:
            logits = engine.classify(pixels, lambda done, total: bar.at(done, total))
        link = _link(engine, port, start)
    rows = tuple(
        Row(image=name, prediction=int(one.argmax()), logits=tuple(one.tolist()))
        for name, one in zip(names, logits, strict=True)
    )
    speed = round(len(rows) / link.seconds, 1) if link.seconds else 0.0
    result = Classified(link=link, images=len(rows), images_per_s=speed, rows=rows)
    show(result, as_json, f"{len(rows)} images on the board at {port}")


def read_images(paths: Sequence[Path], image: tuple[int, int, int]) -> tuple[list[str], NDArray[np.uint8]]:
    """Return images of files, and a name for each.

    Parameters
    ----------
    paths : sequence of Path
        Pictures and ``.npy`` files.
    image : tuple of int
        Height, width and channels that the network takes.

    Raises
    ------
    BivitError
        When a file is missing, is neither, or holds images of another shape.
    """
    import numpy as np

    names: list[str] = []
    parts: list[NDArray[np.uint8]] = []
    for path in paths:
        check(path.is_file(), f"there is no file {path}")
        part = _array(path, image) if path.suffix == ".npy" else _picture(path, image)
        names += [str(path)] if len(part) == 1 else [f"{path}[{number}]" for number in range(len(part))]
        parts.append(part)
    return names, np.concatenate(parts)


def _array(path: Path, image: tuple[int, int, int]) -> NDArray[np.uint8]:
    import numpy as np

    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise BivitError(f"{path} is no .npy file: {error}") from error
    check(
        found.dtype == np.uint8 and found.ndim == 4 and found.shape[1:] == image and len(found) > 0,
        f"{path} must hold uint8 images [images, {', '.join(map(str, image))}], got {found.dtype} {list(found.shape)}",
    )
    return np.asarray(found)


def _picture(path: Path, image: tuple[int, int, int]) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    from ...model.data.picture import Framing

    height, _, channels = image
    try:
        with Image.open(path) as picture:
            return Framing(size=height, channels=channels).apply(picture, None)[None]
    except (UnidentifiedImageError, ValueError, OSError) as error:
        raise BivitError(f"{path} cannot be read as a picture: {error}") from error


def _folder(path: Path) -> Folder:
    from ...host.folder import read_folder

    return read_folder(path)


def _opened(port: str, baud: int | None, patience: float | None) -> Engine:
    from ...host.engine import PATIENCE_S, Engine
    from ...sim.engine.link import BAUD

    check(patience is None or patience > 0, f"patience must be above 0 seconds, got {patience}")
    with step(f"ask the board at {port}"):
        return Engine(port, baud=BAUD if baud is None else baud, patience_s=patience or PATIENCE_S)


def _load(engine: Engine, folder: Folder, *, again: bool) -> None:
    with step(f"load the network of {folder.path}") as bar:
        engine.load(folder, lambda done, total: bar.at(done, total, "bytes"), again=again)


def _link(engine: Engine, port: str, start: float) -> Link:
    traffic = engine.traffic
    return Link(
        port=port,
        frames=traffic.frames,
        repeated=traffic.repeated,
        bytes_out=traffic.bytes_out,
        bytes_in=traffic.bytes_in,
        seconds=round(time.monotonic() - start, 3),
    )
