"""Two at once: searches in one run folder, many on one cache, readers beside a search."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

from autofreeze.dashboard import HOST, served
from autofreeze.inventory import clear, inventory
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


def _both(
    victims: Victims, told: tuple[object, ...], apart: float, look: Callable[[], None] = lambda: None
) -> tuple[Ended, Ended]:
    """Run a command twice at once, the second one some seconds later; look at something all the while."""
    with ThreadPoolExecutor(2) as beside:
        one = beside.submit(victims.run, *told)
        time.sleep(apart)
        other = beside.submit(victims.run, *told)
        while not (one.done() and other.done()):
            look()
            time.sleep(0.001)
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


LARGE = 400
"""Pixels of a side, so that decoding takes some time."""


def pair_clears(effort: Effort) -> Outcome:
    """Clear a cache twice at once, and list it, without end while searches fill and use it."""
    victims = Victims(Place(effort.folder).fill((14, 14, 14), size=LARGE))
    told = ("search", victims.place.data, *SEARCH, *PLAIN, "--trials", 1)
    cache, whole = effort.folder / "shared", effort.folder / "whole"
    first, _ = victims.run(*told, "--out", whole)
    wrong, clears, searches, freed = first.complaints(), 0, 0, 0

    def clear_on() -> tuple[int, int]:
        times = size = 0
        while not search.done():
            size += clear(cache).bytes
            inventory(cache)
            times += 1
            time.sleep(0.01)
        return times, size

    while clears < effort.times or searches < effort.times // 200:
        out = effort.folder / f"run-{searches}"
        searches += 1
        with ThreadPoolExecutor(3) as beside:
            search = beside.submit(victims.run, *told, "--out", out, cache=cache)
            clearing = [beside.submit(clear_on) for _ in range(2)]
            command, _ = victims.run("cache", "clear", "--all", cache=cache)
            for one in clearing:
                if error := one.exception():
                    wrong.append(f"cleared beside a search: {error!r}")
                else:
                    clears, freed = clears + one.result()[0], freed + one.result()[1]
            ended = search.result()[0]
        wrong += [f"cleared beside a search: {one}" for one in command.complaints()]
        wrong += [f"its cache cleared again and again: {one}" for one in ended.complaints()]
        wrong += [] if ended.status else studies.differences(out, whole)
        wrong += [f"left behind: {one.name}" for one in cache.rglob("*.part")]
    note = f"{searches} searches meanwhile; {freed / 1e6:.1f} MB cleared"
    return Outcome(tried=clears, wrong=wrong, note=note)


SIZES = (32, 40, 48)
ROOM = "400kB"
"""Holds the images of any of these sizes, and those of no two but the smaller ones."""


def pair_rooms(effort: Effort) -> Outcome:
    """Begin searches of three image sizes at once on a cache with room for one: each evicts the others'."""
    victims = Victims(Place(effort.folder).fill((14, 14, 14), size=LARGE))
    plain = ("search", victims.place.data, *SEARCH, *PLAIN, "--trials", 2, "--cache-size", ROOM)
    cache, wrong = effort.folder / "shared", list[str]()
    alone = {size: effort.folder / f"alone-{size}" for size in SIZES}
    for size, out in alone.items():
        own = effort.folder / f"cache-{size}"
        ended, _ = victims.run(*plain, "--image-size", size, "--out", out, cache=own)
        wrong += ended.complaints()
    evicted = 0
    for number in range(effort.times):
        runs = {size: effort.folder / f"run-{number}-{size}" for size in SIZES}
        with ThreadPoolExecutor(len(SIZES)) as beside:
            under_way = {}
            for size, out in runs.items():
                given = (*plain, "--image-size", size, "--out", out)
                under_way[size] = beside.submit(victims.run, *given, cache=cache)
                time.sleep(effort.rng.uniform(0, 0.3))
            ends = {size: one.result()[0] for size, one in under_way.items()}
        for size, ended in ends.items():
            wrong += [f"round {number}, {size} px: {one}" for one in ended.complaints()]
            if not ended.status:
                wrong += [
                    f"round {number}, {size} px: {one}"
                    for one in studies.differences(runs[size], alone[size])
                ]
        evicted += len(SIZES) - len(list((cache / "decoded").glob("*.npy")))
        wrong += [f"round {number}: left behind: {one.name}" for one in cache.rglob("*.part")]
    if not evicted:
        raise RuntimeError(f"nothing was evicted: {ROOM} is too much")
    return Outcome(
        tried=effort.times, wrong=wrong, note=f"{len(SIZES)} searches each time; {evicted} stores evicted"
    )


