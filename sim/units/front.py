"""Units around the datapath: registers, loader, settings, sequencer, pixels in, logits out."""

from __future__ import annotations

from typing import ClassVar

from ..engine.commands import CORE, DELAY_BITS, EDGE, OPCODE_BITS, Output, Process
from ..engine.memories import TAG_BITS
from ..engine.timing import Activity
from ..engine.words import LoadMemory, Memory, ceil_div
from ..network.formats import HEAD_BIAS_BITS
from .unit import Timings, Unit
from .uses import Extent, Uses, with_window
from .written import Written


class RegistersUnit(Unit):
    """AXI4-Lite registers."""

    name = "registers"
    parent = ""


class LoaderUnit(Unit):
    """The load stream's reader."""

    name = "loader"
    parent = ""


class SettingsUnit(Unit):
    """Settings of a network, in registers."""

    name = "settings"
    parent = ""
    loadable = ("settings",)

    @property
    def load_memories(self) -> dict[str, LoadMemory]:
        """None: every word is in registers."""
        return {}


class RunUnit(Unit):
    """Start, images and end of a run."""

    name = "run"
    parent = ""


class _SequencerUnit(Unit):
    """Program memory and issue of one process."""

    parent = ""
    process: ClassVar[Process]

    @property
    def read_bits(self) -> dict[str, int]:
        """The longest operation does not fill its word."""
        commands = (*self.process.issued, *self.process.own)
        return {self.process.memory: OPCODE_BITS + DELAY_BITS + max(command.width() for command in commands)}


class EdgeUnit(_SequencerUnit):
    """The sequencer of what streams can make wait."""

    name = "edge"
    process = EDGE
    loadable = (EDGE.memory,)


class CoreUnit(_SequencerUnit):
    """The sequencer of everything else."""

    name = "core"
    process = CORE
    loadable = (CORE.memory, "norm_eps")


class PixelBufferUnit(Unit):
    """Two strips of pixels."""

    name = "pixel_buffer"
    parent = ""

    @property
    def beats(self) -> int:
        """Beats of a strip, at most."""
        return self.engine.max_strip_bytes // self.engine.pixel_bytes

    @property
    def beat_bits(self) -> int:
        """Address bits of a beat in its half."""
        return max(1, (self.beats - 1).bit_length())

    @property
    def memories(self) -> dict[str, Memory]:
        """The second half starts at a power of two, and only it ends where it is full."""
        return {"strips": Memory(8 * self.engine.pixel_bytes, (1 << self.beat_bits) + self.beats)}

    def features(self) -> dict[str, float]:
        """Grow with the bytes of a beat."""
        return {"unit": 1, "byte": self.engine.pixel_bytes}


class LogitsUnit(Unit):
    """Logits of one image, on their way to the queue."""

    name = "logits"
    parent = ""
    #: Offset of the first logit that goes into the queue, from the issue of `output`.
    write_offset = 3

    @property
    def timings(self) -> Timings:
        """An image's logits."""
        return {Output: self._output}

    def _output(self, command: Output) -> Activity:
        """Send the logits. Window: ``logits.write``, logits into the queue, in cycles that do not wait for room."""
        end = self.write_offset + command.classes
        return Activity(end, {"logits.write": (self.write_offset, end)})

    def uses(self, command: Output) -> Uses:
        """The memory's first word is read ahead of the first beat."""
        activity = self.timing(command)
        return Uses(self.name, with_window(activity, "logits.read", (1, activity.windows["logits.write"][1])))

    def writes(self, command: Output) -> tuple[Written, ...]:
        """Logits go to the queue, whose end is the stream."""
        return ()

    def reach(self, command: Output) -> tuple[Extent, ...]:
        """No address is given."""
        return ()

    @property
    def chunks(self) -> int:
        """Chunks of all classes."""
        return ceil_div(self.engine.max_classes, self.lanes)

    @property
    def memories(self) -> dict[str, Memory]:
        """Logits, a chunk a word; one word would have no address."""
        return {"logits": Memory(self.lanes * HEAD_BIAS_BITS, max(2, self.chunks))}

    def features(self) -> dict[str, float]:
        """Grow with lanes."""
        return {"unit": 1, "lane": self.lanes}


class LogitsQueueUnit(Unit):
    """Queue of logits at the output."""

    name = "logits_queue"
    parent = ""

    @property
    def memories(self) -> dict[str, Memory]:
        """The logit, its tag and TLAST; one word is in the register of the reader."""
        return {"queue": Memory(HEAD_BIAS_BITS + TAG_BITS + 1, self.engine.queue_logits - 1)}

    def features(self) -> dict[str, float]:
        """Grow with the level."""
        return {"unit": 1, "level_bit": self.engine.queue_logits.bit_length()}
