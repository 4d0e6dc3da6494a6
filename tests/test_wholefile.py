"""Files written whole, and what a killed writer leaves."""

import signal
import subprocess
import sys

import pytest

from autofreeze.wholefile import written_whole

KILLED_WITHIN = """
import os, signal, sys
from contextlib import nullcontext
from pathlib import Path
from autofreeze.wholefile import written_whole
with written_whole(Path(sys.argv[1])) as stream:
    stream.write(b"half")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def break_off(file):
    with written_whole(file) as stream:
        stream.write(b"second")
        raise RuntimeError


def test_what_was_there_stays_until_the_block_has_ended_well(tmp_path):
    file = tmp_path / "new" / "a.txt"
    with written_whole(file) as stream:
        stream.write(b"first")
    with pytest.raises(RuntimeError):
        break_off(file)
    assert file.read_bytes() == b"first"
    assert names_in(file.parent) == ["a.txt"]


def test_what_a_killed_writer_left_is_removed_by_the_next_and_nothing_else_is(tmp_path):
    file = tmp_path / "a.yaml"
    others = {".a.yaml.swp", ".a.yaml.part", ".b.yaml.abcdefgh.part", "a.yaml.abcdefgh.part"}
    for name in others:
        (tmp_path / name).write_text("mine")
    killed = subprocess.run([sys.executable, "-c", KILLED_WITHIN, str(file)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(names_in(tmp_path)) == len(others) + 1
    assert not file.exists()
    with written_whole(file) as stream:
        stream.write(b"whole")
    assert file.read_bytes() == b"whole"
    assert set(names_in(tmp_path)) == others | {"a.yaml"}


def test_one_writer_leaves_the_half_file_of_another_that_lives(tmp_path):
    file = tmp_path / "a.yaml"
    with written_whole(file) as slow:
        slow.write(b"slow")
        with written_whole(file) as fast:
            fast.write(b"fast")
        assert file.read_bytes() == b"fast"
    assert file.read_bytes() == b"slow"
    assert names_in(tmp_path) == ["a.yaml"]


def test_a_folder_that_is_gone_is_made_only_where_that_is_wanted(tmp_path):
    file = tmp_path / "gone" / "file"
    with pytest.raises(FileNotFoundError), written_whole(file, new_folder=False):
        pass
    assert not file.parent.exists()
    with written_whole(file) as stream:
        stream.write(b"x")
    assert file.read_bytes() == b"x"
