"""Mistakes: counted from the right runs and images."""

import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from autofreeze.confirm import fresh_job
from autofreeze.data import open_dataset
from autofreeze.imagemistakes import ImageMistakes
from autofreeze.imagescoring import FreshImageScoring
from autofreeze.job import Job
from autofreeze.measures import best_baseline
from autofreeze.metrics import pack_classes
from autofreeze.mistakes import (
    MOST_IMAGES,
    Classified,
    ScoredRun,
    ScoredTrial,
    mistakes_of,
)
from autofreeze.records import RECORDS, line_of, read_ends
from autofreeze.splits import scoring_splits

LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2])
N_CLASSES = 4
"""One more than occur."""


def run(number, predicted, *, images=None, counted=True):
    predicted = np.asarray(predicted)
    images = np.arange(len(predicted)) if images is None else np.asarray(images)
    return ScoredRun(number, images, predicted, counted)


def counted(*runs, baseline=(), labels=LABELS):
    other = ScoredTrial(7, baseline) if baseline else None
    said = Classified(labels, N_CLASSES, ScoredTrial(3, runs), other, fresh=True)
    return mistakes_of(
        said, lambda image: f"image {image}", lambda images: [f"picture {one}" for one in images]
    )


def names(found):
    return [one.name for one in found.images]


# Counting


def test_confusions_are_those_of_scikit_learn_over_all_runs_together():
    rng = np.random.default_rng(0)
    runs = []
    for number in range(5):
        images = np.sort(rng.choice(len(LABELS), 6, replace=False))
        runs.append(run(number, rng.integers(0, N_CLASSES, 6), images=images))
    found = counted(*runs[:3], baseline=runs[3:])
    for one, members in zip(found.confusions, (runs[:3], runs[3:]), strict=True):
        labels = np.concatenate([LABELS[member.images] for member in members])
        predicted = np.concatenate([member.predicted for member in members])
        expected = confusion_matrix(labels, predicted, labels=range(N_CLASSES))
        np.testing.assert_array_equal(one.matrix, expected)
        assert one.runs == tuple(member.number for member in members)


def test_only_pairs_that_occurred_are_kept():
    found = counted(run(0, [0, 0, 1, 1, 1, 1, 2, 2]))
    assert found.confusions[0].counts == ((0, 0, 2), (0, 1, 1), (1, 1, 3), (2, 2, 2))


def test_an_image_that_several_runs_scored_is_one_image_of_its_class():
    found = counted(run(0, [0, 0], images=[0, 3]), run(1, [0, 0], images=[0, 4]))
    assert found.confusions[0].images == (1, 2, 0, 0)


def test_a_class_that_was_never_scored_has_a_row_of_zeros():
    (one,) = counted(run(0, [0, 3], images=[0, 3])).confusions
    assert one.matrix.sum(axis=1).tolist() == [1, 1, 0, 0]


def test_without_a_run_there_is_nothing_to_tell():
    assert counted() is None
    assert counted(run(0, [0], counted=False)) is None


def test_a_baseline_without_a_run_is_left_out():
    found = counted(run(0, LABELS), baseline=[run(0, LABELS, counted=False)])
    assert [one.trial for one in found.confusions] == [3]


def test_confusions_rest_on_the_runs_of_the_estimate_and_images_on_all():
    found = counted(run(0, [1], counted=False), run(1, [2]), run(2, [0]))
    assert found.confusions[0].runs == (1, 2)
    (image,) = found.images
    assert (image.wrong, image.scored, found.runs) == (2, 3, 3)


# The images


def test_the_more_certain_comes_first_not_the_larger_share():
    """6 of 6, 2 of 2, 3 of 4, 1 of 1, 3 of 6; what is never wrong is not among them."""
    wrong, scored = [3, 1, 6, 2, 0, 3], [6, 1, 6, 2, 5, 4]
    runs = [
        run(number, [1 if number < wrong[image] else 0 for image in range(6) if number < scored[image]],
            images=[image for image in range(6) if number < scored[image]])
        for number in range(6)
    ]  # fmt: skip
    found = counted(*runs, labels=np.zeros(6, np.int64))
    assert [(one.wrong, one.scored) for one in found.images] == [(6, 6), (2, 2), (3, 4), (1, 1), (3, 6)]
    assert (found.images_wrong, found.images_scored) == (5, 6)


