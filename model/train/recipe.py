"""Recipes: how a teacher and its student are trained, as TOML files, one a preset (`recipes/*.toml`).

A recipe has a table `[teacher]` and one table `[[stages]]` for each stage of the student, in order. Keys that all of
them share may stand in a table `[all]`; the table `[model]` changes fields of the preset's shape. Keys are the fields
of the classes below, and nothing else is read.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ...sim.errors import BivitError, check
from ...sim.network.config import ModelConfig, config_from_dict
from ...sim.system.files import parse_toml, read_text
from ...sim.system.typed import build, listed, shown
from ..vit.binarize import Binarization
from .augment import Augmentation
from .distill import Distillation
from .precision import PRECISIONS

#: Recipes that come with the package.
FOLDER = Path(__file__).resolve().parents[2] / "recipes"
_KINDS = ("weights", "binary")
_MOST_THREADS = 1024
_STARTS = ("teacher", "random")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one model is trained.

    Raises
    ------
    BivitError
        When a value is out of its range, naming it.
    """

    epochs: int
    #: Images of one step, of all processes together.
    batch_size: int = 64
    #: Largest learning rate, reached after the warm-up and then lowered to 0 along a cosine.
    lr: float = 1e-3
    #: Share of all steps in which the learning rate rises.
    warmup: float = 0.05
    #: Decay of real-valued weight matrices; latent weights, norms, scales, biases and embeddings have none.
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.99)
    #: Largest norm of the gradient.
    grad_clip: float = 5.0
    #: Share of each label that is spread over all classes.
    label_smoothing: float = 0.0
    #: Decay of the moving average of the weights, which is then the model; 0 is off.
    ema: float = 0.0
    #: Of the products, a key of `precision.PRECISIONS`.
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    #: Whether each block is compiled; needs a C++ compiler, and a minute at first. A smaller last batch is left out.
    compile: bool = False
    #: Top-1 is measured after every so many epochs, and after the last.
    evaluate_every: int = 1
    #: Threads of the arithmetic; 0 leaves torch's choice. One is as fast for small models, and the same on any machine.
    threads: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "evaluate_every"):
            value = getattr(self, name)
            check(isinstance(value, int) and value > 0, f"{name} must be a positive integer, got {value!r}")
        check(0 <= self.threads <= _MOST_THREADS, f"threads must be 0 or more, at most 1024, got {self.threads}")
        for name in ("lr", "grad_clip"):
            check(getattr(self, name) > 0, f"{name} must be above 0, got {getattr(self, name)}")
        check(0 <= self.warmup < 1, f"warmup is a share of the steps, 0 to below 1, got {self.warmup}")
        check(self.weight_decay >= 0, f"weight_decay must be 0 or more, got {self.weight_decay}")
        for name in ("label_smoothing", "ema"):
            check(0 <= getattr(self, name) < 1, f"{name} must be 0 to below 1, got {getattr(self, name)}")
        check(
            len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            f"betas are two numbers of 0 to below 1, got {list(self.betas)}",
        )
        check(self.precision in PRECISIONS, f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")


@dataclass(frozen=True, kw_only=True)
class Stage(Recipe):
    """How a student is trained in one stage.

    Raises
    ------
    BivitError
        When a value is out of its range, naming it.
    """

    #: `weights`: binary weights and real-valued activations (W1A32); `binary`: everything binary, as exported.
    kind: Literal["weights", "binary"] = "binary"
    #: First weights: those of the teacher (after the first stage, of the stage before), or `random` ones.
    start: Literal["teacher", "random"] = "teacher"
    #: Share of the learning rate that the scaling factors of the attention get.
    scale_lr: float = 0.01
    distillation: Distillation = field(default_factory=Distillation)
    binarization: Binarization = field(default_factory=Binarization)

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.kind in _KINDS, f"kind must be one of {', '.join(_KINDS)}, got {self.kind!r}")
        check(self.start in _STARTS, f"start must be one of {', '.join(_STARTS)}, got {self.start!r}")
        check(0 <= self.scale_lr <= 1, f"scale_lr is a share of lr, 0 to 1, got {self.scale_lr}")


