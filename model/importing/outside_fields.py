"""What other programs write beside tensors about a model, field by field: used, refused, harmless, or named as unread.

The files are transformers' config.json and preprocessor_config.json (processor_config.json) and timm's config.json in
the folder of the weights; in the weights' own file, the metadata of safetensors and the options of a training program.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...sim.errors import BivitError, check
from ...sim.system.files import read_json
from ...sim.system.typed import convert, shown
from .outside_file import Outside, StandIn

#: Files beside the weights that are read, and those that are only named.
_FILES = ("config.json", "preprocessor_config.json", "processor_config.json")
_NOT_READ = ("args.yaml", "hparams.yaml")
#: Bytes of such a file at most; one with the names of 20,000 classes has a twentieth.
_LONGEST = 1 << 24
#: Keys of a file of a training program that hold its options.
_OPTIONS = ("args", "hyper_parameters", "config", "cfg", "opt", "arch", "hparams")


def _side(value: Any, name: str, where: str) -> int:
    """Side of a square, from one number, [h, w], [c, h, w], or an object of these."""
    if isinstance(value, dict):
        parts = [value.get(key) for key in ("height", "width") if key in value] or [value.get("shortest_edge")]
    else:
        parts = list(value[-2:]) if isinstance(value, list | tuple) and value else [value]
    sides = {convert(int, part, name, where) for part in parts}
    check(len(sides) == 1, f"{where}: {name} must be that of a square, got {shown(value)}; only squares are computed")
    return sides.pop()


def _is(kind: Any) -> Callable[[Any, str, str], Any]:
    return lambda value, name, where: convert(kind, value, name, where)


def _one_or_more(kind: Any) -> Callable[[Any, str, str], Any]:
    """One value, or a list of them as a tuple."""

    def read(value: Any, name: str, where: str) -> Any:
        return convert(tuple[kind, ...] if isinstance(value, list | tuple) else kind, value, name, where)

    return read


def _count(value: Any, name: str, where: str) -> int:
    check(isinstance(value, dict | list), f"{where}: {name} must be a table of names, got {shown(value)}")
    return len(value)


def _eps_of_norm(value: Any, name: str, where: str) -> float:
    """Timm's LayerNorm, asked for by name, has another eps than torch's."""
    check(value == "layernorm", f"{where} says {name} {shown(value)}, and the models here compute 'layernorm' only")
    return 1e-6


#: Fields that are used: what they tell, and how they are read. `import_shape` compares them with the tensors.
USED: dict[str, tuple[str, Callable[[Any, str, str], Any]]] = {
    "image_size": ("image_size", _side),
    "img_size": ("image_size", _side),
    "input_size": ("image_size", _side),
    "patch_size": ("patch_size", _side),
    "num_channels": ("in_chans", _is(int)),
    "in_chans": ("in_chans", _is(int)),
    "num_labels": ("num_classes", _is(int)),
    "num_classes": ("num_classes", _is(int)),
    "id2label": ("num_classes", _count),
    "hidden_size": ("num_features", _is(int)),
    "num_features": ("num_features", _is(int)),
    "embed_dim": ("embed_dim", _one_or_more(int)),
    "num_hidden_layers": ("depth", _is(int)),
    "num_layers": ("depth", _is(int)),
    "depth": ("depth", _is(int)),
    "depths": ("depths", _is(tuple[int, ...])),
    "num_attention_heads": ("num_heads", _one_or_more(int)),
    "num_heads": ("num_heads", _one_or_more(int)),
    "window_size": ("window_size", _one_or_more(int)),
    "intermediate_size": ("hidden_dim", _is(int)),
    "mlp_ratio": ("mlp_ratio", _is(float)),
    "layer_norm_eps": ("eps", _is(float)),
    "norm_eps": ("eps", _is(float)),
    "norm_layer": ("eps", _eps_of_norm),
    "qkv_bias": ("qkv_bias", _is(bool)),
    "class_token": ("class_token", _is(bool)),
    "distilled": ("dist_token", _is(bool)),
    "global_pool": ("pooling", _is(str)),
    "fc_norm": ("fc_norm", _is(bool)),
    "hidden_act": ("activation", _is(str)),
    "act_layer": ("activation", _is(str)),
    "architecture": ("architecture", _is(str)),
    "model_type": ("model_type", _is(str)),
    "mean": ("mean", _one_or_more(float)),
    "image_mean": ("mean", _one_or_more(float)),
    "std": ("std", _one_or_more(float)),
    "image_std": ("std", _one_or_more(float)),
    "do_normalize": ("do_normalize", _is(bool)),
    "do_rescale": ("do_rescale", _is(bool)),
    "rescale_factor": ("rescale_factor", _is(float)),
    "interpolation": ("interpolation", _is(str)),
    "resample": ("interpolation", _is(int)),
    "crop_pct": ("crop_pct", _is(float)),
    "crop_mode": ("crop_mode", _is(str)),
}
#: Fields that change results, and the only values of each that the models here compute.
ONLY: dict[str, tuple[Any, ...]] = {
    "qk_norm": (False,),
    "qk_layernorm": (False,),
    "scale_attn_norm": (False,),
    "scale_mlp_norm": (False,),
    "attn_bias": (True,),
    "proj_bias": (True,),
    "mlp_bias": (True,),
    "init_values": (),
    "layer_scale_init_value": (0,),
    "layerscale_value": (0,),
    "pos_embed": ("learn",),
    "no_embed_class": (False,),
    "reg_tokens": (0,),
    "num_register_tokens": (0,),
    "pre_norm": (False,),
    "final_norm": (True,),
    "pool_include_prefix": (False,),
    "use_absolute_embeddings": (False,),
    "ape": (False,),
    "use_abs_pos_emb": (False,),
    "use_rel_pos_bias": (False,),
    "use_mean_pooling": (False,),
    "patch_norm": (True,),
    "always_partition": (False,),
    "head_dim": (),
    "embed_layer": (),
    "embed_norm_layer": (),
    "block_fn": (),
    "mlp_layer": (),
    "attn_layer": ("attention", ""),
    "pruned_heads": ({},),
    "quantization_config": (),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "chunk_size_feed_forward": (0,),
    "rescale_offset": (False,),
    "do_offset": (False,),
    "offset": (False,),
    "do_flip_channel_order": (False,),
    "do_reduce_labels": (False,),
    "do_pad": (False,),
    "do_thumbnail": (False,),
    "do_align_long_axis": (False,),
    "label_offset": (0,),
}
#: Fields that change no logit: training, names, how a program loads, what else it returns.
HARMLESS = re.compile(
    r"architectures|.*drop(out|_path|_rate|_prob|)?(_rate|_prob)?|classifier_dropout|initializer_range|label2id|label_names"
    r"|label_descriptions|(torch_)?dtype|transformers_version|_name_or_path|name_or_path|_commit_hash|_attn_implementation"
    r"(_autoset)?|attn_implementation|encoder_stride|pooler_(act|output_size)|out_features|out_indices|stage_names|problem_type"
    r"|output_\w+|return_dict|use_return_dict|use_cache|is_encoder_decoder|torchscript|tie_\w+|finetuning_task|task_specific_params"
    r"|\w+_token_id|image_processor_type|feature_extractor_type|processor_class|auto_map|do_(resize|center_crop|convert_rgb)"
    r"|default_to_square|data_format|input_data_format|size_divisor|disable_grouping|return_tensors|device|weight_init|fix_init"
    r"|dynamic_img_(size|pad)|strict_img_size|use_checkpoint|fused_window_process|tag|custom_load|url|file|source|hf_hub_\w+"
    r"|license|notes|origin_url|paper_\w+|fixed_input_size|(test|min)_(input_size|crop_pct|pool_size)|pool_size|first_conv|classifier"
    r"|num_prefix_tokens|format|total_size"
)
#: What the options of a training program, or the history of weights, may tell.
_OF_OPTIONS = ("image_size", "mean", "std")
_OF_HISTORY = (*_OF_OPTIONS, "interpolation", "crop_pct", "crop_mode", "architecture")
#: Rank of a source: where two differ, the first is taken if it is of a lower rank, else both are named and refused.
_SAID, _HISTORY = 0, 1


@dataclass(frozen=True)
class Fact:
    """A value that a file says, and where: file and key."""

    value: Any
    source: str
    rank: int = _SAID


@dataclass
class Facts:
    """All that the files beside tensors say of a model."""

    facts: dict[str, list[Fact]] = field(default_factory=dict)
    #: Fields that no rule knows, and files that are not read.
    unread: list[str] = field(default_factory=list)

    def get(self, name: str) -> Fact | None:
        """Return what is said under a name of `USED`.

        Raises
        ------
        BivitError
            When two files, or fields of one, differ.
        """
        said = sorted(self.facts.get(name, []), key=lambda fact: fact.rank)
        for other in said[1:]:
            check(
                other.rank > said[0].rank or other.value == said[0].value,
                f"{said[0].source} is {shown(said[0].value)} and {other.source} is {shown(other.value)}; mend one of "
                "them, or move the file that does not belong to these weights away",
            )
        return said[0] if said else None

    def add(self, name: str, value: Any, source: str, rank: int = _SAID) -> None:
        """Note one more."""
        self.facts.setdefault(name, []).append(Fact(value, source, rank))


def read_facts(source: Path, outside: Outside) -> Facts:
    """Read what stands beside the tensors of a file, in it and in its folder.

    Parameters
    ----------
    source : path
        The file of the weights.
    outside : Outside
        What it holds.

    Raises
    ------
    BivitError
        When a field changes results and cannot be computed, has another type than it must, or a file is no JSON.
    """
    facts = Facts()
    for name in _FILES:
        path = source.parent / name
        if path.is_file():
            check(path.stat().st_size <= _LONGEST, f"{path} is larger than {_LONGEST} bytes: it is no {name}")
            values = read_json(path, "the description beside the weights")
            check(isinstance(values, dict), f"{path} must be a table of names and values, got {shown(values)}")
            _read_file(facts, values, name)
    facts.unread += [f"{name} (file)" for name in _NOT_READ if (source.parent / name).is_file()]
    framework = outside.metadata.get("format", "pt")
    check(
        framework in ("pt", "np"),
        f"{source} holds tensors in the order of {framework!r}, which differs from torch's; convert it to torch first",
    )
    facts.unread += [f"metadata {key}" for key in outside.metadata if not HARMLESS.fullmatch(key)]
    if isinstance(outside.content, dict):
        for key in _OPTIONS:
            _read_options(facts, dict.get(outside.content, key), key)
    return facts


def _read_file(facts: Facts, values: Mapping[str, Any], where: str) -> None:
    """Read one table of a file, and those inside it that are of the model too."""
    for key, value in values.items():
        name = f"{where} {key}"
        if value is None:
            continue
        if key in ("pretrained_cfg", "model_args", "image_processor"):
            check(isinstance(value, dict), f"{name} must be a table of names and values, got {shown(value)}")
            _read_history(facts, value, name) if key == "pretrained_cfg" else _read_file(facts, value, name)
        elif key in ("size", "crop_size"):
            # What is cropped after it was resized is what enters the model.
            if key == "crop_size" or not (values.get("do_center_crop") and values.get("crop_size")):
                facts.add("image_size", _side(value, key, where), name)
        elif key == "input_size":
            # Timm's: of the pretrained weights, in an old file without their own table.
            _read_history(facts, {key: value}, where)
        else:
            _read_field(facts, key, value, where)


def _read_field(facts: Facts, key: str, value: Any, where: str, rank: int = _SAID) -> None:
    if key in USED:
        name, read = USED[key]
        facts.add(name, read(value, key, where), f"{where} {key}", rank)
    elif key in ONLY:
        allowed = ONLY[key]
        right = any(type(value) in (type(one), float) and value == one for one in allowed)
        check(
            right,
            f"{where} says {key} {shown(value)}, and the models here compute "
            f"{' or '.join(map(shown, allowed)) or 'nothing of that kind'} only; take other weights",
        )
    elif not HARMLESS.fullmatch(key):
        facts.unread.append(f"{where} {key}")


def _read_history(facts: Facts, values: Mapping[str, Any], where: str) -> None:
    """Read timm's pretrained_cfg: of the weights that a training began with, which model_args may have changed."""
    for key, value in values.items():
        if value is None or (key in USED and USED[key][0] not in _OF_HISTORY):
            continue
        _read_field(facts, key, value, where, _HISTORY)


