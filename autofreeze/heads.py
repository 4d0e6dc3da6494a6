"""Many linear heads over the same features, trained side by side: one product for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autofreeze.regime import Regime
from autofreeze.steps import autocast, wide


@dataclass(frozen=True)
class Targets:
    """How the loss of each head weighs an image, by its class.

    The loss of a batch is that of ``F.cross_entropy``: with weights w and smoothing ε it is the mean of
    (1 − ε)·w_y·(−log p_y) + ε/classes·Σ_c w_c·(−log p_c), where images count by w_y.
    """

    own: Tensor
    """(classes, heads), (1 − ε)·w_y: what the true class takes."""

    spread: Tensor
    """(heads, classes), ε/classes·w_c: what every class takes."""

    weights: Tensor
    """(classes, heads), w_y."""

    plain: bool
    """Whether no head has weights or smoothing."""

    @classmethod
    def of(cls, smoothing: Sequence[float], weights: Sequence[Tensor | None], n_classes: int,
           device: torch.device) -> "Targets":  # fmt: skip
        """Gather the settings of all heads.

        Args:
            smoothing: ε by head.
            weights: Of the classes, (classes,), by head; None for all alike.
            n_classes: Classes.
            device: Where the heads are.
        """
        by_head = torch.stack([torch.ones(n_classes) if one is None else one.cpu() for one in weights])
        epsilon = torch.tensor(list(smoothing))[:, None]
        return cls(
            own=((1 - epsilon) * by_head).t().contiguous().to(device),
            spread=(epsilon / n_classes * by_head).to(device),
            weights=by_head.t().contiguous().to(device),
            plain=not any(smoothing) and all(one is None for one in weights),
        )

    def select(self, kept: Tensor) -> "Targets":
        """Give those of some heads."""
        return Targets(self.own[:, kept], self.spread[kept], self.weights[:, kept], self.plain)


@dataclass(frozen=True)
class HeadStep:
    """What a step gave, by head; left on the device, so that no step waits for it."""

    loss: Tensor
    """(heads,), mean over the batch, in nats; smoothed and weighted as each head's regime says."""

    norm: Tensor
    """(heads,), 2-norm of the gradient."""

    hits: Tensor
    """(heads,), images classified rightly."""


