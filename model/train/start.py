"""First weights of a student: those of its teacher, or of the stage before."""

from __future__ import annotations

import torch
from torch import Tensor

from ...sim.errors import check
from ..vit.vit import BiViT, RealViT, VisionTransformer


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
    weights, own = first_weights(student, source), student.state_dict()
    student.load_state_dict(own | weights)


def first_weights(student: VisionTransformer, source: RealViT) -> dict[str, Tensor]:
    """Return what `start_from` copies, under the student's names.

    Raises
    ------
    BivitError
        As `start_from`.
    """
    weights, own = source.state_dict(), student.state_dict()
    if isinstance(student, BiViT):
        for block in source.config.blocks:
            qkv, fc1 = f"{block.name}.attn.qkv.bias", f"{block.name}.mlp.fc1.bias"
            weights[f"{block.name}.attn.v_sign.bias"] = weights.pop(qkv)[2 * block.embed_dim :]
            weights[f"{block.name}.mlp.act.bias"] = weights.pop(fc1)
    other = [name for name in weights if name not in own or own[name].shape != weights[name].shape]
    missing = [name for name, _ in student.named_parameters() if isinstance(student, RealViT) and name not in weights]
    heads = [[block.num_heads for block in model.config.blocks] for model in (student, source)]
    # The products of all heads lie in one tensor, whose shape does not tell how many there are.
    wrong = other + missing + (["num_heads"] if heads[0] != heads[1] else [])
    check(
        not wrong,
        f"the teacher is of another shape than the student: they differ in {', '.join(wrong[:4])}"
        f"{' and others' if len(wrong) > 4 else ''}{_other_fields(student, source)}; take a teacher of the "
        "same preset, or leave --preset and these fields out: the student then has its teacher's shape",
    )
    return weights


def _other_fields(student: VisionTransformer, source: RealViT) -> str:
    """Name the fields of the two configs that differ and that decide the shapes of tensors, with both values."""
    own, other = student.config.to_dict(), source.config.to_dict()
    if own["family"] != other["family"]:
        own, other = {"family": own["family"]}, {"family": other["family"]}
    names = [name for name in own | other if own.get(name) != other.get(name) and not name.endswith("_mode")]
    return "".join(f"; {name} is {other.get(name)} in the teacher, {own.get(name)} in the student" for name in names)
