"""A cluster is reached or told to be out of reach, looked at, and left as it was found."""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import timm
from raylets import Raylets, title, why_not
from safetensors.torch import save_file

from autofreeze import api
from autofreeze.cli import main
from autofreeze.cluster import answer, packages
from autofreeze.cluster.answer import HTTP2, SECONDS, explain, why_no_answer
from autofreeze.cluster.asked import read_options
from autofreeze.cluster.inspection import Seen, look_here, wrong_with
from autofreeze.cluster.packages import differences, versions_here
from autofreeze.errors import ConfigError
from autofreeze.results import Ending

ASKING = "from autofreeze.cluster.answer import why_no_answer; print(why_no_answer('{address}', {seconds}))"
SERVER_SETTINGS = b"\0\0\0\x04\0\0\0\0\0"


@contextlib.contextmanager
def listening(answers):
    """A server on a port of its own that says ``answers(what it is told)`` and then nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    connections.append(connection)
                    connection.sendall(answers(connection.recv(1024)))

        connections = []
        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        for connection in connections:
            connection.close()


@pytest.fixture
def nobody():
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


# Addresses that do not answer


def test_an_address_where_nobody_listens_is_told_and_nothing_is_written(nobody, tmp_path, capsys):
    words = ["--model", "test_resnet", "--from-scratch", "--out", str(tmp_path / "run"), "--ray", nobody]
    began = time.monotonic()
    assert main(["search", "photos", *words]) == 2
    assert time.monotonic() - began < 20
    _, errors = capsys.readouterr()
    assert errors.startswith(f"autofreeze: ray: {nobody} does not answer (Connection refused); is")
    assert errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_server_of_another_kind_is_told(scheme):
    with listening(lambda told: b"HTTP/1.0 400 Bad request syntax\r\n\r\n") as address:
        assert "is no Ray cluster; the port is the one that ray start" in why_no_answer(scheme + address)


def test_a_name_that_no_machine_has_is_told():
    problem = why_no_answer("nowhere.invalid:6379")
    assert problem == "nowhere.invalid:6379 does not answer: no machine is known by the name nowhere.invalid"


def test_a_server_that_goes_silent_is_not_waited_for():
    assert SECONDS <= 14  # beside it a search starts, and says so: 20 s in all
    with listening(lambda told: SERVER_SETTINGS if told == HTTP2 else b"") as address:
        began = time.monotonic()
        problem = why_no_answer(address, seconds=3)
        assert 3 <= time.monotonic() - began < 6
    assert problem.startswith(
        f"{address} does not answer as a Ray cluster does within 3 s; is it the address"
    )


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(answer, "CONNECT_SECONDS", 0.5)
    with listening(lambda told: b"") as address:
        assert answer.look(address) == f"{address} does not answer within 0.5 s; is a firewall between?"


def test_a_client_that_is_not_installed_is_told(tmp_path, monkeypatch):
    (tmp_path / "grpc.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path)
    with listening(lambda told: SERVER_SETTINGS) as address:
        assert "pip install 'autofreeze[cluster]'" in why_no_answer(f"ray://{address}")


def test_an_address_from_the_environment_is_checked(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    assert "RAY_ADDRESS is 'http://127.0.0.1:8265', and must be HOST:PORT" in why_no_answer("auto")


def test_a_machine_that_belongs_to_no_cluster_is_told_how_to_come_by_one(monkeypatch):
    from ray._private import services

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(services, "find_gcs_addresses", set)
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: None)
    with pytest.raises(
        ConnectionError, match=r"this machine belongs to no Ray cluster: begin one \(ray start"
    ):
        answer.find("auto")


def test_other_versions_of_ray_and_python_are_told_in_one_line():
    from ray._private.utils import check_version_info

    with pytest.raises(RuntimeError) as caught:
        check_version_info({"ray_version": "2.40.0", "python_version": "3.10.4"}, "node 10.0.0.5")
    line = explain("RuntimeError", str(caught.value), "10.0.0.5:6379")
    assert line.startswith("10.0.0.5:6379 runs Ray 2.40.0 on Python 3.10.4, and this is Ray ")
    assert "all machines need the same of both" in line
    assert "\n" not in line


def test_what_nobody_foresaw_is_told_in_one_line():
    line = explain("ValueError", "something\n  else", "head:6379")
    assert line == "head:6379 cannot be connected to: ValueError: something else"


# What nodes have


def test_equal_packages_are_no_difference():
    here = versions_here()
    assert differences(here, versions_here()) == ""
    assert all(here[name] for name in ("python", "torch", "timm", "numpy", "code"))


def test_builds_of_one_version_are_the_same(monkeypatch):
    monkeypatch.setattr(packages, "version", lambda name: "2.14.1+cu126")
    assert versions_here()["torch"] == "2.14.1"


def test_each_difference_is_told():
    here = versions_here()
    there = {**here, "timm": "0.0.1", "torch": "1.0"}
    assert differences(here, there) == (
        f"torch 1.0 instead of {here['torch']} and timm 0.0.1 instead of {here['timm']}"
    )
    assert "in another state of its code" in differences(here, {**here, "code": "0"})


def test_a_node_without_autofreeze_is_told_of_nothing_else():
    here = {**versions_here(), "autofreeze": "0.1.0"}
    told = wrong_with(Seen({"autofreeze": "not installed"}, None, storage=True), here, None)
    assert told.startswith("autofreeze is not installed there")
    told = wrong_with(Seen({"autofreeze": "0.0.9"}, None, storage=True), here, None)
    assert told == "autofreeze 0.0.9 instead of 0.1.0; install what is installed here"


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
@pytest.mark.parametrize(
    ("told", "bytes_"), [("echo 81559; echo 40536", 40536 * 2**20), ("exit 9", None), ("echo [N/A]", None)]
)
def test_the_memory_of_the_smallest_gpu_counts_where_it_is_known(tmp_path, monkeypatch, told, bytes_):
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n{told}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert look_here().gpu_memory == bytes_


def test_a_worker_takes_no_gpu_that_is_not_its_own(monkeypatch):
    import torch

    from autofreeze.cluster.parcel import own_device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [own_device("auto", gpus).type for gpus in (0, 0.25, 1)] == ["cpu", "cuda", "cuda"]
    assert own_device("cuda", 0).type == "cuda"
    assert own_device("cpu", 1).type == "cpu"


# A cluster

ray_here = [pytest.mark.ray, pytest.mark.timeout(180)]
raylets_here = [*ray_here, pytest.mark.skipif(bool(why_not()), reason=why_not())]

LACKING = """
import importlib.metadata, sys
class Lacking:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "autofreeze":
            raise ModuleNotFoundError(name)
