"""``autofreeze dashboard``: the study as it is, on this machine alone, and nothing that could change it."""

import http.client
import inspect
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from optuna.storages import JournalStorage

from autofreeze.cli import dashboard, main
from autofreeze.dashboard import HOST, PORT, journal_of, served
from autofreeze.errors import ConfigError, RunFolderError
from autofreeze.executors.replay import ReplayExecutor
from autofreeze.imagescoring import ImageScoring
from autofreeze.journal import Journal
from autofreeze.journalreader import JournalReader
from autofreeze.run import RunFolder
from autofreeze.space import SpaceSpec
from autofreeze.splits import Split
from autofreeze.study import Limits, Study

pytest.importorskip("optuna_dashboard")


def search(run, made_up, trials):
    """Made-up trials in a run folder that is open."""
    space = SpaceSpec.from_text("head_lr: {low: 1e-4, high: 1e-2}\n").resolve(made_up.groups, 3.0)
    splits = (Split(np.arange(40), np.arange(40, 80)),)
    scoring = ImageScoring.of("top1", np.arange(80) % 2, splits)
    executor = ReplayExecutor(made_up.run)
    study = Study(run, space, executor, scoring=scoring, seed=0, sampler="random", prune=False)
    study.search(Limits(trials))
    return study


@pytest.fixture(scope="module")
def searched(made_up, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dashboard") / "run"
    with RunFolder(folder, {}) as run:
        search(run, made_up, 4)
    return folder


@pytest.fixture
def a_run(searched, tmp_path):
    return shutil.copytree(searched, tmp_path / "run")


@contextmanager
def running(journal, port=0):
    with served(journal, port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server, path, method="GET", body=None, **headers):
    """Give status, headers and body of an answer."""
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=10)
    try:
        text = None if body is None else json.dumps(body)
        sent = {"Accept-Encoding": "identity", "Content-Type": "application/json", **headers}
        connection.request(method, path, text, sent)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def trials_of(server):
    _, _, body = ask(server, "/api/studies")
    [study] = json.loads(body)["study_summaries"]
    status, _, body = ask(server, f"/api/studies/{study['study_id']}")
    assert status == 200
    return json.loads(body)["trials"]


def test_the_study_and_its_trials_are_shown_as_they_are(a_run):
    kept = JournalStorage(Journal(a_run / "study.journal")).get_all_trials(0)
    with running(journal_of(a_run)) as server:
        shown = trials_of(server)
    assert len(shown) == len(kept) == 4
    for one, trial in zip(shown, kept, strict=True):
        assert one["number"] == trial.number
        assert one["state"].lower() == trial.state.name.lower()
        assert one["values"] == trial.values
        assert {given["name"] for given in one["params"]} == set(trial.params)


CHANGES = [
    ("DELETE", "/api/studies/0", {}),
    ("POST", "/api/studies", {"study_name": "other", "directions": ["maximize"]}),
    ("POST", "/api/studies/0/rename", {"study_name": "other"}),
    ("PUT", "/api/studies/0/note", {"body": "mine", "version": 1}),
    ("PUT", "/api/studies/0/0/note", {"body": "mine", "version": 1}),
    ("POST", "/api/trials/0/user-attrs", {"user_attrs": {"mine": 1}}),
    ("POST", "/api/trials/0/tell", {"state": "fail"}),
    ("PATCH", "/api/studies/0", {}),
]


@pytest.mark.parametrize(
    ("method", "path", "body"), CHANGES, ids=[f"{one} {path}" for one, path, _ in CHANGES]
)
def test_nothing_can_be_changed(a_run, method, path, body):
    before = (a_run / "study.journal").read_bytes()
    with running(journal_of(a_run)) as server:
        status, headers, answer = ask(server, path, method, body)
        assert status == 405
        assert headers["Allow"] == "GET, HEAD"
        assert "changes nothing" in json.loads(answer)["reason"]
        assert len(trials_of(server)) == 4
    assert (a_run / "study.journal").read_bytes() == before


