"""Outside checkpoints, small ones of each family, and seeded mutations of all that they hold.

``python tests/tools/fuzz_import.py 5000`` imports that many, and prints what was neither imported nor refused.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from bivit.model.importing.importer import IMAGENET, import_checkpoint
from bivit.model.vit.official import OfficialBiViT
from bivit.model.vit.vit import RealViT
from bivit.sim.errors import BivitError
from bivit.sim.network.config import SwinConfig, ViTConfig

VIT = ViTConfig(img_size=16, patch_size=8, num_classes=3, embed_dim=64, depth=2, num_heads=1, mlp_ratio=1.0)
SWIN = SwinConfig(
    img_size=16,
    patch_size=2,
    num_classes=3,
    embed_dim=32,
    depths=(2, 1),
    num_heads=(1, 2),
    window_size=8,
    mlp_ratio=1.0,
)

#: Values that a field or an entry of a file may hold in place of a right one.
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 0.5, 1e-6, 1e300, -0.0, 10**30, 2**31, 2**63, "", "gelu", "relu", "\x1b[1m",
    "avg", [], [1], [0.5] * 3, [True] * 3, [10**30] * 3, [[]], {}, {"height": 16, "width": 16}, {"a": {"b": []}},
    ["a"] * 1000,
)  # fmt: skip
#: Shapes that a tensor may have in place of its own.
SHAPES = (
    (),
    (0,),
    (1,),
    (3,),
    (64,),
    (1, 1),
    (64, 64),
    (2, 3, 4),
    (1, 1, 64),
    (1, 7, 64),
    (64, 3, 8, 4),
    (1, 2, 3, 4, 5),
)
#: Names that may be put before, into or in place of others.
NAMES = (
    "model.",
    "module._orig_mod.",
    "ema.",
    "a" * 300 + ".",
    "blocks.99999.",
    "blocks.0.",
    "layers.7.",
    "\x1b[31m",
    "é",
)
HF_CONFIG = {
    "model_type": "vit", "hidden_act": "gelu", "hidden_size": 64, "image_size": 16, "intermediate_size": 64,
    "layer_norm_eps": 1e-12, "num_attention_heads": 1, "num_channels": 3, "num_hidden_layers": 2, "patch_size": 8,
    "qkv_bias": True, "num_labels": 3, "id2label": {"0": "a", "1": "b", "2": "c"},
}  # fmt: skip
TIMM_CONFIG = {
    "architecture": "vit_tiny_patch16_224", "num_classes": 3, "num_features": 64, "global_pool": "token",
    "model_args": {"img_size": 16, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 1, "act_layer": "gelu"},
    "pretrained_cfg": {"input_size": [3, 16, 16], "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"},
}  # fmt: skip
PROCESSOR = {
    "do_normalize": True, "do_rescale": True, "rescale_factor": 1 / 255, "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3, "do_resize": True, "size": {"height": 16, "width": 16}, "resample": 3,
}  # fmt: skip
_FOREIGN = {
    "hf": (("blocks.", "vit.encoder.layer."), ("norm1.", "layernorm_before."), ("norm2.", "layernorm_after."),
           ("attn.proj.", "attention.output.dense."), ("mlp.fc1.", "intermediate.dense."),
           ("mlp.fc2.", "output.dense."), ("pos_embed", "vit.embeddings.position_embeddings"), ("head.", "classifier."),
           ("patch_embed.proj.", "vit.embeddings.patch_embeddings.projection."),
           ("cls_token", "vit.embeddings.cls_token")),
    "official": ((".q_norm.norm.", ".norm_q."), (".k_norm.norm.", ".norm_k."), (".q_norm.act.", ".q_act."),
                 (".k_norm.act.", ".k_act."), (".v_sign.", ".v_act."), (".attn_sign.act.", ".attn_act.")),
}  # fmt: skip


def renamed(tensors: dict[str, Tensor], rules: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    """Tensors of a model here under another library's names, q, k and v apart for Hugging Face."""
    found = {}
    for name, tensor in tensors.items():
        other = name
        for ours, theirs in rules:
            other = other.replace(ours, theirs)
        if rules is _FOREIGN["hf"] and "attn.qkv." in other:
            for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                found[other.replace("attn.qkv.", f"attention.attention.{part}.")] = piece.clone()
        else:
            found["vit.layernorm." + other[5:] if rules is _FOREIGN["hf"] and other.startswith("norm.") else other] = (
                tensor
            )
    return found


def families() -> dict[str, tuple[dict[str, Tensor], dict[str, Any]]]:
    """Tensors and files beside them, by family."""
    torch.manual_seed(0)
    vit = dict(RealViT(VIT, IMAGENET).state_dict())
    return {
        "timm vit": (vit, {"config.json": TIMM_CONFIG}),
        "hf vit": (renamed(vit, _FOREIGN["hf"]), {"config.json": HF_CONFIG, "preprocessor_config.json": PROCESSOR}),
        "timm swin": (dict(RealViT(SWIN, IMAGENET).state_dict()), {"config.json": {"architecture": "swin_tiny"}}),
        "official": (renamed(dict(OfficialBiViT(VIT).state_dict()), _FOREIGN["official"]), {}),
    }


