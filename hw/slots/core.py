"""The blocks of a network: slots, array, and the units behind it."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...sim.flow.config import FlowConfig
from ...sim.flow.head_norm import head_unit
from ...sim.flow.matmul import MatmulUnit
from ...sim.flow.operation import Way
from ...sim.flow.residual_add import ResidualAddUnit
from ...sim.flow.settings import setting_bits
from ...sim.flow.sign_norm import SignNormUnit
from ...sim.flow.softmax import SoftmaxUnit
from ...sim.timing.replay_state import causes_of
from ..array.array_path import SUMS, ArrayPath
from ..flow.head_norm import HeadNorm
from ..flow.head_rows import HeadRows
from ..flow.residual_add import ResidualAdd
from ..flow.residual_rows import ResidualRows
from ..flow.sign_norm import SignNorm
from ..flow.softmax import Softmax
from ..parts.component import Component, reset_by
from ..parts.connect import connect
from ..parts.stream import LOAD_BUS
from .slots import Slots
from .table_keeper import TableKeeper
from .table_loader import TableLoader
from .turns_of_windows import windows_ports
from .weights_told import weights_ports
from .x_banks import XBanks
from .x_rows import XRows


class Core(Component):
    """Images whose patches are embedded go through all blocks, several at a time; each is finished in its bank of x.

    Timing: `sim.timing.walk.replay`, exactly; the first slot comes when the memories of bits are cleared.

    Numerics: docs/semantics.md 2 to 9, to the bit.

    Parameters
    ----------
    flow : FlowConfig
    chunk : int
        Elements that the edge writes together.

    Members
    -------
    settings : In
        Of the network.
    embedded, finished : In(1), Out(1)
        Pulse: x of one more image is in the next bank; the oldest image is through.
    edge_read, edge_write : In
        The edge's ports of x.
    active : Out(1)
        The array takes a step.
    stalls : Out
        By `Cause`, whether the array stood still for it.
    saturations : Out
        Elements of x that saturated; only the total matters.
    load, bank : In
        Load bus, and the bank in use.
    weights_there, weights_opened, weights_wait, weights_read : In, Out, Out, Out
        Of `Slots`; only where weights are streamed.
    weights_write : In(write_port)
        Of `ArrayPath`; likewise.
    restart, between : In(1)
        Forget everything but x, and begin; settings are being replaced, so that no slot may pass: only with windows.
    window_there, window, window_take : In, In, Out
        Of `Slots`; likewise.
    norm_read, norm_write : In
        Ports of x of the edge's norm of patches; likewise.
    """

    def __init__(self, flow: FlowConfig, chunk: int):
        self.flow = flow
        self.units: dict[str, Any] = {
            "slots": Slots(flow),
            "array": ArrayPath(MatmulUnit(flow)),
            "residual_add": (ResidualRows if flow.windows else ResidualAdd)(ResidualAddUnit(flow)),
            "sign_norm": SignNorm(SignNormUnit(flow)),
            **self._attending(flow),
            "x": (XRows if flow.windows else XBanks)(ResidualAddUnit(flow), chunk),
        }
        members = self.units["x"].signature.members
        super().__init__(
            {
                "settings": In(data.StructLayout(setting_bits(flow))),
                "embedded": In(1),
                "finished": Out(1),
                **{name: members[name] for name in self._x_ports},
                "active": Out(1),
                "stalls": Out(len(causes_of(flow.streamed))),
                "saturations": Out(range(flow.norm_lanes + 1)),
                "load": In(LOAD_BUS),
                "bank": In(1),
                **self._streamed(),
                **windows_ports(flow),
                **({"restart": In(1), "between": In(1)} if flow.windows else {}),
            }
        )

    @staticmethod
    def _attending(flow: FlowConfig) -> dict[str, Any]:
        """Return HeadNorm and the softmax, where the engine has them; what they would give is 0 else."""
        found: dict[str, Any] = {}
        if flow.has_head_norm:
            found["head_norm"] = (HeadRows if flow.windows else HeadNorm)(head_unit(flow))
        if flow.has_softmax:
            found |= {
                "softmax": Softmax(SoftmaxUnit(flow)),
                "tables": (TableKeeper if flow.windows else TableLoader)(flow),
            }
        return found

    @property
    def _x_ports(self) -> tuple[str, ...]:
        """Ports of x that the edge has."""
        return ("edge_read", "edge_write", *(("norm_read", "norm_write") if self.flow.windows else ()))

    def elaborate(self, platform: object) -> Module:
        """Connect the units."""
        m = Module()
        for name, unit in self.units.items():
            restarts = self.flow.windows and name != "x"
            m.submodules[name] = reset_by(self.restart, unit) if restarts else unit
            if hasattr(unit, "load"):
                m.d.comb += [connect(unit.load, self.load), connect(unit.bank, self.bank)]
        slots, array, x = (self.units[name] for name in ("slots", "array", "x"))
        self._begin(m)
        m.d.comb += [
            *(connect(slots.settings, self.settings), connect(slots.embedded, self.embedded)),
            *(connect(array.op.en, slots.en), array.keys.eq(self.settings.tokens), slots.done.eq(array.done)),
            *(connect(array.op[name], slots.op[name]) for name in slots.op.shape().members),
            *(connect(self.active, array.active), connect(self.stalls, slots.stalls)),
        ]
        for name in self._x_ports:
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(x, name))
        for name, member in self._streamed().items():
            if member.is_signature:
                wiring.connect(m, wiring.flipped(self.weights_write), array.weights_write)
            else:
                inner, outer = getattr(slots, name), getattr(self, name)
                m.d.comb += connect(inner, outer) if member.flow is In else connect(outer, inner)
        self._residual(m)
        if self.flow.has_head_norm:
            self._heads(m)
        if self.flow.has_softmax:
            self._attention(m)
        if self.flow.windows:
            self._windows(m)
        return m

    def _begin(self, m: Module) -> None:
        """Clear the memories of bits behind a reset, and let the slots begin then."""
        slots, array = self.units["slots"], self.units["array"]
        if not self.flow.windows:
            begun = Signal()
            m.d.sync += begun.eq(1)
            m.d.comb += [array.clear.eq(~begun), slots.hold.eq(~begun | array.clearing)]
            return
        fresh = Signal()
        m.d.sync += connect(fresh, self.restart)
        m.d.comb += [connect(array.clear, fresh), slots.hold.eq(self.between | fresh | array.clearing)]

    def _windows(self, m: Module) -> None:
        """Windows for the lanes; biases and masks of their scores."""
        slots, array, softmax, settings = (*(self.units[name] for name in ("slots", "array", "softmax")), self.settings)
        for name, member in windows_ports(self.flow).items():
            inner, outer = getattr(slots, name), getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        m.d.comb += [
            *(connect(softmax.w_bias, array.score_bias), connect(softmax.w_mask, array.score_mask)),
            connect(softmax.w_kind, array.score_kind),
            *(connect(softmax.w_step, settings.biased), connect(softmax.scored, settings.scored)),
        ]

    def _streamed(self) -> dict[str, wiring.Member]:
        """Return the ports of streamed weights."""
        if not self.flow.streamed:
            return {}
        return {**weights_ports(self.flow), "weights_write": self.units["array"].signature.members["weights_write"]}

    def _residual(self, m: Module) -> None:
        """proj and fc2 to x; what is staged to the norms."""
        slots, array, add, norm, x = (self.units[name] for name in ("slots", "array", "residual_add", "sign_norm", "x"))
        wiring.connect(m, add.x_read, x.read)
        wiring.connect(m, add.x_write, x.write)
        wiring.connect(m, add.staged, norm.staged)
        m.d.comb += [
            *(connect(add.put, slots.add_put), add.job.eq(slots.add_job)),
            *(connect(add.sums_en, array.sums_en[SUMS.index(Way.RESIDUAL)]), connect(add.sums, array.sums)),
            connect(add.sums_last, array.sums_last),
            *(norm.stats.eq(add.stats), connect(norm.tile_put, add.tile_put), norm.tile.eq(add.tile)),
            *(connect(norm.tile_ready, add.tile_ready), connect(norm.norm_free, slots.norm_free)),
            *(array.norm_bits.eq(norm.bits), connect(slots.norm_full, norm.norm_full)),
            *(connect(slots.staging_free, norm.staging_free), connect(slots.staging_slot, norm.staging_slot)),
            *(connect(slots.sums_read, add.sums_read), connect(self.finished, add.finished)),
            connect(self.saturations, add.saturations),
        ]

    def _heads(self, m: Module) -> None:
        """q and k to HeadNorm."""
        slots, array, norm = (self.units[name] for name in ("slots", "array", "head_norm"))
        m.d.comb += [
            *(connect(norm.put, slots.head_put), norm.job.eq(slots.head_job)),
            *(connect(norm.sums_en, array.sums_en[SUMS.index(Way.HEAD)]), connect(norm.sums, array.sums)),
            *(connect(norm.sums_last, array.sums_last), connect(norm.sums_end, array.sums_end)),
            *(array.head_bits.eq(norm.bits), connect(array.head_done, norm.done)),
            connect(slots.head_read, norm.sums_read),
        ]

    def _attention(self, m: Module) -> None:
        """Scores to the softmax, with tables of Exp turn by turn."""
        slots, array, softmax, tables = (self.units[name] for name in ("slots", "array", "softmax", "tables"))
        wiring.connect(m, tables.write, softmax.table)
        m.d.comb += [
            connect(softmax.w_en, array.sums_en[SUMS.index(Way.SCORE)]),
            *(connect(softmax.w_data, array.scores), connect(softmax.w_rows, array.score_rows)),
            *(connect(softmax.w_keys, array.score_keys), connect(softmax.w_set, array.score_set)),
            *(connect(softmax.w_head, array.score_head), connect(softmax.attention_freed, slots.attention_freed)),
            *(connect(slots.score_free, softmax.score_free), connect(slots.bits_full, softmax.attention_full)),
            *(connect(tables.put, slots.table_put), connect(tables.first, slots.table_first)),
            *(tables.words.eq(self.settings.table_step), connect(tables.jobs_last, self.settings.table_jobs_last)),
            *(connect(tables.job_done, softmax.attention_full), connect(slots.tables_full, tables.full)),
            *(connect(array.attention_bits[name], getattr(softmax, port)) for name, port in _ATTENTION_BITS.items()),
        ]


#: Fields of the attention's bits, and their ports at the softmax.
_ATTENTION_BITS = {"en": "bits_en", "slot": "bits_slot", "group": "bits_row", "word": "bits_chunk", "data": "bits"}
