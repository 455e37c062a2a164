"""Memories that say that a word counts for nothing which is read as it is written: then it may be anything."""

from __future__ import annotations

import pytest
from flow_campaign import bench_of, quick_builds, run_trials
from mutate.subjects import subject_of
from poisoned import poisoned

from bivit.hw.emit import engine_verilog

pytestmark = pytest.mark.slow


def test_a_word_that_is_read_as_it_is_written_counts_for_nothing() -> None:
    subject = subject_of("tiny")
    verilog = engine_verilog(subject.flow)
    text, reads = poisoned(verilog)
    assert reads >= verilog.count("no_rw_check")
    with quick_builds():
        bench = bench_of(subject.flow, text)
        wrong, _ = poisoned(verilog, any_word=True)
        other = bench_of(subject.flow, wrong)
    assert run_trials(bench, subject.some, stall=0.0) == []
    assert run_trials(bench, subject.some, stall=0.4) == []
    # The words are those that the engine computes with: where others are wrong as well, so are its answers.
    assert run_trials(other, subject.some[:1], stall=0.0) != []