def test_a_change_that_got_through_would_not_reach_the_journal(a_run):
    """The storage refuses to write by itself, whatever asks."""
    before = (a_run / "study.journal").read_bytes()
    storage = JournalStorage(JournalReader(a_run / "study.journal"))
    with pytest.raises(RunFolderError, match="nothing is written to it"):
        storage.delete_study(0)
    with pytest.raises(RunFolderError, match="nothing is written to it"):
        storage.set_study_user_attr(0, "mine", 1)
    assert (a_run / "study.journal").read_bytes() == before


def routes_that_look(server):
    """Every address that optuna-dashboard answers a GET at, filled in for this study."""
    from optuna_dashboard import _app

    source = Path(_app.__file__).read_text(encoding="utf-8")
    found = re.findall(r'@app\.get\("([^"]+)"\)', source)
    assert len(found) > 8
    filled = [re.sub(r"<study_id:int>", "0", path) for path in found]
    plots = re.findall(r'plot_type == "(\w+)"', source)
    for path in filled:
        if "<plot_type>" in path:  # but for the plot of studies with several objectives
            yield from (path.replace("<plot_type>", plot) for plot in plots if plot != "pareto_front")
        elif "<" not in path:
            yield path


@pytest.mark.filterwarnings("ignore")  # Optuna's, on importances of four trials
def test_looking_at_everything_leaves_every_file_as_it_was(a_run):
    def files():
        return {path.name: (path.read_bytes() if path.is_file() else None) for path in a_run.rglob("*")}

    before = files()
    with running(journal_of(a_run)) as server:
        asked = list(routes_that_look(server))
        assert "/api/studies/0/param_importances" in asked
        for path in asked:
            status, _, _ = ask(server, path)
            assert status in (200, 302, 404), path
    assert files() == before


def test_it_listens_on_this_machine_alone(a_run):
    with running(journal_of(a_run)) as server:
        assert server.socket.getsockname() == (HOST, server.server_port)
        assert server.socket.family == socket.AF_INET
        others = {"127.0.0.2"}
        with suppress(socket.gaierror):
            others |= {one[4][0] for one in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        for other in others - {HOST}:
            with socket.socket() as probe:
                probe.settimeout(2)
                assert probe.connect_ex((other, server.server_port)) != 0, other


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example:8080", "[::1]:8080", ""]
)
def test_a_name_that_leads_here_from_elsewhere_is_not_answered(a_run, host):
    with running(journal_of(a_run)) as server:
        status, _, body = ask(server, "/api/studies", Host=host)
        assert status == 403
        assert b"study_summaries" not in body
        assert ask(server, "/api/studies", Host=f"localhost:{server.server_port}")[0] == 200


def test_the_page_may_load_nothing_from_elsewhere(a_run):
    with running(journal_of(a_run)) as server:
        status, headers, page = ask(server, "/dashboard")
    assert status == 200
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'self'"
    assert policy["connect-src"] == "'self'"
    assert all("http" not in allowed and "*" not in allowed for allowed in policy.values())
    assert not re.findall(rb"""(?:src|href)=["'](?:https?:)?//""", page)


def test_a_search_that_runs_is_seen_as_it_goes_on_and_is_not_kept_from_anything(made_up, tmp_path):
    with RunFolder(tmp_path / "run", {}) as run:
        search(run, made_up, 2)
        with served(journal_of(tmp_path / "run"), 0) as server:
            storage = JournalStorage(JournalReader(tmp_path / "run" / "study.journal"))
            assert len(storage.get_all_trials(0)) == 2
            search(run, made_up, 5)
            assert len(storage.get_all_trials(0)) == 5
            assert server.server_port


