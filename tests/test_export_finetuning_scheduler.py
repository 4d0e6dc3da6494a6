"""Schedules for finetuning-scheduler: what it can say, and its own callback run by Lightning's Trainer."""

import ast
import copy
import itertools
import math
import re

import pytest
import torch
import yaml
from exported import TABLES, Observer, follows, native_of
from hypothesis import given
from hypothesis import strategies as st

from autofreeze import recipes
from autofreeze.export.fidelity import Fidelity
from autofreeze.export.targets.finetuning_scheduler import FinetuningSchedulerExporter
from autofreeze.export.thawing import thaw_only, thaws_of
from autofreeze.regime import Regime
from autofreeze.schedule import Phase, Schedule

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        # Lightning with a newer torch than it was made with.
        ".*LeafSpec.*is deprecated:FutureWarning",
        # Lightning's advice, on what the tests do without.
        ".*does not have many workers.*:UserWarning:lightning",
        # finetuning-scheduler's, on the epoch of the last phase, which it asks for and then passes over.
        "Final phase max_transition_epoch.*:UserWarning",
    )
]

EXPORTER = FinetuningSchedulerExporter()
APPROXIMATE = ("lp_ft in mid-epoch", "chain_thaw", "refrozen")
EXACT = tuple(table for table in TABLES if table not in APPROXIMATE)
GROUPS = ("stem", "layer1", "layer2", "layer3", "layer4", "head")


@pytest.fixture
def case(backbone, tmp_path):
    """``case(table)``: native file, model, and what was written."""

    def make(table, name="test_resnet", **changes):
        loaded = backbone(name)
        model = loaded.build(3, seed=0)
        schedule = TABLES[table](loaded.groups.names) if isinstance(table, str) else table
        file = native_of(model, loaded.groups, schedule, name=name, **changes)
        return file, model, EXPORTER.write(file)

    return make


@pytest.mark.parametrize("table", TABLES)
def test_what_thaws_at_whole_epochs_and_stays_so_is_exact(table, case):
    file, _, _ = case(table)
    expected = Fidelity.APPROXIMATE if table in APPROXIMATE else Fidelity.WITH_CALLBACK
    assert EXPORTER.assess(file).fidelity is expected


# The nearest of what it cannot say


def test_rows_that_only_thaw_are_left_as_they_are(case):
    for table in EXACT:
        schedule = TABLES[table](GROUPS)
        assert thaw_only(schedule) == (schedule, ())


def test_a_thaw_within_an_epoch_moves_to_the_nearest_start_of_one():
    nearest, differences = thaw_only(TABLES["lp_ft in mid-epoch"](GROUPS))
    assert nearest == recipes.lp_ft(GROUPS, 4, warmup_epochs=2, head_lr=4e-3)
    assert differences == (
        "thaws come as an epoch begins: stem, layer1, layer2, layer3 and layer4 after 2 epochs instead of "
        "1.5",
    )


def test_what_the_schedule_freezes_again_trains_on_at_its_rate():
    nearest, differences = thaw_only(TABLES["refrozen"](GROUPS))
    assert [phase.lrs for phase in nearest.phases] == [(None, None, None, 4e-4, 4e-4, 4e-3)] * 3
    assert [phase.epochs for phase in nearest.phases] == [1, 1, 2]
    assert differences == (
        "nothing that has thawed is frozen again, but trains on at the rate that it had; the schedule "
        "freezes layer3 after 1 epoch and layer4 after 1 epoch",
    )


def test_rows_give_way_and_what_they_thaw_is_not_lost():
    nearest, differences = thaw_only(recipes.chain_thaw(GROUPS, 3, head_lr=4e-3))
    assert [(thaw.epoch, tuple(thaw.lrs)) for thaw in thaws_of(nearest)] == [
        (0, ("stem", "head")),
        (1, ("layer1", "layer2")),
        (2, ("layer3", "layer4")),
    ]
    assert "stem from the start instead of 0.428571; layer1 after 1 epoch instead of 0.85" in differences[0]
    assert "the schedule freezes head after 0.428571 epochs, stem after 0.857143 epochs" in differences[1]


def test_every_thaw_that_moves_is_told():
    rows = [(1.6, (None, None, 1e-3)), (0.2, (None, 1e-3, 1e-3)), (1.2, (1e-3, 1e-3, 1e-3))]
    phases = tuple(Phase(epochs=epochs, lrs=lrs) for epochs, lrs in rows)
    nearest, differences = thaw_only(Schedule(groups=("stem", "body", "head"), phases=phases))
    assert [phase.epochs for phase in nearest.phases] == [2, 1]
    assert differences == (
        "thaws come as an epoch begins: body after 2 epochs instead of 1.6; stem after 2 epochs instead of "
        "1.8",
    )


