"""What a search tells of itself: what is kept in ``status.json``, when, and what is made of it outside."""

import fcntl
import json
import math
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import filelock
import numpy as np
import pytest
from placed import PLACES, PlacedExecutor
from test_confirm import Runner, finalist

from autofreeze import api, pulse
from autofreeze.confirm import Confirming
from autofreeze.errors import RunFolderError, TrainingError
from autofreeze.imagescoring import FreshImageScoring, ImageScoring
from autofreeze.pulse import Pulse, Sight, is_held, look, pulse_of
from autofreeze.report.status import lines_of
from autofreeze.results import ended_trials, rank
from autofreeze.run import RunFolder
from autofreeze.scale import Scale
from autofreeze.space import SpaceSpec
from autofreeze.splits import Split
from autofreeze.status import Doing, FreshSeeds, Status, UnderWay
from autofreeze.statusfile import STATUS, StatusFile, read_status
from autofreeze.study import Limits, Study
from autofreeze.watching import Watcher

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SCALE = Scale.of("top1")


def status_of(**fields):
    given = {
        "written": NOW, "began": NOW - timedelta(seconds=60), "process": 4321, "host": socket.gethostname(),
        "doing": Doing.SEARCHING, "trials": 12,
    }  # fmt: skip
    return Status(**{**given, **fields})


def under_way(number=3, **fields):
    given = {"number": number, "name": "lp_ft", "epochs": 6.0, "since": NOW - timedelta(seconds=30)}
    return UnderWay(**{**given, **fields})


# When it is written


class Teller:
    """Tells a status, and notes when it was asked for."""

    def __init__(self):
        self.trials, self.asked = 1, []

    def __call__(self):
        self.asked.append(time.monotonic())
        return status_of(trials=self.trials)


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


def test_many_changes_are_written_now_and_then_and_the_last_one_too(tmp_path):
    teller = Teller()
    with StatusFile(tmp_path, teller, pause=0.1) as file:
        wait_until(lambda: (tmp_path / STATUS).exists())
        for trials in range(1, 300):
            teller.trials = trials
            file.changed()
            time.sleep(0.001)
        wait_until(lambda: read_status(tmp_path).trials == 299)  # though nothing more has happened
        gaps = [after - before for before, after in pairwise(teller.asked)]
    assert gaps
    assert min(gaps) > 0.09


def test_without_a_change_nothing_is_written(tmp_path):
    teller = Teller()
    with StatusFile(tmp_path, teller, pause=0.01):
        wait_until(lambda: (tmp_path / STATUS).exists())
        time.sleep(0.2)
        assert len(teller.asked) == 1
    assert len(teller.asked) == 2  # at the end, once more


def test_an_end_in_the_midst_of_a_round_ends_it(tmp_path):
    """What is noted as new just when the thread takes note of what was new before is not lost."""
    file = StatusFile(tmp_path, Teller(), pause=0.0)

    class Slow(threading.Event):
        def clear(self):
            file._over.wait()
            time.sleep(0.1)  # until the end has said that there is something new
            super().clear()

    file._changed = Slow()

    def run():
        with file:
            time.sleep(0.1)

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(10)
    assert not worker.is_alive()


def test_it_is_never_seen_half_written(tmp_path):
    teller = Teller()
    seen = set()
    with StatusFile(tmp_path, teller, pause=0.0) as file:
        wait_until(lambda: (tmp_path / STATUS).exists())
        end = time.monotonic() + 30
        while len(seen) < 20 and time.monotonic() < end:
            teller.trials += 1
            file.changed()
            seen.add(read_status(tmp_path).trials)
    assert len(seen) == 20
    assert [path.name for path in tmp_path.iterdir()] == [STATUS]


def test_what_cannot_be_written_stops_no_search(class_folders, tmp_path):
    given = {
        "model": "test_resnet", "from_scratch": True, "image_size": 32, "device": "cpu", "epochs": 1,
        "space": "quick", "folds": 1, "confirm": 0, "out": tmp_path / "run",
    }  # fmt: skip
    api.search(class_folders, trials=1, **given)
    assert read_status(tmp_path / "run").doing is Doing.ENDED
    (tmp_path / "run" / STATUS).unlink()
    (tmp_path / "run" / STATUS / "in the way").mkdir(parents=True)
    before = threading.active_count()
    result = api.search(class_folders, trials=2, resume=True, **given)
    assert ended_trials(result.trials) == 2
    assert not list((tmp_path / "run").glob(".status*"))
    assert threading.active_count() == before


@pytest.mark.parametrize("text", ["{", '{"schema_version": 7}', "\udcff"], ids=["torn", "other", "no text"])
def test_what_cannot_be_read_is_told(tmp_path, text):
    (tmp_path / STATUS).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RunFolderError, match=r"status\.json is damaged or from another version"):
        read_status(tmp_path)


