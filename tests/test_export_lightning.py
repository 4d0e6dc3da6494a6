"""Schedules as callbacks of Lightning, run by its Trainer."""

import ast
import copy

import pytest
import torch
from exported import TABLES, Observer, follows, native_of

from autofreeze.export.fidelity import Fidelity
from autofreeze.export.targets.lightning import LightningExporter
from autofreeze.regime import Regime

lightning = pytest.importorskip("lightning", reason="Lightning is in the extra `conformance`")
from fitted import (  # noqa: E402 - it needs Lightning
    STEPS,
    THIRD_PARTIES,
    Classifier,
    Hasty,
    SaveAt,
    buffers_of,
    loader,
    module_of,
    replicas,
    trainer,
)

pytestmark = [pytest.mark.conformance, *THIRD_PARTIES]

EXPORTER = LightningExporter()


@pytest.fixture
def case(backbone, tmp_path):
    """``case(table)``: native file, model and the module that was exported."""

    def make(table, name="test_resnet", **changes):
        loaded = backbone(name)
        model = loaded.build(3, seed=0)
        file = native_of(model, loaded.groups, TABLES[table](loaded.groups.names), name=name, **changes)
        assert EXPORTER.assess(file).fidelity is Fidelity.WITH_CALLBACK
        return file, model, module_of(EXPORTER.write(file)[0].text, tmp_path, "exported_schedule")

    return make


def classifier(model, written, attribute="model"):
    def configure(module):
        return written.configure_optimizers(module.get_submodule(attribute))

    return Classifier(model, configure, attribute)


def pair(written, attribute="model"):
    return [written.FreezingSchedule(attribute), written.KeepFrozenStill(attribute)]


def fit(folder, model, written, callbacks=None, batches=None, attribute="model", ckpt_path=None, **options):
    """Train, and give what was seen."""
    run = trainer(folder, pair(written, attribute) if callbacks is None else callbacks, **options)
    module = classifier(model, written, attribute)
    with Observer(model) as observer:
        run.fit(module, loader() if batches is None else batches, loader(1), ckpt_path=ckpt_path)
    return observer.seen


@pytest.mark.parametrize("table", TABLES)
def test_every_step_is_the_schedules(table, case, tmp_path):
    file, model, written = case(table)
    follows(file, model, fit(tmp_path, model, written), STEPS)


@pytest.mark.parametrize(
    ("name", "regime"),
    [
        ("test_vit", Regime(batch_size=6)),
        ("test_resnet", Regime(batch_size=6, norm="eval", optimizer="sgd")),
        ("test_resnet", Regime(batch_size=6, optimizer="sgd", momentum=0.0, weight_decay=0.0)),
    ],
)
def test_other_models_and_regimes_are_followed_too(name, regime, case, tmp_path):
    file, model, written = case("gradual", name, regime=regime)
    follows(file, model, fit(tmp_path, model, written), STEPS)


def test_the_model_may_lie_anywhere_and_the_callbacks_in_any_order(case, tmp_path):
    file, model, written = case("refrozen")
    callbacks = pair(written, "backbone")[::-1]
    follows(file, model, fit(tmp_path, model, written, callbacks, attribute="backbone"), STEPS)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"accumulate_grad_batches": 2}, 2),
        ({"accumulate_grad_batches": 3}, 2),  # the last step of an epoch has fewer batches
        ({"limit_train_batches": 3}, 3),
        ({"val_check_interval": 0.25}, 4),  # validation in mid-epoch sets evaluation modes, and is to undo it
        ({"precision": "bf16-mixed", "gradient_clip_val": 0.5}, 4),
    ],
    ids=["accumulated", "accumulated unevenly", "part of the data", "validation", "bfloat16"],
)
def test_steps_are_the_trainers_optimizer_steps(options, steps, case, tmp_path):
    file, model, written = case("lp_ft in mid-epoch")
    follows(file, model, fit(tmp_path, model, written, **options), steps)


