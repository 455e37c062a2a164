"""The rows of the ablation: what each changes in a recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...sim.errors import check

if TYPE_CHECKING:
    from ...model.train.recipe import Recipes

#: Losses: labels alone; with the teacher's logits; with the order of its attention scores as well.
_LABELS = {"labels": 1.0, "logits": 0.0, "ranking": 0.0}
_LOGITS = {"labels": 0.1, "logits": 0.9, "ranking": 0.0}
_RANKING = {"labels": 0.1, "logits": 0.9, "ranking": 0.1}


@dataclass(frozen=True)
class Variant:
    """One way to train a student from the same teacher, with the same budget."""

    what: str
    #: `Binarization.attention`.
    attention: str
    distillation: dict[str, float]
    #: Modes that are not the default ones.
    modes: dict[str, str] = field(default_factory=dict)

    def settings(self, recipes: Recipes) -> list[str]:
        """Changes of the recipe as `bivit train --set` takes them."""
        changes = [f"model.{name}={mode}" for name, mode in self.modes.items()]
        for index, stage in enumerate(recipes.stages):
            changes += [f"stages.{index}.distillation.{name}={value}" for name, value in self.distillation.items()]
            if stage.kind == "binary":
                changes.append(f"stages.{index}.binarization.attention={self.attention}")
        return changes


_HARDWARE = {"norm_mode": "mean", "qk_mode": "threshold", "attn_mode": "score"}

VARIANTS: dict[str, Variant] = {
    "vanilla": Variant("fixed attention binarization, labels only", "fixed", _LABELS),
    "lsf": Variant("learnable scaling factor, labels only", "learned", _LABELS),
    "rad": Variant("fixed attention, ranking-aware distillation", "fixed", _RANKING),
    "both": Variant("learnable scaling factor, ranking-aware distillation", "learned", _RANKING),
    "lsf_logits": Variant("as both, without the ranking loss", "learned", _LOGITS),
    "mean": Variant("as both, block norm without root", "learned", _RANKING, {"norm_mode": "mean"}),
    "threshold": Variant("as both, q and k by thresholds", "learned", _RANKING, {"qk_mode": "threshold"}),
    "score": Variant("as both, attention by score", "learned", _RANKING, {"attn_mode": "score"}),
    "hardware": Variant("as both, all three modes", "learned", _RANKING, _HARDWARE),
}


def chosen_variants(names: str | None) -> dict[str, Variant]:
    """Return the variants of a list with commas, all of them for None.

    Raises
    ------
    BivitError
        When a name is unknown.
    """
    if names is None:
        return VARIANTS
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in VARIANTS]
    check(bool(wanted) and not unknown, f"variants must be some of {', '.join(VARIANTS)}, got {names!r}")
    return {name: VARIANTS[name] for name in wanted}