def test_rates_that_change_just_before_a_thaw_give_way_to_it():
    rows = [(0.3, (None, 1e-3)), (0.3, (None, 2e-3)), (0.3, (1e-3, 2e-3))]
    phases = tuple(Phase(epochs=epochs, lrs=lrs) for epochs, lrs in rows)
    nearest, _ = thaw_only(Schedule(groups=("body", "head"), phases=phases))
    assert nearest.phases == (Phase(epochs=0.9, lrs=(1e-3, 2e-3)),)


cells = st.none() | st.sampled_from([1e-4, 2e-4, 1e-3])
tables = st.lists(
    st.tuples(
        st.sampled_from([0.3, 0.5, 1.0, 1.2, 2.0]),
        st.tuples(cells, cells, cells).filter(lambda row: any(row)),
    ),
    min_size=1,
    max_size=6,
).map(
    lambda rows: Schedule(
        groups=("stem", "body", "head"), phases=tuple(Phase(epochs=e, lrs=lrs) for e, lrs in rows)
    )
)


@given(tables)
def test_the_nearest_of_any_table_only_thaws_and_only_at_whole_epochs(schedule):
    nearest, differences = thaw_only(schedule)
    assert thaw_only(nearest) == (nearest, ())
    assert (nearest == schedule) == (not differences)
    assert nearest.epochs == schedule.epochs
    ever = [any(phase.lrs[column] for phase in schedule.phases) for column in range(3)]
    assert [any(phase.lrs[column] for phase in nearest.phases) for column in range(3)] == ever
    start = 0.0
    for before, after in itertools.pairwise(nearest.phases):
        start += before.epochs
        assert not any(old and not new for old, new in zip(before.lrs, after.lrs, strict=True))
        if any(new and not old for old, new in zip(before.lrs, after.lrs, strict=True)):
            assert start == pytest.approx(round(start), abs=1e-9)


@given(tables)
def test_whatever_thaws_has_moved_by_half_an_epoch_at_most_or_to_the_last(schedule):
    nearest, _ = thaw_only(schedule)
    for column in range(3):
        was, now = (first_epoch(one, column) for one in (schedule, nearest))
        latest = pytest.approx(math.ceil(schedule.epochs) - 1)
        assert was == now == math.inf or abs(was - now) <= 0.5 + 1e-9 or now == latest


def first_epoch(schedule, column):
    start = 0.0
    for phase in schedule.phases:
        if phase.lrs[column]:
            return start
        start += phase.epochs
    return math.inf


# The schedule's file


@pytest.mark.parametrize("table", TABLES)
def test_the_file_names_every_parameter_when_it_thaws(table, case):
    file, model, texts = case(table)
    schedule = yaml.safe_load(texts[0].text)
    assert list(schedule) == list(range(len(schedule)))
    names = [f"model.{name}" for name, _ in model.named_parameters()]
    thawed = [
        {name for name in names if any(re.match(pattern, name) for pattern in phase["params"])}
        for phase in schedule.values()
    ]
    expected = [
        {f"model.{name}" for group in thaw.lrs for name in file.backbone.groups[group]}
        for thaw in thaws_of(thaw_only(file.schedule)[0])
    ]
    assert thawed == expected
    later = list(zip(schedule.values(), thaws_of(thaw_only(file.schedule)[0]), strict=True))[1:]
    assert all(phase["lr"] == [*thaw.lrs.values()][-1] for phase, thaw in later)
    assert "lr" not in schedule[0]
    assert [*schedule.values()][-1]["max_transition_epoch"] == math.ceil(file.schedule.epochs)


def test_small_rates_are_numbers_to_yaml_too(case):
    schedule = recipes.lp_ft(GROUPS, 2, warmup_epochs=1, head_lr=1e-4, rates="one", backbone_ratio=0.1)
    assert yaml.safe_load(case(schedule)[2][0].text)[1]["lr"] == 1e-5


def test_a_module_is_not_taken_for_one_whose_name_begins_alike(case):
    file, _, _ = case("linear_probe")
    groups = {"body": ("blocks.1.weight", "pos"), "head": ("blocks.10.weight", "pos_head")}
    schedule = recipes.lp_ft(tuple(groups), 2, warmup_epochs=1, head_lr=1e-3)
    facts = file.backbone.model_copy(update={"groups": groups, "modes": {"": "head"}})
    texts = EXPORTER.write(file.model_copy(update={"backbone": facts, "schedule": schedule}))
    names = [f"model.{name}" for group in groups.values() for name in group]
    matched = [
        [name for name in names if any(re.match(pattern, name) for pattern in phase["params"])]
        for phase in yaml.safe_load(texts[0].text).values()
    ]
    assert matched == [names[2:], names[:2]]


