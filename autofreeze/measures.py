"""What is told beside the comparisons: optimism, gaps, classes, work, robustness, the test split."""

import math
from collections.abc import Sequence

from autofreeze.figures import name_of_trial, shown_mean, shown_value, work_of_full, work_of_run
from autofreeze.metrics import BY_CLASS
from autofreeze.phrases import counted, listed, printable
from autofreeze.results import Ending, StudyResult, TrialResult, rank
from autofreeze.scale import Scale, figure, points
from autofreeze.values import Value

UNEVEN = 2.0
"""Times that the largest class may have the smallest's images before accuracies are told by class."""

NEAR_BEST = 0.01
"""Within which a rate is as good as the best: a point, or .01 nat. Of plain numbers ``delta``."""

FEWEST_TRIALS = 5
"""Trials of a recipe from which on its robustness to the rate is told."""

NAMED = 3
"""Classes that a sentence names."""


class Gap(Value):
    """How much better a schedule does on what it trained on."""

    trial: int
    name: str
    train_top1: float
    """In the last epoch: augmented, in training mode."""

    top1: float
    """In validation, on the same runs."""

    gap: float
    best: bool


class ClassShare(Value):
    """Accuracy on one class."""

    name: str
    images: int | None
    """Training images of the class, those of a user's own validation part not counted."""

    accuracy: float | None
    """Of the best schedule, all seeds of the estimate together; None where no image of it was scored."""

    baseline: float | None
    """The same of the best baseline among the candidates."""


class Robustness(Value):
    """How many of a recipe's trials came near the best; they differ in their rates, and more."""

    name: str
    tuned: bool
    """Whether it is one baseline at many rates, and nothing else differs."""

    trials: int
    """Those pruned included, which count as not near."""

    near_own: int
    """Within ``NEAR_BEST`` of the best of these."""

    near_best: int
    """Within it of the best of all."""


class WorkSpent(Value):
    """Forward-equivalents."""

    search: float
    tuning: float
    confirmation: float
    run: float | None
    """One run of the best schedule."""

    full: float | None
    """One run of full fine-tuning."""


class TestScore(Value):
    """A schedule on the test split."""

    __test__ = False  # no test, whatever pytest makes of its name

    trial: int
    name: str
    value: float
    """As people read it."""

    low: float | None
    high: float | None
    """Binomial 95 % interval for new images, where the metric is a share of images."""


# Optimism, gap, classes


def optimism_of(result: StudyResult) -> float | None:
    """Give by how much the search flattered the winner; None without a confirmed mean."""
    best, found = result.best, result.confirmation
    winner = None if found is None else found.winner
    if best is None or winner is None or winner.mean is None or best.value is None:
        return None
    return result.scale.merit(best.value) - winner.mean


def tell_optimism(result: StudyResult, optimism: float | None) -> str:
    """Say it, and from which two values it comes."""
    best, found = result.best, result.confirmation
    if optimism is None or best is None or found is None or found.winner is None:
        return ""
    scale = result.scale
    return (
        f"the search had the winner at {scale.figure(shown_value(scale, best))}, fresh seeds at "
        f"{scale.figure(shown_mean(scale, found.winner))}: {scale.lead(optimism)}"
    )


def tell_views(result: StudyResult) -> str:
    """Say which views fresh seeds saw where the search saw others, and whether that changed the order."""
    found = result.confirmation
    if found is None or found.chosen is None:
        return ""
    trials = {one.number: one for one in result.trials}
    changed = {
        (trials[one.trial].regime.views, one.views or trials[one.trial].regime.views)
        for one in found.candidates
    }
    changed = {(before, after) for before, after in changed if before != after}
    if not changed:
        return ""
    before, after = (listed(sorted({pair[side] for pair in changed})) for side in (0, 1))
    told = f"fresh seeds saw {after} views, as the exported file has them, where the search saw {before}"
    scored = [one for one in found.candidates if one.mean is not None and trials[one.trial].value is not None]
    in_search = sorted(scored, key=lambda one: rank(trials[one.trial]), reverse=True)
    confirmed = sorted(in_search, key=lambda one: one.mean or 0.0, reverse=True)
    if in_search == confirmed:
        return f"{told}; the order of the {len(scored)} is the same" if len(scored) > 1 else told
    orders = (
        ", ".join(name_of_trial(trials[one.trial]) for one in order) for order in (in_search, confirmed)
    )
    return f"{told}; their order changed: in the search {next(orders)}; on fresh seeds {next(orders)}"


def gaps_of(result: StudyResult) -> tuple[Gap, ...]:
    """Give the generalisation gaps of the candidates on fresh seeds, the winner first."""
    found = result.confirmation
    if found is None or found.chosen is None:
        return ()
    trials = {one.number: one for one in result.trials}
    winner_first = sorted(found.candidates, key=lambda one: one.trial != found.chosen)
    return tuple(
        Gap(
            trial=one.trial,
            name=name_of_trial(trials[one.trial]),
            train_top1=one.train_top1,
            top1=one.top1,
            gap=one.train_top1 - one.top1,
            best=one.trial == found.chosen,
        )
        for one in winner_first
        if one.train_top1 is not None and one.top1 is not None
    )