def mutated(
    tensors: dict[str, Tensor], files: dict[str, Any], draw: random.Random
) -> tuple[dict[Any, Any], dict[str, Any], dict[str, Any]]:
    """Return tensors, files beside them, and what else the file holds, with one to three faults."""
    tensors, files = dict(tensors), json.loads(json.dumps(files))
    around: dict[str, Any] = {}
    for _ in range(draw.randint(1, 3)):
        name = draw.choice(list(tensors))
        fault = draw.randrange(9)
        if fault <= 2 and files:
            table = draw.choice(list(files.values()))
            for key in ("model_args", "pretrained_cfg"):
                table = table[key] if isinstance(table.get(key), dict) and table[key] and draw.random() < 0.4 else table
            keys = [*table, "qk_norm", "hidden_act", "window_size", "depths", "crop_size", "mean", "fc_norm"]
            table[draw.choice(keys)] = draw.choice(VALUES)
        elif fault == 3:
            tensors[name] = torch.zeros(draw.choice(SHAPES))
        elif fault == 4:
            kinds = (
                torch.float16,
                torch.float64,
                torch.bfloat16,
                torch.int8,
                torch.bool,
                torch.complex64,
                torch.float8_e5m2,
            )
            tensors[name] = tensors[name].to(draw.choice(kinds))
        elif fault == 5:
            tensors[draw.choice(NAMES) + name] = tensors.pop(name)
        elif fault == 6:
            tensors[draw.choice(NAMES) + draw.choice(("", name))] = tensors[name].clone()
        elif fault == 7:
            kinds_of = (torch.nan, torch.inf, 1e300)
            tensors[name] = torch.full_like(tensors[name].float(), 1, dtype=torch.float64) * draw.choice(kinds_of)
        else:
            around[draw.choice(("args", "model_ema", "arch", "config", "epoch"))] = draw.choice(
                (*VALUES, argparse.Namespace(input_size=draw.choice(VALUES), mean=draw.choice(VALUES)))
            )
    return tensors, files, around


def _quantised() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)


def odd(tensors: dict[Any, Any], draw: random.Random) -> dict[Any, Any]:
    """Put in what only a pickle holds: tensors without values, sparse, quantised, views that repeat, other objects."""
    name = draw.choice(list(tensors))
    tensors[name] = draw.choice(
        (
            torch.empty(2**20, 2**20, device="meta"),
            torch.eye(3).to_sparse(),
            _quantised(),
            torch.zeros(1).expand(2**40),
            [1, 2],
            {"weight": torch.zeros(2)},
            3,
        )
    )
    return tensors


def write(folder: Path, family: tuple[dict[str, Tensor], dict[str, Any]], draw: random.Random) -> Path:
    """Write a mutated checkpoint and the files beside it; return its path."""
    tensors, files, around = mutated(*family, draw)
    for name, values in files.items():
        (folder / name).write_text(json.dumps(values), encoding="utf-8")
    path = folder / "weights"
    if not around and draw.random() < 0.4:
        save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path)
        return path
    if draw.random() < 0.2:
        tensors = odd(tensors, draw)
    key = draw.choice(("model", "state_dict", "net", "state_dict_ema"))
    torch.save({key: tensors, **around} if around or draw.random() < 0.5 else tensors, path)
    if draw.random() < 0.1:
        data = bytearray(path.read_bytes())
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(min(len(data), 20_000))] = draw.randrange(256)
        path.write_bytes(data[: draw.choice((len(data), draw.randrange(len(data))))])
    return path


def outcomes(count: int, seed: int) -> Counter[str]:
    """Import `count` mutated checkpoints; what is neither imported nor refused by a `BivitError` is printed."""
    draw, of, found = random.Random(seed), list(families().items()), Counter[str]()
    for index in range(count):
        name, family = of[index % len(of)]
        with tempfile.TemporaryDirectory() as folder:
            path = write(Path(folder), family, draw)
            start = time.monotonic()
            try:
                imported = import_checkpoint(path)
                found["imported" if imported.complete else "incomplete"] += 1
                if imported.complete:
                    with torch.no_grad(), contextlib.suppress(BivitError):
                        size = imported.model.config.img_size
                        imported.model(torch.zeros(1, size, size, imported.model.config.in_chans, dtype=torch.uint8))
            except BivitError:
                found["refused"] += 1
            except Exception:
                found["failed"] += 1
                traceback.print_exc()
                print(f"seed {seed}, number {index}, {name}", file=sys.stderr)
            found["slow"] += time.monotonic() - start > 20
    return found


if __name__ == "__main__":
    print(outcomes(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
