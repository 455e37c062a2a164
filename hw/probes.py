"""The ports of an engine that a co-simulation observes, by their hierarchical names in the Verilog."""

from __future__ import annotations

from dataclasses import dataclass

from ..sim.engine.commands import OperandMemory
from ..sim.engine.config import EngineConfig
from ..sim.engine.memories import Y_BITS, z_bits
from ..sim.engine.norm_params import norm_params
from ..sim.network.formats import HEAD_BIAS_BITS


@dataclass(frozen=True)
class Probe:
    """One observed write port.

    Parameters
    ----------
    name : str
        As in `sim.program.expected.Writes`.
    enable : str
        Signal that is high when a write happens.
    keys : tuple of str
        Address signals.
    data : str
        Data signal.
    elements, bits : int
        Elements in `data` and bits of each, the first least significant.
    signed : bool
        Whether elements are two's complement.
    """

    name: str
    enable: str
    keys: tuple[str, ...]
    data: str
    elements: int
    bits: int
    signed: bool


def probes(engine: EngineConfig) -> list[Probe]:
    """Return all probes of an engine; names are relative to the top module."""
    n = engine.lanes
    norm, head_norm = norm_params(engine, "sign_norm"), norm_params(engine, "head_norm")
    found = [
        Probe(
            "x", "datapath.x.w_en", ("datapath.x.w_addr",), "datapath.x.w_data", n, engine.formats.residual_bits, True
        ),
        Probe(
            "sums",
            "datapath.matmul.drain_en",
            ("datapath.matmul.drain_row", "datapath.matmul.drain_chunk"),
            "datapath.matmul.drain_data",
            n,
            engine.acc_bits,
            True,
        ),
    ]
    for name in map(str, OperandMemory):
        store = f"datapath.bit_store.{name}"
        found.append(
            Probe(name, f"{store}.w_en", (f"{store}.w_addr", f"{store}.w_slot"), f"{store}.w_data", n, 1, False)
        )
    for unit, params in (("sign_norm", norm), ("head_norm", head_norm)):
        path = f"datapath.{unit}"
        for what, bits, signed in (("s1", params.s1_bits, True), ("r", params.r_bits, False)):
            found.append(
                Probe(
                    f"{unit}_{what}", f"{path}.stat_en", (f"{path}.stat_row",), f"{path}.stat_{what}", 1, bits, signed
                )
            )
    attention = "datapath.attention_threshold"
    for what, bits in (("m", engine.score_bits), ("z", z_bits(engine))):
        found.append(
            Probe(
                f"attention_{what}",
                f"{attention}.{what}_en",
                (f"{attention}.{what}_row",),
                f"{attention}.{what}_value",
                1,
                bits,
                False,
            )
        )
    head, dense = "datapath.head", "datapath.dense"
    found += [
        Probe("norm_q", f"{head}.q_en", (), f"{head}.q_value", 1, engine.formats.head_m + 1, False),
        Probe("y", f"{head}.y_w_en", (f"{head}.y_w_addr",), f"{head}.y_w_data", 1, Y_BITS, True),
        Probe(
            "logits",
            f"{dense}.logit_w_en",
            (f"{dense}.logit_w_addr",),
            f"{dense}.logit_w_data",
            n,
            HEAD_BIAS_BITS,
            True,
        ),
    ]
    return found
