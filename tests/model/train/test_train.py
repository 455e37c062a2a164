"""Training: schedule, decay, start from the teacher, and that teacher, stages and student learn."""

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from models import random_images, random_model
from shapes import MODES, SWIN, TINY, TOKENS
from torch import Tensor
from training import QUICK, QUICK_STAGE, quadrants

from bivit.model.data.open import Dataset
from bivit.model.evaluate import evaluate, first_largest, predict
from bivit.model.files.export import export_network
from bivit.model.train.augment import Augmentation
from bivit.model.train.distill import Distillation, Distilled, Supervised
from bivit.model.train.ema import Ema
from bivit.model.train.fit import Fit, Session
from bivit.model.train.optimizer import learning_rate, make_optimizer, parameter_groups, set_learning_rate
from bivit.model.train.start import start_from
from bivit.model.train.train import make_student, train_student, train_teacher
from bivit.model.vit.patch import PixelNorm
from bivit.model.vit.vit import BinaryWeightViT, BiViT, RealViT
from bivit.sim.errors import BivitError

STARTS = ("teacher", "random")


@pytest.fixture(scope="module")
def teacher() -> RealViT:
    trained = train_teacher(TINY, quadrants(TINY, 256), quadrants(TINY, 90, 1), QUICK)
    assert trained.metrics["top1"] == 1.0
    assert isinstance(trained.model, RealViT)
    return trained.model


@pytest.mark.parametrize("mode", ["softmax", "mean_norm", "threshold_qk", "score"])
def test_a_student_learns_and_folds_without_loss(teacher: RealViT, mode: str) -> None:
    model = RealViT(MODES[mode])
    model.load_state_dict(teacher.state_dict())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    test = quadrants(TINY, 90, 1)
    trained = train_student(model, quadrants(TINY, 256), test, [QUICK_STAGE])
    assert isinstance(trained.model, BiViT)
    assert trained.losses[-1] < trained.losses[0] / 2
    assert trained.metrics["top1"] > 0.9
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    network = export_network(trained.model, test.images, test.labels)
    assert network.agreement["same_predictions"] == 1.0
    assert network.agreement["top1_integer"] == trained.metrics["top1"]


def test_the_same_seed_gives_the_same_model(teacher: RealViT) -> None:
    def weights(seed: int) -> dict[str, Tensor]:
        data = quadrants(TINY, 64)
        recipe = replace(QUICK_STAGE, epochs=1, augmentation=Augmentation(shift=1.0))
        return train_student(teacher, data, data, [recipe], seed).model.state_dict()

    first, again, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_metrics_are_plain_numbers(teacher: RealViT) -> None:
    data = quadrants(TINY, 32)
    trained = train_teacher(TINY, data, data, replace(QUICK, epochs=2))
    assert {name: type(value) for name, value in trained.metrics.items()} == {
        "top1": float,
        "seconds": float,
        "epochs": int,
    }
    assert len(trained.losses) == 2


def test_a_swin_trains_in_two_stages() -> None:
    train, test = quadrants(SWIN, 192), quadrants(SWIN, 90, 1)
    teacher = train_teacher(SWIN, train, test, replace(QUICK, epochs=8)).model
    assert isinstance(teacher, RealViT)
    first = replace(QUICK_STAGE, epochs=4, kind="weights")
    second = replace(QUICK_STAGE, epochs=8, distillation=Distillation(ranking=0.1))
    weights = train_student(teacher, train, test, [first])
    assert isinstance(weights.model, BinaryWeightViT)
    both = train_student(teacher, train, test, [first, second])
    assert isinstance(both.model, BiViT)
    assert (both.metrics["top1"], len(both.metrics["agreement"])) > (0.9, 2)
    assert all(0 < share < 1 for share in both.metrics["agreement"])


@pytest.mark.parametrize("mode", ["all_cheap", "tokens", "odd"])
def test_every_parameter_of_a_student_learns(mode: str) -> None:
    config = replace(MODES[mode], num_classes=3)
    data, teacher = quadrants(config, 32), RealViT(config)
    stage = replace(QUICK_STAGE, epochs=1, distillation=Distillation(ranking=0.1))
    model = make_student(stage, config, teacher)
    Fit("stages.0", Distilled(model, teacher, stage.distillation), data, data, stage, 0, Session()).run()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_the_moving_average_is_the_model_that_is_returned() -> None:
    data, recipe = quadrants(TINY, 64), replace(QUICK, epochs=2, ema=0.99)
    torch.manual_seed(0)
    objective = Supervised(RealViT(TINY))
    fit = Fit("teacher", objective, data, data, recipe, 0, Session())
    averaged = fit.run().model
    plain = train_teacher(TINY, data, data, replace(recipe, ema=0.0)).model
    assert all(torch.equal(a, b) for a, b in zip(objective.model.parameters(), plain.parameters(), strict=True))
    assert not torch.equal(averaged.head.weight, plain.head.weight)


