"""Weights files: reading and checking them, and the preprocessing hints that lie in or beside them."""

import hashlib
import json
import math
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from timm.models import clean_state_dict, load_state_dict
from torch import Tensor

from autofreeze.errors import BackboneError, ConfigError
from autofreeze.preprocessing import Channels
from autofreeze.values import Value

MOST_SWOLLEN = 8
"""Times that a file's own size may be needed to hold it; tied weights stand under two names."""

MOST_DIMENSIONS = 64
"""As numpy has it."""

PICKLED = (".pth", ".pt", ".bin", ".ckpt")
"""Endings of files that torch writes; they are read without running any code that they hold."""


class PreprocessingHints(Value):
    """What a weights file says about the images it was trained on; nothing that it does not say."""

    mean: Channels | None = None
    """By channel, of pixels scaled to 0..1."""

    std: Channels | None = None
    """By channel, of pixels scaled to 0..1."""

    interpolation: str | None = None
    crop_pct: float | None = None
    input_size: tuple[int, int, int] | None = None
    """Channels, height, width in pixels."""


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A weights file, read: float32 tensors, and what is said about them."""

    path: Path
    tensors: Mapping[str, Tensor] = field(repr=False, compare=False)
    """Name -> tensor on the CPU, as the file names them; floating ones as float32."""

    hints: PreprocessingHints = field(default_factory=PreprocessingHints)
    hints_from: str = ""
    """Where the hints stood, in words such as ``from the file's metadata``; empty without any."""

    architecture: str = ""
    """The timm model that the file says it is for, or empty."""


