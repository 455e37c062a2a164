"""The tensors of one model in an outside file: found among what the file holds, named as the model names them, checked.

A training program puts a model's tensors under a key, beside an average of them and an optimizer's state, and its
wrappers put their own names before each. Which was taken is said; where several could be meant, it is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...sim.errors import check, some
from .names import MARK, NAME_RULES

#: Names that wrappers of torch put into a name, anywhere.
_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
#: A part of a key or prefix that says that the weights are an average over the training.
_AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged|average|avg|shadow)([._]|$)", re.IGNORECASE)
#: Dictionaries inside one another that are looked into.
_DEPTH = 4
#: What weights may be.
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Found:
    """The tensors of one model, and where they were in the file."""

    tensors: dict[str, Tensor]
    #: Key of the state dict in the file with prefix of the names, as `state_dict.model`; empty for neither.
    where: str = ""
    #: Other models that the file holds, named likewise; `where` of `find_tensors` takes one of them.
    others: list[str] = field(default_factory=list)
    #: Tensors under `where` that belong to another of the models.
    left_out: list[str] = field(default_factory=list)


def find_tensors(content: Any, source: Path, where: str | None = None) -> Found:
    """Find the tensors of one model.

    Parameters
    ----------
    content : any
        What an outside file holds.
    source : path
        The file, for messages.
    where : str, optional
        Which model to take, as `Found.others` names them.

    Raises
    ------
    BivitError
        When there is none, no one of that name, or several of which none is the usual one.
    """
    check(
        isinstance(content, dict) or not hasattr(content, "state_dict"),
        f"{source} holds a whole model; save its state_dict()",
    )
    dicts = dict(_state_dicts(content, "", _DEPTH))
    check(bool(dicts), f"{source} holds no tensors by name; save a model's state_dict()")
    models = {
        ".".join(filter(None, (key, prefix.removesuffix(".")))): (key, prefix)
        for key, tensors in dicts.items()
        for prefix in _prefixes(tensors)
    }
    if not models:
        names = [name for tensors in dicts.values() for name in tensors]
        check(
            False,
            f"{source} is of no known format: expected names of {', '.join(NAME_RULES)}, such as "
            f"patch_embed.proj.weight, got {', '.join(names[:4])}",
        )
    taken = _choose(source, models, where)
    key, prefix = models[taken]
    others = [name for name in models if name != taken]
    around = [of for name, (at, of) in models.items() if name != taken and at == key]
    tensors, left_out = _without_prefix(dicts[key], prefix, around, source)
    return Found(tensors, taken, others, left_out)


def check_tensors(tensors: Mapping[str, Tensor], source: Path) -> None:
    """Refuse tensors that are no plain arrays of floating-point numbers, naming them.

    Raises
    ------
    BivitError
        With the name, type and shape of each.
    """
    wrong = [f"{name} ({what})" for name, tensor in tensors.items() if (what := _not_plain(tensor))]
    check(
        not wrong,
        f"{source} holds tensors that are no weights of a model here: {some(wrong)}; weights must be dense arrays of "
        "float16, bfloat16, float32 or float64: convert quantised weights back, and clone() views, before saving",
    )


def _not_plain(tensor: Tensor) -> str:
    """Say what keeps a tensor from being weights; empty for a plain one."""
    dtype, shape = str(tensor.dtype).removeprefix("torch."), list(tensor.shape) if not tensor.is_nested else "nested"
    if tensor.is_nested or tensor.layout != torch.strided or tensor.is_quantized:
        return f"{'quantised' if tensor.is_quantized else 'not dense'}, {dtype}, shape {shape}"
    if tensor.is_meta:
        return f"without values (meta), shape {shape}"
    if tensor.dtype not in FLOATS:
        return f"{dtype}, shape {shape}"
    if tensor.numel() == 0:
        return f"empty, shape {shape}"
    # A view that repeats its values may be of any size, whatever the file's.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"a view that repeats values, shape {shape}"
    return ""


def _state_dicts(content: Any, key: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Each dictionary that holds tensors by name, with its keys in the file."""
    if not isinstance(content, dict) or depth == 0:
        return
    items = list(dict.items(content))
    tensors = {name: value for name, value in items if isinstance(name, str) and isinstance(value, Tensor)}
    if tensors:
        yield key, tensors
    for name, value in items:
        if isinstance(name, str) and isinstance(value, dict):
            yield from _state_dicts(value, f"{key}.{name}" if key else name, depth - 1)


def _prefixes(tensors: Mapping[str, Tensor]) -> list[str]:
    """What stands before the names of each model in a state dict, as they are in the file."""
    return list(dict.fromkeys(match[1] for name in tensors if (match := MARK.match(_WRAPPERS.sub("", name)))))


def _choose(source: Path, models: Mapping[str, tuple[str, str]], where: str | None) -> str:
    if where is not None:
        check(where in models, f"{source} holds no model at {where!r}; it holds {_listed(models)}")
        return where
    if len(models) == 1:
        return next(iter(models))
    plain = [name for name in models if not _AVERAGED.search(name)]
    check(
        len(plain) == 1,
        f"{source} holds several models: {_listed(models)}; choose one by --weights",
    )
    return plain[0]


def _listed(models: Mapping[str, object]) -> str:
    return ", ".join(name or "'' (names without a prefix)" for name in models)


def _without_prefix(
    tensors: Mapping[str, Tensor], prefix: str, others: list[str], source: Path
) -> tuple[dict[str, Tensor], list[str]]:
    """Take wrappers and prefix off names; names under prefixes of other models are left out."""
    found: dict[str, Tensor] = {}
    left_out, twice = [], []
    for name, tensor in tensors.items():
        plain = _WRAPPERS.sub("", name)
        # The longest prefix owns a name; where no other model goes without one, a head may stand outside of it.
        owner = max((of for of in (prefix, *others) if plain.startswith(of)), key=len, default=prefix)
        if owner != prefix:
            left_out.append(name)
            continue
        short = plain.removeprefix(prefix)
        if short in found:
            twice.append(short)
        found[short] = tensor
    check(
        not twice,
        f"{source} holds {some(twice)} twice, with and without {prefix or 'a wrapper'}; save the model's state_dict() "
        "alone",
    )
    return found, left_out
