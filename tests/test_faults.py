"""Faults of the machine: found behind errors of libraries, and told with the way out."""

import errno

import pytest

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
