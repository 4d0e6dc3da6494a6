"""A schedule without a search: valid for anything, monotone in the data, and a file to train by."""

import statistics

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from autofreeze.cli import main
from autofreeze.errors import ConfigError
from autofreeze.export.native import NativeFile
from autofreeze.regime import Regime
from autofreeze.schedule import Schedule
from autofreeze.suggest import FEW, FULL_LR, SOME, UNEVEN, family_of, suggest

GROUPS = ("stem", "layer1", "layer2", "layer3", "layer4", "head")
FAMILIES = ("batch_norm", "other")

COUNTS = st.lists(st.integers(1, 3000), min_size=1, max_size=30)
NAMES = st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=12, unique=True)
EPOCHS = st.floats(0.25, 200)


# What holds for anything


@settings(max_examples=150, deadline=None)
@given(COUNTS, NAMES, EPOCHS, st.sampled_from(FAMILIES))
def test_a_suggestion_is_a_valid_schedule_of_the_length_asked_for(counts, groups, epochs, family):
    suggestion = suggest(counts, groups, epochs, family=family)
    schedule = suggestion.schedule
    assert Schedule.from_plain(schedule.to_plain()) == schedule
    assert schedule.groups == tuple(groups)
    assert schedule.epochs == pytest.approx(epochs)
    assert schedule.phases[0].lrs[-1] is not None
    assert all(reason.evidence and reason.choice for reason in suggestion.reasons)


@settings(max_examples=150, deadline=None)
@given(COUNTS, NAMES, st.sampled_from(FAMILIES), st.integers(0, 29), st.integers(0, 3000))
def test_more_images_in_a_class_never_give_a_shallower_depth(counts, groups, family, which, more):
    larger = list(counts)
    larger[which % len(counts)] += more
    before, after = (suggest(images, groups, 10, family=family).schedule for images in (counts, larger))
    assert after.unfreeze_depth >= before.unfreeze_depth


@settings(max_examples=100, deadline=None)
@given(st.integers(FEW, 3000), st.integers(2, 12), EPOCHS)
def test_without_batch_norm_rates_rise_towards_the_head_and_stay_below_the_others(per_class, n, epochs):
    groups = [f"g{column}" for column in range(n)]
    careful = suggest([per_class] * 3, groups, epochs, family="other").schedule
    bold = suggest([per_class] * 3, groups, epochs, family="batch_norm").schedule
    assert careful.unfreeze_depth == bold.unfreeze_depth >= 1
    rates = [lr for lr in careful.phases[-1].lrs if lr is not None]
    assert rates == sorted(rates)
    assert max(rates[:-1]) < FULL_LR
    assert set(bold.phases[-1].lrs) - {None} == {FULL_LR}


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 12))
def test_a_group_has_the_same_rate_whether_those_below_it_train_or_not(n):
    groups = [f"g{column}" for column in range(n)]
    half, everything = (
        suggest([images] * 2, groups, 10, family="other").schedule.phases[-1].lrs for images in (FEW, SOME)
    )
    for part, whole in zip(half, everything, strict=True):
        assert part is None or part == pytest.approx(whole)


@settings(max_examples=100, deadline=None)
@given(COUNTS)
@example([2, 6])
@example([2, 7])
def test_classes_are_weighed_when_the_largest_has_more_than_three_times_the_smallest(counts):
    weights = suggest(counts, GROUPS, 10).regime.class_weights
    assert weights == ("balanced" if max(counts) > UNEVEN * min(counts) else "none")


# The branches


