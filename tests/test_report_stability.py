"""What the report says of stability: on the terminal, in Markdown and in JSON, each figure once."""

import io
import json
import re

import pytest
from rich.console import Console

from autofreeze import recipes
from autofreeze.job import Thaw
from autofreeze.report import markdown
from autofreeze.report.files import read_report, write_report
from autofreeze.report.report import Report
from autofreeze.report.stability import drift_line, gradient_grid, lines, map_grid, stability_of
from autofreeze.report.terminal import show
from autofreeze.results import Ending

GROUPS = ("stem", "layer1", "layer2", "head")


def begun(factor=1.0, *, loss=1.1, step=0):
    """A first step of the whole backbone."""
    norms = tuple(factor * norm for norm in (1.0, 2.0, 2.0, 5.0))
    return Thaw(step=step, columns=(0, 1, 2), loss=loss, grad_norms=norms, weight_norms=(10.0,) * 4)


class Made:
    """Trials made by hand, numbered in turn."""

    def __init__(self, made_result):
        self.made = made_result
        self.trials = []

    def add(self, n, *, rate=3e-3, warmup=0.0, reason="", thaws=None, **fields):
        for turn in range(n):
            schedule = recipes.gradual(
                GROUPS, 6, head_lr=1e-2, backbone_ratio=rate / 1e-2, warmup_epochs=warmup
            )
            ending = Ending.UNSTABLE if reason else Ending.COMPLETE
            value = None if reason else 0.8
            thaw = thaws[turn] if thaws else begun(step=9 if warmup else 0)
            self.trials.append(
                self.made.trial(
                    len(self.trials), "", schedule=schedule, ending=ending, reason=reason, thaw=thaw,
                    **{"value": value, **fields},
                )
            )  # fmt: skip
        return self

    @property
    def result(self):
        return self.made.result(trials=tuple(self.trials))

    @property
    def told(self):
        return lines(stability_of(self.result))


@pytest.fixture
def search(made_result):
    return Made(made_result)


def shown(result, width=80):
    stream = io.StringIO()
    show(result, Console(file=stream, width=width))
    return stream.getvalue()


SPIKE = "loss spike: 3.1 in epoch 2, 0.5 at the start of its phase"
NAN = "non-finite loss at step 3"


def test_that_nothing_became_unstable_is_one_line_and_says_how_much_that_tells(search):
    search.add(12)
    assert search.told == ["nothing became unstable in 12 runs (95 % interval: at most 24 %)"]
    text = shown(search.result)
    assert "Nothing became unstable in 12 runs (95 % interval: at most 24 %)." in text
    assert "peak rate" not in text


def test_before_any_run_has_ended_nothing_is_said(made_result):
    assert lines(stability_of(made_result.result(trials=()))) == []
    assert "unstable" not in shown(made_result.result(trials=()))


def test_unstable_runs_are_counted_with_their_interval_and_kinds(search):
    search.add(3, reason=SPIKE).add(1, reason=NAN, warmup=1, thaws=[None]).add(6).add(4, warmup=1)
    assert search.told[0] == (
        "4 of 14 runs became unstable, 29 % (95 % interval 12 to 55 %): 3 × loss spike, 1 × non-finite loss; "
        "1 of them while the head alone trained"
    )


def test_a_claim_about_warmups_is_made_where_chance_would_not_give_it(search):
    search.add(7, reason=SPIKE).add(3).add(10, warmup=1)
    assert search.told[1] == (
        "after a warm-up runs became unstable less often than at once: 0 % against 70 % at equal peak rates, "
        "p = 0.0031"
    )
    search.trials = []
    search.add(10).add(9, warmup=1, reason=SPIKE).add(1, warmup=1)
    assert search.told[1] == (
        "after a warm-up runs became unstable more often than at once: 90 % against 0 % at equal peak rates, "
        "p < 0.001"
    )


def test_what_only_a_warmup_can_show_is_told_and_not_counted(search):
    search.add(5, reason=SPIKE).add(5).add(2, warmup=1, reason=SPIKE).add(6, warmup=1)
    search.add(2, warmup=1, reason="below the head alone: 0.4 at epoch 3, 0.6 before")
    assert search.told[1].endswith(
        "20 % against 50 % at equal peak rates, p = 0.35 (2 below the head alone not counted: only a warm-up "
        "can show that)"
    )


@pytest.mark.parametrize(
    ("at_once", "after", "words"),
    [
        ((5, 5), (2, 8), "20 % against 50 % at equal peak rates, p = 0.35"),
        ((2, 1), (0, 2), "too few runs with one and at once at equal peak rates"),
        ((2, 1), (0, 0), "no runs with one and at once train the backbone at peak rates of one decade"),
    ],
    ids=["chance", "few", "none"],
)
def test_else_it_says_that_it_cannot_be_told_and_why(search, at_once, after, words):
    for warmup, (broken, whole) in ((0, at_once), (1, after)):
        search.add(broken, reason=SPIKE, warmup=warmup).add(whole, warmup=warmup)
    assert search.told[1] == f"whether a warm-up makes that rarer cannot be told: {words}"


