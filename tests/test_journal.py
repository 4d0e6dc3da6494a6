"""The journal: what is written together reaches the disk once, and all that is written can be read."""

import os

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from autofreeze.journal import Journal


@pytest.fixture
def syncs(monkeypatch):
    """How often something waited for the disk, as a list that grows."""
    found = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (found.append(number), real(number))[1])
    return found


def study_in(backend):
    return optuna.create_study(
        study_name="s", storage=JournalStorage(backend), direction="maximize", load_if_exists=True
    )


def told(study):
    return [(one.number, one.state, one.params, one.user_attrs, one.values) for one in study.trials]


def ask(study):
    trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    trial.set_user_attr("note", "ü")
    study.tell(trial, 1.0)


def test_a_block_waits_for_the_disk_once_at_its_end(tmp_path, syncs):
    journal = Journal(tmp_path / "j")
    study = study_in(journal)
    before = len(syncs)
    with journal.together():
        with journal.together():
            ask(study)
        assert len(syncs) == before
    assert len(syncs) == before + 1
    ask(study)
    assert len(syncs) > before + 3  # each line on its own


def test_lines_of_a_block_that_was_broken_off_are_there_and_optuna_reads_them(tmp_path, syncs):
    journal = Journal(tmp_path / "j")
    study = study_in(journal)
    before = len(syncs)

    def broken_off():
        with journal.together():
            ask(study)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert len(syncs) == before + 1
    other = study_in(JournalFileBackend(str(tmp_path / "j")))
    assert told(other) == told(study)
    assert [one.values for one in other.trials] == [[1.0]]


def test_a_folder_that_goes_while_a_line_is_written_is_told_by_the_systems_error(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()
    journal = Journal(folder / "j")
    monkeypatch.setattr(os, "fsync", lambda _: folder.rename(tmp_path / "away"))
    with pytest.raises(FileNotFoundError):
        journal.append_logs([{"op_code": 0}])
