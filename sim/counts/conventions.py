"""Ways to count operations, side by side: OPs = BOPs / 64 + FLOPs, a MAC one operation (docs/operations.md).

A convention says which work counts, at which weight, and what is divided by 64. One of them, `paper`, gives the ratios
of Bi-ViT (arXiv 2305.12354); its bookkeeping is inferred from the published ratios, not stated there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..bits import WORD_BITS
from ..network.config import ModelConfig
from .work import BINARY_PRODUCTS, BLOCK_PRODUCTS, Work, float_work, integer_work, products

#: Unit of the paper's table, whose entries have one decimal.
TABLE_UNIT = 10**8

#: Arithmetic operations an element of a float network: mean, variance, normalisation and affine of a norm; maximum,
#: difference, exponential and quotient of a softmax; a polynomial with its tanh for GELU.
FLOAT_WEIGHTS = {"norm": 8, "qk_norm": 8, "softmax": 4, "gelu": 8, "residual": 1, "position": 1}

#: Integer operations an element (paragraphs of docs/semantics.md), a multiply-accumulate or a comparison counting one.
INTEGER_WEIGHTS = {
    "scale": 1,  # 1 and 10: acc * S + B
    "position": 1,  # 1 and 7: P, Rel
    "patch_norm": 5,  # 1, Swin: S1, S2, D * x - S1, times Q, times G + B'
    "last_norm": 4,  # 11: S1, S2, N * x - S1, times Q
    "sign_norm": 4,  # 2: S1, S2, N * x - S1, comparison with Theta * R
    "mean_norm": 3,  # 2, mode mean: no S2
    "qk_norm": 5,  # 6: Scale * acc, then as sign_norm
    "threshold": 1,  # 5, 8 (mode score) and 9
    "softmax": 3,  # 8: maximum, sum of Exp, comparison with Tau * Z
    "residual": 2,  # 4: Scale * acc + X, + Bias
    "pool": 1,  # 11: sum over the tokens
}


@dataclass(frozen=True)
class Term:
    """One part of a total: ``cost = count * weight / divisor``."""

    name: str
    count: int
    weight: int = 1
    divisor: int = 1
    #: Where; empty for a sum over layers.
    layer: str = ""

    @property
    def cost(self) -> float:
        """Operations."""
        return self.count * self.weight / self.divisor

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        values = ("name", "count", "weight", "divisor", "cost")
        return {name: getattr(self, name) for name in values}


@dataclass(frozen=True)
class Tally:
    """What one convention counts in one image, for the real-valued twin and for the Bi-ViT.

    Attributes
    ----------
    convention, description : str
    real, binary : tuple of Term
        Layer by layer.
    from_table : bool
        Whether `ratio` is that of the rounded table entries.
    """

    convention: str
    description: str
    real: tuple[Term, ...]
    binary: tuple[Term, ...]
    from_table: bool = False

    @property
    def real_ops(self) -> float:
        """Operations of the real-valued twin."""
        return sum(term.cost for term in self.real)

    @property
    def ops(self) -> float:
        """Operations of the Bi-ViT: BOPs / 64 + FLOPs."""
        return sum(term.cost for term in self.binary)

    @property
    def bops(self) -> int:
        """Binary operations of the Bi-ViT."""
        return sum(term.count * term.weight for term in self.binary if term.divisor == WORD_BITS)

    @property
    def flops(self) -> int:
        """All other operations of the Bi-ViT."""
        return sum(term.count * term.weight for term in self.binary if term.divisor == 1)

    @property
    def exact_ratio(self) -> float:
        """Real-valued operations to those of the Bi-ViT."""
        return self.real_ops / self.ops

    @property
    def table(self) -> tuple[float, float]:
        """Both totals as the paper's table prints them: in 1e8, one decimal."""
        return round(self.real_ops / TABLE_UNIT, 1), round(self.ops / TABLE_UNIT, 1)

    @property
    def table_ratio(self) -> float | None:
        """Ratio of the table's entries, to one decimal; None where the network is so small that one of them is 0.0."""
        real, binary = self.table
        return round(real / binary, 1) if real and binary else None

    @property
    def ratio(self) -> float:
        """The ratio to quote, to one decimal: `table_ratio` where the convention says so and it exists."""
        return (self.table_ratio if self.from_table else None) or round(self.exact_ratio, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON; terms are sums over the layers."""
        names = ("description", "real_ops", "ops", "bops", "flops", "ratio", "exact_ratio", "table_ratio")
        real, binary = self.table
        return {name: getattr(self, name) for name in names} | {
            "table": {"unit": TABLE_UNIT, "real_ops": real, "ops": binary},
            "terms": [term.to_dict() for term in summed(self.binary)],
            "real_terms": [term.to_dict() for term in summed(self.real)],
        }


def summed(terms: Iterable[Term]) -> list[Term]:
    """Add terms of one name over all layers, in the order of their first appearance."""
    counts: dict[tuple[str, int, int], int] = {}
    for term in terms:
        key = (term.name, term.weight, term.divisor)
        counts[key] = counts.get(key, 0) + term.count
    return [Term(name, count, weight, divisor) for (name, weight, divisor), count in counts.items()]


def _words(works: Iterable[Work], binary: Iterable[str]) -> tuple[Term, ...]:
    """Products, those of the kinds in `binary` 64 at a time."""
    words = frozenset(binary)
    return tuple(Term(w.kind, w.count, divisor=WORD_BITS if w.kind in words else 1, layer=w.layer) for w in works)


def _elements(works: Iterable[Work], weights: Mapping[str, int]) -> tuple[Term, ...]:
    """Work that is no product; a kind without a weight does not count."""
    return tuple(Term(w.kind, w.count, weights[w.kind], layer=w.layer) for w in works if w.kind in weights)


def paper(config: ModelConfig) -> Tally:
    """Count as the ratios of the paper suggest: 12.3 / 0.2 = 61.5 for DeiT-Tiny, 44.9 / 0.8 = 56.1 for Swin-Tiny."""
    works, once = products(config), {"norm": 1, "gelu": 1}
    # Only so do both published ratios come out: DeiT's real-valued entry has neither patch embedding nor classifier.
    real = [work for work in works if config.family != "vit" or work.kind in BLOCK_PRODUCTS]
    return Tally(
        "paper",
        "inferred from the paper's ratios: every product but the classifier's / 64, plus classifier, LayerNorm and "
        "GELU at 1 an element; against the real-valued products (of a DeiT: its blocks'); ratio of table entries "
        "rounded to 0.1e8",
        _words(real, ()),
        _words(works, {*BINARY_PRODUCTS, "patch_embed"}) + _elements(float_work(config, binary=True), once),
        from_table=True,
    )


def matmul(config: ModelConfig) -> Tally:
    """Count products only, all of them binary: the upper limit, 64."""
    works = products(config)
    return Tally(
        "matmul",
        "every product / 64, nothing else; against every real-valued product",
        _words(works, ()),
        _words(works, {*BINARY_PRODUCTS, "patch_embed", "head"}),
    )


def honest(config: ModelConfig) -> Tally:
    """Count all that the network computes in float, each element once."""
    return _float_tally(
        config,
        "honest",
        "binary products / 64, plus float patch embedding and classifier and all work that is no product, 1 an "
        "element; against the twin counted likewise",
        dict.fromkeys(FLOAT_WEIGHTS, 1),
    )


def weighted(config: ModelConfig) -> Tally:
    """Count as `honest`, an element at the arithmetic operations that it takes."""
    weights = ", ".join(f"{name} {weight}" for name, weight in FLOAT_WEIGHTS.items())
    return _float_tally(
        config, "weighted", f"as honest, with the arithmetic an element takes: {weights}", FLOAT_WEIGHTS
    )


def _float_tally(config: ModelConfig, name: str, description: str, weights: Mapping[str, int]) -> Tally:
    works = products(config)
    return Tally(
        name,
        description,
        _words(works, ()) + _elements(float_work(config, binary=False), weights),
        _words(works, BINARY_PRODUCTS) + _elements(float_work(config, binary=True), weights),
    )


def hardware(config: ModelConfig) -> Tally:
    """Count what the integer network does (docs/semantics.md), in the modes of `config`."""
    works = products(config)
    return Tally(
        "hardware",
        "the integer network: binary products / 64, int8 patch embedding and classifier at 1 (8 x 8 bits / 64), "
        "integer norms, thresholds instead of GELU; against the twin as in weighted",
        _words(works, ()) + _elements(float_work(config, binary=False), FLOAT_WEIGHTS),
        _words(works, BINARY_PRODUCTS) + _elements(integer_work(config), INTEGER_WEIGHTS),
    )


#: Every convention by name.
CONVENTIONS: dict[str, Callable[[ModelConfig], Tally]] = {
    "paper": paper,
    "matmul": matmul,
    "honest": honest,
    "weighted": weighted,
    "hardware": hardware,
}
