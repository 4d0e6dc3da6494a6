"""fastai runs what was exported: rates, freezing and modes at every step; without the callback it drifts."""

import importlib.util
import sys
import warnings

import pytest
import torch
from exported import TABLES, Observer, follows, native_of

from autofreeze.export.fidelity import Fidelity
from autofreeze.export.targets.fastai import FastaiExporter
from autofreeze.regime import Regime

EVERY_TABLE = pytest.mark.parametrize("table", TABLES)
N_IMAGES, BATCH = 21, 6
STEPS = N_IMAGES // BATCH  # fastai leaves an incomplete batch out


@pytest.fixture(scope="module")
def case(backbone):
    """``case(table, …)``: a model and the native file for it."""

    def make(table, name="test_resnet", **changes):
        loaded = backbone(name, image_size=160 if name == "test_vit" else 32)
        model = loaded.build(3, seed=0)
        changes.setdefault("regime", Regime(batch_size=BATCH))
        file = native_of(model, loaded.groups, TABLES[table](loaded.groups.names), name=name, **changes)
        return model, file

    return make


@pytest.fixture
def exported(tmp_path):
    """``exported(file)``: the written file, imported as a module."""
    names = []

    def load(file):
        path = tmp_path / f"schedule_{len(names)}.py"
        path.write_text(FastaiExporter().write(file)[0].text)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module  # where pickle looks a splitter up
        names.append(path.stem)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in names:
        del sys.modules[name]


@pytest.fixture(scope="module")
def fastai():
    with warnings.catch_warnings():
        for message in (r"`torch\.jit\.script` is deprecated", "The 'mode.chained_assignment' option"):
            warnings.filterwarnings("ignore", message=message)  # used on import
        pytest.importorskip("fastai", reason="the extra `conformance` is not installed")
        import fastai.basics
    return fastai.basics


@pytest.fixture(scope="module")
def dls_of(fastai):
    """Loaders of made images, on the CPU."""

    def make(size=32):
        images = torch.randn(N_IMAGES, 3, size, size, generator=torch.Generator().manual_seed(0))
        both = (list(range(N_IMAGES)),) * 2
        sets = fastai.Datasets(
            range(N_IMAGES), [[lambda i: images[i]], [lambda i: torch.tensor(i % 3)]], splits=both
        )
        return sets.dataloaders(bs=BATCH, num_workers=0, device=torch.device("cpu"))

    return make


@pytest.fixture
def learner_of(dls_of, tmp_path):
    """``learner_of(module, model)``: the export's own Learner, silent."""

    def make(module, model, size=32, **options):
        learn = module.learner(dls_of(size), model, path=tmp_path, **options)
        learn.logger = lambda *_: None
        return learn

    return make


# What is said and written


@EVERY_TABLE
def test_every_table_is_exact_with_the_callback(case, table):
    assert FastaiExporter().assess(case(table)[1]).fidelity is Fidelity.WITH_CALLBACK


def test_the_callback_that_holds_frozen_modules_is_short(case):
    text = FastaiExporter().write(case("lp_ft")[1])[0].text
    callback = text[text.index("class FrozenInEval") :].split("\n\n\n")[0]
    assert len(callback.splitlines()) <= 20


def test_class_weights_are_those_of_the_search(case, examples):
    from autofreeze.training import loss_weights

    regime = Regime(class_weights="balanced", label_smoothing=0.1)
    file = case("lp_ft", regime=regime)[1]
    data = file.data.model_copy(update={"class_images": (5, 0, 16)})
    text = FastaiExporter().write(file.model_copy(update={"data": data}))[0].text
    found = {}
    exec(text[text.index("CLASS_WEIGHTS") : text.index("def phase_ends")], found)
    labels = [0] * 5 + [2] * 16 + [1]
    expected = loss_weights(examples(21, 1, labels=labels), regime, torch.device("cpu"))
    assert torch.tensor(found["CLASS_WEIGHTS"]).tolist() == expected.tolist()
    assert "weight=torch.tensor(CLASS_WEIGHTS), label_smoothing=0.1" in text


# What fastai does


@pytest.mark.conformance
@EVERY_TABLE
def test_every_step_trains_what_the_schedule_says(case, exported, learner_of, table):
    model, file = case(table)
    module = exported(file)
    learn = learner_of(module, model)
    with Observer(model) as watched:
        module.fine_tune(learn)
    follows(file, model, watched.seen, STEPS)


@pytest.mark.conformance
@pytest.mark.parametrize(
    ("table", "name", "changes"),
    [
        ("gradual", "test_resnet", {"regime": Regime(norm="eval", batch_size=BATCH)}),
        ("refrozen", "test_resnet", {"regime": Regime(optimizer="sgd", batch_size=BATCH)}),
        ("lp_ft in mid-epoch", "test_vit", {}),
    ],
    ids=["statistics kept", "SGD", "no BatchNorm"],
)
def test_so_it_does_in_other_regimes_and_models(case, exported, learner_of, table, name, changes):
    model, file = case(table, name, **changes)
    module = exported(file)
    learn = learner_of(module, model, 160 if name == "test_vit" else 32)
    with Observer(model) as watched:
        module.fine_tune(learn)
    follows(file, model, watched.seen, STEPS)


