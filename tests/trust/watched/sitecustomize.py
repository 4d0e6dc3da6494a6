"""Python imports this as it starts: a process with this folder on PYTHONPATH is watched; see ``guard``."""

import importlib.util
import os
from pathlib import Path

if "TRUST_LOG" in os.environ:
    file = Path(__file__).parents[1] / "guard.py"
    spec = importlib.util.spec_from_file_location("trust_guard", file)
    assert spec is not None
    assert spec.loader is not None
    guard = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["trust_guard"] = guard  # dataclasses look their module up
    spec.loader.exec_module(guard)
    guard.watch_from_environment()
