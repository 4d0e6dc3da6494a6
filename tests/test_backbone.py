"""From a timm name and weights to models that differ in their heads alone."""

import json
import os
import pickle
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from autofreeze.backbone import load_backbone
from autofreeze.errors import BackboneError
from autofreeze.preprocessing import Preprocessing

DATA = os.environ.get("AUTOFREEZE_TEST_DATA")
needs_weights = pytest.mark.skipif(
    DATA is None, reason="AUTOFREEZE_TEST_DATA names no folder with real weights"
)
HEAD = {"fc.weight", "fc.bias"}


def state_of(name: str = "test_resnet", **options) -> dict[str, torch.Tensor]:
    """Give an architecture's tensors with its statistics moved, as a training run leaves them."""
    state = timm.create_model(name, **options).state_dict()
    return {key: (t + 0.25 if t.is_floating_point() else t).contiguous() for key, t in state.items()}


@pytest.fixture(scope="module")
def state():
    return state_of(num_classes=37)


@pytest.fixture
def weights(state, tmp_path) -> Path:
    save_file(state, tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


@pytest.mark.parametrize("num_classes", [2, 37])
def test_a_built_model_holds_the_files_backbone_and_a_fresh_head(weights, state, num_classes):
    backbone = load_backbone("test_resnet", weights=weights)
    built = backbone.build(num_classes, seed=0).state_dict()
    assert set(built) == set(state)
    assert {key for key in built if not torch.equal(built[key], state[key])} == HEAD
    assert built["fc.weight"].shape == (num_classes, 96)
    assert backbone.source == "w.safetensors"
    assert backbone.coverage == "90 of 90 backbone tensors loaded; its own head (37 classes) ignored"


def test_equal_seeds_give_equal_bits_and_other_seeds_another_head_only(weights):
    backbone = load_backbone("test_resnet", weights=weights)
    one, same, other = (backbone.build(5, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert {key for key in one if not torch.equal(one[key], other[key])} == HEAD


def test_dropout_changes_no_bit_of_the_initial_model(weights):
    backbone = load_backbone("test_resnet", weights=weights)
    plain = backbone.build(5, seed=1)
    dropping = backbone.build(5, seed=1, drop_rate=0.3, drop_path_rate=0.2)
    assert dropping.drop_rate == 0.3
    assert all(torch.equal(t, dropping.state_dict()[key]) for key, t in plain.state_dict().items())


def test_the_global_random_state_is_neither_read_nor_moved(weights):
    backbone = load_backbone("test_resnet", weights=weights)
    heads = []
    for seed in (3, 4):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        load_backbone("test_resnet", from_scratch=True)
        heads.append(backbone.build(5, seed=1).fc.weight)
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*heads)


def test_building_and_training_never_writes_to_the_kept_tensors(weights):
    backbone = load_backbone("test_resnet", weights=weights)
    before = {key: tensor.clone() for key, tensor in backbone.tensors.items()}
    model = backbone.build(5, seed=1)
    for tensor in model.state_dict().values():
        tensor.zero_()
    assert all(torch.equal(before[key], tensor) for key, tensor in backbone.tensors.items())


def test_a_backbone_survives_a_pickle(weights):
    backbone = load_backbone("test_resnet", weights=weights)
    twin = pickle.loads(pickle.dumps(backbone))
    assert twin == backbone
    assert torch.equal(twin.build(5, seed=1).fc.weight, backbone.build(5, seed=1).fc.weight)


def test_random_weights_are_always_the_same_ones_and_say_so():
    first, second = (load_backbone("test_resnet", from_scratch=True) for _ in range(2))
    assert first.digest == second.digest
    assert first.source == "random weights"


def test_the_digest_is_of_the_backbone_not_of_the_head(weights, state, tmp_path):
    digest = load_backbone("test_resnet", weights=weights).digest
    save_file(
        {**state, "fc.weight": torch.zeros(3, 96), "fc.bias": torch.zeros(3)}, tmp_path / "h.safetensors"
    )
    assert load_backbone("test_resnet", weights=tmp_path / "h.safetensors").digest == digest
    save_file({**state, "bn1.running_mean": state["bn1.running_mean"] + 1e-3}, tmp_path / "b.safetensors")
    assert load_backbone("test_resnet", weights=tmp_path / "b.safetensors").digest != digest


def test_half_precision_is_built_as_float32(state, tmp_path):
    half = {key: t.half() if t.is_floating_point() else t for key, t in state.items()}
    save_file(half, tmp_path / "w.safetensors")
    model = load_backbone("test_resnet", weights=tmp_path / "w.safetensors").build(5, seed=0)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model.conv1[0].weight, half["conv1.0.weight"].float())


def test_batch_counters_may_be_absent_and_strange_tensors_are_told(state, tmp_path):
    kept = {key: t for key, t in state.items() if not key.endswith("num_batches_tracked")}
    save_file({**kept, "aux.weight": torch.zeros(2)}, tmp_path / "w.safetensors")
    coverage = load_backbone("test_resnet", weights=tmp_path / "w.safetensors").coverage
    assert "tensors that the model does not have ignored: aux.weight" in coverage
    assert coverage.startswith(f"{len(kept) - 2} of 90 backbone tensors loaded")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bn1.running_var": None}, r"missing: bn1\.running_var"),
        (
            {"layer1.0.conv1.weight": None},
            r"89 of 90 backbone tensors match; weights of another architecture\?",
        ),
        ({"bn1.bias": torch.zeros(3)}, r"of another shape: bn1\.bias \(3,\) instead of \(32,\)"),
        ({"bn1.bias": torch.full((32,), float("nan"))}, r"1 tensors hold NaN or infinite values: bn1\.bias"),
    ],
)
def test_a_backbone_that_is_not_covered_is_refused(state, tmp_path, change, message):
    changed = {key: tensor for key, tensor in {**state, **change}.items() if tensor is not None}
    save_file(changed, tmp_path / "w.safetensors")
    with pytest.raises(BackboneError, match=message):
        load_backbone("test_resnet", weights=tmp_path / "w.safetensors")


