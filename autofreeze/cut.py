"""Any timm model cut at the border of two columns: a frozen prefix and the suffix that trains.

An operation belongs to the suffix when it uses a parameter or a buffer of a column at or above the boundary,
when it draws random numbers there, or when it needs the result of one that does. All else that depends on
the images is prefix, so that what lies between the two is small: below the head, the pooled features. What
depends on the number of images alone, or not on the images at all (class tokens, position embeddings), is
worked out again in the suffix.
"""

import copy
import hashlib
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from autofreeze import likeness, tracing
from autofreeze.binding import Columns
from autofreeze.errors import BackboneError
from autofreeze.tracing import CannotCut, Program, Trace, Writer, tensor_key

CHUNK = 16
"""Images that pass through the prefix together in the self-check."""

_SIZES = (2, 3)
"""Numbers of images with which the model is run to tell what depends on their number."""

_Modes = Mapping[str, bool]


@dataclass(frozen=True)
class _Stored:
    """One boundary tensor: how its rows lie in memory."""

    shape: tuple[int, ...]
    """Of one image's rows as stored."""

    rows: int
    """How many rows of the traced tensor one image has (windows of Swin): 1 as a rule."""

    order: tuple[int, ...]
    """The traced tensor's dimensions, the slowest in memory first: restored, since kernels choose by it."""

    def pack(self, writer: Writer, tensor: fx.Node) -> fx.Node:
        """Write what makes contiguous rows of a tensor."""
        if self.order != tuple(range(len(self.order))):
            tensor = writer.method("permute", tensor, *self.order)
        tensor = writer.method("contiguous", tensor)
        return tensor if self.rows == 1 else writer.method("unflatten", tensor, 0, (-1, self.rows))

    def unpack(self, writer: Writer, rows: fx.Node) -> fx.Node:
        """Write what makes the traced tensor of stored rows."""
        tensor = rows if self.rows == 1 else writer.method("flatten", rows, 0, 1)
        if self.order == tuple(range(len(self.order))):
            return tensor
        return writer.method("permute", tensor, *(self.order.index(i) for i in range(len(self.order))))


@dataclass(frozen=True)
class _Border:
    """What lies between a prefix and the suffixes of all modes."""

    numbers: tuple[int, ...]
    """The operations whose results are stored."""

    places: tuple[Any, ...]
    """For each of them, the place of its tensor in ``stored``; nested as its result is."""

    stored: tuple[_Stored, ...]
    prefix: Program
    digest: str


