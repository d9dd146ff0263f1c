"""The samplers on PyTorch tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch.compiler import is_dynamo_compiling

from .._native.native_sampler import NativeDrawing, NativeSampler, NativeSigmaSampler
from .._samplers.drawing import DrawingBase
from .._samplers.flow_pairs import FlowPairsBase
from .._samplers.moves import is_slice, read
from .._samplers.sampler_base import SamplerBase
from .._samplers.sigma_base import SigmaSamplerBase
from .._support import arguments
from ..errors import SpeeDiffValueError
from . import _operator, _schedulers
from ._gathering import batch_arrays, gathered, is_distributed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Self, Unpack

    from .._native.native_sampler import Levels, Weights
    from .._samplers.moves import Values
    from .._samplers.recipe import Options
    from ..sampling import Sampling
    from ..weighting import Weighting

Native = TypeVar("Native", bound=NativeDrawing)

_CPU = torch.device("cpu")


def _device(device: torch.device | str | int | None) -> torch.device:
    """Parses the device; raises if PyTorch does not know it."""
    if device is None:
        return _CPU
    try:
        place = torch.device(device)
        if place.type != "cpu":
            torch.empty(0, device=place)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise SpeeDiffValueError(f"device must be one that PyTorch has, got {device!r}: {reason}") from None
    return place


def _values(argument: str, values: Values, target: torch.device) -> Values:
    """A tensor's values as an array; anything else as it is."""
    if not isinstance(values, torch.Tensor):
        return values
    place = values.device
    if place != _CPU and (place.type != target.type or target.index not in (None, place.index)):
        raise SpeeDiffValueError(f"{argument} must be on the CPU or on {target} like the batch, got {place}")
    return values.detach().to(_CPU, torch.float64).numpy()


