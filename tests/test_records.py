"""The file of all records: what a line says, and that it is read no further than needed."""

import json

import pytest

from autofreeze.errors import RunFolderError
from autofreeze.records import RECORDS, entries, line_of, read_fresh_records, read_records

PLACES = ("", "node-a", 'a "quoted" \\ place', 'two\nlines, "seconds":9,', "\u2028\u202eplace")


def fresh(job, number):
    return job.model_copy(update={"fresh": number})


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("number", [None, 3])
def test_a_line_says_whose_it_is_when_and_where(tmp_path, made_up, where, number):
    job = fresh(made_up.job(7, fold=0 if number is not None else 2), number)
    record = made_up.record(job, 1, seconds=12.5)
    (tmp_path / RECORDS).write_text(line_of(job, record, 1_700_000_000.123456, where), encoding="utf-8")
    (entry,) = entries(tmp_path)
    assert (entry.trial, entry.fold, entry.fresh) == (7, job.fold, number)
    assert (entry.at, entry.where, entry.epoch, entry.seconds) == (1_700_000_000.123, where, 1, 12.5)
    assert entry.record() == record


def test_one_place_alone_takes_no_room(made_up):
    job = made_up.job()
    assert "where" not in json.loads(line_of(job, made_up.record(job, 0), 1.0))


def test_of_a_sweep_the_seconds_are_those_of_all_its_heads(tmp_path, made_up):
    jobs = [made_up.job(0, head_lr=rate) for rate in (1e-3, 1e-2)]
    record = next(iter(made_up.sweep([made_up.curve(job, seconds=99.0) for job in jobs])))
    assert record.seconds != 99.0
    (tmp_path / RECORDS).write_text(line_of(jobs[0], record, 1.0))
    (entry,) = entries(tmp_path)
    assert entry.seconds == record.seconds
    assert entry.record() == record


def test_lines_of_an_earlier_version_tell_no_time_and_are_read(tmp_path, made_up):
    job = made_up.job(1)
    lines = []
    for record in made_up.curve(job):
        plain = json.loads(line_of(job, record, 5.0, "node"))
        del plain["at"], plain["where"]
        lines.append(json.dumps(plain, separators=(",", ":")) + "\n")
    (tmp_path / RECORDS).write_text("".join(lines))
    assert [(one.at, one.where) for one in entries(tmp_path)] == [(None, "")] * 3
    assert read_records(tmp_path) == {(1, 0): made_up.curve(job)}


def test_a_line_that_another_program_wrote_anew_is_read(tmp_path, made_up):
    job = fresh(made_up.job(1), 2)
    record = made_up.record(job, 0)
    plain = json.loads(line_of(job, record, 5.25, "node"))
    (tmp_path / RECORDS).write_text(json.dumps(dict(reversed(plain.items())), indent=None) + "\n")
    (entry,) = entries(tmp_path)
    assert (entry.trial, entry.fresh, entry.at, entry.where, entry.seconds) == (1, 2, 5.25, "node", 0.1)
    assert read_fresh_records(tmp_path) == {(1, 2): [record]}


def test_a_torn_last_line_is_passed_over(tmp_path, made_up):
    job = made_up.job()
    whole, torn = (line_of(job, made_up.record(job, epoch), 1.0) for epoch in (0, 1))
    for cut in (1, 20, len(torn) - 1):
        (tmp_path / RECORDS).write_text(whole + torn[:cut])
        assert [one.epoch for one in entries(tmp_path)] == [0]
    assert list(entries(tmp_path / "nowhere")) == []


def test_when_and_where_a_run_was_trained_makes_no_difference_to_its_curve(tmp_path, made_up):
    job = made_up.job()
    for name, at, where in (("one", 5.0, ""), ("other", 9.0, "node")):
        (tmp_path / name).mkdir()
        lines = [line_of(job, record, at, where) for record in made_up.curve(job)]
        (tmp_path / name / RECORDS).write_text("".join(lines))
    assert read_records(tmp_path / "one") == read_records(tmp_path / "other")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"record"', b'"recor'),
        (b'"trial"', b'"tria"'),
        (b'{"trial"', b'[{"trial"'),
        (b'"comparable":', b'"comparable":"",'),
        (b'"seconds"', b'"second\xff"'),
        (b'"trial":', b'"trial":null,"x":'),
    ],
)
def test_a_damaged_line_is_told_by_its_number(tmp_path, made_up, old, new):
    job = made_up.job()
    line = line_of(job, made_up.record(job, 0), 1.0).encode()
    assert line.replace(old, new) != line
    (tmp_path / RECORDS).write_bytes(line + line.replace(old, new))

    with pytest.raises(RunFolderError, match=r"records.jsonl: line 2 is damaged; put a copy"):
        [entry.record() for entry in entries(tmp_path)]


def test_a_run_whose_first_epoch_is_missing_has_no_records(tmp_path, made_up):
    job = made_up.job()
    line = line_of(job, made_up.record(job, 0), 1.0)
    assert '"epoch":0,' in line
    (tmp_path / RECORDS).write_text(line.replace('"epoch":0,', '"epoch":1,'), encoding="utf-8")

    assert read_records(tmp_path) == {}
