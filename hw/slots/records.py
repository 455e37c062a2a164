"""What a lane works on in a turn, and the registers that say so."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Mux, Value
from amaranth.lib import data

from ...sim.flow.config import FlowConfig
from ...sim.flow.operation import Operands
from ...sim.flow.residual_add import ResidualAddUnit
from ...sim.flow.settings import setting_bits

#: Addresses that move on from block to block, with the setting that says by how much.
BLOCK_STEPS = {
    "weights": "weight_step",
    "preload": "preload_step",
    "layer": "layer_step",
    "head": "head_step",
    "head_eps": "head_eps_step",
    "table": "table_step",
}


def block_steps(flow: FlowConfig) -> dict[str, str]:
    """Return `BLOCK_STEPS`, with that of the relative position bias where there are windows.

    Parameters
    ----------
    flow : FlowConfig
    """
    return BLOCK_STEPS | ({"bias": "bias_step"} if flow.windows else {})


def record_layout(flow: FlowConfig) -> data.StructLayout:
    """Return the fields of a record.

    valid: the lane works on something; bank: of its x; block, last: of the image, and whether it is the last one;
    weights, preload, head, head_eps, table: first word of the block's parameters; layer: of its proj, among the
    residual's and, for what is behind norm1, among those of the norms.
    With windows: bias: first word of the block's; place: first one of the window's places; kind: whether it is in the
    last row, and the last column, of shifted windows; opens, closes: with streamed weights, the first one with its
    block's, and the last one.

    Parameters
    ----------
    flow : FlowConfig
    """
    bits = setting_bits(flow)
    layer = ResidualAddUnit(flow)
    opens = {"opens": 1, "closes": 1} if flow.windows and flow.streamed else {}
    return data.StructLayout(
        {
            "valid": 1,
            "bank": max(1, (layer.banks - 1).bit_length()),
            "block": bits["depth_last"],
            "last": 1,
            "weights": Operands(flow).fields["w_addr"],
            "preload": Operands(flow).fields["preload_addr"],
            "layer": layer.theta_addr_bits + 1,
            "head": bits["head_step"],
            "head_eps": (2 * (flow.layers + flow.all_heads)).bit_length(),
            "table": bits["table_step"],
            **({"bias": bits["bias_step"], "place": bits["first_place"], "kind": 2} if flow.windows else {}),
            **opens,
        }
    )


def next_address(flow: FlowConfig, settings: Any, record: Any, name: str) -> Value:
    """Return an address of the next block: streamed weights have two places in turn, or a ring.

    Parameters
    ----------
    flow : FlowConfig
    settings, record : View
        Of the network; of a block.
    name : str
        Of `block_steps`.
    """
    if name == "weights" and flow.streamed and not flow.weight_ring:
        return Mux(record.weights == 0, Operands(flow).weight_place, 0)
    step = settings[block_steps(flow)[name]]
    # A block has two norms, and two layers that add to x.
    return record[name] + (step << 1 if name == "layer" else step)


def turns(flow: FlowConfig) -> int:
    """Return the turns whose records are kept: of each lane the one at hand, and the next one.

    Parameters
    ----------
    flow : FlowConfig
    """
    return 2 * flow.images
