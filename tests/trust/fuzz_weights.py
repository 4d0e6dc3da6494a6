# ruff: noqa: E501 - tables are read by line
"""Hostile weights: pickles that bring code, archives and headers that lie, models that are not what they say.

A file is read into plain tensors, or refused in plain words. Code in it never runs: each payload would leave a file
behind, and there must be none.
"""

import builtins
import functools
import io
import json
import operator
import os
import pickle
import random
import shutil
import struct
import subprocess
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from trust import bytewise
from trust.check import Check, Effort, Outcome
from trust.finds import Finds

MEMORY = 1 << 29
"""Bytes by which a file may make the process grow."""


# Pickles


class Calls:
    """Is pickled as a call.

    Args:
        function: What is called when it is unpickled.
        arguments: With what.
    """

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def payloads(canary: Path) -> Iterator[object]:
    """Give objects that make a file when they are unpickled, each in another way."""
    import numpy as np
    import torch

    there, code = str(canary), f"open({str(canary)!r}, 'w').close()"
    yield Calls(os.system, f"touch {there}")
    yield Calls(os.mkdir, there)
    yield Calls(builtins.eval, f"({code})")
    yield Calls(builtins.exec, code)
    yield Calls(builtins.open, there, "w")
    yield Calls(subprocess.Popen, ["touch", there])
    yield Calls(Path.touch, canary)
    yield Calls(shutil.copyfile, "/etc/hostname", there)
    yield Calls(functools.reduce, operator.add, Calls(os.system, f"touch {there}"))
    yield Calls(functools.partial(open, there, "w"))
    yield Calls(np.memmap, there, "uint8", "w+", 0, (4,))
    yield Calls(torch.save, {}, there)
    yield Calls(torch.storage._load_from_bytes, pickle.dumps(Calls(os.system, f"touch {there}")))
    yield Calls(torch.serialization.add_safe_globals, [os.system])
    yield Calls(torch._tensor._rebuild_from_type_v2, os.mkdir, str, (there,), {})
    yield OrderedDict(a=Calls(os.system, f"touch {there}"))
    yield {Calls(os.mkdir, there): 1}
    yield [Calls(os.system, f"touch {there}")]


@cache
def pickled(canary: Path) -> tuple[bytes, ...]:
    """Give every payload as torch would write it, as an archive and as the older plain pickles."""
    import torch

    found = []
    tensors = {"a": torch.arange(6.0), "b.weight": torch.ones(2, 3, dtype=torch.float16)}
    for payload in payloads(canary):
        try:
            found += [pickle.dumps({"state_dict": tensors, "x": payload}, protocol) for protocol in (2, 4)]
        except TypeError:  # cannot be hashed, say: nothing that a file could hold
            continue
        for new in (True, False):
            stream = io.BytesIO()
            torch.save({"state_dict": tensors, "x": payload}, stream, _use_new_zipfile_serialization=new)
            found.append(stream.getvalue())
    return tuple(found)


@cache
def honest() -> tuple[bytes, ...]:
    """Give files of plain tensors, in all the ways that torch has written them."""
    import torch

    storage, odd = torch.arange(24.0), torch.ones(3)
    for name in ("detach", "to", "cpu", "numpy", "is_floating_point", "element_size"):
        setattr(odd, name, "no method")
    plain = {
        "a": storage[:6].reshape(2, 3), "b": storage[6:].reshape(3, 6).t(), "c": torch.ones((), dtype=torch.int64),
        "d": torch.ones(4, dtype=torch.bfloat16), "e": torch.nn.Parameter(torch.ones(5)), "f": torch.zeros(0, 3), "g": odd,
    }  # fmt: skip
    found = []
    for wrapped in (
        plain,
        {"state_dict": plain, "epoch": 3},
        {"model": {f"module.{k}": v for k, v in plain.items()}},
    ):
        for new in (True, False):
            stream = io.BytesIO()
            torch.save(wrapped, stream, _use_new_zipfile_serialization=new)
            found.append(stream.getvalue())
    return tuple(found)


