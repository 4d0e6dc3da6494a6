"""A search sees the views that it is told; what is confirmed, exported and trained those of a training."""

import io

import pytest
from rich.console import Console

from autofreeze import api
from autofreeze.errors import ConfigError, RunFolderError
from autofreeze.export.native import NativeFile
from autofreeze.export.run import export_run
from autofreeze.measures import tell_views
from autofreeze.report import terminal
from autofreeze.report.markdown import escape, page
from autofreeze.report.report import Report
from autofreeze.report.training import summary
from autofreeze.retraining import train
from autofreeze.searchoptions import SearchOptions
from autofreeze.verdict import verdict_of

GIVEN = {
    "model": "test_resnet", "from_scratch": True, "image_size": 32, "device": "cpu", "epochs": 1,
    "space": "quick", "folds": 1, "trials": 4, "confirm": 6,
}  # fmt: skip


@pytest.fixture(scope="module")
def searched(class_folders, tmp_path_factory):
    """A search over a bank of two crops: (result, run folder, jobs, jobs for the test split)."""
    from autofreeze import imagesubject, testsplit

    root, jobs, tests = tmp_path_factory.mktemp("views"), [], []

    def watched(run, kept):
        def watch(job, *more, **named):
            kept.append(job)
            return run(job, *more, **named)

        return watch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imagesubject, "run", watched(imagesubject.run, jobs))
        patch.setattr(testsplit, "run", watched(testsplit.run, tests))
        result = api.search(
            class_folders,
            out=root / "run",
            cache_folder=str(root / "cache"),
            views="bank:2",
            erase=0.5,
            **GIVEN,
        )
    return result, root / "run", jobs, tests


def test_trials_see_the_bank_and_what_is_confirmed_and_tested_ever_new_crops(searched):
    result, _, jobs, tests = searched
    assert {job.regime.views for job in jobs if job.fresh is None} == {"bank:2"}
    assert {job.regime.views for job in jobs if job.fresh is not None} == {"online"}
    assert {job.regime.views for job in tests} == {"online"}
    assert {job.regime.erase for job in (*jobs, *tests)} == {0.5}
    assert {one.regime.views for one in result.trials} == {"bank:2"}
    assert {one.views for one in result.confirmation.candidates} == {"online"}


def test_the_file_has_the_views_of_a_training_and_its_curve_is_no_reference(
    searched, class_folders, tmp_path
):
    native = export_run(searched[1])
    assert (native.regime.views, native.regime.erase, native.curve_views) == ("online", 0.5, "bank:2")
    (tmp_path / "best.yaml").write_text(native.to_text())
    assert NativeFile.load(tmp_path / "best.yaml") == native
    trained = train(tmp_path / "best.yaml", class_folders, out=tmp_path / "out")
    assert trained.same_curve is None
    assert trained.expected_views == "bank:2"
    assert "sees new views each epoch, where the search saw bank:2 views" in summary(trained)
    # By hand, with the views of the search once more: it trains on new crops all the same.
    by_hand = native.model_copy(update={"regime": searched[0].best.regime})
    (tmp_path / "by_hand.yaml").write_text(by_hand.to_text())
    again = train(tmp_path / "by_hand.yaml", class_folders, out=tmp_path / "again")
    assert again.curve == trained.curve
    assert again.same_curve is None


def test_other_views_are_another_study(searched, class_folders):
    _, folder, *_ = searched
    for other in ({}, {"views": "bank:3", "erase": 0.5}, {"views": "bank:2"}):
        with pytest.raises(RunFolderError, match="another study"):
            api.search(class_folders, out=folder, resume=True, **{**GIVEN, **other})


def with_means(result, order):
    """The same search, its candidates with means that put their trials in an order."""
    found = result.confirmation
    candidates = tuple(
        one.model_copy(update={"mean": 0.9 - 0.1 * order.index(one.trial)}) for one in found.candidates
    )
    return result.model_copy(
        update={"confirmation": found.model_copy(update={"candidates": candidates, "chosen": order[0]})}
    )


def told(result):
    """Give what is said of the views, the same on the terminal as in Markdown."""
    (line,) = [note.sentence for note in verdict_of(result).notes if note.topic == "views"]
    console = Console(width=1000, file=io.StringIO())
    terminal.show(result, console)
    assert line in console.file.getvalue()
    assert escape(line) in page(Report(result))
    return line


