"""A torch model's layer groups: which parameters, what work, what flows between them, who follows whom."""

from collections.abc import Mapping
from contextlib import ExitStack
from fnmatch import fnmatch
from typing import Any

import torch
from timm.models import group_parameters
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from autofreeze.errors import BackboneError
from autofreeze.groups import Granularity, LayerGroups, lies_under, split_layers


def layer_groups(
    model: nn.Module, granularity: Granularity = "auto", image_size: int | None = None
) -> LayerGroups:
    """Cut a timm model into the columns of a schedule, and measure each.

    One black image passes through the model in evaluation mode, on the device of its parameters (``meta``
    costs nothing); modes are put back afterwards. Multiply-adds are counted, not timed, so equal models
    give equal groups everywhere.

    Args:
        model: A timm model with a classifier.
        granularity: See :func:`autofreeze.groups.split_layers`.
        image_size: Side of the image in pixels; by default what timm's configuration says.

    Returns:
        Groups with their shares of forward work, sizes, modules, and ``boundary_bytes``: float32 bytes for
        one image of the tensors that enter the first module executed of a group. For the stem that is the
        image, for the head the pooled features that enter the classifier.

    Raises:
        BackboneError: The model has no ``group_matcher``, no classifier, a parameter outside every group,
            or cannot run at this size.
    """
    classifier = classifier_modules(model)
    parameters = {name: parameter.numel() for name, parameter in model.named_parameters()}
    fine = _layer_numbers(model, coarse=False)
    try:
        coarse = _layer_numbers(model, coarse=True)
    except BackboneError:
        if granularity == "coarse":
            raise
        coarse = fine  # RDNet numbers its fine layers only
    if image_size is None:
        image_size = int(_configuration(model).get("input_size", (3, 224, 224))[-1])
    probe = _measure(model, image_size, classifier)
    groups = split_layers(
        parameters, fine=fine, coarse=coarse, classifier=classifier, work=probe.work, granularity=granularity
    )
    entering = _boundaries(model, groups, probe)
    return LayerGroups(
        groups=tuple(
            group.model_copy(update={"boundary_bytes": size_in})
            for group, size_in in zip(groups.groups, entering, strict=True)
        )
    )


def classifier_modules(model: nn.Module) -> tuple[str, ...]:
    """Names of the modules that timm replaces for a new number of classes (two in distilled models).

    Raises:
        BackboneError: The model has none.
    """
    named = _configuration(model).get("classifier") or ()
    names = (named,) if isinstance(named, str) else tuple(named)
    if not any(lies_under(name, names) for name, _ in model.named_parameters()):
        raise BackboneError(
            "this model has no classifier: nothing to train on top of its features", where=_arch(model)
        )
    return names


def module_groups(model: nn.Module, groups: LayerGroups) -> dict[str, int]:
    """Say for each module which column decides whether it is in training or in evaluation mode.

    - A module whose parameters, own and below, lie in one group belongs to it, with all that it contains.
    - A module with parameters of several groups follows the highest of them: timm reads ``self.training``
      of the root for the head's dropout.
    - A module without parameters inside such a mixed one (dropout, pooling) belongs to the backbone module
      before it in ``named_modules()`` order, and to the head after the last one (``head_drop``).

    Args:
        model: The model that ``groups`` were made for, with any number of classes.
        groups: Its columns.

    Returns:
        Module name (the root is ``""``) -> column, 0 is the stem, for every module.

    Raises:
        BackboneError: The model has a parameter that no group names.
    """
    columns = _columns_below(model, groups)
    head = len(groups) - 1
    pure = {name: next(iter(below)) for name, below in columns.items() if len(below) == 1}
    names = list(columns)
    last_backbone = max((i for i, name in enumerate(names) if pure.get(name, head) < head), default=-1)
    result: dict[str, int] = {}
    inherited: dict[str, int] = {}
    before = 0
    for i, name in enumerate(names):
        parent = name.rpartition(".")[0]
        if name in pure:
            result[name] = inherited[name] = pure[name]
            before = pure[name] if pure[name] < head else before
        elif columns[name]:
            result[name] = max(columns[name])
        elif name and parent in inherited:
            result[name] = inherited[name] = inherited[parent]
        else:
            result[name] = head if i > last_backbone else before
    return result


