"""Reading weights files: what is in them, what lies beside them, and what is refused."""

import json
import os
import pickle
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from trust.guard import guarded

from autofreeze.errors import BackboneError
from autofreeze.weights import PreprocessingHints, read_weights, tensors_digest

TENSORS = {"conv.weight": torch.arange(12.0).reshape(3, 4), "bn.num_batches_tracked": torch.tensor(7)}
HINTS = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "crop_pct": 0.9, "input_size": [3, 96, 96]}
READ = PreprocessingHints(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), crop_pct=0.9, input_size=(3, 96, 96))


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype


def test_half_precision_is_read_as_float32_and_counters_stay_integers(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({name: t.half() if t.is_floating_point() else t for name, t in TENSORS.items()}, path)
    assert_equal(read_weights(path).tensors, TENSORS)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state},
        lambda state: {"model_ema": state, "model": {"other.weight": torch.zeros(1)}},
        lambda state: {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
    ],
    ids=["bare", "state_dict", "model", "model_ema before model", "module. prefix"],
)
def test_torch_files_are_unwrapped(tmp_path, wrap, suffix):
    path = tmp_path / f"w{suffix}"
    torch.save(wrap(TENSORS), path)
    assert_equal(read_weights(path).tensors, TENSORS)


def test_the_tensors_outlive_the_file(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(TENSORS, path)
    tensors = read_weights(path).tensors
    path.write_bytes(b"\0" * path.stat().st_size)
    assert_equal(tensors, TENSORS)


class RunsCode:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("plain_pickle", [True, False])
def test_a_file_that_needs_code_is_refused_and_its_code_never_runs(tmp_path, plain_pickle):
    path, marker = tmp_path / "w.pth", tmp_path / "it_ran"
    if plain_pickle:
        path.write_bytes(pickle.dumps({"a": RunsCode(marker)}))
    else:
        torch.save({"state_dict": TENSORS, "extra": RunsCode(marker)}, path)
    with pytest.raises(BackboneError, match="only running code from the file could restore"):
        read_weights(path)
    assert not marker.exists()


def deflated(path, entries):
    """A torch file whose entries are compressed, one of them grown to 64 MiB."""
    torch.save(TENSORS, path)
    with zipfile.ZipFile(path) as archive:
        held = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in held.items():
            archive.writestr(name, bytes(2**26) if name.endswith(entries) else data)


ODD = {
    "a view that repeats one number": ({"a": torch.zeros(1).expand(2**42)}, "repeats itself"),
    "one tensor under many names": (dict.fromkeys(map(str, range(50)), torch.zeros(2**18)), "repeats itself"),
    "a sparse tensor": (
        {"a": torch.sparse_coo_tensor([[0], [1]], [1.0], (2**30, 2**30), check_invariants=True)},
        "is sparse",
    ),
    "no device": ({"a": torch.zeros(3, device="meta")}, "lies on the device meta"),
    "a name that is no text": ({"\ud800": torch.zeros(3)}, "the name is no text"),
    "many dimensions": ({"a": torch.zeros([1] * 65)}, "has 65 dimensions"),
}


@pytest.mark.parametrize("kind", ODD)
def test_tensors_that_are_no_plain_arrays_or_larger_than_their_file_are_refused(kind, tmp_path):
    given, words = ODD[kind]
    path = tmp_path / "net.pth"
    torch.save(given, path)
    with guarded([], memory=2**30) as seen, pytest.raises(BackboneError, match=words):
        read_weights(path)
    assert seen == []


@pytest.mark.parametrize("entry", ["data.pkl", "data/0"])
def test_a_file_that_inflates_is_refused_before_it_is_unpacked(entry, tmp_path):
    deflated(tmp_path / "net.pth", entry)
    with guarded([], memory=2**25), pytest.raises(BackboneError, match="it is compressed"):
        read_weights(tmp_path / "net.pth")


@pytest.mark.parametrize("shape", [[0, 2**62], [1] * 5000])
def test_shapes_that_no_array_has_are_refused(shape, tmp_path):
    size = 4 if 0 not in shape else 0
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}
    (tmp_path / "net.safetensors").write_bytes(header(0, {"a": entry}) + bytes(size))
    with pytest.raises(BackboneError, match=r"repeats itself|has 5000 dimensions"):
        read_weights(tmp_path / "net.safetensors")


def test_pickles_of_another_protocol_are_read_without_remarks(tmp_path):
    torch.save(TENSORS, tmp_path / "net.pth", pickle_protocol=3)
    assert set(read_weights(tmp_path / "net.pth").tensors) == set(TENSORS)


def test_attributes_that_a_tensor_brings_are_dropped(tmp_path):
    tensor = torch.arange(6.0)
    for name in ("detach", "is_floating_point", "cpu", "element_size", "to", "numpy"):
        setattr(tensor, name, "no method")
    torch.save({"a": tensor}, tmp_path / "net.pth")
    read = read_weights(tmp_path / "net.pth").tensors["a"]
    assert torch.equal(read, torch.arange(6.0))
    assert vars(read) == {}


def test_tied_weights_are_read(tmp_path):
    shared = torch.arange(6.0)
    torch.save({"a": shared, "b": shared}, tmp_path / "net.pth")
    assert set(read_weights(tmp_path / "net.pth").tensors) == {"a", "b"}


