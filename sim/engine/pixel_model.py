"""When the pixel buffer has a strip ready, for a stream that never makes it wait: exact in cycles."""

from __future__ import annotations

from collections.abc import Sequence


def strip_ready_times(strip_beats: int, releases: Sequence[int]) -> list[int]:
    """Return the cycle from which each strip can be read, counted from the cycle after the run's start.

    Strip k is filled, a beat a cycle, as soon as strip k - 1 is in and strip k - 2 has been released. It is the current
    strip, and `available` means it, once strip k - 1 has been released. Strips count on from image to image.

    Parameters
    ----------
    strip_beats : int
        Beats of a strip.
    releases : sequence of int
        Cycle of `release` of the first strips, in order; each must have been ready by then.

    Returns
    -------
    list[int]
        ``len(releases) + 1`` cycles: those of the released strips, and that of the one after them.

    Examples
    --------
    >>> strip_ready_times(4, [])
    [4]
    >>> strip_ready_times(4, [6, 20])  # strip 2 is filled from cycle 8 on, into the half of strip 0
    [4, 8, 21]
    """
    ready: list[int] = []
    filled = 0  # first cycle after the last beat of the strip before
    for strip in range(len(releases) + 1):
        free = releases[strip - 2] + 1 if strip >= 2 else 0
        current = releases[strip - 1] + 1 if strip >= 1 else 0
        filled = max(filled, free) + strip_beats
        ready.append(max(filled, current))
    return ready
