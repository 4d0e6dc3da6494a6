"""From a run folder, or a file that was exported before, to a native file."""

import json
from pathlib import Path
from typing import NamedTuple

from autofreeze.errors import ConfigError, RunFolderError
from autofreeze.export.native import NativeFile, native_file
from autofreeze.records import read_records
from autofreeze.report.files import REPORT, folder_of, read_report
from autofreeze.results import Ending, StudyResult, TrialResult, curve_of, ended_trials
from autofreeze.scoring import curves_of
from autofreeze.values import digest_of


class Source(NamedTuple):
    """What is exported, and what a user should know of where it comes from."""

    native: NativeFile
    remarks: tuple[str, ...] = ()


def open_source(source: str | Path, *, dataset: str | None = None, trial: int | None = None) -> Source:
    """Open what is to be exported.

    Args:
        source: Run folder of a search, or a native file.
        dataset: Which data set of a run folder that holds several.
        trial: Which trial of a run folder; the best one when left out.

    Raises:
        RunFolderError: There is no report.
        ConfigError: The trial does not exist or was not completed, or the file is wrong.
    """
    source = Path(source)
    if source.is_file():
        given = [name for name, value in (("dataset", dataset), ("trial", trial)) if value is not None]
        if given:
            raise ConfigError(
                f"{' and '.join(given)}: {source} is a file with one schedule; only a run folder has more"
            )
        return Source(NativeFile.load(source))
    folder = folder_of(source, dataset)
    result = read_report(folder)
    return Source(_native_of(folder, result, trial), _remarks(result))


def export_run(run_folder: str | Path, *, trial: int | None = None) -> NativeFile:
    """Give a trial of a search as a native file, the best one when none is named.

    Raises:
        RunFolderError: There is no report.
        ConfigError: The trial does not exist, or none was completed.
    """
    return _native_of(Path(run_folder), read_report(run_folder), trial)


def _native_of(run_folder: Path, result: StudyResult, trial: int | None) -> NativeFile:
    chosen = _choose(result, trial)
    records = read_records(run_folder, {chosen.origin}).get((chosen.origin, 0), [])
    own = curves_of({0: records}, chosen.member)[0]
    curve = curve_of(own)
    if result.kind == "own":
        shown = [point.model_copy(update={"value": result.scale.shown(point.value)}) for point in curve]
        curve = tuple(shown)
    try:
        return native_file(result, chosen, curve, study=_study_of(run_folder))
    except (ValueError, LookupError, TypeError):  # a report keeps facts of data and backbone unread
        raise RunFolderError(
            f"{REPORT} is damaged: it tells nothing of data or backbone that a schedule file could keep; "
            "put a copy of it in its place",
            where=str(run_folder),
        ) from None


def _study_of(run_folder: Path) -> str:
    """Hash what the run folder says was searched; nothing where it does not say."""
    try:
        about = json.loads((run_folder / "run.json").read_text(encoding="utf-8"))
        return digest_of(about["identity"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _remarks(result: StudyResult) -> tuple[str, ...]:
    """Say that a search has not come to its end."""
    if not result.cut_short:
        return ()
    asked = result.settings.get("trials")
    of = f" of {asked}" if asked else ""
    return (
        f"the search has not come to its end ({result.cut_short}): {ended_trials(result.trials)}{of} trials; "
        "a later best may be another",
    )


def _choose(result: StudyResult, number: int | None) -> TrialResult:
    if number is None:
        if result.best is None:
            raise ConfigError("no trial was completed, so there is no best schedule to export")
        return result.best
    found = [trial for trial in result.trials if trial.number == number]
    if not found:
        raise ConfigError(f"trial: got {number}; the search has trials 0..{len(result.trials) - 1}")
    if found[0].ending is Ending.FAILED:
        raise ConfigError(f"trial {number} failed: {found[0].reason}")
    return found[0]
