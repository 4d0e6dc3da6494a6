"""A model as a graph of operations: traced, asked what reaches what, and compiled into functions.

Tracing runs the model's Python once on stand-ins (torch.fx): loops are unrolled and ``self.training`` is
baked in, for all modules that are traced through. Modules of torch and those that timm calls leaves are
called as they are, so they heed their mode when the graph runs.
"""

import copy
import hashlib
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partialmethod
from typing import Any

import torch
from timm.models import get_notrace_functions, get_notrace_modules
from torch import fx, nn
from torch.nn import functional as F

from autofreeze.errors import BackboneError

_SHAPE_ATTRIBUTES = frozenset({"shape", "ndim", "device", "dtype", "layout", "is_cuda", "names"})
_SHAPE_METHODS = frozenset(
    {"size", "dim", "ndimension", "numel", "nelement", "stride", "is_contiguous", "is_floating_point"}
    | {"get_device", "element_size", "new_empty", "new_zeros", "new_ones", "new_full"}
)
_SHAPE_FUNCTIONS: frozenset[Any] = frozenset(
    {len, torch.numel, torch.empty_like, torch.zeros_like, torch.ones_like, torch.full_like}
    | {torch.rand_like, torch.randn_like}
)
"""What these give does not depend on the contents of the tensor that they are asked of."""

_RANDOM_NAMES = ("dropout", "bernoulli", "rand", "normal_", "uniform_", "exponential_", "multinomial")


class CannotCut(BackboneError):
    """A model cannot be cut; says why."""


@dataclass(frozen=True)
class Trace:
    """One model traced in one pattern of modes."""

    graph: fx.Graph
    image: fx.Node
    """The stand-in of the images."""

    output: fx.Node
    constants: Mapping[str, torch.Tensor]
    """Tensors that the model's Python made from nothing, by the name that the graph gives them."""

    def owner(self, node: fx.Node) -> str:
        """Name of the innermost module in which the operation is done."""
        if node.op == "call_module":
            return str(node.target)
        stack = node.meta.get("nn_module_stack") or {}
        return str(list(stack.values())[-1][0]) if stack else ""


@dataclass(frozen=True)
class Program:
    """A graph as a function of a model that has the traced one's modules."""

    call: Callable[..., Any]
    """``call(model, *constants, *inputs)``."""

    constants: tuple[torch.Tensor, ...]
    source: str
    """Python text: equal text and constants do equal things."""


class _Tracer(fx.Tracer):
    """Traces a timm model as a function of its images alone."""

    def __init__(self) -> None:
        super().__init__(autowrap_functions=tuple(get_notrace_functions()))  # type: ignore[no-untyped-call]
        self._leaves = tuple(get_notrace_modules())  # type: ignore[no-untyped-call]
        self._names: dict[int, str] = {}

    def trace(self, root: nn.Module, *_: Any) -> fx.Graph:  # type: ignore[override]
        """Trace a model."""
        self._names = {id(t): name for name, t in [*root.named_buffers(), *root.named_parameters()]}
        return super().trace(root)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Give an operation's result a stand-in."""
        return _StandIn(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is called as it is: a linear layer is, so that what enters a head can be seen.

        timm has linear layers of its own, which would be traced through.
        """
        return isinstance(m, (nn.Linear, *self._leaves)) or super().is_leaf_module(m, module_qualified_name)

    def create_args_for_root(self, root_fn: Any, *_: Any) -> Any:
        """Give the images a stand-in; other arguments keep the values that their signature says."""
        return root_fn, [self.root, self.create_proxy("placeholder", "image", (), {})]

    def getattr(self, _attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Give parameters and buffers a stand-in: what is worked out from them is no constant."""
        name = self._names.get(id(attr_val)) if isinstance(attr_val, torch.Tensor) else None
        if name is None:
            return attr_val
        if name not in parameter_proxy_cache:
            parameter_proxy_cache[name] = self.create_proxy(
                "get_attr", name, (), {}, proxy_factory_fn=lambda node: _Held(node, self, attr_val)
            )
        return parameter_proxy_cache[name]


class _StandIn(fx.Proxy):
    """Stand-in of a value. ``x += y`` stays in place: gradients of ``x + y`` may differ in the last bits."""

    def _in_place(self, operation: Callable[..., Any], other: object) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operation, (self, other), {})

    __iadd__ = partialmethod(_in_place, operator.iadd)
    __isub__ = partialmethod(_in_place, operator.isub)
    __imul__ = partialmethod(_in_place, operator.imul)
    __itruediv__ = partialmethod(_in_place, operator.itruediv)