def test_names_that_are_no_plain_text_are_read_back(case):
    file, _, _ = case("linear_probe")
    odd = "f'c\n\u2028: #.weight"
    facts = file.backbone.model_copy(update={"groups": {**file.backbone.groups, "head": (odd,)}})
    text = EXPORTER.write(file.model_copy(update={"backbone": facts}))[0].text
    (pattern,) = yaml.safe_load(text)[0]["params"]
    assert re.match(pattern, f"model.{odd}")


def test_the_callback_that_keeps_it_still_is_short(case):
    tree = ast.parse(case("lp_ft")[2][1].text)
    lengths = {
        node.name: node.end_lineno - node.lineno + 1 for node in tree.body if isinstance(node, ast.ClassDef)
    }
    assert lengths["KeepFrozenStill"] <= 20


# Conformance


@pytest.fixture
def fitted():
    pytest.importorskip("finetuning_scheduler", reason="finetuning-scheduler is in the extra `conformance`")
    import fitted

    return fitted


@pytest.fixture
def fit(fitted, tmp_path):
    """``fit(model, texts)``: train by what was written, and give what was seen."""
    import finetuning_scheduler as fts

    def run(
        model,
        texts,
        *,
        still=True,
        extra=(),
        attribute="model",
        schedule="",
        resumed=None,
        ckpt_path=None,
        own=None,
        kind=None,
        **options,
    ):
        path = tmp_path / "best.yaml"
        path.write_text(schedule or texts[0].text)
        written = fitted.module_of(texts[1].text, tmp_path, "best_callback")
        module = (kind or fitted.Classifier)(
            model, lambda module: written.ByLayer(module.get_submodule(attribute)), attribute
        )
        callbacks = [
            fts.FinetuningScheduler(
                str(path), epoch_transitions_only=True, restore_best=False, **(own or {})
            ),
            fts.FTSCheckpoint(monitor=None, save_top_k=0),
            written.ScheduledRates(),
            *([written.KeepFrozenStill(attribute)] if still else []),
            *extra,
        ]
        trainer = fitted.trainer(tmp_path, callbacks, max_epochs=7, enable_checkpointing=True, **options)
        trainer.ckpt_path = resumed
        with Observer(model) as observer:
            trainer.fit(module, fitted.loader(), fitted.loader(1), ckpt_path=ckpt_path)
        return observer.seen

    return run


@pytest.mark.conformance
@pytest.mark.parametrize("table", EXACT)
def test_every_step_is_the_schedules(table, case, fit, fitted):
    file, model, texts = case(table)
    follows(file, model, fit(model, texts), fitted.STEPS)


@pytest.mark.conformance
@pytest.mark.parametrize("table", APPROXIMATE)
def test_the_nearest_is_followed_as_it_was_told(table, case, fit, fitted):
    file, model, texts = case(table)
    told = file.model_copy(update={"schedule": thaw_only(file.schedule)[0]})
    seen = fit(model, texts)
    follows(told, model, seen, fitted.STEPS)
    with pytest.raises(AssertionError):
        follows(file, model, seen, fitted.STEPS)


@pytest.mark.conformance
@pytest.mark.parametrize(
    ("name", "regime"),
    [
        ("test_vit", Regime(batch_size=6)),
        ("test_resnet", Regime(batch_size=6, norm="eval", optimizer="sgd")),
        ("test_resnet", Regime(batch_size=6, optimizer="sgd", momentum=0.0)),
    ],
)
def test_other_models_and_regimes_are_followed_too(name, regime, case, fit, fitted):
    file, model, texts = case("gradual", name, regime=regime)
    follows(file, model, fit(model, texts), fitted.STEPS)


@pytest.mark.conformance
def test_a_model_under_another_name_is_refused_until_its_name_is_written(case, fit, fitted):
    file, model, texts = case("gradual")
    with pytest.raises(Exception, match="did not match any named parameter"):
        fit(copy.deepcopy(model), texts, attribute="backbone")
    named = texts[0].text.replace("'model", "'backbone")
    follows(file, model, fit(model, texts, attribute="backbone", schedule=named), fitted.STEPS)


@pytest.mark.conformance
@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"accumulate_grad_batches": 3}, 2),
        ({"limit_train_batches": 3}, 3),
        ({"val_check_interval": 0.25}, 4),
    ],
    ids=["accumulated", "part of the data", "validation"],
)
def test_steps_are_the_trainers_optimizer_steps(options, steps, case, fit):
    file, model, texts = case("gradual")
    follows(file, model, fit(model, texts, **options), steps)


