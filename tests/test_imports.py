"""Heavy imports stay at the edges."""

import subprocess
import sys

import pytest

import autofreeze

HEAVY = ("torch", "torchvision", "timm", "optuna", "ray")

CORE = (
    "errors", "values", "schedule", "regime", "documents", "recipes", "space", "baselines", "cost", "groups",
    "metrics", "pruning", "stability", "results", "budget", "seeds", "job", "task", "records",
    "preprocessing", "bytesize", "status", "statusfile", "pulse",
)  # fmt: skip


def run(code: str) -> str:
    report = f"\nimport sys; print('loaded:', *[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(code: str) -> list[str]:
    return run(code).splitlines()[-1].split()[1:]


def test_the_check_itself_sees_a_heavy_import():
    assert loaded("import optuna") == ["optuna"]


def test_the_core_loads_nothing_heavy():
    assert loaded("\n".join(f"import autofreeze.{module}" for module in CORE)) == []


@pytest.mark.parametrize("package", ["report", "export"])
def test_reports_and_exports_load_nothing_heavy(package):
    code = (
        f"import importlib, pkgutil, autofreeze.{package} as p\n"
        "modules = [m.name for m in pkgutil.walk_packages(p.__path__, p.__name__ + '.')]\n"
        "assert modules\n"
        "for name in modules: importlib.import_module(name)\n"
    )
    assert loaded(code) == []


@pytest.mark.parametrize("arguments", [["--help"], ["search", "--help"], ["status", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    code = f"from autofreeze.cli import main\nassert main({arguments!r}) == 0"
    out = run(code)
    assert "Usage" in out
    assert out.splitlines()[-1] == "loaded:"


def test_the_values_that_the_package_offers_load_nothing_heavy():
    heavy = (
        "search",
        "search_all",
        "train",
        "predict",
        "Predictions",
        "bind",
        "BoundSchedule",
        "MedianAfterUnfreezePruner",
    )
    light = [name for name in autofreeze.__all__ if name not in heavy]
    assert light
    assert loaded(f"from autofreeze import {', '.join(light)}") == []