class _Part(nn.Module):
    """A program tied to a model, whose parameters and buffers it shares."""

    def __init__(self, model: nn.Module, program: Program) -> None:
        super().__init__()
        self.model = model
        device = next(model.parameters()).device
        self._constants = tuple(constant.to(device) for constant in program.constants)
        self._call = program.call

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Run it on images (prefix) or boundary tensors (suffix)."""
        return self._call(self.model, *self._constants, *inputs)


class Cutter:
    """Cuts models of one architecture at the borders of their columns, and keeps what it has traced.

    The boundary is the number of the first column of the suffix, 1..n-1. Everything below is frozen and in
    evaluation mode.

    Args:
        template: A model as those that will be cut, with the same dropout and stochastic depth. Copied.
        columns: Its columns.
        image_size: Side of the images in pixels.
        chunk: How many images the prefix will be given at a time: the self-check does the same.
    """

    def __init__(self, template: nn.Module, columns: Columns, image_size: int, *, chunk: int = CHUNK) -> None:
        self._template = copy.deepcopy(template).to(device="cpu", memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._template.eval()
        self._column_of_module = dict(columns.of_module)
        self._column_of_parameter = {
            name: column for column, group in enumerate(columns.groups.groups) for name in group.parameters
        }
        self._n_columns = len(columns.groups)
        self._image_size = image_size
        self._chunk = chunk
        self._traced_modules = tracing.traced_modules(self._template)
        self._kind = _kind(self._template)
        self._table: dict[object, int] = {}
        self._traces: dict[tuple[bool, ...], Trace] = {}
        self._borders: dict[int, _Border] = {}
        self._suffixes: dict[tuple[int, tuple[bool, ...]], Program] = {}
        self._refusals: dict[tuple[int, tuple[bool, ...]], str] = {}
        self._rows: dict[int, str] = {}
        self._twins: tuple[nn.Module, nn.Module] | None = None
        """Two equal copies of the template for checks, kept while one question is answered."""

    def refusal(self, boundary: int, model: nn.Module | None = None) -> str:
        """Say in one sentence why models cannot be cut there; empty when they can.

        The first call for a boundary cuts a copy and compares it with the whole, to the bit: logits,
        gradients and buffers, in evaluation mode and with the suffix in training mode; and checks that the
        features of an image do not depend on its place in a chunk or on the other images.

        Args:
            boundary: First column of the suffix.
            model: Asks about the modes that this model's modules are in as well.
        """
        if not 1 <= boundary < self._n_columns:
            return f"there is no border below column {boundary}; the borders are 1 to {self._n_columns - 1}"
        if any(getattr(module, "grad_checkpointing", False) for module in self._template.modules()):
            return "gradient checkpointing is on"
        patterns = [self._training(boundary), dict.fromkeys(self._column_of_module, False)]
        if model is not None:
            patterns.append(_modes(model))
        try:
            return next(filter(None, (self._refused(boundary, modes) for modes in patterns)), "")
        finally:
            self._twins = None

    def shapes(self, boundary: int) -> tuple[tuple[int, ...], ...]:
        """Shapes of the boundary tensors of one image, as the prefix gives them: float32.

        Dimensions are in the order in which they lie in memory: (h, w, c) for a convolutional network.

        Raises:
            CannotCut: It cannot be cut there.
        """
        return tuple(stored.shape for stored in self._border(boundary).stored)

    def digest(self, boundary: int) -> str:
        """Digest of what the prefix does, apart from parameters and buffers: 16 hexadecimal digits.

        Raises:
            CannotCut: It cannot be cut there.
        """
        return self._border(boundary).digest

    def prefix(self, model: nn.Module, boundary: int) -> nn.Module:
        """Give the frozen part: pixels float (n, 3, h, w), channels last -> boundary tensors, n rows each.

        Call it without gradients, the modules below the boundary in evaluation mode. It shares the model's
        parameters and buffers. To set modes, set the model's own.

        Raises:
            CannotCut: It cannot be cut there.
            BackboneError: The model is not built as the template is.
        """
        self._check_kind(model)
        return _Part(model, self._border(boundary).prefix)

    def suffix(self, model: nn.Module, boundary: int) -> nn.Module:
        """Give the rest: boundary tensors, n rows each -> logits (n, classes).

        It is made for the modes in which the model's modules are now: ask again when they have changed. It
        shares the model's parameters and buffers. It may change its inputs in place.

        Raises:
            CannotCut: It cannot be cut there in these modes.
            BackboneError: The model is not built as the template is.
        """
        self._check_kind(model)
        if told := self.refusal(boundary, model):
            raise CannotCut(told)
        return _Part(model, self._suffix(boundary, _modes(model)))

    def _training(self, boundary: int) -> dict[str, bool]:
        return {name: column >= boundary for name, column in self._column_of_module.items()}

    def _pattern(self, modes: _Modes) -> tuple[bool, ...]:
        return tuple(modes[name] for name in self._traced_modules)

    def _check_kind(self, model: nn.Module) -> None:
        if _kind(model) != self._kind:
            raise BackboneError(
                "this model is not built as the template is: other modules, dropout or constants"
            )

    def _refused(self, boundary: int, modes: _Modes) -> str:
        key = (boundary, self._pattern(modes))
        if key not in self._refusals:
            try:
                self._suffix(boundary, modes)
                self._refusals[key] = self._check_rows(boundary) or self._check(boundary, modes)
            except CannotCut as error:
                self._refusals[key] = "; ".join(error.problems)
        return self._refusals[key]

    def _trace(self, modes: _Modes) -> Trace:
        pattern = self._pattern(modes)
        if pattern not in self._traces:
            self._traces[pattern] = tracing.trace(self._template, modes)
        return self._traces[pattern]

    def _suffix_nodes(self, traced: Trace, boundary: int) -> set[fx.Node]:
        """Operations that have to be done in the suffix."""
        return tracing.reached(
            traced, [node for node in traced.graph.nodes if self._column(traced, node) >= boundary]
        )

    def _column(self, traced: Trace, node: fx.Node) -> int:
        """First column of suffixes that need not do this operation for its own sake, less one."""
        if node.op == "output":
            return self._n_columns
        if node.op == "call_module":
            below = self._template.get_submodule(str(node.target))
            if any(True for _ in below.parameters()) or any(True for _ in below.buffers()):
                return self._column_of_module[str(node.target)]
        if node.op == "get_attr" and node.target not in traced.constants:
            name = str(node.target)
            if name in self._column_of_parameter:
                return self._column_of_parameter[name]
            return self._column_of_module.get(name.rpartition(".")[0], self._n_columns)
        if tracing.is_random(self._template, node):
            return self._column_of_module[traced.owner(node)]
        return -1

    def _border(self, boundary: int) -> _Border:
        """Find the border in the trace in which the whole suffix is in training mode."""
        if boundary not in self._borders:
            traced = self._trace(self._training(boundary))
            suffix = self._suffix_nodes(traced, boundary)
            before = tracing.contents(traced) - suffix
            found = self._measure(traced, suffix, before)
            border = {node: values for node, values in found.items() if not _is_plain(*values)}
            self._borders[boundary] = _store(traced, suffix, border, self._numbers(traced))
        return self._borders[boundary]

    def _suffix(self, boundary: int, modes: _Modes) -> Program:
        key = (boundary, self._pattern(modes))
        if key not in self._suffixes:
            self._suffixes[key] = self._write_suffix(self._trace(modes), boundary)
        return self._suffixes[key]

    def _write_suffix(self, traced: Trace, boundary: int) -> Program:
        """Write the suffix of a trace behind the border, which may have been found in another trace."""
        border = self._border(boundary)
        numbers = self._numbers(traced)
        place_of = dict(zip(border.numbers, border.places, strict=True))
        stored = {node: place_of[numbers[node]] for node in traced.graph.nodes if numbers[node] in place_of}
        suffix = self._suffix_nodes(traced, boundary)
        found = self._measure(traced, suffix, set(stored))
        nodes = tracing.needed(traced, _roots(traced, suffix), found.__contains__)
        if traced.image in nodes and traced.image not in stored:
            raise CannotCut("what its suffix needs differs between training and evaluation mode")
        writer = Writer(traced, [node for node in nodes if node not in found], len(border.stored))
        tensors = [one.unpack(writer, rows) for one, rows in zip(border.stored, writer.inputs, strict=True)]
        for node, values in found.items():
            if node in stored:
                writer.known[node] = _nested(stored[node], tensors.__getitem__)
            else:
                writer.known[node] = _plain(writer, *values)
        writer.copy(node for node in nodes if node is not traced.output)
        return writer.program(writer.known[_result(traced)])

    def _measure(
        self, traced: Trace, suffix: set[fx.Node], border: set[fx.Node]
    ) -> dict[fx.Node, tuple[Any, ...]]:
        """Run what may have to cross the border with two numbers of images.

        Returns:
            The operations of ``border`` that the suffix needs, and those before it that give it sizes and the
            like, with their results for 2 and for 3 images.
        """
        roots = _roots(traced, suffix)
        maybe = tracing.needed(traced, roots, border.__contains__)
        before = tracing.reached(traced, [traced.image]) - suffix
        asked = [node for node in maybe if node in before]
        values = dict(zip(asked, zip(*self._run(traced, asked), strict=True), strict=True))
        found = {node for node in asked if node in border or _is_plain(*values[node])}
        crossing = tracing.needed(traced, roots, found.__contains__)
        return {node: values[node] for node in crossing if node in found}

    def _run(self, traced: Trace, asked: Sequence[fx.Node]) -> list[tuple[Any, ...]]:
        """Results of operations before the suffix, for 2 and for 3 images."""
        nodes = tracing.needed(traced, asked)
        writer = Writer(traced, nodes, 1)
        writer.known[traced.image] = writer.inputs[0]
        writer.copy(nodes)
        part = _Part(self._template, writer.program(tuple(writer.known[node] for node in asked)))
        try:
            with torch.no_grad(), likeness.own_chance(0):
                return [part(likeness.noise(n, self._image_size)) for n in _SIZES]
        except Exception as error:  # noqa: BLE001 - whatever the model's operations raise
            raise CannotCut(
                f"its lower part does not run as it was traced ({likeness.told(error)})"
            ) from None

    def _numbers(self, traced: Trace) -> dict[fx.Node, int]:
        return tracing.numbered(traced, self._table)

    def _check_rows(self, boundary: int) -> str:
        """Say whether features depend on an image's place in a chunk or on the others in it."""
        if boundary not in self._rows:
            prefix = _Part(self._template, self._border(boundary).prefix)
            self._rows[boundary] = likeness.rows_told(prefix, likeness.noise(self._chunk, self._image_size))
        return self._rows[boundary]

    def _check(self, boundary: int, modes: _Modes) -> str:
        """Compare a cut model with the whole, to the bit; the first difference in words."""
        if self._twins is None:
            whole = copy.deepcopy(self._template)
            with likeness.own_chance(1):
                likeness.stir(whole)
            self._twins = whole, copy.deepcopy(whole)
        whole, parts = self._twins
        for model in self._twins:
            model.eval()
            for name, parameter in model.named_parameters():
                parameter.grad = None
                parameter.requires_grad_(self._column_of_parameter[name] >= boundary)
            for name, module in model.named_modules():
                module.training = modes[name]
        prefix = _Part(parts, self._border(boundary).prefix)
        suffix = _Part(parts, self._suffix(boundary, modes))
        try:
            return likeness.difference(whole, parts, prefix, suffix, likeness.noise(4, self._image_size))
        except Exception as error:  # noqa: BLE001 - whatever the model's operations raise
            return f"a cut copy does not run ({likeness.told(error)})"


