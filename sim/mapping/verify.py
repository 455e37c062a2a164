"""Whether the times at which an array takes its slots are right: what the model's credits promise, found without them.

From slots and their cycles alone, each unit's jobs are put one behind the other as its description says. Then nothing
may be read before it is there, written over before it is read, or go where something else is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ..engine.memories import TABLE_WORDS
from ..errors import check
from ..flow.config import FlowConfig
from ..flow.edge import EdgeUnit
from ..flow.head_norm import HeadNormUnit
from ..flow.lane_unit import LONG_AGO
from ..flow.matmul import MatmulUnit
from ..flow.residual_add import ResidualAddUnit
from ..flow.sign_norm import SignNormUnit
from ..flow.softmax import SoftmaxUnit
from ..flow.streams import Part, Stream, TileShape
from ..flow.table import SlotTable
from ..network.config import ViTConfig
from ..timing.edge_times import EdgeWork, edge_work
from ..timing.plan import TABLE_WRITE_CYCLES, Latencies, plan_of, ring_slots
from ..timing.replay_state import ANSWERED, Ring, new_state
from ..timing.trace import Taken, Tile, trace
from .verify_edge import Add, edge_problems

#: Blocks of a run that is checked, at most.
_BLOCKS = 2
#: Problems that a message names.
_SHOWN = 4
#: Of what has not happened yet at the end.
_NEVER = 1 << 60


def verify_run(config: ViTConfig, flow: FlowConfig, table: SlotTable) -> dict[Ring, int]:
    """Check a table in a run, from the first pixel to the last logit; return how many slots of each ring are taken.

    The run has as many blocks as one needs to follow another, and so many images that each bank of x is used again.

    Parameters
    ----------
    config : ViTConfig
    flow : FlowConfig
    table : SlotTable

    Raises
    ------
    BivitError
        When the table locks up, or with the first of the things that are wrong, and when.
    """
    shallow = replace(config, depth=min(config.depth, _BLOCKS))
    plan = plan_of(shallow, flow, table, EdgeUnit(flow).banks + 1)
    state = new_state(plan)
    slots = trace(plan, state)
    return verify(shallow, flow, slots, edge=edge_work(plan.edge, state.edge, state.images[ANSWERED]))


def verify(
    config: ViTConfig,
    flow: FlowConfig,
    slots: Sequence[Taken],
    latencies: Latencies | None = None,
    *,
    edge: EdgeWork | None = None,
) -> dict[Ring, int]:
    """Check slots and their cycles; return how many slots of each ring are taken at most.

    Parameters
    ----------
    config : ViTConfig
    flow : FlowConfig
    slots : sequence of Taken
        Of a run, in order.
    latencies : Latencies, optional
        The engine's own when left out.
    edge : EdgeWork, optional
        What the edge began; left out, neither the edge nor x is checked.

    Raises
    ------
    BivitError
        With the first of the things that are wrong, and when.
    """
    most, wrong = problems(config, flow, slots, latencies, edge=edge)
    first = "; ".join(f"cycle {cycle}: {what}" for cycle, what in wrong[:_SHOWN])
    check(not wrong, f"the table's times are wrong in {len(wrong)} places: {first}")
    return most


def problems(
    config: ViTConfig,
    flow: FlowConfig,
    slots: Sequence[Taken],
    latencies: Latencies | None = None,
    *,
    edge: EdgeWork | None = None,
) -> tuple[dict[Ring, int], list[tuple[int, str]]]:
    """Return how many slots of each ring are taken at most; and all that is wrong, with its cycle.

    Parameters
    ----------
    config, flow, slots, latencies, edge
        As of `verify`.
    """
    times = _Times(config, flow, slots, latencies or Latencies.of(flow))
    times.check_array()
    times.check_operands()
    most = times.check_rings()
    found = edge_problems(config, flow, edge, times.adds) if edge else []
    return most, sorted(times.wrong + found)


@dataclass
class _Ring:
    """When slots of a ring are taken, and given back, in order."""

    taken: list[int]
    freed: list[int]


class _Times:
    """When everything happens that slots lead to."""

    def __init__(self, config: ViTConfig, flow: FlowConfig, slots: Sequence[Taken], latencies: Latencies):
        self.config, self.flow, self.slots, self.latencies = config, flow, slots, latencies
        self.shape = TileShape(config, flow.engine.rows, flow.engine.columns)
        self.steps, self.operations = self.shape.steps, self.shape.operations
        self.softmax, self.head_norm = self.shape.softmax, self.shape.head_norm
        self.wrong: list[tuple[int, str]] = []
        self.work = [one for one in slots if one.of is not None]
        self.at = {(one.stream, one.of, one.number): one.cycle for one in self.work}
        self.adds: list[Add] = []
        self.rings: dict[Ring, _Ring] = defaultdict(lambda: _Ring([], []))
        #: When bits of a tile, or of a head of it, are written: by what reads them.
        self.ready: dict[tuple[Stream, Tile | None, int], int] = {}
        self.written: dict[tuple[Part, Tile], int] = defaultdict(lambda: LONG_AGO)
        self._sign_path()
        self._head_norms()
        self._residual_adds()
        self._attention()
        self._fixed_rings()

    # What follows from an operation.

    def _rows(self, of: Tile) -> int:
        return self.shape.tile_rows[of.tile]

    def _end(self, stream: Stream, of: Tile, number: int) -> int:
        """End of an operation's steps; of one that never was, as late as can be."""
        return self.at.get((stream, of, number), _NEVER) + self.steps[stream]

    def _last(self, stream: Stream, of: Tile) -> int:
        return self._end(stream, of, self.operations[stream] - 1)

    def _arrived(self, one: Taken) -> int:
        """Last word of an operation's sums."""
        return one.cycle + self.steps[one.stream] + self.latencies.capture + self.flow.drain_cycles - 1

    def _part(self, one: Taken) -> tuple[Part, int]:
        return self.shape.qkv_order[one.number]

    def leaves_as(self, one: Taken) -> str:
        """How an operation's sums leave: as sums, as rows of bits, or as a tile of bits."""
        if one.stream is Stream.QKV:
            part, _ = self._part(one)
            if part is Part.VALUE or not self.head_norm:
                return "tile" if part is Part.QUERY else "rows"
            return "sums"
        sums = one.stream in (Stream.PROJ, Stream.FC2) or (one.stream is Stream.SCORES and self.softmax)
        return "sums" if sums else "tile"

    def _sign_path(self) -> None:
        """Bits that the array makes itself."""
        next_stream = {Stream.CONTEXT: Stream.PROJ, Stream.FC1: Stream.FC2}
        for one in self.work:
            assert one.of is not None
            captured = one.cycle + self.steps[one.stream] + self.latencies.capture
            way, bits = self.leaves_as(one), captured + self.latencies.bits
            if one.stream is Stream.QKV and way != "sums":
                part, _ = self._part(one)
                rows = captured + self.latencies.rows + -(-self._rows(one.of) // self.flow.value_rows)
                self.written[part, one.of] = max(self.written[part, one.of], rows if way == "rows" else bits)
            elif one.stream in next_stream:
                self.ready[next_stream[one.stream], one.of, 0] = bits
            elif one.stream is Stream.SCORES and way == "tile":
                self.ready[Stream.CONTEXT, one.of, one.number // self.shape.key_groups] = bits

    # Units.

    def _head_norms(self) -> None:
        """Jobs of HeadNorm: heads of q and k, when the last group's sums have come."""
        unit, free, apply_free = HeadNormUnit(self.flow), LONG_AGO, LONG_AGO
        for one in self.work:
            if one.stream is not Stream.QKV or self.leaves_as(one) != "sums":
                continue
            assert one.of is not None
            part, group = self._part(one)
            if group % self.shape.head_groups == 0:
                self.rings[Ring.HEAD].taken.append(one.cycle)
            if group % self.shape.head_groups == self.shape.head_groups - 1:
                times = unit.times(self._rows(one.of), self.config.head_dim, self._arrived(one), free, apply_free)
                free, apply_free = times.free, times.apply_free
                self.rings[Ring.HEAD].freed.append(times.apply_free)
                self.written[part, one.of] = max(self.written[part, one.of], times.done)

    def _residual_adds(self) -> None:
        """Jobs of ResidualAdd, and behind a tile's last one its roots and its norm."""
        unit, sign = ResidualAddUnit(self.flow), SignNormUnit(self.flow)
        free = root_free = sign_free = LONG_AGO
        nexts = {one.turn: one.of for one in self.slots if one.stream is Stream.QKV and one.number == one.tile == 0}
        for one in self.slots:
            if one.stream not in (Stream.PROJ, Stream.FC2):
                continue
            last = one.number == self.operations[one.stream] - 1
            following = self._following(one, nexts)
            if one.number == 0 and following is not None:
                staging = Ring.STAGING2 if one.stream is Stream.PROJ else Ring.STAGING1
                self.rings[staging].taken.append(one.cycle)
            if one.of is not None:
                times = unit.times(self._rows(one.of), self._arrived(one), free)
                free = times.free
                self.adds.append(Add(times.start, times.written, one.of, one.number))
                self.rings[Ring.RESIDUAL].taken.append(one.cycle)
                self.rings[Ring.RESIDUAL].freed.append(times.read)
            if not last or following is None:
                continue
            rows = self._rows(following)
            if following.block == 0 and one.stream is Stream.FC2:
                # x of a new image is read, behind what was added to the one before.
                for group in range(self.operations[Stream.FC2]):
                    times = unit.times(rows, LONG_AGO if one.of is not None else one.cycle + 1, free)
                    free = times.free
                    self.adds.append(Add(times.start, None, following, group))
            roots = unit.roots(rows, times.summed, root_free)
            root_free = roots.free
            sign_free = self._sign_norm(sign, following, one.stream, roots.rooted, sign_free)

    def _following(self, one: Taken, nexts: dict[int, Tile | None]) -> Tile | None:
        """What is normed behind a slot's layer."""
        if one.stream is Stream.PROJ:
            return one.of
        of = nexts.get(one.turn)
        return None if of is None else Tile(of.image, of.block, one.tile)

    def _sign_norm(self, unit: SignNormUnit, of: Tile, behind: Stream, rooted: int, free: int) -> int:
        """Norm a tile; return when the next one may be."""
        first = behind is Stream.FC2
        ring, staging = (Ring.NORM1, Ring.STAGING1) if first else (Ring.NORM2, Ring.STAGING2)
        reader = Stream.QKV if first else Stream.FC1
        times = unit.times(self._rows(of), self.config.embed_dim, rooted, free, credit=self._credit(ring))
        self.rings[ring].taken.append(times.start)
        self.rings[ring].freed.append(self._last(reader, of))
        self.rings[staging].freed.append(times.free)
        self.ready[reader, of, 0] = times.full
        return times.free

    def _credit(self, ring: Ring) -> int:
        """When a unit gets the slot that it takes next."""
        place = len(self.rings[ring].taken) - ring_slots(self.flow)[ring]
        return self.rings[ring].freed[place] if place >= 0 else LONG_AGO

    def _attention(self) -> None:
        """Attention bits of each head of a tile: slots, and jobs of the softmax."""
        unit, groups, inner = SoftmaxUnit(self.flow), self.shape.key_groups, self.shape.head_groups
        sum_free = compare_free = LONG_AGO
        for one in self.work:
            if one.stream is not Stream.SCORES:
                continue
            assert one.of is not None
            head, group = divmod(one.number, groups)
            if group == 0:
                self.rings[Ring.SCORE if self.softmax else Ring.ATTENTION].taken.append(one.cycle)
            if group < groups - 1:
                continue
            freed = self._end(Stream.CONTEXT, one.of, (head + 1) * inner - 1)
            if self.softmax:
                times = unit.times(
                    self._rows(one.of),
                    self.config.num_tokens,
                    arrived=self._arrived(one),
                    sum_free=sum_free,
                    compare_free=compare_free,
                    attention_freed=self._credit(Ring.ATTENTION),
                )
                sum_free, compare_free = times.sum_end, times.compare_end
                self.rings[Ring.SCORE].freed.append(times.score_free)
                self.rings[Ring.ATTENTION].taken.append(times.compare_start)
                self.ready[Stream.CONTEXT, one.of, head] = times.attention_full
                self._tables(one.of, head, times.attention_full)
            self.rings[Ring.ATTENTION].freed.append(freed)

    def _tables(self, of: Tile, head: int, full: int) -> None:
        """A set of tables of Exp is free behind the last attention bits of a turn, and taken when it must be there."""
        if of.tile == 0 and head == 0:
            # With windows the set may have them from the turn before the last one: then it is taken for a cycle.
            words = 1 if self.flow.windows else self.config.num_heads * TABLE_WORDS
            loaded = self.at[Stream.SCORES, of, 0] - words - TABLE_WRITE_CYCLES
            self.rings[Ring.TABLES].taken.append(loaded)
        if of.tile == self.shape.tiles - 1 and head == self.config.num_heads - 1:
            self.rings[Ring.TABLES].freed.append(full)

    def _fixed_rings(self) -> None:
        """Rings that slots take, and give back."""
        last = self.shape.tiles - 1
        for one in self.work:
            of = one.of
            assert of is not None
            if one.number > 0:
                continue
            if one.stream is Stream.QKV:
                self._both(Ring.QUERY, one.cycle, self._last(Stream.SCORES, of))
                if of.tile == 0:
                    self._both(Ring.KEYS, one.cycle, self._last(Stream.SCORES, of._replace(tile=last)))
                    self._both(Ring.VALUES, one.cycle, self._last(Stream.CONTEXT, of._replace(tile=last)))
            elif one.stream is Stream.CONTEXT:
                self._both(Ring.CONTEXT, one.cycle, self._last(Stream.PROJ, of))
            elif one.stream is Stream.FC1:
                self._both(Ring.HIDDEN, one.cycle, self._last(Stream.FC2, of))

    def _both(self, ring: Ring, taken: int, freed: int) -> None:
        self.rings[ring].taken.append(taken)
        self.rings[ring].freed.append(freed)

    # Checks.

    def _check(self, good: bool, cycle: int, what: str) -> None:
        if not good:
            self.wrong.append((cycle, what))

    def check_array(self) -> None:
        """Every operation is there once, has its steps for itself, and its sums or bits have a way out."""
        images = {of.image for _, of, _ in self.at if of is not None}
        whole = len(images) * self.config.depth * self.shape.tiles * sum(self.operations.values())
        self._check(
            len(self.at) == len(self.work) == whole, 0, f"{len(self.work)} operations are not {whole}, once each"
        )
        for what, gap in (("", 1), ("sums", self.flow.drain_cycles), ("rows", MatmulUnit(self.flow).writer_gap)):
            ends = [(o.cycle, self.steps[o.stream]) for o in self.work if what in ("", self.leaves_as(o))]
            for (cycle, steps), (after, later) in pairwise(ends):
                self._check(after >= cycle + steps, after, "an operation begins before the one before it ends")
                self._check(
                    after + later >= cycle + steps + gap, after, f"{what} leave before those before them are gone"
                )

    def check_operands(self) -> None:
        """What an operation reads is there."""
        for one in self.work:
            assert one.of is not None
            for name, ready in self._operands(one):
                self._check(
                    one.cycle > ready, one.cycle, f"{one.stream.name} of {one.of} begins before {name} is there"
                )

    def _operands(self, one: Taken) -> Iterable[tuple[str, int]]:
        assert one.of is not None
        if one.stream is Stream.SCORES:
            yield "q", self._whole(Part.QUERY, one.of)
            if one.number == one.of.tile == 0:
                yield "k", self._of_all(Part.KEY, one.of)
        elif one.stream is Stream.CONTEXT:
            head = one.number // self.shape.head_groups
            yield "its attention", self.ready.get((one.stream, one.of, head), _NEVER)
            if one.number == one.of.tile == 0:
                yield "v", self._of_all(Part.VALUE, one.of)
        else:
            yield "its operand", self.ready.get((one.stream, one.of, 0), _NEVER)

    def _whole(self, part: Part, of: Tile) -> int:
        return self.written.get((part, of), _NEVER)

    def _of_all(self, part: Part, of: Tile) -> int:
        """When all tiles of an image's block are written."""
        return max(self._whole(part, of._replace(tile=tile)) for tile in range(self.shape.tiles))

    def check_rings(self) -> dict[Ring, int]:
        """No ring has more slots taken than it has; return the most of each."""
        most = {}
        for ring, slots in zip(Ring, ring_slots(self.flow), strict=True):
            taken, freed = self.rings[ring].taken, sorted(self.rings[ring].freed)
            place, most[ring] = 0, 0
            for number, cycle in enumerate(sorted(taken)):
                while place < len(freed) and freed[place] < cycle:
                    place += 1
                most[ring] = max(most[ring], number + 1 - place)
                self._check(
                    number + 1 - place <= slots, cycle, f"more than {slots} slots of {ring.name.lower()} are taken"
                )
        return most
