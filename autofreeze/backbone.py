"""Backbones: a timm name and its weights become models that differ in their heads alone."""

import dataclasses
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import get_arch_name, get_pretrained_cfg, is_model, list_models, model_entrypoint
from torch import Tensor, nn

from autofreeze.errors import BackboneError, ConfigError
from autofreeze.groups import Granularity, LayerGroups, lies_under
from autofreeze.layers import classifier_modules, layer_groups
from autofreeze.preprocessing import Channels, Preprocessing
from autofreeze.quiet import quiet
from autofreeze.values import did_you_mean
from autofreeze.weights import PreprocessingHints, WeightsFile, read_weights, tensors_digest

TEMPLATE_CLASSES = 10
"""Classes of the head that ``Backbone.groups`` was measured with; the data's number is not known yet."""

_COUNTER = "num_batches_tracked"  # of BatchNorm: written by torch, read by nothing at a fixed momentum


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A pretrained model without its head: a name, its tensors, and how they are cut into columns."""

    name: str
    """timm's name, with the tag that was asked for."""

    source: str
    """Where the weights came from, in words."""

    digest: str
    """Hash of the backbone's tensors, 16 hexadecimal digits."""

    coverage: str
    """What was loaded and what was ignored, in words."""

    preprocessing: Preprocessing

    preprocessing_from: Mapping[str, str] = field(compare=False)
    """Field of ``preprocessing`` -> where it came from, in words."""

    groups: LayerGroups
    """The columns. The head's size and its share of work are those of a head with 10 classes."""

    options: Mapping[str, Any] = field(repr=False, compare=False)
    """What ``timm.create_model`` needs beside the name and the head, such as ``img_size``."""

    tensors: Mapping[str, Tensor] = field(repr=False, compare=False)
    """Name -> parameter or persistent buffer outside the head, on the CPU; not to be written to."""

    def build(
        self, num_classes: int, *, seed: int, drop_rate: float = 0.0, drop_path_rate: float = 0.0
    ) -> nn.Module:
        """Make a new model: this backbone, and a head that ``seed`` alone determines.

        The global random state is neither read nor changed.

        Args:
            num_classes: Outputs of the head, >= 1.
            seed: Of the head's initial values.
            drop_rate: Dropout before the classifier, 0..1.
            drop_path_rate: Stochastic depth, 0..1.

        Returns:
            A float32 model on the CPU, in training mode, all parameters trainable. It maps images float
            (n, 3, h, w), normalised as ``preprocessing`` says, to logits (n, num_classes).

        Raises:
            BackboneError: timm cannot build the model like this.
        """
        if num_classes < 1:
            raise BackboneError(f"num_classes: got {num_classes}; must be >= 1")
        model = _create(
            self.name,
            seed=seed,
            drops={"drop_rate": drop_rate, "drop_path_rate": drop_path_rate},
            num_classes=num_classes,
            **self.options,
        )
        _put(model, self.tensors)
        _renew_head(model, seed)
        return model


def load_backbone(
    name: str,
    *,
    weights: str | Path | None = None,
    from_scratch: bool = False,
    granularity: Granularity = "auto",
    image_size: int | None = None,
    mean: Channels | None = None,
    std: Channels | None = None,
    interpolation: str | None = None,
    crop_pct: float | None = None,
) -> Backbone:
    """Find a timm model and its pretrained weights, check that they fit, and cut it into layer groups.

    Weights come from the file, else from the hub. The head of either is dropped. Preprocessing is what was
    given, else what the weights file says, else timm's configuration of the name.

    Args:
        name: A timm model, with or without a pretrained tag: ``mobilenetv2_100.ra_in1k``.
        weights: A weights file, see :func:`autofreeze.weights.read_weights`.
        from_scratch: Take random weights, always the same ones.
        granularity: See :func:`autofreeze.groups.split_layers`.
        image_size: Side of the square images in pixels.
        mean: By channel, of pixels scaled to 0..1.
        std: By channel, of pixels scaled to 0..1.
        interpolation: ``nearest``, ``bilinear``, ``bicubic`` or ``lanczos``.
        crop_pct: Share of the resized image's side that the square keeps in evaluation, 0..1.

    Raises:
        BackboneError: The name is unknown, the weights cannot be had or do not fit, the preprocessing is out
            of range, the model cannot take this image size, or it has no layer groups.
    """
    configuration = _configuration(name)
    if weights is not None and from_scratch:
        raise BackboneError("a weights file and from-scratch exclude each other; give one of them")
    file = read_weights(Path(weights)) if weights is not None else None
    given = {
        "mean": mean,
        "std": std,
        "interpolation": interpolation,
        "crop_pct": crop_pct,
        "image_size": image_size,
    }
    preprocessing, origins = _preprocessing(configuration, file, given)
    options = _size_options(configuration, preprocessing.image_size)
    model = _create(name, seed=0, num_classes=TEMPLATE_CLASSES, **options)
    head = classifier_modules(model)
    if file is not None:
        source = file.path.name
        coverage = _adopt(
            model, _converted(name, model, file), head, _where(file, name), said=file.architecture
        )
    elif from_scratch:
        source = coverage = "random weights"
    else:
        tensors, source = _from_hub(name, options)
        coverage = _adopt(model, tensors, head, f"{source} ({name})")
    kept = {key: tensor.clone() for key, tensor in model.state_dict().items() if not lies_under(key, head)}
    return Backbone(
        name=name,
        source=source,
        digest=tensors_digest(kept),
        coverage=coverage,
        preprocessing=preprocessing,
        preprocessing_from=origins,
        groups=layer_groups(model, granularity, preprocessing.image_size),
        options=options,
        tensors=kept,
    )