def test_of_equals_that_comes_first_which_the_baseline_gets_wrong_too():
    best = run(0, [1, 1, 1, 1, 1, 1, 2, 2])
    baseline = [run(0, [0, 2, 0, 1, 1, 1, 2, 2]), run(1, [1, 2], images=[0, 1])]
    found = counted(best, baseline=baseline)
    assert names(found) == ["image 1", "image 0", "image 2"]
    assert [(one.other_wrong, one.other_scored) for one in found.images] == [(2, 2), (1, 2), (0, 1)]
    assert [one.other_same for one in found.images] == [0, 1, 0]


def test_of_further_equals_that_comes_first_which_the_baseline_takes_for_the_same_class():
    found = counted(run(0, [1, 1, 1]), baseline=[run(0, [2, 1, 2])])
    assert names(found) == ["image 1", "image 0", "image 2"]
    assert [one.other_same for one in found.images] == [1, 0, 0]


def test_it_says_what_an_image_is_most_often_taken_for():
    said = [0, 2, 0, 0, 1, 2]
    found = counted(*(run(number, [one]) for number, one in enumerate(said)))
    (image,) = found.images
    assert (image.label, image.predicted, image.wrong, image.scored) == (0, 2, 3, 6)


def test_no_more_images_are_named_than_fit_a_page_and_only_they_are_shown():
    asked = []

    def thumbnails(images):
        asked.extend(images)
        return [""] * len(images)

    n = 3 * MOST_IMAGES
    labels = np.zeros(n, np.int64)
    said = Classified(labels, 2, ScoredTrial(0, [run(0, labels + 1)]), None, fresh=False)
    found = mistakes_of(said, str, thumbnails)
    assert asked == list(range(MOST_IMAGES))
    assert (len(found.images), found.images_wrong) == (MOST_IMAGES, n)


def test_thousands_of_classes_take_no_square_of_room():
    labels = np.arange(2000)
    said = Classified(labels, 2000, ScoredTrial(0, [run(0, labels)]), None, fresh=False)
    found = mistakes_of(said, str, lambda images: [])
    assert len(found.confusions[0].counts) == 2000


# From records


class Searched:
    """A run folder with made-up records, on real images."""

    def __init__(self, root, folder, made_up, made_result):
        self.folder, self.made_up, self.made_result = folder, made_up, made_result
        self.dataset = open_dataset(root)
        train, val = self.dataset.train, self.dataset.val
        self.folds = scoring_splits(self.dataset.labels, train, val, seed=0, folds=3)
        self.fresh = FreshImageScoring("top1", self.dataset.labels, self.split_of, n_classes=3)
        self.lines = []

    def split_of(self, job):
        train, val = self.dataset.train, self.dataset.val
        return scoring_splits(self.dataset.labels, train, val, seed=job.seed, folds=1)[0]

    def result(self, *leads, **fields):
        fields.setdefault("settings", {"seed": 0})
        return self.made_result.result(*leads, **fields)

    def part(self, trial, *, fold=None, fresh=None):
        if fresh is None:
            return self.folds[fold].val
        return self.fresh.part_of(fresh_job(trial, fresh, 0)).val

    def keep(self, trial, *, fold=None, fresh=None, shift=0, sweep=0, **fields):
        """Keep a run of two epochs, of which the last takes each class for the one ``shift`` further on."""
        job = (
            fresh_job(trial, fresh, 0)
            if fresh is not None
            else Job(trial=trial.number, fold=fold, seed=0, schedule=trial.schedule, regime=trial.regime)
        )
        val = self.part(trial, fold=fold, fresh=fresh)
        labels = self.dataset.labels[val]
        ends = [(epoch, 5 * (1 - epoch) + shift) for epoch in range(2)]
        for epoch, further in ends:
            record = self._record(job, epoch, (labels + further) % 3, last=epoch == 1, **fields)
            if sweep:
                heads = [
                    self._record(job, epoch, (labels + place) % 3, last=epoch == 1) for place in range(sweep)
                ]
                record = record.model_copy(update={"members": tuple(heads)})
            self.lines.append(line_of(job, record, 0.0))

    def _record(self, job, epoch, predicted, **fields):
        given = {"predicted": pack_classes(predicted), "n_val": len(predicted), **fields}
        return self.made_up.record(job, epoch, **given)

    @property
    def reader(self):
        return ImageMistakes(self.dataset, self.folds, self.fresh)

    def read(self, result):
        self.folder.mkdir(exist_ok=True)
        (self.folder / RECORDS).write_text("".join(self.lines))
        return self.reader.read(result, self.folder)

    def right(self, found, place=0):
        """Share of all that the best schedule, or the baseline, classified rightly."""
        matrix = found.confusions[place].matrix
        return matrix.trace() / matrix.sum()


