"""Which packages a machine of the cluster has: curves repeat only where these are the same."""

import hashlib
import importlib.util
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from autofreeze.phrases import listed

NAMES = ("autofreeze", "torch", "timm", "numpy")
"""Packages that a run uses on a worker. Ray compares itself, and Python, when a machine joins."""

MISSING = "not installed"


def versions_here() -> dict[str, str]:
    """Give the versions of Python and of what a run uses, and a digest of autofreeze's own code.

    What a version says behind ``+``, such as ``+cpu``, is left out: machines with GPUs and without have
    builds of their own.
    """
    found = {"python": platform.python_version()}
    for name in NAMES:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            found[name] = "" if importlib.util.find_spec(name) else MISSING
    return {**found, "code": code_digest()}


def code_digest() -> str:
    """Hash autofreeze's own modules to 8 hexadecimal digits: one version may have many states."""
    spec = importlib.util.find_spec("autofreeze")
    if spec is None or spec.origin is None:
        return ""
    root = Path(spec.origin).parent
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        found.update(path.relative_to(root).as_posix().encode() + b"\0")
        found.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return found.hexdigest()[:8]


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Say what another machine has that is not as here; empty where all is the same.

    Args:
        here: ``versions_here()`` of the driver.
        there: ``versions_here()`` of the other machine; what it does not tell is passed over.
    """
    told = there.keys() | {"autofreeze"}
    names = [name for name in here if name in told - {"code"} and there.get(name) != here[name]]
    found = [f"{name} {there.get(name) or 'unknown'} instead of {here[name] or 'unknown'}" for name in names]
    if "autofreeze" not in names and there.get("code") != here.get("code"):
        found.append(f"autofreeze {here['autofreeze']} in another state of its code")
    return listed(found) if found else ""
