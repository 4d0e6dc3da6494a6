"""The best schedule per data set, of searches that were made at different times.

Only means on fresh seeds are compared: what a schedule scored in its search is the luckiest of many scores.
Fresh seeds of different searches are not the same, so differences are those of means that were estimated
apart.
"""

import math
from collections.abc import Sequence

from autofreeze.figures import Shown, name_of_trial, shown_candidate, shown_value
from autofreeze.intervals import unpaired_difference
from autofreeze.phrases import listed, sentence
from autofreeze.report.runs import NamedRun
from autofreeze.results import StudyResult
from autofreeze.scale import Scale
from autofreeze.values import Value
from autofreeze.verdict import Standing, standing_of

OWN = "the data of a training of your own have no fingerprint, so nobody knows whether they are the same"


class Found(Value):
    """What one search found on one data set."""

    run: str
    """Its run folder, as it was given."""

    created: str
    """When it began, in UTC; empty where that is not known."""

    name: str
    """Of the data set."""

    fingerprint: str
    """Of the data set; empty of a training of the user's own."""

    model: str
    weights: str
    """Where they come from."""

    weights_digest: str
    preprocessing: dict[str, object]
    groups: int
    """Layer groups."""

    scale: Scale
    epochs: float
    seed: int | None
    standing: Standing
    cut_short: str
    best: str
    """The best schedule: its name."""

    sentence: str
    """The best schedule in words."""

    in_search: float | None
    """Its value in the search, as people read it: the best of many, on one seed."""

    confirmed: Shown | None
    """Its mean on fresh seeds and the interval, as people read them; None unless it was confirmed."""

    merit: float | None
    """That mean in the unit of differences, more is better."""

    standard_error: float | None
    """Of that mean."""

    half: float | None
    """Half the width of its 95 % interval."""

    seeds: int
    """Fresh seeds that the mean rests on."""

    chosen_apart: bool
    """Whether it was chosen on other fresh seeds than those."""

    own_split: bool
    """Whether one validation part was used throughout, the user's own."""

    n_train: int
    n_val: int
    """Images that one run on a fresh seed trained on and was scored on."""

    run_work: float | None
    """Forward-equivalents of one run by the best schedule, on a fresh seed."""

    work: float
    """Forward-equivalents of the whole search, its confirmation included."""

    @property
    def image_size(self) -> object:
        """Side of the images; None where there are none."""
        return self.preprocessing.get("image_size")


class Difference(Value):
    """How far two confirmed means lie apart."""

    leader: int
    """Place of the search with the higher mean, in ``OfDataset.found``."""

    other: int
    estimate: float
    """By how much it is better, in the metric's unit."""

    low: float
    high: float
    told: bool
    """Whether the interval lies above zero; else no difference can be told."""


class OfDataset(Value):
    """All searches on one data set by one metric."""

    name: str
    fingerprint: str
    found: tuple[Found, ...]
    best: int | None
    """Place of the search with the best schedule: the highest mean of those that can be compared."""

    differences: tuple[Difference, ...]
    """Of the best one to each other one that can be compared; the intervals hold all at once."""

    remarks: tuple[str, ...]
    """What is not compared and why, and what else differs."""


class Across(Value):
    """Searches side by side, by data set."""

    datasets: tuple[OfDataset, ...]
    absent: tuple[str, ...] = ()
    """Data sets of a search on several of which there is no report."""


def across(runs: Sequence[NamedRun], absent: Sequence[str] = ()) -> Across:
    """Put searches side by side.

    Args:
        runs: The searches.
        absent: What there is no report of.
    """
    groups: dict[tuple[object, ...], list[Found]] = {}
    for one in map(found_by, runs):
        groups.setdefault((*_data(one), one.scale), []).append(one)
    all_found = [one for group in groups.values() for one in group]
    return Across(
        datasets=tuple(_of_dataset(group, all_found) for group in groups.values()),
        absent=tuple(absent),
    )