def test_a_torn_last_line_is_passed_over_not_repaired_and_read_when_it_is_whole(a_run):
    journal = a_run / "study.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    torn = journal.read_bytes()
    with running(journal_of(a_run)) as server:
        assert len(trials_of(server)) == 4
        storage = JournalStorage(JournalReader(journal))
        assert [one.state.is_finished() for one in storage.get_all_trials(0)] == [True] * 3 + [False]
        assert journal.read_bytes() == torn
        journal.write_bytes(b"".join(lines))
        assert all(one.state.is_finished() for one in storage.get_all_trials(0))
    assert not list(a_run.glob("*.torn"))


def test_what_optuna_reads_of_a_journal_this_reads_too(a_run):
    theirs = list(Journal(a_run / "study.journal").read_logs(0))
    ours = JournalReader(a_run / "study.journal")
    assert list(ours.read_logs(0)) == theirs
    for start in (0, 1, len(theirs) // 2, len(theirs), 1):
        assert list(ours.read_logs(start)) == theirs[start:]
    assert list(JournalReader(a_run / "study.journal").read_logs(5)) == theirs[5:]


def test_a_damaged_line_in_the_middle_is_told(a_run):
    journal = a_run / "study.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + b"{]\n" + b"".join(lines[1:]))
    with pytest.raises(RunFolderError, match="line 2 is damaged"), served(journal, 0):
        pass


def test_a_port_that_is_taken_leads_to_the_next_free_one(a_run):
    with served(journal_of(a_run), 0) as first, served(journal_of(a_run), first.server_port) as second:
        assert second.server_port not in (0, first.server_port)
        assert second.address == f"http://{HOST}:{second.server_port}/dashboard"


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_refused(a_run, port):
    with pytest.raises(ConfigError, match="must be 0"), served(journal_of(a_run), port):
        pass


def test_without_the_package_the_way_out_is_told(a_run, monkeypatch, capsys):
    monkeypatch.setattr("autofreeze.dashboard.find_spec", lambda name: None)
    assert main(["dashboard", str(a_run)]) == 2
    assert "pip install 'autofreeze[dashboard]'" in capsys.readouterr().err


def test_folders_without_a_study_are_refused(tmp_path):
    with pytest.raises(RunFolderError, match="is this the folder of a search"):
        journal_of(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RunFolderError, match="has not begun"):
        journal_of(tmp_path)
    assert not (tmp_path / "study.journal").exists()


def test_of_several_data_sets_one_is_named(a_run, tmp_path, made_result):
    from autofreeze.report.comparison import outcome_of
    from autofreeze.report.files import write_report, write_summary
    from autofreeze.results import SummaryResult

    result = made_result.result()
    several = tmp_path / "several"
    shutil.copytree(a_run, several / "photos")
    (several / "photos").mkdir(parents=True, exist_ok=True)
    write_report(result, several / "photos")
    write_summary(SummaryResult(model="m", datasets=(outcome_of("photos", result),), seconds=1.0), several)
    assert journal_of(several, "photos") == several / "photos" / "study.journal"
    with pytest.raises(ConfigError, match="name one with --dataset: photos"):
        journal_of(several)
    with pytest.raises(ConfigError, match="unknown"):
        journal_of(several, "scans")


@pytest.mark.skipif(os.name != "posix", reason="sends the signal of Ctrl-C")
def test_ctrl_c_ends_it_cleanly(a_run):
    process = subprocess.Popen(
        [sys.executable, "-m", "autofreeze.cli", "dashboard", str(a_run), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    told = process.stdout.readline()
    assert re.search(rf"http://{re.escape(HOST)}:\d+/dashboard \(to look at; Ctrl-C ends it\)", told)
    port = int(re.search(r":(\d+)/dashboard", told)[1])
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                break
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert errors == ""
    assert rest.endswith("the dashboard has ended\n")


def test_the_command_and_the_server_agree_on_the_port():
    assert inspect.signature(dashboard).parameters["port"].default == PORT
