"""Everything beside the blocks: pixels in, patch embedding, last norm, classifier, logits out."""

from __future__ import annotations

from amaranth.hdl import Module, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...sim.flow.edge import EdgeUnit
from ...sim.flow.edge_settings import EDGE_SETTINGS
from ..parts.component import Component
from ..parts.stream import LOAD_BUS, beat_layout, read_port, write_port
from ..units.logits_queue import queue_port


def x_write_port(unit: EdgeUnit) -> wiring.Signature:
    """Signature of the writer of x: `en` has a bit for each chunk of each row of the word, `data` is one chunk."""
    residual = unit.flow.engine.formats.residual_bits
    enables = unit.side * unit.word_chunks
    return wiring.Signature({"en": Out(enables), "addr": Out(unit.x_addr_bits), "data": Out(unit.chunk * residual)})


class Edge(Component):
    """Images come in as pixels and go into the banks of x in turn; finished ones come from there and leave as logits.

    Image i of a run has bank ``i mod banks`` of x. It is embedded when its pixels come and its bank is free; when it is
    `finished` it is normalised, and the classifier takes the multipliers between two passes of the embedding.

    Timing: `sim.flow.edge_times`, for pixels that always come and a queue of logits that always has room.
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
    cut : In(1)
        The run ends here: forget what is computed, but no pixel or logit that a bus has seen.
    settings : In
        `EDGE_SETTINGS`, constant from `start` on.
    pixels : In(stream)
        Pixels in raster order.
    finished : In(1)
        Pulse: x of the oldest embedded image is complete, and can be read from the next cycle on.
    embedded : Out(1)
        Pulse: the last word of the next image's x is being written.
    done : Out(1)
        Pulse: an image's last logit goes to the queue.
    queue : Out(queue_port)
        Logits, with the image's number, and whether it is the last class.
    x_write : Out(write_port)
        Writer of x: `en` has a bit for each chunk of each row of the word, `data` is one chunk.
    x_read : Out(read_port)
        Reader of x, data one cycle after the address.
    saturations : Out
        Elements that saturated; only the total matters.
    limit, error, dropping : Out
        Of the pixels; see `PixelFrame`.
    starved, hold : Out(1)
        An image could be embedded further, but pixels are missing; an image could be classified, but the queue is full.
    q_en, q, y_write : Out
        Q and y of the last norm, for observation.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, unit: EdgeUnit):
        self.unit = unit
        engine = unit.flow.engine
        residual = engine.formats.residual_bits
        super().__init__(
            {
                **{name: In(1) for name in ("start", "stop", "give_up", "cut", "finished")},
                "images": In(32),
                "settings": In(data.StructLayout(dict(EDGE_SETTINGS))),
                "pixels": In(stream.Signature(beat_layout(8 * engine.pixel_bytes))),
                **{name: Out(1) for name in ("embedded", "done", "error", "dropping", "starved", "hold")},
                "queue": Out(queue_port(engine)),
                "x_write": Out(x_write_port(unit)),
                "x_read": Out(read_port(unit.x_addr_bits, unit.side * unit.columns * residual)),
                "saturations": Out(range(unit.chunk + 1)),
                "limit": Out(32),
                "q_en": Out(1),
                "q": Out(unit.q_bits),
                "y_write": Out(write_port((2 * engine.max_embed_dim - 1).bit_length(), signed(unit.y_bits))),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Not there yet."""
        return Module()
