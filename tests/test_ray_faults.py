"""Searches that lose workers and nodes: nothing is lost, nothing counts twice, the answer stays."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState
from raylets import Raylets, why_not

import autofreeze
from autofreeze.display import Display
from autofreeze.records import read_fresh_records, read_records
from autofreeze.report.files import read_report
from autofreeze.results import Ending

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.timeout(240),
]

GROUPS = ("stem", "body", "head")
OWN = {"groups": GROUPS, "space": "quick", "confirm": 0}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head for the driver and three nodes of one CPU each; whatever pytest writes is hidden from these."""
    with Raylets([tmp_path_factory.getbasetemp()]) as raylets:
        raylets.add_all(3)
        yield raylets


@pytest.fixture
def nodes(cluster):
    """Three nodes that are alive."""
    cluster.add_all(3 - len(cluster.workers))
    return cluster.workers


@pytest.fixture(scope="module")
def seen():
    """A folder that all nodes see, in which trainings of these tests note what they do."""
    folder = Path(tempfile.mkdtemp(prefix="seen-"))
    yield folder
    shutil.rmtree(folder)


def test_a_node_sees_no_folder_of_the_driver_and_its_death_is_noticed(cluster, nodes, tmp_path):
    (tmp_path / "secret").touch()

    @ray.remote(num_cpus=1)
    def look(folder):
        folder = Path(folder)
        return folder.exists() and list(folder.iterdir()), str(Path.home()), ray.util.get_node_ip_address()

    ray.init(cluster.address, log_to_driver=False)
    try:
        # Each by its name: a task that is over before the next one is placed leaves its own node free for it.
        tasks = [look.options(resources={f"node:{node.ip}": 0.01}) for node in nodes]
        sights = ray.get([task.remote(str(tmp_path)) for task in tasks])
        assert {ip for _, _, ip in sights} == {node.ip for node in nodes}
        assert all(not sight and home != str(Path.home()) for sight, home, _ in sights)
        nodes[0].kill()
        wait_for(lambda: sum(node["Alive"] for node in ray.nodes()) == 3, seconds=15)
        assert nodes[0].pids == []
    finally:
        ray.shutdown()


# What happens meanwhile


@contextmanager
def meanwhile(happens):
    """Let something happen beside the block, in order and to its end."""
    errors = []

    def run():
        try:
            happens()
        except BaseException as error:  # noqa: BLE001 - told in the test's own thread
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not errors, errors