class _Held(_StandIn):
    """Stand-in of a parameter or buffer: its shape and type are known."""

    def __init__(self, node: fx.Node, tracer: fx.Tracer, tensor: torch.Tensor) -> None:
        super().__init__(node, tracer)
        self.shape, self.ndim, self.dtype = tensor.shape, tensor.ndim, tensor.dtype
        self.size, self.dim, self.numel = tensor.size, tensor.dim, tensor.numel


def traced_modules(model: nn.Module) -> tuple[str, ...]:
    """Names of the modules that may be traced through, whose modes are thus baked into a graph."""
    tracer = _Tracer()
    return tuple(name for name, module in model.named_modules() if not tracer.is_leaf_module(module, name))


def trace(template: nn.Module, modes: Mapping[str, bool]) -> Trace:
    """Trace a model in the given modes; the model is not changed.

    While it lasts, calls of any module in this process are recorded: no other thread may run a model.

    Args:
        template: The model.
        modes: Module name -> whether it is in training mode.

    Raises:
        CannotCut: It cannot be traced: its Python decides by what is in the images, for instance.
    """
    tensors = [*template.parameters(), *template.buffers()]
    model = copy.deepcopy(template, {id(tensor): tensor for tensor in tensors})  # own modules, same tensors
    model.eval()  # LeViT and its kin keep position biases until this is called
    for name, module in model.named_modules():
        module.training = modes[name]
    try:
        graph = _Tracer().trace(model)
    except Exception as error:  # noqa: BLE001 - a model's Python fails on stand-ins in any way it likes
        told = (str(error).strip().splitlines() or [""])[0]
        raise CannotCut(f"torch.fx cannot trace it ({type(error).__name__}: {told})") from None
    constants = {}
    for node in graph.nodes:
        if node.op == "get_attr" and not _has(template, node.target):
            constants[str(node.target)] = _attribute(model, node.target).detach()
    _name_what_is_changed_in_place(graph)
    image = next(node for node in graph.nodes if node.op == "placeholder")
    output = next(node for node in graph.nodes if node.op == "output")
    return Trace(graph, image, output, constants)


def contents(traced: Trace) -> set[fx.Node]:
    """Operations whose result depends on what is in the images, not just on how many there are."""
    found = {traced.image}
    for node in traced.graph.nodes:
        if not _asks_for_shape(node) and not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def reached(traced: Trace, sources: Iterable[fx.Node]) -> set[fx.Node]:
    """Operations that depend in any way on one of the sources, themselves included."""
    found = set(sources)
    for node in traced.graph.nodes:
        if not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def is_random(model: nn.Module, node: fx.Node) -> bool:
    """Whether an operation may draw random numbers."""
    if node.op == "call_module":
        return isinstance(_attribute(model, node.target), nn.modules.dropout._DropoutNd)
    if node.op == "call_function" and node.target is F.scaled_dot_product_attention:
        return bool(node.kwargs.get("dropout_p", node.args[4] if len(node.args) > 4 else 0.0))
    name = str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", "")
    return node.op in ("call_method", "call_function") and any(part in name for part in _RANDOM_NAMES)


def is_effect(node: fx.Node) -> bool:
    """Whether an operation matters although nobody uses its result: it changes a tensor in place."""
    if node.users or node.op in ("placeholder", "output", "get_attr"):
        return False
    return node.op == "call_module" or _changes_first(node) or node.target is operator.setitem


def numbered(traced: Trace, table: dict[object, int]) -> dict[fx.Node, int]:
    """Give each operation a number: equal operations on equal inputs have equal numbers.

    Args:
        traced: The graph.
        table: Numbers given so far; shared by graphs that are compared.
    """
    numbers: dict[fx.Node, int] = {}

    def key(value: Any) -> object:
        if isinstance(value, fx.Node):
            return ("node", numbers[value])
        if isinstance(value, tuple | list):
            return (type(value).__name__, *map(key, value))
        if isinstance(value, dict):
            return ("dict", *((name, key(value[name])) for name in sorted(value)))
        if isinstance(value, slice):
            return ("slice", key(value.start), key(value.stop), key(value.step))
        return (type(value).__name__, repr(value))

    for node in traced.graph.nodes:
        target: object = node.target
        if target in traced.constants:
            target = tensor_key(traced.constants[str(target)])
        said = (node.op, target, key(node.args), key(node.kwargs))
        numbers[node] = table.setdefault(said, len(table))
    return numbers