class _OnTensors(DrawingBase[Native, "tuple[torch.Tensor, torch.Tensor]"], Generic[Native]):
    """The part of a sampler that is specific to tensors."""

    @staticmethod
    def _default_layout() -> tuple[int, int]:
        if is_distributed():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1

    def _check_layout(self) -> None:
        """Rejects a process group initialized after the sampler: every rank would draw the same batch."""
        made_for, now = (self.recipe.drawing.rank, self.recipe.drawing.world_size), self._default_layout()
        if self._layout_is_default and now[1] > 1 and made_for != now:
            raise SpeeDiffValueError(
                "the sampler must be created after torch.distributed is initialized, or with rank and "
                f"world_size; got one created for rank {made_for[0]} of {made_for[1]} "
                f"in rank {now[0]} of {now[1]}"
            )

    def sample(
        self,
        batch_size: int,
        device: torch.device | str | int | None = None,
        *,
        step: int | None = None,
        micro_batch: int = 0,
        offset: int | Values = None,
        total: int | None = None,
        shift: Values = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draws this rank's next batch, or its batch of a given step.

        Args:
            batch_size: The local batch size, at least 0.
            device: The device of the tensors; None: the CPU.
            step: Draw this training step (the first is 0) without advancing the counter.
            micro_batch: Which call of `step`, in [0, accumulation).
            offset: An integer, for uneven batches, with total: draw the entries [offset, offset +
                batch_size) of a global batch of total. The "official" preset makes its pairs within them. A
                tensor (batch_size,) or a float: move each entry's noise level instead, λ' = λ - 2·offset.
            total: The size of the global batch.
            shift: Each entry's shift, a tensor (batch_size,) on the CPU or on `device`, or one for all; as
                for `speediff.SigmaSampler.sample`. A tensor on the GPU costs a host sync.

        Returns:
            The timesteps, int64 (batch_size,), 0-based, or the noise levels, float32 (batch_size,): σ, or for
            rectified flow t in [0, 1]. Then their weights, float32 (batch_size,). The tensors are new; the
            caller may change them.
        """
        if step is None and offset is None and total is None and shift is None and micro_batch == 0:
            if is_dynamo_compiling():
                return _operator.draw(self, batch_size, device)
            if type(batch_size) is int:
                # After a training step these objects are not in the caches: avoid touching unneeded ones.
                block = self._ahead.block
                key = block.key
                if key is not None and key[0] == batch_size and (key[1] is device or key[1] == device):
                    try:
                        return block.pieces.pop()
                    except IndexError:
                        pass
                return self._take(batch_size, (batch_size, device))
        target = _device(device)
        place, noise = (offset, None) if is_slice(offset, total) else (None, offset)
        moves = None
        if shift is not None or noise is not None:
            n = arguments.integer("batch_size", batch_size)
            moves = read(_values("shift", shift, target), _values("offset", noise, target), n)
        levels, weights = self._take_apart(batch_size, step, micro_batch, place, total, None, moves)
        return self._tensor(levels).to(target), torch.from_numpy(weights).to(target)

    def validation(
        self,
        n: int,
        shape: Sequence[int],
        seed: int = 0,
        device: torch.device | str | int | None = None,
        *,
        sampling: str | Sampling | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A fixed set of noise levels and noise, so that a validation loss has no luck in it.

        The tensors hold what `speediff.SigmaSampler.validation` and `speediff.TimestepSampler.validation`
        return.

        Args:
            n: The number of entries, at least 1. Each rank gets all of them.
            shape: That of one entry, such as (4, 32, 32).
            seed: In [0, 2⁶⁴).
            device: The device of the tensors; None: the CPU.
            sampling: A name or an object. None: uniform, or for EDM the process's own density.

        Returns:
            The timesteps or noise levels as from `sample`, (n,), and standard normal noise, float32
            (n, *shape).
        """
        target = _device(device)
        levels, noise = self._validation(n, shape, seed, sampling)
        return self._tensor(levels).to(target), torch.from_numpy(noise).to(target)

    def _prepare(self, seed: int, options: Options) -> None:
        super()._prepare(seed, options)
        self._token = _operator.register(self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_token"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._token = _operator.register(self)

    def _learn_from_all_ranks(self, local: Callable[[], tuple[Levels, Weights]], dtype: torch.dtype) -> None:
        """Learns from `local`'s batch, or from those of all ranks if torch.distributed has them."""
        self._check_layout()
        rank, world_size = self.recipe.drawing.rank, self.recipe.drawing.world_size
        if world_size > 1 and is_distributed():
            levels, losses = gathered(local, rank, world_size, dtype)
        else:
            levels, losses = local()
        self._learn(lambda native: native.update(self.step, levels, losses))

    _level_dtype = torch.float32
    """The dtype of timesteps or noise levels from `sample`."""

    def _tensor(self, levels: Levels) -> torch.Tensor:
        """Converts levels to the pipeline's timesteps or noise levels."""
        return torch.from_numpy(levels)

    def _split(self, levels: Levels, weights: Weights, key: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
        device = _device(key[1])
        blocks = self._tensor(levels), torch.from_numpy(weights)
        if device.type == "cpu":
            # Views of the block's memory, each with its own storage and version counter.
            return list(
                zip(map(torch.from_numpy, blocks[0].numpy()), map(torch.from_numpy, weights), strict=True)
            )
        if device.type == "cuda":
            # A copy from pinned memory needs no host sync; PyTorch keeps the memory alive until the copy is
            # done.
            blocks = blocks[0].pin_memory(), blocks[1].pin_memory()
        rows = zip(*(block.to(device, non_blocking=True).unbind() for block in blocks), strict=True)
        # The rows share the block's storage. `data` gives each its own version counter, so autograd does not
        # mistake a change of one row for a change of another.
        return [(t.data, w.data) for t, w in rows]


class TimestepSampler(_OnTensors[NativeSampler], SamplerBase["tuple[torch.Tensor, torch.Tensor]"]):
    """Draws the timesteps of a training run with their weights, as tensors.

    `sample(batch_size, device)` has the interface of guided-diffusion's and MDT's `ScheduleSampler`. By
    default, rank and world size are those of `torch.distributed` if it is initialized, so the ranks of a
    `torchrun` share one global batch. `accelerate` initializes it too.
    """

    _level_dtype = torch.int64
    _timesteps: torch.Tensor | None = None
    """The scheduler's own timesteps, float32 (T,), increasing; None: 0, 1, …, T-1."""

    @classmethod
    def for_scheduler(
        cls,
        scheduler: object,
        sampling: str | Sampling = "uniform",
        weighting: str | Weighting = "uniform",
        *,
        seed: int = 0,
        **options: Unpack[Options],
    ) -> Self:
        """Creates a sampler for the schedule and the target of a pipeline's scheduler.

        "asymmetric" with "change_aware" is SpeeD with its paper's parameters (for others use `speed` with
        `schedule_from(scheduler)`). For flow matching, `sample` returns and `update` takes the scheduler's
        own `timesteps`, float32, as training scripts look them up. Step i of the sampler's tables is
        timesteps[T-1-i].

        Args:
            scheduler: As for `schedule_from`.
            sampling: Which steps to draw; u grows with noise.
            weighting: The weight of each step.
            seed: In [0, 2⁶⁴); the same on every rank.
            **options: As for `TimestepSampler`. The default of `prediction` is the scheduler's.

        Raises:
            SpeeDiffValueError: If a value is out of range, or contradicts another one.
            SpeeDiffTypeError: If the scheduler is not supported.
        """
        reading = _schedulers.read(scheduler)
        if options.get("prediction") is None:
            options["prediction"] = reading.prediction
        sampler = cls(reading.schedule, sampling, weighting, seed=seed, **options)
        if reading.timesteps is not None:
            sampler._timesteps, sampler._level_dtype = reading.timesteps, reading.timesteps.dtype
        return sampler

    def check_scheduler(self, scheduler: object) -> None:
        """Checks that the pipeline adds noise by this sampler's schedule. Call it before training.

        Args:
            scheduler: As for `schedule_from`.

        Raises:
            SpeeDiffValueError: If T differs, or ᾱ differs by more than float32 rounding.
            SpeeDiffTypeError: If the scheduler is not supported.
        """
        _schedulers.check_same(self.schedule, scheduler)

    def _tensor(self, levels: Levels) -> torch.Tensor:
        steps = torch.from_numpy(levels)
        return steps if self._timesteps is None else self._timesteps[steps]

    def _steps(self, t: object) -> object:
        """The steps of the schedule for the pipeline's timesteps t."""
        names = self._timesteps
        if names is None or not isinstance(t, torch.Tensor):
            return t
        values = t.detach().to("cpu", torch.float32)
        steps = torch.searchsorted(names, values).clamp_(max=len(names) - 1)
        if not torch.equal(names[steps], values):
            wrong = values[names[steps] != values][0].item()
            raise SpeeDiffValueError(f"t must be among the scheduler's timesteps, got {wrong}")
        return steps.to(t.device)

    def update(self, t: torch.Tensor, losses: torch.Tensor) -> None:
        """Updates a learning method with the losses of this rank's batch; the next draw uses them.

        If the sampler's ranks are those of `torch.distributed`, every rank must call it. The losses of all
        ranks are gathered in rank order, so all learn the same. An error on one rank is raised on all.

        Args:
            t: Timesteps as `sample` returned them, (n,), on any device. n may differ between ranks.
            losses: Their unweighted losses, (n,), on the same device, finite and at least 0. They are rounded
                to float32.

        Raises:
            SpeeDiffValueError: If a value is out of range on any rank, or the method does not learn. Then
                nothing has changed on any rank.
            SpeeDiffTypeError: If an argument is not a tensor, or has another dtype or shape.
        """
        self._learn_from_all_ranks(lambda: batch_arrays(self._steps(t), losses), torch.int64)

    def update_with_local_losses(self, local_ts: torch.Tensor, local_losses: torch.Tensor) -> None:
        """guided-diffusion's and MDT's name for `update`; does nothing if the method does not learn.

        It makes `LossAwareSampler.register(TimestepSampler)` enough for these pipelines, with any method.
        """
        if self.learns:
            self.update(local_ts, local_losses)


class SigmaSampler(_OnTensors[NativeSigmaSampler], SigmaSamplerBase["tuple[torch.Tensor, torch.Tensor]"]):
    """Draws the noise levels of a continuous process with their weights, as tensors."""

    def update(self, levels: torch.Tensor, losses: torch.Tensor) -> None:
        """Updates a learning method with the losses of this rank's batch; the next draw uses them.

        As for `TimestepSampler.update`, the losses of all ranks are gathered.

        Args:
            levels: σ, or t for rectified flow, as `sample` returned them, float32 (n,), on any device.
            losses: Their unweighted losses, (n,), on the same device, finite and at least 0. They are rounded
                to float32.

        Raises:
            SpeeDiffValueError: If a value is out of range on any rank, or the method does not learn. Then
                nothing has changed on any rank.
            SpeeDiffTypeError: If an argument is not a tensor, or has another dtype or shape.
        """
        self._learn_from_all_ranks(
            lambda: batch_arrays(levels, losses, "levels", torch.float32), torch.float32
        )

    @staticmethod
    def flow_pairs(
        seed: int = 0,
        *,
        sampling: str | Sampling = "logit_normal",
        second: str | Sampling | None = None,
        q: float = 0.25,
        fixed_count: bool = True,
        weighting: str | Weighting | None = None,
        **options: Unpack[Options],
    ) -> FlowPairs:
        """Pairs of times t ≥ r of rectified flow, of which a share q has r ≠ t, as `speediff` has them.

        Args:
            seed: In [0, 2⁶⁴); the same on every rank.
            sampling: The density of the first time; u grows with noise.
            second: The density of the second time. None: `sampling`.
            q: In [0, 1].
            fixed_count: Whether each global batch has the same number of entries with r ≠ t.
            weighting: The weight at t. None: 1.
            **options: As for `SigmaSampler`, except `normalize`.

        Returns:
            A sampler whose `sample(batch_size, device)` returns t, r and the weights.
        """
        return FlowPairs(seed, sampling, second, q, fixed_count, weighting, options)


class FlowPairs(FlowPairsBase[torch.Tensor]):
    """Pairs of times of rectified flow, as tensors; see `SigmaSampler.flow_pairs`."""

    _levels, _timesteps = SigmaSampler, TimestepSampler

    def sample(
        self,
        batch_size: int,
        device: torch.device | str | int | None = None,
        *,
        step: int | None = None,
        micro_batch: int = 0,
        offset: int | None = None,
        total: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draws this rank's next batch, or its batch of any step; arguments as for `SigmaSampler.sample`.

        Returns:
            t and r, float32 (batch_size,), r ≤ t in (0, 1), where 1 is noise. Then the weights at t.
        """
        return self._draw(batch_size, device, step=step, micro_batch=micro_batch, offset=offset, total=total)

    @staticmethod
    def _paired(
        a: torch.Tensor, b: torch.Tensor, w_a: torch.Tensor, w_b: torch.Tensor, chosen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        t = torch.maximum(a, b)
        return t, torch.where(chosen == 0, torch.minimum(a, b), t), torch.where(a >= b, w_a, w_b)
