"""Whole engines under hostile traffic: no image lost, none answered wrongly, no hang, in step again after each error.

Senders queue ahead, never withdraw a beat and break frames; readers come late; runs are stopped; networks change. Every
simulation is watched for the bus rules.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from engines import tiny_build, tiny_flow
from scenarios import BUSY, EVENTS, IRQ_ENABLE, STOP, Story, full_queue_story, random_story
from shapes import TOKENS

from bivit.cosim.scenario import Cycles, Outcome, Reset, Start, Wait, Write, play
from bivit.sim.network.random import random_network

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
PIXEL_BYTES = tiny_flow().engine.pixel_bytes
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


def test_the_stories_hold_every_kind_of_event() -> None:
    kinds = Counter(kind for seed in range(SEEDS) for kind in random_story(NETWORKS, PIXEL_BYTES, seed).kinds)
    assert set(kinds) == set(EVENTS)


def told(story: Story, folder: Path, *, stall: float = 0.2) -> list[str]:
    (outcomes,) = played([story], folder, stall=stall, seed=1)
    return story.check(outcomes)


def started(network: int = 0) -> Story:
    story = Story(NETWORKS, PIXEL_BYTES, Random(1))
    story.step(Reset())
    story.load(network)
    return story


@pytest.mark.parametrize("count", [65536, 65537, 1 << 31])
def test_more_images_than_sixteen_bits_count(count: int, tmp_path: Path) -> None:
    """The run goes on behind the last queued image, and a stop ends it with all of them."""
    story = started()
    story.queue(["good"] * 3)
    story.step(Start(count))
    story.step(Wait(10_000, for_pixels=True))
    story.step(Cycles(6000))
    story.step(Wait(1))
    busy = len(story.steps) - 1
    story.step(Write("CONTROL", STOP | IRQ_ENABLE))
    story.end(3, stopped=True)
    (outcomes,) = played([story], tmp_path, stall=0.0, seed=1)
    assert outcomes[busy].registers["STATUS"] & BUSY
    assert outcomes[busy].registers["DONE"] == 3
    assert story.check(outcomes) == ["stop"]


def test_images_queued_ahead_belong_to_the_runs_in_their_order(tmp_path: Path) -> None:
    story = started()
    story.queue(["good"] * 6)
    for images in (1, 2, 1, 2):
        story.run(images)
    assert told(story, tmp_path) == ["run"] * 4


@pytest.mark.parametrize("kind", ["short", "long", "endless"])
def test_a_broken_frame_costs_itself(kind: str, tmp_path: Path) -> None:
    """At the head, in the middle and at the end of what is queued; the images around it are all answered."""
    story = started()
    story.queue([kind, "good", "good", kind, kind, "good", kind])
    for images in (1, 3, 1, 2):
        story.run(images)
    story.queue(["good"])
    story.run(1)
    happened = told(story, tmp_path)
    assert [event for event in happened if event != "dropping"] == ["broken frame"] * 4 + ["run"]
    assert kind != "endless" or "dropping" in happened  # a run may start while the frame before is dropped


def test_a_full_queue_of_logits_holds_the_engine_and_is_counted(tmp_path: Path) -> None:
    story = full_queue_story(NETWORKS, tiny_flow().engine.queue_logits, PIXEL_BYTES)
    assert told(story, tmp_path, stall=0.0) == ["run", "run"]


def test_networks_follow_one_another_without_a_reset(tmp_path: Path) -> None:
    story = started(2)
    for network in (0, 1, 2, 1):
        story.queue(["good"] * 2)
        story.run(1)
        story.load(network)
        story.run(1)
    assert told(story, tmp_path) == ["run"] * 8


def test_a_lost_image_is_noticed(tmp_path: Path) -> None:
    """The teller itself: an outcome of another image, a missing logit and a beat too many are each an error."""
    story = started()
    story.queue(["good"] * 3)
    story.run(1)
    story.run(1)
    (outcomes,) = played([story], tmp_path, stall=0.0, seed=1)
    assert story.check(outcomes) == ["run", "run"]
    last = outcomes[-1]
    for wrong in (
        replace(last, logits=outcomes[-3].logits),
        replace(last, logits=last.logits[:-1]),
        replace(last, pixel_beats=last.pixel_beats + 1),
        replace(last, finished=False),
        replace(last, registers=last.registers | {"ERROR": 11}),
        replace(last, registers=last.registers | {"DONE": 0}),
    ):
        with pytest.raises(AssertionError):
            story.check([*outcomes[:-1], wrong])