def _store(
    traced: Trace,
    suffix: set[fx.Node],
    border: Mapping[fx.Node, tuple[Any, ...]],
    numbers: Mapping[fx.Node, int],
) -> _Border:
    """Write the prefix that gives the results of ``border``, each tensor once."""
    _result(traced)
    effects = [node for node in traced.graph.nodes if node not in suffix and tracing.is_effect(node)]
    nodes = tracing.needed(traced, [*border, *effects])
    writer = Writer(traced, nodes, 1)
    writer.known[traced.image] = writer.inputs[0]
    writer.copy(nodes)
    stored: list[_Stored] = []
    outputs: list[fx.Node] = []
    taken: dict[object, int] = {}
    memory: set[int] = set()

    def place(result: fx.Node, two: Any, three: Any) -> Any:
        if isinstance(two, tuple | list):
            return type(two)(
                place(writer.graph.call_function(operator.getitem, (result, i)), *pair)
                for i, pair in enumerate(zip(two, three, strict=True))
            )
        if not isinstance(two, torch.Tensor):
            raise CannotCut(f"a {type(two).__name__} that depends on the images would have to be stored")
        where = two.untyped_storage().data_ptr()
        key = (where, two.storage_offset(), two.shape, two.stride())
        if key not in taken:
            one = _layout(two, three)
            rows = one.pack(writer, result)
            # Two views of one memory: what the suffix changes in one must not show in the other.
            outputs.append(writer.method("clone", rows) if where in memory else rows)
            taken[key] = len(stored)
            stored.append(one)
            memory.add(where)
        return taken[key]

    places = tuple(place(writer.known[node], *values) for node, values in border.items())
    prefix = writer.program(tuple(outputs))
    said = [prefix.source, *map(tensor_key, prefix.constants), *map(str, stored)]
    digest = hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]
    return _Border(tuple(numbers[node] for node in border), places, tuple(stored), prefix, digest)


