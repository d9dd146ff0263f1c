"""Training on the CPU, without PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _arguments, _buffers, _checkpoint, _shared_step, _trainer_group, distributed, errors
from . import _c_training as c
from ._native_trainer import NativeTrainer
from ._sampler_base import SamplerBase
from ._trainer_network import TrainerNetwork
from .networks import Network, network, network_of

if TYPE_CHECKING:
    import os

    from typing_extensions import Self

    from ._native_trainer import Floats, Integers
    from .schedules import NoiseSchedule


class Trainer(TrainerNetwork):
    """Trains a DiT or an MDT on the CPU: draw, noise, forward, backward, AdamW and the moving average.

    One thread at a time may use a trainer, in the process that made it. The same seed gives the same
    run: bit by bit on one machine with the same number of threads.
    """

    @_trainer_group.agreed
    def __init__(
        self,
        model: str | Network,
        sampler: SamplerBase[Any],
        *,
        input_size: int = 32,
        in_channels: int = 4,
        num_classes: int | None = 1000,
        learn_sigma: bool = True,
        class_dropout_prob: float = 0.1,
        learning_rate: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        ema_decay: float = 0.9999,
        ema_warmup: bool = False,
        max_grad_norm: float | None = None,
        warmup_steps: int = 0,
        seed: int = 0,
        threads: int | None = None,
        group: distributed.Group | None = None,
    ) -> None:
        """Builds and initializes a network.

        Args:
            model: An official name, "DiT-S/2" … "DiT-XL/8", "MDT-S/2" …, "MDTv2-S/2" …, or a
                `speediff.DiT` or `speediff.MDT`.
            sampler: Draws time steps and weights. Its `prediction` is the network's target, epsilon if
                it has none; with "flow" images are noised along the straight path (1-σ)x₀ + σε of the
                same signal-to-noise ratio.
            input_size: Pixels, or latents, along an image's side: a multiple of the patch size.
            in_channels: Planes of an image.
            num_classes: Classes; None: a network without labels.
            learn_sigma: Predict a variance too, trained by guided-diffusion's variational term.
            class_dropout_prob: How often a label is replaced by the null label, number `num_classes`,
                which 0 leaves out of the network.
            learning_rate: After the warm-up, at least 0.
            betas: AdamW's, each in [0, 1).
            eps: AdamW's, positive.
            weight_decay: Decoupled, at least 0.
            ema_decay: Of the moving average of the parameters, in [0, 1].
            ema_warmup: Make the decay of update n = 1, 2, … at most (1 + n)/(10 + n).
            max_grad_norm: Clip gradients to this global norm.
            warmup_steps: Updates over which the learning rate rises linearly.
            seed: Of initial parameters, noise and label dropout, in [0, 2⁶⁴).
            threads: None: the processors that this process may use, within its CPU quota and
                OMP_NUM_THREADS; those of one machine are divided among the processes of `group`.
            group: The processes that share each step, all of which make this trainer; None: this one alone.

        Raises:
            SpeeDiffValueError: If a value is out of range, or does not fit another one; if the ranks of the
                group differ in anything but threads.
            SpeeDiffTypeError: If a value has the wrong type.
            SpeeDiffMemoryError: If the machine does not have the memory.
        """
        _check_sampler(sampler)
        shape = network(model).native(input_size, in_channels, num_classes, learn_sigma, class_dropout_prob)
        if not (isinstance(betas, (tuple, list)) and len(betas) == 2):
            raise errors.SpeeDiffTypeError(f"betas must be a pair of numbers, got {betas!r}")
        options = c.TrainerOptions(
            _arguments.real("learning_rate", learning_rate),
            _arguments.real("betas[0]", betas[0]),
            _arguments.real("betas[1]", betas[1]),
            _arguments.real("eps", eps),
            _arguments.real("weight_decay", weight_decay),
            _arguments.real("ema_decay", ema_decay),
            _arguments.flag("ema_warmup", ema_warmup),
            _arguments.positive_or_none("max_grad_norm", max_grad_norm),
            _arguments.integer("warmup_steps", warmup_steps, least=0),
            _arguments.integer("seed", seed, least=0, end=1 << 64),
            _threads(threads),
        )
        native = NativeTrainer(c.speediff_trainer_create, shape, options, sampler._open_handle().pointer)
        self._set_up(native, sampler, group)

    def _set_up(
        self, native: NativeTrainer, sampler: SamplerBase[Any], group: distributed.Group | None
    ) -> None:
        super().__init__(native)
        self.group = group or distributed.one()
        """The processes that share each step. `step` and `save` are done by all of them together."""
        self.sampler = sampler
        """What draws time steps and weights. Its own counter stays: the trainer names the steps."""
        self._native_sampler = sampler._open_handle()
        shape, options = native.config(), native.options()
        self.config = network_of(shape)
        self.input_size, self.in_channels = shape.input_size, shape.in_channels
        self.num_classes: int | None = shape.num_classes or None
        """Classes; None without labels."""
        self.class_dropout_prob: float = shape.class_dropout_prob
        """How often a label is dropped."""
        self.learn_sigma = bool(shape.learn_sigma)
        self.seed: int = options.seed
        """Of initial parameters, noise and label dropout."""
        self.threads: int = options.threads
        """The threads of a step."""

    @classmethod
    @_trainer_group.agreed
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        sampler: SamplerBase[Any] | None = None,
        threads: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        group: distributed.Group | None = None,
    ) -> Self:
        """Makes the trainer that was saved; its steps go on bit by bit with the same number of threads.

        Args:
            path: A file that `save` wrote.
            sampler: One like that of the run, into which goes what that had learned. None: made anew,
                which all can be but those that weigh `to_emphasis` of another sampler.
            threads: None: the processors that this process may use, within its CPU quota and
                OMP_NUM_THREADS; those of one machine are divided among the processes of `group`.
            rank: This process among `world_size`, for a sampler that is made anew.
            world_size: The number of processes that share each global batch.
            group: The processes that share each step, however many the file was saved by. All load it.

        Raises:
            SpeeDiffFileError: If the file cannot be read, is torn or damaged, or is something else.
            SpeeDiffValueError: If the sampler is another one.
        """
        checkpoint = _checkpoint.Checkpoint(path)
        if sampler is None:
            sampler = checkpoint.sampler(rank, world_size)
        else:
            _check_sampler(sampler)
            checkpoint.check(sampler)
        trainer = cls.__new__(cls)
        trainer._set_up(checkpoint.trainer(sampler, _threads(threads)), sampler, group)
        return trainer

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes all that continues the run bit by bit, as a safetensors file.

        Parameters and `pos_embed` have the names of the official state dict; "ema.", "exp_avg." and
        "exp_avg_sq." stand before those of their average and of AdamW's moments. The file is replaced as a
        whole: a kill or a full disk leaves the old one. With a group all ranks make this call, and rank 0
        writes.

        Raises:
            SpeeDiffFileError: If the file cannot be written.
            SpeeDiffValueError: Between the micro-batches of a step.
        """
        _trainer_group.save(self, lambda: _checkpoint.save(self._open_handle(), path, self.sampler))

    @property
    def schedule(self) -> NoiseSchedule:
        """The sampler's schedule."""
        return self.sampler.schedule

    @property
    def global_step(self) -> int:
        """The updates so far: the step of the next draws, and of AdamW's bias correction.

        Between steps it can be set, as where a run of another trainer goes on here.
        """
        return self._open_handle().global_step()

    @global_step.setter
    def global_step(self, value: int) -> None:
        step = _arguments.integer("global_step", value, least=0, end=1 << 32)
        self._open_handle().set_global_step(step)

    @property
    def learning_rate(self) -> float:
        """After the warm-up; setting it changes the updates to come."""
        value: float = self._open_handle().options().learning_rate
        return value

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        c.speediff_trainer_set_learning_rate(
            self._open_handle().pointer, _arguments.real("learning_rate", value)
        )

    def step(self, x: Floats, y: Integers | None = None) -> float:
        """One training step: draw, noise, forward, backward, update; a sampler that learns learns from it.

        Args:
            x: Images, float32 (n, in_channels, input_size, input_size). With accumulation A, n is a
                multiple of A, and each A-th part is a micro-batch. With a group, x is this rank's part of
                the global batch, which is that of rank 0, then that of rank 1, …; parts may have any
                sizes, also 0. The sampler's own rank and world size play no part.
            y: Classes, int64 (n,); None without labels.

        Returns:
            The mean over the samples, those of all ranks, of weight·mse, plus the variational term in bits
            per dimension; an MDT's is the sum of both passes.

        Raises:
            SpeeDiffNonFiniteError: If the loss or the gradient is not finite; nothing was applied.
            SpeeDiffGroupError: If another process has ended or does not answer.
        """
        if self.group.world_size > 1:
            return _shared_step.step(self, x, y)[0]
        native = self._open_handle()
        self._check_images("x", x)
        accumulation = self.sampler.recipe.drawing.accumulation
        if len(x) % accumulation:
            raise errors.SpeeDiffValueError(
                f"x must have a multiple of accumulation = {accumulation} images, got {len(x)}"
            )
        size = len(x) // accumulation
        if y is not None:
            _buffers.check_shape("y", y, np.int64, (len(x),))
        loss, seen = 0.0, []
        with _shared_step.whole(self):
            for part in (slice(i * size, (i + 1) * size) for i in range(accumulation)):
                loss += self.backward(x[part], None if y is None else y[part]) / accumulation
                if self._native_sampler.history_count:
                    seen.append(native.last_losses())
            self.apply()
        if seen:
            t, losses = (np.concatenate(arrays) for arrays in zip(*seen, strict=True))
            self.sampler._learn(t, losses)
        return loss

    def backward(
        self,
        x: Floats,
        y: Integers | None = None,
        *,
        t: Integers | None = None,
        noise: Floats | None = None,
        weights: Floats | None = None,
        masked_noise: Floats | None = None,
        kept: Integers | None = None,
        offset: int | None = None,
        total: int | None = None,
    ) -> float:
        """The first half of a step: adds a micro-batch's part to the gradients.

        Args:
            x: Images, float32 (n, in_channels, input_size, input_size).
            y: Classes or the null label, int64 (n,); None without labels.
            t: Time steps in [0, T), int64 (n,); None: drawn. No label is dropped if they are given.
            noise: ε, float32 shaped as x; None: drawn.
            weights: Finite, float32 (n,); None: the sampler's.
            masked_noise: ε of an MDT's second pass, float32 shaped as x; None: drawn.
            kept: Which tokens the encoder gets in that pass, int64 (n, k): different ones for each sample,
                row by row of the grid of patches; None: drawn.
            offset: Given with `total`: the samples are the entries from this one on of the step's
                global batch, whatever the sampler's rank; so parts need not be of one size.
            total: The entries of that global batch, of which a part may have none: at most 2³¹, and 2³² over
                a quarter of an image's floats. Loss and gradients are then sums over the samples divided
                by it: their sums over all parts are the global batch's means.

        Returns:
            The mean over the samples of weight·mse, plus the variational term in bits per dimension; an
            MDT's is the sum of both passes.

        Raises:
            SpeeDiffNonFiniteError: If that is not finite; the step then begins anew with its first
                micro-batch.
        """
        native = self._open_handle()
        if self.sampler._handle is not self._native_sampler:
            raise errors.SpeeDiffValueError(
                "sampler must stay as it was when the trainer was made, got one that was closed or has "
                "loaded a state; make another trainer"
            )
        self._check_images("x", x)
        if y is not None:
            _buffers.check_shape("y", y, np.int64, (len(x),))
        if t is not None:
            _buffers.check_shape("t", t, np.int64, (len(x),))
        if noise is not None:
            _buffers.check_shape("noise", noise, np.float32, x.shape)
        if weights is not None:
            _buffers.check_shape("weights", weights, np.float32, (len(x),))
        if masked_noise is not None:
            _buffers.check_shape("masked_noise", masked_noise, np.float32, x.shape)
        if kept is not None:
            _buffers.check_shape("kept", kept, np.int64, (len(x), None))
        if (offset is None) != (total is None):
            raise errors.SpeeDiffValueError(
                f"offset and total must be given together, got offset={offset}, total={total}"
            )
        place = (0, 0)
        if offset is not None and total is not None:
            place = (
                _arguments.integer("offset", offset, least=0, end=1 << 31),
                _arguments.integer("total", total, least=1, end=(1 << 31) + 1),
            )
        return native.backward(x, y, t, noise, weights, masked_noise, kept, *place)

    def discard(self) -> None:
        """Gives up a step that was begun: the next `backward` is its first micro-batch."""
        self._open_handle().discard()

    def apply(self) -> float:
        """The second half of a step: clips the gradient, and updates the parameters and their average.

        Returns:
            The gradient's global norm before clipping.

        Raises:
            SpeeDiffNonFiniteError: If the gradient is not finite; nothing was applied.
            SpeeDiffValueError: If micro-batches of the step are missing.
        """
        return self._open_handle().apply()

    @property
    def losses(self) -> Floats:
        """The unweighted mean squared error of each sample of the last `backward`, float32 (n,).

        Of an MDT it is the sum of both passes, which is what its authors have samplers learn from.
        """
        return self._open_handle().last_losses()[1]

    @property
    def timesteps(self) -> Integers:
        """The time step of each sample of the last `backward`, int64 (n,)."""
        return self._open_handle().last_losses()[0]


def _check_sampler(sampler: object) -> None:
    if not isinstance(sampler, SamplerBase):
        raise errors.SpeeDiffTypeError(f"sampler must be a TimestepSampler, got {sampler!r}")


def _threads(threads: int | None) -> int:
    """The number of threads; None is 0 for the library."""
    return 0 if threads is None else _arguments.integer("threads", threads, least=1, end=1025)