# What it tells

LABELS = np.arange(80) % 2
SPLITS = (Split(np.arange(40), np.arange(40, 80)), Split(np.arange(40, 80), np.arange(40)))
SPACE = """
warmup_epochs: {low: 0, high: 2, step: 0.5}
unfreeze_depth: {low: 0, high: all}
head_lr: {low: 1.0e-4, high: 1.0e-2, log: true}
backbone_ratio: {low: 3.0e-3, high: 1.0, log: true}
"""


class Told:
    """A made-up search on three places, and what its watcher tells after every event."""

    def __init__(self, folder, made_up, trials=15):
        self.seen = []
        with (
            RunFolder(folder, {"test": 1}) as run,
            Watcher((), folder, trials=trials, scale=SCALE, command="autofreeze search photos") as watcher,
        ):
            executor = PlacedExecutor(made_up.curve)
            give = executor.next_event

            def next_event():
                self.seen.append((self.study.results, watcher.status()))
                return give()

            executor.next_event = next_event
            self.study = Study(
                run,
                SpaceSpec.from_text(SPACE).resolve(made_up.groups, 3.0),
                executor,
                scoring=ImageScoring.of("top1", LABELS, SPLITS),
                seed=0,
                sampler="random",
                observer=watcher,
            )
            self.before = watcher.status()
            watcher.searching(None)
            self.study.search(Limits(trials))
        self.results = self.study.results
        self.after = read_status(folder)


@pytest.fixture(scope="module")
def told(tmp_path_factory, made_up):
    return Told(tmp_path_factory.mktemp("told") / "run", made_up)


def test_what_is_told_of_trials_is_what_the_study_knows(told):
    for results, status in told.seen:
        ended = [one for one in results if one.ending.value != "unfinished"]
        assert status.ended == dict(Counter(one.ending.value for one in ended))
        assert status.counted == ended_trials(results)
        assert [run.number for run in status.under_way] == [
            one.number for one in results if one.ending.value == "unfinished"
        ]
        complete = [one for one in ended if one.ending.value == "complete"]
        best = max(complete, key=rank, default=None)
        assert (status.best and status.best.number) == (best and best.number)
        assert status.best is None or status.best.value == best.value
    assert any(len(status.ended) > 1 for _, status in told.seen)


def test_what_is_told_of_runs_is_where_they_are_and_how_far(told, made_up):
    runs = [run for _, status in told.seen for run in status.under_way]
    assert {run.where for run in runs if run.epochs_done or run.fold} == set(PLACES)
    assert {(run.fold, run.epochs_done) for run in runs} == {
        (fold, done) for fold in (0, 1) for done in (0.0, 1.0, 2.0, 3.0)
    } - {(0, 3.0)}  # a fold's last epoch leads to the next fold
    assert {run.name for run in runs} >= {"linear_probe", "full", "lp_ft"}
    assert all(run.heard is not None and run.value is not None for run in runs if run.epochs_done)
    for _, status in told.seen:
        counts = Counter(run.where for run in status.under_way if run.where)
        assert status.places == dict(counts)


def test_the_time_that_is_left_is_told_from_the_first_trial_on(told):
    assert all((status.seconds_left is None) == (sum(status.ended.values()) == 0) for _, status in told.seen)
    assert all(status.seconds_left >= 0 for _, status in told.seen if status.seconds_left is not None)


def test_before_it_prepares_and_at_the_end_it_says_that_it_has_ended(told):
    assert told.before.doing is Doing.PREPARING
    assert {status.doing for _, status in told.seen} == {Doing.SEARCHING}
    assert told.after.doing is Doing.ENDED
    assert (told.after.under_way, told.after.places, told.after.seconds_left) == ((), {}, None)
    assert told.after.counted == 15
    assert (told.after.process, told.after.host) == (os.getpid(), socket.gethostname())
    assert told.after.command == "autofreeze search photos"