def tensor_key(tensor: torch.Tensor) -> str:
    """Digest of a tensor's type, shape and bits."""
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def needed(
    traced: Trace,
    roots: Iterable[fx.Node],
    stop: Callable[[fx.Node], bool] = lambda _: False,
) -> list[fx.Node]:
    """Operations that the roots need, in order, themselves included; those that ``stop`` need nothing."""
    wanted = set(roots)
    for node in reversed(traced.graph.nodes):
        if node in wanted and not stop(node):
            wanted.update(node.all_input_nodes)
    return [node for node in traced.graph.nodes if node in wanted]


class Writer:
    """Writes a new graph from operations of a traced one.

    Args:
        traced: Where the operations come from.
        nodes: Those that will be copied.
        inputs: How many inputs the new graph has.
    """

    def __init__(self, traced: Trace, nodes: Sequence[fx.Node], inputs: int) -> None:
        self.graph = fx.Graph()
        self.known: dict[fx.Node, Any] = {}
        """What stands in the new graph for an operation of the old one: an operation or a plain value."""

        names = [str(node.target) for node in nodes if node.op == "get_attr"]
        used = list(dict.fromkeys(name for name in names if name in traced.constants))
        places = {name: self.graph.placeholder(f"constant_{i}") for i, name in enumerate(used)}
        self._constants = tuple(traced.constants[name] for name in used)
        for node in nodes:
            if node.op == "get_attr" and node.target in places:
                self.known[node] = places[str(node.target)]
        self.inputs = [self.graph.placeholder(f"input_{i}") for i in range(inputs)]

    def copy(self, nodes: Iterable[fx.Node]) -> None:
        """Copy operations, in order; those that are known already are left out."""
        for node in nodes:
            if node not in self.known:
                args: Any = fx.node.map_arg(node.args, self.known.__getitem__)
                kwargs: Any = fx.node.map_arg(node.kwargs, self.known.__getitem__)
                self.known[node] = self.graph.create_node(node.op, node.target, args, kwargs)

    def method(self, name: str, *args: Any) -> fx.Node:
        """Write the call of a tensor's method."""
        return self.graph.call_method(name, args)

    def program(self, result: Any) -> Program:
        """End the graph with its result, and compile it."""
        self.graph.output(result)
        code = self.graph.python_code("self")
        space = dict(code.globals)
        exec(compile(code.src, "<autofreeze.cut>", "exec"), space)
        return Program(space["forward"], self._constants, code.src)


def _asks_for_shape(node: fx.Node) -> bool:
    if node.op == "call_method":
        return node.target in _SHAPE_METHODS
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] in _SHAPE_ATTRIBUTES
    return node.op == "call_function" and node.target in _SHAPE_FUNCTIONS


def _changes_first(node: fx.Node) -> bool:
    """Whether an operation changes its first argument in place and gives it back."""
    if node.op == "call_method":
        name = str(node.target)
        return name.endswith("_") and not name.endswith("__")
    if node.op != "call_function":
        return False
    name = getattr(node.target, "__name__", "")
    in_place = name in ("iadd", "isub", "imul", "itruediv") or (name.endswith("_") and name[:1] != "_")
    return in_place or node.kwargs.get("inplace") is True


def _name_what_is_changed_in_place(graph: fx.Graph) -> None:
    """Let later users of a tensor that is changed in place take it from the operation that changed it."""
    order = {node: i for i, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        if _changes_first(node) and node.args and isinstance(node.args[0], fx.Node):
            for user in tuple(node.args[0].users):
                if order[user] > order[node]:
                    user.replace_input_with(node.args[0], node)


def _attribute(model: nn.Module, name: object) -> Any:
    return operator.attrgetter(str(name))(model)


def _has(model: nn.Module, name: object) -> bool:
    try:
        _attribute(model, name)
    except AttributeError:
        return False
    return True
