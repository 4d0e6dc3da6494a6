"""Replicas of a model in several processes: whether what wraps it reduces the gradients that it now has.

``DistributedDataParallel`` hooks the parameters that want gradients when it is made, and no others. What
thaws later is not reduced: each process steps by its own batch, and the replicas drift apart without a word.
"""

import gc
import sys
from typing import Any
from weakref import WeakKeyDictionary

import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from autofreeze.errors import ConfigError

Flags = tuple[bool, ...]
"""Which parameters want gradients, in the model's order."""


class Replicas:
    """Which wrappers of a model there are, and what each one reduces.

    Does nothing in a process that takes no part in ``torch.distributed``. Wrappers are found among the living
    objects, since a model does not know who wraps it: two looks at a switch, about 0.15 s each among 400,000
    objects.

    Args:
        model: What is wrapped, alone or as a part.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._parameters = tuple(model.parameters())
        self._reduced: WeakKeyDictionary[DistributedDataParallel, Flags] = WeakKeyDictionary()

    def note(self) -> None:
        """Note, before who trains is changed, that the wrappers of now reduce those who train now."""
        for wrapper in _alive(self._model, DistributedDataParallel):
            self._reduced.setdefault(wrapper, self._flags())

    def refuse_stale(self) -> None:
        """Refuse to go on when the model is wrapped, and no wrapper reduces exactly what trains now.

        One that was made when more trained will do if it looks for unused parameters.

        Raises:
            ConfigError: No wrapper does, or the model is sharded.
        """
        wrappers = _alive(self._model, DistributedDataParallel, *_sharding())
        if not all(isinstance(one, DistributedDataParallel) for one in wrappers):
            raise ConfigError(
                "the model is wrapped by FullyShardedDataParallel, which a bound schedule does not support; "
                "use DistributedDataParallel"
            )
        now = self._flags()
        if wrappers and not any(_serves(one, self._reduced.get(one, now), now) for one in wrappers):
            raise ConfigError(
                "the DistributedDataParallel around this model was made before the last layer groups were "
                "frozen or thawed, and reduces what trained then: replicas would drift apart. Wrap the model "
                "again where start_epoch or start_step returns True: if bound.start_epoch(epoch): ddp = "
                "DistributedDataParallel(model)"
            )

    def _flags(self) -> Flags:
        return tuple(parameter.requires_grad for parameter in self._parameters)


def _sharding() -> tuple[type[nn.Module], ...]:
    """Give the class that wraps sharded models, where somebody has loaded it."""
    module = sys.modules.get("torch.distributed.fsdp")
    return (module.FullyShardedDataParallel,) if module else ()


def _alive(model: nn.Module, *kinds: type[nn.Module]) -> list[Any]:
    """Modules of some kinds that contain the model."""
    if not (dist.is_available() and dist.is_initialized()):
        return []
    living = gc.get_objects()
    # By type(), not isinstance(): some objects answer that by loading what they stand for.
    types = {one for one in set(map(type, living)) if issubclass(one, kinds)}
    found = [one for one in living if type(one) in types] if types else []
    return [one for one in found if any(part is model for part in one.modules())]


def _serves(wrapper: DistributedDataParallel, reduced: Flags, now: Flags) -> bool:
    """Whether a wrapper that reduces some parameters is right when those of ``now`` train."""
    if reduced == now:
        return True
    covers = all(has for has, wants in zip(reduced, now, strict=True) if wants)
    return covers and wrapper.find_unused_parameters and not wrapper.static_graph
