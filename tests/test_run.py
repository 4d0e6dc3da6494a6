"""The run folder: who may write to it, what it holds, how it is mended."""

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import filelock
import pytest

from autofreeze.errors import RunFolderError
from autofreeze.records import read_records, repair
from autofreeze.run import RunFolder, check_usable, read_about

IDENTITY = {"data": "abc", "seed": 0, "groups": ["stem", "head"]}


def tree(folder):
    """Every file and its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def test_a_new_folder_says_what_is_searched(folder):
    with RunFolder(folder, IDENTITY, command="autofreeze search photos"):
        about = read_about(folder)
    assert about["identity"] == IDENTITY
    assert about["command"] == "autofreeze search photos"
    assert (folder / "study.journal").exists()


def test_a_folder_with_a_study_is_left_as_it_is_unless_resumed(folder):
    RunFolder(folder, IDENTITY).close()
    before = tree(folder)
    with pytest.raises(RunFolderError, match="--resume"):
        RunFolder(folder, IDENTITY)
    assert tree(folder) == before
    RunFolder(folder, IDENTITY, resume=True).close()


def test_another_study_is_refused_and_every_difference_told(folder):
    RunFolder(folder, IDENTITY).close()
    before = tree(folder)
    with pytest.raises(RunFolderError) as caught:
        RunFolder(folder, {**IDENTITY, "seed": 1, "data": "xyz"}, resume=True)
    assert "seed: 0 there, 1 asked for" in str(caught.value)
    assert 'data: "abc" there, "xyz" asked for' in str(caught.value)
    assert "groups" not in str(caught.value)
    assert tree(folder) == before
    RunFolder(folder, IDENTITY, resume=True).close()  # the refusal let the lock go


def test_a_key_that_is_new_or_gone_is_a_difference(folder):
    RunFolder(folder, IDENTITY).close()
    with pytest.raises(RunFolderError, match="folds: null there, 3 asked for"):
        RunFolder(folder, {**IDENTITY, "folds": 3}, resume=True)


def test_a_folder_in_use_is_refused_by_another_process_and_free_after_its_end(folder):
    code = (
        "import sys; from autofreeze.run import RunFolder\n"
        f"run = RunFolder({str(folder)!r}, {IDENTITY!r}); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(RunFolderError, match="another search is using this folder"):
            RunFolder(folder, IDENTITY, resume=True)
        other.kill()
        other.wait()
    RunFolder(folder, IDENTITY, resume=True).close()


def test_a_lock_that_is_held_for_an_instant_keeps_no_search_from_beginning(folder):
    """Whoever looks whether a search runs tries the lock, and lets it go."""
    RunFolder(folder, IDENTITY).close()
    glance = filelock.FileLock(folder / ".lock", thread_local=False)
    glance.acquire()
    release = threading.Timer(0.1, glance.release)
    release.start()
    RunFolder(folder, IDENTITY, resume=True).close()
    release.join()


def test_two_searches_of_one_process_do_not_share_a_folder(folder):
    with (
        RunFolder(folder, IDENTITY),
        pytest.raises(RunFolderError, match="using this folder"),
    ):
        RunFolder(folder, IDENTITY, resume=True)


@pytest.mark.parametrize("kind", ["file", "other things", "other schema", "damaged"])
def test_what_is_no_run_folder_is_left_alone(folder, kind):
    if kind == "file":
        folder.write_text("mine")
        before, expected = "mine", "is a file"
    else:
        folder.mkdir()
        name = "thesis.tex" if kind == "other things" else "run.json"
        text = {"other things": "mine", "other schema": '{"schema": 99}', "damaged": "{"}[kind]
        (folder / name).write_text(text)
        before = tree(folder)
        expected = {
            "other things": "neither empty",
            "other schema": "schema 99",
            "damaged": "cannot be read",
        }[kind]
    with pytest.raises(RunFolderError, match=expected):
        RunFolder(folder, IDENTITY, resume=True)
    if kind == "file":
        assert folder.read_text() == before
    else:
        after = tree(folder)
        after.pop(".lock", None)
        assert after == before


def test_an_empty_folder_is_taken(folder):
    folder.mkdir()
    RunFolder(folder, IDENTITY).close()
    assert read_about(folder)["identity"] == IDENTITY


def test_records_come_back_as_they_were_written(folder, made_up):
    job, other = made_up.job(0), made_up.job(1, fold=1)
    with RunFolder(folder, IDENTITY) as run:
        for record in made_up.curve(job):
            run.append(job, record)
        run.append(other, made_up.diverged(other))
    curves = read_records(folder)
    assert curves[0, 0] == made_up.curve(job)
    assert curves[1, 1][0].same_as(made_up.diverged(other))
    assert curves.keys() == {(0, 0), (1, 1)}


@pytest.mark.parametrize("torn", [1, 10, 200])
def test_a_torn_last_line_is_cut_off_and_kept_aside(folder, made_up, torn):
    job = made_up.job(0)
    with RunFolder(folder, IDENTITY) as run:
        run.study.set_user_attr("before", 1)
        for record in made_up.curve(job)[:2]:
            run.append(job, record)
    good = tree(folder)
    tails = {}
    for name in ("study.journal", "records.jsonl"):
        tails[name] = (good[name].splitlines(keepends=True)[-1] * 9)[:torn].replace(b"\n", b" ")
        with (folder / name).open("ab") as stream:
            stream.write(tails[name])
    with RunFolder(folder, IDENTITY, resume=True) as run:
        assert run.study.user_attrs == {"before": 1}
        run.study.set_user_attr("after", 2)
        run.append(job, made_up.curve(job)[2])
    assert read_records(folder)[0, 0] == made_up.curve(job)
    for name, tail in tails.items():
        assert (folder / f"{name}.torn").read_bytes() == tail + b"\n"
        assert (folder / name).read_bytes().startswith(good[name])
    with RunFolder(folder, IDENTITY, resume=True) as run:
        assert run.study.user_attrs == {"before": 1, "after": 2}


def test_a_second_torn_line_is_kept_behind_the_first(folder):
    file = folder / "records.jsonl"
    for piece in ("first", "second"):
        with RunFolder(folder, IDENTITY, resume=file.exists()):
            pass
        with file.open("a") as stream:
            stream.write(piece)
    with RunFolder(folder, IDENTITY, resume=True):
        pass
    assert file.read_text() == ""
    assert (folder / "records.jsonl.torn").read_text() == "first\nsecond\n"


def test_a_torn_last_line_hinders_nobody_who_only_reads(folder, made_up):
    job = made_up.job(0)
    with RunFolder(folder, IDENTITY) as run:
        for record in made_up.curve(job):
            run.append(job, record)
    with (folder / "records.jsonl").open("a") as stream:
        stream.write('{"trial":0,"fold":1,"rec')
    before = tree(folder)
    assert read_records(folder) == {(0, 0): made_up.curve(job)}
    assert tree(folder) == before


def test_what_a_killed_writer_left_neither_shuts_the_folder_nor_stays(folder, made_up):
    folder.mkdir()
    (folder / ".run.json.x1").write_text("{")  # killed as the study was begun
    with RunFolder(folder, IDENTITY) as run:
        checkpoint = run.checkpoint(made_up.job(0))
    checkpoint.parent.mkdir()
    checkpoint.write_text("whole")
    halves = (".report.json.x2", ".report.md.x3", f"checkpoints/.{checkpoint.name}.x4", ".status.json.x5")
    for name in halves:
        (folder / name).write_text("half")
    RunFolder(folder, IDENTITY, resume=True).close()
    names = {path.name for path in folder.rglob("*") if path.is_file()} - {".lock"}
    assert names == {"run.json", "study.journal", "records.jsonl", checkpoint.name}


def test_a_whole_file_is_not_touched_by_the_repair(tmp_path):
    for text in (b"", b"{}\n", b"{}\n{}\n"):
        (tmp_path / "a").write_bytes(text)
        repair(tmp_path / "a")
        assert tree(tmp_path) == {"a": text}
    repair(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


def test_a_record_told_twice_counts_once(folder, made_up):
    job = made_up.job(0)
    curve = made_up.curve(job)
    with RunFolder(folder, IDENTITY) as run:
        for record in (curve[0], curve[1], curve[0], curve[1], curve[2]):
            run.append(job, record)
    assert read_records(folder)[0, 0] == curve


def test_the_lock_of_a_dead_process_on_the_journal_is_removed(folder):
    RunFolder(folder, IDENTITY).close()
    (folder / "study.journal.lock").write_text("")
    with RunFolder(folder, IDENTITY, resume=True) as run:
        run.study.set_user_attr("x", 1)


def test_a_checkpoint_is_dropped_once_and_for_all(folder, made_up):
    job = made_up.job(3, fold=2)
    with RunFolder(folder, IDENTITY) as run:
        file = run.checkpoint(job)
        run.drop_checkpoint(job)
        file.parent.mkdir()
        file.write_bytes(b"x")
        run.drop_checkpoint(job)
        assert not file.exists()
    assert run.checkpoint(job) != run.checkpoint(made_up.job(3, fold=1))


def test_records_are_json_lines(folder, made_up):
    job = made_up.job(0)
    with RunFolder(folder, IDENTITY) as run:
        run.append(job, made_up.record(job, 0))
    (line,) = (folder / "records.jsonl").read_text().splitlines()
    assert json.loads(line)["trial"] == 0


@pytest.mark.parametrize("harm", ["removed", "renamed", "made anew"])
def test_a_folder_that_is_gone_takes_no_further_record_and_is_not_made_again(folder, made_up, harm):
    with RunFolder(folder, IDENTITY) as run:
        folder.rename(folder.with_name("away"))
        if harm == "removed":
            shutil.rmtree(folder.with_name("away"))
        if harm == "made anew":
            folder.mkdir()
        with pytest.raises(RunFolderError, match="removed or renamed while the search ran"):
            run.append(made_up.job(0), made_up.curve(made_up.job(0))[0])
        with pytest.raises(RunFolderError, match="--resume"), run.together():
            pass
        assert not list(folder.glob("*"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"study_name"', b'"study"'),
        (b'"op_code":', b'"op_code":9'),
        (b'{"op_code"', b'{"op_code'),
        (b"auto", b"\xe9"),
    ],
)
def test_a_damaged_journal_is_told_and_left_as_it_is(folder, old, new):
    RunFolder(folder, IDENTITY).close()
    journal = folder / "study.journal"
    damaged = journal.read_bytes().replace(old, new)
    journal.write_bytes(damaged)
    with pytest.raises(RunFolderError, match=r"study.journal: .*is damaged.*; put a copy of the file"):
        RunFolder(folder, IDENTITY, resume=True)
    assert journal.read_bytes() == damaged


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "[]", '{"schema": 2}', '{"schema": 2, "created": "x", "identity": []}', "\xe9", "{"],
)
def test_a_run_file_that_is_damaged_is_refused(folder, text):
    RunFolder(folder, IDENTITY).close()
    (folder / "run.json").write_text(text, encoding="latin-1")
    with pytest.raises(RunFolderError, match=r"run\.json"):
        RunFolder(folder, IDENTITY, resume=True)


def test_a_folder_that_another_search_makes_just_now_is_told_as_a_study(tmp_path, monkeypatch):
    listed = Path.iterdir

    def then_another_begins(folder):
        (folder / "run.json").write_text("{}")
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", then_another_begins)
    with pytest.raises(RunFolderError, match="holds a study already"):
        check_usable(tmp_path, resume=False)