def _configuration(name: str) -> Mapping[str, Any]:
    """Give timm's configuration of a name, or say which names are near."""
    if not is_model(name):
        arch = get_arch_name(name) if name else name
        near = did_you_mean(arch, list_models())
        raise BackboneError(
            f"timm {timm.__version__} has no model {name!r}"
            + (near if near.startswith("; did") else "; see timm.list_models()")
        )
    try:
        configuration = get_pretrained_cfg(name)
    except RuntimeError:
        arch, _, tag = name.partition(".")
        tags = [known.partition(".")[2] for known in list_models(f"{arch}.*", pretrained=True)]
        raise BackboneError(f"{arch} has no pretrained tag {tag!r}{did_you_mean(tag, tags)}") from None
    return dataclasses.asdict(configuration) if configuration is not None else {}


def _preprocessing(
    configuration: Mapping[str, Any], file: WeightsFile | None, given: Mapping[str, Any]
) -> tuple[Preprocessing, dict[str, str]]:
    """Choose each field of the preprocessing: given, else from the file, else timm's."""
    hinted = _fields(file.hints) if file is not None else {}
    sources = (
        ("given", {key: value for key, value in given.items() if value is not None}),
        (file.hints_from if file is not None else "", hinted),
        ("timm's configuration", _fields(PreprocessingHints.model_construct(**_known(configuration)))),
    )
    chosen: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, values in sources:
        for key, value in values.items():
            if key not in chosen:
                chosen[key], origins[key] = value, origin
    size = chosen.get("image_size")
    if isinstance(size, tuple):
        raise BackboneError(f"images of {size[0]} × {size[1]} px are not square; give an image size")
    wild = [key for key in ("mean", "std") if not all(math.isfinite(value) for value in chosen.get(key, ()))]
    if wild:
        raise BackboneError(
            [f"{key}: got {chosen[key]}; must be finite" for key in wild], where="preprocessing"
        )
    try:
        return Preprocessing.parse(chosen, where="preprocessing"), origins
    except ConfigError as error:
        raise BackboneError(error.problems, where=error.where) from None


def _known(configuration: Mapping[str, Any]) -> dict[str, Any]:
    return {key: configuration.get(key) for key in PreprocessingHints.model_fields}


def _fields(hints: PreprocessingHints) -> dict[str, Any]:
    """Give what hints say as fields of Preprocessing; an image that is not square stays a pair."""
    fields = {key: getattr(hints, key) for key in ("mean", "std", "interpolation", "crop_pct")}
    if hints.input_size is not None:
        height, width = hints.input_size[1:]
        fields["image_size"] = height if height == width else (height, width)
    return {key: value for key, value in fields.items() if value is not None}


def _size_options(configuration: Mapping[str, Any], image_size: int) -> dict[str, Any]:
    """Tell timm the image size where the architecture is built for one (ViT, Swin)."""
    default = tuple(configuration.get("input_size") or (3, 224, 224))[1:]
    if configuration.get("fixed_input_size") and default != (image_size, image_size):
        return {"img_size": image_size}
    return {}


def _create(name: str, *, seed: int, drops: Mapping[str, float] | None = None, **options: Any) -> nn.Module:
    """Create a model without weights; its random values come from ``seed`` alone."""
    wanted = dict(drops or {})
    create: Callable[..., nn.Module] = timm.create_model
    with torch.random.fork_rng(devices=[]):
        while True:
            # Not torch.manual_seed: that would reseed the accelerators, which are not put back.
            torch.default_generator.manual_seed(seed)
            try:
                model = create(name, **wanted, **options)
            except TypeError as error:
                # VGG knows no stochastic depth: none of it is what it has.
                unknown = next((key for key in wanted if f"'{key}'" in str(error) and wanted[key] == 0), None)
                if unknown is None:
                    raise BackboneError(_cannot_build({**wanted, **options}, error), where=name) from None
                del wanted[unknown]
            except (AssertionError, ValueError, RuntimeError, IndexError, ZeroDivisionError) as error:
                raise BackboneError(_cannot_build({**wanted, **options}, error), where=name) from None
            else:
                return model.float()


def _renew_head(model: nn.Module, seed: int) -> None:
    """Give the classifier torch's default values for its layers, ±1/√features, from ``seed`` alone.

    ``create_model`` draws the classifier of the EfficientNet and MobileNet families from ±1/√classes, meant
    for a thousand of them: with 6 classes and pretrained features the first loss is 11 nats, where
    guessing costs 1.8. timm's own ``reset_classifier`` would do for these, but in LeViT it also renews the
    pretrained norm before the classifier, and in RepViT it drops the second head.
    """
    head = classifier_modules(model)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for name, module in model.named_modules():
            reset: Callable[[], None] | None = getattr(module, "reset_parameters", None)
            if reset is not None and lies_under(name, head):
                reset()


