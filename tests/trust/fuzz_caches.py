# ruff: noqa: E501 - tables are read by line
"""Damaged caches and checkpoints: what was kept is used as it was written, or made again, and never executed.

A run whose cache or checkpoint was changed comes to the records of an undisturbed one, to the bit. A training
that is to be continued may also refuse, in plain words.
"""

import json
import random
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from trust import bytewise
from trust.check import Check, Effort, Outcome
from trust.finds import MEMORY, Finds
from trust.fuzz_weights import pickled
from trust.numbers import write_classes

TASK: dict[str, Any] = {
    "model": "test_resnet", "from_scratch": True, "image_size": 32, "granularity": "coarse", "folds": 1,
    "max_bad_images": 0.1, "device": "cpu",
}  # fmt: skip
WORDS = (
    None,
    True,
    0,
    -1,
    3,
    2**70,
    1.5,
    float("nan"),
    "",
    "x",
    [],
    [1],
    {},
    {"3": "is no image"},
    [[1, 2]],
    "a" * 5000,
)
"""Values for places in a note where others are meant."""


def opened(data: Path, cache: Path) -> Any:
    """Open few images as a search does."""
    from autofreeze.task import Task
    from autofreeze.trial import Workbench

    return Workbench.open(Task(data=str(data), cache_folder=str(cache), **TASK))


def a_job(bench: Any, *, heads: int = 0) -> Any:
    """Give a run of the whole model, or a sweep of heads over stored features; two epochs."""
    from autofreeze.job import Job, Member
    from autofreeze.recipes import full, linear_probe
    from autofreeze.regime import Regime

    names, regime = bench.backbone.groups.names, Regime(batch_size=8)
    probes = [linear_probe(names, 2, head_lr=rate) for rate in (1e-2, 2e-2, 3e-2)[:heads]]
    members = tuple(Member(schedule=one, regime=regime) for one in probes)
    schedule = probes[0] if heads else full(names, 2, head_lr=1e-2)
    return Job(trial=0, fold=0, seed=0, schedule=schedule, regime=regime, members=members)


def damaged(rng: random.Random, raw: bytes, others: Sequence[bytes]) -> bytes:
    """Draw what may become of a file: bits flipped, cut, pieces of it or of others in other places."""
    how = rng.random()
    if how < 0.4:
        changed = bytearray(raw)
        for _ in range(rng.randint(1, 3)):
            changed[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if how < 0.5:
        return raw[: rng.randrange(len(raw))]
    if how < 0.55:
        return rng.choice((b"", bytes(len(raw)), rng.choice(others)))
    return bytewise.changed(rng, raw, others, front=400, most=3)


def damaged_note(rng: random.Random, raw: bytes) -> bytes:
    """Draw a note in which a value is another."""
    plain = json.loads(raw)
    holder: Any = plain
    while True:
        key = rng.choice(sorted(holder) if isinstance(holder, dict) else range(len(holder)))
        if not isinstance(holder[key], (dict, list)) or not holder[key] or rng.random() < 0.3:
            break
        holder = holder[key]
    if rng.random() < 0.2 and isinstance(holder, dict):
        del holder[key]
    else:
        holder[key] = rng.choice(WORDS)
    return json.dumps(plain).encode()


def fuzz_caches(effort: Effort) -> Outcome:
    """Change one file of a cache after another, and train by it."""
    from autofreeze.trial import run

    finds, rng = Finds(memory=MEMORY), effort.rng
    data, cache = effort.folder / "data", effort.folder / "cache"
    write_classes(data, (10, 10))
    (data / "class0000" / "bad.png").write_bytes(b"is no image")

    def trained() -> list[Any]:
        bench = opened(data, cache)
        return [record for heads in (0, 2) for record in run(a_job(bench, heads=heads), bench)]

    expected = trained()
    raws = {path: path.read_bytes() for path in sorted(cache.rglob("*.*")) if path.stat().st_size}
    found_out = 0
    while finds.tried < effort.times:
        path = list(raws)[finds.tried % len(raws)]
        finds.tried += 1
        raw = raws[path]
        as_note = path.suffix == ".json" and rng.random() < 0.6
        bad = damaged_note(rng, raw) if as_note else damaged(rng, raw, list(raws.values()))
        path.write_bytes(bad)
        told = path.suffix, bytewise.difference(raw, bad)
        records = finds.attempt("a damaged cache", told, trained, effort.folder)
        if not isinstance(records, list):
            finds.add(f"a damaged {path.parent.name}/{path.suffix} ends a run", told)
        elif not same(records, expected):
            finds.add(f"a damaged {path.parent.name}/{path.suffix} changes a curve", told)
        found_out += bad != raw and path.exists() and path.read_bytes() != bad
        for other, held in raws.items():
            if not other.exists() or other.read_bytes() != held:
                other.write_bytes(held)
    outcome = finds.outcome()
    return Outcome(tried=outcome.tried, wrong=outcome.wrong, note=f"{found_out:,} were made again")


def same(records: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether two curves are equal to the bit."""
    return len(records) == len(others) and all(
        one.same_as(two) for one, two in zip(records, others, strict=True)
    )


# Checkpoints


def begun(job: Any, bench: Any, file: Path) -> bytes:
    """Give the checkpoint that a run has after its first epoch."""
    from autofreeze.trial import run

    records = run(job, bench, checkpoint=file)
    next(records)
    records.close()  # type: ignore[attr-defined]
    return file.read_bytes()


def fuzz_checkpoints(effort: Effort) -> Outcome:
    """Change a checkpoint, or put code into its place, and go on with the run."""
    from autofreeze.trial import run

    finds, rng = Finds(memory=MEMORY), effort.rng
    own, canary = effort.folder / "own", effort.folder / "canary"
    write_classes(own / "data", (10, 10))
    bench = opened(own / "data", own / "cache")
    file = own / "states" / "rolling.pt"
    file.parent.mkdir()
    jobs = [a_job(bench, heads=heads) for heads in (0, 2)]
    expected = [list(run(job, bench)) for job in jobs]
    states = [begun(job, bench, file.with_name(f"{place}.pt")) for place, job in enumerate(jobs)]
    code = pickled(canary)

    def trained(job: Any) -> list[Any]:
        return list(run(job, bench, checkpoint=file))

    while finds.tried < effort.times:
        place = finds.tried % len(jobs)
        finds.tried += 1
        if rng.random() < 0.1:
            raw, told = rng.choice(code), "code"
        else:
            raw = damaged(rng, states[place], [*states, *code])
            told = bytewise.difference(states[place], raw)
        file.write_bytes(raw)
        records = finds.attempt("a damaged checkpoint", told, partial(trained, jobs[place]), own)
        if not isinstance(records, list):
            finds.add("a damaged checkpoint ends a run", told)
        elif not same(records, expected[place]):
            finds.add("a damaged checkpoint changes a curve", told)
        if canary.exists():
            finds.add("code in a checkpoint was run", raw)
            shutil.rmtree(canary) if canary.is_dir() else canary.unlink()
    return finds.outcome()


CHECKS: tuple[Check, ...] = (
    Check(
        name="fuzz-caches", fault="decoded images, features, notes and surveys in the cache changed, then a run",
        run=fuzz_caches, quick=7, long=200,
    ),
    Check(
        name="fuzz-checkpoints", fault="rolling checkpoints changed, or code in their place, then `--resume`",
        run=fuzz_checkpoints, quick=6, long=400,
    ),
)  # fmt: skip
"""All checks, in the order of the table."""
