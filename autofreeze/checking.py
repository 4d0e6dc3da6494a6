"""A check of the images before anything is trained: each is looked at once, and what follows is told."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autofreeze.checks.counts import (
    alike_classes,
    class_ratio,
    missing_classes,
    small_classes,
    small_parts,
)
from autofreeze.checks.files import (
    dark_images,
    flat_images,
    large_images,
    odd_kinds,
    small_images,
    unreadable,
)
from autofreeze.checks.leaks import (
    exact_duplicates,
    label_conflicts,
    near_duplicates,
    repeated_images,
    straddling_subjects,
)
from autofreeze.data import PARTS, Dataset, first, open_dataset
from autofreeze.errors import ConfigError, DataError
from autofreeze.findings import SEVERITIES, DataReport, Finding
from autofreeze.metrics import resolve_metric
from autofreeze.survey import Survey, survey

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and how much there is."""

MAX_BAD_IMAGES = 0.01
"""Share of images that may be unreadable, unless told otherwise."""


@dataclass(frozen=True, eq=False)
class Checked:
    """A data set, what was seen of its images, and what follows."""

    dataset: Dataset
    """Unreadable images are in no part of it."""

    survey: Survey
    findings: tuple[Finding, ...]
    """By severity."""

    def report(self) -> DataReport:
        """Give what is told of it."""
        dataset = self.dataset
        subjects = None if dataset.subjects is None else len(np.unique(dataset.subjects))
        return DataReport(
            name=dataset.name,
            layout=dataset.layout,
            fingerprint=dataset.fingerprint,
            classes=dataset.classes,
            images={part: dataset.counts[part] for part in PARTS},
            unreadable=len(self.survey.unreadable),
            subjects=subjects,
            metric=resolve_metric("auto", dataset.labels[dataset.train]),
            findings=self.findings,
        )

    def usable(self) -> Dataset:
        """Give the data set to train on.

        Raises:
            DataError: A finding stops that; all such findings are told, the first images named.
        """
        stops = [finding for finding in self.findings if finding.severity == "stops"]
        if stops:
            problems = [
                line
                for finding in stops
                for line in (
                    *([finding.sentence] if len(stops) > 1 else []),
                    *first([", ".join(case) for case in finding.images]),
                    finding.way_out,
                )
            ]
            raise DataError(problems, where=stops[0].sentence if len(stops) == 1 else self.dataset.where)
        return self.dataset


def check(
    data: str | os.PathLike[str],
    *,
    seed: int = 0,
    test_share: float = 0.2,
    resplit: bool = False,
    max_bad_images: float = MAX_BAD_IMAGES,
    image_size: int = 224,
    cache_folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Checked:
    """Open a data set, look at every image, and say what a search on it has to reckon with.

    Args:
        data: As for ``data.open_dataset``; so are ``seed``, ``test_share`` and ``resplit``.
        seed: Decides the held-out test part.
        test_share: Share of plain class folders that is held out.
        resplit: Pool a user's own validation part with the training part.
        max_bad_images: Share of the images that may be unreadable and are left out then, 0..1.
        image_size: Side in pixels that the images are brought to.
        cache_folder: Where what was seen is kept.
        progress: Told how far hashing and decoding have come.

    Raises:
        DataError: The source cannot be listed.
        ConfigError: The cache folder cannot be written to, or something is out of range.
    """
    problems = []
    if not 0 <= max_bad_images <= 1:
        problems.append(f"max_bad_images: got {max_bad_images:g}; must be a share, 0..1")
    if image_size < 1:
        problems.append(f"image_size: got {image_size}; must be at least 1")
    if problems:
        raise ConfigError(problems)
    opened = open_dataset(
        data,
        seed=seed,
        test_share=test_share,
        resplit=resplit,
        progress=named(progress, "hashing images"),
    )
    seen = survey(opened, cache_folder=cache_folder, progress=named(progress, "looking at images"))
    return judge(opened, seen, max_bad_images=max_bad_images, image_size=image_size)


def judge(
    dataset: Dataset, survey: Survey, *, max_bad_images: float = MAX_BAD_IMAGES, image_size: int = 224
) -> Checked:
    """Leave out the unreadable images, and find all that there is to tell of the rest."""
    found = [*unreadable(dataset, survey, max_bad_images)]
    if survey.unreadable:
        try:
            dataset = dataset.without(sorted(survey.unreadable))
        except DataError as error:
            found.append(_too_few_left(error))
    found += [
        *exact_duplicates(dataset),
        *repeated_images(dataset),
        *near_duplicates(dataset, survey),
        *label_conflicts(dataset),
        *straddling_subjects(dataset),
        *alike_classes(dataset),
        *missing_classes(dataset),
        *small_classes(dataset),
        *class_ratio(dataset),
        *small_parts(dataset),
        *flat_images(dataset, survey),
        *dark_images(dataset, survey),
        *odd_kinds(dataset, survey),
        *small_images(dataset, survey, image_size),
        *large_images(dataset, survey),
    ]
    ranked = sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
    return Checked(dataset, survey, tuple(ranked))


def named(progress: Progress | None, doing: str) -> Callable[[int, int], None] | None:
    """Give a progress that says what is being done to one that counts alone."""
    if progress is None:
        return None
    return lambda done, total: progress(doing, done, total)


def _too_few_left(error: DataError) -> Finding:
    return Finding(
        kind="too_few_left",
        severity="stops",
        sentence="without the images that cannot be read, a class is too small to train on",
        way_out="repair the files",
        images=tuple((problem,) for problem in error.problems),
    )
