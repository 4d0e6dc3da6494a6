"""Predicting by a trained model, and the file that it is kept in."""

import csv
import json
import os
import re
import shutil
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from exported import native_of
from PIL import Image
from safetensors.torch import load_file, save_file
from trust.guard import guarded

import autofreeze
from autofreeze import predicting, recipes
from autofreeze.backbone import load_backbone
from autofreeze.cli import main
from autofreeze.errors import AutofreezeError, BackboneError, ConfigError, DataError, InputError
from autofreeze.modelfile import TrainedModel, read_model, save_model
from autofreeze.predicting import predict, predict_to
from autofreeze.report.predictions import PredictionTable
from autofreeze.retraining import train


@pytest.fixture(scope="module")
def trained(backbone, split_folders, tmp_path_factory):
    """A model trained on the images of train/: its file, and the records of its epochs."""
    found = backbone()
    schedule = recipes.full(found.groups.names, 3, head_lr=4e-3)
    native = native_of(found.build(3, seed=0), found.groups, schedule)
    facts = native.backbone.model_copy(update={"preprocessing": found.preprocessing})
    folder = tmp_path_factory.mktemp("trained")
    (folder / "best.yaml").write_text(native.model_copy(update={"backbone": facts}).to_text())
    records = []
    given = {"out": folder / "out", "device": "cpu", "on_epoch": records.append}
    result = train(folder / "best.yaml", split_folders, **given)
    return result.model_path, records


@pytest.fixture
def model(trained):
    return trained[0]


def rows_of(text):
    return list(csv.DictReader(StringIO(text, newline="")))


def told(*given, **options):
    stream = StringIO(newline="")
    predicted = predict_to(stream, *given, **options)
    return rows_of(stream.getvalue()), predicted


def save_with(path, trained_file, **metadata):
    """Write the tensors of a model with other metadata: text, or what becomes JSON."""
    texts = {name: text if isinstance(text, str) else json.dumps(text) for name, text in metadata.items()}
    save_file(load_file(trained_file), path, metadata=texts)
    return path


# What is predicted


def test_validation_images_are_predicted_as_they_were_in_the_last_epoch(trained, split_folders):
    path, records = trained
    found = predict(path, split_folders / "val")
    classes = np.array([Path(name).parent.name for name in found.files])
    labels = np.searchsorted(found.classes, classes)
    best = found.probabilities.argmax(axis=1)
    assert best.tolist() == records[-1].predicted_classes.tolist()
    losses = -np.log(found.probabilities[np.arange(len(labels)), labels])
    assert losses.mean() == pytest.approx(records[-1].val_loss, rel=1e-6)
    assert found.predicted == tuple(found.classes[place] for place in best)
    assert found.probabilities.sum(axis=1) == pytest.approx(1)
    assert found.problems == {}


@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_the_batch_that_an_image_is_in_changes_nothing(model, split_folders, batch_size):
    usual = predict(model, split_folders)
    other = predict(model, split_folders, batch_size=batch_size)
    assert other.files == usual.files
    np.testing.assert_allclose(other.probabilities, usual.probabilities, rtol=1e-5)


def test_the_file_alone_is_enough_wherever_it_lies(model, split_folders, tmp_path):
    alone = shutil.copy(model, tmp_path / "renamed.safetensors")
    beside = predict(model.parent, split_folders / "test")
    assert np.array_equal(predict(alone, split_folders / "test").probabilities, beside.probabilities)


def test_predicting_is_offered_by_the_package(model, split_folders):
    assert len(autofreeze.predict(model, [split_folders / "test"]).files) == 9


# The table


