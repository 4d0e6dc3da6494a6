"""Layer groups: the columns of a schedule."""

from pydantic import Field, model_validator

from autofreeze.values import Value


class LayerGroup(Value):
    """One column of the schedule: a run of consecutive layers that freeze and thaw together."""

    name: str
    """Short and unique, such as ``stem``, ``layer3``, ``blocks.2-3`` or ``head``."""

    parameters: tuple[str, ...]
    """Names of its parameters, in the model's order. Never empty."""

    modules: tuple[str, ...] = ()
    """The outermost modules that lie wholly in this group, for people to read."""

    n_parameters: int = Field(default=0, ge=0)
    """How many numbers its parameters hold."""

    work_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the forward pass's multiply-adds that it costs, 0..1."""

    boundary_bytes: int = Field(default=0, ge=0)
    """Size of what flows into it for one image, in bytes of float32."""


class LayerGroups(Value):
    """All columns of a model, the stem first and the head last; each parameter in exactly one of them."""

    groups: tuple[LayerGroup, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _check(self) -> "LayerGroups":
        names = [group.name for group in self.groups]
        if len(set(names)) != len(names):
            raise ValueError(f"group names must differ, got {', '.join(names)}")
        parameters = [name for group in self.groups for name in group.parameters]
        if len(set(parameters)) != len(parameters):
            raise ValueError("a parameter lies in two groups; each must lie in exactly one")
        if any(not group.parameters for group in self.groups):
            raise ValueError("a group holds no parameter; leave it out")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, stem first, head last."""
        return tuple(group.name for group in self.groups)

    @property
    def backbone(self) -> tuple[LayerGroup, ...]:
        """All columns but the head."""
        return self.groups[:-1]

    @property
    def head(self) -> LayerGroup:
        """The freshly initialised classifier, and nothing else."""
        return self.groups[-1]

    @property
    def work_shares(self) -> tuple[float, ...]:
        """Share of forward work by column; they sum to 1."""
        return tuple(group.work_share for group in self.groups)

    def __len__(self) -> int:
        return len(self.groups)