def archive(rng: random.Random, raw: bytes, canary: Path) -> bytes:
    """Write an archive anew, with an entry that is another, gone, doubled, longer, compressed or called otherwise."""
    with zipfile.ZipFile(io.BytesIO(raw)) as given:
        entries = [(one.filename, given.read(one)) for one in given.infolist()]
    place = rng.randrange(len(entries)) if rng.random() < 0.5 else 0
    name, data = entries[place]
    how = rng.choice(
        ("pickle", "other", "other", "gone", "doubled", "longer", "shorter", "name", "payload", "nothing")
    )
    if how in ("other", "pickle"):
        entries[place] = name, bytewise.changed(rng, data or b"12345678", front=2000, most=3)
    elif how == "gone":
        del entries[place]
    elif how == "doubled":
        entries.append((name, bytewise.changed(rng, data or b"12345678")))
    elif how == "longer":
        entries[place] = name, data + bytes(rng.choice((1, 64, 2**20)))
    elif how == "shorter":
        entries[place] = name, data[: len(data) // 2]
    elif how == "name":
        entries[place] = (
            rng.choice(("../../x", "/etc/passwd", "a\0b", "x" * 60_000, "", name.upper(), "data.pkl")),
            data,
        )
    elif how == "payload":
        other = rng.choice([one for one in pickled(canary) if one[:2] != b"PK"])
        entries = [(one, other if one.endswith("data.pkl") else held) for one, held in entries]
    kind = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", kind) as made:
        warnings.simplefilter("ignore")  # a name that is there already
        for one, held in entries:
            made.writestr(zipfile.ZipInfo(one) if one else zipfile.ZipInfo("x"), held, kind)
    return stream.getvalue()


def torch_file(rng: random.Random, canary: Path) -> bytes:
    """Draw a file as torch writes them, that is not what it should be."""
    raw = rng.choice(pickled(canary) if rng.random() < 0.3 else honest())
    how = rng.random()
    if raw[:2] == b"PK" and how < 0.6:
        return archive(rng, raw, canary)
    if how < 0.95:
        return bytewise.changed(rng, raw, [*honest(), *pickled(canary)], front=400)
    return raw


# safetensors

DTYPES = (
    "F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "U16", "U32", "U64", "BOOL", "F8_E4M3", "F8_E5M2",
    "F8_E8M0", "F4", "F6_E2M3", "C64", "X", "", None, 7,
)  # fmt: skip
SIZES = (0, 1, 2, 3, -1, 2**31, 2**53, 2**62, 2**63 - 1, 2**64, 10**30, 1.5, "2", None, [2])


def header(rng: random.Random) -> bytes:
    """Draw a header in which something is not as it should be."""
    entries: dict[str, Any] = {
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b.weight": {"dtype": "F16", "shape": [4], "data_offsets": [24, 32]},
        "c": {"dtype": "I64", "shape": [], "data_offsets": [32, 40]},
        "__metadata__": {"format": "pt"},
    }
    for _ in range(rng.randint(0, 2)):
        name = rng.choice([one for one in entries if one != "__metadata__"] or ["a"])
        entry = entries.setdefault(name, {})
        how = rng.choice(
            ("dtype", "shape", "size", "size", "offset", "offset", "gone", "name", "key", "metadata")
        )
        if how == "dtype":
            entry["dtype"] = rng.choice(DTYPES)
        elif how == "shape":
            entry["shape"] = rng.choice(
                ([], [0], [1] * rng.choice((5, 65, 5000)), [2**40, 2**40], None, "6", {}, [[6]])
            )
        elif how == "size" and entry.get("shape") and isinstance(entry["shape"], list):
            entry["shape"][rng.randrange(len(entry["shape"]))] = rng.choice(SIZES)
        elif how == "offset" and isinstance(entry.get("data_offsets"), list):
            entry["data_offsets"][rng.randrange(2)] = rng.choice((*SIZES, 8, 24, 32, 40, 41))
        elif how == "gone":
            entry.pop(rng.choice(("dtype", "shape", "data_offsets")), None)
        elif how == "name":
            entries[rng.choice(("", "module.a", "a\n", "\x1b[2J", "\u202e", "x" * 10_000, "../a", "é"))] = (
                entries.pop(name)
            )
        elif how == "key":
            entry[rng.choice(("x", "", "dtype "))] = rng.choice(SIZES)
        else:
            entries["__metadata__"] = rng.choice((
                None, [], {"a": 1}, {"a": None}, {"pretrained_cfg": "["}, {"pretrained_cfg": "[" * 10_000},
                {"pretrained_cfg": json.dumps({"mean": rng.choice(SIZES)})}, {"pretrained_cfg": '{"mean": [NaN, 0, 0]}'},
                {"architecture": "\x1b[2J../../x"}, {"pretrained_cfg": '{"input_size": [3, 1e400, -1]}'},
            ))  # fmt: skip
    text = json.dumps(entries).encode()
    if rng.random() < 0.1:
        text = text[:-1] + b", " + text[1:]  # every name twice
    if rng.random() < 0.3:
        text = bytewise.changed(rng, text, front=len(text), most=2)
    return text


def safetensors_file(rng: random.Random) -> bytes:
    """Draw a safetensors file that is not what it should be."""
    text = header(rng)
    length = rng.choice((len(text), *([len(text)] * 8), 0, 2**60, len(text) + 1, len(text) - 1, 2**64 - 1))
    body = bytes(rng.choice((40, 40, 40, 39, 41, 0, 4000)))
    raw = struct.pack("<Q", length % 2**64) + text + body
    return bytewise.changed(rng, raw, front=40, most=1) if rng.random() < 0.1 else raw


def complaints(path: Path, weights: Any) -> Iterator[str]:
    """Say what no file may be read as."""
    import torch

    held = 0
    for name, tensor in weights.tensors.items():
        held += tensor.nbytes
        plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not vars(tensor)
        if not (isinstance(name, str) and plain):
            yield f"read as {tensor.layout} on {tensor.device}"
        if tensor.is_floating_point() and tensor.dtype is not torch.float32:
            yield f"read as {tensor.dtype}"
    if held > 32 * path.stat().st_size + 2**22:  # half precision becomes twice as long, bytes four times
        yield f"read as {held} bytes, out of {path.stat().st_size}"


def fuzz_weights(effort: Effort) -> Outcome:
    """Read weights that are not what they should be, and hash what is read; the payloads, as they are, first."""
    from autofreeze.weights import read_weights, tensors_digest

    finds, rng = Finds(memory=MEMORY), effort.rng
    canary, own = effort.folder / "canary", effort.folder / "own"
    own.mkdir()

    def act(path: Path) -> object:
        weights = read_weights(path)
        tensors_digest(weights.tensors)
        return weights

    def attempt(name: str, raw: bytes) -> object:
        finds.tried += 1
        path = own / name
        path.write_bytes(raw)
        weights = finds.attempt(f"a {path.suffix} file", raw, partial(act, path), own)
        if canary.exists():
            finds.add("code in a file was run", raw)
            shutil.rmtree(canary) if canary.is_dir() else canary.unlink()
        for one in complaints(path, weights) if weights is not None else ():
            finds.add(f"a {path.suffix} file: {one}", raw)
        return weights

    for number, raw in enumerate(pickled(canary)):
        if attempt(("w.pth", "w.pt", "w.bin", "w.ckpt")[number % 4], raw) is not None:
            finds.add("a pickle with a payload was read", raw)
    for raw in honest():
        if attempt("w.pth", raw) is None:
            finds.add("a file of plain tensors was refused", raw)
    for _ in range(effort.times):
        if rng.random() < 0.5:
            attempt("w.pth", torch_file(rng, canary))
        else:
            attempt("w.safetensors", safetensors_file(rng))
    return finds.outcome()


# Trained models


@cache
def trained() -> tuple[bytes, dict[str, str]]:
    """Give a small model's tensors as safetensors without metadata, and the metadata that belong to them."""
    import safetensors.torch
    import timm

    model = timm.create_model("test_resnet", num_classes=2)
    said = {
        "architecture": "test_resnet", "num_classes": "2", "label_names": '["x", "y"]',
        "pretrained_cfg": json.dumps({"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 0.9}),
    }  # fmt: skip
    return safetensors.torch.save(model.state_dict()), said


def honest_model() -> bytes:
    """Give a trained model of two classes, as it should be."""
    plain, said = trained()
    (length,) = struct.unpack_from("<Q", plain)
    text = json.dumps({**json.loads(plain[8 : 8 + length]), "__metadata__": said}).encode()
    return struct.pack("<Q", len(text)) + text + plain[8 + length :]


WORDS: dict[str, tuple[str, ...]] = {
    "architecture": (
        "vit_giant_patch14_224", "eva_giant_patch14_560", "../../etc/passwd", "hf-hub:x/y", "local-dir:/tmp", "", "test_vit",
        "test_resnet.r160_in1k", "\x1b[31m\u202e", "x" * 10**5, "resnet18", "swin_base_patch4_window7_224", "beit_base_patch16_224",
    ),
    "num_classes": ("0", "-1", "1e400", "2.0", "null", "10000000000", "[]", "x", "NaN", "9" * 5000, "true", "3"),
    "label_names": (
        "[]", "[1, 2]", "x", '["x"]', '["x", "x"]', json.dumps(["a\n", "\x1b[2J"]), json.dumps(["\u202e", "<script>"]), "[" * 10**5,
        json.dumps([str(one) for one in range(20_000)]), '{"0": "x"}', "null",
    ),
    "pretrained_cfg": (
        "[]", "null", "x", "{", "{}", *(
            json.dumps({"input_size": size, "mean": mean, "std": [0.5] * 3, "crop_pct": crop})
            for size, mean, crop in (
                ([3, 10**9, 10**9], [0.5] * 3, 1), ([3, 4096, 4096], [0.5] * 3, 1), ([1, 32, 32], [0.5] * 3, 1),
                ([3, 32, 64], [0.5] * 3, 1), ([3, 32, 32], [float("nan")] * 3, 1), ([3, 32, 32], [0.5], 1),
                ([3, 32, 32], [0.5] * 3, 1e-9), ([3, 32, 32], [0.5] * 3, float("inf")), ("x", [0.5] * 3, 1), ([3, 8, 8], [0.5] * 3, 1),
            )
        ),
    ),
    "model_args": (
        '{"img_size": 1000000}', '{"img_size": -1}', '{"img_size": 4096}', '{"img_size": 32}', '{"pretrained": true}', "[]", "x",
        '{"checkpoint_path": "/etc/passwd"}', '{"img_size": "32"}', '{"img_size": 1e400}',
    ),
}  # fmt: skip


def model_file(rng: random.Random) -> bytes:
    """Draw a trained model whose metadata, or tensors, are not what they should be."""
    plain = honest_model()
    (length,) = struct.unpack_from("<Q", plain)
    entries, body = json.loads(plain[8 : 8 + length]), plain[8 + length :]
    told: dict[str, Any] = entries.pop("__metadata__")
    for _ in range(rng.randint(0, 3)):
        name = rng.choice(tuple(WORDS))
        told[name] = rng.choice(WORDS[name])
    if rng.random() < 0.1:
        told.pop(rng.choice(tuple(told)))
    if rng.random() < 0.2:
        name, other = rng.sample(sorted(entries), 2)
        entries[name], entries[other] = entries[other], entries[name]
    if rng.random() < 0.2:
        name = rng.choice(sorted(told))
        told[name] = bytewise.changed(rng, str(told[name]).encode() + b"        ", most=2).decode(
            "utf-8", "replace"
        )
    text = json.dumps({**entries, "__metadata__": told}).encode()
    return struct.pack("<Q", len(text)) + text + body


def fuzz_models(effort: Effort) -> Outcome:
    """Read a trained model that is not what it says, build it, and predict two images by it."""
    from autofreeze.predicting import predict
    from trust.numbers import write_classes

    finds, rng = Finds(memory=MEMORY), effort.rng
    path = effort.folder / "model.safetensors"
    write_classes(effort.folder / "images", (2,))

    def act() -> object:
        return predict(path, effort.folder / "images", device="cpu")

    for _ in range(effort.times):
        finds.tried += 1
        raw = model_file(rng)
        path.write_bytes(raw)
        (length,) = struct.unpack_from("<Q", raw)
        told = json.loads(raw[8 : 8 + length])["__metadata__"]
        found: Any = finds.attempt(
            "a trained model", {k: v[:200] for k, v in told.items()}, act, effort.folder
        )
        if found is not None and found.probabilities.shape != (2, len(found.classes)):
            finds.add("a trained model: predictions of another shape", told)
    return finds.outcome()


CHECKS: tuple[Check, ...] = (
    Check(
        name="fuzz-weights", fault="pickles that bring code; torch archives and safetensors headers that lie", run=fuzz_weights,
        quick=80, long=10_000,
    ),
    Check(
        name="fuzz-models", fault="trained models whose metadata lie, given to `predict`", run=fuzz_models, quick=15, long=600,
    ),
)  # fmt: skip
"""All checks, in the order of the table."""
