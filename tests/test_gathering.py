"""What a report rests on is gathered whenever it is written, whatever became of the search."""

import itertools
import json

import pytest

from autofreeze import api
from autofreeze.evidence import Evidence
from autofreeze.records import entries
from autofreeze.report.files import read_whole
from autofreeze.results import UNDER_WAY, Ending
from autofreeze.run import RunFolder

GROUPS = {"stem": ["stem."], "body": ["body."], "head": ["head."]}


def lines_up(job):
    """A training that is best at a head rate of 1e-3; deterministic, and better with every epoch."""
    rate = job.schedule.phases[-1].lrs[-1]
    for epoch in range(2):
        yield 0.9 - abs(rate - 1e-3) * 50 - 0.1 * (1 - epoch)


def run(out, fit=lines_up, **given):
    settled = {"epochs": 2, "confirm": 0, "trials": 14, "groups": GROUPS}
    return api.search(fit=fit, out=out, **{**settled, **given})


def evidence_in(out):
    return read_whole(out).evidence


def runs_in(out):
    """Trial, fold and fresh seed of every run that has a record."""
    return {(one.trial, None if one.fresh is not None else one.fold, one.fresh) for one in entries(out)}


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory):
    out = tmp_path_factory.mktemp("confirmed") / "run"
    run(out, confirm=6)
    return out


def test_a_confirmed_search_has_the_curves_of_candidates_and_baselines(confirmed):
    report = read_whole(confirmed)
    candidates = {one.trial for one in report.result.confirmation.candidates}
    baselines = {one.number for one in report.result.baselines}
    fresh = {one.trial for one in report.evidence.curves if one.fresh is not None}
    search = {one.trial for one in report.evidence.curves if one.fold is not None}
    assert fresh == candidates
    assert search == candidates | baselines
    assert all(len(one.points) == 2 for one in report.evidence.curves)
    for number in candidates:
        seeds = [one.fresh for one in report.evidence.curves if one.trial == number and one.fold is None]
        assert seeds == list(range(len(seeds)))
        values = report.result.confirmation.candidate(number).values
        ends = [
            one.points[-1].value for one in report.evidence.curves if one.trial == number and one.fold is None
        ]
        assert ends == list(values)


def test_the_time_line_holds_every_run_once_on_the_one_worker_that_there_is(confirmed):
    found = evidence_in(confirmed).timeline
    assert {(one.trial, one.fold, one.fresh) for one in found} == runs_in(confirmed)
    assert len(found) == len(runs_in(confirmed))
    assert {(one.where, one.lane) for one in found} == {("", 0)}
    assert all(sooner.ended <= later.began for sooner, later in itertools.pairwise(found))
    assert 0 < found[-1].ended <= read_whole(confirmed).result.seconds


def test_importances_and_savings_are_those_of_the_result(confirmed):
    report = read_whole(confirmed)
    found, savings = report.evidence.importances, report.evidence.savings
    assert found.axes
    points = [one for one in report.result.trials if one.ending is Ending.COMPLETE and one.params]
    assert found.trials == sum(one.same_as is None for one in points)
    assert savings.spent == pytest.approx(report.result.work)
    assert report.evidence.mistakes is None


def test_a_resumed_search_tells_of_both_sessions(tmp_path):
    out = tmp_path / "run"
    run(out, trials=5)
    before = evidence_in(out).timeline
    run(out, trials=9, resume=True)
    after = evidence_in(out).timeline
    assert after[: len(before)] == before
    assert {(one.trial, one.fold, one.fresh) for one in after} == runs_in(out)
    assert len(after) > len(before)


def test_a_search_that_was_interrupted_leaves_what_it_rests_on(tmp_path):
    ran = []

    def fit(job):
        ran.append(job.trial)
        if len(ran) == 6:
            raise KeyboardInterrupt
        return lines_up(job)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", fit)
    report = read_whole(tmp_path / "run")
    assert report.result.cut_short == "interrupted"
    assert {(one.trial, one.fold, one.fresh) for one in report.evidence.timeline} == runs_in(tmp_path / "run")
    assert report.evidence.curves
    assert "it takes 10 to say anything" in report.evidence.importances.why_none


def test_a_search_that_was_killed_leaves_what_its_last_report_rested_on(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    append = RunFolder.append

    def deadly(self, job, record, **told):
        if job.trial == 3:
            self.close()
            raise Killed
        append(self, job, record, **told)

    monkeypatch.setattr(RunFolder, "append", deadly)
    with pytest.raises(Killed):
        run(tmp_path / "run")
    report = read_whole(tmp_path / "run")
    assert report.result.cut_short == UNDER_WAY
    assert {one.trial for one in report.evidence.timeline} == {one.number for one in report.result.trials}


def test_a_search_of_failures_says_that_there_is_nothing_to_tell(tmp_path):
    def fit(job):
        raise RuntimeError("no luck")
        yield

    with pytest.raises(Exception, match="the first 3 trials all failed"):
        run(tmp_path / "run", fit)
    found = evidence_in(tmp_path / "run")
    assert (found.curves, found.timeline, found.importances.axes) == ((), (), ())
    assert found.importances.why_none.startswith("there are 0 complete trials")
    assert found.savings.spent == 0


def test_a_report_of_an_earlier_version_has_no_evidence_and_is_read(confirmed, tmp_path):
    written = json.loads((confirmed / "report.json").read_text())
    del written["evidence"]
    (tmp_path / "report.json").write_text(json.dumps(written))
    report = read_whole(tmp_path)
    assert report.evidence == Evidence()
    assert report.result == read_whole(confirmed).result


def test_a_report_with_its_evidence_is_read_as_it_was_written(confirmed):
    report = read_whole(confirmed)
    assert report.document() == json.loads((confirmed / "report.json").read_text())


def test_a_search_on_images_tells_what_it_rests_on(class_folders, tmp_path):
    result = api.search(
        class_folders, model="test_resnet", from_scratch=True, image_size=32, device="cpu", epochs=2,
        trials=3, space="quick", folds=2, confirm=0, out=tmp_path / "run",
    )  # fmt: skip
    found = evidence_in(tmp_path / "run")
    complete = [one for one in result.trials if one.ending is Ending.COMPLETE]
    for trial in complete:
        last = [one.points[-1].value for one in found.curves if one.trial == trial.number]
        assert last == list(trial.fold_values)
    trained = {number: 0.0 for number in range(3)}
    for one in found.timeline:
        trained[one.trial] += one.ended - one.began
    for trial in complete:
        assert trained[trial.number] >= trial.seconds - 0.01
    assert found.mistakes is not None