@pytest.fixture
def searched(class_folders, tmp_path, made_up, made_result):
    return Searched(class_folders, tmp_path / "run", made_up, made_result)


def test_without_a_confirmation_they_are_those_of_the_folds(searched):
    result = searched.result()
    best, baseline = result.trials[1], result.trials[2]
    for fold in range(3):
        searched.keep(best, fold=fold, shift=1 if fold == 2 else 0)
        searched.keep(baseline, fold=fold, shift=2)
        searched.keep(result.trials[3], fold=fold, shift=2)
        searched.keep(best, fresh=fold, shift=2)
    found = searched.read(result)
    assert not found.fresh
    assert [(one.trial, one.runs) for one in found.confusions] == [(1, (0, 1, 2)), (2, (0, 1, 2))]
    assert searched.right(found, 1) == 0
    assert found.images_scored == sum(len(fold.val) for fold in searched.folds)
    missed = {searched.dataset.paths[image] for image in searched.folds[2].val}
    assert {one.name for one in found.images} == missed
    assert {one.predicted - one.label for one in found.images} == {1, -2}


def test_with_a_confirmation_they_are_those_of_the_seeds_that_each_rests_on(searched):
    """The baseline was left behind at the first look: its figures rest on the first six seeds."""
    confirmation = searched.made_result.confirmation((2, 0.1, 0.02), (0, 0.2, 0.02))
    first, second, third = confirmation.candidates
    candidates = (first, second.model_copy(update={"dropped_at": 6}), third)
    result = searched.result(confirmation=confirmation.model_copy(update={"candidates": candidates}))
    best, baseline = result.trials[1], result.trials[2]
    for fresh in range(12):
        searched.keep(best, fresh=fresh, shift=1 if fresh < 6 else 0)
        searched.keep(baseline, fresh=fresh, shift=2 if fresh < 6 else 1)
        searched.keep(best, fold=0, shift=2)
    found = searched.read(result)
    assert found.fresh
    assert [(one.trial, one.runs) for one in found.confusions] == [
        (1, tuple(range(6, 12))),
        (2, tuple(range(6))),
    ]
    assert searched.right(found) == 1
    assert found.runs == 12  # images rest on those of the choice too
    chosen_on = np.concatenate([searched.part(best, fresh=fresh) for fresh in range(6)])
    assert found.images_wrong == len(np.unique(chosen_on))


def test_each_image_is_counted_as_often_as_it_was_scored(searched):
    result = searched.result((2, 0.1, 0.02))
    best = result.trials[1]
    for fresh in range(12):
        searched.keep(best, fresh=fresh, shift=1)
    found = searched.read(result)
    scored = np.bincount(np.concatenate([searched.part(best, fresh=fresh) for fresh in range(12)]))
    expected = {searched.dataset.paths[image]: scored[image] for image in np.flatnonzero(scored)}
    assert {one.name: one.scored for one in found.images}.items() <= expected.items()
    assert len({one.scored for one in found.images}) > 1  # else this shows nothing
    assert all(one.wrong == one.scored for one in found.images)


def test_runs_that_diverged_or_did_not_end_are_left_out(searched):
    result = searched.result()
    best = result.trials[1]
    searched.keep(best, fold=0)
    searched.keep(best, fold=1, shift=1, diverged="loss spike at step 3")
    searched.keep(best, fold=2, shift=1)
    searched.lines.pop()
    found = searched.read(result)
    assert found.confusions[0].runs == (0,)
    assert (searched.right(found), found.images) == (1, ())


