"""Whole engines under hostile traffic: no image lost, none answered wrongly, no hang, in step again after each error.

Senders queue ahead, never withdraw a beat and break frames; readers come late; runs are stopped; networks change. Every
simulation is watched for the bus rules.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from engines import tiny_build
from scenarios import Story, random_story
from shapes import TOKENS, tiny_engine

from bivit.cosim.scenario import Outcome, play
from bivit.sim.random_network import random_network

pytestmark = pytest.mark.slow

#: Networks of one image size that differ in everything else that a load can change.
NETWORKS = [
    random_network(replace(TOKENS, depth=1), seed=1),
    random_network(
        replace(TOKENS, depth=1, num_classes=4, attn_mode="score", class_token=False, dist_token=False, pool="mean"),
        seed=2,
    ),
    random_network(replace(TOKENS, depth=2, embed_dim=8, num_heads=1, norm_mode="mean", dist_token=False), seed=3),
]
PIXEL_BYTES = tiny_engine().pixel_bytes
#: Seeds, in simulations of some stories each.
SEEDS, STORIES = 20, 5


def played(stories: list[Story], folder: Path, *, stall: float, seed: int) -> list[list[Outcome]]:
    """Simulate stories one after the other; each begins with a reset."""
    steps = [step for story in stories for step in story.steps]
    outcomes = iter(play(tiny_build(), steps, folder, stall=stall, seed=seed))
    return [[next(outcomes) for _ in story.steps] for story in stories]


@pytest.mark.parametrize("first", range(0, SEEDS, STORIES))
def test_random_stories(first: int, tmp_path: Path) -> None:
    stories = [random_story(NETWORKS, PIXEL_BYTES, seed) for seed in range(first, first + STORIES)]
    happened: Counter[str] = Counter()
    stall = [0.0, 0.1, 0.3, 0.6][first // STORIES % 4]
    for story, outcomes in zip(stories, played(stories, tmp_path, stall=stall, seed=first), strict=True):
        happened.update(story.check(outcomes))
    assert happened["run"] > 0
    assert happened["broken frame"] > 0