def _read_options(facts: Facts, options: Any, where: str) -> None:
    """Read what a training program's options tell; most are of the training."""
    if where == "arch" and isinstance(options, str):
        facts.add("architecture", options, "the file's arch", _HISTORY)
        return
    for key, value in _flat(options.values if isinstance(options, StandIn) else options, 2):
        name = USED.get(key, ("", None))[0]
        if value is None or name not in (*_OF_OPTIONS, "activation"):
            continue
        # Options have the forms of their program: what cannot be read is not of this kind.
        try:
            _read_field(facts, key, value, f"the file's {where}", _HISTORY)
        except BivitError:
            facts.unread.append(f"the file's {where} {key}")


def _flat(values: Any, depth: int) -> Iterator[tuple[str, Any]]:
    for key, value in dict.items(values) if isinstance(values, dict) else ():
        if isinstance(value, dict) and depth > 1:
            yield from _flat(value, depth - 1)
        elif isinstance(key, str):
            yield key.lower(), value


def pixel_numbers(facts: Facts, name: str, channels: int) -> tuple[tuple[float, ...], str] | None:
    """Return mean or std of pixels from 0 to 1, one a channel, and its source; None where no file says it.

    Parameters
    ----------
    facts : Facts
    name : str
        `mean` or `std`.
    channels : int

    Raises
    ------
    BivitError
        When a processor normalises by numbers that it does not say, or there is not one number a channel.
    """
    normalise, rescale, factor = (facts.get(key) for key in ("do_normalize", "do_rescale", "rescale_factor"))
    found = facts.get(name)
    if normalise is not None and not normalise.value:
        found = Fact(float(name == "std"), normalise.source)
    check(
        found is not None or normalise is None,
        f"{normalise and normalise.source} is true, but no file says {name}; give it by --{name}",
    )
    if found is None:
        return None
    values = found.value if isinstance(found.value, tuple) else (found.value,) * channels
    check(len(values) == channels, f"{found.source} must have {channels} numbers, a channel each, got {shown(values)}")
    used = 1.0 if rescale is not None and not rescale.value else 1 / 255 if factor is None else factor.value
    check(math.isfinite(used) and used > 0, f"rescale_factor must be above 0, got {used}")
    # A pixel p of 0 to 255 enters as (p * used - mean) / std.
    scale = 255 * used
    return tuple(value if math.isclose(scale, 1) else value / scale for value in values), found.source
