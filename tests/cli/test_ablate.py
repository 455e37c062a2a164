"""The ablation: its rows, its table, and one small run that is continued."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bivit.cli.ablate import Savings, markdown, summary_row
from bivit.cli.main import app
from bivit.cli.runs.ablation_job import Job, Measured
from bivit.cli.runs.variants import VARIANTS, chosen_variants
from bivit.model.train.recipe import load_recipe
from bivit.sim.engine.presets import engine_for
from bivit.sim.errors import BivitError
from bivit.sim.estimate.mode_savings import mode_savings
from bivit.sim.flow.config import FlowConfig
from bivit.sim.network.presets import vit_preset


def test_the_rows_of_the_paper_differ_in_attention_and_ranking_only() -> None:
    plain = load_recipe("digits")
    stages = {
        name: load_recipe("digits", variant.settings(plain)).stages[0]
        for name, variant in VARIANTS.items()
        if not variant.modes
    }
    attention = {name: stage.binarization.attention for name, stage in stages.items()}
    assert attention == {
        "vanilla": "fixed",
        "lsf": "learned",
        "rad": "fixed",
        "both": "learned",
        "lsf_logits": "learned",
    }
    assert [name for name, stage in stages.items() if stage.distillation.ranking > 0] == ["rad", "both"]
    common = {
        replace(stage, distillation=stages["both"].distillation, binarization=stages["both"].binarization)
        for stage in stages.values()
    }
    assert len(common) == 1


@pytest.mark.parametrize("name", ["mean", "threshold", "score", "hardware"])
def test_mode_rows_change_the_shape_and_nothing_else(name: str) -> None:
    plain = load_recipe("digits")
    recipes = load_recipe("digits", VARIANTS[name].settings(plain))
    both = load_recipe("digits", VARIANTS["both"].settings(plain))
    assert recipes.stages == both.stages
    assert recipes.model == VARIANTS[name].modes


def test_unknown_variants_are_refused() -> None:
    with pytest.raises(BivitError, match=r"variants must be some of vanilla, .* got 'both,neither'"):
        chosen_variants("both,neither")


def test_a_summary_has_mean_and_spread() -> None:
    results = [
        Measured(seed=seed, top1=top1, seconds=2.0, images_per_s=1.0) for seed, top1 in enumerate((0.7, 0.8, 0.9))
    ]
    row = summary_row("lsf", "text", results)
    assert row.top1_mean == pytest.approx(0.8)
    assert row.top1_spread == pytest.approx(0.1)
    assert row.seeds == (0, 1, 2)
    assert row.ones is None
    assert summary_row("lsf", "text", results[:1]).top1_spread is None
    assert "| lsf | text | 80.00 | 10.00 |" in markdown("c", [row])
    assert "hardware" not in row.to_dict()
    assert summary_row("lsf", "text", results, Savings(None)).to_dict()["hardware"] is None


def test_savings_of_modes() -> None:
    config = vit_preset("digits")
    engine = engine_for(config, rows=8, columns=16, lanes=16, dense_lanes=16, program_words=512)
    flow = FlowConfig(engine=engine, drain_rows=4, norm_lanes=32, head_norm_lanes=32, softmax_lanes=64)
    nothing = mode_savings(config, flow, "ZCU102")
    assert nothing.cycles == nothing.default_cycles
    assert nothing.idle == {}
    score = mode_savings(replace(config, attn_mode="score"), flow, "ZCU102")
    threshold = mode_savings(replace(config, qk_mode="threshold"), flow, "ZCU102")
    assert list(score.idle) == ["softmax"]
    assert list(threshold.idle) == ["head_norm"]
    # Units work beside the array, which takes all its steps in every mode.
    assert score.default_cycles == threshold.default_cycles == nothing.cycles
    assert max(score.cycles, threshold.cycles) < 1.1 * nothing.cycles
    assert threshold.to_dict()["idle_units"]["head_norm"]["dsps"] > 0


@pytest.fixture
def small_data(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 10
    images = (rng.integers(0, 60, (80, 8, 8)) + 20 * labels[:, None, None]).astype(np.uint8)
    np.savez(tmp_path / "small.npz", images=images, labels=labels)
    return str(tmp_path / "small.npz")


@pytest.mark.slow
def test_a_small_ablation_continues(small_data: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    base = ["ablate", "--preset", "digits", "--data", small_data, "--out", str(out), "--epochs", "1", "--seeds", "1"]
    first = CliRunner().invoke(app, [*base, "--variants", "vanilla", "--jobs", "1", "--json"])
    assert first.exit_code == 0, first.output
    rows = {row["variant"]: row for row in json.loads(first.stdout)["rows"]}
    assert list(rows) == ["teacher", "vanilla"]
    assert rows["vanilla"]["seeds"] == [0]
    assert rows["vanilla"]["same_predictions"] == 1.0
    student = out / "vanilla" / "seed0" / "network.safetensors"
    before = student.stat().st_mtime_ns
    second = CliRunner().invoke(app, [*base, "--variants", "vanilla,hardware", "--jobs", "1", "--json"])
    assert second.exit_code == 0, second.output
    again = {row["variant"]: row for row in json.loads(second.stdout)["rows"]}
    assert student.stat().st_mtime_ns == before
    assert again["vanilla"] == rows["vanilla"]
    assert again["hardware"]["hardware"]["cycles"] < again["hardware"]["hardware"]["default_cycles"]
    assert (out / "ablation.md").read_text().count("\n| ") >= 4
    changed = CliRunner().invoke(app, [*base, "--variants", "vanilla", "--jobs", "1", "--set", "stages.0.start=random"])
    assert changed.exit_code == 2
    assert "holds the result of another command" in changed.output
    assert "give another --out" in changed.output


def test_settings_change_every_row_and_those_of_a_variant_win() -> None:
    job = Job(
        "digits", "digits", "data", Path("out"), 1, 1, ("stages.0.start=random", "stages.0.distillation.labels=3")
    )
    assert job.recipes().stages[0].start == "random"
    both = job.recipes(VARIANTS["both"]).stages[0]
    assert (both.start, both.distillation.labels, both.epochs) == ("random", 0.1, 1)


@pytest.mark.slow
def test_a_failed_job_is_named(tmp_path: Path) -> None:
    arguments = ["ablate", "--preset", "digits", "--data", str(tmp_path / "none.npz"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*arguments, "--seeds", "1", "--jobs", "1"])
    assert result.exit_code == 2
    assert "teacher seed 0" in result.output
    assert "there is no data set" in result.output
