"""Findings about what leaks: the same bytes, the same scene or the same patient on both sides."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from autofreeze.checks.words import PAIRS, case_of, counted, parts_of, verb
from autofreeze.data import PARTS, Dataset, Indices, Part
from autofreeze.findings import Finding
from autofreeze.survey import Survey, nearest

NEAR = 6
"""Bits of 64 in which the hashes of near duplicates differ at most.

Measured on four sets of photos, thumbnails and X-rays with 1,223 test and 4,489 training images: 8 test
images have a training image so near; 6 of these pairs show the same scene (looked at by eye), 2 are false
alarms. At 8 bits, 11 of 65 X-rays alone look alike. Of 600 copies of each kind it misses none at JPEG quality
50, at half the size or darker; 25 at 1.3 times the brightness, 7 of those cropped by 2 %, 169 by 5 %.

Source:
    ``benchmarks/near_duplicates.py``.
"""

LEAST_CONTRAST = 2.0
"""Levels of 0..255; pictures of less contrast have hashes of noise, and are not compared."""


def exact_duplicates(dataset: Dataset) -> Iterator[Finding]:
    """Find images whose very bytes are in two parts."""
    part_of = parts_of(dataset)
    across = [ids for ids in _equal_bytes(dataset) if len(np.unique(part_of[ids])) > 1]
    if across:
        pairs = [
            f"{count:,} of {held} in {other}"
            for held, other in PAIRS
            if (count := sum(_held_beside(part_of[ids], held, other) for ids in across))
        ]
        yield Finding(
            kind="exact_duplicates",
            severity="warning",
            sentence=f"images are in two parts, byte for byte ({', '.join(pairs)}): a score on them is "
            "of what was learnt by heart",
            way_out="keep each of them in one part",
            images=tuple(case_of(dataset, ids) for ids in across),
        )


def repeated_images(dataset: Dataset) -> Iterator[Finding]:
    """Find images whose very bytes are in the training part twice."""
    in_train = parts_of(dataset) == PARTS.index("train")
    twice = [ids for group in _equal_bytes(dataset) if len(ids := group[in_train[group]]) > 1]
    if twice:
        extra = sum(len(ids) - 1 for ids in twice)
        yield Finding(
            kind="repeated",
            severity="note",
            sentence=f"{counted(extra, 'training image')} {verb(extra, 'repeats', 'repeat')} another "
            "byte for byte: a fold may train on one and be scored on the other",
            way_out="keep one of each",
            images=tuple(case_of(dataset, ids) for ids in twice),
        )


def near_duplicates(dataset: Dataset, survey: Survey, most: int = NEAR) -> Iterator[Finding]:
    """Find held-out images that look almost like one of another part; equal bytes are told elsewhere.

    Args:
        dataset: Unreadable images are in no part.
        survey: What was seen.
        most: Bits of 64 that may differ.
    """
    telling = survey.contrast >= LEAST_CONTRAST
    content = np.asarray(dataset.content)
    told = np.zeros(len(dataset), dtype=np.bool_)
    counts, cases = [], []
    for held, other in PAIRS:
        left, right = (part[telling[part]] for part in (dataset.part(held), dataset.part(other)))
        left = left[~(told[left] | np.isin(content[left], content[dataset.part(other)]))]
        if not (len(left) and len(right)):
            continue
        like, distances = nearest(survey.hashes, left, right)
        near = distances <= most
        if near.any():
            counts.append(f"{near.sum():,} of {held} like one of {other}")
            cases += [case_of(dataset, pair) for pair in zip(left[near], like[near], strict=True)]
            told[left[near]] = True
    if cases:
        yield Finding(
            kind="near_duplicates",
            severity="warning",
            sentence=f"images in different parts look almost the same ({', '.join(counts)}): where they show "
            "one scene, a score on them is too high",
            way_out="look at the pairs, and keep pictures of one scene in one part (a CSV file with a column "
            "group does that)",
            images=tuple(cases),
        )


def label_conflicts(dataset: Dataset) -> Iterator[Finding]:
    """Find images whose very bytes stand in two classes."""
    clash = [ids for ids in _equal_bytes(dataset) if len(np.unique(dataset.labels[ids])) > 1]
    if clash:
        n = len(clash)
        yield Finding(
            kind="label_conflicts",
            severity="warning",
            sentence=f"{counted(n, 'image')} {verb(n, 'is', 'are')} in two classes, byte for byte: one "
            "of the labels is wrong",
            way_out="decide which class each belongs to",
            images=tuple(case_of(dataset, ids) for ids in clash),
        )


def straddling_subjects(dataset: Dataset) -> Iterator[Finding]:
    """Find subjects (patients, scenes) with images in more than one part."""
    torn = dataset.straddling
    if dataset.subjects is None or not len(torn):
        return
    ids = np.flatnonzero((parts_of(dataset) >= 0) & np.isin(dataset.subjects, torn))
    names = ", ".join(dataset.subject_names[subject] for subject in torn[:3])
    yield Finding(
        kind="straddling_subjects",
        severity="warning",
        sentence=f"{counted(len(torn), 'subject')} ({names}{' …' if len(torn) > 3 else ''}) "
        f"{verb(len(torn), 'has', 'have')} images in more than one part: a score tells how well they are "
        "known again, not how well new ones are told apart",
        way_out="keep all images of a subject in one part; without a column split, parts are made that way",
        images=tuple(case_of(dataset, group) for group in _alike(dataset.subjects, ids)),
    )


def _equal_bytes(dataset: Dataset) -> list[Indices]:
    """Images of some part that have the same bytes, two or more together."""
    content = np.asarray(dataset.content)
    groups = _alike(content, np.flatnonzero(parts_of(dataset) >= 0))
    return [ids for ids in groups if len(ids) > 1]


def _alike(keys: npt.NDArray[Any], ids: Indices) -> list[Indices]:
    """Group ids by their key, in the order of the first id of each group."""
    if not len(ids):
        return []
    _, group = np.unique(keys[ids], return_inverse=True)
    order = np.argsort(group, kind="stable")
    groups = np.split(ids[order], np.flatnonzero(np.diff(group[order])) + 1)
    return sorted(groups, key=lambda ids: int(ids[0]))


def _held_beside(parts: Indices, held: Part, other: Part) -> int:
    """How many images of ``held`` are in a case that also has one of ``other``."""
    return int((parts == PARTS.index(held)).sum()) if PARTS.index(other) in parts else 0