@dataclass(frozen=True, kw_only=True)
class Recipes:
    """Recipes of a teacher and of the stages of its student.

    Raises
    ------
    BivitError
        When there is no stage, or the last does not make everything binary.
    """

    teacher: Recipe
    stages: tuple[Stage, ...]
    #: Fields of the preset's shape that are changed, as `norm_mode`.
    model: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(bool(self.stages), "a recipe needs at least one table [[stages]]")
        check(
            self.stages[-1].kind == "binary",
            f"the last stage must be of the kind 'binary', which is exported, got {self.stages[-1].kind!r}",
        )

    def with_epochs(self, epochs: int) -> Recipes:
        """Return these recipes with another number of epochs for each model and stage."""
        stages = tuple(replace(stage, epochs=epochs) for stage in self.stages)
        return replace(self, teacher=replace(self.teacher, epochs=epochs), stages=stages)

    def shape(self, preset: ModelConfig) -> ModelConfig:
        """Return the preset's shape with the changes of `model`."""
        return config_from_dict(preset.to_dict() | self.model, "the preset's shape with the recipe's table [model]")

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON, with every default."""
        values = asdict(self)
        values["stages"] = list(values["stages"])
        for table in [values["teacher"], *values["stages"]]:
            table["betas"] = list(table["betas"])
        return values


def load_recipe(name: str, settings: Sequence[str] = ()) -> Recipes:
    """Read a recipe.

    Parameters
    ----------
    name : str
        A preset that has a recipe, or the path of a TOML file. A preset that ends in `_cls` or `_lean` shares the
        recipe of the one without.
    settings : sequence of str
        Changes as `stages.0.lr=2e-3`: keys with dots, and a value as in TOML; text needs no quotes.

    Returns
    -------
    Recipes

    Raises
    ------
    BivitError
        When there is no such recipe, it is no TOML, or holds a key that is unknown or a value that is not allowed.
    """
    own = FOLDER / f"{name.removesuffix('_cls').removesuffix('_lean')}.toml"
    path = own if own.is_file() else Path(name)
    check(
        path.is_file(),
        f"there is no recipe {name!r}; allowed are {', '.join(sorted(p.stem for p in FOLDER.glob('*.toml')))} "
        "or the path of a TOML file",
    )
    values = parse_toml(read_text(path, "the recipe"), str(path))
    for setting in settings:
        _set(values, setting)
    return recipes_from_dict(values, f"recipe {path.name}")


def recipes_from_dict(values: dict[str, Any], what: str) -> Recipes:
    """Build recipes from the tables of a TOML file; `what` names them in errors.

    Raises
    ------
    BivitError
        As `load_recipe`.
    """
    known = ("all", "model", "teacher", "stages")
    unknown = sorted(set(values) - set(known))
    check(not unknown, f"{what} has unknown tables {listed(unknown)}; allowed are {', '.join(known)}")
    for name in known:
        kind = list if name == "stages" else dict
        example = "[[stages]]" if name == "stages" else f"[{name}]"
        got = values.get(name, kind())
        check(isinstance(got, kind), f"{name} in {what} must be a table {example}, got {shown(got)}")
    for index, stage in enumerate(values.get("stages", [])):
        check(isinstance(stage, dict), f"stages.{index} in {what} must be a table [[stages]], got {shown(stage)}")
    check("teacher" in values, f"{what} lacks the table [teacher]")
    shared = values.get("all", {})
    stages = values.get("stages", [])
    return Recipes(
        teacher=build(Recipe, _merge(shared, values["teacher"]), f"teacher in {what}"),
        stages=tuple(build(Stage, _merge(shared, stage), f"stages.{i} in {what}") for i, stage in enumerate(stages)),
        model=values.get("model", {}),
    )


def _merge(shared: dict[str, Any], own: Any) -> dict[str, Any]:
    """Return the tables as one, `own` winning; tables inside are merged likewise."""
    merged = copy.deepcopy(shared)
    for key, value in own.items():
        tables = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if tables else value
    return merged


def _set(values: dict[str, Any], setting: str) -> None:
    """Change one value of the tables by `key.key=value`."""
    path, equals, text = setting.partition("=")
    named = shown(setting)
    check(bool(equals and path), f"a setting must be as teacher.lr=1e-3, got {named}")
    *parents, last = path.strip().split(".")
    table: Any = values
    for key in parents:
        if isinstance(table, list):
            check(
                key in map(str, range(len(table))),
                f"{named} names stage {listed([key])}; the recipe has the stages 0 to {len(table) - 1}",
            )
            table = table[int(key)]
        else:
            table = table.setdefault(key, {})
        check(isinstance(table, dict | list), f"{named} goes into {listed([key])}, which is a value and no table")
    check(isinstance(table, dict), f"{named} must name a stage by its number, as stages.0.{listed([last])}")
    table[last] = _value(text.strip())


def _value(text: str) -> Any:
    """What TOML reads in `text`, or the text itself."""
    try:
        values = parse_toml(f"value = {text}", text)
    except BivitError:
        return text
    return values["value"] if len(values) == 1 else text