def pair_exports(effort: Effort) -> Outcome:
    """Export to one file twice at once: it is whole; both succeed, or the later one says that it exists."""
    victims = Victims(Place(effort.folder).fill((14, 14, 14)))
    run, out = effort.folder / "run", effort.folder / "out"
    first, _ = victims.run("search", victims.place.data, *SEARCH, *PLAIN, "--trials", 1, "--out", run)
    wrong, refused = first.complaints(), 0
    alone = effort.folder / "alone.yaml"
    wrong += victims.run("export", run, "-o", alone)[0].complaints()
    whole, seen = alone.read_bytes(), set[bytes]()

    def look() -> None:
        with suppress(FileNotFoundError):
            seen.add(file.read_bytes())

    for number in range(effort.times):
        file, force = out / f"best-{number}.yaml", ("--force",) * (number % 2)
        told = ("export", run, "-o", file, *force)
        seen.clear()
        ends = _both(victims, told, effort.rng.uniform(0, 0.05), look)
        what = "twice at once" + (", --force" if force else "")
        for ended in ends:
            wrong += [f"{what}: {one}" for one in ended.complaints(*((0,) if force else (0, 2)))]
            if ended.status == 2:
                refused += 1
                wrong += [] if "exists" in ended.err else [f"{what}: the refused one said {ended.err!r}"]
        if all(ended.status for ended in ends):
            wrong.append(f"{what}: nobody has written {file.name}")
        elif {file.read_bytes(), *seen} != {whole}:
            wrong.append(f"{what}: {file.name} is torn for a while, or another one")
        wrong += [f"{what}: left behind: {one.name}" for one in out.glob(".*")]
    return Outcome(tried=effort.times, wrong=wrong, note=f"one of two refused {refused} times")


DASHBOARD_SECONDS = 30.0
"""So long the dashboard may tell what it knew before: it asks its study again every few seconds."""


def pair_dashboards(effort: Effort) -> Outcome:
    """Ask the dashboard of a search that runs for its study, again and again."""
    victims = Victims(Place(effort.folder).fill((14, 14, 14)))
    told = ("search", victims.place.data, *SEARCH, *PLAIN, "--trials", 6)
    whole = effort.folder / "whole"
    first, _ = victims.run(*told, "--out", whole)
    wrong, reads, searches, seen = first.complaints(), 0, 0, Counter[int]()
    while reads < effort.times:
        out = effort.folder / f"run-{searches}"
        searches += 1
        with ThreadPoolExecutor(2) as beside:
            search = beside.submit(victims.run, *told, "--out", out)
            while not (out / "study.journal").exists() and not search.done():
                time.sleep(0.01)
            with served(out / "study.journal", 0) as server:
                beside.submit(server.serve_forever, 0.02)
                while not search.done():
                    try:
                        trials = _asked(server.server_port)
                    except (OSError, ValueError, KeyError) as error:
                        wrong.append(f"the dashboard beside a search: {error!r}")
                    else:
                        seen[trials] += 1
                    reads += 1
                    time.sleep(0.03)
                until = time.monotonic() + DASHBOARD_SECONDS
                while (trials := _asked(server.server_port)) != 6 and time.monotonic() < until:
                    time.sleep(0.2)
                if trials != 6:
                    wrong.append(f"the dashboard tells {trials} trials of 6")
                server.shutdown()
            wrong += search.result()[0].complaints()
        wrong += studies.differences(out, whole)
    return Outcome(tried=reads, wrong=wrong, note=f"{searches} searches, seen with {_span(seen)} trials")


def _asked(port: int) -> int:
    """Give how many trials the dashboard tells of its study; none before there is a study."""
    with urlopen(f"http://{HOST}:{port}/api/studies", timeout=20) as answer:
        studies_told = json.load(answer)["study_summaries"]
    if not studies_told:
        return 0
    number = studies_told[0]["study_id"]
    with urlopen(f"http://{HOST}:{port}/api/studies/{number}?after=0", timeout=20) as answer:
        return len(json.load(answer)["trials"])


def _span(seen: Counter[int]) -> str:
    return f"{min(seen)} to {max(seen)}" if seen else "no"


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
        quick=1, long=12,
    ),
    Check(
        name="pair-cache", fault="three searches fill one empty cache at once", run=pair_caches,
        quick=1, long=6,
    ),
    Check(
        name="pair-readers", fault="report, status, export and compare while a search runs",
        run=pair_readers, quick=6, long=50,
    ),
    Check(
        name="pair-clear", fault="`cache clear` twice at once while a search uses the cache", run=pair_clears,
        quick=20, long=2_000,
    ),
    Check(
        name="pair-room", fault="three searches on a cache that holds the images of one", run=pair_rooms,
        quick=1, long=6,
    ),
    Check(
        name="pair-export", fault="`export` to one file twice at once", run=pair_exports, quick=2, long=20,
    ),
    Check(
        name="pair-dashboard", fault="the dashboard asked while a search runs", run=pair_dashboards,
        quick=10, long=200,
    ),
)  # fmt: skip