def test_a_module_that_sets_modes_of_its_own_is_set_right_before_the_next_step(case, tmp_path):
    file, model, written = case("lp_ft in mid-epoch")
    run = trainer(tmp_path, pair(written), val_check_interval=0.5)
    with Observer(model) as observer:
        run.fit(Hasty(model, lambda module: written.configure_optimizers(module.model)), loader(), loader(1))
    follows(file, model, observer.seen, STEPS)


@pytest.mark.parametrize("step", [3, 4, 6, 9, 14])
def test_a_run_resumed_from_a_checkpoint_goes_on_in_the_schedule(step, case, tmp_path):
    """The thaw comes in mid-epoch, at step 6: before it, at it, after it, within epochs and between."""
    file, model, written = case("lp_ft in mid-epoch")
    other = copy.deepcopy(model)
    path = tmp_path / "last.ckpt"
    before = fit(tmp_path, model, written, [*pair(written), SaveAt(step, path)])
    after = fit(tmp_path, other, written, ckpt_path=path)
    assert len(before) == step
    follows(file, other, before + after, STEPS)


def test_a_run_resumed_between_epochs_ends_with_the_same_bits(case, tmp_path):
    _, whole, written = case("refrozen")
    first, second = copy.deepcopy(whole), copy.deepcopy(whole)
    path = tmp_path / "last.ckpt"
    fit(tmp_path, whole, written)
    fit(tmp_path, first, written, [*pair(written), SaveAt(2 * STEPS, path)])
    fit(tmp_path, second, written, ckpt_path=path)
    assert all(map(torch.equal, whole.state_dict().values(), second.state_dict().values()))


def test_a_second_run_begins_afresh(case, tmp_path):
    """All parameters can be synchronised again, and none is left as the run before left it."""
    file, model, written = case("linear_probe")
    callbacks = pair(written)
    seen = []

    class Look(lightning.Callback):
        def on_fit_start(self, trainer, module):
            seen.append(all(parameter.requires_grad for parameter in module.parameters()))

    for _ in range(2):
        follows(file, model, fit(tmp_path, model, written, [*callbacks, Look()]), STEPS)
    assert seen == [True, True]


# Frozen


def test_what_is_frozen_keeps_every_bit(case, tmp_path):
    file, model, written = case("linear_probe")
    before = copy.deepcopy(model.state_dict())
    fit(tmp_path, model, written)
    head = file.backbone.groups["head"]
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == set(head)


def test_the_schedule_alone_lets_frozen_statistics_move(case, tmp_path):
    """So it counts as approximate: its rates are right, its modes are not."""
    file, model, written = case("linear_probe")
    before = buffers_of(model)
    seen = fit(tmp_path, model, written, [written.FreezingSchedule()])
    assert all(not torch.equal(after, before[name]) for name, after in buffers_of(model).items())
    with pytest.raises(AssertionError, match="mode of"):
        follows(file, model, seen, STEPS)


@pytest.mark.parametrize("train_bn", [True, False])
def test_lightnings_own_backbone_finetuning_lets_them_move_too(train_bn, case, tmp_path):
    """The reason why the export is a pair of its own."""
    from lightning.pytorch.callbacks import BackboneFinetuning

    class Own(Classifier):
        def __init__(self, model):
            super().__init__(model, None)
            self.backbone = torch.nn.ModuleList(
                child for name, child in model.named_children() if name != "fc"
            )

        def configure_optimizers(self):
            return torch.optim.AdamW(self.model.fc.parameters(), lr=4e-3)

    _, model, _ = case("linear_probe")
    before = buffers_of(model)
    frozen = BackboneFinetuning(unfreeze_backbone_at_epoch=10, train_bn=train_bn)
    trainer(tmp_path, [frozen], max_epochs=1).fit(Own(model), loader(), loader(1))
    assert all(not torch.equal(after, before[name]) for name, after in buffers_of(model).items())


def test_the_callback_that_keeps_it_still_is_short(case):
    file, _, _ = case("lp_ft")
    tree = ast.parse(EXPORTER.write(file)[0].text)
    lengths = {
        node.name: node.end_lineno - node.lineno + 1 for node in tree.body if isinstance(node, ast.ClassDef)
    }
    assert lengths["KeepFrozenStill"] <= 20


# The optimizer