def test_a_moving_average_by_hand() -> None:
    model = RealViT(TINY)
    first, average = model.head.weight.detach().clone(), Ema(model, 0.2)
    with torch.no_grad():
        for step in (1.0, 2.0, 3.0):
            model.head.weight.copy_(first + step)
            average.update(model)
    # The first update copies; then the decays are min(0.2, 2 / 11) and min(0.2, 3 / 12).
    expected = first + ((1 * 2 / 11 + 2 * 9 / 11) * 0.2 + 3 * 0.8)
    torch.testing.assert_close(average.model.head.weight.detach(), expected)


#: Whether blocks are compiled, and in which precision products are computed.
WAYS = [("fp32", False), ("tf32", False), ("bf16", False), pytest.param("bf16", True, marks=pytest.mark.slow)]


# The compiler makes torch warn of itself.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("precision", "compile"), WAYS)
def test_precisions_and_compilation_learn(teacher: RealViT, precision: str, compile: bool) -> None:
    data = quadrants(TINY, 128)
    stage = replace(QUICK_STAGE, epochs=8, precision=precision, compile=compile, threads=1)
    assert train_student(teacher, data, data, [stage]).metrics["top1"] > 0.9


def test_bf16_is_refused_where_it_would_round_products() -> None:
    config = replace(TINY, embed_dim=64, mlp_ratio=9.0)
    data, teacher = quadrants(config, 8), RealViT(config)
    with pytest.raises(BivitError, match=r"exact for dot products of up to 512 signs .* got 576 and 4; set precision"):
        train_student(teacher, data, data, [replace(QUICK_STAGE, precision="bf16")])


def test_a_loss_that_is_not_finite_stops_and_says_where() -> None:
    data = quadrants(TINY, 64)
    objective = Supervised(RealViT(TINY))
    fit = Fit("teacher", objective, data, data, replace(QUICK, epochs=3), 0, Session())
    forward, calls = objective.cross_entropy, []

    def spoilt(logits: Tensor, targets: Tensor) -> Tensor:
        calls.append(logits)
        return forward(logits, targets) * (math.nan if len(calls) == 4 else 1.0)

    objective.cross_entropy = spoilt  # type: ignore[method-assign]
    message = r"teacher: gradient, loss not finite at step 1 of epoch 2; means before it: loss 1\.\d+; lower lr"
    with pytest.raises(BivitError, match=message):
        fit.run()
    assert all(bool(p.isfinite().all()) for p in objective.model.parameters())


def refuse(message: str, teacher: RealViT, data: Dataset, **changes: Any) -> None:
    with pytest.raises(BivitError, match=message):
        train_student(teacher, data, data, [replace(QUICK_STAGE, **changes)], config=TINY)


def test_what_does_not_fit_is_refused_by_name() -> None:
    data, fitting = quadrants(TINY, 8), RealViT(TINY)
    other = Dataset("five", data.images, data.labels, ("a", "b", "c", "d", "e"))
    refuse("five has 5 classes, the model 3; set model.num_classes to 5", fitting, other)
    refuse("the teacher is of another shape than the student", RealViT(replace(TINY, embed_dim=32)), data)
    refuse("the teacher is of another shape .* differ in pos_embed", RealViT(replace(TINY, patch_size=1)), data)
    with pytest.raises(BivitError, match="needs the student's blocks, heads and tokens"):
        Distilled(BiViT(TINY), RealViT(replace(TINY, depth=1)), Distillation(ranking=0.1))
    with pytest.raises(BivitError, match="the teacher has num_classes 4, the student 3"):
        Distilled(BiViT(TINY), RealViT(replace(TINY, num_classes=4)), Distillation())
    with pytest.raises(BivitError, match="both weights must be above 0, got labels 0"):
        Distilled(BiViT(TOKENS), RealViT(TOKENS), Distillation(labels=0.0))
    with pytest.raises(BivitError, match="seed must be 0 or more, got -1"):
        train_teacher(TINY, data, data, QUICK, seed=-1)


def test_a_deeper_teacher_teaches_by_its_logits() -> None:
    """There are no attention scores to compare then, not even afterwards."""
    data, stage = quadrants(TINY, 32), replace(QUICK_STAGE, epochs=1, start="random")
    deeper = RealViT(replace(TINY, depth=3))
    assert train_student(deeper, data, data, [stage], config=TINY).metrics["agreement"] == []
    refuse("needs the student's blocks", deeper, data, start="random", distillation=Distillation(ranking=0.1))


