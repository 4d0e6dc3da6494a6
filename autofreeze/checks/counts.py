"""Findings about what is too few to measure."""

from collections.abc import Iterator, Sequence
from unicodedata import normalize

from autofreeze.checks.words import classes_where, counted, some, verb
from autofreeze.data import Dataset, Part
from autofreeze.findings import Finding
from autofreeze.metrics import resolve_metric
from autofreeze.splits import MOST_FOLDS

FEW_IN_TEST = 10
"""Test images of a class below which its score says little."""

_TYPICAL = 0.9
_WARN_WIDTH, _NOTE_WIDTH = 5.0, 3.0


def missing_classes(dataset: Dataset) -> Iterator[Finding]:
    """Find classes without an image in a held-out part that there is."""
    for part in ("val", "test"):
        missing = classes_where(dataset, part, lambda count: count == 0)
        if missing and len(dataset.part(part)):
            yield Finding(
                kind=f"missing_from_{part}",
                severity="warning",
                sentence=f"{part} has no image of {some(missing)}, so it does not say how well "
                f"{verb(len(missing), 'that class is', 'those classes are')} told apart",
                way_out=f"add images to {part}" + (", or split again (--resplit)" if part == "val" else ""),
            )


def alike_classes(dataset: Dataset) -> Iterator[Finding]:
    """Find classes whose names differ in case, in spaces at their ends, or in how an accent is written."""
    alike: dict[str, list[str]] = {}
    for name in dataset.classes:
        alike.setdefault(normalize("NFKC", name).casefold().strip(), []).append(name)
    twins = [name for names in alike.values() if len(names) > 1 for name in names]
    if twins:
        yield Finding(
            kind="alike_classes",
            severity="warning",
            sentence=f"classes whose names look alike ({some([repr(name) for name in twins])}): perhaps one "
            "class in several folders",
            way_out="merge them, or rename them",
        )


def small_classes(dataset: Dataset) -> Iterator[Finding]:
    """Find classes with fewer training images than folds, or few test images."""
    counts = dataset.counts
    few = classes_where(dataset, "train", lambda count: count < MOST_FOLDS)
    if few and not len(dataset.val):
        yield Finding(
            kind="few_in_train",
            severity="warning",
            sentence=f"classes with fewer than {MOST_FOLDS} training images "
            f"({_counted(dataset, 'train', few)}): there are as many folds as the smallest class has images",
            way_out="add images, or merge classes",
        )
    few = classes_where(dataset, "test", lambda count: 0 < count < FEW_IN_TEST)
    if few:
        worst = min(count for count in counts["test"] if count)
        yield Finding(
            kind="few_in_test",
            severity="warning",
            sentence=f"classes with fewer than {FEW_IN_TEST} test images "
            f"({_counted(dataset, 'test', few)}): one image moves the score of a class by up to "
            f"{100 / worst:.0f} points",
            way_out="add test images, or hold out more (--test-share)",
        )


def class_ratio(dataset: Dataset) -> Iterator[Finding]:
    """Find classes of very different size, and say by what trials will be judged."""
    if resolve_metric("auto", dataset.labels[dataset.train]) == "top1":
        return
    counts = {
        name: count for name, count in zip(dataset.classes, dataset.counts["train"], strict=True) if count
    }
    large, small = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    yield Finding(
        kind="class_ratio",
        severity="note",
        sentence=f"class {large} has {counts[large] / counts[small]:.1f} times the training images of "
        f"class {small} ({counts[large]:,} and {counts[small]:,}): unless told otherwise, trials are "
        "judged by balanced accuracy",
        way_out="choose another metric with --metric if large classes matter more",
    )


def small_parts(dataset: Dataset) -> Iterator[Finding]:
    """Find held-out parts that are too small to tell schedules apart."""
    for part in ("val", "test"):
        n = len(dataset.part(part))
        if not n:
            continue
        width = 196 * (_TYPICAL * (1 - _TYPICAL) / n) ** 0.5
        if width > _NOTE_WIDTH:
            yield Finding(
                kind=f"small_{part}",
                severity="warning" if width > _WARN_WIDTH else "note",
                sentence=f"{part} has {counted(n, 'image')}: an accuracy of {100 * _TYPICAL:.0f} % is "
                f"measured to ± {width:.1f} points (95 %)",
                way_out="add images"
                + (", or pool val with train (--resplit), which is scored in folds" if part == "val" else ""),
            )
    if not len(dataset.test):
        yield Finding(
            kind="no_test",
            severity="note",
            sentence="there is no test part, so nothing is left to check the best schedule on at the end",
            way_out="add test/, or give class folders alone: a test part is held out of them",
        )


def _counted(dataset: Dataset, part: Part, names: Sequence[str]) -> str:
    """Name classes with their images, the smallest first."""
    counts = dict(zip(dataset.classes, dataset.counts[part], strict=True))
    return some([f"{name} {counts[name]}" for name in sorted(names, key=counts.__getitem__)])
