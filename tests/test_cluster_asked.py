"""What is asked of a cluster: every way to write it, and everything wrong told at once."""

from pathlib import Path

import pytest

from autofreeze import api
from autofreeze.cli import address, main
from autofreeze.cluster.asked import ClusterOptions, read_options
from autofreeze.errors import ConfigError
from autofreeze.searchoptions import SearchOptions

PLACING = {"gpus_per_trial": 0.25, "cpus_per_trial": 2, "max_concurrent": 3, "storage": "/shared"}


@pytest.fixture
def asked(monkeypatch):
    """``asked(*words)``: the options of the cluster that a command line comes to; nothing is searched."""

    def run(*words):
        taken = []

        def note(data, model, **given):
            names = SearchOptions.__dataclass_fields__.keys() & given.keys()
            taken.append((data, SearchOptions(**{name: given[name] for name in names}).decided().cluster))
            raise ConfigError("noted")

        monkeypatch.setattr(api, "search", note)
        monkeypatch.setattr(api, "search_all", note)
        assert main(["search", *words]) == 2
        return taken[0] if taken else None

    return run


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("photos", "--model", "m"), None),
        (("photos", "--ray", "--model", "m"), ""),
        (("photos", "--model", "m", "--ray"), ""),
        (("--ray", "photos", "--model", "m"), ""),
        (("--ray", "some/photos", "--model", "m"), ""),
        (("--model", "m", "--ray", "--", "photos"), ""),
        (("photos", "--model", "m", "--ray="), ""),
        (("photos", "--model", "m", "--ray", "local"), ""),
        (("photos", "--ray", "auto", "--model", "m"), "auto"),
        (("--ray", "auto", "photos", "--model", "m"), "auto"),
        (("photos", "--model", "m", "--ray=auto"), "auto"),
        (("photos", "--model", "m", "--ray", "10.0.0.5:6379"), "10.0.0.5:6379"),
        (("photos", "--model", "m", "--ray", "[fd00::5]:6379"), "[fd00::5]:6379"),
        (("--ray", "ray://head.example:10001", "photos", "--model", "m"), "ray://head.example:10001"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_address_may_be_left_out(asked, words, expected):
    data, cluster = asked(*words)
    assert data in ("photos", "some/photos")
    assert (cluster and cluster.address) == expected
    assert (cluster is None) == (expected is None)


def test_what_stands_behind_two_dashes_is_no_option():
    assert address.with_address(["--", "--ray", "photos"]) == ["--", "--ray", "photos"]


def test_placing_reaches_the_search(asked, tmp_path):
    words = ("--gpus-per-trial", "0.25", "--cpus-per-trial", "2", "--max-concurrent", "3")
    _, cluster = asked("photos", "--model", "m", "--ray", *words, "--storage", str(tmp_path))
    assert cluster == ClusterOptions("", 0.25, 2.0, 3, tmp_path)


def test_a_storage_is_the_same_folder_for_every_node(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert read_options("auto", storage="states").storage == tmp_path / "states"
    assert read_options("auto", storage="~/states").storage == Path.home() / "states"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ray": "10.0.0.5"}, "ray: got '10.0.0.5'; must be auto, HOST:PORT, ray://HOST:PORT, or nothing"),
        ({"ray": "head node:6379"}, "ray: got 'head node:6379'; must be"),
        ({"ray": "http://head:8265"}, "ray: got 'http://head:8265'; must be"),
        ({"ray": "head:70000"}, "the port must be in 1..65535"),
        ({"ray": "head:0"}, "the port must be in 1..65535"),
        ({"ray": True}, "ray: got True; must be text: auto"),
        ({"gpus_per_trial": -1}, "gpus-per-trial: got -1; must be a share"),
        ({"gpus_per_trial": float("nan")}, "gpus-per-trial: got nan; must be a share"),
        ({"gpus_per_trial": 1.5}, "gpus-per-trial: got 1.5; above 1 it must be a whole number"),
        ({"gpus_per_trial": 1.5}, ": 1 or 2"),
        ({"gpus_per_trial": 0.00001}, "gpus-per-trial: got 1e-05; must be a share"),
        ({"gpus_per_trial": True}, "gpus-per-trial: got True"),
        ({"cpus_per_trial": 0}, "cpus-per-trial: got 0; must be a number above zero"),
        ({"cpus_per_trial": float("inf")}, "cpus-per-trial: got inf"),
        ({"max_concurrent": 0}, "max-concurrent: got 0; must be a whole number, at least 1"),
        ({"max_concurrent": 2.5}, "max-concurrent: got 2.5"),
        ({"storage": "s3://bucket/states"}, "storage: got 's3://bucket/states'; must be a folder"),
        ({"storage": " "}, "storage: got ' '; must be a folder"),
        ({"storage": __file__}, "is a file; must be a folder"),
    ],
    ids=str,
)
def test_a_wrong_option_is_told(given, words):
    with pytest.raises(ConfigError) as caught:
        read_options(**{"ray": "auto", **given})
    assert len(caught.value.problems) == 1
    assert words in str(caught.value)


def test_all_that_is_wrong_is_told_at_once_with_what_is_wrong_elsewhere():
    with pytest.raises(ConfigError) as caught:
        SearchOptions(trials=0, ray="head", gpus_per_trial=-1, cpus_per_trial=0, max_concurrent=0).decided()
    told = [problem.split(":")[0] for problem in caught.value.problems]
    assert told == ["trials", "ray", "gpus-per-trial", "cpus-per-trial", "max-concurrent"]


def test_placing_without_ray_is_told():
    with pytest.raises(ConfigError) as caught:
        SearchOptions(**PLACING).decided()
    assert len(caught.value.problems) == len(PLACING)
    assert all("only on Ray; add ray" in problem for problem in caught.value.problems)


def test_zero_gpus_is_a_choice():
    assert read_options("auto", gpus_per_trial=0).gpus_per_trial == 0.0


def test_placing_without_ray_is_told_on_the_command_line(class_folders, capsys):
    words = ["--model", "test_resnet", "--from-scratch", "--max-concurrent", "2"]
    assert main(["search", str(class_folders), *words]) == 2
    assert "max-concurrent: only on Ray; add ray (--ray for one" in capsys.readouterr().err


def test_a_training_of_ones_own_takes_it_too(tmp_path):
    with pytest.raises(ConfigError, match="ray: got 'head'") as caught:
        api.search(
            out=tmp_path / "run", fit=lambda job: iter(()), groups={"body": "b", "head": "h"}, epochs=1,
            ray="head", max_concurrent=0,
        )  # fmt: skip
    assert len(caught.value.problems) == 2


def test_a_plan_takes_what_a_search_takes(class_folders, tmp_path):
    found = api.plan(
        class_folders, "test_resnet", from_scratch=True, image_size=32, epochs=1, trials=2, confirm=0,
        device="cpu", ray="auto", max_concurrent=2,
    )  # fmt: skip
    assert found.trials == 2

    with pytest.raises(ConfigError, match="max-concurrent: only on Ray"):
        api.plan(class_folders, "test_resnet", from_scratch=True, max_concurrent=2)