def test_images_of_another_size_are_refused() -> None:
    data = quadrants(replace(TINY, img_size=8), 8)
    with pytest.raises(BivitError, match=r"images must have shape \[B, 4, 4, 1\], got \[8, 8, 8, 1\]"):
        train_teacher(TINY, data, data, QUICK)


def test_the_student_starts_from_the_teachers_weights() -> None:
    torch.manual_seed(0)
    real, student = RealViT(TOKENS), BiViT(TOKENS)
    with torch.no_grad():
        for parameter in real.parameters():
            parameter.normal_()
    extras = {
        name: t.clone() for name, t in student.state_dict().items() if ".q_norm." in name or ".attn_sign." in name
    }
    start_from(student, real)
    source, result = real.state_dict(), student.state_dict()
    assert all(torch.equal(result[name], source[name]) for name in set(source) & set(result))
    assert torch.equal(result["blocks.1.attn.v_sign.bias"], source["blocks.1.attn.qkv.bias"][-TOKENS.embed_dim :])
    assert torch.equal(result["blocks.0.mlp.act.bias"], source["blocks.0.mlp.fc1.bias"])
    assert all(torch.equal(result[name], tensor) for name, tensor in extras.items())


@pytest.mark.parametrize(("kind", "made"), [("weights", BinaryWeightViT), ("binary", BiViT)])
def test_a_random_start_takes_the_pixel_normalisation_only(kind: str, made: type) -> None:
    real = RealViT(TINY, PixelNorm((0.25,), (0.5,)))
    started, random = (make_student(replace(QUICK_STAGE, kind=kind, start=start), TINY, real) for start in STARTS)
    for student in (started, random):
        assert isinstance(student, made)
        assert student.pixels == real.pixels
    same = {
        key for key, tensor in real.named_parameters() if key in dict(started.named_parameters()) and tensor.std() > 0
    }
    assert all(torch.equal(started.get_parameter(key), real.get_parameter(key)) for key in same)
    assert not any(torch.equal(random.get_parameter(key), real.get_parameter(key)) for key in same)


def test_only_real_valued_matrices_decay() -> None:
    for model, expected in (
        (random_model(TOKENS), {"patch_embed.proj.weight", "head.weight", "head_dist.weight"}),
        (BinaryWeightViT(TOKENS), {"patch_embed.proj.weight", "head.weight", "head_dist.weight"}),
        (RealViT(TINY), {n for n, p in RealViT(TINY).named_parameters() if n.endswith("weight") and "norm" not in n}),
    ):
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        decayed, plain, scales = parameter_groups(model, 0.1, 0.5)
        assert [group["weight_decay"] for group in (decayed, plain, scales)] == [0.1, 0.0, 0.0]
        assert {names[id(parameter)] for parameter in decayed["params"]} == expected
        assert len(decayed["params"]) + len(plain["params"]) + len(scales["params"]) == len(names)


def test_scaling_factors_of_the_attention_learn_slowly() -> None:
    model = random_model(TINY)
    optimizer = make_optimizer(model, replace(QUICK_STAGE, scale_lr=0.25))
    set_learning_rate(optimizer, 0.5)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert {name for name, rate in rates.items() if rate != 0.5} == {f"blocks.{i}.attn.attn_sign.scale" for i in (0, 1)}
    assert rates["blocks.0.attn.attn_sign.scale"] == 0.125
    set_learning_rate(make_optimizer(RealViT(TINY), QUICK), 0.5)


def test_learning_rate_rises_and_falls() -> None:
    rates = [learning_rate(step, 100, 0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] < 0.001
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert learning_rate(0, 1, 0.0) == 1.0


def test_predictions_are_the_lowest_index_of_the_largest_logit() -> None:
    logits = torch.tensor([[0.0, 2.0, 2.0], [1.0, 1.0, 1.0], [-3.0, -2.0, -1.0]])
    assert first_largest(logits).tolist() == [1, 0, 2]
    with pytest.raises(BivitError, match="no images"):
        predict(random_model(TINY), random_images(TINY, 0))


def test_evaluate_is_the_share_of_right_predictions() -> None:
    model, images = random_model(TINY), random_images(TINY, 40)
    labels = predict(model, images, batch_size=7).numpy()
    labels[:10] = (labels[:10] + 1) % 3
    assert evaluate(model, Dataset("noise", images, labels, ("a", "b", "c"))) == 0.75