version = importlib.metadata.version
def found(name):
    if name == "autofreeze":
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)
importlib.metadata.version = found
sys.meta_path.insert(0, Lacking())
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head with two CPUs; nodes see none of what pytest writes."""
    with Raylets([tmp_path_factory.getbasetemp()], cpus=2) as raylets:
        yield raylets


@pytest.fixture
def connected(cluster):
    """Connects to the cluster for the time of a block."""
    from autofreeze.cluster.connection import connect

    def to(address=cluster.address, **given):
        return connect(read_options(address, **given))

    return to


@pytest.fixture
def odd(cluster):
    """``odd(name, text)``: starts a node whose Python first looks into a folder with this one file."""
    folders, nodes = [], []

    def start(name, text):
        folder = Path(tempfile.mkdtemp(prefix="odd-"))  # what pytest writes is hidden from nodes
        folders.append(folder)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        path = os.pathsep.join([str(folder), str(Path(__file__).parents[1])])
        nodes.append(cluster.add(wait=False, before=["env", f"PYTHONPATH={path}"]))
        return nodes[-1]

    yield start
    for node in nodes:
        node.kill()
    for folder in folders:
        shutil.rmtree(folder)


class TestCluster:
    pytestmark = raylets_here

    def test_a_connection_leaves_everything_as_it_was(self, cluster, connected, monkeypatch):
        import ray

        monkeypatch.setenv("RAY_SOMETHING", "mine")
        before = dict(os.environ), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        with connected() as found:
            assert ray.is_initialized()
            assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
            os.environ["RAY_SOMETHING"] = "Ray's"
            assert (found.address, found.is_client) == (cluster.address, False)
            assert signal.getsignal(signal.SIGTERM) is before[1]
            [head] = found.nodes()
            assert (head.name, head.cpus, head.gpus) == (cluster.head.ip, 2, 0)
            assert found.node_of_driver == cluster.head.ip
        assert not ray.is_initialized()
        after = dict(os.environ), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        of_ray = [
            {name: value for name, value in one.items() if name.startswith("RAY_")}
            for one in (after[0], before[0])
        ]
        assert of_ray[0] == of_ray[1]
        assert after[1:] == before[1:]

    def test_a_connection_that_is_there_is_used_and_stays(self, cluster, connected):
        import ray

        with connected(), connected("auto") as found:
            assert found.address == cluster.address
            with (
                pytest.raises(ConfigError, match=r"this process is connected to .* already"),
                connected("h:1"),
            ):
                pytest.fail("another cluster")
            with connected("local"):
                pass
            assert ray.is_initialized()

    def test_a_node_that_joins_is_seen_and_one_without_the_storage_told(self, cluster, connected, tmp_path):
        with connected(storage=tmp_path / "states") as found:
            assert not list((tmp_path / "states").iterdir())
            node = cluster.add()
            try:
                assert {one.name for one in found.nodes()} == {cluster.head.ip, node.ip}
                with pytest.raises(ConfigError) as caught:
                    found.check(tmp_path / "states")
                assert str(caught.value) == (
                    f"ray: {node.ip}: what is written to {tmp_path / 'states'} here is not seen there; mount "
                    "it under the same path, or leave --storage out"
                )
            finally:
                node.kill()

    def test_nodes_with_other_packages_are_told_all_at_once(self, cluster, connected, odd):
        metadata = "Metadata-Version: 2.1\nName: timm\nVersion: 0.0.1\n"
        first = odd("timm-0.0.1.dist-info/METADATA", metadata)
        second = odd("sitecustomize.py", LACKING)
        for node in (first, second):
            node.wait()
        with pytest.raises(ConfigError) as caught, connected():
            pytest.fail("taken as they are")
        timm = versions_here()["timm"]
        assert sorted(caught.value.problems) == [
            f"ray: {first.ip}: timm 0.0.1 instead of {timm}; install what is installed here",
            f"ray: {second.ip}: autofreeze is not installed there; install what is installed here, in the "
            "same versions",
        ]

    def test_a_node_needs_neither_images_nor_the_weights_file(self, cluster, class_folders, tmp_path):
        weights = tmp_path / "weights.safetensors"
        save_file(dict(timm.create_model("test_resnet", num_classes=3).state_dict()), weights)
        asked = {
            "weights": str(weights), "image_size": 32, "trials": 1, "epochs": 1, "folds": 1, "confirm": 0,
            "threads": 1,
        }  # fmt: skip
        node = cluster.add(cpus=3)  # the head has two, and sees the file
        try:
            found = api.search(
                class_folders, "test_resnet", out=tmp_path / "ray", **asked,
                ray=cluster.address, cpus_per_trial=3,
            )  # fmt: skip
        finally:
            node.kill()
        here = api.search(class_folders, "test_resnet", out=tmp_path / "here", **asked)
        assert list(found.placing.workers) == [node.ip]
        assert [(one.value, one.val_loss) for one in found.trials] == [
            (one.value, one.val_loss) for one in here.trials
        ]

    @pytest.mark.skipif(not importlib.util.find_spec("grpc"), reason="the Ray client is not installed")
    def test_a_head_is_no_client_server(self, cluster):
        problem = why_no_answer(f"ray://{cluster.address}")
        assert problem.endswith("does not answer as a Ray client server does; its port is 10001 as a rule")
        assert why_no_answer(cluster.client_address) == ""

    @pytest.mark.skipif(not importlib.util.find_spec("grpc"), reason="the Ray client is not installed")
    def test_a_driver_that_stays_outside_searches_too(self, cluster, class_folders, tmp_path):
        found = api.search(
            class_folders, "test_resnet", out=tmp_path / "run", from_scratch=True, image_size=32, trials=1,
            epochs=1, folds=1, confirm=0, ray=cluster.client_address,
        )  # fmt: skip
        assert [trial.ending for trial in found.trials] == [Ending.COMPLETE]
        assert found.placing.address == cluster.client_address
        assert list(found.placing.workers) == [cluster.head.ip]

    @pytest.mark.skipif(not importlib.util.find_spec("grpc"), reason="the Ray client is not installed")
    def test_a_client_server_that_dies_while_it_starts_is_asked_for_again(self, cluster, connected):
        killed = threading.Event()

        def kill_the_first() -> None:
            while not killed.is_set():
                for pid in cluster.head.pids:
                    if "--mode=specific-server" in title(pid):
                        os.kill(pid, signal.SIGKILL)
                        killed.set()

        killer = threading.Thread(target=kill_the_first, daemon=True)
        killer.start()
        with connected(cluster.client_address) as found:
            assert killed.is_set()
            assert found.is_client
        killer.join()

    def test_a_storage_that_cannot_be_written_is_told(self, connected, tmp_path):
        (tmp_path / "file").touch()
        with (
            pytest.raises(ConfigError, match="storage: nothing can be written to"),
            connected(storage=tmp_path / "file" / "states"),
        ):
            pytest.fail("no folder there")

    def test_a_machine_that_is_no_node_is_told_how_to_become_one(self, cluster):
        code = ASKING.format(address=cluster.address, seconds=SECONDS)
        alone = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
        done = subprocess.run(alone, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip("no process namespace can be made here (unshare --pid)")
        assert done.stdout.startswith(f"this machine is no node of the cluster at {cluster.address}: join it")


@pytest.mark.ray
@pytest.mark.timeout(120)
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPUs can be kept from a process here")
def test_a_ray_of_its_own_lets_nobody_else_in_and_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        _own_ray(tmp_path)
    finally:
        os.sched_setaffinity(0, allowed)


def _own_ray(home):
    import ray

    from autofreeze.cluster.connection import connect

    with connect(read_options("local")) as found:
        assert (found.address, found.is_client) == ("local", False)
        assert [node.cpus for node in found.nodes()] == [1]
        address = ray.get_runtime_context().gcs_address
        token = os.environ["RAY_AUTH_TOKEN"]
        without = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
        asking = [sys.executable, "-c", ASKING.format(address=address, seconds=4)]
        told = [
            subprocess.run(asking, env=env, capture_output=True, text=True, check=True).stdout
            for env in (without, dict(os.environ))
        ]
    assert told[0].startswith(f"{address} asks for a token: bring ~/.ray/auth_token of the head here")
    assert told[1] == "\n"
    assert token not in os.environ.values()
    assert "RAY_AUTH_MODE" not in os.environ
    assert not (home / ".ray").exists()