def tell_gaps(gaps: Sequence[Gap]) -> str:
    """Say them, and what training accuracy is."""
    if not gaps or not gaps[0].best:
        return ""
    own, *others = gaps
    both = f"{own.train_top1:.3f} and {own.top1:.3f}"
    told = f"training top-1 less validation top-1: {points(own.gap)} pt ({both})"
    if others:
        told += "; " + ", ".join(f"{one.name} {points(one.gap)} pt" for one in others)
    return f"{told}; training is measured augmented and in training mode, so the true gap is rather larger"


def classes_of(result: StudyResult) -> tuple[ClassShare, ...]:
    """Give accuracies by class, where classes are uneven or the metric weighs them alike."""
    found, names = result.confirmation, result.data.get("classes", [])
    winner = None if found is None else found.winner
    images = result.data.get("class_images")
    if found is None or winner is None or len(winner.class_accuracies) != len(names):
        return ()
    held = [count for count in images or [] if count]
    uneven = bool(held) and max(held) > UNEVEN * min(held)
    if result.metric not in BY_CLASS and not uneven:
        return ()
    baseline = best_baseline(result)
    others = found.candidate(baseline.number).class_accuracies if baseline else ()
    return tuple(
        ClassShare(
            name=name,
            images=images[number] if images else None,
            accuracy=winner.class_accuracies[number],
            baseline=others[number] if number < len(others) else None,
        )
        for number, name in enumerate(names)
    )


def best_baseline(result: StudyResult) -> TrialResult | None:
    """Give the baseline that scores best, the best schedule itself left out: what that is compared with.

    On fresh seeds where a confirmation chose the best schedule, else in the search.
    """
    best, found = result.best, result.confirmation
    if best is None:
        return None
    others = {one.number: one for one in result.trials if one.baseline and one.origin != best.origin}
    if found is None or found.chosen is None:
        return max((one for one in others.values() if one.ending is Ending.COMPLETE), key=rank, default=None)
    means = {one.trial: one.mean for one in found.candidates if one.mean is not None and one.trial in others}
    return others[max(means, key=lambda trial: means[trial])] if means else None


def tell_classes(result: StudyResult, classes: Sequence[ClassShare]) -> str:
    """Name the class with the lowest accuracy, and the one with the fewest images."""
    scored = [one for one in classes if one.accuracy is not None]
    if not scored:
        return ""
    worst = min(scored, key=lambda one: one.accuracy or 0.0)
    told = [f"lowest {_class_words(result, worst)}"]
    known = [one for one in scored if one.images]
    if known:
        smallest = min(known, key=lambda one: one.images or 0)
        if smallest is not worst:
            told.append(f"fewest images {_class_words(result, smallest)}")
    unscored = [printable(one.name) for one in classes if one.accuracy is None]
    if unscored:
        told.append(f"no validation image of {listed(unscored[:NAMED])}")
    return "; ".join(told)


def _class_words(result: StudyResult, one: ClassShare) -> str:
    baseline = best_baseline(result)
    told = f"{printable(one.name)} {figure(one.accuracy)}"
    more = [] if one.images is None else [counted(f"{one.images:,}", "training image")]
    if baseline is not None and one.baseline is not None:
        more.append(f"{name_of_trial(baseline)} {figure(one.baseline)}")
    return told + (f" ({', '.join(more)})" if more else "")


# Work


def work_of(result: StudyResult) -> WorkSpent:
    """Add up the work."""
    best, found = result.best, result.confirmation
    tuning = sum(one.work for one in result.trials if one.tuned)
    return WorkSpent(
        search=result.work - tuning,
        tuning=tuning,
        confirmation=0.0 if found is None else found.work,
        run=None if best is None else work_of_run(result, best),
        full=work_of_full(result),
    )


def tell_work(result: StudyResult, work: WorkSpent) -> str:
    """Say what the winner costs, and what it cost to find it, in runs of full fine-tuning."""
    told = []
    if work.run and work.full:
        told.append(f"one run of the best costs {work.run / work.full:.2f} times one of full fine-tuning")
    limit = result.settings.get("max_cost")
    if limit is not None:
        told.append(f"allowed were {limit:g} times")
    work_allowed = result.settings.get("trial_work")
    if work_allowed is not None:
        told.append(f"allowed were {work_allowed:,.0f} forward-equivalents a trial")
    spent = {"search": work.search, "tuning": work.tuning, "confirmation": work.confirmation}
    unit = work.full
    if unit and any(spent.values()):
        shares = ", ".join(f"{name} {size / unit:,.0f}" for name, size in spent.items() if size)
        told.append(f"spent, in runs of full fine-tuning: {shares}")
    return "; ".join(told)


