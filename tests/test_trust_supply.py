"""What is shipped works by itself, and sends nothing to anybody."""

import os
import sys
import zipfile

import pytest
from trust import supply
from trust.cases import cases
from trust.supply import can_be_alone, distributions_for, link_distributions, missing_files, run_alone


@pytest.mark.parametrize("check", cases(supply.CHECKS, long=("supply-home",)))
def test_what_is_shipped_works_by_itself_and_sends_nothing(check, tmp_path):
    check.try_few(tmp_path)


@pytest.mark.skipif(not can_be_alone(), reason="this machine gives no process a network of its own")
@pytest.mark.parametrize(
    ("address", "sent"), [("192.0.2.1", True), ("2001:db8::1", True), ("127.0.0.1", False)]
)
def test_a_packet_that_leaves_the_machine_is_counted(address, sent, tmp_path):
    code = (
        "import socket, sys; to = sys.argv[1];"
        "family = socket.AF_INET6 if ':' in to else socket.AF_INET;"
        "socket.socket(family, socket.SOCK_DGRAM).sendto(b'x', (to, 9))"
    )
    ended, told = run_alone([sys.executable, "-c", code, address], os.environ, tmp_path / "counts")
    assert ended.status == 0, ended.err
    assert bool(told) == sent


def test_a_file_that_the_wheel_lacks_or_has_too_many_is_named(tmp_path):
    wheel = supply.build_wheel(tmp_path / "dist")
    assert missing_files(wheel) == []
    other = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(other, "w") as cut:
        for name in whole.namelist():
            if name != "autofreeze/search_spaces/quick.yaml":
                cut.writestr(name, whole.read(name))
        cut.writestr("tests/test_all.py", "")
    assert missing_files(other) == [
        "the wheel lacks autofreeze/search_spaces/quick.yaml",
        "the wheel holds tests/test_all.py, which is no file of the package",
    ]


def test_what_nothing_requires_is_not_in_sight(tmp_path):
    needed = distributions_for(["timm", "ray[tune]"])
    assert {"timm", "torch", "ray", "pyarrow"} <= needed.keys()  # the last one by ray's extra alone
    assert "pytest" not in needed
    link_distributions(needed.values(), tmp_path / "packages")
    assert (tmp_path / "packages" / "timm" / "__init__.py").exists()
    assert not (tmp_path / "packages" / "pytest").exists()
