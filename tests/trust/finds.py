"""Hostile input, given to what reads it under a guard; what goes wrong is collected.

An input may start nothing, write nothing outside its folder and eat no memory. What comes of it must be a
success or an ``AutofreezeError``; of a command the exit status 0, 1 or 2.
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from trust.check import Effort, Outcome
from trust.guard import guarded
from trust.numbers import in_process

MEMORY = 1 << 30
"""Bytes by which one input may make the process grow."""


@dataclass
class Finds:
    """What went wrong: the shortest input of each kind."""

    memory: int = MEMORY
    """Bytes by which an input may make the process grow."""

    tried: int = 0
    kinds: dict[str, str] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, given: object) -> None:
        """Keep an input that went wrong."""
        shown = repr(given)[:1500]
        if kind not in self.kinds or len(shown) < len(self.kinds[kind]):
            self.kinds[kind] = shown

    def attempt(self, what: str, given: object, act: Callable[[], object], folder: Path) -> object:
        """Do what must succeed or be refused in plain words; its result, or None."""
        from autofreeze.errors import AutofreezeError

        result = None
        with guarded([folder], memory=self.memory) as seen:
            try:
                result = act()
                end = "read"
            except AutofreezeError as error:
                end = "refused"
                if not str(error).strip():
                    self.add(f"{what}: refused without a word", given)
            except Exception as error:  # noqa: BLE001 - whatever else comes is the find
                end = "wrong"
                self.add(f"{what}: {_place(error)}", (str(error)[:200], given))
        self.ends[end] = self.ends.get(end, 0) + 1
        for one in seen:
            self.add(f"{what}: {one}", given)
        return result

    def command(self, given: object, folder: Path, *arguments: object) -> tuple[int, str]:
        """Run a command that must end with 0, 1 or 2, and show nothing that drives a terminal."""
        with guarded([folder], memory=self.memory) as seen:
            status, told = in_process(*arguments)
        name = f"autofreeze {arguments[0]}"
        self.ends[f"status {status}"] = self.ends.get(f"status {status}", 0) + 1
        if status not in (0, 1, 2) or "Traceback (most recent call last)" in told:
            self.add(f"{name}: status {status}, {told.strip()[-400:]}", given)
        if status and not told.strip():
            self.add(f"{name}: status {status} without a word", given)
        if any(not letter.isprintable() and letter != "\n" for letter in told):
            self.add(f"{name}: shows control characters", given)
        for one in seen:
            self.add(f"{name}: {one}", given)
        return status, told

    def outcome(self) -> Outcome:
        """Give what came of all."""
        note = ", ".join(f"{count:,} {end}" for end, count in sorted(self.ends.items()))
        return Outcome(
            tried=self.tried,
            wrong=[f"{kind}: given {shown}" for kind, shown in self.kinds.items()],
            note=note,
        )


def _place(error: Exception) -> str:
    ours = [one for one in traceback.extract_tb(error.__traceback__) if "/autofreeze/" in one.filename]
    where = f" at {ours[-1].filename.rpartition('/autofreeze/')[2]}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}{where}"


def with_examples(
    effort: Effort, strategy: st.SearchStrategy[Any], body: Callable[[Finds, Any], None]
) -> Outcome:
    """Try so many examples of a strategy; what goes wrong is collected, so that one find hides no other."""
    finds = Finds()

    @seeded(effort.seed)
    @settings(
        max_examples=effort.times, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def each(example: Any) -> None:
        finds.tried += 1
        body(finds, example)

    each()
    while finds.tried < effort.times:  # few examples can be all there are
        each()
    return finds.outcome()
