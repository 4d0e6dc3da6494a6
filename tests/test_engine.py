"""The engine: what is frozen is computed once, and no number changes by it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from autofreeze import engine as engines
from autofreeze import recipes
from autofreeze.api import search
from autofreeze.binding import Columns
from autofreeze.engine import Engine
from autofreeze.features import FeatureStores
from autofreeze.regime import Regime
from autofreeze.schedule import Phase, Schedule
from autofreeze.training import fit

CPU = torch.device("cpu")
FAMILIES = ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"]


def recipe(name, groups):
    rates = {"head_lr": 3e-3}
    return {
        "probe": lambda: recipes.linear_probe(groups, 2, **rates),
        "full": lambda: recipes.full(groups, 2, **rates),
        # Thaws in the middle of an epoch, one column after the other.
        "gradual": lambda: recipes.gradual(groups, 3, warmup_epochs=0.5, unfreeze_every=0.5, **rates),
        "one_block": lambda: recipes.one_block(groups, 2, block=1, warmup_epochs=1.0, **rates),
        "refrozen": lambda: refrozen(groups),
    }[name]()


def refrozen(groups):
    """Two columns train, then the head alone, upon a backbone that is no more as pretrained."""
    n = len(groups)
    deep = tuple(1e-2 if column >= n - 3 else None for column in range(n))
    head = tuple(1e-2 if column == n - 1 else None for column in range(n))
    return Schedule(groups=groups, phases=(Phase(epochs=1, lrs=deep), Phase(epochs=2, lrs=head)))


@pytest.fixture
def engine_of(backbone, examples, cutters):
    """``engine_of(folder)``: a new engine as another process would have it; None keeps nothing."""

    def make(folder, *, name="test_resnet", data=None, **options):
        data = data or examples()
        stores = None
        if folder is not None:
            ids = np.union1d(data.train, data.val)
            stores = FeatureStores(folder, ids=ids, n_images=len(data.labels), device=CPU, **options)
        engine = Engine(backbone(name), data.n_classes, CPU, stores, decoded="photos")
        if data.n_classes == 3:  # tracing and checking take most of the time of such small runs
            engine.cutter = cutters.setdefault(name, engine.cutter)
        return engine

    return make


@pytest.fixture(scope="module")
def cutters():
    """By model; one serves every engine of a process."""
    return {}


@pytest.fixture
def curve(backbone, examples):
    """``curve(engine, recipe)``: what the records of a whole run say, but for the seconds."""

    def train(engine, schedule="gradual", *, name="test_resnet", regime=None, data=None, seed=0, **fitting):
        data = data or examples()
        loaded = backbone(name)
        model = loaded.build(data.n_classes, seed=0)
        records = fit(
            model,
            Columns.of(model, loaded.groups),
            recipe(schedule, loaded.groups.names),
            regime or Regime(batch_size=7),
            data,
            seed=seed,
            engine=engine,
            **fitting,
        )
        told = [record.model_dump_json(exclude={"seconds"}) for record in records]
        return told, {key: value.clone() for key, value in model.state_dict().items()}

    return train


def same(one, other):
    """Whether two runs tell the same to the bit, and leave the same model to the bit."""
    return one[0] == other[0] and all(torch.equal(one[1][key], other[1][key]) for key in one[1])


# Caching changes the time, never the answer


@pytest.mark.parametrize("schedule", ["probe", "gradual", "one_block"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_run_is_the_same_to_the_bit_with_the_cache_off_cold_and_warm(
    engine_of, curve, tmp_path, name, schedule
):
    off = curve(engine_of(None, name=name), schedule, name=name)
    first = engine_of(tmp_path, name=name)
    cold = curve(first, schedule, name=name)
    shared = curve(first, schedule, name=name)
    warm = curve(engine_of(tmp_path, name=name), schedule, name=name)
    assert same(off, cold)
    assert same(off, shared)
    assert same(off, warm)
    assert first.stores.opened


@pytest.mark.parametrize("views", ["none", "flip", "bank:3", "online"])
def test_a_run_is_the_same_to_the_bit_with_every_kind_of_views(engine_of, curve, tmp_path, views):
    regime = Regime(batch_size=7, views=views, erase=0.5 if views in ("bank:3", "online") else 0.0)
    off = curve(engine_of(None), regime=regime)
    engine = engine_of(tmp_path)
    cold = curve(engine, regime=regime)
    assert same(off, cold)
    kinds = {"none": 1, "flip": 2, "bank:3": 4, "online": 1}[views]  # validation sees plain images
    assert len({kind for _, kind in engine._opened}) == kinds


def test_a_run_is_the_same_to_the_bit_after_its_features_were_evicted_or_lost(engine_of, curve, tmp_path):
    off = curve(engine_of(None))
    open_now = engine_of(tmp_path)
    curve(open_now)
    files = [path for path in (tmp_path / "features").iterdir() if path.is_file()]
    assert files
    for path in files:
        path.unlink()
    evicted = curve(open_now)
    refilled = curve(engine_of(tmp_path))
    assert same(off, evicted)
    assert same(off, refilled)
    assert len([path for path in (tmp_path / "features").iterdir() if path.suffix == ".json"]) == len(
        [path for path in files if path.suffix == ".json"]
    )


def test_a_run_is_the_same_to_the_bit_where_the_cache_holds_too_little(engine_of, curve, tmp_path):
    off = curve(engine_of(None))
    small = engine_of(tmp_path, budget_bytes=40_000)
    assert same(off, curve(small))
    assert any("--cache-size" in note for note in small.notes)


def test_a_run_is_the_same_to_the_bit_with_features_in_memory(engine_of, curve, tmp_path):
    not_a_folder = tmp_path / "file"
    not_a_folder.write_text("in the way")
    engine = engine_of(not_a_folder)
    assert same(curve(engine_of(None)), curve(engine))
    assert {store.tier for store in engine.stores.opened} == {"memory"}


def test_a_run_is_the_same_to_the_bit_in_another_process(engine_of, curve, tmp_path):
    here = curve(engine_of(tmp_path), "probe")
    # The other process finds the features here and reads them; a third one computes them again.
    code = f"""
