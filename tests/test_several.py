"""Several data sets in one search: each as if alone, all checked first, none lost by another's failure."""

import json
import os
import re
import signal

import filelock
import pytest

from autofreeze import api, imagesubject
from autofreeze.cli import main
from autofreeze.errors import DataError, InputError, RunFolderError
from autofreeze.report.files import read_any, read_report
from autofreeze.results import UNDER_WAY
from autofreeze.run import RunFolder
from autofreeze.several import folder_names, gather

GIVEN = {
    "confirm": 0,
    "model": "test_resnet", "from_scratch": True, "image_size": 32, "device": "cpu", "epochs": 1, "folds": 1,
    "space": "quick", "trials": 2,
}  # fmt: skip
COMMAND = (
    "--confirm", "0",
    "--model", "test_resnet", "--from-scratch", "--image-size", "32", "--device", "cpu", "--epochs", "1",
    "--folds", "1", "--space", "quick", "--trials", "2",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(write_images, tmp_path_factory):
    """Two data sets of one name."""
    root = tmp_path_factory.mktemp("data")
    return [
        write_images(root / place / "photos", (12, 12, 12), first=first)
        for place, first in (("x", 0), ("y", 700))
    ]


@pytest.fixture(scope="module")
def searched(data, tmp_path_factory):
    """A search on both: (summary, folder)."""
    out = tmp_path_factory.mktemp("several") / "run"
    return api.search_all(data, out=out, **GIVEN), out


def scores(result):
    return [(trial.number, trial.ending, trial.value, trial.val_loss) for trial in result.trials]


def test_each_data_set_is_searched_as_if_it_were_alone(searched, data, tmp_path):
    summary, out = searched
    assert [one.name for one in summary.datasets] == ["photos", "photos-2"]
    alone = api.search(data[1], out=tmp_path / "alone", **GIVEN)
    assert scores(read_report(out / "photos-2")) == scores(alone)
    assert scores(read_report(out / "photos")) != scores(alone)
    second = summary.datasets[1]
    assert (second.data, second.images, second.classes) == (str(data[1]), 36, 3)
    assert (second.best_trial, second.value) == (alone.best.number, alone.best.value)
    assert read_any(out).datasets == summary.datasets


def test_the_reports_are_told_one_by_one_and_all_together(searched, capsys):
    _, out = searched
    assert main(["report", str(out)]) == 0
    assert "The best schedule per data set" in capsys.readouterr().out
    assert main(["report", str(out), "--dataset", "photos-2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["name"] == "photos"
    assert main(["report", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "summary"
    assert main(["export", str(out), "--dataset", "photos-2"]) == 0
    assert "format: autofreeze/schedule" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "holds several data sets; name one with --dataset: photos, photos-2"),
        (("--dataset", "photo"), "dataset: 'photo' is unknown; did you mean photos or photos-2?"),
    ],
)
def test_an_export_without_a_known_data_set_lists_the_names(searched, capsys, given, words):
    assert main(["export", str(searched[1]), *given]) == 2
    assert words in capsys.readouterr().err


def test_data_sets_that_are_done_are_passed_over_and_more_trials_go_on(searched, data, monkeypatch):
    _, out = searched
    before = (out / "photos" / "records.jsonl").read_bytes()
    opened = []
    init = RunFolder.__init__

    def noting(self, path, *arguments, **options):
        opened.append(path.name)
        init(self, path, *arguments, **options)

    monkeypatch.setattr(RunFolder, "__init__", noting)
    again = api.search_all(data, out=out, resume=True, **GIVEN)
    assert opened == []
    assert (out / "photos" / "records.jsonl").read_bytes() == before
    assert [one.trials for one in again.datasets] == [2, 2]
    more = api.search_all(data, out=out, resume=True, **{**GIVEN, "trials": 3})
    assert opened == ["photos", "photos-2"]
    assert [one.trials for one in more.datasets] == [3, 3]


def test_what_is_wrong_with_any_data_set_is_told_before_anything_is_written(data, tmp_path, capsys):
    (tmp_path / "broken" / "a").mkdir(parents=True)
    out = tmp_path / "run"
    given = [str(data[0]), str(tmp_path / "broken"), str(tmp_path / "nowhere")]
    assert main(["search", *given, *COMMAND, "--out", str(out)]) == 2
    errors = capsys.readouterr().err
    assert "nothing was begun, since 2 of 3 cannot be searched" in errors
    assert "broken" in errors
    assert "nowhere" in errors
    assert not out.exists()


def test_what_is_wrong_with_all_alike_is_told_once(data, tmp_path):
    with pytest.raises(InputError) as caught:
        api.search_all(data, out=tmp_path / "run", **{**GIVEN, "model": "test_resnet_0"})
    assert str(caught.value).count("test_resnet_0") == 1


def test_a_run_folder_of_another_study_is_told_before_the_first_trial(searched, data, tmp_path):
    api.search(data[0], out=tmp_path / "run" / "photos-2", **GIVEN)
    api.search_all(data[:1], out=tmp_path / "new", **GIVEN)
    (tmp_path / "new" / "photos-2").symlink_to(tmp_path / "run" / "photos-2")
    before = (tmp_path / "new" / "photos" / "records.jsonl").read_bytes()
    with pytest.raises(RunFolderError, match="another study"):
        api.search_all(data, out=tmp_path / "new", resume=True, **{**GIVEN, "trials": 3})
    assert (tmp_path / "new" / "photos" / "records.jsonl").read_bytes() == before


def test_one_and_several_do_not_share_a_folder(searched, data, tmp_path):
    with pytest.raises(RunFolderError, match="several data sets"):
        api.search(data[0], out=searched[1], resume=True, **GIVEN)
    with pytest.raises(RunFolderError, match="one data set"):
        api.search_all(data, out=searched[1] / "photos", resume=True, **GIVEN)
    with pytest.raises(RunFolderError, match="--resume"):
        api.search_all(data, out=searched[1], **GIVEN)
    with (
        filelock.FileLock(searched[1] / ".lock"),
        pytest.raises(RunFolderError, match="another search is using this folder"),
    ):
        api.search_all(data, out=searched[1], resume=True, **GIVEN)


def test_a_data_set_that_fails_in_the_middle_does_not_lose_the_others(data, tmp_path, monkeypatch, capsys):
    run = imagesubject.run

    def broken(job, bench, **options):
        if bench.task.data == str(data[0]):
            raise RuntimeError("the driver is gone")
        return run(job, bench, **options)

    monkeypatch.setattr(imagesubject, "run", broken)
    out = tmp_path / "run"
    given = [*COMMAND[:-1], "3", "--out", str(out)]
    assert main(["search", *map(str, data), *given]) == 1
    output, errors = capsys.readouterr()
    assert "no full answer for photos;" in errors
    assert "Traceback" not in errors
    first, second = read_any(out).datasets
    assert "the driver is gone" in first.problem
    assert second.problem == ""
    assert second.best_trial is not None
    assert "the driver is gone" in output
    assert "the driver is gone" in (out / "report.md").read_text()


def test_ctrl_c_ends_the_whole_search_with_a_report_and_it_can_go_on(data, tmp_path, monkeypatch, capsys):
    append = RunFolder.append

    def interrupting(self, job, record, **told):
        append(self, job, record, **told)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(RunFolder, "append", interrupting)
    out = tmp_path / "run"
    command = ["search", *map(str, data), *COMMAND, "--out", str(out)]
    assert main(command) == 130
    summary = read_any(out)
    assert summary.cut_short == "interrupted"
    assert [one.trials for one in summary.datasets] == [1, 0]
    assert re.search(r"photos-2 \(\w+/photos\): not begun", capsys.readouterr().out)
    monkeypatch.setattr(RunFolder, "append", append)
    assert main([*command, "--resume"]) == 0
    assert [(one.trials, one.cut_short) for one in read_any(out).datasets] == [(2, ""), (2, "")]


def test_a_killed_search_leaves_the_reports_of_what_has_ended(data, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    append = RunFolder.append

    def deadly(self, job, record, **told):
        if job.trial == 1:
            self.close()
            raise Killed
        append(self, job, record, **told)

    monkeypatch.setattr(RunFolder, "append", deadly)
    with pytest.raises(Killed):
        api.search_all(data, out=tmp_path / "run", **GIVEN)
    report = read_report(tmp_path / "run" / "photos")
    assert report.cut_short == UNDER_WAY
    assert [trial.number for trial in report.trials] == [0]
    assert read_any(tmp_path / "run").datasets[0].trials == 1
    assert "Under way: 1 of 2 trials so far" in (tmp_path / "run" / "photos" / "report.md").read_text()


def test_the_time_that_is_left_is_split_evenly_and_what_it_cuts_can_go_on(data, tmp_path):
    cut = api.search_all(data, out=tmp_path / "run", time_limit=1e-6, **GIVEN)
    assert cut.cut_short == "out of time"
    assert sum(one.trials for one in cut.datasets) == 0
    whole = api.search_all(data, out=tmp_path / "run", resume=True, time_limit=3600, **GIVEN)
    assert whole.cut_short == ""
    assert [one.trials for one in whole.datasets] == [2, 2]


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (["photos", "photos", "photos"], ["photos", "photos-2", "photos-3"]),
        (["photos", "Photos"], ["photos", "Photos-2"]),
        (["a/b: c", "..", "", "report.json"], ["a-b-c", "data", "data-2", "report.json-2"]),
        (["status.json"], ["status.json-2"]),
        (["photos-2", "photos", "photos"], ["photos-2", "photos", "photos-3"]),
        (["日本", "x" * 300], ["日本", "x" * 80]),
    ],
)
def test_names_of_folders_are_unique_and_safe(names, folders):
    assert list(folder_names(names)) == folders


def test_none_and_one_twice_are_refused(data, tmp_path):
    with pytest.raises(InputError, match="given twice"):
        api.search_all([data[0], data[0]], out=tmp_path / "run", **GIVEN)
    with pytest.raises(InputError, match="none given"):
        api.search_all([], out=tmp_path / "run", **GIVEN)


@pytest.mark.parametrize(
    ("total", "words"),
    [
        (2, "no images"),
        (3, "nothing was begun, since 2 of 3 cannot be searched\n  a: no images\n  b: no images"),
    ],
    ids=["all", "some"],
)
def test_what_is_wrong_with_all_alike_is_told_once_and_what_is_wrong_with_some_by_name(total, words):
    same = [("a", DataError("no images")), ("b", DataError("no images"))]
    assert str(gather(same, total)).replace(":\n", "\n") == words
