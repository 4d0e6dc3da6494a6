"""Values and errors: frozen, compared by content, all problems told at once."""

import math
import pickle
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from autofreeze import errors
from autofreeze.errors import AutofreezeError, ConfigError, DataError, InputError, TrainingError
from autofreeze.job import EpochRecord, Job
from autofreeze.regime import Regime
from autofreeze.schedule import Schedule
from autofreeze.seeds import derive
from autofreeze.task import Task
from autofreeze.values import Value, did_you_mean, digest_of

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


class Inner(Value):
    width: int = Field(ge=1)


class Outer(Value):
    inner: Inner
    sizes: tuple[float, ...] = Field(min_length=2)
    flag: bool = False


def test_all_problems_of_a_value_are_told_at_once_with_their_paths():
    data = {"inner": {"width": 0, "depth": 1}, "sizes": ["x"], "flag": "maybe", "flug": 1}
    with pytest.raises(ConfigError) as caught:
        Outer.parse(data, where="a.yaml")
    assert caught.value.problems == (
        "inner.width: got 0; must be greater than or equal to 1",
        "inner.depth: unknown",
        "sizes.0: got 'x'; must be a number",
        "flag: got 'maybe'; must be true or false",
        "flug: unknown; did you mean flag?",
    )
    assert str(caught.value).startswith("a.yaml:\n  inner.width: got 0")


def test_one_problem_stays_on_one_line():
    with pytest.raises(ConfigError, match=r"^a\.yaml: sizes: got \[1\]; must hold at least 2$"):
        Outer.parse({"inner": {"width": 1}, "sizes": [1]}, where="a.yaml")
    with pytest.raises(ConfigError, match=r"^inner: missing$"):
        Outer.parse({"sizes": [1, 2]})


def test_a_long_wrong_value_is_not_repeated_in_full():
    with pytest.raises(ConfigError) as caught:
        Outer.parse({"inner": {"width": "9" * 5000}, "sizes": [1, 2]})
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("warmup-epochs", "; did you mean warmup_epochs?"),
        ("head", "; did you mean head_lr?"),
        ("zzz", "; known: warmup_epochs, head_lr"),
    ],
)
def test_a_near_name_is_suggested_and_else_all_are_named(name, words):
    assert did_you_mean(name, ["warmup_epochs", "head_lr"]) == words


@settings(max_examples=40, deadline=None)
@given(json_values)
def test_a_digest_hangs_on_content_alone(data):
    def turned(node):
        if isinstance(node, dict):
            return {key: turned(value) for key, value in reversed(node.items())}
        return [turned(item) for item in node] if isinstance(node, list) else node

    assert digest_of(data) == digest_of(turned(data))
    assert digest_of([data]) != digest_of([data, None])


def test_digests_are_pinned():
    # Journals and exports name runs by them: a change makes old ones unreadable.
    assert digest_of({"a": [1, None], "b": 0.1}) == "61cc664a5802cf12"
    assert Regime().digest == Regime(batch_size=32).digest
    assert Regime().digest != Regime(batch_size=33).digest


def test_the_default_seeds_are_pinned_and_apart():
    assert derive(0, "head", 3) == 1540840243
    made = {derive(seed, word, n) for seed in range(10) for word in ("head", "views") for n in range(50)}
    assert len(made) == 1000
    assert all(0 <= seed < 2**31 for seed in made)


def test_values_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Regime().batch_size = 3


# Errors


def test_an_error_survives_the_way_between_processes():
    for error in (DataError(["one", "two"], where="x"), ConfigError("one"), TrainingError("one")):
        back = pickle.loads(pickle.dumps(error))
        assert type(back) is type(error)
        assert (back.problems, back.where, str(back)) == (error.problems, error.where, str(error))


def test_of_a_line_as_long_as_a_file_the_middle_is_left_out_and_the_way_out_stays():
    error = ConfigError(
        ["head_lr: got '" + "x" * 200_000 + "'; must be a number", "y" * 2_000], where="z" * 5_000
    )
    first, second, third = str(error).splitlines()
    assert second.startswith("  head_lr: got 'xxx")
    assert re.search(r"x … 198,[0-9]{3} characters left out … x", second)
    assert second.endswith("xxx'; must be a number")
    assert third == "  " + "y" * 2_000
    assert max(map(len, (first, second))) <= 2_002
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)