def test_a_row_tells_the_image_its_class_and_all_probabilities(model, split_folders):
    rows, predicted = told(model, split_folders / "test")
    assert list(rows[0]) == ["file", "predicted", "probability", "problem", "p_columns", "p_plain", "p_rows"]
    assert [row["file"] for row in rows] == [
        str(split_folders / "test" / name / f"{number}.png")
        for name in ("columns", "plain", "rows")
        for number in (200, 201, 202)
    ]
    for row in rows:
        values = {name: float(row[f"p_{name}"]) for name in ("columns", "plain", "rows")}
        assert sum(values.values()) == pytest.approx(1, abs=1e-8)
        assert row["predicted"] == max(values, key=values.get)
        assert float(row["probability"]) == max(values.values())
        assert row["problem"] == ""
    assert predicted.images == sum(predicted.by_class.values()) == 9


def test_the_most_probable_classes_can_be_had_instead(model, split_folders):
    rows, _ = told(model, split_folders / "test", top=2)
    whole, _ = told(model, split_folders / "test")
    assert list(rows[0])[4:] == ["predicted_2", "probability_2"]
    for row, full in zip(rows, whole, strict=True):
        values = sorted((float(full[f"p_{name}"]) for name in ("columns", "plain", "rows")), reverse=True)
        assert [float(row["probability"]), float(row["probability_2"])] == values[:2]
        assert float(full[f"p_{row['predicted_2']}"]) == values[1]


@pytest.mark.parametrize("top", [0, 4])
def test_more_classes_than_the_model_knows_are_refused(model, split_folders, top):
    with pytest.raises(ConfigError, match=rf"top: got {top}; the model knows 3 classes, so 1\.\.3"):
        told(model, split_folders, top=top)


HOSTILE = ('"q', "a,b", "new\nline", "re\rturn", "=cmd()", "\u2028", "p_x", "file", "", " ", "日本")


def test_any_name_of_a_class_or_a_file_comes_back_as_it_was():
    stream = StringIO(newline="")
    table = PredictionTable(stream, HOSTILE)
    probabilities = np.full((len(HOSTILE), len(HOSTILE)), 0.01) + np.eye(len(HOSTILE)) * 0.89
    table.write(HOSTILE, probabilities, [""] * len(HOSTILE))
    lines = list(csv.reader(StringIO(stream.getvalue(), newline="")))
    assert lines[0][4:] == [f"p_{name}" for name in HOSTILE]
    assert [line[0] for line in lines[1:]] == list(HOSTILE)
    assert [line[1] for line in lines[1:]] == list(HOSTILE)
    assert len({len(line) for line in lines}) == 1
    assert len(set(lines[0])) == len(lines[0])


def test_classes_called_anything_are_trained_and_predicted(native_file, write_images, tmp_path):
    data = tmp_path / "data"
    names = {"plain": "=1+1", "rows": 'a "b"\nc', "columns": "café\u202e"}
    for part, first in (("train", 0), ("val", 50)):
        write_images(data / part, (3, 3, 3), first=first)
        for old, new in names.items():
            (data / part / old).rename(data / part / new)
    path = train(native_file, data, out=tmp_path / "out", epochs=1).model_path
    assert set(read_model(path).classes) == set(names.values())
    beside = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert tuple(beside["label_names"]) == read_model(path).classes
    out = tmp_path / "p.csv"
    predict_to(out, path, data / "val")
    rows = rows_of(out.read_text(encoding="utf-8"))
    assert len(rows) == 9
    assert {row["file"].rpartition("/")[0].rpartition("/")[2] for row in rows} == {
        "=1+1", 'a "b"\nc', "café\u202e"
    }  # fmt: skip
    assert list(rows[0])[4:] == [f"p_{name}" for name in read_model(path).classes]


@pytest.fixture(scope="module")
def native_file(trained):
    return trained[0].parent.parent / "best.yaml"


# What cannot be read


