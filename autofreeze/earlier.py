"""Run folders of earlier searches, read to begin where they ended."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from autofreeze.errors import ConfigError, RunFolderError
from autofreeze.report.files import read_any
from autofreeze.results import SummaryResult
from autofreeze.run import read_about
from autofreeze.space import Space
from autofreeze.values import explain
from autofreeze.warmstart import Earlier, WarmStarts, gather, winners_of


def warm_starts(
    runs: Sequence[str | Path],
    out: Path,
    *,
    resume: bool,
    space: Space,
    work_shares: Sequence[float],
    trials: int,
) -> WarmStarts:
    """Give what a search begins with. One that is resumed keeps what it had, whatever has become of the runs.

    Args:
        runs: Run folders of earlier searches.
        out: The run folder of this one.
        resume: Whether it is taken up again.
        space: What may be tried.
        work_shares: Of this model: share of forward work by column.
        trials: Trials of the search in all.

    Raises:
        ConfigError: Some run cannot be used; what is wrong with each is told.
        RunFolderError: What this one had is damaged.
    """
    if resume and (out / "run.json").exists():
        kept = _kept(out)
        if not runs or list(kept.runs) == names_of(runs):
            return kept
    return gather(read_earlier(runs, out), space, work_shares, trials)


def _kept(out: Path) -> WarmStarts:
    try:
        return WarmStarts.model_validate(read_about(out)["identity"].get("warm_start", {}))
    except ValidationError as error:
        raise RunFolderError(
            [f"run.json is damaged: warm_start.{line}" for line in explain(error)], where=str(out)
        ) from None


def read_earlier(runs: Sequence[str | Path], out: str | Path) -> tuple[Earlier, ...]:
    """Read the searches that one is to begin with; one that is named twice counts once.

    Args:
        runs: Their run folders.
        out: The run folder of the search that is to begin, or that of several data sets above it.

    Raises:
        ConfigError: Some cannot be used; what is wrong with each is told.
    """
    found: dict[Path, Earlier] = {}
    problems: list[str] = []
    for run in runs:
        here = Path(run).resolve()
        try:
            _check_other(here, Path(out).resolve())
            found.setdefault(here, _read(here, name_of(run)))
        except RunFolderError as error:
            problems += [f"warm-start: {name_of(run)}: {line}" for line in error.problems]
    if problems:
        raise ConfigError(problems)
    return tuple(found.values())


def names_of(runs: Iterable[str | Path]) -> list[str]:
    """Give how run folders are called in a report, each once."""
    return list(dict.fromkeys(name_of(run) for run in runs))


def name_of(run: str | Path) -> str:
    """Give how a run folder is called in a report: as it was given."""
    return Path(run).as_posix()


def _check_other(run: Path, out: Path) -> None:
    if run == out:
        raise RunFolderError("is the run folder of this search itself; name an earlier one")


def _read(run: Path, name: str) -> Earlier:
    report = read_any(run)
    if isinstance(report, SummaryResult):
        inside = ", ".join(f"{name}/{one.name}" for one in report.datasets)
        raise RunFolderError(f"holds several data sets; name one of them: {inside}")
    read_about(run)  # refuses one of another schema
    if not winners_of(report):
        raise RunFolderError("has no complete trial that a search could begin with")
    return Earlier(name, report)