def test_no_name_passes_for_a_sentence_of_its_own():
    error = DataError(["class a\n  class c: no images", "class b: no images"], where="photos")
    beginnings = [line for line in str(error).splitlines() if line.startswith("  class")]
    assert beginnings == ["  class a", "  class b: no images"]
    assert "\n" + " " * 6 + "class c" in str(error)


def test_what_the_user_gave_and_what_failed_end_differently():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) > 5
    for kind in kinds:
        assert issubclass(kind, AutofreezeError)
        assert kind.exit_status == (2 if issubclass(kind, InputError) else 1)


def test_several_problems_are_told_below_each_other():
    assert str(ConfigError(["one", "two"], where="f")) == "f:\n  one\n  two"
    assert str(ConfigError(["one", "two"])) == "\n  one\n  two"
    assert str(ConfigError("one", where="f")) == "f: one"


# Jobs and records


def record(**changes) -> EpochRecord:
    values = {
        "epoch": 0, "epochs_done": 1.0, "step": 10, "train_loss": 1.0, "phase_start_loss": 1.0,
        "val_loss": 0.5, "value": 0.8, "predicted": "AfA=", "n_val": 4, "rates": (None, 1e-3),
        "grad_norms": (None, 1.0), "grad_norms_max": (None, 2.0), "work": 10.0, "seconds": 1.0,
        "epochs_since_unfreeze": 1.0,
    }  # fmt: skip
    return EpochRecord(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "finite"),
    [
        ({}, True),
        ({"value": math.nan}, False),
        ({"val_loss": math.nan}, False),
        ({"val_loss": math.inf}, False),
        ({"diverged": "non-finite loss at step 3"}, False),
    ],
)
def test_a_record_may_be_compared_only_when_all_of_it_is_finite(changes, finite):
    assert record(**changes).is_finite is finite


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, 0.1])
def test_records_keep_nan_and_infinities_through_json(loss):
    one = record(val_loss=loss, grad_norms=(None, loss))
    back = EpochRecord.model_validate_json(one.model_dump_json())
    assert repr(back) == repr(one)


def test_seconds_do_not_make_two_curves_different():
    assert record(seconds=1).same_as(record(seconds=2))
    assert not record(value=0.1).same_as(record(value=0.2))


def job(**changes) -> Job:
    phases = [{"epochs": 1, "lrs": [None, 1e-3]}, {"epochs": 1, "lrs": [None, 1e-3]}]
    schedule = Schedule.model_validate({"groups": ["stem", "head"], "phases": phases})
    values = {"trial": 1, "fold": 0, "seed": 5, "schedule": schedule, "regime": Regime()}
    return Job(**{**values, **changes})


def test_jobs_that_train_the_same_share_a_digest():
    one = job()
    assert one.recipe_digest == job(trial=2, fold=1).recipe_digest
    assert one.recipe_digest == job(schedule=one.schedule.canonical()).recipe_digest
    assert one.recipe_digest != job(seed=6).recipe_digest
    assert one.recipe_digest != job(regime=Regime(batch_size=8)).recipe_digest
    assert one.recipe_digest != job(schedule=one.schedule.scaled(3)).recipe_digest
    assert {job(trial=t, fold=f).key for t in (1, 11) for f in (0, 1)} == {"1.0", "1.1", "11.0", "11.1"}


def test_a_task_refuses_what_is_out_of_range():
    with pytest.raises(ConfigError) as caught:
        Task.parse({"data": "d", "model": "m", "folds": 6, "test_share": 1, "metric": "auc", "thread": 2})
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "test_share", "folds", "metric", "thread",
    ]  # fmt: skip
    assert "did you mean threads?" in caught.value.problems[-1]


def test_a_task_hands_the_backbone_its_own_options():
    task = Task(data="d", model="m", weights="w", image_size=64, test_share=0.1)
    options = task.backbone_options()
    assert (options["weights"], options["image_size"], options["granularity"]) == ("w", 64, "auto")
    assert not {"data", "test_share", "metric", "model"} & set(options)
