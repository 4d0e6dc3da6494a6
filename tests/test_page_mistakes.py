"""The page on what the best schedule gets wrong: classes, confusions, images."""

import functools
import random

import numpy as np
import pages
import pytest
from figures import check, check_table
from made_evidence import thumbnail
from made_search import Made, MadeSearch

from autofreeze.evidence import Evidence
from autofreeze.figures import name_of_trial
from autofreeze.mistakes import Confusion, Mistakes, WrongImage
from autofreeze.report.page import gallery
from autofreeze.report.page.figure import Absent, Figure, Gallery, Table, label
from autofreeze.report.page.figures import classes, confusion
from autofreeze.report.report import Report

MATRIX = np.array([[40, 8, 0, 2], [1, 30, 0, 3], [0, 0, 0, 0], [12, 0, 0, 28]])
"""Of the best schedule: the third class was never scored."""

BASELINE = np.array([[30, 13, 0, 7], [3, 30, 0, 1], [0, 0, 0, 0], [4, 1, 0, 35]])
NAMES = ("cat", "dog", "emu", "fox")


@pytest.fixture(params=list(pages.SCENARIOS))
def scenario(request):
    return pages.report_of(request.param)


@functools.cache
def searched(names, confirmed):
    return MadeSearch(Made(classes=names, confirmed=confirmed, trials=12), random.Random(0)).result()