def read_weights(path: Path) -> WeightsFile:
    """Read a weights file without running any code that it holds.

    ``state_dict``, ``model`` and ``model_ema`` wrappings are undone, and ``module.`` prefixes are taken off,
    as timm does. Half precision becomes float32. Hints are the JSON text ``pretrained_cfg`` in the
    safetensors metadata, else a JSON file beside it: ``X.json`` for ``X.safetensors``, or ``config.json`` as
    on the Hugging Face hub.

    Args:
        path: A ``.safetensors``, ``.pth``, ``.pt``, ``.bin`` or ``.ckpt`` file.

    Raises:
        BackboneError: The file is missing, damaged, of another kind, or would need code to be run; or its
            hints are not what they should be.
    """
    if not path.is_file():
        raise BackboneError("no such weights file", where=str(path))
    if path.suffix == ".safetensors":
        tensors, metadata = _read_safetensors(path)
    elif path.suffix in PICKLED:
        tensors, metadata = _read_pickled(path), {}
    else:
        raise BackboneError(
            f"a weights file ends in .safetensors or {', '.join(PICKLED)}; got {path.name!r}",
            where=str(path),
        )
    _refuse_odd(tensors, path)
    hints, hints_from, said = _find_hints(path, metadata)
    return WeightsFile(
        path=path,
        tensors={name: _as_float32(name, tensor, path) for name, tensor in tensors.items()},
        hints=hints,
        hints_from=hints_from,
        architecture=metadata.get("architecture") or said,
    )


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Hash names, types, shapes and bits of tensors to 16 hexadecimal digits, whatever their order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def _refuse_odd(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that are no plain arrays, or far larger than their file: views can repeat numbers.

    Raises:
        BackboneError: Some are; the first ten are named.
    """
    problems = []
    for name, tensor in tensors.items():
        kind = _oddness(tensor)
        if kind or not _is_text(name):
            problems.append(f"{name[:80]!r}: {kind or 'the name is no text'}; save plain arrays of numbers")
    if problems:
        raise BackboneError(problems[:10], where=str(path))
    size = sum(math.prod(max(1, n) for n in one.shape) * one.element_size() for one in tensors.values())
    _refuse_swollen(size, path)


def _oddness(tensor: Tensor) -> str:
    if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_quantized:
        return "is sparse, nested or quantized"
    if tensor.device.type != "cpu":
        return f"lies on the device {tensor.device.type}"
    return f"has {tensor.ndim} dimensions" if tensor.ndim > MOST_DIMENSIONS else ""


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_swollen(size: int, path: Path) -> None:
    most = MOST_SWOLLEN * path.stat().st_size + 2**20
    if size > most:
        raise BackboneError(
            f"holds {size:,} bytes in a file of {path.stat().st_size:,}: it is compressed, or repeats "
            f"itself; at most {MOST_SWOLLEN} times are read: save the tensors uncompressed, each once",
            where=str(path),
        )


def _as_float32(name: str, tensor: Tensor, path: Path) -> Tensor:
    # A copy also where it is float32 already: the reader may hand out pages of the file itself.
    try:
        return tensor.detach().to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
    except (RuntimeError, NotImplementedError) as error:
        raise BackboneError(
            f"{name!r}: numbers of type {tensor.dtype} cannot be read ({_first_line(error)}); "
            "save them as float32 or float16",
            where=str(path),
        ) from None


def _read_safetensors(path: Path) -> tuple[Mapping[str, Tensor], Mapping[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, TypeError, MemoryError) as error:
        raise BackboneError(
            f"not a readable safetensors file, or damaged ({_first_line(error)})", where=str(path)
        ) from None
    return _tensors_only(clean_state_dict(tensors), path), metadata


def _read_pickled(path: Path) -> Mapping[str, Tensor]:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _refuse_swollen(sum(entry.file_size for entry in archive.infolist()), path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on older pickles and odd tensors
            return _tensors_only(load_state_dict(str(path), weights_only=True), path)
    except BackboneError:
        raise
    except Exception as error:  # noqa: BLE001 - damaged pickles raise almost anything
        if "weights_only" in str(error) or "Weights only" in str(error):
            reason = (
                "it holds Python objects that only running code from the file could restore; "
                "that is refused: save the model's state_dict, best as safetensors"
            )
        else:
            reason = f"not a readable torch file, or damaged ({_first_line(error)})"
        raise BackboneError(reason, where=str(path)) from None


def _tensors_only(state: Mapping[str, Any], path: Path) -> Mapping[str, Tensor]:
    # By the class's own method: a pickled tensor may bring attributes that hide its methods; this drops them.
    tensors = {name: Tensor.detach(value) for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise BackboneError(
            "holds no tensors; expected names with tensors, bare or under state_dict, model or model_ema",
            where=str(path),
        )
    return tensors


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def _find_hints(path: Path, metadata: Mapping[str, str]) -> tuple[PreprocessingHints, str, str]:
    """Give the hints, where they stood, and the architecture that a file beside names."""
    if "pretrained_cfg" in metadata:
        where = f"{path}: metadata key pretrained_cfg"
        said = _parse(metadata["pretrained_cfg"], where)
        return _hints(said, where), "from the file's metadata", _architecture(said)
    for beside in (path.with_suffix(".json"), path.with_name("config.json")):
        if beside.is_file():
            said = _parse(_read_text(beside), str(beside))
            hints = _hints(said, str(beside))
            if hints != PreprocessingHints():
                return hints, f"from {beside.name} beside the file", _architecture(said)
    return PreprocessingHints(), "", ""


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BackboneError(f"cannot be read as text ({_first_line(error)})", where=str(path)) from None


def _parse(text: str, where: str) -> Mapping[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BackboneError(f"is not JSON ({_first_line(error)})", where=where) from None
    if not isinstance(data, dict):
        raise BackboneError(f"must be a JSON object, got {type(data).__name__}", where=where)
    return data


def _architecture(data: Mapping[str, Any]) -> str:
    return str(data.get("architecture") or "")


def _hints(data: Mapping[str, Any], where: str) -> PreprocessingHints:
    """Take the hints, nested under ``pretrained_cfg`` or not; all other keys say nothing about images."""
    inner = data.get("pretrained_cfg", data)
    if not isinstance(inner, Mapping):
        raise BackboneError(f"pretrained_cfg must be an object, got {type(inner).__name__}", where=where)
    known = {key: inner[key] for key in PreprocessingHints.model_fields if key in inner}
    try:
        return PreprocessingHints.parse(known, where=where)
    except ConfigError as error:
        raise BackboneError(error.problems, where=where) from None
