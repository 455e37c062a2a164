"""An engine of bivit beside a Zynq's processor, driven from PYNQ.

This file is copied into a project as it is: on the board it needs numpy and pynq, and nothing else of bivit. What it
knows of the engine is in the manifest beside the network. All waiting is by polling.

Examples
--------
>>> overlay = BivitOverlay("board.bit", "engine")  # doctest: +SKIP
>>> logits = overlay.classify(images)  # doctest: +SKIP
"""

# The Python of a PYNQ image may be older than the one that bivit needs.
from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

#: Value of the register ID.
_ID = int.from_bytes(b"BIVT", "little")
#: Rows of buffers begin at multiples of so many bytes, which every width of a DMA can begin at.
_ALIGNED = 64
#: Bytes of pixels of a run at most: memory that a DMA can read is scarce, and a run takes as much more for its logits.
_RUN_BYTES = 1 << 25
#: Seconds without a logit, or for a network, after which the engine counts as hanging.
_PATIENCE_S = 10.0


class EngineError(RuntimeError):
    """The engine or its folder is not what was expected, or the engine reports an error."""


class BivitOverlay:
    """A bitstream with an engine, and the network of a folder in it.

    Parameters
    ----------
    bitfile : str
        With its ``.hwh`` beside it.
    folder : str
        A project, or its folder ``engine``: manifest and network.
    patience_s : float
        Seconds without a logit after which the engine counts as hanging.

    Raises
    ------
    EngineError
        When the bitstream holds another engine than the folder is for, or the engine refuses the network.
    """

    def __init__(self, bitfile: str, folder: str, *, patience_s: float = _PATIENCE_S):
        from pynq import Overlay, allocate

        inner = Path(folder) / "engine"
        self.folder, self.patience_s = inner if inner.is_dir() else Path(folder), patience_s
        self._manifest, self._stream = _read_folder(self.folder)
        self._allocate: Any = allocate
        self._overlay: Any = Overlay(str(bitfile))
        self._weights: Any = None
        self._connect()
        self._check_engine()
        self.load()

    @property
    def network(self) -> int:
        """First 32 bits of the SHA-256 of the folder's network."""
        return int(self._manifest["network"]["sha256"][:8], 16)

    @property
    def cycles(self) -> int:
        """Clock cycles of the last run."""
        return self.read("CYCLES_LO") | self.read("CYCLES_HI") << 32

    def read(self, register: str, field: str = "") -> int:
        """Read a register, or a field of it, by name."""
        place = self._manifest["registers"][register]
        value = int(self._engine.read(place["offset"]))
        if not field:
            return value
        lowest, width = place["fields"][field]
        return value >> lowest & (1 << width) - 1

    def write(self, register: str, value: int) -> None:
        """Write a register by name."""
        self._engine.write(self._manifest["registers"][register]["offset"], value)

    def load(self, *, again: bool = False) -> None:
        """Load the folder's network by DMA, unless the engine has it.

        Parameters
        ----------
        again : bool
            Also then.

        Raises
        ------
        EngineError
            When the engine refuses it.
        """
        if again or not self.read("STATUS", "loaded") or self.read("NETWORK") != self.network:
            self._command("CONTROL", "abort")
            self._command("STATUS", "error")
            before = self._loads()
            buffer = self._filled(self._stream)
            channel = self._dma_load.sendchannel
            channel.transfer(buffer)
            self._until(lambda: self._loads() != before, "the engine did not take the network")
            channel.wait()
            _free(buffer)
            self._check_error()
            if self.read("NETWORK") != self.network:
                raise EngineError(f"the engine has network {self.read('NETWORK'):08x} after that of {self.folder}")
        self._place_weights()

    def classify(self, images: Any) -> Any:
        """Run images, and return their logits.

        Parameters
        ----------
        images : uint8 [B, height, width, channels]

        Returns
        -------
        int32 [B, classes]

        Raises
        ------
        EngineError
            When images have another shape; or when the engine reports an error or does not go on: then it is reset, and
            the next call works.
        """
        image = self._manifest["network"]["image"]
        shape = (image["height"], image["width"], image["channels"])
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1:] != shape or images.dtype != np.uint8:
            raise EngineError(
                f"images must be uint8 [images, {', '.join(map(str, shape))}], got {images.dtype} {images.shape}"
            )
        step = max(1, _RUN_BYTES // image["bytes"])
        runs = [self._classified(images[first : first + step], image) for first in range(0, len(images), step)]
        return np.concatenate([np.zeros((0, image["classes"]), np.int32), *runs])

    def reset(self) -> None:
        """Configure the FPGA again, which resets engine and DMAs, and load the network."""
        self._overlay.download()
        self._connect()
        for channel in (self._dma.sendchannel, self._dma.recvchannel, self._dma_load.sendchannel):
            channel.start()
        self.load()

    def _classified(self, images: Any, image: dict[str, Any]) -> Any:
        """Classify images in one run."""
        classes = image["classes"]
        pixels = self._rows(images.reshape(len(images), -1))
        logits = self._rows(np.zeros((len(images), classes), np.int32))
        try:
            self._run(pixels, logits, image["bytes"], 4 * classes)
            return np.array(logits[:, :classes], np.int32)
        except RuntimeError:  # the channels of pynq raise it too
            self.reset()
            raise
        finally:
            _free(pixels)
            _free(logits)

    def _connect(self) -> None:
        self._engine, self._dma, self._dma_load = self._overlay.engine, self._overlay.dma, self._overlay.dma_load

    def _check_engine(self) -> None:
        if self.read("ID") != _ID:
            raise EngineError("the bitstream holds no engine of bivit; take board.bit and board.hwh of the project")
        held, wanted = self.read("ENGINE_LO") | self.read("ENGINE_HI") << 32, self._manifest["fingerprint"]
        if held != int(wanted, 16):
            raise EngineError(f"the bitstream holds engine {held:016x}, {self.folder} is for {wanted}")

    def _run(self, pixels: Any, logits: Any, image_bytes: int, answer_bytes: int) -> None:
        """Start a run, and keep both channels busy until all logits are there: one transfer an image each."""
        send, receive, images = self._dma.sendchannel, self._dma.recvchannel, len(pixels)
        self._command("STATUS", "error")
        self._command("STATUS", "irq")
        self.write("IMAGES", images)
        receive.transfer(logits, start=0, nbytes=answer_bytes)
        self._command("CONTROL", "start")
        sent = came = 0
        last = time.monotonic()
        while came < images:
            if sent < images and (not sent or send.idle):
                if sent:
                    send.wait()
                send.transfer(pixels, start=sent * _row_bytes(pixels), nbytes=image_bytes)
                sent += 1
            if receive.idle:
                receive.wait()
                if receive.transferred != answer_bytes:
                    raise EngineError(f"image {came} has {receive.transferred} bytes of logits, not {answer_bytes}")
                came, last = came + 1, time.monotonic()
                if came < images:
                    receive.transfer(logits, start=came * _row_bytes(logits), nbytes=answer_bytes)
            self._check_error()
            if time.monotonic() - last > self.patience_s:
                raise EngineError(f"no logits for {self.patience_s:g} s, after {came} of {images} images")
        send.wait()
        self._until(lambda: not self.read("STATUS", "busy"), "the run does not end")
        if self.read("DONE") != images:
            raise EngineError(f"the engine counts {self.read('DONE')} images, not {images}")

    def _place_weights(self) -> None:
        """Put the memory image of streamed weights where the engine reads it; nothing where they are on the chip."""
        if "WEIGHTS_LO" not in self._manifest["registers"]:
            return
        if self._weights is None:
            self._weights = self._filled((self.folder / "weights.bin").read_bytes())
        address = self._weights.physical_address
        if address % 4096:
            raise EngineError(f"the weights lie at {address:#x}, which is no multiple of 4096")
        self.write("WEIGHTS_HI", address >> 32)
        self.write("WEIGHTS_LO", address & 0xFFFFFFFF)

    def _loads(self) -> int:
        return self.read("LOADS_OK") + self.read("LOADS_BAD")

    def _command(self, register: str, field: str) -> None:
        """Write a one into a field, and zeros beside it."""
        lowest, _ = self._manifest["registers"][register]["fields"][field]
        self.write(register, 1 << lowest)

    def _check_error(self) -> None:
        code = self.read("ERROR") if self.read("STATUS", "error") else 0
        if code:
            raise EngineError(f"the engine reports error {code}: {self._manifest['errors'].get(str(code), 'unknown')}")

    def _until(self, done: Any, otherwise: str) -> None:
        """Poll, not for ever."""
        end = time.monotonic() + self.patience_s
        while not done():
            if time.monotonic() > end:
                raise EngineError(f"{otherwise} within {self.patience_s:g} s")

    def _filled(self, data: bytes) -> Any:
        """Return a buffer that both sides see, with bytes in it."""
        buffer = self._allocate(shape=(len(data),), dtype=np.uint8)
        buffer[:] = np.frombuffer(data, np.uint8)
        buffer.flush()
        return buffer

    def _rows(self, values: Any) -> Any:
        """Return a buffer with rows in it, each of which begins where a transfer may."""
        count, size = values.shape
        step = _ALIGNED // values.itemsize
        buffer = self._allocate(shape=(count, -(-size // step) * step), dtype=values.dtype)
        buffer[:, :size] = values
        buffer.flush()
        return buffer


def _row_bytes(buffer: Any) -> int:
    return int(buffer.shape[1] * buffer.itemsize)


def _free(buffer: Any) -> None:
    buffer.freebuffer()


def _read_folder(folder: Path) -> tuple[dict[str, Any], bytes]:
    """Return the manifest of a folder and the load stream, whose hash is looked at."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        stream = (folder / "network.bin").read_bytes()
    except (OSError, ValueError) as error:
        raise EngineError(f"{folder} is no folder of a network: {error}") from error
    (written,) = (file["sha256"] for file in manifest["files"] if file["path"] == "network.bin")
    if hashlib.sha256(stream).hexdigest() != written:
        raise EngineError(f"{folder / 'network.bin'} is not the file that was written with its manifest")
    return manifest, stream
