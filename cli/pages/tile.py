"""The timeline of one tile in docs/accelerator.md, which `python -m bivit.cli.pages.tile PAGE` writes anew."""

from __future__ import annotations

import sys
from pathlib import Path

from ...sim.mapping.program import FlowProgram
from ...sim.mapping.spans import Span, tile_spans
from ...sim.system.files import read_text, write_text
from ..shared.markers import replace_between_markers

#: Engine, network, images of the run; the tile is in the middle of the last image but one.
_ENGINE, _NETWORK, _IMAGES = "sim", "digits", 6
#: Characters of a bar.
_WIDTH = 64


def tile_timeline(program: FlowProgram, images: int) -> str:
    """Return what array and units do for one tile in one block, a row each, as text.

    Parameters
    ----------
    program : FlowProgram
    images : int
        Of the run, 2 or more: the last but one has others before and behind it.
    """
    config, tiles = program.layout.config, program.layout.shape.tiles
    spans = tile_spans(config, program.flow, program.table, images)
    image, block, tile = spans[0].image, spans[0].block, spans[0].tile
    first, last = min(span.start for span in spans), max(span.end for span in spans)
    rows = sorted({span.row for span in spans}, key=lambda row: min(span.start for span in spans if span.row == row))
    lines = [f"{'':18}{'cycles':>13}  {'in use':>6}"]
    lines += [_line(row, [span for span in spans if span.row == row], first, last) for row in rows]
    steps = program.layout.shape.tile_steps
    where = f"Tile {tile} of {tiles}, block {block} of {config.depth}, image {image} of {images}"
    text = f"{where}: `{_NETWORK}` on `{_ENGINE}`. Cycles count from the first of its work on; {steps} have a step."
    return "\n".join([text, "", "```", *lines, "```"])


def _line(row: str, spans: list[Span], first: int, last: int) -> str:
    """Return a row: from when to when, cycles in use, and a bar."""
    scale = _WIDTH / (last - first)
    bar = [" "] * _WIDTH
    for span in spans:
        start = int((span.start - first) * scale)
        for at in range(start, max(start + 1, int((span.end - first) * scale))):
            bar[min(at, _WIDTH - 1)] = "#"
    begin, end = min(span.start for span in spans) - first, max(span.end for span in spans) - first
    used = sum(span.end - span.start for span in spans)
    return f"{row:18}{begin:>6} {end:>6}  {used:>6}  {''.join(bar).rstrip()}"


def made() -> str:
    """Return the timeline of the page."""
    from ...sim.flow.presets import load_engine
    from ...sim.mapping.program import compile_network
    from ...sim.network.presets import preset
    from ...sim.network.random import random_network

    return tile_timeline(compile_network(random_network(preset(_NETWORK), seed=1), load_engine(_ENGINE)), _IMAGES)


def main(page: Path) -> None:
    """Write the timeline into a page.

    Parameters
    ----------
    page : Path
        With both markers.
    """
    write_text(page, replace_between_markers(read_text(page, "the page"), made(), "tile", "timeline"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