@pytest.mark.conformance
@pytest.mark.parametrize("regime", [Regime(weight_decay=0.3), Regime(optimizer="sgd", momentum=0.8)])
def test_the_optimizer_is_that_of_the_schedules_own_training(case, exported, learner_of, regime):
    from autofreeze.binding import make_optimizer

    model, file = case("full, decay", regime=regime)
    learn = learner_of(exported(file), model)
    learn.create_opt()
    columns = [
        tuple(p for name, p in model.named_parameters() if name in set(names))
        for names in file.backbone.groups.values()
    ]
    own = make_optimizer(tuple(columns), regime)
    assert type(learn.opt.opt) is type(own)
    compared = ("weight_decay", "betas", "eps", "momentum", "nesterov", "dampening", "amsgrad", "maximize")
    mine, theirs = (
        {
            id(p): {key: entry.get(key) for key in compared}
            for entry in opt.param_groups
            for p in entry["params"]
        }
        for opt in (own, learn.opt.opt)
    )
    assert mine == theirs
    assert len({decay["weight_decay"] for decay in mine.values()}) == 2 or not regime.weight_decay


@pytest.mark.conformance
def test_without_the_callback_frozen_statistics_drift(case, exported, learner_of):
    model, file = case("linear_probe")
    module = exported(file)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learn = learner_of(module, model)
    with Observer(model) as watched:
        learn.fit(4, reset_opt=True, cbs=[module.FreezingSchedule()])
    assert len(watched.seen) == 4 * STEPS
    with pytest.raises(AssertionError, match="step 0, mode of"):
        follows(file, model, watched.seen, STEPS)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    statistics = {name for name in moved if "running_" in name}
    assert statistics
    assert {name for name in moved - statistics if "num_batches" not in name} == {"fc.weight", "fc.bias"}


@pytest.mark.conformance
def test_with_it_not_one_bit_of_what_is_frozen_moves(case, exported, learner_of):
    model, file = case("linear_probe")
    module = exported(file)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    module.fine_tune(learner_of(module, model))
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"fc.weight", "fc.bias"}


@pytest.mark.conformance
def test_who_goes_on_keeps_its_state_and_who_was_frozen_starts_afresh(case, exported, learner_of, fastai):
    model, file = case("refrozen")
    module = exported(file)
    seen = []

    class Looks(fastai.Callback):
        run_valid = False

        def after_step(self):
            state = self.opt.opt.state
            seen.append({group: float(state[p]["step"]) for group, p in watched.items() if p in state})

    watched = {"head": model.fc.bias, "layer4": next(model.layer4.parameters())}
    module.fine_tune(learner_of(module, model), cbs=[Looks()])
    assert seen[STEPS - 1] == {"head": STEPS, "layer4": STEPS}
    assert seen[2 * STEPS - 1] == {"head": 2 * STEPS}
    assert seen[4 * STEPS - 1] == {"head": 4 * STEPS, "layer4": 2 * STEPS}


@pytest.mark.conformance
def test_gradients_gathered_before_a_freeze_leave_no_state_behind(case, exported, learner_of, fastai):
    from fastai.callback.training import GradientAccumulation

    model, file = case("refrozen", regime=Regime(optimizer="sgd", batch_size=BATCH))
    module = exported(file)
    known = {}

    class Looks(fastai.Callback):
        def after_epoch(self):
            known[self.epoch] = any(p in self.opt.opt.state for p in model.layer4.parameters())

    module.fine_tune(learner_of(module, model), cbs=[Looks(), GradientAccumulation(2 * BATCH)])
    assert known == {0: True, 1: False, 2: True, 3: True}


@pytest.mark.conformance
def test_a_last_part_of_an_epoch_is_logged_validated_and_plotted_like_the_others(case, exported, learner_of):
    model, file = case("part of an epoch")
    module = exported(file)
    learn = learner_of(module, model)
    module.fine_tune(learn)
    timetable = file.schedule.timetable(STEPS)
    assert [len(row) for row in learn.recorder.values] == [2, 2, 2]
    assert learn.recorder.lrs == pytest.approx(
        [timetable.rate("head", s) for s in range(timetable.total_steps)]
    )
    assert learn.recorder.hps["lr"] == learn.recorder.lrs


@pytest.mark.conformance
def test_a_learner_that_was_trained_validates_exports_and_trains_again(case, exported, learner_of, tmp_path):
    import fastai.learner

    model, file = case("lp_ft")
    module = exported(file)
    learn = learner_of(module, model)
    module.fine_tune(learn)
    modes = [one.training for one in model.modules()]
    loss = learn.validate()
    assert [one.training for one in model.modules()] == modes == [False] * len(modes)
    learn.logger = print  # what is silent here is a function of this test
    learn.export("model.pkl")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"fastai\.learner")
        again = fastai.learner.load_learner(tmp_path / "model.pkl")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.model.parameters(), strict=True))
    assert len(loss) == 1
    with Observer(model) as watched:
        learn.logger = lambda *_: None
        module.fine_tune(learn)
    follows(file, model, watched.seen, STEPS)
    assert float(learn.opt.opt.state[model.fc.bias]["step"]) == 4 * STEPS, "the second run starts afresh"


@pytest.mark.conformance
def test_a_run_that_goes_on_from_an_epoch_has_the_rates_of_that_epoch(case, exported, learner_of):
    model, file = case("lp_ft")
    module = exported(file)
    learn = learner_of(module, model)
    with Observer(model) as watched:
        learn.fit(4, cbs=[module.FreezingSchedule(), module.FrozenInEval()], start_epoch=2)
    timetable = file.schedule.timetable(STEPS)
    heads = [one.rates["fc.bias"] for one in watched.seen]
    assert heads == pytest.approx([timetable.rate("head", s) for s in range(2 * STEPS, 4 * STEPS)])


@pytest.mark.conformance
def test_too_few_images_for_a_batch_are_told(case, exported, learner_of):
    model, file = case("lp_ft")
    module = exported(file)
    learn = learner_of(module, model)
    learn.dls.loaders[0] = learn.dls.train.new(bs=N_IMAGES + 1)
    with pytest.raises(ValueError, match="make bs smaller"):
        module.fine_tune(learn)