@pytest.mark.parametrize(
    ("per_class", "depth"),
    [(1, 0), (FEW - 1, 0), (FEW, 3), (SOME - 1, 3), (SOME, 5), (10_000, 5)],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_depth_goes_by_the_images_of_the_median_class(per_class, depth, family):
    counts = [1, per_class, 100_000]
    assert statistics.median(counts) == per_class
    suggestion = suggest(counts, GROUPS, 10, family=family)
    assert suggestion.schedule.unfreeze_depth == depth
    assert f"{per_class:g} training images" in suggestion.reasons[0].choice


def test_only_nets_without_batch_norm_begin_with_the_head_alone():
    assert suggest([500, 500], GROUPS, 10, family="batch_norm").schedule.warmup_epochs == 0
    assert suggest([500, 500], GROUPS, 10, family="other").schedule.warmup_epochs == 2


def test_the_family_is_read_from_the_tensors(backbone):
    assert family_of(backbone("test_resnet").tensors) == "batch_norm"
    assert family_of(backbone("test_vit", image_size=None).tensors) == "other"


def test_what_cannot_be_suggested_for_is_refused_with_all_problems():
    with pytest.raises(ConfigError) as caught:
        suggest([3, 0], ["head"], 0)
    told = [problem.partition(":")[0] for problem in caught.value.problems]
    assert told == ["class_counts", "groups", "epochs"]
    with pytest.raises(ConfigError, match="class_counts"):
        suggest([], GROUPS, 10)


# The command


@pytest.fixture(scope="module")
def weights(backbone, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    model = backbone("test_resnet").build(10, seed=0)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    return path


@pytest.fixture
def given_model(weights):
    return ["--model", "test_resnet", "--weights", str(weights), "--image-size", "32", "--device", "cpu"]


def test_the_file_is_one_that_train_reads_and_claims_no_result(split_folders, given_model, tmp_path, capsys):
    assert main(["suggest", str(split_folders), *given_model, "--epochs", "1"]) == 0
    output, errors = capsys.readouterr()
    assert "suggested by rule, not tried on these images" in errors
    assert "the head alone, for 8 training images in the median class" in errors
    file = tmp_path / "suggested.yaml"
    file.write_text(output)
    native = NativeFile.load(file)
    assert native.schedule.epochs == 1
    assert native.regime == Regime()
    assert (native.result, native.curve, native.confirmed) == (None, (), False)
    assert main(["train", str(file), str(split_folders), "--out", str(tmp_path / "model")]) == 0
    assert "curve" not in capsys.readouterr().out
    assert (tmp_path / "model" / "model.safetensors").exists()


def test_a_suggestion_trained_on_other_images_speaks_of_no_trial(
    split_folders, class_folders, given_model, tmp_path, capsys
):
    file = tmp_path / "suggested.yaml"
    assert main(["suggest", str(split_folders), *given_model, "--epochs", "1", "-o", str(file)]) == 0
    assert main(["train", str(file), str(class_folders), "--out", str(tmp_path / "model")]) == 0
    assert "trial" not in capsys.readouterr().out


def test_the_counts_are_those_of_the_part_that_is_trained_on(write_images, given_model, tmp_path, capsys):
    data = write_images(tmp_path / "data" / "train", (20, 20, 4)).parent
    write_images(data / "val", (30, 30, 30), first=100)
    assert main(["suggest", str(data), *given_model, "-o", str(tmp_path / "suggested.yaml")]) == 0
    output, errors = capsys.readouterr()
    assert output == ""
    assert "the largest class has 5.0 times the images of the smallest" in errors
    native = NativeFile.load(tmp_path / "suggested.yaml")
    assert native.regime.class_weights == "balanced"
    assert native.schedule.unfreeze_depth == 3
    assert native.schedule.epochs == 30


def test_a_file_that_exists_is_overwritten_by_force_alone(split_folders, given_model, tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    arguments = ["suggest", str(split_folders), *given_model, "-o", str(file)]
    assert main(arguments) == 2
    assert "exists already; --force overwrites it" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert main([*arguments, "--force"]) == 0
    assert NativeFile.load(file).schedule


@pytest.mark.parametrize(
    ("extra", "words"), [(["--epochs", "0"], "epochs: got 0"), (["--groups", "99"], "granularity: got 99")]
)
def test_a_wrong_option_is_told(split_folders, given_model, capsys, extra, words):
    assert main(["suggest", str(split_folders), *given_model, *extra]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert words in errors


@pytest.mark.real
def test_a_suggestion_for_real_photos_reads_class_sizes_and_batch_norm(real_data, tmp_path, capsys):
    given = ["--model", "mobilenetv2_100", "--image-size", "64", "--weights",
             str(real_data / "weights/mobilenetv2_100.imagenet.fp16.safetensors")]  # fmt: skip
    file = tmp_path / "suggested.yaml"
    assert main(["suggest", str(real_data / "hymenoptera2"), *given, "-o", str(file)]) == 0
    schedule = NativeFile.load(file).schedule
    assert schedule.unfreeze_depth == len(schedule.groups) - 1
    assert {lr for phase in schedule.phases for lr in phase.lrs} == {FULL_LR}