def test_weights_of_another_architecture_are_refused_with_what_the_file_says(tmp_path):
    save_file(
        state_of("test_efficientnet"), tmp_path / "w.safetensors", {"architecture": "test_efficientnet"}
    )
    with pytest.raises(
        BackboneError, match=r"1 of 90 .*another architecture\? The file says test_efficientnet"
    ):
        load_backbone("test_resnet", weights=tmp_path / "w.safetensors")


def test_old_names_are_converted_as_timm_does(tmp_path):
    state = state_of("test_vit")
    flat = {
        "patch_embed.proj.weight": state["patch_embed.proj.weight"].flatten(1)
    }  # as old ViT files have it
    save_file({**state, **flat}, tmp_path / "w.safetensors")
    backbone = load_backbone("test_vit", weights=tmp_path / "w.safetensors")
    assert torch.equal(backbone.tensors["patch_embed.proj.weight"], state["patch_embed.proj.weight"])


def test_position_embeddings_follow_the_image_size(tmp_path):
    save_file(state_of("test_vit"), tmp_path / "w.safetensors")
    backbone = load_backbone("test_vit", weights=tmp_path / "w.safetensors", image_size=96)
    assert backbone.tensors["pos_embed"].shape == (1, 1 + 6 * 6, 64)
    assert backbone.build(4, seed=0)(torch.zeros(1, 3, 96, 96)).shape == (1, 4)


def test_a_convolutional_net_takes_another_image_size_as_it_is(weights):
    backbone = load_backbone("test_resnet", weights=weights, image_size=64)
    assert backbone.digest == load_backbone("test_resnet", weights=weights).digest
    assert backbone.groups.groups[0].boundary_bytes == 4 * 3 * 64 * 64


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mobilenet_v2_100", {}, r"no model 'mobilenet_v2_100'; did you mean .*mobilenetv2_100"),
        ("qqqqqq", {}, r"no model 'qqqqqq'; see timm\.list_models"),
        ("", {}, "no model ''"),
        ("mobilenetv2_100.ra_in2k", {}, r"no pretrained tag 'ra_in2k'; did you mean ra_in1k"),
        ("test_resnet", {"weights": "w.pth", "from_scratch": True}, "exclude each other"),
        ("test_resnet", {"weights": "absent.pth"}, r"absent\.pth: no such weights file"),
        ("test_resnet", {"from_scratch": True, "granularity": 99}, "this model has 5 layers, so at most 5"),
        ("test_resnet", {"from_scratch": True, "image_size": 4}, "image_size: got 4"),
        (
            "test_resnet",
            {"from_scratch": True, "mean": (0.5, float("nan"), 0.5)},
            "mean: got .*must be finite",
        ),
        ("test_resnet", {"from_scratch": True, "crop_pct": 1.5}, r"crop_pct: got 1\.5"),
        ("test_resnet", {"from_scratch": True, "interpolation": "magic"}, "interpolation: got 'magic'"),
        ("test_vit", {"from_scratch": True, "image_size": 100}, r"test_vit: .*100 px"),
        ("pit_ti_224", {"from_scratch": True, "image_size": 96}, "pit_ti_224: "),
    ],
)
def test_what_cannot_be_loaded_is_refused_in_plain_words(name, options, message):
    with pytest.raises(BackboneError, match=message):
        load_backbone(name, **options)


