"""Checks as parameters of a test."""

from collections.abc import Container, Sequence
from typing import Any

import pytest

from trust.check import Check


def cases(checks: Sequence[Check], *, long: Container[str] = ()) -> list[Any]:
    """Give checks to ``pytest.mark.parametrize``, under their names.

    Args:
        checks: Of a family; what starts Ray is marked ``ray``.
        long: Names of those that are marked ``long``.
    """
    return [
        pytest.param(
            one,
            id=one.name,
            marks=[pytest.mark.ray] * one.ray + [pytest.mark.long] * (one.name in long),
        )
        for one in checks
    ]