def wait_for(condition, seconds=90.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def lines(out):
    """Records that a search has kept so far: (trial, fold, epoch)."""
    file = out / "records.jsonl"
    whole, _, _ = (file.read_text() if file.exists() else "").rpartition("\n")
    entries = map(json.loads, whole.splitlines())
    return [(one["trial"], one["fold"], one["record"]["epoch"]) for one in entries]


def told(out, trial):
    return sum(number == trial for number, _, _ in lines(out))


class Seen(Display):
    """Notes where each record came from."""

    def __init__(self):
        super().__init__()
        self.where = []

    def epoch_done(self, trial, record):
        self.where.append(trial.where)
        super().epoch_done(trial, record)


# Nothing leans on a shared disk


def image_search(split, out, **more):
    given = {"from_scratch": True, "image_size": 32, "space": "default", "epochs": 8, "trials": 12}
    rules = {"sampler": "qmc", "prune": False, "threads": 1, "confirm": 0}
    return autofreeze.search(split, "test_resnet", out=out, **{**given, **rules, **more})


@pytest.fixture(scope="module")
def photos(tmp_path_factory, write_images):
    root = tmp_path_factory.mktemp("photos")
    for part, count, first in (("train", 40, 0), ("val", 10, 100), ("test", 6, 200)):
        write_images(root / part, (count,) * 3, first=first)
    return root


def test_a_node_is_lost_and_one_joins_and_set_and_curves_are_those_of_an_undisturbed_local_search(
    cluster, nodes, photos, tmp_path
):
    """The nodes see neither images nor cache nor run folder; while the new one comes, the others rest."""
    local = image_search(photos, tmp_path / "local")
    out, seen, joined = tmp_path / "ray", Seen(), []

    def happens():
        wait_for(lambda: len({where for where in seen.where if where}) == 3 and len(lines(out)) >= 20)
        victim = next(node for node in nodes if node.ip in seen.where[-1])
        others = [node for node in nodes if node is not victim]
        for node in others:
            node.signal_workers(signal.SIGSTOP)
        victim.kill()
        joined.append(cluster.add())
        before = len(lines(out))
        wait_for(lambda: len(lines(out)) > before)
        for node in others:
            node.signal_workers(signal.SIGCONT)

    with meanwhile(happens):
        result = image_search(photos, out, ray=cluster.address, display=seen)
    assert any(joined[0].ip in where for where in seen.where)
    assert_same_curves(read_records(out), read_records(tmp_path / "local"))
    assert [trial.params for trial in result.trials] == [trial.params for trial in local.trials]
    assert {trial.ending for trial in result.trials} == {Ending.COMPLETE}
    assert [one.cause for one in result.placing.restarts] == ["node"]


def assert_same_curves(ours, theirs):
    assert ours.keys() == theirs.keys()
    for key, curve in theirs.items():
        assert [a.same_as(b) for a, b in zip(curve, ours[key], strict=True)] == [True] * len(curve), key


@pytest.mark.long
def test_workers_are_lost_in_a_confirmation_and_it_comes_to_what_it_comes_to_on_one_machine(
    cluster, nodes, photos, tmp_path
):
    rules = {"trials": 6, "confirm": 6, "folds": 1}
    local = image_search(photos, tmp_path / "local", **rules)
    out = tmp_path / "ray"

    def happens():
        wait_for(lambda: sum(map(len, read_fresh_records(out).values())) >= 10)
        for node in nodes:
            node.signal_workers(signal.SIGKILL)

    with meanwhile(happens):
        result = image_search(photos, out, ray=cluster.address, **rules)
    assert_same_curves(read_fresh_records(out), read_fresh_records(tmp_path / "local"))
    ours, theirs = (one.confirmation.model_dump(exclude={"seconds", "test_reads"}) for one in (result, local))
    assert ours == theirs
    assert result.confirmation.concluded
    assert result.confirmation.winner.test_value is not None
    assert {one.cause for one in result.placing.restarts} == {"worker"}


# Each trial ends once


def skilled(seen, *, seconds):
    """A training that takes some time; how good it is follows from its schedule and its seed alone."""

    def fit(job):
        import os
        import random
        import time

        luck = random.Random(f"{job.seed} {job.schedule}")
        skill = 0.5 + 0.1 * job.schedule.unfreeze_depth - luck.random() / 4
        for epoch in range(job.epochs):
            time.sleep(seconds)
            with (seen / f"{job.trial}").open("a") as stream:
                stream.write(f"{epoch} {os.getpid()}\n")
            yield skill * (1 - 0.5 ** (epoch + 1)) + luck.gauss(0, 0.01)

    return fit


def test_each_trial_that_was_asked_ends_once_whatever_is_lost(cluster, nodes, seen, tmp_path):
    out, trials = tmp_path / "run", 24

    def happens():
        wait_for(lambda: len(lines(out)) >= 15)
        for node in nodes[:2]:
            node.signal_workers(signal.SIGKILL)
        wait_for(lambda: len(lines(out)) >= 45)
        nodes[2].kill()

    with meanwhile(happens):
        result = autofreeze.search(
            fit=skilled(seen, seconds=0.1), out=out, trials=trials, epochs=6, ray=cluster.address, **OWN
        )
    assert [trial.number for trial in result.trials] == list(range(trials))
    assert {trial.ending for trial in result.trials} <= {Ending.COMPLETE, Ending.UNPROMISING}
    assert set(ends_told(out).values()) == {1}
    assert ends_told(out).keys() == set(range(trials))
    kept = lines(out)
    assert max(Counter(kept).values()) == 1
    for trial in result.trials:
        epochs = [epoch for number, _, epoch in kept if number == trial.number]
        assert epochs == list(range(len(epochs)))
        if trial.ending is Ending.COMPLETE and trial.same_as is None:
            assert len(epochs) == 6
    assert sum(one.cause == "worker" for one in result.placing.restarts) == 2
    assert sum(one.cause == "node" for one in result.placing.restarts) == 1


DRIVER = """
import sys
import time
from pathlib import Path

import autofreeze


def fit(job):
    for epoch in range(job.epochs):
        time.sleep(0.1)
        yield 0.5 + job.schedule.unfreeze_depth / 10 + epoch / 100 + job.trial / 1000


autofreeze.search(
    fit=fit, groups=("stem", "body", "head"), space="quick", trials=12, epochs=6, confirm=0, prune=False,
    out=sys.argv[1], ray=sys.argv[2], resume=Path(sys.argv[1]).exists(),
)
"""


def test_a_driver_that_is_killed_goes_on_with_all_that_has_ended_and_leaves_no_worker_behind(
    cluster, nodes, tmp_path
):
    out, script = tmp_path / "run", tmp_path / "driver.py"
    script.write_text(DRIVER)
    command = [sys.executable, str(script), str(out), cluster.address]
    with subprocess.Popen(command) as driver:
        wait_for(lambda: len(lines(out)) >= 25)
        workers = {pid for node in nodes for pid in node.workers}
        driver.kill()
    ended = values_told(out)
    assert workers
    wait_for(lambda: not workers & {pid for node in nodes for pid in node.workers}, seconds=20)
    subprocess.run(command, check=True)
    result = read_report(out)
    assert {trial.ending for trial in result.trials} == {Ending.COMPLETE}
    assert len(result.trials) == 12
    assert {number: value for number, value in values_told(out).items() if number in ended} == ended
    assert set(ends_told(out).values()) == {1}
    assert max(Counter(lines(out)).values()) == 1


def ends_told(out):
    """How many times the journal tells the end of each trial."""
    return Counter(entry["trial_id"] for entry in _ends(out))


def values_told(out):
    """What the journal tells of each trial that has ended."""
    return {entry["trial_id"]: entry["values"] for entry in _ends(out)}


def _ends(out):
    whole, _, _ = (out / "study.journal").read_text().rpartition("\n")
    for entry in map(json.loads, whole.splitlines()):
        tells = entry["op_code"] == JournalOperation.SET_TRIAL_STATE_VALUES
        if tells and TrialState(entry["state"]).is_finished():
            yield entry


# Trials that are at fault themselves

KILLER, HUNGRY_ONCE, HUNGRY, WRONG = 15, 6, 7, 9
"""The killer comes when trials are handed out several at a time."""


@pytest.fixture(scope="module")
def troubled(cluster, seen, tmp_path_factory):
    """A search of short trials, some of which kill their worker, lack memory or raise an error."""
    cluster.add_all(3 - len(cluster.workers))
    notes = seen / "troubled"
    notes.mkdir()

    def fit(job, killer=KILLER, hungry_once=HUNGRY_ONCE, hungry=HUNGRY, wrong=WRONG):
        import os
        import signal

        starts = notes / f"{job.trial}"
        with starts.open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        yield 0.5
        if job.trial == killer:
            os.kill(os.getpid(), signal.SIGKILL)
        if job.trial == hungry_once and len(starts.read_text().split()) == 1:
            raise MemoryError("no room for the activations")
        if job.trial == hungry:
            import torch

            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if job.trial == wrong:
            raise ValueError("the labels are upside down")
        yield 0.6 + 0.01 * job.trial

    out = tmp_path_factory.mktemp("troubled") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autofreeze.executors.ray.NODE_NOTICE_SECONDS", 8.0)  # these nodes take two
        result = autofreeze.search(fit=fit, out=out, trials=24, epochs=2, ray=cluster.address, **OWN)
    return result, {int(file.name): file.read_text().split() for file in notes.iterdir()}


def test_a_trial_that_kills_its_worker_three_times_is_failed_and_no_other_is(troubled):
    result, starts = troubled
    assert len(result.trials) == 24
    failed = {trial.number: trial.reason for trial in result.trials if trial.ending is Ending.FAILED}
    assert failed.keys() == {KILLER, HUNGRY, WRONG}
    assert "its worker died 3 times" in failed[KILLER]
    assert len(set(starts[KILLER])) in (3, 4)  # a death in company is nobody's fault


def test_a_trial_that_finds_too_little_memory_runs_elsewhere_and_is_failed_after_three_times(troubled):
    result, starts = troubled
    assert result.trials[HUNGRY_ONCE].ending is not Ending.FAILED
    assert len(set(starts[HUNGRY_ONCE])) == 2
    assert "out of memory" in result.trials[HUNGRY].reason
    assert len(starts[HUNGRY]) == 3
    memory = [one.job.partition(".")[0] for one in result.placing.restarts if one.cause == "memory"]
    assert Counter(memory) == {str(HUNGRY_ONCE): 1, str(HUNGRY): 3}


def test_an_error_of_a_training_fails_its_trial_at_once(troubled):
    result, starts = troubled
    assert "the labels are upside down" in result.trials[WRONG].reason
    assert len(starts[WRONG]) == 1


@pytest.mark.long
def test_a_trial_that_loses_three_nodes_is_not_at_fault(cluster, nodes, seen, tmp_path, monkeypatch):
    monkeypatch.setattr("autofreeze.executors.ray.NODE_NOTICE_SECONDS", 8.0)
    cluster.add()
    out, watched = tmp_path / "run", Seen()

    def happens():
        for _ in range(3):
            before = len(watched.where)
            wait_for(lambda before=before: len(watched.where) > before)
            next(node for node in cluster.workers if node.ip in watched.where[-1]).kill()

    fit = lasting(Path(tempfile.mkdtemp(dir=seen)), seconds=0.2, epochs_small=0)
    with meanwhile(happens):
        result = autofreeze.search(
            fit=fit,
            out=out,
            trials=1,
            epochs=30,
            max_concurrent=1,
            ray=cluster.address,
            display=watched,
            **OWN,
        )
    assert [trial.ending for trial in result.trials] == [Ending.COMPLETE]
    assert [one.cause for one in result.placing.restarts] == ["node"] * 3


# From where an interrupted run goes on


def lasting(notes, *, seconds, epochs_small):
    """A training with a state, which grows in trial 1: (epoch, process) of each epoch that was trained."""

    def fit(job):
        import os
        import time

        file = job.checkpoint
        done = int(file.read_text().split()[0]) if file.exists() else 0
        for epoch in range(job.epochs):
            if epoch >= done:
                time.sleep(seconds)
                with (notes / f"{job.trial}").open("a") as stream:
                    stream.write(f"{epoch} {os.getpid()}\n")
                large = job.trial == 1 and epoch >= epochs_small
                fresh = file.with_suffix(".new")
                fresh.write_text(f"{epoch + 1}" + " " * (100_000 if large else 10))
                fresh.replace(file)
            yield 0.5 + epoch / 100 + job.trial / 1000

    return fit


def trained(notes, trial):
    """Epochs of a trial by the process that trained them, in order."""
    by_process = {}
    for line in (notes / f"{trial}").read_text().splitlines():
        epoch, pid = map(int, line.split())
        by_process.setdefault(pid, []).append(epoch)
    return list(by_process.values())


@pytest.mark.parametrize(
    "storage", [False, pytest.param(True, marks=pytest.mark.long)], ids=["driver", "storage"]
)
def test_an_interrupted_run_goes_on_from_the_newest_state_that_was_kept(
    cluster, nodes, seen, tmp_path, monkeypatch, storage
):
    monkeypatch.setattr("autofreeze.executors.ray.STATE_BYTES", 10_000)
    monkeypatch.setattr("autofreeze.executors.ray.STATE_SECONDS", 0.1)
    notes = Path(tempfile.mkdtemp(dir=seen))
    out, epochs, small = tmp_path / "run", 20, 5
    where = {"storage": notes / "storage"} if storage else {}

    def happens():
        running = {0, 1}
        while running:
            trial = wait_for(lambda: [one for one in running if told(out, one) >= 9])[0]
            running.discard(trial)
            os.kill(int((notes / f"{trial}").read_text().split()[-1]), signal.SIGKILL)

    with meanwhile(happens):
        result = autofreeze.search(
            fit=lasting(notes, seconds=0.25, epochs_small=small), out=out, trials=2, epochs=epochs,
            prune=False, max_concurrent=2, ray=cluster.address, **where, **OWN,
        )  # fmt: skip
    assert {trial.ending for trial in result.trials} == {Ending.COMPLETE}
    placing = result.placing
    restarts = {int(one.job.partition(".")[0]): one for one in placing.restarts}
    assert restarts.keys() == {0, 1}
    assert placing.states == ("storage" if storage else "driver")
    for trial, restart in restarts.items():
        first, second = trained(notes, trial)
        assert second[0] == restart.resumed
        assert second[-1] == epochs - 1
        assert first[: second[0]] + second == list(range(epochs))
        assert restart.epoch >= 9
        assert restart.resumed >= (8 if storage or trial == 0 else 1)
    assert storage or restarts[1].resumed <= small
    assert placing.too_large == (0 if storage else 1)
    assert max(Counter(lines(out)).values()) == 1  # though all epochs are told again
    report = (out / "report.md").read_text()
    for restart in restarts.values():
        assert f"job {restart.job} on {restart.where} after {restart.epoch} epochs: its worker died" in report
        assert f"it went on after {restart.resumed} epochs" in report
