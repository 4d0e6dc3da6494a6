"""Whole searches that begin where earlier ones ended, that may not be dear, and whose runs hang."""

import json
import shutil
import signal
import time

import pytest

from autofreeze import searching
from autofreeze.api import search
from autofreeze.errors import ConfigError, RunFolderError
from autofreeze.report.files import read_report
from autofreeze.results import Ending

pytestmark = pytest.mark.timeout(120, method="thread")  # the watchdog needs the timer of the other method
THERE = {"stem": ["stem."], "body": ["body."], "head": ["head."]}
HERE = {"stem": ["stem."], "a": ["a."], "b": ["b."], "head": ["head."]}


def lines_up(job):
    """A training that is best at a head rate of 1e-3; deterministic, and better with every epoch."""
    rate = job.schedule.phases[-1].lrs[-1]
    for epoch in range(2):
        yield 0.9 - abs(rate - 1e-3) * 50 - 0.1 * (1 - epoch)


def run(out, groups=HERE, fit=lines_up, **given):
    return search(fit=fit, groups=groups, out=out, **{"epochs": 2, "confirm": 0, "trials": 10, **given})


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    out = tmp_path_factory.mktemp("earlier") / "run"
    run(out, THERE, trials=12)
    return out


def started(result):
    return [one for one in result.trials if one.warm_start]


def test_what_won_before_is_tried_right_behind_the_baselines_and_marked(earlier, tmp_path):
    won = read_report(earlier).best
    result = run(tmp_path / "run", warm_start=[earlier])
    warm = started(result)
    assert warm[0].warm_start == f"{earlier.as_posix()}#{won.number}"
    assert len(warm) == 2  # a quarter of ten
    baselines = [one.number for one in result.baselines]
    assert [one.number for one in warm] == [len(baselines), len(baselines) + 1]
    assert warm[0].schedule.phases[-1].lrs[-1] == won.schedule.phases[-1].lrs[-1]
    assert len(result.searched) == 10
    page = (tmp_path / "run" / "report.md").read_text().replace("\\#", "#")  # escaped for Markdown
    assert f"trial {warm[0].number} from {warm[0].warm_start}" in page
    left_out = result.settings["warm_start"]["left_out"]
    assert any("a quarter of the 10 trials" in one for one in left_out)


def test_a_resumed_search_needs_the_earlier_run_no_more(earlier, tmp_path):
    gone = tmp_path / "gone"
    shutil.copytree(earlier, gone)
    first = run(tmp_path / "run", warm_start=[gone])
    shutil.rmtree(gone)
    for again in ([], [gone]):
        more = run(tmp_path / "run", warm_start=again, resume=True, trials=12)
        assert started(more) == started(first)
    with pytest.raises(RunFolderError, match="warm_start: "):
        run(tmp_path / "run", warm_start=[earlier], resume=True)


def test_a_resumed_search_whose_warm_starts_are_damaged_says_so(earlier, tmp_path):
    run(tmp_path / "run", warm_start=[earlier], trials=3)
    file = tmp_path / "run" / "run.json"
    about = json.loads(file.read_text())
    about["identity"]["warm_start"]["runs"] = 3
    file.write_text(json.dumps(about))
    with pytest.raises(RunFolderError, match=r"run.json is damaged: warm_start.runs: got 3"):
        run(tmp_path / "run", resume=True, trials=3)


def test_a_search_cannot_begin_with_itself(earlier, tmp_path):
    with pytest.raises(ConfigError, match="is the run folder of this search itself"):
        run(earlier, THERE, warm_start=[earlier], resume=True)
    (tmp_path / "link").symlink_to(earlier)
    with pytest.raises(ConfigError, match="is the run folder of this search itself"):
        run(earlier, THERE, warm_start=[tmp_path / "link"], resume=True)


def test_the_stricter_of_two_limits_of_work_holds_and_the_report_says_so(tmp_path):
    free = run(tmp_path / "free")
    assert not any(one.ending is Ending.TOO_DEAR for one in free.trials)
    full = free.settings["epochs"] * 3  # forward passes over the data: one on, two back
    given = {"trials": 8, "tune_baselines": ()}
    limited = run(tmp_path / "both", max_cost=0.9, max_work=0.5 * full, **given)
    assert limited.settings["max_work"] == 0.5 * full
    dear = [one for one in limited.trials if one.ending is Ending.TOO_DEAR]
    assert dear
    assert all("are allowed" in one.reason for one in dear)
    assert "forward-equivalents a trial, not run" in (tmp_path / "both" / "report.md").read_text()
    other = run(tmp_path / "other", max_cost=0.5, max_work=9 * full, **given)
    assert other.settings["max_work"] == pytest.approx(0.5 * full, rel=0.01)


def test_a_trial_s_work_is_that_of_all_its_folds(tmp_path):
    result = run(tmp_path / "run", folds=2, max_work=9.0, trials=6)
    assert result.settings["max_work"] == 4.5


def test_less_work_than_a_head_alone_takes_is_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(ConfigError, match=r"max-work: got 1; a head alone takes \d"):
        run(tmp_path / "run", max_work=1)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match=r"max-work: got -1.*\n.*stuck-after: got 0 s"):
        run(tmp_path / "run", max_work=-1, stuck_after=0)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="there is no such timer here")
def test_a_trial_that_hangs_has_failed_the_search_goes_on_and_it_is_not_tried_again(tmp_path):
    calls = []

    def fit(job):
        calls.append(job.trial)
        for place, value in enumerate(lines_up(job)):
            if job.trial == 4 and place == 1:
                time.sleep(60)
            yield value

    result = run(tmp_path / "run", fit=fit, stuck_after=0.4, trials=6)
    assert len(result.searched) == 6
    stuck = [one for one in result.trials if one.ending is Ending.FAILED]
    assert [one.number for one in stuck] == [4]
    assert stuck[0].reason.startswith("stuck: no record for ")
    assert stuck[0].reason in (tmp_path / "run" / "report.md").read_text()
    run(tmp_path / "run", fit=fit, stuck_after=0.4, trials=7, resume=True)
    assert calls.count(4) == 1


def test_a_report_that_takes_long_is_written_less_often_and_is_right_at_the_end(tmp_path, monkeypatch):
    written = []
    write = searching.write_report

    def noted(result, *rest):
        written.append(len(result.trials))
        return write(result, *rest)

    monkeypatch.setattr(searching, "write_report", noted)
    monkeypatch.setattr(searching, "FREE_WRITING", 1e6)
    often = run(tmp_path / "often")
    assert len(written) >= 10
    monkeypatch.setattr(searching, "FREE_WRITING", 0.0)
    monkeypatch.setattr(searching, "WRITE_PAUSE", 1e6)
    written.clear()
    seldom = run(tmp_path / "seldom")
    assert len(written) <= 4
    assert len(read_report(tmp_path / "seldom").trials) == len(seldom.trials) == len(often.trials) == 10


def test_reports_that_take_little_each_are_written_less_often_once_they_took_much_together(
    tmp_path, monkeypatch
):
    written = []
    write = searching.write_report

    def slow(result, *rest):
        written.append(len(result.trials))
        time.sleep(0.1)
        return write(result, *rest)

    monkeypatch.setattr(searching, "write_report", slow)
    monkeypatch.setattr(searching, "FREE_WRITING", 0.5)
    monkeypatch.setattr(searching, "WRITE_PAUSE", 1e6)
    result = run(tmp_path / "run", trials=20)
    while_it_ran = written[:-2]  # two at its end
    assert 1 <= len(while_it_ran) <= 5
    assert len(read_report(tmp_path / "run").trials) == len(result.trials) == 20