def test_a_confirmation_on_three_places_is_told_run_by_run(tmp_path, made_up):
    runner = Runner(made_up, {0: 0.9, 1: 0.5, 2: 0.9}, broken={1: 2})
    told, runs_on = [], set()
    with RunFolder(tmp_path, {}) as folder, Watcher((), tmp_path, trials=3, scale=SCALE) as watcher:
        executor = PlacedExecutor(lambda job: list(runner(job)))
        give = executor.next_event

        def next_event():
            told.append(watcher.status())
            runs_on.update((run.number, run.fresh) for run in told[-1].under_way)
            return give()

        executor.next_event = next_event
        confirming = Confirming(
            folder, executor, [finalist(made_up, number) for number in (0, 1, 2)],
            scoring=FreshImageScoring("top1", runner.labels, runner.split_of, n_classes=4), seed=0,
            planned=12, delta=0.01, observer=watcher,
        )  # fmt: skip
        watcher.confirming_begins(12, None)
        confirming.confirm()
        watcher.reading_begins()
        reading = watcher.status()
    assert {(job.trial, job.fresh) for job in runner.jobs} == runs_on
    assert max(len(status.under_way) for status in told) == 3
    assert {run.where for status in told for run in status.under_way if run.epochs_done} == set(PLACES)
    assert all(
        status.places == Counter(run.where for run in status.under_way if run.where) for status in told
    )
    assert {run.name for status in told for run in status.under_way} == {"x"}
    assert told[0].fresh == FreshSeeds(planned=12, done=0, total=18)
    assert {status.fresh.seeds for status in told} == {0, 6}
    first = [(status.fresh.done, status.fresh.total) for status in told if not status.fresh.seeds]
    assert first[-1] == (11, 12)  # of the two that did not break off
    assert {total for _, total in first} == {18, 12}
    assert all(status.seconds_left is not None for status in told[-5:])
    assert (reading.doing, reading.under_way) == (Doing.READING, ())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TrainingError("the first 3 trials all failed"), "the first 3 trials all failed"),
        (KeyboardInterrupt(), "interrupted"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
    ids=["told", "interrupted", "unexpected"],
)
def test_an_error_that_ends_it_is_told(tmp_path, error, words):
    with pytest.raises(type(error)), Watcher((), tmp_path, trials=3, scale=SCALE):
        raise error
    assert read_status(tmp_path).cut_short == words
    assert read_status(tmp_path).doing is Doing.ENDED


def test_names_that_are_no_text_are_told_all_the_same(tmp_path):
    with Watcher((), tmp_path, trials=3, scale=SCALE, command="autofreeze search caf\udce9"):
        pass
    assert read_status(tmp_path).command == r"autofreeze search caf\udce9"


def test_a_time_that_was_given_is_the_most_that_is_left(tmp_path):
    with Watcher((), tmp_path, trials=3, scale=SCALE) as watcher:
        watcher.searching(20.0)
        assert 19 < watcher.status().seconds_left <= 20


def test_a_value_that_is_no_number_is_not_told(tmp_path, made_up):
    job = made_up.job(0)
    broken = job.model_copy(update={"fresh": 2})
    with Watcher((), tmp_path, trials=3, scale=SCALE) as watcher:
        watcher.run_started(broken, "full")
        watcher.run_recorded(broken, made_up.diverged(job), "")
        (run,) = watcher.status().under_way
    assert run.value is None
    assert (run.name, run.fresh, run.epochs_done) == ("full", 2, 1.0)


def test_values_are_told_as_people_read_them(tmp_path, made_up):
    job = made_up.job(0).model_copy(update={"fresh": 0})
    with Watcher((), tmp_path, trials=3, scale=Scale.of("log_loss")) as watcher:
        watcher.run_started(job, "full")
        watcher.run_recorded(job, made_up.record(job, 0, value=math.exp(-0.7)), "")
        (run,) = watcher.status().under_way
    assert run.value == pytest.approx(0.7)


# What has become of it