def test_the_report_says_whether_the_order_changed_with_the_views(searched):
    result = searched[0]
    trials = {one.number: one for one in result.trials}
    by_score = sorted(
        (one.trial for one in result.confirmation.candidates),
        key=lambda number: (trials[number].value, -trials[number].val_loss),
        reverse=True,
    )
    assert len(by_score) > 2
    assert told(with_means(result, by_score)).endswith(f"; the order of the {len(by_score)} is the same")
    swapped = [by_score[1], by_score[0], *by_score[2:]]
    line = told(with_means(result, swapped))
    assert line.startswith(
        "fresh seeds saw online views, as the exported file has them, where the search saw bank:2;"
    )
    assert "their order changed: in the search" in line
    names = [
        trials[number].baseline or f"trial {number} ({trials[number].recipe})" for number in by_score[:2]
    ]
    assert f"in the search {names[0]}, {names[1]}" in line
    assert f"on fresh seeds {names[1]}, {names[0]}" in line


def test_what_really_happened_is_what_the_report_says(searched):
    result = searched[0]
    trials = {one.number: one for one in result.trials}
    scored = [one for one in result.confirmation.candidates if one.mean is not None]
    in_search = sorted(
        scored, key=lambda one: (trials[one.trial].value, -trials[one.trial].val_loss), reverse=True
    )
    means = [one.mean for one in in_search]
    assert ("their order changed" in told(result)) == (means != sorted(means, reverse=True))


def test_nothing_is_said_where_the_views_are_the_same(searched):
    result = searched[0]
    trials = tuple(
        one.model_copy(update={"regime": one.regime.model_copy(update={"views": "online"})})
        for one in result.trials
    )
    assert tell_views(result.model_copy(update={"trials": trials})) == ""


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({"views": "bank:0"}, ["views: got 'bank:0'; must be none, flip, bank:K with K in 2..99"]),
        ({"views": "mixup"}, ["views: mixup mixes an image with a partner"]),
        (
            {"views": "bank:x", "erase": 2.0},
            ["views: got 'bank:x'", "erase: got 2; must be less than or equal"],
        ),
        (
            {"erase": 0.5},
            ["erase: only in crops is anything erased, and views is flip: choose bank:K or online"],
        ),
        ({"views": "none", "erase": 0.5}, ["erase: only in crops is anything erased, and views is none"]),
        ({"trials": 0, "views": "bank:0"}, ["trials: got 0", "views: got 'bank:0'"]),
        ({"trials": 0, "space": "quik"}, ["trials: got 0", "no search space is called 'quik'"]),
    ],
    ids=[
        "bank of none",
        "partner",
        "both",
        "no crops",
        "no crops given",
        "beside others",
        "space beside others",
    ],
)
def test_wrong_views_are_told_with_all_else_that_is_wrong(given, problems):
    with pytest.raises(ConfigError) as caught:
        SearchOptions(**given).decided()
    assert len(caught.value.problems) == len(problems)
    for found, expected in zip(caught.value.problems, problems, strict=True):
        assert found.startswith(expected)


def space_of(tmp_path, text, **given):
    path = tmp_path / "mine.yaml"
    path.write_text(f"head_lr: {{low: 1e-4, high: 1e-2, log: true}}\n{text}")
    return SearchOptions(space=str(path), **given).decided().space


def test_views_that_are_given_replace_those_of_the_space(tmp_path):
    text = "views: [flip, bank:8]\nerase: {low: 0, high: 0.5}\n"
    assert space_of(tmp_path, text).axes["views"].options == ("flip", "bank:8")
    over = space_of(tmp_path, text, views="online", erase=0.25).axes
    assert (over["views"], over["erase"]) == ("online", 0.25)
    assert "erase" in space_of(tmp_path, text, views="bank:4").axes
    assert "erase" not in space_of(tmp_path, text, views="none").axes  # nothing is left to erase in
    assert space_of(tmp_path, "views: online\n", erase=0.25).axes["erase"] == 0.25


def test_saying_what_holds_anyway_leaves_the_study_the_same(tmp_path):
    assert space_of(tmp_path, "", views="flip") == space_of(tmp_path, "")
    assert space_of(tmp_path, "", views="online", erase=0.0) == space_of(tmp_path, "", views="online")
    assert space_of(tmp_path, "views: online\n", views="flip").axes["views"] == "flip"
