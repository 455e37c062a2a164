"""Units of engines with windows: those that only these have, and those whose logic is another one there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..engine.words import ceil_div
from ..flow.config import FlowConfig
from ..flow.edge import EdgeUnit
from ..flow.head_norm import head_unit
from ..flow.matmul import MatmulUnit
from ..flow.patch_norm import PatchNormUnit
from ..flow.residual_add import ResidualAddUnit
from ..flow.settings import setting_bits
from ..flow.softmax import BIAS_BITS, SoftmaxUnit
from .footprint import Footprint, rams_of
from .units import FOOTPRINTS, choice_luts, loaded_rams, part_luts

#: Multiplications of a lane of HeadNorm.
_HEAD_PRODUCTS = 5
#: What the names of sizes begin with that only engines with windows have.
_ONLY = "windowed"


def _more(unit: str, sizes: Mapping[str, float], flow: FlowConfig, *memories: str) -> Footprint:
    """A unit as in other engines, and what windows add to it."""
    found = FOOTPRINTS[unit](flow)
    added = {f"{_ONLY}_{name}": size for name, size in sizes.items()}
    return replace(found, sizes={**found.sizes, _ONLY: 1, **added}, rams=found.rams + loaded_rams(flow, *memories))


def _own(unit: str, sizes: Mapping[str, float], flow: FlowConfig) -> Footprint:
    """A unit with the memories and multiplications of other engines, whose logic has little of theirs."""
    found = _more(unit, sizes, flow)
    return replace(found, sizes={name: size for name, size in found.sizes.items() if name.startswith(_ONLY)})


def _settings(flow: FlowConfig) -> Footprint:
    return _more("settings", {}, flow)


def _dense_out(flow: FlowConfig) -> Footprint:
    edge = EdgeUnit(flow)
    # Sums of many channels take more than one block a lane, with registers between them.
    cut = len(edge.chunk_products) - edge.chunk
    return _more("dense_out", {"cut": cut}, flow, "patch_places")


def _last_norm(flow: FlowConfig) -> Footprint:
    return _more("last_norm", {}, flow)


def _tables(flow: FlowConfig) -> Footprint:
    return _more("tables", {}, flow)


def _x(flow: FlowConfig) -> Footprint:
    unit, fabric = ResidualAddUnit(flow), flow.engine.fabric
    word, side, of_bank = unit.x_memory.width, unit.side, unit.parts_of_bank
    parts = unit.banks * of_bank
    # A part is written by rows side by side, the norm of patches and the edge, two more a look-up table. An image is
    # chosen for each of its parts, then a part for each row; the norm of patches and the edge choose among all parts.
    written = parts * ceil_div(side + 1, 2)
    chosen = of_bank * choice_luts(unit.banks, fabric) + side * choice_luts(of_bank, fabric)
    chosen += 2 * choice_luts(parts, fabric)
    # Of several parts in a bank what is chosen for each is registered.
    held = parts + of_bank * (of_bank > 1)
    sizes = {"bit": held * word, "choice_lut": word * (written + chosen)}
    sizes |= {"address_bit": parts * (side + 1) * unit.address_bits(unit.part_words)}
    return _own("x", sizes, flow)


def _slots(flow: FlowConfig) -> Footprint:
    places = sum(bits for name, bits in setting_bits(flow).items() if name.startswith("first_"))
    return _own("slots", {"image": flow.images, "place_bit": places, "image_bit": flow.images * places}, flow)


def _residual_add(flow: FlowConfig) -> Footprint:
    unit = ResidualAddUnit(flow)
    sizes = {
        "lane": unit.lanes,
        "lane_bit": unit.lanes * flow.engine.acc_bits,
        "choice_lut": part_luts(MatmulUnit(flow).word_bits, unit.drain_parts, flow.engine.fabric),
        "root_bit_squared": unit.widths.v_bits**2,
        "address_bit": unit.side * unit.x_addr_bits,
    }
    return _own("residual_add", sizes, flow)


def _head_norm(flow: FlowConfig) -> Footprint:
    unit = head_unit(flow)
    # A root for each of the rows side by side, where others have one.
    more = (unit.roots - 1) * unit.widths.v_bits**2
    cut = len(unit.products()) - _HEAD_PRODUCTS * unit.lanes - unit.roots * len(unit.widths.row_products)
    return _more("head_norm", {"root_bit_squared": more, "cut": cut}, flow)


def _softmax(flow: FlowConfig) -> Footprint:
    unit = SoftmaxUnit(flow)
    sizes, table = {"score": unit.word_scores}, unit.bias_table
    if table:
        sizes["choice_lut"] = BIAS_BITS * unit.word_scores * choice_luts(table.places, flow.engine.fabric)
    return _more("softmax", sizes, flow)


def _patch_norm(flow: FlowConfig) -> Footprint:
    unit = PatchNormUnit(flow)
    own = rams_of(unit.memories.values()) + loaded_rams(flow, *unit.load_memories)
    sizes = {_ONLY: 1, f"{_ONLY}_lane": unit.lanes, f"{_ONLY}_divider": unit.dividers}
    return Footprint(sizes, own, tuple(unit.products()))


def _passes(flow: FlowConfig) -> Footprint:
    places = sum(bits for name, bits in setting_bits(flow).items() if name.startswith("first_"))
    return Footprint({_ONLY: 1, f"{_ONLY}_place_bit": places}, loaded_rams(flow, "passes"))


#: Those that only engines with windows have, and those whose logic is another one there; what lies between the units
#: counts as in other engines.
WINDOWED_FOOTPRINTS: dict[str, Callable[[FlowConfig], Footprint]] = {
    "settings": _settings,
    "dense_out": _dense_out,
    "last_norm": _last_norm,
    "x": _x,
    "slots": _slots,
    "residual_add": _residual_add,
    "head_norm": _head_norm,
    "softmax": _softmax,
    "tables": _tables,
    "patch_norm": _patch_norm,
    "passes": _passes,
}
