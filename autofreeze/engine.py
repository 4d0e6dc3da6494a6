"""The engine: what is frozen is computed once, and shared by all runs of a search.

While the columns below a border are frozen and as pretrained, what flows over that border is the same in
every trial, fold and seed. A :class:`Stage` hands it out, from a store or by computing it again: the bits are
the same.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autofreeze import views
from autofreeze.backbone import Backbone
from autofreeze.binding import Columns
from autofreeze.cut import Cutter
from autofreeze.examples import Examples
from autofreeze.features import GPU_SHARE, FeatureSpec, FeatureStore, FeatureStores, here
from autofreeze.pixels import render
from autofreeze.rowlayout import empty_rows
from autofreeze.shelf import Shelf
from autofreeze.steps import Forward, autocast
from autofreeze.tracing import CannotCut
from autofreeze.values import digest_of

Ids = NDArray[np.int64]
Compute = Callable[[Ids], tuple[Tensor, ...]]

CHUNKS = {"cpu": 32}
"""Images that a prefix is run on at a time, the last ones filled up, by kind of device."""

CHUNK = 256
"""The same on other devices."""

PLAIN = views.kind("none", 0)
"""What validation sees."""

WINDOW_BYTES = 2**26
"""About how much is gathered at a time, for several batches at once."""


@dataclass
class Engine:
    """Shared by all runs on one task in one process.

    Args:
        backbone: Of all the models.
        n_classes: Of their heads.
        device: Where they are.
        stores: Where features are kept; None computes them again for each batch.
        decoded: Key of the decoded images; needed with ``stores``.
    """

    backbone: Backbone
    n_classes: int
    device: torch.device
    stores: FeatureStores | None = None
    decoded: str = ""
    _opened: dict[tuple[int, str], FeatureStore | None] = field(default_factory=dict, repr=False)
    _whole_seconds: float | None = field(default=None, repr=False)
    _refused: dict[str, None] = field(default_factory=dict, repr=False)
    _resident: Tensor | None = field(default=None, repr=False)

    @cached_property
    def cutter(self) -> Cutter:
        """Cuts the models; made when the first frozen phase needs it."""
        template = self.backbone.build(self.n_classes, seed=0)
        columns = Columns.of(template, self.backbone.groups)
        size = self.backbone.preprocessing.image_size
        return Cutter(template, columns, size, chunk=min(self.chunk, CHUNKS["cpu"]))

    def beside(self, stores: FeatureStores | None) -> "Engine":
        """Give an engine that cuts with the same cutter and keeps its features elsewhere."""
        other = Engine(self.backbone, self.n_classes, self.device, stores, self.decoded)
        other.cutter = self.cutter
        return other

    @property
    def chunk(self) -> int:
        """Images that a prefix is run on at a time."""
        return CHUNKS.get(self.device.type, CHUNK)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was not cut or not stored, and why, in sentences."""
        return (*self._refused, *(self.stores.notes if self.stores else ()))

    def cutter_for(self, model: nn.Module, boundary: int) -> Cutter | None:
        """Give what cuts a model below a column; None, and a note, where it cannot be cut in its modes."""
        if boundary == 0:
            return None
        if refusal := self.cutter.refusal(boundary, model):
            note = f"{self.backbone.name} runs whole in every step, frozen layers too: {refusal}"
            self._refused[note] = None
            return None
        return self.cutter

    def store(self, stage: "Stage", kind: str, compute: Compute) -> FeatureStore | None:
        """Open the features of one kind of view at a stage's border, or fill them; None: compute by batch.

        Args:
            stage: Of any run.
            kind: See ``views.kind``.
            compute: Gives the features of images in this view.
        """
        if self.stores is None:
            return None
        key = (stage.boundary, kind)
        if key not in self._opened:
            self._opened[key] = self.stores.get(
                self._spec(stage.boundary, kind, stage.dtype(compute)),
                self.cutter.shapes(stage.boundary),
                compute,
                seconds_per_image=self._seconds(stage, compute),
            )
        return self._opened[key]

    def _seconds(self, stage: "Stage", compute: Compute) -> float:
        """Estimate how long the prefix takes, by image: one border is measured, the others follow by work."""
        below = max(sum(self.backbone.groups.work_shares[: stage.boundary]), 1e-3)
        if self._whole_seconds is None:
            self._whole_seconds = stage.seconds(compute) / below
        return self._whole_seconds * below

    def has_stored(self, boundary: int, kind: str) -> bool:
        """Whether the cache holds features already, as far as its notes tell; nothing is opened."""
        if self.stores is None or self.stores.folder is None:
            return False
        shelf = Shelf(self.stores.folder, "features")
        try:
            specs = [self._spec(boundary, kind, dtype) for dtype in (torch.float32, torch.bfloat16)]
        except CannotCut:
            return False
        return any(shelf.note(self.stores.key_of(spec)).exists() for spec in specs)

    def on_device(self, images: NDArray[np.uint8]) -> Tensor | None:
        """Keep decoded images on a GPU where they fit into a share of its free memory; else None."""
        if self.device.type != "cuda":
            return None
        if self._resident is None and images.nbytes <= GPU_SHARE * torch.cuda.mem_get_info(self.device)[0]:
            self._resident = torch.tensor(images, device=self.device)
        return self._resident

    def _spec(self, boundary: int, kind: str, dtype: torch.dtype) -> FeatureSpec:
        """Collect what the features follow from."""
        backbone = self.backbone
        below = [group.parameters for group in backbone.groups.groups[:boundary]]
        return FeatureSpec(
            backbone=backbone.digest,
            model=backbone.name,
            boundary=boundary,
            below=digest_of([below, self.cutter.digest(boundary)]),
            decoded=self.decoded,
            image_size=backbone.preprocessing.image_size,
            mean=backbone.preprocessing.mean,
            std=backbone.preprocessing.std,
            view=kind,
            dtype=str(dtype).removeprefix("torch."),
            chunk=self.chunk,
            **here(self.device),
        )


