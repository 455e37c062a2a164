"""Golden vectors: images, and what the engine must answer, for benches that know nothing of bivit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...sim.errors import check
from ...sim.mapping.compiled import Program
from ...sim.mapping.cycles import estimate_cycles
from ...sim.network.network import IntNetwork
from ...sim.network.run_result import check_images
from ...sim.reference.run import run_reference
from ...sim.system.files import write_text


@dataclass(frozen=True)
class Golden:
    """Images, their logits, and the counters of one run of them with streams that are never late.

    Parameters
    ----------
    data : str
        Where the images are from.
    images : uint8 [B, height, width, channels]
    logits : int32 [B, classes]
    cycles, array_busy, saturations : int
        The registers of these names after the run.
    """

    data: str
    images: NDArray[np.uint8]
    logits: NDArray[np.int32]
    cycles: int
    array_busy: int
    saturations: int

    @property
    def numbers(self) -> dict[str, int]:
        """What `golden/expected.txt` says, in its order."""
        return {
            "images": len(self.images),
            "image_bytes": self.images[0].size,
            "classes": self.logits.shape[1],
            "cycles": self.cycles,
            "array_busy": self.array_busy,
            "saturations": self.saturations,
        }


def golden(network: IntNetwork, program: Program, images: NDArray[np.uint8], data: str) -> Golden:
    """Run images through the reference, and predict the run's counters.

    Parameters
    ----------
    network, program : IntNetwork, Program
        The network, and what it was compiled to.
    images : uint8 [B, height, width, channels]
        At least one.
    data : str
        Where they are from.

    Raises
    ------
    BivitError
        When there is no image, or they do not fit the network.
    """
    check(len(images) > 0, "golden vectors need at least one image, got 0; give more, or none at all")
    check_images(images, network.config)
    result, estimate = run_reference(network, images), estimate_cycles(program, len(images))
    return Golden(
        data,
        images,
        result.logits.astype("<i4"),
        estimate.cycles,
        estimate.array_busy,
        result.saturations,
    )


def write_golden(vectors: Golden, folder: Path) -> None:
    """Write pixels and logits as the streams carry them, and the numbers a line each; make the folder."""
    folder.mkdir()
    (folder / "pixels.bin").write_bytes(np.ascontiguousarray(vectors.images).tobytes())
    (folder / "logits.bin").write_bytes(vectors.logits.tobytes())
    write_text(folder / "expected.txt", "".join(f"{name} {value}\n" for name, value in vectors.numbers.items()))
