"""Recorded tables: read as they were written, torn, packed, and those that are shipped."""

import lzma
from pathlib import Path

import numpy as np
import pytest

from autofreeze.errors import ConfigError
from autofreeze.metrics import score
from autofreeze.recorded import tables
from autofreeze.recorded.tables import CellFacts, RecordedRun, line_of_run, read_table, write_table

REPLAY = Path(__file__).parents[1] / "benchmarks" / "replay"
SHIPPED = sorted(REPLAY.glob("*.jsonl.xz"))


@pytest.fixture
def facts(made_up):
    return CellFacts(
        kind="depth", data="made up", fingerprint="f", model="m", weights="w", source="s", image_size=32,
        epochs=3, metric="top1", seed=0, groups=made_up.groups, work_shares=(0.4, 0.3, 0.2, 0.1),
        classes=("a", "b"), labels=tuple(np.arange(40) % 2), train=tuple(range(40)), command="", versions={},
        machine={},
    )  # fmt: skip


@pytest.fixture
def runs(made_up):
    jobs = [
        made_up.job(trial, head_lr=1e-3 * (trial + 1)).model_copy(update={"fresh": fresh, "seed": fresh})
        for fresh in range(3)
        for trial in range(2)
    ]
    return tuple(
        RecordedRun(
            origin="made up", job=job, n_train=60, val=tuple(range(40)), records=tuple(made_up.curve(job))
        )
        for job in jobs
    )


def test_a_table_is_read_as_it_was_written(tmp_path, facts, runs):
    write_table(tmp_path / "t.jsonl.xz", facts, runs)
    table = read_table(tmp_path / "t.jsonl.xz")
    assert table.facts == facts
    assert table.runs == runs


def test_a_recording_that_was_killed_within_a_line_gives_the_lines_before_it(tmp_path, facts, runs):
    file = tmp_path / "t.jsonl"
    text = facts.model_dump_json() + "\n" + "".join(map(line_of_run, runs))
    file.write_text(text[:-30])
    assert read_table(file).runs == runs[:-1]


def test_a_run_is_found_by_what_was_trained_and_with_which_fresh_seed(tmp_path, facts, runs):
    write_table(tmp_path / "t.jsonl.xz", facts, runs)
    by_key = read_table(tmp_path / "t.jsonl.xz").by_key
    assert len(by_key) == len(runs)
    for run in runs:
        assert by_key[run.job.settings_digest, 0, run.job.fresh] == run


def test_a_table_that_unpacks_to_gigabytes_is_refused_before_they_are_there(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_BYTES", 10_000)
    file = tmp_path / "t.jsonl.xz"
    file.write_bytes(lzma.compress(b"0" * 10_001))
    with pytest.raises(ConfigError, match="holds over 10,000 bytes"):
        read_table(file)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no table\n",
        lzma.compress(b"{}\n"),
        lzma.compress(b"\xff\xfe\n"),
        lzma.compress(b"{}\n" * 99)[:-20],
        b'{"kind": 1}\n',
    ],
)
@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.xz"])
def test_what_is_no_table_is_refused_in_one_line_with_its_name(tmp_path, name, data):
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_table(file)
    assert str(file) in str(caught.value)


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_table(tmp_path / "none.jsonl.xz")


# Those that are shipped


def test_two_cells_have_both_kinds_of_table_and_three_are_broad():
    if not SHIPPED:
        pytest.skip("no tables beside this checkout")
    kinds = {file.name.split(".")[1]: [] for file in SHIPPED}
    for file in SHIPPED:
        kinds[file.name.split(".")[1]].append(file)
    assert len(kinds["breadth"]) >= 2
    assert len(kinds["depth"]) >= 2


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_a_shipped_table_is_small_and_whole_and_its_values_follow_from_its_predictions(file):
    assert file.stat().st_size < 400_000
    table = read_table(file)
    if table.facts.kind == "breadth":
        assert len({run.job.settings_digest for run in table.runs}) >= 150
    else:
        schedules = {run.job.settings_digest for run in table.runs}
        seeds = {run.job.seed for run in table.runs}
        assert len(schedules) >= 6
        assert len(seeds) >= 24
        assert len(table.by_key) == len(schedules) * len(seeds)
    for run in table.runs[::10]:
        assert run.end.last
        assert set(run.val) <= set(table.facts.train)
        for record in run.records:
            labels = table.labels[np.asarray(run.val)]
            found = score(table.facts.metric, labels, record.predicted_classes, record.val_loss)
            assert found == pytest.approx(record.value)