# Robustness


def robustness_of(result: StudyResult) -> tuple[Robustness, ...]:
    """Count by recipe the trials that came near the best.

    One that was pruned has no score. It was behind by more than luck gives, or it diverged: it counts as not
    near. Failed ones say nothing of their rate, and equal ones count once.
    """
    counted_in = (Ending.COMPLETE, Ending.UNPROMISING, Ending.UNSTABLE)
    trials = [one for one in result.trials if one.ending in counted_in and one.same_as is None]
    groups: dict[tuple[str, bool], list[TrialResult]] = {}
    for one in trials:
        if not one.tuned:
            groups.setdefault((one.recipe, False), []).append(one)
    for name in dict.fromkeys(one.baseline for one in trials if one.tuned):
        groups[(name or "", True)] = [one for one in trials if one.baseline == name]
    near = near_of(result)
    top = max((value for one in trials if (value := _merit(result.scale, one)) is not None), default=None)
    if top is None or not near:
        return ()
    return tuple(
        _robust(result.scale, name, tuned, members, top, near)
        for (name, tuned), members in groups.items()
        if len(members) >= FEWEST_TRIALS and any(one.value is not None for one in members)
    )


def near_of(result: StudyResult) -> float:
    """Within what a value counts as good as the best; 0 where nobody has said what matters."""
    return float(result.settings.get("delta") or 0.0) if result.kind == "own" else NEAR_BEST


def _robust(
    scale: Scale, name: str, tuned: bool, members: Sequence[TrialResult], top: float, near: float
) -> Robustness:
    merits = [value for one in members if (value := _merit(scale, one)) is not None]
    return Robustness(
        name=name,
        tuned=tuned,
        trials=len(members),
        near_own=sum(value >= max(merits) - near - 1e-12 for value in merits),
        near_best=sum(value >= top - near - 1e-12 for value in merits),
    )


def _merit(scale: Scale, trial: TrialResult) -> float | None:
    """Give a trial's value in the metric's unit, more being better."""
    return None if trial.value is None else scale.merit(trial.value)


def tell_robustness(result: StudyResult, found: Sequence[Robustness]) -> str:
    """Say how many trials of each recipe came near the best."""
    if not found:
        return ""
    told = [
        f"{one.name}{' at its tuned rates' if one.tuned else ''} {one.near_own} of {one.trials} "
        f"({one.near_best})"
        for one in found
    ]
    near = f"trials within {result.scale.margin(near_of(result))} of their recipe's best (of the best of all)"
    return f"{near}, pruned ones counted as not: {', '.join(told)}"


# The test split


def test_scores_of(result: StudyResult) -> tuple[TestScore, ...]:
    """Give the scores on the test split, the winner first; none where it was not read."""
    found = result.confirmation
    if found is None or not found.test_images:
        return ()
    trials = {one.number: one for one in result.trials}
    read = sorted(
        (one for one in found.candidates if one.test_value is not None),
        key=lambda one: one.trial != found.chosen,
    )
    scores = []
    for one in read:
        assert one.test_value is not None
        low, high = wilson(one.test_value, found.test_images) if result.metric == "top1" else (None, None)
        scores.append(
            TestScore(
                trial=one.trial,
                name=name_of_trial(trials[one.trial]),
                value=result.scale.shown(one.test_value),
                low=low,
                high=high,
            )
        )
    return tuple(scores)


def wilson(share: float, n: int, limit: float = 1.96) -> tuple[float, float]:
    """Give the interval of a share of n images, for new images.

    Args:
        share: 0..1; that of several models on the same images may lie between two counts.
        n: Images, >= 1.
        limit: Quantile of the normal distribution.

    Source:
        Wilson 1927; it holds where shares are near 0 or 1 and where n is small.
    """
    shrink = 1 + limit**2 / n
    centre = (share + limit**2 / (2 * n)) / shrink
    half = limit * math.sqrt(share * (1 - share) / n + limit**2 / (4 * n**2)) / shrink
    return max(centre - half, 0.0), min(centre + half, 1.0)


def tell_test(result: StudyResult) -> str:
    """Say how the test split was read, and what so many images can tell."""
    found = result.confirmation
    assert found is not None
    times = "once" if found.test_reads == 1 else f"{found.test_reads} times"
    images, models = counted(found.test_images, "image"), counted(found.test_seeds, "model")
    told = f"test split read {times}, {images}, {models} of each schedule, after every choice"
    if result.metric == "top1":
        told += "; intervals are binomial, for new images"
    if result.scale.unit == "points" and 1 / found.test_images > NEAR_BEST:
        told += (
            f"; {counted(found.test_images, 'test image')} can tell nothing finer than "
            f"{100 / found.test_images:.2g} pt"
        )
    return told