def test_the_map_has_a_row_for_each_decade_and_a_column_for_each_kind_of_run(search):
    search.add(2, rate=3e-4).add(1, rate=2e-2, reason=NAN).add(3, rate=2e-2).add(2, rate=5e-2, warmup=1)
    found = stability_of(search.result).instabilities
    grid = map_grid(found)
    assert grid.headings == ("peak rate", "at once", "after a warm-up", "head alone (its rate)")
    assert grid.rows == [("1e-4 to 1e-3", "0/2", "–", "–"), ("1e-2 to 1e-1", "1/4", "0/2", "–")]
    assert map_grid(found, intervals=True).rows[1][1] == "1/4 (5 to 70 %)"


FACTORS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


def with_gradients(search, factors=FACTORS, **fields):
    search.add(3, drift=0.2)
    for turn, factor in enumerate(factors):
        search.add(1, warmup=1, thaws=[begun(factor, loss=0.5, step=9)], drift=0.1 + 0.01 * turn, **fields)
    return search


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        (FACTORS, "freezing first made it smaller, × 0.45 (0.20 to 0.70) over 6 warm-ups"),
        ([10 * factor for factor in FACTORS], "freezing first made it larger, × 4.50 (2.00 to 7.00) over 6"),
        ((0.5, 2.0), "whether freezing first made it smaller cannot be told, × 1.25 over 2 warm-ups"),
    ],
)
def test_the_first_gradient_is_told_at_once_and_after_a_warmup(search, factors, words):
    (line,) = [line for line in with_gradients(search, factors).told if "first gradient" in line]
    assert line.startswith(f"the first gradient into the backbone (all of it): {words}")
    assert "one seed; 3 at once" in line
    assert line.endswith("at a loss of 1.10 and 0.50 nats")


def test_without_runs_on_both_sides_nothing_is_said_of_gradients(search):
    assert len(search.add(8).told) == 1
    assert len(search.add(8, warmup=1, thaws=[None] * 8).told) == 1


def test_what_its_size_went_with_is_told_only_where_it_is_more_than_chance(search):
    search.add(3)
    for turn, value in enumerate((0.89, 0.87, 0.86, 0.85, 0.82, 0.83, 0.8, 0.79, 0.7)):
        search.add(1, warmup=1, thaws=[begun(0.1 * (turn + 1), loss=0.5, step=9)], value=value)
    assert search.told[-1] == (
        "after a warm-up, at equal peak rates: the larger it was, the worse they ended "
        "(rank correlation -0.98, 9 runs, p < 0.001)"
    )
    search.trials = []
    search.add(3)
    for turn, value in enumerate((0.8, 0.87, 0.79, 0.85, 0.82, 0.86, 0.81, 0.83, 0.84)):
        search.add(1, warmup=1, thaws=[begun(0.1 * (turn + 1), loss=0.5, step=9)], value=value)
    assert search.told[-1].startswith(
        "after a warm-up, at equal peak rates: no link of its size can be told with the final value (rank"
    )


def test_the_table_of_gradients_gives_both_sides_and_their_ratio(search):
    grid = gradient_grid(stability_of(with_gradients(search).result).beginnings)
    assert all(len(row) == len(grid.headings) for row in grid.rows)
    assert grid.rows == [
        ("all of it", "3", "3", "0.173", "1.10", "6", "1.35", "0.0779", "0.50", "0.45 (0.20 to 0.70)")
    ]
    assert gradient_grid(stability_of(search.made.result()).beginnings) is None


def test_the_drift_is_told_for_both_sides(search):
    found = stability_of(with_gradients(search).result).beginnings
    words = (
        "drift of the features by the end, median: 0.2 at once (3 runs) and 0.125 after a warm-up (6 runs)"
    )
    assert drift_line(found) == words
    assert drift_line(stability_of(search.made.result()).beginnings) == ""


@pytest.mark.parametrize("width", [80, 100])
def test_the_terminal_keeps_to_its_width_and_shows_the_same_as_markdown_and_json(search, width, tmp_path):
    with_gradients(search).add(4, reason=SPIKE).add(1, rate=0.2, warmup=1, reason=NAN)
    text, page = shown(search.result, width), markdown.page(Report(search.result))
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    flat, flat_page = (" ".join(re.sub(r"\\", "", one).split()) for one in (text, page))
    for line in search.told:
        assert line[1:] in flat
        assert line[1:] in flat_page
    assert re.search(r"1e-3 to 1e-2 +4/7 +0/6 +–", text)
    assert "| 1e-3 to 1e-2 | 4/7 (25 to 84 %) | 0/6 (0 to 39 %) | – |" in page
    assert "| all of it | 7 |" in page
    write_report(search.result, tmp_path)
    written = json.loads((tmp_path / "report.json").read_text())["stability"]
    assert written == stability_of(search.result).model_dump(mode="json")
    assert written["instabilities"]["unstable"]["count"] == 5
    assert read_report(tmp_path) == search.result


def test_the_section_comes_before_the_trials_and_their_cost(search):
    text = shown(search.add(3, reason=SPIKE).add(3).result)
    assert text.index("became unstable") < text.index("6 trials:")