def test_a_hub_that_cannot_be_reached_gives_one_line_with_the_ways_out(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BackboneError) as caught:
        load_backbone("test_resnet.r160_in1k")
    message = str(caught.value)
    assert message.startswith("could not get weights for test_resnet.r160_in1k from the hub (")
    assert message.endswith("; give --weights FILE, or --from-scratch for random weights")
    assert "\n" not in message


def test_drop_rates_that_an_architecture_lacks_are_refused_unless_zero():
    backbone = load_backbone("ghostnet_050", from_scratch=True, image_size=64)
    assert backbone.build(3, seed=0).num_classes == 3
    with pytest.raises(BackboneError, match=r"ghostnet_050: timm cannot build it with .*drop_path_rate=0\.1"):
        backbone.build(3, seed=0, drop_path_rate=0.1)


def test_zero_stochastic_depth_is_zero_also_where_timm_defaults_to_more():
    model = load_backbone("swin_s3_tiny_224", from_scratch=True, image_size=56).build(3, seed=0)
    assert [type(m).__name__ for m in model.modules() if type(m).__name__ == "DropPath"] == []


def test_preprocessing_is_what_was_given_else_the_files_else_timms(state, tmp_path):
    hints = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 96, 96]}
    save_file(state, tmp_path / "w.safetensors", {"pretrained_cfg": json.dumps(hints)})
    backbone = load_backbone("test_resnet", weights=tmp_path / "w.safetensors", mean=(0.5, 0.5, 0.5))
    assert backbone.preprocessing == Preprocessing(
        image_size=96, mean=(0.5, 0.5, 0.5), std=(0.4, 0.5, 0.6), interpolation="bilinear", crop_pct=0.95
    )
    assert backbone.preprocessing_from == {
        "mean": "given",
        "std": "from the file's metadata",
        "image_size": "from the file's metadata",
        "interpolation": "timm's configuration",
        "crop_pct": "timm's configuration",
    }
    given = load_backbone("test_resnet", weights=tmp_path / "w.safetensors", image_size=64)
    assert given.preprocessing.image_size == 64


def test_images_that_are_not_square_are_refused_unless_a_size_is_given(state, tmp_path):
    save_file(state, tmp_path / "w.safetensors", {"pretrained_cfg": '{"input_size": [3, 64, 96]}'})
    with pytest.raises(BackboneError, match="64 × 96 px are not square"):
        load_backbone("test_resnet", weights=tmp_path / "w.safetensors")
    assert load_backbone("test_resnet", weights=tmp_path / "w.safetensors", image_size=64).groups


def test_a_fresh_head_is_scaled_to_its_features_and_not_to_the_number_of_classes():
    backbone = load_backbone("mobilenetv2_050", from_scratch=True, image_size=64)
    bound = 1280**-0.5
    for num_classes in (2, 100):
        weight = backbone.build(num_classes, seed=0).classifier.weight
        assert 0.9 * bound < weight.abs().max() <= bound


@pytest.mark.parametrize("name", ["levit_128s", "repvit_m0_9", "mobilenetv3_small_050", "test_convnext"])
def test_the_pretrained_norm_beside_a_classifier_survives_the_fresh_head(name, tmp_path):
    save_file(state_of(name), tmp_path / "w.safetensors")
    backbone = load_backbone(name, weights=tmp_path / "w.safetensors")
    built = backbone.build(5, seed=1).state_dict()
    assert [key for key, tensor in backbone.tensors.items() if not torch.equal(tensor, built[key])] == []


@pytest.mark.real
@needs_weights
@pytest.mark.parametrize(("file", "classes"), [("imagenet", 1000), ("inat_birds", 965)])
def test_real_weights_load_in_full_and_bring_their_preprocessing(file, classes):
    path = Path(DATA) / "weights" / f"mobilenetv2_100.{file}.fp16.safetensors"
    backbone = load_backbone("mobilenetv2_100", weights=path)
    assert (
        backbone.coverage == f"312 of 312 backbone tensors loaded; its own head ({classes} classes) ignored"
    )
    assert backbone.preprocessing.mean == backbone.preprocessing.std == (0.5, 0.5, 0.5)
    assert set(backbone.preprocessing_from.values()) == {"from the file's metadata"}
    built, stored = backbone.build(6, seed=0).state_dict(), load_file(path)
    changed = {key for key, tensor in built.items() if not tensor.equal(stored[key].to(tensor.dtype))}
    assert changed == {"classifier.weight", "classifier.bias"}


@pytest.mark.real
@needs_weights
def test_real_weights_of_another_architecture_are_refused():
    path = Path(DATA) / "weights" / "mobilenetv1_100.imagenet.fp16.safetensors"
    with pytest.raises(
        BackboneError, match=r"33 of 312 .*another architecture\? The file says mobilenetv1_100"
    ):
        load_backbone("mobilenetv2_100", weights=path)
