"""A whole search on small images, with real training."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from autofreeze import api, searching, study
from autofreeze.errors import RunFolderError
from autofreeze.imagesubject import ImageSubject
from autofreeze.records import read_records
from autofreeze.results import Ending
from autofreeze.run import RunFolder
from autofreeze.searching import SearchSession
from autofreeze.searchoptions import SearchOptions
from autofreeze.task import Task
from autofreeze.trial import Workbench

GIVEN = {
    "confirm": 0,
    "model": "test_resnet", "from_scratch": True, "image_size": 32, "device": "cpu", "epochs": 2,
    "space": "quick", "folds": 2,
}  # fmt: skip


def told(result):
    trials = [trial.model_copy(update={"seconds": 0.0}) for trial in result.trials]
    return trials, result.settings["fold_seeds"], result.backbone["digest"], result.data["fingerprint"]


def curves(folder):
    return {key: [untimed(record) for record in curve] for key, curve in read_records(folder).items()}


def untimed(record):
    members = tuple(untimed(member) for member in record.members)
    return record.model_copy(update={"seconds": 0.0, "members": members})


@pytest.fixture(scope="module")
def unbroken(class_folders, tmp_path_factory):
    """A search of ten trials: (result, folder)."""
    out = tmp_path_factory.mktemp("search") / "run"
    return api.search(class_folders, out=out, trials=10, **GIVEN), out


def test_a_search_finds_a_best_schedule_and_keeps_everything(unbroken):
    result, out = unbroken
    assert len(result.trials) == 10
    assert all(trial.ending is not Ending.FAILED for trial in result.trials)
    assert result.best is not None
    assert result.best.value >= max(trial.value for trial in result.baselines if trial.value is not None)
    assert {path.name for path in out.iterdir()} >= {
        "run.json", "study.journal", "records.jsonl", "report.json",
    }  # fmt: skip
    assert not list((out / "checkpoints").iterdir())
    for trial in result.trials:
        if trial.ending is Ending.COMPLETE and trial.same_as is None:
            for fold, value in enumerate(trial.fold_values):
                end = read_records(out)[trial.number, fold][-1]
                assert (end.members[trial.member] if trial.members else end).value == value


def test_a_space_is_fitted_to_the_length_that_the_data_decide(class_folders, tmp_path):
    """So few images are trained on for 30 epochs: a warm-up of 15 fits."""
    (tmp_path / "long.yaml").write_text("head_lr: 1e-3\nwarmup_epochs: {low: 0, high: 15}\n")
    bench = Workbench.open(
        Task(data=str(class_folders), model="test_resnet", from_scratch=True, image_size=32, device="cpu")
    )
    options = SearchOptions(space=str(tmp_path / "long.yaml")).decided()
    session = SearchSession(ImageSubject(bench), options, tmp_path / "run", display=None, command="")
    assert session.space.epochs == 30
    assert session.space.axes["warmup_epochs"].high == 15


def test_the_same_search_again_gives_the_same_study(unbroken, class_folders, tmp_path):
    again = api.search(class_folders, out=tmp_path / "run", trials=10, **GIVEN)
    assert told(again) == told(unbroken[0])
    assert curves(tmp_path / "run") == curves(unbroken[1])


def test_another_seed_gives_another_study(unbroken, class_folders, tmp_path):
    other = api.search(class_folders, out=tmp_path / "run", trials=1, seed=1, **GIVEN)
    assert not curves(tmp_path / "run")[0, 0][0].same_as(curves(unbroken[1])[0, 0][0])
    assert other.settings["fold_seeds"] != unbroken[0].settings["fold_seeds"]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("shares", [(0.0, 0.05, 0.4), (0.3, 0.9)], ids=str)
def test_a_search_killed_and_resumed_is_the_unbroken_one(
    unbroken, class_folders, tmp_path, monkeypatch, shares
):
    total = sum(len(curve) for curve in curves(unbroken[1]).values())
    places = [max(round(share * total), number + 1) for number, share in enumerate(shares)]
    stops = [place - before for before, place in pairwise([0, *places])]
    append = RunFolder.append
    for number, stop in enumerate(stops):
        left = iter(range(stop - 1))

        def deadly(self, job, record, left=left, **told):
            append(self, job, record, **told)
            if next(left, None) is None:
                self.close()
                raise Killed

        monkeypatch.setattr(RunFolder, "append", deadly)
        with pytest.raises(Killed):
            api.search(class_folders, out=tmp_path / "run", trials=10, resume=number > 0, **GIVEN)
    monkeypatch.setattr(RunFolder, "append", append)
    result = api.search(class_folders, out=tmp_path / "run", trials=10, resume=True, **GIVEN)
    assert told(result) == told(unbroken[0])
    assert curves(tmp_path / "run") == curves(unbroken[1])
    lines = (tmp_path / "run" / "records.jsonl").read_text().splitlines()
    assert len(lines) == sum(len(curve) for curve in curves(unbroken[1]).values())


def command(data, out, *more, trials=10):
    return [
        sys.executable, "-m", "autofreeze.cli", "search", str(data), "--model", "test_resnet",
        "--from-scratch", "--image-size", "32", "--device", "cpu", "--epochs", "2",
        "--space", "quick", "--folds", "2",
        "--trials", str(trials), "--confirm", "0", "--out", str(out), *more,
    ]  # fmt: skip


def wait_for_lines(file, count, process, seconds=120):
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        if file.exists() and file.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.02)
    pytest.fail(f"no {count} records; exit status {process.poll()}")


def test_ctrl_c_ends_the_search_after_the_epoch_with_a_report_and_it_can_go_on(
    unbroken, class_folders, tmp_path
):
    out = tmp_path / "run"
    with subprocess.Popen(
        command(class_folders, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for_lines(out / "records.jsonl", 6, process)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "stopping after this epoch" in errors
    assert "Traceback" not in errors
    assert str(out) in output.replace("\n", "")
    report = json.loads((out / "report.json").read_text())
    assert report["cut_short"] == "interrupted"
    result = api.search(class_folders, out=out, trials=10, resume=True, **GIVEN)
    assert told(result) == told(unbroken[0])
    assert curves(out) == curves(unbroken[1])


@pytest.mark.parametrize("instant", ["write_report", "read_records"])
def test_a_run_folder_that_goes_while_a_search_runs_is_told_as_gone(
    class_folders, tmp_path, monkeypatch, instant
):
    out = tmp_path / "run"
    owner = {"write_report": searching, "read_records": study}[instant]
    real = getattr(owner, instant)

    def after_it_has_gone(*arguments):
        if (out / "run.json").exists():
            out.rename(tmp_path / "elsewhere")
        return real(*arguments)

    monkeypatch.setattr(owner, instant, after_it_has_gone)
    with pytest.raises(RunFolderError, match="was removed or renamed while the search ran"):
        api.search(class_folders, out=out, trials=1, **GIVEN)
    assert not (out / "report.json").exists()


@pytest.mark.long
@pytest.mark.parametrize("delays", [(0.0, 0.13), (0.31, 0.05, 0.6), (0.02, 0.9)], ids=str)
def test_a_process_killed_hard_at_random_instants_loses_nothing(unbroken, class_folders, tmp_path, delays):
    out = tmp_path / "run"
    for number, delay in enumerate(delays):
        more = ["--resume"] if number else []
        with subprocess.Popen(
            command(class_folders, out, *more),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as process:
            wait_for_lines(out / "records.jsonl", 4 * number + 1, process)
            time.sleep(delay)
            process.kill()
    result = api.search(class_folders, out=out, trials=10, resume=True, **GIVEN)
    assert told(result) == told(unbroken[0])
    assert curves(out) == curves(unbroken[1])