def _cannot_build(options: Mapping[str, Any], error: Exception) -> str:
    asked = ", ".join(f"{key}={value}" for key, value in options.items())
    return f"timm cannot build it with {asked}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def _from_hub(name: str, options: Mapping[str, Any]) -> tuple[Mapping[str, Tensor], str]:
    """Let timm fetch pretrained weights, with their own head so that timm checks every tensor."""
    try:
        with torch.random.fork_rng(devices=[]), quiet("huggingface_hub"), quiet("timm"):
            donor = timm.create_model(name, pretrained=True, **options)
    except Exception as error:  # noqa: BLE001 - the network, the hub and the cache fail in many ways
        raise BackboneError(
            f"could not get weights for {name} from the hub ({type(error).__name__}); "
            "give --weights FILE, or --from-scratch for random weights"
        ) from None
    tag = (getattr(donor, "pretrained_cfg", None) or {}).get("tag")
    tensors = {
        key: tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in donor.state_dict().items()
    }
    return tensors, f"{get_arch_name(name)}{'.' + tag if tag else ''} from the hub"


def _converted(name: str, model: nn.Module, file: WeightsFile) -> Mapping[str, Tensor]:
    """Bring a file's tensors into timm's present form: names, and position embeddings of this size."""
    convert: Callable[..., Any] | None = getattr(
        sys.modules[model_entrypoint(name).__module__], "checkpoint_filter_fn", None
    )
    if convert is None:
        return file.tensors
    takes_model = len([p for p in inspect.signature(convert).parameters.values() if p.default is p.empty]) > 1
    tensors = dict(file.tensors)
    try:
        converted = convert(tensors, model) if takes_model else convert(tensors)
    except Exception as error:  # noqa: BLE001 - timm's converters assume the right architecture
        raise BackboneError(
            f"timm's converter for {name} cannot read these tensors "
            f"({type(error).__name__}: {_first_line(error)}); {_guess(file.architecture)}",
            where=_where(file, name),
        ) from None
    return {key: value for key, value in converted.items() if isinstance(value, Tensor)}


def _where(file: WeightsFile, name: str) -> str:
    return f"{file.path} for {name}"


def _guess(said: str) -> str:
    return "weights of another architecture?" + (f" The file says {said}." if said else "")


def _adopt(
    model: nn.Module, tensors: Mapping[str, Tensor], head: Sequence[str], where: str, *, said: str = ""
) -> str:
    """Load every tensor outside the head into the model, or refuse; say what was loaded."""
    wanted = {key: tensor for key, tensor in model.state_dict().items() if not lies_under(key, head)}
    missing = [key for key in wanted if key not in tensors and not key.endswith(_COUNTER)]
    found = [key for key in wanted if key in tensors]
    misfits = [key for key in found if tensors[key].shape != wanted[key].shape]
    if missing or misfits:
        raise BackboneError(_uncovered(wanted, tensors, missing, misfits, said), where=where)
    broken = [
        key for key, _ in model.named_parameters() if key in wanted and not tensors[key].isfinite().all()
    ]
    if broken:
        raise BackboneError(
            f"{len(broken)} tensors hold NaN or infinite values: {_some(broken)}", where=where
        )
    _put(model, {key: tensors[key] for key in found})
    return _told(len(found), len(wanted), tensors, wanted, head)


def _uncovered(
    wanted: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    missing: Sequence[str],
    misfits: Sequence[str],
    said: str,
) -> list[str]:
    matching = len([key for key in wanted if key in tensors]) - len(misfits)
    problems = [f"{matching} of {len(wanted)} backbone tensors match; {_guess(said)}"]
    if missing:
        problems.append(f"missing: {_some(missing)}")
    if misfits:
        shapes = [
            f"{key} {tuple(tensors[key].shape)} instead of {tuple(wanted[key].shape)}" for key in misfits
        ]
        problems.append(f"of another shape: {_some(shapes)}")
    return problems


def _told(
    found: int, of: int, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], head: Sequence[str]
) -> str:
    told = f"{found} of {of} backbone tensors loaded"
    own_head = [tensor for key, tensor in tensors.items() if lies_under(key, head)]
    if own_head:
        told += f"; its own head ({max(len(t) if t.ndim else 1 for t in own_head)} classes) ignored"
    strange = [key for key in tensors if key not in wanted and not lies_under(key, head)]
    if strange:
        told += f"; {len(strange)} tensors that the model does not have ignored: {_some(strange)}"
    return told


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _put(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    try:
        unexpected = model.load_state_dict(dict(tensors), strict=False).unexpected_keys
    except RuntimeError as error:
        raise BackboneError(
            f"its tensors change with the number of classes: {str(error).splitlines()[-1].strip()}"
        ) from None
    if unexpected:
        raise BackboneError(f"timm built a model without {_some(unexpected)}")