import sys, torch
sys.path.insert(0, {str(Path(__file__).parent)!r})
torch.set_num_threads({torch.get_num_threads()})
from elsewhere import probe_curve
print(probe_curve({str(tmp_path)!r} if sys.argv[1] == "warm" else None))
"""
    for kind in ("warm", "off"):
        told = subprocess.run(
            [sys.executable, "-c", code, kind], capture_output=True, text=True, check=True
        ).stdout
        assert told.splitlines() == here[0]


def test_how_much_is_gathered_at_a_time_changes_no_bit(engine_of, curve, tmp_path, monkeypatch):
    whole = curve(engine_of(tmp_path))
    monkeypatch.setattr(engines, "WINDOW_BYTES", 1)
    assert same(whole, curve(engine_of(tmp_path)))
    assert same(whole, curve(engine_of(None)))


def test_trials_folds_and_seeds_share_the_same_features(engine_of, curve, examples, tmp_path):
    data = examples()
    engine = engine_of(tmp_path)
    curve(engine, "probe")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "features").glob("*.npy")}
    other_fold = replace(data, train=np.arange(12, 36), val=np.arange(12))
    regime = Regime(batch_size=5, optimizer="sgd", weight_decay=0.1)
    for seed in (1, 2):
        curve(engine, "probe", data=other_fold, regime=regime, seed=seed)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "features").glob("*.npy")}
    assert before == after


# The answer is that of the whole model


@pytest.mark.parametrize("schedule", ["probe", "gradual", "one_block", "full", "refrozen"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_engine_follows_the_whole_model_up_to_rounding(engine_of, curve, tmp_path, name, schedule):
    # Not Adam: its first steps are ±rate, and rounding decides the sign where a gradient is nearly zero.
    regime = Regime(batch_size=7, optimizer="sgd")
    whole = curve(None, schedule, name=name, regime=regime)[1]
    cut = curve(engine_of(tmp_path, name=name), schedule, name=name, regime=regime)[1]
    for key in whole:
        torch.testing.assert_close(cut[key], whole[key], rtol=2e-3, atol=2e-4, msg=key)


def test_features_of_layers_that_have_trained_are_never_taken_from_the_store(engine_of, curve, tmp_path):
    engine = engine_of(tmp_path)
    curve(engine, "probe")  # the store has features below the head
    trained = curve(engine, "refrozen")
    assert same(trained, curve(engine_of(None), "refrozen"))
    lowest = {key[0] for key in engine._opened}
    assert lowest == {len(engine.backbone.groups) - 1, len(engine.backbone.groups) - 3}


def test_a_full_run_needs_no_cut(engine_of, curve, tmp_path):
    engine = engine_of(tmp_path)
    assert same(curve(engine, "full"), curve(None, "full"))
    assert not engine.stores.opened


def test_not_one_bit_of_what_is_frozen_moves(engine_of, curve, backbone, tmp_path):
    groups = backbone().groups
    fresh = backbone().build(3, seed=0).state_dict()
    after = curve(engine_of(tmp_path), "probe")[1]
    head = set(groups.head.parameters)
    assert all(torch.equal(fresh[key], after[key]) for key in fresh if key not in head)
    assert not any(torch.equal(fresh[key], after[key]) for key in head)


def test_a_run_goes_on_from_its_checkpoint_as_if_unbroken(engine_of, curve, backbone, examples, tmp_path):
    unbroken = curve(engine_of(tmp_path), "gradual")
    loaded, data = backbone(), examples()
    for stop in (1, 2):
        file = tmp_path / f"{stop}.pt"
        model = loaded.build(3, seed=0)
        records = fit(
            model, Columns.of(model, loaded.groups), recipe("gradual", loaded.groups.names),
            Regime(batch_size=7), data, seed=0, checkpoint=file, engine=engine_of(tmp_path),
        )  # fmt: skip
        for _ in range(stop):
            next(records)
        records.close()
        assert same(unbroken, curve(engine_of(tmp_path), "gradual", checkpoint=file))


def test_a_model_that_cannot_be_cut_runs_whole_and_says_so(engine_of, curve, examples, tmp_path):
    engine = engine_of(tmp_path, data=examples(n_classes=4))  # a cutter of its own
    engine.n_classes = 3
    engine.cutter._template.grad_checkpointing = True
    assert same(curve(engine, "gradual"), curve(None, "gradual"))
    assert engine.notes == (
        "test_resnet runs whole in every step, frozen layers too: gradient checkpointing is on",
    )


# A whole search


def records(run):
    """Every record of a run folder, without what a clock says."""

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(own) for key, own in value.items() if key not in ("seconds", "at")}
        return [plain(own) for own in value] if isinstance(value, list) else value

    return [plain(json.loads(line)) for line in (run / "records.jsonl").read_text().splitlines()]


def test_a_search_finds_the_same_to_the_bit_with_and_without_what_is_kept(class_folders, tmp_path):
    space = tmp_path / "shallow.yaml"
    space.write_text(
        "unfreeze_depth: {low: 0, high: 1}\nhead_lr: {low: 1.0e-3, high: 1.0e-2, log: true}\nviews: bank:2\n"
    )
    for name, reuse in (("kept", True), ("anew", False), ("later", True)):
        search(
            class_folders, "test_resnet", from_scratch=True, image_size=32, out=tmp_path / name,
            trials=6, epochs=2, folds=2, confirm=0, space=str(space), reuse=reuse,
            cache_folder=str(tmp_path),
        )  # fmt: skip
    kept = records(tmp_path / "kept")
    assert len(kept) > 10
    assert any("members" in line["record"] for line in kept)
    assert kept == records(tmp_path / "anew")
    assert kept == records(tmp_path / "later")


def test_a_report_says_what_could_not_be_cut_or_kept(class_folders, tmp_path):
    result = search(
        class_folders, "test_resnet", from_scratch=True, image_size=32, out=tmp_path / "run", trials=3,
        epochs=1, folds=1, confirm=0, cache_folder=str(tmp_path), cache_bytes=200_000,
    )  # fmt: skip
    assert any("are not stored, and computed again for each batch" in line for line in result.engine)
    assert f"engine: {result.engine[0]}"[:60] in (tmp_path / "run" / "report.md").read_text()
