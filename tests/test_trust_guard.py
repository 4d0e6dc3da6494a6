"""The guard of the trust checks sees what it is there to see."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from trust.guard import guarded, watched


def write_outside(folder):
    (folder / "outside").write_text("x")


def write_through_a_link(folder):
    (folder / "inside" / "link").symlink_to(folder / "outside")
    (folder / "inside" / "link").write_text("x")


def rename_out(folder):
    (folder / "inside" / "one").write_text("x")
    (folder / "inside" / "one").rename(folder / "one")


def remove_outside(folder):
    (folder / "there").unlink()


def remove_outside_from_within(folder):
    shutil.rmtree(folder / "full")  # by names within open folders


def start_a_process(folder):
    subprocess.run([sys.executable, "-c", ""], check=True)


def ask_a_name_server(folder):
    with pytest.raises(OSError):  # noqa: PT011 - whatever the machine's resolver says
        socket.getaddrinfo("no.such.host.invalid", 80)


def ask_a_name_server_the_old_way(folder):
    with pytest.raises(OSError):  # noqa: PT011 - whatever the machine's resolver says
        socket.gethostbyname("no.such.host.invalid")


def connect_elsewhere(folder):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("192.0.2.1", 9))


FORBIDDEN = (
    write_outside, write_through_a_link, rename_out, remove_outside, remove_outside_from_within,
    start_a_process, ask_a_name_server, ask_a_name_server_the_old_way, connect_elsewhere,
)  # fmt: skip


@pytest.mark.parametrize("deed", FORBIDDEN)
def test_a_forbidden_deed_is_seen(deed, tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "there").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "one").write_text("x")
    with guarded([tmp_path / "inside"]) as seen:
        deed(tmp_path)
    assert seen


def test_what_is_allowed_is_not_told_and_nothing_after_the_block(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "there").write_text("x")
    with guarded([tmp_path / "inside"]) as seen:
        (tmp_path / "there").read_text()
        (tmp_path / "inside" / "one").write_text("x")
        (tmp_path / "inside" / "one").rename(tmp_path / "inside" / "two")
        (tmp_path / "inside" / "two").unlink()
        (tmp_path / "inside" / "full").mkdir()
        (tmp_path / "inside" / "full" / "one").write_text("x")
        shutil.rmtree(tmp_path / "inside" / "full")
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()).close()
    write_outside(tmp_path)
    assert seen == []


def test_memory_is_bounded_within_the_block_alone():
    # In a process of its own: in one that has run other tests, what they leave is freed at any moment.
    code = """
from trust.guard import guarded
try:
    with guarded([], memory=2**28):
        bytearray(2**29)
except MemoryError:
    bytearray(2**29)
    print("refused within, given after")
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "refused within, given after\n"


@pytest.mark.parametrize("place", ["outside", "inside"])
def test_a_child_is_watched(place, tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "log").mkdir()
    deed = f"open({str(tmp_path / place / 'x')!r}, 'w').close()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {deed!r}])"
    log = tmp_path / "log" / "log"
    environment = watched(dict(os.environ), [tmp_path / "inside"], log, temporary=tmp_path / "log")
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert log.exists() == (place == "outside")


def test_what_is_read_of_a_private_folder_is_seen_also_through_a_link(tmp_path):
    private = tmp_path / "private"
    private.mkdir()
    (private / "secret").write_text("x")
    (tmp_path / "link").symlink_to(private)
    with guarded([tmp_path], private=[private]) as seen:
        (tmp_path / "link" / "secret").read_text()
        list(private.iterdir())
        (tmp_path / "own").write_text("x")
    assert [one.partition(" ")[0] for one in seen] == ["opened", "os.listdir"]
