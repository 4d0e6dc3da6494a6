"""Two at once: searches in one run folder, many on one cache, readers beside a search."""

import json
import random
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from trust import studies
from trust.check import Check, Effort, Outcome
from trust.commands import Ended, Place
from trust.kills import SEARCH
from trust.victims import Victims

PLAIN = ("--sampler", "qmc", "--confirm", 0)
REFUSED = ("another search is using this folder", "holds a study already")


def pair_searches(effort: Effort) -> Outcome:
    """Begin two searches in one new folder, up to two seconds apart: one wins, and is not disturbed."""
    victims = Victims(Place(effort.folder).fill((14, 14, 14)))
    told = ("search", victims.place.data, *SEARCH, *PLAIN, "--trials", 3)
    whole, aside = effort.folder / "whole", effort.folder / "aside"
    first, _ = victims.run(*told, "--out", whole)
    wrong, lost = first.complaints(), list[str]()
    rng, words = effort.rng, set[str]()
    for number in range(effort.times):
        run, apart = effort.folder / f"run-{number}", rng.uniform(0, 2) * (number % 3 > 0)
        one, other = _both(victims, (*told, "--out", run), apart)
        what = f"{apart:.3f} s apart"
        won = [ended for ended in (one, other) if ended.status == 0]
        if len(won) != 1:
            wrong.append(f"{what}: {len(won)} of two searches came to their end")
            continue
        [refused] = [ended for ended in (one, other) if ended.status != 0]
        words |= {word for word in REFUSED if word in refused.err}
        wrong += [f"{what}: {complaint}" for complaint in refused.complaints(2)]
        if not any(word in refused.err for word in REFUSED):
            wrong.append(f"{what}: the refused one said {refused.err[-300:]!r}")
        wrong += [f"{what}: {fault}" for fault in studies.faults_of(run, aside)]
        lost += [f"{what}: {one}" for one in studies.differences(run, whole)]
    return Outcome(tried=effort.times, lost=lost, wrong=wrong, note=f"told: {', '.join(sorted(words))}")


def _both(victims: Victims, told: tuple[object, ...], apart: float) -> tuple[Ended, Ended]:
    """Run a command twice at once, the second one some seconds later."""
    with ThreadPoolExecutor(2) as beside:
        one = beside.submit(victims.run, *told)
        time.sleep(apart)
        other = beside.submit(victims.run, *told)
        return one.result()[0], other.result()[0]


def pair_caches(effort: Effort) -> Outcome:
    """Begin three searches on one empty cache at once; each is what it is with a cache of its own."""
    victims = Victims(Place(effort.folder).fill((14, 14, 14)))
    told = ("search", victims.place.data, *SEARCH, *PLAIN, "--trials", 3)
    seeds = (0, 0, 1)
    alone = {seed: effort.folder / f"alone-{seed}" for seed in set(seeds)}
    wrong = []
    for seed, out in alone.items():
        ended, _ = victims.run(*told, "--seed", seed, "--out", out, cache=effort.folder / f"cache-{seed}")
        wrong += ended.complaints()
    rng: random.Random = effort.rng
    for number in range(effort.times):
        cache = effort.folder / f"shared-{number}"
        runs = [effort.folder / f"run-{number}-{place}" for place in range(len(seeds))]
        with ThreadPoolExecutor(len(seeds)) as beside:
            under_way = []
            for seed, out in zip(seeds, runs, strict=True):
                given = (*told, "--seed", seed, "--out", out)
                under_way.append(beside.submit(victims.run, *given, cache=cache))
                time.sleep(rng.uniform(0, 0.3))
            ends = [one.result()[0] for one in under_way]
        for seed, out, ended in zip(seeds, runs, ends, strict=True):
            wrong += [f"round {number}: {one}" for one in ended.complaints()]
            if not ended.status:
                wrong += [f"round {number}: {one}" for one in studies.differences(out, alone[seed])]
        wrong += [f"round {number}: left behind: {one.name}" for one in cache.rglob("*.part")]
    return Outcome(tried=effort.times, wrong=wrong, note=f"{len(seeds)} searches each time")


def pair_readers(effort: Effort) -> Outcome:
    """Read a search that runs by every command that reads, again and again, until it ends."""
    place = Place(effort.folder, {"BROWSER": "true"}).fill((14, 14, 14))
    victims, run, whole = Victims(place), effort.folder / "run", effort.folder / "whole"
    told = ("search", place.data, *SEARCH, *PLAIN)
    readers: tuple[tuple[object, ...], ...] = (
        ("report", run), ("status", run), ("export", run, "-o", effort.folder / "best.yaml", "--force"),
        ("compare", run, whole), ("report", run, "--open"), ("export", run, "--list"),
    )  # fmt: skip
    first, _ = victims.run(*told, "--trials", 6, "--out", whole)
    wrong, reads, well, searches = first.complaints(), 0, 0, 0
    while reads < effort.times:
        out = effort.folder / f"run-{searches}"
        searches += 1
        run.unlink(missing_ok=True)
        run.symlink_to(out)
        with ThreadPoolExecutor(1) as beside:
            search: Future[tuple[Ended, float | None]] = beside.submit(
                victims.run, *told, "--trials", 6, "--out", out
            )
            while not search.done():
                reader = readers[reads % len(readers)]
                wrong += _torn(out)
                ended, _ = victims.run(*reader)
                reads += 1
                well += ended.status == 0
                # Before there is a trial, there is nothing to tell or to export: that is said.
                wrong += [f"{reader[0]} beside a search: {one}" for one in ended.complaints(0, 1, 2)]
                if ended.status and not (ended.err.strip() or ended.out.strip()):
                    wrong.append(f"{reader[0]} beside a search ended with {ended.status} and said nothing")
            wrong += search.result()[0].complaints()
        wrong += studies.differences(out, whole)
    return Outcome(tried=reads, wrong=wrong, note=f"{well} of {reads} had something to tell already")


def _torn(run: Path) -> list[str]:
    """Name what is not whole of the files that are read by other programs."""
    torn = []
    for name in ("report.json", "status.json", "run.json"):
        file = run / name
        try:
            json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except ValueError as error:
            torn.append(f"{name} beside a search: {error}")
    return torn


CHECKS: tuple[Check, ...] = (
    Check(
        name="pair-search", fault="two searches begin in one folder, up to 2 s apart", run=pair_searches,
        quick=1, long=15,
    ),
    Check(
        name="pair-cache", fault="three searches fill one empty cache at once", run=pair_caches,
        quick=1, long=8,
    ),
    Check(
        name="pair-readers", fault="report, status, export and compare while a search runs",
        run=pair_readers, quick=6, long=60,
    ),
)  # fmt: skip