@pytest.fixture(scope="module")
def gone():
    """Number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


ALIVE, GONE = "alive", "gone"


@pytest.mark.parametrize(
    ("held", "process", "host", "age", "expected"),
    [
        (True, GONE, None, 0, Pulse.RUNNING),
        (True, GONE, "far", 9e5, Pulse.RUNNING),
        (False, GONE, None, 0, Pulse.KILLED),
        (False, ALIVE, None, 0, Pulse.KILLED),  # the number has been given to another process
        (None, ALIVE, None, 9e5, Pulse.RUNNING),
        (None, GONE, None, 0, Pulse.KILLED),
        (False, GONE, "far", 60, Pulse.UNKNOWN),
        (False, GONE, "far", 9e5, Pulse.KILLED),
        (None, GONE, "far", 9e5, Pulse.UNKNOWN),
        (False, GONE, "far", -500, Pulse.UNKNOWN),  # its clock is ahead of ours
    ],
)
def test_lock_process_and_silence_say_what_has_become_of_it(gone, held, process, host, age, expected):
    status = status_of(process=os.getpid() if process is ALIVE else gone, host=host or socket.gethostname())
    now = NOW + timedelta(seconds=age)
    assert pulse_of(status, held=held, now=now) is expected
    ended = status.model_copy(update={"doing": Doing.ENDED})
    assert pulse_of(ended, held=held, now=now) is Pulse.ENDED


def test_a_look_at_the_lock_sees_searches_and_not_others_who_look(tmp_path):
    assert is_held(tmp_path) is False
    assert not (tmp_path / pulse.LOCK).exists()  # it touches nothing
    with filelock.FileLock(tmp_path / pulse.LOCK):
        assert is_held(tmp_path) is True
    with (tmp_path / pulse.LOCK).open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert is_held(tmp_path) is False
    assert is_held(tmp_path) is False
    with filelock.FileLock(tmp_path / pulse.LOCK, timeout=0):
        pass  # it lets go


def write_status(folder, **fields):
    (folder / STATUS).write_text(status_of(**fields).model_dump_json())


def test_a_search_that_ends_while_one_looks_was_not_killed(tmp_path, monkeypatch):
    write_status(tmp_path)

    def ends_first(folder):
        write_status(tmp_path, doing=Doing.ENDED)
        return is_held(folder)

    monkeypatch.setattr(pulse, "is_held", ends_first)
    assert look(tmp_path).pulse is Pulse.ENDED


def test_a_search_that_begins_while_one_looks_was_not_killed(tmp_path, monkeypatch):
    write_status(tmp_path)
    lock = filelock.FileLock(tmp_path / pulse.LOCK)

    def begins_just_after(folder):
        held = is_held(folder)
        if not held:
            lock.acquire()
            write_status(tmp_path, process=os.getpid())
        return held

    monkeypatch.setattr(pulse, "is_held", begins_just_after)
    assert look(tmp_path).pulse is Pulse.RUNNING
    lock.release()


def test_where_nothing_is_told_nothing_is_seen(tmp_path):
    assert look(tmp_path) is None


# In words


def seen(pulse=Pulse.RUNNING, *, later=2.0, **fields):
    return Sight(status_of(**fields), pulse, NOW + timedelta(seconds=later))


def test_a_running_search_says_how_long_how_far_and_where():
    runs = (under_way(1, where="a (GPU 0)"), under_way(2, where="b"), under_way(4))
    told = lines_of(
        seen(
            counted=3, ended={"complete": 2, "failed": 1}, seconds_left=302.0, under_way=runs,
            places={"a (GPU 0)": 1, "b": 1}, best={"number": 0, "name": "full", "value": 0.75},
        )
    )  # fmt: skip
    assert told == [
        f"searching, for 1 min 2 s (process 4321 on {socket.gethostname()})",
        "3 of 12 trials have ended: 2 complete, 1 failed; about 5 min left",
        "best so far: trial 0 (full), top1 0.750",
        "under way: 3 runs; 1 on a (GPU 0), 1 on b",
    ]


def test_a_long_silence_is_told():
    assert lines_of(seen(later=125))[0].endswith("; last word 2 min 5 s ago")


def test_of_many_places_the_number_is_told():
    runs = tuple(under_way(number, where=f"node-{number:02}") for number in range(64))
    places = {run.where: 1 for run in runs}
    assert "under way: 64 runs; 64 on 64 places" in lines_of(seen(under_way=runs, places=places))


def test_a_killed_search_and_one_far_away_are_not_said_to_run():
    killed = lines_of(seen(Pulse.KILLED, later=4000, seconds_left=100.0, counted=3))
    assert killed[0] == (
        f"was killed while searching; last word 1 h 6 min ago (process 4321 on {socket.gethostname()})"
    )
    assert killed[1] == "3 of 12 trials have ended"
    far = lines_of(seen(Pulse.UNKNOWN, host="far", later=60))
    assert far[0] == (
        "searching, by its last word 1 min 0 s ago; whether process 4321 on far still runs cannot be seen "
        "from this machine"
    )


def test_tuned_baselines_are_counted_apart():
    assert lines_of(seen(counted=12, tunings=24, tuned=5))[1] == (
        "12 of 12 trials have ended, and 5 of 24 that tune baselines"
    )


@pytest.mark.parametrize(
    ("fresh", "words"),
    [
        ({}, "none run yet"),
        ({"done": 3, "total": 24}, "3 of 24 runs done for the first look"),
        ({"seeds": 6, "done": 1, "total": 12}, "6 looked at; 1 of 12 runs done for the next look"),
        ({"seeds": 12}, "12 looked at"),
    ],
)
def test_a_confirmation_says_how_far_it_is(fresh, words):
    status = {"doing": Doing.CONFIRMING, "fresh": FreshSeeds(planned=12, **fresh)}
    assert lines_of(seen(**status))[-1] == f"fresh seeds (at most 12): {words}"


def test_json_holds_all_of_it_and_comes_back(told):
    for _, status in told.seen[::10]:
        assert Status.model_validate_json(json.dumps(status.model_dump(mode="json"))) == status