def _data(one: Found) -> tuple[str, bool]:
    """Give what tells data sets apart: their images; of trainings of the user's own the name."""
    return (one.fingerprint or one.name, bool(one.fingerprint))


def found_by(run: NamedRun) -> Found:
    """Take from a search what is compared."""
    result, best = run.result, run.result.best
    standing, confirmation = standing_of(result), result.confirmation
    winner = confirmation.winner if confirmation is not None and standing == "confirmed" else None
    low, high = (None, None) if winner is None else (winner.low, winner.high)
    first, end = confirmation.estimate_seeds if winner is not None and confirmation is not None else (0, 0)
    return Found(
        run=str(run.folder),
        created=run.created,
        name=str(result.data["name"]),
        fingerprint=str(result.data.get("fingerprint", "")),
        model=str(result.backbone.get("model", "")),
        weights=str(result.backbone.get("source", "")),
        weights_digest=str(result.backbone.get("digest", "")),
        preprocessing=dict(result.backbone.get("preprocessing", {})),
        groups=_groups(result),
        scale=result.scale,
        epochs=float(result.settings["epochs"]),
        seed=result.settings.get("seed"),
        standing=standing,
        cut_short=result.cut_short,
        best="" if best is None else name_of_trial(best),
        sentence="" if best is None else sentence(best.schedule),
        in_search=None if best is None else shown_value(result.scale, best),
        confirmed=None if winner is None else shown_candidate(result.scale, winner),
        merit=None if winner is None else winner.mean,
        standard_error=None if winner is None else winner.standard_error,
        half=None if low is None or high is None else (high - low) / 2,
        seeds=end - first,
        chosen_apart=confirmation is not None and first >= confirmation.choice_seeds,
        own_split=confirmation is not None and confirmation.own_split,
        n_train=0 if confirmation is None else confirmation.n_train,
        n_val=0 if confirmation is None else confirmation.n_val,
        run_work=None if winner is None else winner.run_work,
        work=result.work + (0.0 if confirmation is None else confirmation.work),
    )


def _groups(result: StudyResult) -> int:
    return len(result.trials[0].schedule.groups) if result.trials else len(result.backbone.get("groups", ()))


# Who is compared


def _of_dataset(found: Sequence[Found], everywhere: Sequence[Found]) -> OfDataset:
    remarks = _namesakes(found[0], everywhere)
    alike = [place for place, one in enumerate(found) if one.merit is not None]
    if alike:
        remarks += _left_out(found)
    if len(found) > 1 and not found[0].fingerprint:
        remarks, alike = [*remarks, OWN], []
    elif len({_scored(found[place]) for place in alike}) > 1:
        remarks, alike = [*remarks, _scored_otherwise([found[place] for place in alike])], []
    best = max(alike, key=lambda place: found[place].merit or -math.inf, default=None)
    if len(alike) > 1:
        remarks += _other_conditions([found[place] for place in alike])
    return OfDataset(
        name=found[0].name,
        fingerprint=found[0].fingerprint,
        found=tuple(found),
        best=best,
        differences=() if best is None else _differences(found, best, alike),
        remarks=tuple(remarks),
    )


def _namesakes(one: Found, everywhere: Sequence[Found]) -> list[str]:
    """Say what has the same name and is another data set, or is the same one and goes by another name."""
    others = {_data(other) for other in everywhere if other.name == one.name} - {_data(one)}
    same = [other for other in everywhere if _data(other) == _data(one)]
    names, metrics = {other.name for other in same}, {other.scale.metric for other in same}
    told = [f"other data here are called {one.name} too: they are another data set"] if others else []
    told += [f"the same images are called {listed(sorted(names - {one.name}))} too"] if len(names) > 1 else []
    other_metrics = listed(sorted(metrics - {one.scale.metric}))
    told += [f"searched by {other_metrics} too, which is not compared"] if len(metrics) > 1 else []
    return told


