"""Whether the times at which the edge works are right, and those of all that reads and writes x.

As in `verify`, each thing's consequences are found from its beginning alone, by what `EdgeUnit` states: steps of the
multipliers, sums that leave, reads of patches, of x and of y, and writes. Then nothing may be read before it is there,
or written over before it is read, and the multipliers and the way of their sums have one thing at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from ..flow.config import FlowConfig
from ..flow.edge import EdgeUnit
from ..flow.edge_settings import edge_settings, group_spans
from ..flow.lane_unit import LONG_AGO
from ..flow.residual_add import ResidualAddUnit
from ..network.config import ModelConfig
from ..timing.edge_times import UNKNOWN, EdgeWork, edge_plan
from ..timing.trace import Tile


class Add(NamedTuple):
    """What ResidualAdd does to a column group of a tile: first cycle, and last write, where it writes."""

    start: int
    written: int | None
    of: Tile
    group: int


class _Group(NamedTuple):
    """Channels that are summed together: first and last step; sums that leave, from the cycle behind `captured` on."""

    first: int
    last: int
    captured: int
    left: int


class _Work(NamedTuple):
    """What the multipliers do at a time: when it was begun, and its groups; none of an image that is opened."""

    begun: int
    kind: str
    image: int
    groups: list[_Group]
    left: int


def edge_problems(config: ModelConfig, flow: FlowConfig, work: EdgeWork, adds: Sequence[Add]) -> list[tuple[int, str]]:
    """Return all that is wrong, with its cycle.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig
    work : EdgeWork
        What the edge began.
    adds : sequence of Add
        In order.
    """
    times = _EdgeTimes(config, flow, work)
    times.check_multipliers()
    times.check_pixels()
    times.check_patches()
    times.check_images(adds)
    return times.wrong


def _pieces(config: ModelConfig, flow: FlowConfig) -> list[int]:
    """Return, of each pass of an image, how many pieces come behind its first one up to its last one."""
    places = {(number, begins): piece for piece, begins, number in edge_plan(config, flow).events.tolist()}
    return [places[number, 0] - places[number, 1] for number in range(len(places) // 2)]


class _EdgeTimes:
    """When everything happens that follows from what the edge began."""

    def __init__(self, config: ModelConfig, flow: FlowConfig, work: EdgeWork):
        self.config, self.flow, self.began = config, flow, work
        self.unit, self.settings = EdgeUnit(flow), edge_settings(config, flow, 1)
        self.pieces = _pieces(config, flow)
        self.wrong: list[tuple[int, str]] = []
        self.passes = [
            [self._pass(image, number, begun) for number, begun in enumerate(passes)]
            for image, passes in enumerate(work.passes)
        ]
        self.every_pass = [work for passes in self.passes for work in passes]
        self.classes = [self._classes(image, begun) for image, begun in enumerate(work.classes)]

    def _check(self, good: bool, cycle: int, what: str) -> None:
        if not good:
            self.wrong.append((cycle, what))

    # What follows from a beginning.

    def _groups(self, begun: int, which: Literal["patch", "class"], leave: Sequence[int]) -> Iterator[_Group]:
        steps, cycles = group_spans(self.settings, which)
        for number, count in enumerate(leave):
            first = begun + 1 + number * cycles
            captured = first + steps - 1 + self.unit.captured_stage
            yield _Group(first, first + steps - 1, captured, captured + count)

    def _pass(self, image: int, number: int, begun: int) -> _Work:
        settings, unit = self.settings, self.unit
        patches = min(unit.patches, settings["patches"] - number * unit.patches)
        leave = [patches * unit.group_chunks] * settings["patch_groups"]
        groups = list(self._groups(begun, "patch", leave))
        return _Work(begun, "pass", image, groups, groups[-1].left + unit.x_stage)

    def _classes(self, image: int, begun: int) -> _Work:
        groups = list(self._groups(begun, "class", [self.unit.channels] * self.settings["class_groups"]))
        return _Work(begun, "classes", image, groups, groups[-1].left + self.unit.logit_stage)

    def _opened(self, image: int) -> _Work:
        """An image begins with its prefix tokens, if there are any."""
        begun, chunks = self.began.opened[image], self.settings["prefix"] * self.settings["channel_chunks"]
        last = self.unit.told_cycles + chunks + self.unit.x_stage if chunks else 0
        return _Work(begun, "opened", image, [], begun + last)

    def _embedded(self, image: int) -> int:
        """Last write of x: of its patches, or again where these are normalised."""
        settings, norm = self.settings, self.unit.patch_norm
        if norm is None or not settings["patch_norm"]:
            return self.passes[image][-1].left
        tokens, words = settings["patch_norm_tokens"], settings["patch_norm_words"]
        return self.began.patched[image] + norm.norm_cycles(tokens, words)

    def _pooled(self, image: int) -> int:
        """Last read of x by the last norm."""
        return self._normed(image) - self.unit.norm_cycles(self.settings["channels"])

    def _normed(self, image: int) -> int:
        """Last write of y."""
        settings, unit = self.settings, self.unit
        row = settings["row_stride"] * settings["pool_tokens"] + unit.norm_cycles(settings["channels"])
        return self.began.norms[image] + settings["head_rows"] * row

    # Checks.

    def check_multipliers(self) -> None:
        """One thing at a time has steps and leaves; kinds follow each other when nothing is on its way."""
        opened = [self._opened(image) for image in range(len(self.passes))]
        every = sorted([*opened, *self.classes, *self.every_pass])
        for before, work in pairwise(every):
            chained = (before.kind, before.image) == (work.kind, work.image)
            what = f"{work.kind} of image {work.image} begins before the last sums have left"
            self._check(chained or work.begun > before.left, work.begun, what)
        for earlier, group in pairwise(group for work in every for group in work.groups):
            self._check(group.first > earlier.last, group.first, "the multipliers do two things at a time")
            added = group.first + self.unit.sum_stage
            self._check(added > earlier.left + self.unit.shift_stage, added, "sums are added to before they have left")

    def check_pixels(self) -> None:
        """A pass has all of its pixels, and they have not gone where those of an earlier one wait."""
        slots, every = self.settings["pass_slots"], self.every_pass
        whole = [cycle for passes in self.began.whole for cycle in passes]
        for number, (work, there) in enumerate(zip(every, whole, strict=True)):
            at = number % self.settings["passes"]
            what = f"pass {at} of image {work.image}"
            self._check(work.begun > there, work.begun, f"{what} begins before its pixels are there")
            if number >= slots:
                free = every[number - slots].groups[-1].last < there - self.pieces[at]
                self._check(free, there, f"pixels of {what} are written over those of an earlier one")

    def check_patches(self) -> None:
        """Patches are normalised when they are there, those of one image after those of another, as far as words go."""
        settings, norm, starts = self.settings, self.unit.patch_norm, self.began.patched
        if norm is None or not settings["patch_norm"]:
            self._check(set(starts) <= {UNKNOWN}, max(starts), "patches are normalised that have positions")
            return
        for image, start in enumerate(starts):
            there = self.passes[image][-1].left
            self._check(start > there, start, f"patches of image {image} are normalised before they are there")
            if image > 0:
                # A token takes `pace` cycles of reads; all that is behind them follows at the same pace.
                free = starts[image - 1] + settings["patch_norm_tokens"] * settings["patch_norm_pace"]
                what = f"patches of image {image} are normalised before those of the image before have been read"
                self._check(start >= free, start, what)

    def check_images(self, adds: Sequence[Add]) -> None:
        """Images have a bank of x, and y, one after the other; what is read is complete."""
        finished = self._check_x(adds)
        for image, start in enumerate(self.began.norms):
            classes = self.classes[image]
            there = self._normed(image)
            self._check(start > finished[image], start, f"the last norm begins before x of image {image} is complete")
            self._check(classes.begun > there, classes.begun, f"classes begin before y of image {image} is there")
            for work in self.every_pass:
                waits = there < work.begun < classes.begun
                self._check(not waits, work.begun, f"a pass begins while classes of image {image} wait")
            if image > 0:
                read = self.classes[image - 1].groups[-1].last
                self._check(start > read, start, f"y of image {image - 1} is written over before it is read")
            if image >= self.unit.banks:
                opened, freed = self.began.opened[image], self._pooled(image - self.unit.banks)
                self._check(opened > freed, opened, f"image {image} is opened before its bank of x is free")

    def _check_x(self, adds: Sequence[Add]) -> dict[int, int]:
        """Each word of x is written before it is read; return the last write of each image."""
        stage = ResidualAddUnit(self.flow).x_read_stage
        finished, written = defaultdict[int, int](lambda: LONG_AGO), dict[tuple[int, int, int], int]()
        for add in adds:
            image = add.of.image
            place = image, add.of.tile, add.group
            there = written.get(place, self._embedded(image))
            self._check(add.start + stage > there, add.start, f"x of {add.of} is read before it is written")
            if add.written is not None:
                written[place] = add.written
                finished[image] = max(finished[image], add.written)
        return finished