def test_of_a_sweep_they_are_those_of_its_chosen_head(searched):
    made = searched.made_result
    probe = made.trial(0, "linear_probe", 0.9, member=2)
    result = searched.result(trials=(probe, *made.trials[2:]))
    searched.keep(probe, fold=0, sweep=3)  # head k takes each class for the one k further on
    found = searched.read(result)
    assert found.confusions[0].trial == 0
    assert {(one.predicted - one.label) % 3 for one in found.images} == {2}


def test_that_a_head_broke_off_does_not_end_the_run_of_its_sweep(searched):
    made = searched.made_result
    probe = made.trial(0, "linear_probe", 0.9, member=2)
    searched.keep(probe, fold=0, sweep=3)
    first = json.loads(searched.lines[0])
    first["record"]["members"][1]["last"] = True
    searched.lines[0] = json.dumps(first, separators=(",", ":")) + "\n"
    searched.read(searched.result(trials=(probe,)))
    assert [end.epoch for end in read_ends(searched.folder, {0}, "fold").values()] == [1]


def test_a_baseline_that_took_over_a_result_is_known_by_the_runs_of_that_trial(searched):
    made = searched.made_result
    full = made.trial(4, "decay", 0.85, baseline="full_decay", same_as=3)
    result = searched.result(trials=(*made.trials, full))
    searched.keep(result.trials[1], fold=0)
    searched.keep(result.trials[3], fold=0, shift=1)
    found = searched.read(result)
    assert [one.trial for one in found.confusions] == [1, 4]
    assert searched.right(found, 1) == 0


def test_a_best_schedule_that_is_a_baseline_is_compared_with_the_next_best_one(searched):
    made = searched.made_result
    trials = (
        made.trial(0, "linear_probe", 0.75, baseline="linear_probe"),
        made.trial(1, "full", 0.84, baseline="full"),
        made.trial(2, "lp_ft", 0.86, baseline="lp_ft"),
        made.trial(3, "lp_ft", 0.86, baseline="gradual", same_as=2),
    )
    result = searched.result(trials=trials)
    assert (result.best.number, best_baseline(result).number) == (2, 1)


def test_a_run_that_was_kept_twice_is_counted_once(searched):
    result = searched.result()
    searched.keep(result.trials[1], fold=0)
    searched.lines += [line for line in searched.lines if '"fold":0' in line]
    found = searched.read(result)
    assert found.confusions[0].matrix.sum() == len(searched.folds[0].val)


def test_a_search_without_a_best_schedule_or_a_whole_run_has_none(searched):
    result = searched.result()
    assert searched.read(result) is None
    assert searched.read(searched.result(trials=())) is None
    (searched.folder / RECORDS).unlink()
    assert (
        ImageMistakes(searched.dataset, searched.folds, searched.fresh).read(result, searched.folder) is None
    )


def test_lines_of_other_trials_and_of_earlier_epochs_are_not_parsed(searched, monkeypatch):
    result = searched.result()
    for trial in result.trials:
        for fold in range(3):
            searched.keep(trial, fold=fold)
    searched.read(result)
    parsed = []
    loads = json.loads
    monkeypatch.setattr("autofreeze.records.json.loads", lambda text: parsed.append(text) or loads(text))
    ends = read_ends(searched.folder, {1, 2}, "fold")
    assert sorted(ends) == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
    assert len(parsed) == 6


def test_a_thumbnail_is_made_once_as_long_as_it_is_shown(searched, monkeypatch):
    made = []

    def thumbnails(_, images):
        made.extend(images)
        return ["data:"] * len(images)

    monkeypatch.setattr("autofreeze.imagemistakes.thumbnails", thumbnails)
    result = searched.result()
    searched.keep(result.trials[1], fold=0, shift=1)
    reader = searched.reader
    searched.read(result)
    made.clear()
    first, second = (reader.read(result, searched.folder) for _ in range(2))
    assert first == second
    assert sorted(made) == searched.folds[0].val.tolist()
