"""A search to its verdict: confirmed on fresh seeds, the test split read once, after every choice."""

import json

import pytest

from autofreeze import api
from autofreeze.cli import main
from autofreeze.confirm import Confirming
from autofreeze.errors import ConfigError
from autofreeze.report.files import read_report
from autofreeze.results import UNDER_WAY, Ending
from autofreeze.status import Doing
from autofreeze.statusfile import read_status

GIVEN = {
    "model": "test_resnet", "from_scratch": True, "image_size": 32, "device": "cpu", "epochs": 1,
    "space": "quick", "folds": 1, "trials": 5, "confirm": 6,
}  # fmt: skip


def reads(cache):
    return [json.loads(line) for file in cache.glob("test-reads/*") for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def confirmed(class_folders, tmp_path_factory):
    """A confirmed search: (result, folder, cache)."""
    root = tmp_path_factory.mktemp("verdict")
    result = api.search(class_folders, out=root / "run", cache_folder=str(root / "cache"), **GIVEN)
    return result, root / "run", root / "cache"


def test_the_best_schedule_is_the_confirmed_one(confirmed):
    result, folder, _ = confirmed
    found = result.confirmation
    assert (found.planned, found.seeds, found.cut_short) == (6, 6, "")
    assert result.best.number == found.chosen
    assert found.n_train + found.n_val == result.data["images"]["train"]
    assert read_report(folder) == result


def test_each_arm_has_finalists(confirmed):
    arms = [one.arm for one in confirmed[0].confirmation.candidates]
    assert {"freeze_first", "at_once"} == set(arms)


def test_the_test_split_is_read_once_by_the_winner_and_the_baselines(confirmed):
    result, _, cache = confirmed
    found = result.confirmation
    (read,) = reads(cache)
    assert read["value"] == found.winner.test_value
    assert found.test_reads == 1
    baselines = {one.number for one in result.baselines}
    have = {one.trial for one in found.candidates if one.test_value is not None}
    assert have == {found.chosen} | (baselines & {one.trial for one in found.candidates})
    assert found.test_images == result.data["images"]["test"]


def test_going_on_trains_nothing_and_does_not_read_the_test_split_again(
    confirmed, class_folders, monkeypatch
):
    result, folder, cache = confirmed

    def nothing(*_, **__):
        raise AssertionError("a job was run")

    monkeypatch.setattr("autofreeze.imagesubject.run", nothing)
    monkeypatch.setattr("autofreeze.testsplit.run", nothing)
    given = {**GIVEN, "cache_folder": str(cache)}
    again = api.search(class_folders, out=folder, resume=True, **given)
    assert again.confirmation.model_copy(update={"seconds": 0.0}) == result.confirmation.model_copy(
        update={"seconds": 0.0}
    )
    assert len(reads(cache)) == 1


def test_a_report_read_while_the_confirmation_runs_says_that_it_is_under_way(
    class_folders, tmp_path, monkeypatch
):
    seen = []

    def look(self, *_):
        seen.append(read_report(tmp_path / "run"))
        raise KeyboardInterrupt

    monkeypatch.setattr("autofreeze.confirm.Confirming.confirm", look)
    with pytest.raises(KeyboardInterrupt):
        api.search(class_folders, out=tmp_path / "run", **{**GIVEN, "trials": 1})
    (report,) = seen
    assert (report.cut_short, len(report.trials)) == (UNDER_WAY, 1)
    assert read_report(tmp_path / "run").cut_short == "interrupted"


def test_a_confirmation_that_was_cut_short_reads_no_test_split_before_it_is_through(
    class_folders, tmp_path, monkeypatch
):
    run_until = Confirming._run_until

    def cut(self, seeds, *more):
        return "out of time" if seeds > 6 else run_until(self, seeds, *more)

    given = {**GIVEN, "trials": 2, "confirm": 12, "cache_folder": str(tmp_path / "cache")}
    with monkeypatch.context() as patch:
        patch.setattr(Confirming, "_run_until", cut)
        found = api.search(class_folders, out=tmp_path / "run", **given).confirmation
    assert found.chosen is not None
    assert found.cut_short == "out of time"
    assert not reads(tmp_path / "cache")
    status = read_status(tmp_path / "run")
    assert (status.doing, status.cut_short, status.fresh.seeds) == (Doing.ENDED, "out of time", 6)
    whole = api.search(class_folders, out=tmp_path / "run", resume=True, **given).confirmation
    assert (whole.cut_short, whole.seeds) == ("", 12)
    status = read_status(tmp_path / "run")
    assert (status.doing, status.cut_short, status.fresh.seeds) == (Doing.ENDED, "", 12)
    assert len(reads(tmp_path / "cache")) == 1


def test_the_models_that_were_kept_for_the_test_split_are_gone(confirmed):
    assert list((confirmed[1] / "checkpoints").glob("*")) == []


def test_a_model_that_is_not_kept_is_trained_again_to_the_same_test_value(
    confirmed, class_folders, tmp_path, monkeypatch
):
    monkeypatch.setattr("autofreeze.confirm.keeps_model", lambda *_: False)
    given = {**GIVEN, "cache_folder": str(tmp_path / "cache")}
    again = api.search(class_folders, out=tmp_path / "run", **given)
    assert again.confirmation.winner.test_value == confirmed[0].confirmation.winner.test_value


def test_without_confirmation_everything_says_unconfirmed_and_the_test_split_is_not_read(
    class_folders, tmp_path
):
    given = {**GIVEN, "confirm": 0, "cache_folder": str(tmp_path / "cache")}
    result = api.search(class_folders, out=tmp_path / "run", **given)
    assert result.confirmation is None
    assert not reads(tmp_path / "cache")
    assert json.loads((tmp_path / "run" / "report.json").read_text())["confirmed"] is False
    assert "unconfirmed" in (tmp_path / "run" / "report.md").read_text()


def test_a_search_without_a_test_split_is_confirmed_and_reads_none(class_folders, tmp_path):
    given = {**GIVEN, "test_share": 0.0, "cache_folder": str(tmp_path / "cache")}
    result = api.search(class_folders, out=tmp_path / "run", **given)
    assert result.confirmation.winner.test_value is None
    assert result.confirmation.test_images == 0
    assert not reads(tmp_path / "cache")


def test_a_users_own_validation_part_is_used_on_every_fresh_seed(split_folders, tmp_path):
    given = {**GIVEN, "cache_folder": str(tmp_path / "cache"), "metric": "log_loss"}
    found = api.search(split_folders, out=tmp_path / "run", **given).confirmation
    assert found.own_split
    assert (found.n_train, found.n_val) == (24, 15)
    assert all(one.interval.images == 15 for one in found.comparisons)


def test_time_that_is_given_is_shared_with_the_confirmation(class_folders, tmp_path):
    given = {**GIVEN, "trials": 500, "cache_folder": str(tmp_path / "cache")}
    api.search(
        class_folders, out=tmp_path / "warm", **{**given, "trials": 2, "confirm": 0}
    )  # imports, stores
    result = api.search(class_folders, out=tmp_path / "run", time_limit=9.0, **given)
    assert result.cut_short == "out of time"
    assert result.confirmation.seeds > 0


def test_what_is_too_dear_is_not_trained_and_a_dear_baseline_cannot_win(class_folders, tmp_path):
    given = {**GIVEN, "trials": 10, "confirm": 0, "max_cost": 0.5, "cache_folder": str(tmp_path / "cache")}
    result = api.search(class_folders, out=tmp_path / "run", **given)
    limit = result.settings["max_work"]
    assert len(result.searched) == 10
    dear = [one for one in result.trials if one.ending is Ending.TOO_DEAR]
    assert all(one.work == 0 for one in dear)
    full = next(one for one in result.trials if one.baseline == "full")
    assert full.ending is Ending.COMPLETE
    assert not full.affordable
    assert full.work > limit
    assert result.best.work <= limit


def test_no_affordable_schedule_at_all_ends_the_search_with_the_reason(class_folders, tmp_path):
    given = {**GIVEN, "trials": 2, "cache_folder": str(tmp_path / "cache"), "max_cost": 0.01, "confirm": 0}
    result = api.search(class_folders, out=tmp_path / "run", **given)
    assert "can be afforded" in result.cut_short
    assert result.best is None


def test_a_baselines_rate_is_tuned_by_as_many_trials_as_the_search_has(class_folders, tmp_path):
    given = {**GIVEN, "cache_folder": str(tmp_path / "cache"), "tune_baselines": ["full"], "confirm": 0}
    result = api.search(class_folders, out=tmp_path / "run", **given)
    tuned = [one for one in result.trials if one.tuned]
    assert len(result.searched) == len(tuned) == 5
    assert {one.baseline for one in tuned} == {"full"}
    rates = {one.schedule.phases[0].lrs for one in tuned}
    assert len(rates) == 5
    assert all(len(set(lrs)) == 1 for lrs in rates)  # one rate throughout, as the baseline has it
    assert not any(one.tuned for one in result.baselines)
    more = api.search(class_folders, out=tmp_path / "run", resume=True, **given)
    assert len(more.trials) == 10


def test_wrong_numbers_are_refused_on_the_command_line_before_anything_is_opened(tmp_path, capsys):
    status = main(["search", "nowhere", "--model", "x", "--confirm", "2", "--delta", "0"])
    errors = capsys.readouterr().err
    assert status == 2
    assert "confirm: got 2; must be 0" in errors
    assert "delta: got 0" in errors
    with pytest.raises(ConfigError, match="tune-baselines: 'ful' is unknown; did you mean full"):
        api.search("nowhere", out=tmp_path / "run", model="x", tune_baselines=["ful"])
