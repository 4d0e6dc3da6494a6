"""A check of trust: what is done, how often, and what came of it."""

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How hard a check is to try."""

    times: int
    """Instants, inputs or repetitions; a check may not do fewer."""

    seed: int
    """Everything random follows from it, but what a clock decides."""

    folder: Path
    """An empty folder of its own."""

    @property
    def rng(self) -> random.Random:
        """Give a new generator, always the same."""
        return random.Random(self.seed)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a check."""

    tried: int
    lost: Sequence[str] = ()
    """What had been completed and was gone or doubled afterwards: a sentence for each case."""

    wrong: Sequence[str] = ()
    """Anything else that must not be: a torn file, a traceback, a message without help, another number."""

    recovery: Sequence[float] = ()
    """Seconds from each start after a fault until the work went on; empty where nothing has to recover."""

    note: str = ""
    """What there is to know beside: peak memory, how many instants hit what. One short sentence."""

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain data."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Check:
    """A fault or an input, and how to try it.

    Args:
        name: Words joined by hyphens, the first one those of its family: ``kill-search``.
        fault: What is done, for the table: ``kill -9 of a search, then --resume``.
        run: Tries it. Raises only when the check itself is broken.
        quick: How often pytest tries it.
        long: How often ``--long`` does.
        ray: Whether it starts Ray.
    """

    name: str
    fault: str
    run: Callable[[Effort], Outcome] = field(repr=False)
    quick: int
    long: int
    ray: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def family(self) -> str:
        """Give the first word of its name."""
        return self.name.split("-", 1)[0]

    def try_few(self, folder: Path, seed: int = 0) -> Outcome:
        """Try it as pytest does.

        Raises:
            AssertionError: Something was lost or wrong, or it was tried less often than it should be.
        """
        outcome = self.run(Effort(times=self.quick, seed=seed, folder=folder))
        assert outcome.tried >= self.quick, f"tried {outcome.tried} times, not {self.quick}"
        assert not outcome.lost, "\n".join(outcome.lost)
        assert not outcome.wrong, "\n".join(outcome.wrong)
        return outcome