class Stage:
    """A run between two thaws: image ids in, what the trainable part of the model takes out.

    Args:
        engine: Shared with other runs; None runs the whole model.
        model: The run's model, its modules in the modes of a training step.
        examples: Its images.
        boundary: The lowest column that trains or has trained; those below are as pretrained.
        view: Of the regime.
        seed: Of the views.
        erase: Of the regime.
        device: Where the model is.
    """

    def __init__(
        self,
        engine: Engine | None,
        model: nn.Module,
        examples: Examples,
        boundary: int,
        *,
        view: str,
        seed: int,
        erase: float,
        device: torch.device,
    ) -> None:
        self._engine = engine
        self._model = model
        self._examples = examples
        self.view, self._seed, self._erase = view, seed, erase
        self._device = device
        self._cutter = engine.cutter_for(model, boundary) if engine else None
        self.boundary = boundary if self._cutter else 0
        self._prefix = self._cutter.prefix(model, boundary) if self._cutter else None

    def forward(self) -> Forward:
        """Give the part of the model above the border, for the modes that its modules are in now."""
        return self._cutter.suffix(self._model, self.boundary) if self._cutter else self._model

    def batches(self, ids: Ids, numbers: Ids | None, sizes: Sequence[int]) -> Iterator[tuple[Tensor, ...]]:
        """Hand out the inputs of one batch after the other.

        Args:
            ids: Image ids of all batches, in order, (n,).
            numbers: Which view of each, (n,); None: as they are.
            sizes: Of the batches; they add up to n.

        Yields:
            Tensors with a row for each image; the caller may write to them.
        """
        for window in self._windows(sizes):
            start, end = window[0], window[-1]
            rows = self.rows(ids[start:end], None if numbers is None else numbers[start:end])
            for low, high in pairwise(window):
                yield tuple(one[low - start : high - start] for one in rows)

    def rows(self, ids: Ids, numbers: Ids | None) -> tuple[Tensor, ...]:
        """Give the inputs of some images, from the stores or computed; arguments as for :meth:`batches`."""
        if self._prefix is None:
            return (self._pixels(ids, numbers),)
        if numbers is None:
            store = self._store(None)
            return self._compute(ids, None) if store is None else store.rows(ids)
        kept: list[tuple[Ids, tuple[Tensor, ...]]] = []
        bare = np.ones(len(ids), dtype=np.bool_)
        for number in np.unique(numbers) if views.prepared(self.view) else ():
            if (store := self._store(int(number))) is not None:
                where = np.flatnonzero(numbers == number)
                kept.append((where, store.rows(ids[where])))
                bare[where] = False
        if bare.any():
            where = np.flatnonzero(bare)
            kept.append((where, self._compute(ids[where], numbers[where])))
        return _merged(kept, len(ids))

    def _store(self, number: int | None) -> "FeatureStore | None":
        assert self._engine is not None
        kind = PLAIN if number is None else views.kind(self.view, number, erase=self._erase)

        def compute(ids: Ids) -> tuple[Tensor, ...]:
            return self._compute(ids, None if number is None else np.full(len(ids), number, dtype=np.int64))

        return self._engine.store(self, kind, compute)

    def _compute(self, ids: Ids, numbers: Ids | None) -> tuple[Tensor, ...]:
        """Run the prefix, in chunks of one size, the last one filled up: so no row depends on the others."""
        assert self._engine is not None
        assert self._prefix is not None
        chunk = self._engine.chunk
        pieces = []
        with torch.no_grad():
            for start in range(0, len(ids), chunk):
                part = slice(start, start + chunk)
                pixels = self._pixels(ids[part], None if numbers is None else numbers[part])
                with autocast(self._device):
                    rows = self._prefix(_filled_up(pixels, chunk))
                pieces.append(tuple(one[: len(pixels)] for one in _of_one_type(rows)))
        return tuple(_joined(same) if len(same) > 1 else same[0] for same in zip(*pieces, strict=True))

    def seconds(self, compute: Compute) -> float:
        """Measure how long the features of an image take."""
        assert self._engine is not None
        ids = np.resize(self._examples.train, self._engine.chunk)
        compute(ids)  # sets everything up
        began = time.perf_counter()
        for one in compute(ids):
            one.flatten()[:1].cpu()  # waits for the device
        return (time.perf_counter() - began) / len(ids)

    def dtype(self, compute: Compute) -> torch.dtype:
        """Type of the features: on a GPU autocast decides it."""
        return torch.float32 if self._device.type == "cpu" else compute(self._examples.train[:1])[0].dtype

    def _pixels(self, ids: Ids, numbers: Ids | None) -> Tensor:
        preprocessing = self._examples.preprocessing
        return render(
            "none" if numbers is None else self.view,
            self._images(ids),
            ids,
            np.zeros(len(ids), dtype=np.int64) if numbers is None else numbers,
            preprocessing.mean,
            preprocessing.std,
            seed=self._seed,
            erase=self._erase,
        )

    def _images(self, ids: Ids) -> Tensor:
        """Give stored images, uint8 (n, size, size, 3), on the device."""
        resident = self._engine.on_device(self._examples.images) if self._engine else None
        if resident is not None:
            return resident[torch.from_numpy(ids).to(self._device)]
        images = torch.from_numpy(self._examples.images[ids])
        if self._device.type == "cuda":
            return images.pin_memory().to(self._device, non_blocking=True)
        return images.to(self._device)

    def _windows(self, sizes: Sequence[int]) -> Iterator[list[int]]:
        """Give the borders of batches that are gathered together."""
        borders = [0, *accumulate(sizes)]
        most = 1
        if self._cutter is not None:
            numbers = sum(int(np.prod(shape)) for shape in self._cutter.shapes(self.boundary))
            most = max(WINDOW_BYTES // (4 * numbers), 1)
        window = borders[:1]
        for border in borders[1:]:
            if len(window) > 1 and border - window[0] > most:
                yield window
                window = window[-1:]
            window.append(border)
        if len(window) > 1:
            yield window


def _merged(parts: Sequence[tuple[Ids, tuple[Tensor, ...]]], n: int) -> tuple[Tensor, ...]:
    """Put rows back into their order."""
    if len(parts) == 1:
        return parts[0][1]
    merged = tuple(empty_rows(one, n) for one in parts[0][1])  # other strides could mean other bits
    for where, rows in parts:
        places = torch.from_numpy(where).to(merged[0].device)
        for whole, own in zip(merged, rows, strict=True):
            whole.index_copy_(0, places, own)
    return merged


def _joined(pieces: Sequence[Tensor]) -> Tensor:
    """Put pieces one behind the other, in their own layout: strides that differed could mean other bits."""
    return torch.cat(list(pieces), out=empty_rows(pieces[0], sum(map(len, pieces))))


def _of_one_type(rows: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Bring tensors to the wider type where autocast left them in two."""
    return rows if len({one.dtype for one in rows}) == 1 else tuple(one.float() for one in rows)


def _filled_up(pixels: Tensor, chunk: int) -> Tensor:
    """Fill a chunk up with black images."""
    if len(pixels) == chunk:
        return pixels
    filled = pixels.new_zeros((chunk, *pixels.shape[2:], pixels.shape[1])).permute(0, 3, 1, 2)
    filled[: len(pixels)] = pixels
    return filled