@pytest.fixture
def mixed(split_folders, tmp_path):
    """Two images, and between them one that is cut short, an empty one, and a text."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    source = split_folders / "test" / "rows" / "200.png"
    for name in ("1.png", "5.png"):
        shutil.copy(source, folder / name)
    (folder / "2.png").write_bytes(source.read_bytes()[:400])
    (folder / "3.png").write_bytes(b"")
    (folder / "4.png").write_text("no image")
    return folder


def test_an_image_that_cannot_be_read_has_a_row_with_the_reason(model, mixed):
    rows, predicted = told(model, mixed, batch_size=2)
    assert [bool(row["problem"]) for row in rows] == [False, True, True, True, False]
    assert all(list(row.values())[1:3] == ["", ""] for row in rows[1:4])
    assert all(row["p_rows"] == "" for row in rows[1:4])
    assert "is no image, or of a kind that is not read" in rows[3]["problem"]
    assert float(rows[0]["p_rows"]) == pytest.approx(float(rows[4]["p_rows"]), rel=1e-6)
    assert len(predicted.problems) == 3
    assert sum(predicted.by_class.values()) == 2


def test_the_command_tells_what_cannot_be_read_and_is_done(model, mixed, tmp_path, capsys):
    out = tmp_path / "p.csv"
    assert main(["predict", str(model), str(mixed), "-o", str(out)]) == 0
    errors = capsys.readouterr().err
    assert "3 of 5 images cannot be read; the column problem says why:" in errors
    assert f"{mixed / '4.png'}: is no image, or of a kind that is not read" in errors
    assert len(rows_of(out.read_text())) == 5


def test_images_of_which_none_can_be_read_are_a_mistake(model, mixed, tmp_path, capsys):
    for name in ("1.png", "5.png"):
        (mixed / name).unlink()
    assert main(["predict", str(model), str(mixed), "-o", str(tmp_path / "p.csv")]) == 2
    assert "none of 3 images can be read" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"mixed"}
    with pytest.raises(DataError, match="none of 3 images can be read"):
        predict(model, mixed)


def test_outputs_that_are_no_numbers_are_no_prediction(model, split_folders, tmp_path):
    tensors = load_file(model)
    tensors["fc.bias"] = torch.full((3,), float("nan"))
    with pytest.raises(DataError, match="the model gives no finite numbers"):
        predict(_copy(model, tensors, tmp_path / "nan.safetensors"), split_folders / "test")


def _copy(model, tensors, path):
    said = json.loads(model.with_suffix(".json").read_text())
    texts = {name: text if isinstance(text, str) else json.dumps(text) for name, text in said.items()}
    save_file(tensors, path, metadata=texts)
    return path


# Which images


def test_folders_are_searched_to_any_depth_and_sorted_as_people_count(model, split_folders, tmp_path, capsys):
    source = split_folders / "test" / "rows" / "200.png"
    for name in ("10.png", "2.PNG", "deep/er/1.png", ".hidden.png", ".git/1.png", "__MACOSX/1.png", "n.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tmp_path / "in" / name)
    Image.open(source).save(tmp_path / "in" / "3.webp")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "link.png").symlink_to(source)
    assert main(["predict", str(model), str(tmp_path / "in"), str(tmp_path / "in" / "2.PNG")]) == 0
    output, errors = capsys.readouterr()
    names = [os.path.relpath(row["file"], tmp_path / "in") for row in rows_of(output)]
    assert names == ["2.PNG", "3.webp", "10.png", "deep/er/1.png", "link.png"]
    assert "1 file passed over: no image by the ending" in errors
    assert "predicted 5: " in errors


def test_a_file_that_is_named_is_tried_whatever_its_ending(model, split_folders, tmp_path):
    path = shutil.copy(split_folders / "test" / "rows" / "200.png", tmp_path / "image")
    assert predict(model, path).files == (str(path),)


def test_the_images_of_a_labelled_table_can_be_predicted_too(model, split_folders, tmp_path):
    folder = shutil.copytree(split_folders / "test", tmp_path / "in")
    (folder / "labels.csv").write_text("path,label\nrows/200.png,a\nplain/201.png,b\n")
    found = predict(model, [folder / "labels.csv", folder / "columns"])
    assert found.files[:2] == ("plain/201.png", "rows/200.png")
    assert len(found.files) == 5
    alone = predict(model, [folder / "plain" / "201.png"]).probabilities
    np.testing.assert_allclose(found.probabilities[:1], alone, rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["nowhere", "neither"], "neither: no such file or folder"),
        ([], "no images given"),
        (["empty"], "empty: no images; looked for .png"),
    ],
)
def test_images_that_are_not_there_are_told(model, tmp_path, monkeypatch, given, problem):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=problem):
        predict(model, given)


# Where to


def test_a_file_that_exists_is_not_overwritten(model, split_folders, tmp_path, capsys):
    out = tmp_path / "p.csv"
    out.write_text("mine")
    given = ["predict", str(model), str(split_folders / "test"), "-o", str(out)]
    assert main(given) == 2
    assert f"{out}: exists already; --force overwrites it" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main([*given, "--force"]) == 0
    assert len(rows_of(out.read_text())) == 9
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]
    with pytest.raises(ConfigError, match="is a folder"):
        predict_to(tmp_path, model, split_folders)


def test_a_prediction_that_is_broken_off_leaves_no_file(model, split_folders, tmp_path):
    def stop(doing, done, total):
        assert done < total
        raise KeyboardInterrupt

    out = tmp_path / "new" / "p.csv"
    with pytest.raises(KeyboardInterrupt):
        predict_to(out, model, split_folders, batch_size=2, progress=stop)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_disk_that_is_full_is_told_and_a_device_is_written_to_as_it_is(model, split_folders):
    with pytest.raises(AutofreezeError, match=r"/dev/full: cannot be written to \(No space left on device\)"):
        predict_to(Path("/dev/full"), model, split_folders)
    assert predict_to(Path(os.devnull), model, split_folders / "test").images == 9
    assert Path(os.devnull).is_char_device()


def test_how_far_it_has_come_is_told(model, split_folders):
    seen = []
    predict(model, split_folders / "test", batch_size=4, progress=lambda *told: seen.append(told))
    assert seen == [("predicting images", done, 9) for done in (4, 8, 9)]


def test_all_that_is_wrong_with_the_options_is_told_at_once(model, split_folders):
    with pytest.raises(ConfigError) as caught:
        predict(model, split_folders, batch_size=0, threads=0, device="tpu")
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "batch_size", "threads", "device"
    ]  # fmt: skip


NO_MEMORY = (
    torch.OutOfMemoryError("out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 402653184 bytes."),
    MemoryError(),
)


@pytest.mark.parametrize("error", NO_MEMORY, ids=["GPU", "CPU", "Python"])
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", "a batch of 48 images of 32 x 32 pixels does not fit .*; give a smaller --batch-size"),
        ("test/rows/200.png", "an image of 32 x 32 pixels does not fit the memory of cpu; free some"),
    ],
)
def test_a_batch_that_does_not_fit_the_memory_is_told_with_the_way_out(
    model, split_folders, monkeypatch, error, given, told
):
    def full(*_):
        raise error

    monkeypatch.setattr(predicting, "to_pixels", full)
    with pytest.raises(AutofreezeError, match=told):
        predict(model, split_folders / given, device="cpu")


def test_another_error_of_the_model_is_not_taken_for_a_lack_of_memory(model, split_folders, monkeypatch):
    def fails(*_):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(predicting, "to_pixels", fails)
    with pytest.raises(RuntimeError, match="shapes differ"):
        predict(model, split_folders, device="cpu")


# The model's file


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("test_resnet", 32),
        ("test_efficientnet", 32),
        ("test_convnext", 32),
        ("test_vit", 64),
        ("deit_tiny_distilled_patch16_224", 32),
    ],
)
def test_timm_and_autofreeze_load_the_model_with_its_labels_and_preprocessing(tmp_path, name, size):
    found = load_backbone(name, from_scratch=True, image_size=size, mean=(0.4, 0.5, 0.6), crop_pct=0.9)
    model = found.build(3, seed=1)
    model(torch.randn(4, 3, size, size))  # moves what follows the batches
    path = tmp_path / "model.safetensors"
    save_model(
        model, path, architecture=name, classes=("a", "b", "c"), preprocessing=found.preprocessing,
        options=found.options,
    )  # fmt: skip
    said = json.loads(path.with_suffix(".json").read_text())
    loaded = timm.create_model(
        said["architecture"], num_classes=said["num_classes"], checkpoint_path=str(path),
        **said.get("model_args", {}),
    )  # fmt: skip
    shutil.copy(path.with_suffix(".json"), tmp_path / "config.json")
    hub = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    ours = read_model(path)
    images = torch.randn(4, 3, size, size)
    with torch.no_grad():
        expected = model.eval()(images)
        assert torch.equal(loaded.eval()(images), expected)
        assert torch.equal(ours.build()(images), expected)
        assert torch.equal(hub.eval()(images), expected)
    assert hub.pretrained_cfg["label_names"] == ["a", "b", "c"]
    assert ours.classes == ("a", "b", "c")
    assert ours.preprocessing == found.preprocessing
    settings = timm.data.resolve_data_config(pretrained_cfg=said["pretrained_cfg"])
    assert tuple(settings["input_size"]) == (3, size, size)
    assert tuple(settings["mean"]) == (0.4, 0.5, 0.6)
    assert settings["crop_pct"] == 0.9
    assert settings["interpolation"] == found.preprocessing.interpolation


def test_a_model_can_be_trained_further_from_its_file(model, backbone):
    weights = load_backbone("test_resnet", weights=model)
    assert weights.preprocessing == backbone().preprocessing
    name = weights.groups.groups[0].parameters[0]
    assert torch.equal(weights.tensors[name], load_file(model)[name])


def test_tied_weights_are_saved(tmp_path, backbone):
    network = backbone().build(3, seed=0)
    same = [name for name, weight in network.named_parameters() if weight.shape == (32,)]
    names = [name for name in same if name.endswith(".weight")][:2]
    network.get_submodule(names[1].rpartition(".")[0]).weight = network.get_parameter(names[0])
    path = tmp_path / "m.safetensors"
    given = {"architecture": "test_resnet", "classes": ("a", "b", "c")}
    save_model(network, path, preprocessing=backbone().preprocessing, **given)
    kept = load_file(path)
    assert torch.equal(kept[names[0]], kept[names[1]])


FACTS = {
    "architecture": "test_resnet",
    "num_classes": 3,
    "label_names": ["a", "b", "c"],
    "pretrained_cfg": {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3},
}


def test_a_file_of_others_serves_if_it_says_what_is_needed(model, split_folders, tmp_path):
    (tmp_path / "hub").mkdir()
    path = save_with(tmp_path / "hub" / "model.safetensors", model, format="pt")
    (tmp_path / "hub" / "config.json").write_text(json.dumps(FACTS))
    assert predict(tmp_path / "hub", split_folders / "test").classes == ("a", "b", "c")
    assert read_model(path).preprocessing.image_size == 32


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"label_names": None}, "does not say what its classes are called"),
        ({"label_names": ["a", "b"]}, "num_classes is 3, and label_names names 2"),
        ({"label_names": {"a": 1}}, "label_names: got"),
        ({"label_names": "{"}, "label_names: got"),
        ({"architecture": None}, "architecture: missing"),
        ({"architecture": "test_resnot"}, "has no model 'test_resnot'; did you mean test_resnet"),
        ({"architecture": "hf-hub:somebody/model"}, "has no model 'hf-hub:somebody/model'"),
        ({"architecture": "local-dir:/tmp"}, "has no model 'local-dir:/tmp'"),
        (
            {"architecture": "test_vit"},
            "are not those of timm's test_vit with 3 classes: .* missing",
        ),
        ({"architecture": "../../etc/passwd"}, "has no model '../../etc/passwd'"),
        ({"architecture": ""}, "architecture: got ''; must not be empty"),
        (
            {"architecture": "test_vit", "model_args": {"img_size": 10**6}},
            "img_size: got 1000000; must be less",
        ),
        ({"architecture": "test_vit", "model_args": {"img_size": 30}}, "not those of timm's test_vit"),
        ({"model_args": {"img_size": 32}}, "unexpected keyword argument 'img_size'"),
        ({"num_classes": 4, "label_names": list("abcd")}, "with 4 classes"),
        ({"model_args": {"pretrained": 1}}, "model_args.pretrained"),
        ({"pretrained_cfg": None}, "does not say how images are prepared"),
        ({"pretrained_cfg": {"input_size": [3, 32, 64]}}, "must be square images of three channels"),
        ({"pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}, "pretrained_cfg.image_size: missing"),
        ({"pretrained_cfg": {**FACTS["pretrained_cfg"], "std": [0, 1, 1]}}, r"pretrained_cfg\.std\.0: got 0"),
    ],
)
def test_a_file_that_does_not_say_what_is_needed_is_refused(model, tmp_path, changes, problem):
    said = {name: value for name, value in (FACTS | changes).items() if value is not None}
    path = save_with(tmp_path / "m.safetensors", model, **said)
    with pytest.raises(BackboneError, match=problem):
        read_model(path).build()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda name, tensor: {}, "1 tensor missing, {name} first"),
        (lambda name, tensor: {name: tensor, "extra": tensor.clone()}, "1 tensor too many, 'extra' first"),
        (lambda name, tensor: {name: tensor[:1].clone()}, "{name} is (1, {rest}), not ({first}, {rest})"),
    ],
)
def test_it_is_said_which_tensor_is_not_the_models(model, tmp_path, change, problem):
    tensors = load_file(model)
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 4)
    tensor = tensors.pop(name)
    texts = {key: text if isinstance(text, str) else json.dumps(text) for key, text in FACTS.items()}
    save_file(tensors | change(name, tensor), tmp_path / "m.safetensors", metadata=texts)
    first, *rest = tensor.shape
    expected = problem.format(name=name, first=first, rest=", ".join(map(str, rest)))
    with pytest.raises(BackboneError, match=re.escape(expected)):
        read_model(tmp_path / "m.safetensors").build()


def test_a_small_file_that_names_a_huge_model_takes_no_memory(model, tmp_path):
    said = FACTS | {"architecture": "vit_giant_patch14_224"}
    path = save_with(tmp_path / "m.safetensors", model, **said)
    with guarded([tmp_path], memory=2**28), pytest.raises(BackboneError, match="tensors missing"):
        read_model(path).build()


def test_a_model_that_takes_far_more_than_its_file_holds_is_not_made(model, tmp_path, monkeypatch):
    path = save_with(tmp_path / "m.safetensors", model, **FACTS)
    found = read_model(path)
    made = TrainedModel._made

    def large(trained):
        network = made(trained)
        network.register_buffer("beside", torch.zeros(2**40), persistent=False)
        return network

    monkeypatch.setattr(TrainedModel, "_made", large)
    with pytest.raises(BackboneError, match=r"the model takes 4,398,\d+,\d+,\d+ bytes, and the file has"):
        found.build()


def test_only_whole_safetensors_files_are_read(model, tmp_path):
    torch.save(load_file(model), tmp_path / "m.pth")
    with pytest.raises(BackboneError, match="others may hold code, and are not read"):
        read_model(tmp_path / "m.pth")
    (tmp_path / "m.safetensors").write_bytes(model.read_bytes()[:-100])
    with pytest.raises(BackboneError, match="not a readable safetensors file, or damaged"):
        read_model(tmp_path / "m.safetensors")
    with pytest.raises(InputError, match=r"no such model file; autofreeze train writes one"):
        read_model(tmp_path)