@pytest.mark.conformance
def test_a_module_that_sets_modes_of_its_own_is_set_right_before_the_next_step(case, fit, fitted):
    file, model, texts = case("gradual")
    follows(file, model, fit(model, texts, kind=fitted.Hasty, val_check_interval=0.5), fitted.STEPS)


@pytest.mark.conformance
@pytest.mark.parametrize("epochs", [1, 2])
def test_a_run_resumed_between_epochs_ends_with_the_same_bits(epochs, case, fit, fitted, tmp_path):
    """Also where the next epoch begins with a thaw."""
    file, whole, texts = case("gradual")
    first, second = copy.deepcopy(whole), copy.deepcopy(whole)
    path = tmp_path / "last.ckpt"
    fit(whole, texts)
    before = fit(first, texts, extra=[fitted.SaveAfter(epochs, path)])
    after = fit(second, texts, resumed=path)
    follows(file, second, before + after, fitted.STEPS)
    assert all(map(torch.equal, whole.state_dict().values(), second.state_dict().values()))


@pytest.mark.conformance
def test_a_run_resumed_otherwise_is_refused_before_it_trains_what_it_should_not(case, fit, fitted, tmp_path):
    """finetuning-scheduler takes no note of ``fit(ckpt_path=...)``, nor of a run broken off in an epoch."""
    _, model, texts = case("gradual")
    path = tmp_path / "last.ckpt"
    other = copy.deepcopy(model)
    fit(copy.deepcopy(model), texts, extra=[fitted.SaveAfter(2, path)])
    with pytest.raises(ValueError, match="resume as the docstring says"):
        fit(other, texts, ckpt_path=path)
    fit(copy.deepcopy(model), texts, extra=[fitted.SaveAt(2 * fitted.STEPS, path)])
    with pytest.raises(ValueError, match="resume as the docstring says"):
        fit(model, texts, resumed=path)


@pytest.mark.conformance
def test_what_is_frozen_keeps_every_bit(case, fit):
    file, model, texts = case("linear_probe")
    before = copy.deepcopy(model.state_dict())
    fit(model, texts)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == set(file.backbone.groups["head"])


@pytest.mark.conformance
@pytest.mark.parametrize("tracked", [True, False])
def test_the_schedule_alone_does_not_hold_frozen_modules_still(tracked, case, fit, fitted):
    """So it counts as approximate: its rates are right, its modes are not.

    As it is by itself, statistics move; untracked they stay, but each batch is normalised by its own.
    """
    file, model, texts = case("linear_probe")
    before = fitted.buffers_of(model)
    seen = fit(model, texts, still=False, own={"frozen_bn_track_running_stats": tracked})
    moved = [not torch.equal(after, before[name]) for name, after in fitted.buffers_of(model).items()]
    assert moved == [tracked] * len(before)
    with pytest.raises(AssertionError, match="mode of"):
        follows(file, model, seen, fitted.STEPS)


@pytest.mark.conformance
def test_weights_decay_but_no_biases_and_scales_and_who_goes_on_keeps_its_state(case, fit, fitted):
    file, model, texts = case("gradual", regime=Regime(weight_decay=0.03))
    last = {}

    class Look(fitted.Callback):
        def on_train_end(self, trainer, module):
            last["optimizer"] = trainer.optimizers[0]

    fit(model, texts, extra=[Look()])
    optimizer = last["optimizer"]
    held = {one: entry for entry in optimizer.param_groups for one in entry["params"]}
    assert isinstance(optimizer, torch.optim.AdamW)
    assert all(entry["weight_decay"] == (0.03 if one.ndim > 1 else 0.0) for one, entry in held.items())
    steps = {name: int(optimizer.state[one]["step"]) for name, one in model.named_parameters() if one in held}
    expected = {"head": 16, "layer4": 12, "layer3": 8, "layer2": 4}
    assert steps == {name: n for group, n in expected.items() for name in file.backbone.groups[group]}


@pytest.mark.conformance
def test_another_optimizer_is_refused(case, fit, fitted):
    _, model, texts = case("lp_ft")
    other = texts[1].text + "\n\ndef ByLayer(model):\n    return torch.optim.AdamW(model.parameters())\n"
    with pytest.raises(ValueError, match="use ByLayer"):
        fit(model, (texts[0], texts[1]._replace(text=other)))


@pytest.mark.long
@pytest.mark.conformance
def test_replicas_stay_equal_where_nothing_thaws_later_and_else_are_refused(fitted, tmp_path):
    """DistributedDataParallel synchronises what trained when it wrapped the model, and nothing else."""
    assert fitted.replicas("finetuning-scheduler", "ddp", "last_groups", tmp_path) == [0.0] * 4
    assert "replicas would drift" in fitted.replicas("finetuning-scheduler", "ddp", "lp_ft", tmp_path)