def _layout(two: torch.Tensor, three: torch.Tensor) -> _Stored:
    """Tell rows by image and their order in memory from the results of 2 and of 3 images."""
    shapes = f"{tuple(two.shape)} for 2 images and {tuple(three.shape)} for 3"
    if not two.ndim or two.shape[1:] != three.shape[1:] or 3 * two.shape[0] != 2 * three.shape[0]:
        raise CannotCut(f"between prefix and suffix lies a tensor without rows by image: {shapes}")
    if two.dtype != torch.float32:
        raise CannotCut(f"between prefix and suffix lies a tensor of {two.dtype}, not of float32")
    rows = two.shape[0] // 2
    order = (0, *sorted(range(1, two.ndim), key=two.stride, reverse=True))
    shape = tuple(two.shape[i] for i in order[1:])
    return _Stored(shape if rows == 1 else (rows, *shape), rows, order)


def _nested(place: Any, get: Callable[[int], Any]) -> Any:
    return get(place) if isinstance(place, int) else type(place)(_nested(one, get) for one in place)


def _is_plain(two: Any, three: Any) -> bool:
    """Whether a value, given for 2 and for 3 images, is constant or a multiple of their number."""
    if isinstance(two, tuple | list):
        return len(two) == len(three) and all(map(_is_plain, two, three))
    if isinstance(two, torch.Tensor):
        return False
    return bool(two == three) or (isinstance(two, int) and 3 * two == 2 * three)


def _plain(writer: Writer, two: Any, three: Any) -> Any:
    """Write such a value for the number of images that the suffix is given."""
    if isinstance(two, tuple | list):
        parts = [_plain(writer, *pair) for pair in zip(two, three, strict=True)]
        return parts if isinstance(two, list) else tuple(parts)
    if isinstance(two, torch.device) or two is torch.float32:
        kind = "dtype" if two is torch.float32 else "device"
        return writer.graph.call_function(getattr, (writer.inputs[0], kind))
    if two == three:
        return two
    n = writer.method("size", writer.inputs[0], 0)
    return n if two == 2 else writer.graph.call_function(operator.mul, (n, two // 2))


def _result(traced: Trace) -> fx.Node:
    result = traced.output.args[0]
    if not isinstance(result, fx.Node):
        raise CannotCut("it gives more than logits")
    return result


def _roots(traced: Trace, suffix: set[fx.Node]) -> list[fx.Node]:
    effects = [node for node in traced.graph.nodes if node in suffix and tracing.is_effect(node)]
    return [_result(traced), *effects]


def _modes(model: nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


def _kind(model: nn.Module) -> tuple[object, ...]:
    """Give what must be equal for graphs to serve another model: its modules, and the decimals in them."""
    return tuple(
        (name, type(module), *(pair for pair in vars(module).items() if isinstance(pair[1], float)))
        for name, module in model.named_modules()
    )