def header(size: int, entries: dict) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", size if size else len(text)) + text


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".safetensors", b""),
        (".safetensors", b"not a header at all"),
        (".safetensors", header(2**60, {})),
        (
            ".safetensors",
            header(0, {"a": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 4000]}}) + b"\0" * 8,
        ),
        (
            ".safetensors",
            header(0, {"a": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 8]}}) + b"\0" * 8,
        ),
        (
            ".safetensors",
            header(0, {"a": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}}) + b"\0" * 8,
        ),
        (
            ".safetensors",
            header(0, {"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}) + b"\0" * 8,
        ),
        (".pth", b""),
        (".pth", b"PK\x03\x04 half a zip file"),
        (".pth", b"\x80\x02}q\x00"),
        (".bin", b"hello"),
    ],
)
def test_a_damaged_or_lying_file_gives_one_clear_line(tmp_path, suffix, content):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(BackboneError) as caught:
        read_weights(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: not a readable")
    assert "\n" not in message


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_truncated_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    save_file(TENSORS, path) if suffix == ".safetensors" else torch.save(TENSORS, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BackboneError, match="not a readable"):
        read_weights(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.pth", None, "no such weights file"),
        ("w.onnx", b"x", r"ends in \.safetensors or \.pth"),
        ("w.pth", {"epoch": 3}, "holds no tensors"),
        ("w.pth", {"state_dict": {}}, "holds no tensors"),
        ("w.pth", [1, 2], "not a readable torch file"),
    ],
)
def test_what_is_no_weights_file_is_refused(tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(BackboneError, match=message):
        read_weights(path)


@pytest.mark.parametrize(
    ("metadata", "beside", "hints", "hints_from"),
    [
        ({}, {}, PreprocessingHints(), ""),
        ({"pretrained_cfg": json.dumps(HINTS)}, {}, READ, "from the file's metadata"),
        ({}, {"w.json": HINTS}, READ, "from w.json beside the file"),
        ({}, {"w.json": {"pretrained_cfg": HINTS, "num_classes": 3}}, READ, "from w.json beside the file"),
        ({}, {"config.json": {"pretrained_cfg": HINTS}}, READ, "from config.json beside the file"),
        ({}, {"config.json": {"model_type": "bert"}}, PreprocessingHints(), ""),
        ({}, {"w.json": HINTS, "config.json": {"crop_pct": 1}}, READ, "from w.json beside the file"),
        (
            {"pretrained_cfg": json.dumps(HINTS)},
            {"w.json": {"crop_pct": 1}},
            READ,
            "from the file's metadata",
        ),
    ],
    ids=[
        "none",
        "metadata",
        "flat",
        "nested",
        "config",
        "another's config",
        "own name first",
        "metadata first",
    ],
)
def test_hints_come_from_the_metadata_else_from_beside(tmp_path, metadata, beside, hints, hints_from):
    save_file(TENSORS, tmp_path / "w.safetensors", metadata)
    for name, content in beside.items():
        (tmp_path / name).write_text(json.dumps(content))
    file = read_weights(tmp_path / "w.safetensors")
    assert (file.hints, file.hints_from) == (hints, hints_from)


def test_hints_beside_a_torch_file_are_read(tmp_path):
    torch.save(TENSORS, tmp_path / "w.pth")
    (tmp_path / "w.json").write_text(json.dumps({"architecture": "test_resnet", **HINTS}))
    file = read_weights(tmp_path / "w.pth")
    assert (file.hints, file.architecture) == (READ, "test_resnet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "must be a JSON object, got list"),
        ('{"pretrained_cfg": 3}', "pretrained_cfg must be an object, got int"),
        ('{"mean": [0.5, 0.5]}', r"mean"),
        ('{"crop_pct": "much", "std": "x"}', r"(?s)std: .*crop_pct: got 'much'"),
    ],
)
@pytest.mark.parametrize("place", ["metadata", "beside"])
def test_bad_hints_are_refused_with_their_place(tmp_path, text, message, place):
    path = tmp_path / "w.safetensors"
    save_file(TENSORS, path, {"pretrained_cfg": text} if place == "metadata" else {})
    if place == "beside":
        (tmp_path / "w.json").write_text(text)
    with pytest.raises(BackboneError, match=message) as caught:
        read_weights(path)
    assert ("metadata key pretrained_cfg" if place == "metadata" else "w.json") in caught.value.where


def test_the_digest_follows_names_shapes_types_and_bits_but_not_the_order():
    digest = tensors_digest(TENSORS)
    assert len(digest) == 16
    assert tensors_digest(dict(reversed(TENSORS.items()))) == digest
    weight = TENSORS["conv.weight"]
    nudged = weight.clone()
    nudged[0, 0] = 1e-45
    for other in (weight.reshape(4, 3), weight.int(), nudged):
        assert tensors_digest({**TENSORS, "conv.weight": other}) != digest
    assert tensors_digest({"a": weight}) != tensors_digest({"b": weight})


def test_numbers_of_a_type_that_cannot_be_read_are_told_with_their_name(tmp_path):
    path = tmp_path / "four_bits.pth"
    torch.save({"block.weight": torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)}, path)
    with pytest.raises(BackboneError, match=r"'block\.weight': numbers of type .* save them as float32"):
        read_weights(path)
