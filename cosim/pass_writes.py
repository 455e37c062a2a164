"""What an engine with windows must write: pass by pass, the windows of a group of images in place of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..hw.probes import TURN_PROBE, pass_probe
from ..sim.engine.words import ceil_div
from ..sim.flow.edge import EdgeUnit
from ..sim.flow.pass_settings import NEIGHBOURS
from ..sim.flow.residual_add import ResidualAddUnit
from ..sim.mapping.expected import MERGED_SUMS, Expected, Ints
from ..sim.mapping.layout import token_words
from ..sim.mapping.pass_program import PassProgram
from ..sim.mapping.pass_taps import Taps, pass_taps, pass_tokens
from ..sim.mapping.pass_words import places_of
from ..sim.mapping.passes import Pass
from ..sim.network.stage_view import token_places
from ..sim.network.taps import taps_of
from .compare import Writes
from .order import Entry, Operation, in_order
from .session import Traces
from .writes import FlowWrites, edge_chunks


class PassWrites(FlowWrites):
    """What the windows of one pass make an engine write.

    Parameters
    ----------
    program : PassProgram
    one : Pass
    taps : mapping of str to ndarray [images, ...]
        All taps of the reference.
    first, count : int
        Number of the group's first image, and images of the group.
    """

    def __init__(self, program: PassProgram, one: Pass, taps: Taps, first: int, count: int):
        config = program.network.config
        mine = {name: values[first : first + count] for name, values in taps.items()}
        super().__init__(Expected(one.layout, program.network.tensors, pass_taps(config, one, mine)))
        self.one, self.first, self.count = one, first, count
        self._members, self._axes = pass_tokens(config, one), {tap.name: tap.axes for tap in taps_of(config)}
        parts = 1 + NEIGHBOURS if one.view.merge else 1
        shape = -1, one.view.windows, self.shape.tiles, parts, self.add.most_groups, self.add.side
        self._places = np.array(places_of(config, program.flow, one)).reshape(shape)

    def windows(self, taken: Sequence[bool]) -> Iterator[tuple[int, Writes]]:
        """Yield the number of an image and what is written for it.

        Parameters
        ----------
        taken : sequence of bool
            As of `in_order`.
        """
        one, flow = self.one, self.flow
        depth = one.view.depth if one.view.chained else 1
        count = one.rounds * self.count * one.view.windows
        for step in in_order(one.shape, one.table, flow.images, count, depth, taken):
            round_, window = divmod(step.image, self.count * one.view.windows)
            image, number = divmod(window, one.view.windows)
            if isinstance(step, Entry):
                found = [self._sign_norm(window, round_, False, step.tile)]
            else:
                operation = Operation(window, round_ + step.block, step.stream, step.tile, step.number)
                found = list(self._of_operation(operation, self.expected.operation(*operation)))
            for writes in found:
                block = min(round_ + step.block if isinstance(step, Operation) else round_, len(self._members) - 1)
                yield self.first + image, self._named(writes, block, number)

    def _named(self, writes: Writes, block: int, window: int) -> Writes:
        """Name elements as the network's tensors do: by the image's tokens, or by the window."""
        axes, index, members = self._axes[writes.tap], writes.index, self._members[block]
        if axes[0] == "head":
            return writes  # the whole image is a window
        if axes[0] == "token":

            def placed(write: int, element: int) -> tuple[int, ...]:
                token, *rest = index(write, element)
                return int(members[window, token]), *rest

            return replace(writes, index=placed)
        return replace(writes, index=lambda write, element: (window, *index(write, element)))

    def _x_keys(self, one: Operation, group: Ints, word: Ints) -> Ints:
        """Which rows are written, and where each of them lies: 0 in place of one that there is not."""
        add, (image, window) = self.add, divmod(one.image, self.one.view.windows)
        places = self._places[self._kind(one.block), window, one.tile, -1][group]  # [words, rows side by side]
        here = group[:, None] * add.side + np.arange(add.side) < self.shape.tile_rows[one.tile]
        bank = (self.first + image) % add.banks * add.bank_words
        addr = bank + (places + word[:, None]) % add.bank_words
        return np.concatenate([(here << np.arange(add.side)).sum(axis=1)[:, None], addr], axis=1)

    def _kind(self, block: int) -> int:
        """Which of the lists of places a block writes to."""
        return int(self.one.view.merge is None and bool(self.one.view.of[block].shift))

    def _goes_on(self, block: int) -> bool:
        """Whether a window goes on with the next block: only where it is the whole image."""
        return self.one.view.chained and super()._goes_on(block)

    def _tap(self, name: str, block: int) -> str:
        """Return the name of a block's tensor, or of the patch merging's."""
        merge = self.one.view.merge
        if merge is None:
            return super()._tap(name, block)
        return {"norm1": f"{merge.name}.norm", MERGED_SUMS: f"{merge.name}.reduction"}.get(name, merge.name)


def pass_writes(program: PassProgram, images: int, taps: Taps, traces: Traces) -> Iterator[tuple[int, Writes]]:
    """Yield the number of an image and what is written for it, group by group and pass by pass.

    Parameters
    ----------
    program : PassProgram
    images : int
        Of the run.
    taps : mapping of str to ndarray [images, ...]
        All taps of the reference.
    traces : mapping of str to ProbeTrace
        When passes began, and what lanes took.
    """
    turns, begun = traces[TURN_PROBE.name], traces[pass_probe(program.flow).name].cycles
    ends = [*begun[1:].tolist(), 1 << 62]
    group = program.group
    at = 0
    for first in range(0, images, group):
        count = min(group, images - first)
        for image in range(first, first + count):
            yield from edge_writes(program, image, taps)
        for one in program.passes:
            inside = (turns.cycles > begun[at]) & (turns.cycles <= ends[at]) if at < len(begun) else []
            taken = [bool(follows) for follows in turns.keys[inside, 0]] if at < len(begun) else []
            yield from PassWrites(program, one, taps, first, count).windows(taken)
            at += 1


def edge_writes(program: PassProgram, image: int, taps: Taps) -> Iterator[tuple[int, Writes]]:
    """Yield what the edge writes of an image's x: chunks of its patches, then words of normalised ones.

    Parameters
    ----------
    program : PassProgram
    image : int
    taps : mapping of str to ndarray [images, ...]
    """
    config, flow = program.network.config, program.flow
    unit, add = EdgeUnit(flow), ResidualAddUnit(flow)
    bank = image % add.banks * add.bank_words
    firsts = token_words(config, flow, 0)[token_places(config, 0)]
    name = "patch_embed.proj" if config.patch_norm else "patch_embed"
    x, chunks = taps[name][image], list(edge_chunks(config, unit))
    values, valid = np.zeros((2, len(chunks), unit.chunk), np.int64)
    keys = np.zeros((len(chunks), 2), np.int64)
    for number, (token, channel) in enumerate(chunks):
        part = x[token, channel : channel + unit.chunk]
        values[number, : len(part)], valid[number, : len(part)] = part, 1
        keys[number] = 1 << channel % add.columns // unit.chunk, bank + firsts[token] + channel // add.columns

    def index(write: int, element: int) -> tuple[int, ...]:
        token, channel = chunks[write]
        return token, channel + element

    yield image, Writes("patch_embed", name, keys, values, valid.astype(bool), index)
    if config.patch_norm:
        # Patches are normalised in the order of their places in the parts of a bank.
        order = np.lexsort((firsts // add.part_words, firsts % add.part_words))
        words = ceil_div(config.embed_dim, flow.engine.columns) * add.parts
        yield image, _normed(taps["patch_embed"][image], order, bank + firsts, words, add.columns)


def _normed(x: Ints, order: Ints, firsts: Ints, words: int, columns: int) -> Writes:
    """Words of normalised patches, in an order of tokens."""
    wide = np.zeros((2, len(x), words * columns), np.int64)
    wide[0, :, : x.shape[1]], wide[1, :, : x.shape[1]] = x[order], 1
    values, valid = (part.reshape(-1, columns) for part in wide)
    keys = (firsts[order][:, None] + np.arange(words)).reshape(-1, 1)

    def index(write: int, element: int) -> tuple[int, ...]:
        token, word = divmod(write, words)
        return int(order[token]), word * columns + element

    return Writes("patch_norm", "patch_embed", keys, values, valid.astype(bool), index)
