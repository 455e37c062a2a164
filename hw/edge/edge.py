"""Everything beside the blocks: pixels in, patch embedding, last norm, classifier, logits out."""

from __future__ import annotations

from amaranth.hdl import Module, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...sim.flow.edge import EdgeUnit
from ..parts.component import Component, reset_by
from ..parts.connect import connect
from ..parts.stream import beat_layout
from .edge_core import EdgeCore, core_ports
from .patch_ring import PatchRing
from .piece_place import RING_SETTINGS
from .pixel_frame import PixelFrame


class Edge(Component):
    """Images come in as pixels and go into the banks of x in turn; finished ones come from there and leave as logits.

    Image i of a run has bank ``i mod banks`` of x. It is embedded when its pixels come and its bank is free; when it is
    `finished` it is normalised, and the classifier takes the multipliers between two passes of the embedding.

    Timing: `sim.timing.edge_times`, for pixels that always come and a queue of logits that always has room.
    Numerics: docs/semantics.md 1 and 11, to the bit.

    Parameters
    ----------
    unit : EdgeUnit

    Members
    -------
    start, images : In
        Begin a run of so many images, 1 or more.
    stop, give_up : In(1)
        Take no more pixels, and drop no more; see `PixelFrame`.
    forget : In(1)
        A register, high with `start`, where a run is cut, and from the cycle behind that in which the engine is reset
        on: what is computed is dropped, but no pixel or logit that a bus has seen.
    settings : In
        `edge_setting_bits`, constant from `start` on.
    pixels : In(stream)
        Pixels in raster order.
    finished : In(1)
        Pulse: x of the oldest embedded image is complete, and can be read from the next cycle on.
    embedded : Out(1)
        Pulse: the last word of the next image's x is being written, normalised where patches are.
    done : Out(1)
        Pulse: an image's last logit goes to the queue.
    queue : Out(queue_port)
        Logits, with the image's number, and whether it is the last class.
    x_write : Out(write_port)
        Writer of x: `en` has a bit for each chunk of each row of the word, `data` is one chunk.
    x_read : Out(read_port)
        Reader of x, data `ResidualAddUnit.x_cycles` after the address.
    norm_read, norm_write : Out(read_port), Out(write_port)
        With windows, reader of x as `x_read`, and writer of whole words: of the norm of patches.
    classes_read, classes_given, positions_read, positions_given : Out(line_ports)
        With streamed `edge_weights`, reader of each line, and who is given its steps.
    patch_weights_read, patch_weights_given : Out(line_ports)
        Likewise, with streamed `patch_weights`.
    saturations : Out
        Elements that saturated; only the total matters.
    limit, error, dropping : Out
        Of the pixels; see `PixelFrame`.
    starved, hold : Out(1)
        An image could be embedded further, but pixels are missing; an image could be classified, but the queue is full.
    answering : Out(1)
        With streamed weights, an image is classified: its logits are on their way to the queue.
    q_en, q, y_write : Out
        Q and y of the last norm, for observation.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, unit: EdgeUnit):
        self.unit = unit
        super().__init__(
            {
                **{name: In(1) for name in ("start", "stop", "give_up", "forget")},
                "images": In(32),
                "pixels": In(stream.Signature(beat_layout(8 * unit.flow.engine.pixel_bytes))),
                "limit": Out(32),
                "error": Out(1),
                "dropping": Out(1),
                **core_ports(unit),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Connect pixels and the rest, which forgets what it computes."""
        m = Module()
        m.submodules.frame = frame = PixelFrame(self.unit.flow.engine)
        m.submodules.ring = ring = PatchRing(self.unit)
        core = EdgeCore(self.unit)
        m.submodules.core = reset_by(self.forget, core, alone=True)
        wiring.connect(m, wiring.flipped(self.pixels), frame.pixels)
        m.d.comb += [
            *(connect(getattr(frame, name), getattr(self, name)) for name in ("start", "images", "stop", "give_up")),
            *(connect(getattr(frame, name), self.settings[name]) for name in ("strip_beats", "strips")),
            *(connect(getattr(self, name), getattr(frame, name)) for name in ("limit", "error", "dropping")),
            *(connect(frame.room, ring.room), connect(ring.start, self.start)),
            *(connect(ring.beat_en, frame.taken), connect(ring.beat, self.pixels.payload.data)),
            *(connect(ring.settings[name], self.settings[name]) for name in RING_SETTINGS.members),
            *(connect(core.available, ring.available), connect(ring.release, core.release)),
            *(connect(ring.addr, core.pixel), connect(core.pixels.as_value(), ring.pixels.as_value())),
        ]
        for name, member in core_ports(self.unit).items():
            inner, outer = getattr(core, name), getattr(self, name)
            if member.is_signature:
                wiring.connect(m, wiring.flipped(outer), inner)
            else:
                source, target = (outer, inner) if member.flow is In else (inner, outer)
                m.d.comb += connect(Value.cast(target), source)
        return m
