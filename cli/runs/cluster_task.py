"""What runs on the workers of a Dask cluster (`cli.runs.cluster`): pure functions of what they are sent."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ... import __version__
from ...sim.errors import check
from ...sim.network.file import load_network, network_hash
from ...sim.system.files import scratch_folder
from ...sim.system.sources import PACKAGE, sources_hash
from .classify import Classified, classify

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: What must be the same everywhere for results to be: the version, and the content of the sources of `sim`.
Identity = tuple[str, str]


@cache
def _sim_hash() -> str:
    """The sources as they are at the first call: a worker asks with every batch."""
    return sources_hash([PACKAGE / "sim"])[:16]


def identity() -> Identity:
    """Version of bivit and hash of the sources of `sim` in this process."""
    return __version__, _sim_hash()


def check_same(place: str, found: Identity, expected: Identity) -> None:
    """Refuse a place whose bivit is not the one of the client.

    Parameters
    ----------
    place : str
        Names the place in the message.
    found, expected : Identity

    Raises
    ------
    BivitError
        Naming the place, what it has and what it should have.
    """
    for what, got, allowed in zip(("version", "sources of bivit.sim with hash"), found, expected, strict=True):
        check(
            got == allowed,
            f"{place} has bivit of {what} {got}, this machine {allowed}; equal results need the same bivit everywhere: "
            "install it there and start it again",
        )


class Parcel:
    """A network that travels as its file: whoever receives one reads and checks it anew.

    Parameters
    ----------
    file : bytes
        A file of `sim.network.file.save_network`.
    sha256 : str
        `sim.network.file.network_hash` of the network that was sent.

    Attributes
    ----------
    network : IntNetwork

    Raises
    ------
    BivitError
        When the file is damaged or holds another network.
    """

    def __init__(self, file: bytes, sha256: str) -> None:
        self._file, self._sha256 = file, sha256
        with scratch_folder("bivit-network") as folder:
            path = folder / "network.safetensors"
            path.write_bytes(file)
            self.network = load_network(path)
        found = network_hash(self.network)
        check(found == sha256, f"a worker got another network than was sent: its hash is {found}, sent was {sha256}")

    def __reduce__(self) -> tuple[type[Parcel], tuple[bytes, str]]:
        return Parcel, (self._file, self._sha256)


def classify_task(parcel: Parcel, images: NDArray[np.uint8], expected: Identity) -> Classified:
    """Classify one batch on a worker, in the one thread that the task has.

    Parameters
    ----------
    parcel : Parcel
    images : uint8[b, img_size, img_size, in_chans]
    expected : Identity
        Of the client; looked at here as well because workers may join at any time.

    Raises
    ------
    BivitError
        When this worker's bivit is another one.
    """
    from distributed import get_worker

    check_same(f"the worker {get_worker().address}", identity(), expected)
    return classify(parcel.network, images, threads=1)
