"""Names of other libraries' tensors as bivit's (timm's), by rules; which library wrote a file is told by its names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ...sim.errors import check

Rules = tuple[tuple[str, str], ...]

#: Buffers and parts that a model here computes anew or does not have, and that change no result.
IGNORED = re.compile(
    r"relative_position_index$|attn_mask$|\.init_state$|\.signed$|(^|\.)pooler\.|position_ids$|mask_token$|^n_averaged$"
)
#: The first tensor of a model under any library's name; before it stands the prefix of what holds the model.
MARK = re.compile(
    r"((?:.+?\.)??)(?:patch_embed\.proj\.weight|(?:(?:deit|vit|swin)\.)?embeddings\.patch_embeddings\.projection\.weight)$"
)
#: A number in a name.
LAYERS_OF = re.compile(r"[0-9]+(?=\.)")

#: Inside a block of Hugging Face, names before and since version 5.
_HF_BLOCK: Rules = (
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.(?:attention\.query|self\.query|q_proj)\.", ".attn.q."),
    (r"\.attention\.(?:attention\.key|self\.key|k_proj)\.", ".attn.k."),
    (r"\.attention\.(?:attention\.value|self\.value|v_proj)\.", ".attn.v."),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
    (
        r"\.attention\.(?:self\.|relative_position_bias\.)?relative_position_bias_table",
        ".attn.relative_position_bias_table",
    ),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)

#: By format, in the order in which they are applied.
NAME_RULES: dict[str, Rules] = {
    "huggingface": (
        (r"^(?:deit|vit|swin)\.", ""),
        (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"^embeddings\.norm\.", "patch_embed.norm."),
        (r"^embeddings\.cls_token$", "cls_token"),
        (r"^embeddings\.distillation_token$", "dist_token"),
        (r"^embeddings\.position_embeddings$", "pos_embed"),
        (r"^encoder\.layers\.", "layers."),
        (r"^(?:encoder\.layer|layers)\.(\d+)\.(?!blocks|downsample)", r"blocks.\1."),
        *_HF_BLOCK,
        (r"^layernorm\.", "norm."),
        (r"^(?:cls_)?classifier\.", "head."),
        (r"^distillation_classifier\.", "head_dist."),
    ),
    "official": (
        (r"\.attn\.norm_([qk])\.", r".attn.\1_norm.norm."),
        (r"\.attn\.([qk])_act\.", r".attn.\1_norm.act."),
        (r"\.attn\.v_act\.", ".attn.v_sign."),
        (r"\.attn\.attn_act\.", ".attn.attn_sign.act."),
    ),
    "timm": ((r"^head\.fc\.", "head."), (r"^fc_norm\.", "norm.")),
}

#: A name that only one format has.
_MARKS = (
    ("official", re.compile(r"\.attn\.attn_act\.alpha$")),
    ("huggingface", re.compile(r"^((deit|vit|swin)\.)?embeddings\.patch_embeddings\.")),
    ("timm", re.compile(r"^patch_embed\.proj\.weight$")),
)
_DOWNSAMPLE = re.compile(r"^layers\.(\d+)\.downsample\.")


def format_of(names: Iterable[str]) -> str | None:
    """Return a key of `NAME_RULES` (Facebook's DeiT and Microsoft's Swin have timm's names), or None."""
    known = list(names)
    return next((name for name, mark in _MARKS if any(mark.search(key) for key in known)), None)


def rename(name: str, rules: Rules) -> str:
    """Apply the rules in order.

    >>> rename("deit.encoder.layer.3.attention.attention.query.weight", NAME_RULES["huggingface"])
    'blocks.3.attn.q.weight'
    """
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def convert_names(tensors: Mapping[str, Tensor], format_name: str) -> tuple[dict[str, Tensor], list[list[str]]]:
    """Rename tensors, and join q, k and v where they are apart.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Without those of `IGNORED`.
    format_name : str
        Key of `NAME_RULES`.

    Returns
    -------
    renamed : dict of str to Tensor
    converted : list of [source, target]

    Raises
    ------
    BivitError
        When two names become the same, or q, k and v cannot be joined.
    """
    targets = {name: rename(name, NAME_RULES[format_name]) for name in tensors}
    if any(_DOWNSAMPLE.match(target) and target.startswith("layers.0.") for target in targets.values()):
        # Patch merging ends a stage there; here, as in timm today, it begins the next.
        targets = {name: _DOWNSAMPLE.sub(_next_stage, target) for name, target in targets.items()}
    sources = {target: name for name, target in targets.items()}
    twice = [f"{name} and {sources[target]}" for name, target in targets.items() if sources[target] != name]
    check(not twice, f"two tensors of the file are one of the model: {', '.join(twice[:4])}; take one of them out")
    renamed = {target: tensors[name] for name, target in targets.items()}
    for query in [name for name in renamed if re.search(r"\.attn\.q\.(weight|bias)$", name)]:
        parts = [query.replace(".attn.q.", f".attn.{part}.") for part in "qkv"]
        if all(part in renamed for part in parts):
            joined = query.replace(".attn.q.", ".attn.qkv.")
            check(joined not in renamed, f"the file holds q, k and v of {joined} both together and apart")
            shapes = [list(renamed[part].shape) for part in parts]
            check(
                bool(shapes[0]) and shapes[0] == shapes[1] == shapes[2],
                f"q, k and v of {joined} must have one shape, got {shapes}",
            )
            renamed[joined] = torch.cat([renamed.pop(part) for part in parts])
            targets |= {name: joined for name, target in targets.items() if target in parts}
    return renamed, [[name, target] for name, target in targets.items()]


def _next_stage(match: re.Match[str]) -> str:
    return f"layers.{int(match[1]) + 1}.downsample."
