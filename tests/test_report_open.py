"""``autofreeze report --open``: the page that ``report.json`` gives now, in the browser that there is."""

import json
import os
import shlex
import subprocess
import sys
from urllib.parse import unquote, urlparse

import pytest
from pages import report_of

from autofreeze.cli import main
from autofreeze.report.browser import why_none
from autofreeze.report.comparison import outcome_of
from autofreeze.report.files import PAGE, REPORT, write_report, write_summary
from autofreeze.results import DatasetOutcome, SummaryResult

HERE = ("SSH_CONNECTION", "SSH_TTY", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


@pytest.fixture
def browser(monkeypatch):
    """A browser that only notes what it is given."""
    monkeypatch.setenv("BROWSER", "some-browser %s")
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    return opened


@pytest.fixture
def a_run(tmp_path):
    run = tmp_path / "a run #1 %20 ünd?"
    report = report_of("full")
    run.mkdir(parents=True, exist_ok=True)
    write_report(report.result, run, report.evidence)
    return run


def open_page(*arguments):
    assert main(["report", *map(str, arguments), "--open"]) == 0


def test_the_browser_is_given_an_address_that_leads_to_the_file(a_run, tmp_path):
    """In a process of its own: ``webbrowser`` looks for browsers once."""
    opened, script = tmp_path / "opened", tmp_path / "browser.py"
    script.write_text(f"import sys\nopen({str(opened)!r}, 'w').write(sys.argv[1])\n")
    told = subprocess.run(
        [sys.executable, "-m", "autofreeze.cli", "report", str(a_run), "--open"],
        env={**os.environ, "BROWSER": f"{sys.executable} {script} %s"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told == f"opened in the browser: {a_run / PAGE}\n"
    address = urlparse(opened.read_text())
    assert (address.scheme, unquote(address.path)) == ("file", str(a_run / PAGE))
    assert not address.query
    assert not address.fragment


@pytest.mark.parametrize("gone", ["missing", "old", "damaged"])
def test_a_page_that_is_not_what_the_report_gives_is_written_anew(a_run, browser, gone):
    page = a_run / PAGE
    whole = page.read_text(encoding="utf-8")
    if gone == "missing":
        page.unlink()
    else:
        page.write_bytes(b"of an earlier version" if gone == "old" else b"\xff\xfe")
    open_page(a_run)
    assert page.read_text(encoding="utf-8") == whole
    assert len(browser) == 1


def test_a_page_that_is_true_is_left_as_it_is(a_run, browser):
    before = (a_run / PAGE).stat()
    open_page(a_run)
    assert (a_run / PAGE).stat().st_mtime_ns == before.st_mtime_ns
    assert (a_run / PAGE).stat().st_ino == before.st_ino


def test_a_page_follows_a_report_that_has_gone_on(a_run, browser):
    report = report_of("unconfirmed")
    (a_run / REPORT).write_text(json.dumps(report.document()))
    open_page(a_run)
    from autofreeze.report.page import document

    assert (a_run / PAGE).read_text(encoding="utf-8") == document.page(report)


def test_without_open_a_run_folder_is_only_read(a_run, capsys):
    (a_run / PAGE).unlink()
    before = sorted(path.name for path in a_run.iterdir())
    assert main(["report", str(a_run)]) == 0
    assert main(["report", str(a_run), "--json"]) == 0
    assert sorted(path.name for path in a_run.iterdir()) == before


def test_the_report_on_the_terminal_names_the_page_and_what_opens_it(a_run, capsys):
    assert main(["report", str(a_run)]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    command = f"autofreeze report {shlex.quote(str(a_run))} --open"
    assert last == f"as a page: {a_run / PAGE}, which {command} opens"
    (a_run / PAGE).unlink()
    assert main(["report", str(a_run)]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last == f"as a page: {command} writes and opens it"


@pytest.fixture
def several(tmp_path):
    """A search on two data sets, of which the second has not begun."""
    out = tmp_path / "several"
    report = report_of("full")
    (out / "photos").mkdir(parents=True, exist_ok=True)
    write_report(report.result, out / "photos", report.evidence)
    begun = outcome_of("photos", report.result)
    rest = begun.model_copy(update={"name": "scans", "trials": 0, "best_trial": None, "value": None})
    write_summary(SummaryResult(model="some_net", datasets=(begun, rest), seconds=9.0), out)
    return out


def test_of_several_data_sets_the_index_is_opened_and_all_pages_are_there(several, browser):
    whole = (several / PAGE).read_text(encoding="utf-8")
    (several / PAGE).write_text("old")
    (several / "photos" / PAGE).unlink()
    open_page(several)
    assert browser == [(several / PAGE).as_uri()]
    assert (several / PAGE).read_text(encoding="utf-8") == whole
    assert (several / "photos" / PAGE).exists()
    assert not (several / "scans").exists()


def test_the_page_of_one_of_several_data_sets(several, browser):
    open_page(several, "--dataset", "photos")
    assert browser == [(several / "photos" / PAGE).as_uri()]


def test_a_page_that_cannot_be_written_is_opened_as_it_is(a_run, browser, monkeypatch):
    from autofreeze.report import pages

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pages, "write_text", full)
    (a_run / PAGE).write_text("old")
    assert pages.page_in(a_run) == a_run / PAGE
    (a_run / PAGE).unlink()
    from autofreeze.errors import RunFolderError

    with pytest.raises(RunFolderError, match=r"report\.html cannot be written: No space left on device"):
        pages.page_in(a_run)


def test_without_a_display_the_file_is_named_and_nothing_fails(a_run, monkeypatch, capsys):
    for name in HERE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    (a_run / PAGE).unlink()
    assert main(["report", str(a_run), "--open"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("not opened (")
    assert told.endswith(f"{a_run / PAGE}\n")
    assert len(told.splitlines()) == 1
    assert (a_run / PAGE).exists()


def test_a_browser_that_does_not_start_is_told(a_run, monkeypatch, capsys):
    monkeypatch.setenv("BROWSER", "/nowhere/browser %s")
    monkeypatch.setattr("webbrowser.open", lambda _: False)
    assert main(["report", str(a_run), "--open"]) == 0
    assert "no browser was found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("environment", "platform", "words"),
    [
        ({}, "linux", "no display"),
        ({"DISPLAY": ":0"}, "linux", ""),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", ""),
        ({"DISPLAY": ":10", "SSH_CONNECTION": "1 2 3 4"}, "linux", "SSH"),
        ({"SSH_TTY": "/dev/pts/1"}, "darwin", "SSH"),
        ({}, "darwin", ""),
        ({}, "win32", ""),
        ({"SSH_CONNECTION": "1 2 3 4", "BROWSER": "code --openExternal"}, "linux", ""),
    ],
)
def test_where_a_browser_can_be_opened(environment, platform, words):
    assert words in why_none(environment, platform)
    assert bool(words) == bool(why_none(environment, platform))


def test_a_page_and_json_exclude_each_other(a_run, capsys):
    assert main(["report", str(a_run), "--open", "--json"]) == 2
    assert "--open and --json exclude each other" in capsys.readouterr().err


def test_a_folder_without_a_report_is_refused(tmp_path, capsys):
    assert main(["report", str(tmp_path), "--open"]) == 2
    assert "is this the folder of a search?" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../elsewhere", "/elsewhere", "a/b", "..", "", "a\\b", "a\0b"])
def test_a_summary_whose_data_sets_lie_elsewhere_is_refused_and_nothing_is_written(name, tmp_path):
    summary = SummaryResult(
        model="some_net", datasets=(DatasetOutcome(name="inside", data="d"),), seconds=1.0
    )
    write_summary(summary, tmp_path)
    file = tmp_path / "report.json"
    file.write_text(file.read_text().replace('"inside"', json.dumps(name)))
    before = sorted(tmp_path.rglob("*"))
    assert main(["report", str(tmp_path)]) == 2
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        ("data", "images", None), ("data", "folds", ["many"]), ("data", "classes", "ab"),
        ("backbone", "preprocessing_from", "no mapping"), ("backbone", "work_shares", [None]),
        ("settings", "trials", "all"),
    ],
)  # fmt: skip
def test_a_report_whose_facts_are_of_another_kind_is_told_as_damaged(a_run, capsys, where, name, value):
    report = json.loads((a_run / REPORT).read_text())
    report[where].pop(name)
    if value is not None:
        report[where][name] = value
    (a_run / REPORT).write_text(json.dumps(report))
    assert main(["report", str(a_run)]) == 2
    assert "report.json is damaged" in capsys.readouterr().err