def test_weights_decay_but_no_biases_and_scales(case):
    _, model, written = case("gradual", regime=Regime(weight_decay=0.03))
    optimizer = written.configure_optimizers(model)
    held = [(p, entry) for entry in optimizer.param_groups for p in entry["params"]]
    assert {id(p) for p, _ in held} == {id(p) for p in model.parameters()}
    assert len(held) == len(list(model.parameters()))
    assert type(optimizer) is torch.optim.AdamW
    assert all(entry["weight_decay"] == (0.03 if p.ndim > 1 else 0.0) for p, entry in held)


def test_momentum_is_that_of_the_search(case):
    _, model, written = case("gradual", regime=Regime(optimizer="sgd", momentum=0.8))
    optimizer = written.configure_optimizers(model)
    assert type(optimizer) is torch.optim.SGD
    assert all(entry["momentum"] == 0.8 and entry["nesterov"] for entry in optimizer.param_groups)


def test_who_goes_on_keeps_its_state_and_who_comes_in_starts_with_none(case, tmp_path):
    """Two groups train for an epoch, then the head alone, then the upper one of the two again."""
    file, model, written = case("refrozen")
    counts = {}

    class Count(lightning.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            for name, parameter in module.model.named_parameters():
                state = trainer.optimizers[0].state.get(parameter, {})
                counts[trainer.global_step, name] = int(state.get("step", 0))

    fit(tmp_path, model, written, [*pair(written), Count()])
    *_, lower, upper, head = (names[0] for names in file.backbone.groups.values())
    assert [counts[step, head] for step in (1, 4, 5, 8, 9, 16)] == [1, 4, 5, 8, 9, 16]
    assert [counts[step, upper] for step in (1, 4, 5, 8, 9, 16)] == [1, 4, 0, 0, 1, 8]
    assert [counts[step, lower] for step in (1, 4, 5, 8, 9, 16)] == [1, 4, 0, 0, 0, 0]


# What it cannot be used with


def test_another_optimizer_is_refused(case, tmp_path):
    _, model, written = case("lp_ft")
    module = Classifier(model, lambda module: torch.optim.AdamW(module.parameters()))
    with pytest.raises(ValueError, match="use the optimizer of configure_optimizers"):
        trainer(tmp_path, pair(written)).fit(module, loader(), loader(1))


def test_data_without_a_length_are_refused_unless_limited(case, tmp_path):
    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            while True:
                yield torch.zeros(3, 32, 32), 1

    file, model, written = case("lp_ft")
    endless = torch.utils.data.DataLoader(Endless(), batch_size=6)
    with pytest.raises(ValueError, match="limit_train_batches"):
        fit(tmp_path, model, written, batches=endless)
    follows(file, model, fit(tmp_path, model, written, batches=endless, limit_train_batches=3), 3)


def test_the_loss_is_that_of_the_search(case, examples):
    from autofreeze.training import loss_weights

    labels = [0] * 10 + [1] * 4 + [2] * 2
    shown = examples(16, 0, labels=labels)
    regime = Regime(class_weights="balanced", label_smoothing=0.1)
    logits, targets = torch.randn(16, 3), torch.tensor(labels)
    expected = torch.nn.functional.cross_entropy(
        logits, targets, weight=loss_weights(shown, regime, torch.device("cpu")), label_smoothing=0.1
    )
    file, _, _ = case("lp_ft", regime=regime)
    file = file.model_copy(update={"data": file.data.model_copy(update={"class_images": (10, 4, 2)})})
    scope = {}
    exec(EXPORTER.write(file)[0].text, scope)
    assert torch.allclose(scope["loss"](logits, targets), expected, rtol=1e-6)


# Several processes


@pytest.mark.long
def test_replicas_stay_equal_with_the_strategy_that_is_named(tmp_path):
    """In two processes, each of which follows the schedule, also where a group is frozen and thawed again."""
    assert replicas("lightning", "ddp_find_unused_parameters_true", "refrozen", tmp_path) == [0.0] * 4


@pytest.mark.long
def test_the_usual_strategy_says_which_one_is_needed(tmp_path):
    assert "ddp_find_unused_parameters_true" in replicas("lightning", "ddp", "lp_ft", tmp_path)
