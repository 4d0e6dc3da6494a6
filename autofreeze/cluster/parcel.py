"""What is sent to each node once, so that jobs on images run there: it needs neither images nor weights."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import ray
import torch
from numpy.typing import NDArray

from autofreeze.allocator import keep_freed_memory
from autofreeze.backbone import Backbone
from autofreeze.cluster.exchange import RowExchange
from autofreeze.cluster.here import Here, Runner
from autofreeze.data import Dataset
from autofreeze.engine import Engine
from autofreeze.errors import DataError
from autofreeze.features import FeatureStores
from autofreeze.job import EpochRecord, Job
from autofreeze.shelf import default_cache_folder
from autofreeze.splits import Split
from autofreeze.stores import DecodedStore, HeldImages
from autofreeze.task import Task
from autofreeze.trial import Workbench, pick_device, run

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class ImageParcel:
    """An opened task, to be opened again on workers (``here.Opener``).

    Pixels and weights are references into the object store: a node fetches them once, and its workers map the
    same memory.
    """

    task: Task
    dataset: Dataset
    """Without its files."""

    backbone: Backbone
    """Without its tensors."""

    splits: tuple[Split, ...]
    images: DecodedStore | tuple[Any, str]
    """A file that every node sees; or a reference to the pixels, and the key of their store."""

    tensors: Any
    """Reference to the backbone's tensors."""

    n_bytes: int
    """What the references stand for."""

    stops: tuple[type[Exception], ...] = ()

    @classmethod
    def of(cls, bench: Workbench, *, shared_disk: bool) -> "ImageParcel":
        """Pack an opened task; puts pixels and weights into the object store.

        Args:
            bench: The task, as the driver has opened it.
            shared_disk: Whether every node sees the cache folder. Then pixels and features are read there.
        """
        assert isinstance(bench.store, DecodedStore)
        tensors = {name: tensor.numpy() for name, tensor in bench.backbone.tensors.items()}
        n_bytes = sum(tensor.nbytes for tensor in tensors.values())
        images: DecodedStore | tuple[Any, str]
        task = bench.task
        if shared_disk:
            images = replace(bench.store, path=bench.store.path.absolute())
            task = task.model_copy(update={"cache_folder": str(images.path.parent.parent)})
        else:
            pixels = bench.store.images.view(np.ndarray)  # no memory map: that would be sent as a path
            images = (ray.put(pixels), bench.store.key)
            n_bytes += pixels.nbytes
        return cls(
            task,
            replace(bench.dataset, images=_Elsewhere(bench.dataset.where)),
            replace(bench.backbone, tensors={}),
            bench.splits,
            images,
            ray.put(tensors),
            n_bytes,
        )

    def __call__(self, here: Here) -> Runner:
        """Open the task on a worker.

        Raises:
            ConfigError: The device that was asked for is not here, or a shared file is gone.
        """
        torch.set_num_threads(here.threads)
        device = own_device(self.task.device, here.gpus)
        if device.type == "cpu":
            keep_freed_memory()
        elif device.type == "cuda" and here.gpus < 1:
            torch.cuda.set_per_process_memory_fraction(here.gpus)  # what others have is not taken from them
        bench = self.bench(here, device)

        def run_here(job: Job, checkpoint: Path) -> Iterator[EpochRecord]:
            return run(job, bench, checkpoint=checkpoint)

        return run_here

    def bench(self, here: Here, device: torch.device) -> Workbench:
        """Open the task on a device of a worker."""
        store = self._images()
        backbone = replace(self.backbone, tensors=_as_tensors(ray.get(self.tensors)))
        stores = self._feature_stores(here, device) if self.task.reuse else None
        engine = Engine(backbone, len(self.dataset.classes), device, stores, decoded=store.key)
        return Workbench(self.task, self.dataset, store, backbone, self.splits, device, engine)

    def _images(self) -> DecodedStore | HeldImages:
        if isinstance(self.images, DecodedStore):
            return self.images
        reference, key = self.images
        return HeldImages(ray.get(reference), key)

    def _feature_stores(self, here: Here, device: torch.device) -> FeatureStores:
        """Keep features on the disk that all see; else in the object store, or here where it has no room."""
        dataset, shared_disk = self.dataset, isinstance(self.images, DecodedStore)
        folder = (
            Path(self.task.cache_folder or default_cache_folder()) if shared_disk else default_cache_folder()
        )
        return FeatureStores(
            folder,
            ids=np.union1d(dataset.train, dataset.val),
            n_images=len(dataset),
            device=device,
            budget_bytes=self.task.cache_bytes,
            data=dataset.name,
            exchange=None if shared_disk else RowExchange(here),
        )


@dataclass(frozen=True)
class _Elsewhere:
    """Images whose files are on another machine."""

    where: str

    def open(self, image: int, digest: str = "") -> NoReturn:  # noqa: ARG002 - there is nothing to compare
        raise DataError(f"image {image} is not on this machine; its pixels are", where=self.where)

    def digest(self, image: int) -> NoReturn:
        self.open(image)


def _as_tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    """View arrays as tensors; both are read by all workers of a node, and written to by none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def own_device(name: str, gpus: float) -> torch.device:
    """Choose where a worker trains.

    A worker without a GPU of its own sees those of its node all the same: Ray hides none from it.

    Args:
        name: The device that the task asks for.
        gpus: GPUs, or the share of one, that are the worker's own.

    Raises:
        ConfigError: The device that was asked for is not here.
    """
    return pick_device("cpu" if name == "auto" and not gpus else name)