def _left_out(found: Sequence[Found]) -> list[str]:
    """Say which searches nothing is said of, since their best schedule was not confirmed."""
    names = [_nth(place) for place, one in enumerate(found) if one.merit is None]
    are = "is" if len(names) == 1 else "are"
    why = "not confirmed on fresh seeds to the end"
    return [f"{listed(names)} {are} shown and not compared: {why}"] if names else []


def _scored(one: Found) -> tuple[object, ...]:
    """Give what must be the same for means to be compared."""
    return (one.own_split, one.n_train, one.n_val)


def _scored_otherwise(found: Sequence[Found]) -> str:
    ways = {
        "the validation part": {"their own" if one.own_split else "one for each seed" for one in found},
        "the training images": {f"{one.n_train:,}" for one in found},
        "the validation images": {f"{one.n_val:,}" for one in found},
    }
    differing = [f"{what} ({listed(sorted(values))})" for what, values in ways.items() if len(values) > 1]
    return f"not compared, since they were not scored alike: {listed(differing)} differ"


def _differences(found: Sequence[Found], best: int, alike: Sequence[int]) -> tuple[Difference, ...]:
    pairs = math.comb(len(alike), 2)  # any of them could have come out best
    apart = {
        place: unpaired_difference(_mean(found[best]), _mean(found[place]), comparisons=pairs)
        for place in alike
        if place != best
    }
    return tuple(
        Difference(leader=best, other=place, told=one.low > 0, **one.model_dump())
        for place, one in apart.items()
    )


def _mean(one: Found) -> tuple[float, float, float]:
    def known(value: float | None) -> float:
        return math.inf if value is None else value

    assert one.merit is not None
    return one.merit, known(one.standard_error), known(one.half)


def _other_conditions(found: Sequence[Found]) -> list[str]:
    """Say what else differs between searches that are compared, and what their figures rest on."""
    ways: dict[str, set[object]] = {
        "the model": {one.model for one in found},
        "its weights": {one.weights_digest for one in found},
        "the preprocessing": {repr(sorted(one.preprocessing.items())) for one in found},
        "the layer groups": {one.groups for one in found},
        "the length of a run": {one.epochs for one in found},
    }
    differing = [what for what, values in ways.items() if len(values) > 1]
    told = [f"beside the schedule {listed(differing)} may make the difference"] if differing else []
    if any(not one.chosen_apart for one in found):
        told.append("six fresh seeds choose and estimate at once: such a mean is a little too high")
    return told


# In words


def _nth(place: int) -> str:
    return f"run {place + 1}"


def tell_best(dataset: OfDataset) -> str:
    """Say in one sentence which search has the best schedule of a data set, as far as that can be said."""
    found = dataset.found
    if dataset.best is None:
        return _why_none(dataset)
    best = found[dataset.best]
    which = f"{_nth(dataset.best)} ({best.sentence})"
    if not dataset.differences:
        others = "no other was confirmed" if len(found) > 1 else "there is no other to compare it with"
        return f"best schedule: {which}; {others}"
    untold = [_nth(one.other) for one in dataset.differences if not one.told]
    if not untold:
        return f"best schedule: {which}"
    if all(one.estimate == 0 for one in dataset.differences):
        return "no difference can be told; the means are equal"
    if len(untold) == len(dataset.differences):
        return f"no difference can be told; {_nth(dataset.best)} has the highest mean"
    return f"no difference can be told between {_nth(dataset.best)} and {listed(untold)}; they lead"


def _why_none(dataset: OfDataset) -> str:
    if any(one.merit is not None for one in dataset.found):
        return "nothing is said of which is best"
    none = "not" if len(dataset.found) == 1 else "none"
    return f"{none} confirmed on fresh seeds, so nothing is said of which schedule is best"


def tell_difference(dataset: OfDataset, one: Difference) -> str:
    """Say how far a search is behind the best one, and what that means."""
    scale = dataset.found[one.leader].scale
    lead = f"{scale.lead(one.estimate)} ({scale.lead_span(one.low, one.high)})"
    meaning = "better" if one.told else "no difference can be told"
    return f"{_nth(one.leader)} against {_nth(one.other)}: {lead}: {meaning}"