def timm_layers(model: nn.Module, groups: LayerGroups) -> dict[str, tuple[int, ...]]:
    """Give the layers of timm's layer-wise rate decay: group -> number of each of its parameters, in order.

    They are those of ``fine``, counted from the input, but for the last: timm files there what lies beside
    the classifier, such as ``conv_head`` in MobileNetV3.
    """
    number = _layer_numbers(model, coarse=False)
    return {group.name: tuple(number[name] for name in group.parameters) for group in groups.groups}


def spared_by_timm(model: nn.Module) -> tuple[str, ...]:
    """Name what timm spares from weight decay beside one-dimensional parameters: positions, class tokens.

    Source:
        timm 1.0, ``timm/optim/_param_groups.py``: the model's ``no_weight_decay()``, and biases of any shape.
    """
    patterns = tuple(getattr(model, "no_weight_decay", set)())
    return tuple(
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim > 1
        and (name.endswith(".bias") or any(fnmatch(name, pattern) for pattern in patterns))
    )


def group_buffers(model: nn.Module, groups: LayerGroups) -> tuple[tuple[str, ...], ...]:
    """Names of each column's buffers, persistent or not, stem first: a buffer follows its module."""
    column_of = module_groups(model, groups)
    names: list[list[str]] = [[] for _ in groups.groups]
    for name, _ in model.named_buffers():
        names[column_of[name.rpartition(".")[0]]].append(name)
    return tuple(tuple(column) for column in names)


def _columns_below(model: nn.Module, groups: LayerGroups) -> dict[str, set[int]]:
    column = {name: i for i, group in enumerate(groups.groups) for name in group.parameters}
    strange = [name for name, _ in model.named_parameters() if name not in column]
    if strange:
        raise BackboneError(
            f"these layer groups are of another model: they do not name {', '.join(strange[:3])}"
        )
    by_tensor = {id(parameter): column[name] for name, parameter in model.named_parameters()}
    return {name: {by_tensor[id(p)] for p in module.parameters()} for name, module in model.named_modules()}


def _configuration(model: nn.Module) -> Mapping[str, Any]:
    configuration = getattr(model, "pretrained_cfg", None)
    return configuration if isinstance(configuration, Mapping) else {}


def _arch(model: nn.Module) -> str:
    return str(_configuration(model).get("architecture") or type(model).__name__)


def _layer_numbers(model: nn.Module, *, coarse: bool) -> Mapping[str, int]:
    matcher = getattr(model, "group_matcher", None)
    if matcher is None:
        raise BackboneError(
            "timm gives no layer order (group_matcher) for this model; choose another architecture",
            where=_arch(model),
        )
    try:
        numbers: Mapping[str, int] = group_parameters(model, matcher(coarse=coarse), reverse=True)
    except (AssertionError, NotImplementedError) as error:  # how timm's models refuse, RDNet's for one
        kind = "coarse" if coarse else "fine"
        raise BackboneError(
            f"timm gives no {kind} layers for this model ({error})", where=_arch(model)
        ) from None
    return numbers


