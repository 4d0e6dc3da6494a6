"""Faults of the machine: found behind errors of libraries, and told with the way out."""

import errno
import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from autofreeze.cli import main
from autofreeze.errors import AutofreezeError
from autofreeze.executors.local import LocalExecutor
from autofreeze.executors.protocol import Failed
from autofreeze.faults import OF_THE_MACHINE, fault_in, told


@pytest.mark.parametrize("number", sorted(OF_THE_MACHINE))
def test_a_fault_of_the_machine_ends_the_search_and_is_no_failure_of_a_trial(made_up, number):
    def full(_):
        try:
            raise OSError(number, "Reason", "/disk/file")
        except OSError as error:
            raise RuntimeError("unexpected pos") from error
        yield

    executor = LocalExecutor(full)
    executor.submit(made_up.job(0))
    with pytest.raises(AutofreezeError, match=r"^/disk/file: reason; .*, then go on with --resume$"):
        executor.next_event()


def test_a_file_that_a_run_does_not_find_is_its_own_failure(made_up):
    def missing(_):
        raise FileNotFoundError(errno.ENOENT, "No such file", "x")
        yield

    executor = LocalExecutor(missing)
    executor.submit(made_up.job(0))
    assert isinstance(executor.next_event(), Failed)


def test_a_fault_is_found_behind_what_a_library_makes_of_it():
    cause = OSError(errno.ENOSPC, "No space left on device")
    error = RuntimeError("unexpected pos")
    error.__context__ = cause
    assert fault_in(error) is cause
    assert fault_in(RuntimeError("by itself")) is None


def test_what_has_no_way_out_is_told_as_it_is():
    assert str(told(OSError(errno.EXDEV, "Cross-device link"), where="run")) == "run: cross-device link"
    assert str(told(OSError("broken"))) == "broken"


@pytest.fixture
def short_of_memory():
    """As little address space as no machine has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**26, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("could not create a primitive"),
        RuntimeError("can't start new thread"),
    ],
    ids=str,
)
def test_an_allocation_that_fails_where_memory_is_short_ends_the_search(made_up, short_of_memory, error):
    def hungry(_):
        raise error
        yield

    executor = LocalExecutor(hungry)
    executor.submit(made_up.job(0))
    with pytest.raises(AutofreezeError, match=r"ulimit -v\), then go on with --resume$"):
        executor.next_event()


def test_an_allocation_that_no_machine_could_make_is_the_runs_own_failure(made_up):
    def absurd(_):
        np.ones(2**50)
        yield

    executor = LocalExecutor(absurd)
    executor.submit(made_up.job(0))
    assert isinstance(executor.next_event(), Failed)


def test_a_search_without_a_temporary_folder_has_no_plan_and_goes_on(
    class_folders, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("autofreeze.pacing.tempfile.tempdir", str(tmp_path / "nowhere"))
    given = [
        "--model",
        "test_resnet",
        "--from-scratch",
        "--image-size",
        "32",
        "--trials",
        "1",
        "--epochs",
        "1",
    ]
    assert main(["search", str(class_folders), *given, "--confirm", "0", "--out", str(tmp_path / "run")]) == 0
    assert "plan: no step could be measured" in capsys.readouterr().err
