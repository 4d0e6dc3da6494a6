"""From a run folder to an exported file."""

from pathlib import Path

from autofreeze.errors import ConfigError
from autofreeze.export.native import NativeFile, native_file
from autofreeze.records import read_records
from autofreeze.report.files import read_report
from autofreeze.results import Ending, StudyResult, TrialResult, curve_of
from autofreeze.scoring import curves_of


def export_run(run_folder: str | Path, *, trial: int | None = None) -> NativeFile:
    """Give a trial of a search as a native file, the best one when none is named.

    Raises:
        RunFolderError: There is no report.
        ConfigError: The trial does not exist, or none was completed.
    """
    result = read_report(run_folder)
    chosen = _choose(result, trial)
    origin = chosen.same_as if chosen.same_as is not None else chosen.number
    records = read_records(Path(run_folder)).get((origin, 0), [])
    own = curves_of({0: records}, chosen.member)[0]
    curve = curve_of(own)
    if result.kind == "own":
        shown = [point.model_copy(update={"value": result.scale.shown(point.value)}) for point in curve]
        curve = tuple(shown)
    return native_file(result, chosen, curve)


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