class _Probe:
    """What one forward pass did: work by parameter, and what entered each module, in order of execution."""

    def __init__(self, model: nn.Module, counter: FlopCounterMode, classifier: tuple[str, ...]) -> None:
        self.work: dict[str, int] = {}
        self.entering: dict[str, int] = {}
        self.features: dict[
            int, torch.Tensor
        ] = {}  # what enters the classifier; held, so that ids stay unique
        self._classifier = classifier
        self._counter = counter
        self._counted = 0
        self._stack: list[str] = []
        self._first: dict[str, str] = {}
        self._last_owner = ""
        for name, _ in model.named_parameters():
            for prefix in ["", *_dotted(name)]:
                self._first.setdefault(prefix, name)
        self._owners = {name.rpartition(".")[0] for name, _ in model.named_parameters()}
        self._charged = next(iter(self._first.values()))

    def enter(self, name: str, inputs: object) -> None:
        """Note that a module starts."""
        self._charge()
        self._stack.append(name)
        tensors = _tensors(inputs)
        if tensors:
            self.entering.setdefault(name, _float_bytes(tensors))
        if name in self._classifier:
            self.features.update({id(tensor): tensor for tensor in tensors})
        if name in self._owners and name:
            self._last_owner, self._charged = name, self._first[name]

    def leave(self) -> None:
        """Note that the innermost running module ends."""
        self._charge()
        self._stack.pop()

    def _charge(self) -> None:
        """Charge new work to the parameter owner that ran last inside the running module.

        Attention multiplies without parameters of its own, and BEiT uses its ``qkv`` without calling it:
        such work belongs to the module around it.
        """
        total = self._counter.get_total_flops() // 2  # torch counts a multiply-add as two
        name = self._stack[-1] if self._stack else ""
        inside = not name or lies_under(self._last_owner, [name])
        parameter = self._charged if inside else self._first.get(name, self._charged)
        self.work[parameter] = self.work.get(parameter, 0) + total - self._counted
        self._counted = total


def _dotted(parameter: str) -> list[str]:
    parts = parameter.split(".")[:-1]
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _tensors(value: object) -> tuple[torch.Tensor, ...]:
    """Collect the tensors in nested arguments: DenseNet passes lists of them."""
    if isinstance(value, torch.Tensor):
        return (value,)
    if isinstance(value, Mapping):
        return tuple(tensor for item in value.values() for tensor in _tensors(item))
    if isinstance(value, list | tuple):
        return tuple(tensor for item in value for tensor in _tensors(item))
    return ()


def _measure(model: nn.Module, image_size: int, classifier: tuple[str, ...]) -> _Probe:
    modes = {module: module.training for module in model.modules()}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    image = torch.zeros(1, 3, image_size, image_size, device=next(model.parameters()).device)
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            for (
                parameter
            ) in trainable:  # the counter hooks inputs that want gradients, CaiT's class token too
                parameter.requires_grad_(False)
            # The plain form of attention is counted alike on every device.
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            counter = stack.enter_context(FlopCounterMode(display=False))
            probe = _Probe(model, counter, classifier)
            for name, module in model.named_modules():
                for hook in _hooks(name, module, probe):
                    stack.callback(hook.remove)
            model.eval()(image)
    except (RuntimeError, AssertionError, ValueError, TypeError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BackboneError(
            f"cannot run on an image of {image_size} px: {reason}", where=_arch(model)
        ) from None
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter in trainable:
            parameter.requires_grad_()
    return probe


def _hooks(name: str, module: nn.Module, probe: _Probe) -> list[torch.utils.hooks.RemovableHandle]:
    def enter(_: nn.Module, args: object, kwargs: object) -> None:
        probe.enter(name, (args, kwargs))

    def leave(_: nn.Module, __: object, ___: object) -> None:
        probe.leave()

    return [
        module.register_forward_pre_hook(enter, with_kwargs=True),
        module.register_forward_hook(leave),
    ]


def _boundaries(model: nn.Module, groups: LayerGroups, probe: _Probe) -> list[int]:
    """Bytes that flow into each column, the stem first."""
    columns = _columns_below(model, groups)
    first: dict[int, int] = {}
    for name, size in probe.entering.items():
        if len(columns[name]) == 1:
            first.setdefault(next(iter(columns[name])), size)
    first[0] = probe.entering[""]
    first[len(groups) - 1] = _float_bytes(tuple(probe.features.values()))
    return [first.get(column, 0) for column in range(len(groups))]


def _float_bytes(tensors: tuple[torch.Tensor, ...]) -> int:
    return sum(4 * tensor.numel() for tensor in tensors)
