"""A trained model as a file: weights, labels and preprocessing, as timm reads them."""

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import timm
import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from timm.models import is_model, list_models
from torch import Tensor, nn

from autofreeze.documents import write_text
from autofreeze.errors import BackboneError, ConfigError
from autofreeze.phrases import counted
from autofreeze.preprocessing import Preprocessing
from autofreeze.values import Value, did_you_mean
from autofreeze.weights import MOST_SWOLLEN, read_weights

NAME = "model.safetensors"
"""What the file is called in the folder of a training."""


def save_model(
    model: nn.Module,
    path: Path,
    *,
    architecture: str,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Write a model as safetensors, its labels and preprocessing in the metadata and in a JSON beside it.

    ``timm.create_model(architecture, num_classes=…, checkpoint_path=path)`` loads it, with the ``model_args``
    that the JSON names where the architecture is built for an image size. The JSON is written first, so that
    a model that is there has one.

    Args:
        model: The trained model.
        path: The ``.safetensors`` file; ``.json`` beside it gets the same metadata.
        architecture: timm's name of the model.
        classes: Label names in the order of the outputs.
        preprocessing: What the model expects.
        options: What ``timm.create_model`` needs beside the name and the classes.

    Raises:
        OSError: It cannot be written; a model that was there is as it was.
    """
    size = preprocessing.image_size
    configuration: dict[str, Any] = {
        "architecture": architecture,
        "num_classes": len(classes),
        "label_names": list(classes),
        "pretrained_cfg": {
            "input_size": [3, size, size],
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "interpolation": preprocessing.interpolation,
            "crop_pct": preprocessing.crop_pct,
            "num_classes": len(classes),
        },
    }
    if options:
        configuration["model_args"] = dict(options)
    # JSON in ASCII: class names may hold anything that folders may be called.
    metadata = {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in configuration.items()
    }
    temporary = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        save_file(_apart(model.state_dict()), temporary, metadata={"format": "pt", **metadata})
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)  # safetensors leaves it to the owner alone
        write_text(path.with_suffix(".json"), json.dumps(configuration, indent=1) + "\n")
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, SafetensorError):  # the disk is full
            raise OSError(errno.EIO, str(error)) from error
        raise


def _apart(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give tensors on the CPU that share no memory, which safetensors refuses: tied weights are copied."""
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        own = tensor.detach().cpu().contiguous()
        tensors[name] = own.clone() if own.untyped_storage().data_ptr() in seen else own
        seen.add(own.untyped_storage().data_ptr())
    return tensors


class _Facts(Value):
    """What a file says of its model."""

    architecture: str = Field(min_length=1)
    label_names: tuple[str, ...] = Field(min_length=1)
    num_classes: int
    model_args: dict[Literal["img_size"], Annotated[int, Field(ge=1, le=4096)]] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A model file, read: all that is needed to predict by it."""

    path: Path
    architecture: str
    """timm's name."""

    classes: tuple[str, ...]
    """Label names in the order of the outputs."""

    preprocessing: Preprocessing
    options: Mapping[str, Any] = field(compare=False)
    tensors: Mapping[str, Tensor] = field(repr=False, compare=False)

    def build(self) -> nn.Module:
        """Make the model: float32, on the CPU, in eval mode. The global random state is left as it was.

        Raises:
            BackboneError: The tensors are not those of the architecture.
        """
        if not is_model(self.architecture):
            raise BackboneError(
                f"timm {timm.__version__} has no model {self.architecture[:80]!r}"
                f"{_near(self.architecture)}; the version that trained it may know more",
                where=str(self.path),
            )
        try:
            with torch.device("meta"):
                problem = self._difference(self._made())
            if not problem:
                with torch.random.fork_rng(devices=[]):
                    model = self._made()
                model.load_state_dict(dict(self.tensors))
                return model.float().eval()
        except Exception as error:  # noqa: BLE001 - models raise almost anything for sizes that they cannot take
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            problem = lines[min(1, len(lines) - 1)][:200] if lines else type(error).__name__
        raise BackboneError(
            f"its tensors are not those of timm's {self.architecture} with {len(self.classes)} classes: "
            f"{problem}",
            where=str(self.path),
        )

    def _made(self) -> nn.Module:
        model: nn.Module = timm.create_model(self.architecture, num_classes=len(self.classes), **self.options)
        return model

    def _difference(self, model: nn.Module) -> str:
        """Say in what a model differs from the tensors; empty where in nothing.

        Asked of a model without numbers, before any memory is taken: a small file may name a huge model.
        """
        shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        given = {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}
        if missing := [name for name in shapes if name not in given]:
            return f"{counted(len(missing), 'tensor')} missing, {missing[0]} first"
        if more := [name for name in given if name not in shapes]:
            return f"{counted(len(more), 'tensor')} too many, {more[0][:80]!r} first"
        for name, shape in shapes.items():
            if given[name] != shape:
                return f"{name} is {given[name]}, not {shape}"
        needs = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
        if needs > MOST_SWOLLEN * self.path.stat().st_size + 2**30:
            return f"the model takes {needs:,} bytes, and the file has {self.path.stat().st_size:,}"
        return ""


def read_model(path: Path) -> TrainedModel:
    """Read what :func:`save_model` wrote, without running any code that the file holds.

    A safetensors file of others serves as well, if its metadata or a JSON beside it say the same, as on the
    Hugging Face hub: ``architecture``, ``num_classes``, ``label_names``, ``pretrained_cfg``.

    Args:
        path: The ``.safetensors`` file, or the folder of a training.

    Raises:
        BackboneError: It is missing, damaged, of another kind, or does not say what its classes are.
    """
    if path.is_dir():
        path = path / NAME
    where = str(path)
    if not path.is_file():
        raise BackboneError("no such model file; autofreeze train writes one", where=where)
    if path.suffix != ".safetensors":
        raise BackboneError(
            "a model to predict by is a .safetensors file, as autofreeze train writes it; others may hold "
            "code, and are not read",
            where=where,
        )
    said = _said(path)
    if "label_names" not in said:
        raise BackboneError(
            "does not say what its classes are called (label_names, in its metadata or in a JSON beside it): "
            "weights to train from, not a trained model? autofreeze train writes models to predict by",
            where=where,
        )
    try:
        facts = _Facts.parse({name: said[name] for name in _Facts.model_fields if name in said})
    except ConfigError as error:
        raise BackboneError(error.problems, where=where) from None
    if facts.num_classes != len(facts.label_names):
        raise BackboneError(
            f"num_classes is {facts.num_classes}, and label_names names {len(facts.label_names)}",
            where=where,
        )
    file = read_weights(path)
    return TrainedModel(
        path=path,
        architecture=facts.architecture.partition(".")[0] or facts.architecture,
        classes=facts.label_names,
        preprocessing=_preprocessing(said, where),
        options={str(name): value for name, value in facts.model_args.items()},
        tensors=file.tensors,
    )


def _near(architecture: str) -> str:
    near = did_you_mean(architecture, list_models())
    return near if near.startswith("; did") else ""


def _said(path: Path) -> dict[str, Any]:
    """Give what the metadata say, or else a JSON beside the file; JSON within the metadata is read."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BackboneError(
            f"not a readable safetensors file, or damaged ({reason})", where=str(path)
        ) from None
    if "label_names" in metadata:
        return {name: text if name == "architecture" else _json(text) for name, text in metadata.items()}
    for beside in (path.with_suffix(".json"), path.with_name("config.json")):
        if beside.is_file():
            try:
                said = _json(beside.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError):
                continue
            if isinstance(said, dict) and "label_names" in said:
                return said
    return {}


def _json(text: str) -> Any:
    """Read JSON; what is none is given back."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _preprocessing(said: Mapping[str, Any], where: str) -> Preprocessing:
    """Read what the model expects of its images."""
    given = said.get("pretrained_cfg")
    if not isinstance(given, dict):
        raise BackboneError("does not say how images are prepared (pretrained_cfg)", where=where)
    fields = {name: given[name] for name in Preprocessing.model_fields if name in given}
    size = given.get("input_size")
    if isinstance(size, list) and len(size) == 3 and size[0] == 3 and size[1] == size[2]:
        fields["image_size"] = size[1]
    elif size is not None:
        raise BackboneError(
            f"pretrained_cfg.input_size: got {size}; must be square images of three channels", where=where
        )
    try:
        return Preprocessing.parse(fields)
    except ConfigError as error:
        problems = [f"pretrained_cfg.{problem}" for problem in error.problems]
        raise BackboneError(problems, where=where) from None
