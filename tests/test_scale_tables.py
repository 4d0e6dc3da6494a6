"""Searches on many workers are held against the one with one worker at equal work, on the same draw."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).parents[1] / "benchmarks" / "scale_tables.py"


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("scale_tables", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CURVE = [(10.0, 0.7), (20.0, 0.9), (40.0, 0.8)]
"""(work, worth) of each choice: the last one is worse, as a choice by luck may be."""


@pytest.mark.parametrize(("work", "worth"), [(9.9, 0.0), (10.0, 0.7), (39.0, 0.9), (40.0, 0.8), (99.0, 0.8)])
def test_after_so_much_work_the_newest_choice_counts(tables, work, worth):
    assert tables.at_work(CURVE, work) == worth


def line(workers, trials, work, curve, number=1):
    return {
        "cell": "made up", "times": 1, "number": number, "trials": trials, "sampler": "tpe", "prune": True,
        "workers": workers, "work": work, "curve": curve,
    }  # fmt: skip


def test_one_worker_goes_on_until_it_has_spent_what_the_many_have(tables):
    many = line(4, 50, 30.0, [(25.0, 0.6)])
    lines = [
        line(1, 50, 20.0, CURVE[:2]), line(1, 100, 50.0, CURVE), many,
        line(1, 200, 90.0, [(1.0, 0.1)], number=2),
    ]  # fmt: skip
    longest = tables.longest_alone(lines, many)
    assert longest["trials"] == 100
    assert tables.at_equal_work(many, longest) == (0.6, 0.9)  # not 0.8: that came after 30
    assert tables.alone(lines, many)["trials"] == 50


def test_where_one_worker_has_spent_less_the_many_are_cut_short(tables):
    many = line(4, 50, 60.0, [(25.0, 0.6), (45.0, 0.95)])
    assert tables.at_equal_work(many, line(1, 50, 40.0, CURVE)) == (0.6, 0.8)


def test_the_speed_up_is_that_of_the_clock_on_as_many_trials(tables):
    many = {"trials": 100, "seconds": 3.0, "makespan": 50.0}
    assert tables.speed_up(many, {"driver": {"ask": 4.0, "disk": 6.0}}) == pytest.approx(310 / 50)


def test_the_ratio_is_one_of_means_and_its_interval_keeps_draws_together(tables):
    alike = np.array([[1.0, 2.0], [2.0, 4.0], [30.0, 60.0]])
    assert tables.ratio_interval(alike) == "0.50 (0.50–0.50)"
    assert tables.ratio_interval(np.array([[3.0, 2.0]])) == "1.50"
    assert tables.ratio_interval(np.array([[1.0, 1.0], [0.0, 3.0]])).startswith("0.25 (")
