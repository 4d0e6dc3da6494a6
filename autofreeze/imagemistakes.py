"""What the best schedule of a search on images gets wrong, from the records in its run folder."""

from collections.abc import Sequence
from pathlib import Path

from autofreeze.confirm import fresh_job
from autofreeze.data import Dataset
from autofreeze.imagescoring import FreshImageScoring, Part
from autofreeze.measures import best_baseline
from autofreeze.mistakes import Classified, Mistakes, ScoredRun, ScoredTrial, mistakes_of
from autofreeze.pictures import thumbnails
from autofreeze.records import Ends, read_ends
from autofreeze.results import StudyResult, TrialResult


class ImageMistakes:
    """Reads mistakes, as often as a report is written; a thumbnail is made once as long as it is shown.

    They are mistakes in validation: no image of the test split is in them.

    Args:
        dataset: The images.
        folds: The folds of the search.
        fresh: What runs on fresh seeds are scored on.
    """

    def __init__(self, dataset: Dataset, folds: Sequence[Part], fresh: FreshImageScoring) -> None:
        self._dataset, self._folds, self._fresh = dataset, folds, fresh
        self._thumbnails: dict[int, str] = {}

    def read(self, result: StudyResult, folder: Path) -> Mistakes | None:
        """Read those of the best schedule and of the best baseline.

        They are those of the runs on fresh seeds where a confirmation chose a schedule, else of the folds of
        the search. Of a sweep its chosen head is meant.

        Args:
            result: The search as it stands.
            folder: Its run folder.

        Returns:
            None where there is no best schedule, or none of its runs has come to its end.
        """
        best, baseline = result.best, best_baseline(result)
        if best is None:
            return None
        fresh = result.confirmation is not None and result.confirmation.chosen is not None
        trials = [best] if baseline is None else [best, baseline]
        numbers = {one.number if fresh else one.origin for one in trials}
        ends = read_ends(folder, numbers, "fresh" if fresh else "fold")

        def scored(trial: TrialResult) -> ScoredTrial:
            return self._on_fresh_seeds(result, trial, ends) if fresh else self._on_folds(trial, ends)

        said = Classified(
            labels=self._dataset.labels,
            n_classes=len(self._dataset.classes),
            best=scored(best),
            baseline=None if baseline is None else scored(baseline),
            fresh=fresh,
        )
        return mistakes_of(said, self._dataset.paths.__getitem__, self._shown)

    def _on_fresh_seeds(self, result: StudyResult, trial: TrialResult, ends: Ends) -> ScoredTrial:
        assert result.confirmation is not None
        counted = result.confirmation.seeds_of(trial.number)
        runs = []
        for (number, fresh), end in sorted(ends.items()):
            if number == trial.number and not end.diverged:
                part = self._fresh.part_of(fresh_job(trial, fresh, result.settings["seed"]))
                runs.append(ScoredRun(fresh, part.val, end.predicted_classes, fresh in counted))
        return ScoredTrial(trial.number, runs)

    def _on_folds(self, trial: TrialResult, ends: Ends) -> ScoredTrial:
        runs = []
        for (number, fold), record in sorted(ends.items()):
            if number != trial.origin:
                continue
            end = record if trial.member is None else record.members[trial.member]
            if not end.diverged:
                runs.append(ScoredRun(fold, self._folds[fold].val, end.predicted_classes))
        return ScoredTrial(trial.number, runs)

    def _shown(self, images: Sequence[int]) -> list[str]:
        new = [image for image in images if image not in self._thumbnails]
        made = dict(zip(new, thumbnails(self._dataset, new), strict=True))
        self._thumbnails = {image: made.get(image) or self._thumbnails.get(image, "") for image in images}
        return list(self._thumbnails.values())
