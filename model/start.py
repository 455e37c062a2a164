"""First weights of a student: those of its teacher, or of the stage before."""

from __future__ import annotations

import torch

from ..sim.errors import check
from .vit import BiViT, RealViT, VisionTransformer


@torch.no_grad()
def start_from(student: VisionTransformer, source: RealViT) -> None:
    """Copy every weight that both have, and the biases that are thresholds in the Bi-ViT (v and fc1).

    Parameters
    ----------
    student : VisionTransformer
        Changed in place.
    source : RealViT
        The real-valued twin, or one with binary weights, whose latent weights are copied.

    Raises
    ------
    BivitError
        When the two have tensors of different shapes, naming some of them.
    """
    weights, own = source.state_dict(), student.state_dict()
    if isinstance(student, BiViT):
        for block in source.config.blocks:
            qkv, fc1 = f"{block.name}.attn.qkv.bias", f"{block.name}.mlp.fc1.bias"
            weights[f"{block.name}.attn.v_sign.bias"] = weights.pop(qkv)[2 * block.embed_dim :]
            weights[f"{block.name}.mlp.act.bias"] = weights.pop(fc1)
    other = [name for name in weights if name not in own or own[name].shape != weights[name].shape]
    missing = [name for name, _ in student.named_parameters() if isinstance(student, RealViT) and name not in weights]
    wrong = other + missing
    check(
        not wrong,
        f"the teacher is of another shape than the student: they differ in {', '.join(wrong[:4])}"
        f"{' and others' if len(wrong) > 4 else ''}; take a teacher of the same preset",
    )
    student.load_state_dict(own | weights)