def told(matrix, trial, *, runs=(6, 7, 8), per_image=2):
    images = tuple(-(-int(count) // per_image) for count in matrix.sum(axis=1))
    counts = tuple((int(row), int(column), int(matrix[row, column])) for row, column in np.argwhere(matrix))
    return Confusion(trial=trial, runs=runs, images=images, counts=counts)


def report_on(best=MATRIX, baseline=BASELINE, *, names=NAMES, images=(), confirmed=True, **fields):
    """A report of a search with these mistakes."""
    result = searched(tuple(names), confirmed)
    other = next(one.number for one in result.baselines if one.number != result.best.number)
    confusions = [told(best, result.best.number)]
    if baseline is not None:
        confusions.append(told(baseline, other, **fields))
    found = Mistakes(
        fresh=confirmed, confusions=tuple(confusions), images=tuple(images), runs=12, images_scored=140,
        images_wrong=max(len(images), 1),
    )  # fmt: skip
    return Report(result, Evidence(mistakes=found))


def wrong(number, **fields):
    given = {
        "name": f"cat/{number}.jpg", "label": 0, "predicted": 1, "wrong": 4, "scored": 6, "other_wrong": 2,
        "other_scored": 5, "other_same": 1, "thumbnail": thumbnail(number),
    }  # fmt: skip
    return WrongImage(**{**given, **fields})


def rows(table):
    return [tuple(cell.text for cell in row) for row in table.rows]


# Every kind of search


def test_figures_and_tables_keep_to_what_all_must_keep_to(scenario):
    check(classes.figure(scenario))
    check(confusion.figure(scenario))
    check_table(classes.table(scenario))
    check_table(confusion.table(scenario))


def test_they_are_there_wherever_there_are_mistakes_and_else_say_why_not(scenario):
    parts = [classes.figure(scenario), confusion.figure(scenario), gallery.gallery(scenario)]
    there = scenario.evidence.mistakes is not None
    assert {isinstance(part, Absent) for part in parts} == {not there}
    if there:
        assert [type(part) for part in parts] == [Figure, Figure, Gallery]


def test_a_training_of_ones_own_has_no_classes():
    part = classes.figure(pages.report_of("own"))
    assert part.reason == "A training of one's own has no classes."


def test_without_a_best_schedule_the_headline_says_why():
    report = pages.report_of("only_failed")
    assert gallery.gallery(report).reason == "No trial was completed, so there is no best schedule."


# Accuracy by class


def drawn(figure, name):
    return next(trace for trace in figure.traces if trace.get("name", "").startswith(name))


def test_each_class_has_its_accuracies_the_lowest_first_and_one_never_scored_last():
    figure = check(classes.figure(report_on()))
    axis = figure.layout["yaxis"]
    assert axis["ticktext"] == ["fox", "cat", "dog", "emu (not scored)"]
    best, baseline = drawn(figure, "the best schedule"), drawn(figure, "the best baseline")
    assert best["x"][:3] == pytest.approx([28 / 40, 40 / 50, 30 / 34], rel=1e-5)
    assert baseline["x"][:3] == pytest.approx([35 / 40, 30 / 50, 30 / 34], rel=1e-5)
    assert (best["x"][3], baseline["x"][3]) == (None, None)
    assert best["y"] == baseline["y"] == axis["tickvals"] == [0, 1, 2, 3]
    low, high = axis["range"]
    assert low > high  # so the first is on top


def test_accuracies_are_unrounded_on_hover_with_counts_beside_them():
    best = drawn(classes.figure(report_on()), "the best schedule")
    assert best["customdata"][2] == ["dog", repr(30 / 34), "30 of 34 (17 images)"]


def test_accuracies_are_told_in_words():
    alt = classes.figure(report_on()).alt
    for part in ("fox: 0.700 against 0.875", "cat: 0.800 against 0.600", "No image was scored of emu"):
        assert part in alt
    assert f"{98 / 124:.3f}" in alt


def test_of_many_classes_the_extremes_are_told_and_the_largest_leads():
    n = 9
    best = np.diag(np.arange(10, 10 + n)) + 1 - np.eye(n, dtype=int)
    baseline = best.copy()
    baseline[3, 3], baseline[4, 4] = 1, 99
    alt = classes.figure(report_on(best, baseline, names=[f"class{one}" for one in range(n)])).alt
    assert "Lowest is class0: 0.556" in alt
    assert "Highest is class8: 0.692" in alt
    assert "furthest ahead on class3 (+50.8 pt), and least on class4 (-28.9 pt)" in alt


def test_no_interval_is_claimed_and_it_says_why():
    figure = classes.figure(report_on())
    assert "no interval is given" in figure.note
    assert "3 runs on fresh seeds, in all 62 validation images" in figure.note.lower()
    assert not any("error_x" in trace for trace in figure.traces)


def test_a_search_without_confirmation_says_that_it_is_partly_luck():
    figure = classes.figure(report_on(confirmed=False))
    assert "of the search, on one seed" in figure.note
    assert "partly luck" in figure.note


def test_it_says_when_the_baseline_rests_on_other_runs():
    figure = classes.figure(report_on(runs=(0, 1, 2, 3, 4, 5)))
    assert "was left behind early, and rests on 6 runs on fresh seeds" in figure.note
    assert "left behind" not in classes.figure(report_on()).note


def test_of_a_hundred_classes_the_lowest_forty_are_drawn_and_all_are_in_the_table():
    n = 100
    rng = np.random.default_rng(1)
    best = np.diag(rng.integers(1, 50, n)) + (np.arange(n)[:, None] + 1 == np.arange(n)) * 20
    report = report_on(best, best, names=[f"class{one}" for one in range(n)])
    figure, table = check(classes.figure(report)), check_table(classes.table(report))
    shares = np.sort(best.diagonal() / best.sum(axis=1))
    assert drawn(figure, "the best schedule")["x"] == pytest.approx(shares[:40], rel=1e-5)
    assert "Of 100 classes the 40 lowest are drawn" in figure.note
    assert len(table.rows) == n


def test_the_table_has_all_counts_by_class():
    table = check_table(classes.table(report_on()))
    assert table.headings[:3] == ("class", "training images", "validation images")
    cat, _, emu, _ = rows(table)
    assert cat[2:] == ("25", "50", "40", "0.800", "0.600", "+20.0")
    assert emu[2:] == ("0", "0", "0", "–", "–", "–")
    assert table.rows[0][5].key == 0.8


def test_without_a_baseline_the_best_schedule_is_shown_alone():
    report = report_on(baseline=None)
    assert [trace["name"] for trace in check(classes.figure(report)).traces] == ["the best schedule"]
    assert len(check_table(classes.table(report)).headings) == 6
    assert "no baseline to compare with" in classes.figure(report).alt


# Confusions


def maps(figure):
    """The heat maps of what is wrong, and of what is right, of each schedule in turn."""
    found = [trace for trace in figure.traces if trace["type"] == "heatmap"]
    return [one for one in found if "customdata" in one], [one for one in found if "customdata" not in one]


def test_a_map_has_the_share_of_each_row_and_nothing_where_nothing_was():
    wrongs, rights = maps(check(confusion.figure(report_on())))
    for matrix, trace, right in zip((MATRIX, BASELINE), wrongs, rights, strict=True):
        for row, column in np.ndindex(matrix.shape):
            share = matrix[row, column] / max(matrix[row].sum(), 1)
            expected = None if row == column or not share else pytest.approx(share, abs=1e-4)
            assert trace["z"][row][column] == expected
            diagonal = 1 if row == column and matrix[row].sum() else None
            assert right["z"][row][column] == diagonal


def test_both_maps_have_one_scale():
    (best, baseline), _ = maps(confusion.figure(report_on()))
    assert best["zmax"] == baseline["zmax"] == pytest.approx(12 / 40)
    assert (best["showscale"], baseline["showscale"]) == (True, False)


def test_a_cell_says_on_hover_who_was_taken_for_whom_how_often():
    (best, _), _ = maps(confusion.figure(report_on()))
    assert best["customdata"][3][0] == ["fox", "cat", 12, 40, repr(12 / 40)]
    assert best["customdata"][0][0] == ["cat", "cat", 40, 50, repr(40 / 50)]
    assert best["customdata"][2][0] == ["emu", "cat", 0, 0, "0"]


def test_numbers_stand_in_the_cells_of_a_few_classes_alone():
    figure = confusion.figure(report_on())
    numbers = [trace for trace in figure.traces if trace.get("mode") == "text"]
    cells = dict(zip(zip(numbers[0]["y"], numbers[0]["x"], strict=True), numbers[0]["text"], strict=True))
    assert cells == {
        (0, 0): "80", (0, 1): "16", (0, 3): "4", (1, 0): "3", (1, 1): "88", (1, 3): "9", (3, 0): "30",
        (3, 3): "70",
    }  # fmt: skip
    n = confusion.WRITTEN + 1
    many = report_on(np.eye(n, dtype=int), None, names=[str(one) for one in range(n)])
    assert not any(trace.get("mode") == "text" for trace in check(confusion.figure(many)).traces)


def test_a_share_that_rounds_to_nothing_or_to_all_says_so():
    best = np.array([[1000, 1], [0, 5]])
    figure = check(confusion.figure(report_on(best, None, names=("a", "b"))))
    (numbers,) = (trace for trace in figure.traces if trace.get("mode") == "text")
    assert numbers["text"] == [label(">99"), label("<1"), "100"]


def test_the_first_class_is_on_top_in_both_maps_and_columns_are_named_below():
    layout = confusion.figure(report_on()).layout
    for axis in ("yaxis", "yaxis2"):
        low, high = layout[axis]["range"]
        assert low > high
        assert layout[axis]["ticktext"] == list(NAMES)
    assert layout["xaxis2"]["ticktext"] == list(NAMES)
    assert layout["yaxis"]["domain"][0] > layout["yaxis2"]["domain"][1]


def test_confusions_are_told_in_words():
    alt = confusion.figure(report_on()).alt
    assert "fox for cat (12 of 40 times, 0.300; the baseline 4 of 40)" in alt
    assert alt.index("fox for cat") < alt.index("cat for dog") < alt.index("dog for fox")
    assert "5 pairs of classes are confused at all." in alt


def test_where_nothing_is_confused_it_says_so():
    report = report_on(np.diag([5, 6, 7, 8]), None)
    assert "takes no class for another" in check(confusion.figure(report)).alt
    assert check_table(confusion.table(report)).reason.startswith("Every image was classified rightly")


def test_the_table_has_the_most_frequent_pairs_first():
    table = check_table(confusion.table(report_on()))
    assert rows(table)[0] == ("fox", "cat", "12", "40", "0.300", "4", "40", "0.100")
    assert [row[2] for row in rows(table)] == ["12", "8", "3", "2", "1"]


def test_forty_classes_are_drawn_whole_and_of_more_only_the_pairs():
    rng = np.random.default_rng(0)
    for n, kind in ((40, Figure), (41, Absent)):
        best = rng.integers(0, 3, (n, n)) + 20 * np.eye(n, dtype=int)
        report = report_on(best, best, names=[f"a class of images {one}" for one in range(n)])
        assert isinstance(check(confusion.figure(report)), kind)
        table = check_table(confusion.table(report))
        assert isinstance(table, Table)
        assert len(table.rows) == confusion.MOST_PAIRS
        assert f"{confusion.MOST_PAIRS} of " in table.note


def test_long_names_of_forty_classes_that_are_all_confused_keep_the_page_small():
    rng = np.random.default_rng(0)
    for share in (0.1, 1):  # of the pairs
        best = (rng.random((40, 40)) < share) * rng.integers(1, 9, (40, 40)) + 40 * np.eye(40, dtype=int)
        check(confusion.figure(report_on(best, best, names=[f"{'a name ' * 40}{one}" for one in range(40)])))


# The images


def test_pictures_are_those_of_the_evidence_in_their_order():
    images = [wrong(0, wrong=6), wrong(1, predicted=3, thumbnail="")]
    first, second = gallery.gallery(report_on(images=images)).pictures
    assert (first.name, first.label, first.predicted) == ("cat/0.jpg", "cat", "dog")
    assert (first.wrong, first.scored, first.thumbnail) == (6, 6, thumbnail(0))
    assert (second.predicted, second.thumbnail) == ("fox", "")


def test_beside_a_picture_stands_what_the_baseline_made_of_it():
    report = report_on(
        images=[wrong(0), wrong(1, other_same=2), wrong(2, other_scored=0, other_wrong=0, other_same=0)]
    )
    trials = {one.number: one for one in report.result.trials}
    name = name_of_trial(trials[report.evidence.mistakes.confusions[1].trial])
    beside = [one.beside for one in gallery.gallery(report).pictures]
    assert beside == [f"{name}: 2 of 5", f"{name}: 2 of 5, same class", ""]
    alone = gallery.gallery(report_on(baseline=None, images=[wrong(0)]))
    assert alone.pictures[0].beside == ""


def test_it_says_what_the_pictures_are_for_and_what_they_rest_on():
    note = gallery.gallery(report_on(images=[wrong(0)])).note
    assert note.startswith("Look here for wrong labels")
    assert "12 runs on fresh seeds, 140 validation images, 1 of them wrong at least once" in note
    assert "No image of the test split is among them." in note
    assert "scored once" not in note


def test_that_one_run_is_weak_evidence_is_said():
    note = gallery.gallery(report_on(images=[wrong(0, wrong=1, scored=1)])).note
    assert "Each of them was scored once" in note


def test_without_a_wrong_image_it_says_so():
    part = gallery.gallery(report_on())
    assert part.reason.startswith("Every image was classified rightly")


# Names from the data


def test_hostile_names_are_shown_as_they_are_and_never_read():
    n = len(pages.HOSTILE)
    best = 5 * np.eye(n, dtype=int) + 1
    images = [wrong(0, name=name, label=place) for place, name in enumerate(pages.HOSTILE)]
    report = report_on(best, best, names=pages.HOSTILE, images=images)
    (trace, _), _ = maps(check(confusion.figure(report)))
    assert trace["customdata"][0][1][0] == "&lt;script&gt;alert(1)&lt;/script&gt;"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in str(check(classes.figure(report)).traces)
    for table in (classes.table(report), confusion.table(report)):
        check_table(table)
    for picture in gallery.gallery(report).pictures:
        assert (picture.name + picture.label).isprintable()


def test_names_that_are_equal_when_cut_stay_two_classes():
    names = [f"{'a long name ' * 5}{number}" for number in range(4)]
    figure = check(classes.figure(report_on(names=names)))
    assert len(figure.layout["yaxis"]["tickvals"]) == 4
    assert drawn(figure, "the best schedule")["customdata"][0][0] == names[3]