class HeadStack:
    """Copies of one linear layer, each trained by settings of its own.

    The gradient is written down, not traced. The optimizer is torch's own, at a rate of 1 on a step that
    starts from zero: what it makes of that is then taken at each head's rate. Heads do not touch one
    another: one that has diverged harms none.

    Args:
        linear: The layer that every head starts from.
        regimes: By head; optimizer and momentum are those of the first.
        weights: Of the classes in the loss, (classes,), by head; None for all alike.
        device: Where to train.
    """

    def __init__(
        self,
        linear: nn.Linear,
        regimes: Sequence[Regime],
        weights: Sequence[Tensor | None],
        device: torch.device,
    ) -> None:
        self._device = device
        self._regime = regimes[0]
        self._targets = Targets.of([r.label_smoothing for r in regimes], weights, linear.out_features, device)
        self._decay = torch.tensor([r.weight_decay for r in regimes], device=device)
        self._decays = any(r.weight_decay for r in regimes)
        n, bias = len(regimes), linear.bias
        self._values = [linear.weight.detach().to(device).expand(n, -1, -1).clone()]
        if bias is not None:
            self._values.append(bias.detach().to(device).expand(n, -1).clone())
        self._start_optimizer()

    def __len__(self) -> int:
        return len(self._values[0])

    def _start_optimizer(self) -> None:
        self._moves = [torch.zeros_like(value) for value in self._values]
        regime = self._regime
        self._optimizer: torch.optim.Optimizer
        if regime.optimizer == "sgd":
            self._optimizer = torch.optim.SGD(
                self._moves, lr=1.0, momentum=regime.momentum, nesterov=regime.momentum > 0
            )
        else:
            self._optimizer = torch.optim.AdamW(self._moves, lr=1.0, weight_decay=0.0, fused=True)

    def logits(self, features: Tensor) -> Tensor:
        """Apply every head: features (n, F) -> logits float32 (n, heads, classes)."""
        weight = self._values[0]
        heads, classes, width = weight.shape
        with autocast(self._device):
            product = features @ weight.view(heads * classes, width).t()
        logits = product.float().view(len(features), heads, classes)
        return logits + self._values[1] if len(self._values) > 1 else logits

    @torch.no_grad()
    def step(self, features: Tensor, targets: Tensor, rates: Tensor) -> HeadStep:
        """Take one optimizer step with every head.

        Args:
            features: (n, F).
            targets: Classes (n,), int64.
            rates: Learning rate by head, (heads,).
        """
        n, heads, classes = len(features), *self._values[0].shape[:2]
        logits = self.logits(features)
        log_p = logits.log_softmax(2)
        places = targets.view(n, 1, 1).expand(n, heads, 1)
        nll = log_p.gather(2, places).neg_().squeeze(2)
        hits = (logits.argmax(2) == targets[:, None]).sum(0)
        slope = log_p.exp()
        if self._targets.plain:
            loss = nll.mean(0)
            slope.scatter_add_(2, places, slope.new_full((n, heads, 1), -1.0))
            slope.div_(n)
        else:
            own, total = self._targets.own[targets], self._targets.weights[targets].sum(0)
            spread = self._targets.spread
            loss = ((nll * own).sum(0) - (log_p * spread).sum((0, 2))) / total
            slope.mul_((own + spread.sum(1)).unsqueeze(2))
            slope.scatter_add_(2, places, -own.unsqueeze(2)).sub_(spread).div_(total.unsqueeze(1))
        return HeadStep(loss, self._update(features, slope.view(n, heads * classes), rates), hits)

    def _update(self, features: Tensor, slope: Tensor, rates: Tensor) -> Tensor:
        """Move every head down its slope, (n, heads · classes); gives the gradients' 2-norms."""
        weight = self._values[0]
        heads, classes, width = weight.shape
        gradients = [(slope.t() @ features.float()).view(heads, classes, width)]
        if len(self._values) > 1:
            gradients.append(slope.sum(0).view(heads, classes))
        squares = [torch.linalg.vector_norm(one.view(heads, -1), dim=1).square_() for one in gradients]
        norm = torch.stack(squares).sum(0).sqrt_()
        if self._decays:  # never of the bias
            if self._regime.optimizer == "sgd":
                gradients[0].addcmul_(weight, self._decay.view(-1, 1, 1))
            else:
                weight.mul_((1 - rates * self._decay).view(-1, 1, 1))
        for move, gradient in zip(self._moves, gradients, strict=True):
            move.grad = gradient
            move.zero_()
        self._optimizer.step()
        for value, move in zip(self._values, self._moves, strict=True):
            value.addcmul_(move, rates.view(-1, *(1,) * (value.ndim - 1)))
        return norm

    @torch.no_grad()
    def predict(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Predict images: classes (n, heads), and their log losses in nats, float64 (n, heads)."""
        logits = self.logits(features)
        places = targets.view(-1, 1, 1).expand(len(targets), len(self), 1)
        losses = logits.log_softmax(2).gather(2, places).neg_().squeeze(2)
        return logits.argmax(2), losses.double()

    @torch.no_grad()
    def norms(self) -> Tensor:
        """2-norm of the parameters by head, (heads,)."""
        kind = wide(self._device)
        flat = [value.view(len(self), -1) for value in self._values]
        squares = [torch.linalg.vector_norm(one, dim=1).to(kind).square_() for one in flat]
        return torch.stack(squares).sum(0).sqrt_()

    def select(self, kept: Sequence[int]) -> None:
        """Go on with some of the heads alone.

        Args:
            kept: Their places, at least one.
        """
        places = torch.tensor(list(kept), device=self._device)
        state = self._optimizer.state_dict()
        for entry in state["state"].values():
            for name, tensor in entry.items():
                if isinstance(tensor, Tensor) and tensor.ndim:  # the number of steps is one for all
                    entry[name] = tensor[places]
        self._values = [value[places] for value in self._values]
        self._targets = self._targets.select(places)
        self._decay = self._decay[places]
        self._start_optimizer()
        self._optimizer.load_state_dict(state)

    @torch.no_grad()
    def put(self, place: int, linear: nn.Linear) -> None:
        """Write one head into a layer."""
        linear.weight.copy_(self._values[0][place])
        if len(self._values) > 1:
            linear.bias.copy_(self._values[1][place])

    def state(self) -> dict[str, Any]:
        """Give everything that going on needs."""
        return {"values": self._values, "optimizer": self._optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state of a stack with the same heads."""
        self._values = [value.to(self._device) for value in state["values"]]
        self._optimizer.load_state_dict(state["optimizer"])
