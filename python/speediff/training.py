"""Training on the CPU, without PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import distributed, errors
from ._native import c_training as c
from ._native.handles import Closable
from ._native.native_trainer import NativeTrainer
from ._samplers.sampler_base import SamplerBase
from ._support import arguments
from ._trainer import checkpoints, micro_batches, options, predictions, steps, tensors, trainer_group
from .networks import Network, network, network_of

if TYPE_CHECKING:
    import os

    from typing_extensions import Self

    from ._native.native_trainer import Floats, Integers
    from .schedules import NoiseSchedule


class Trainer(Closable[NativeTrainer]):
    """Trains a network on the CPU: draw, noise, forward, backward, AdamW and EMA.

    Only one thread at a time may use a trainer, in the process that made it. The same seed gives the same
    run, bit for bit on one machine with the same number of threads.
    """

    _instead = "save it with save(path), and make the copy with Trainer.load(path)"

    @trainer_group.agreed
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
        precision: str = "float32",
        group: distributed.Group | None = None,
    ) -> None:
        """Builds and initializes a network.

        Args:
            model: An official name, "DiT-S/2" … "DiT-XL/8", "MDT-S/2" …, "MDTv2-S/2" …, or a
                `speediff.DiT` or `speediff.MDT`; or a `speediff.Network` of another family.
            sampler: Draws timesteps and weights. Its `prediction` is the network's target; epsilon if it
                has none. With "flow", images are noised along the straight path (1-σ)x₀ + σε with the same
                signal-to-noise ratio.
            input_size: The side of an image, in pixels or latents: a multiple of the patch size.
            in_channels: The channels of an image.
            num_classes: The number of classes; None: a network without labels.
            learn_sigma: Also predict a variance, trained by guided-diffusion's variational term.
            class_dropout_prob: The probability that a label is replaced by the null label, number
                `num_classes`. With 0 the network has no null label.
            learning_rate: The learning rate after the warm-up, at least 0 and finite in float32.
            betas: β₁ and β₂ of AdamW, each in [0, 1).
            eps: ε of AdamW, positive in float32.
            weight_decay: Decoupled weight decay, at least 0.
            ema_decay: The decay of the parameters' moving average, in [0, 1].
            ema_warmup: Limit the decay of update n = 1, 2, … to (1 + n)/(10 + n).
            max_grad_norm: Clip gradients to this global norm; None: no clipping.
            warmup_steps: Updates over which the learning rate rises linearly.
            seed: The seed of initial parameters, noise and label dropout, in [0, 2⁶⁴).
            threads: The number of threads. None: the processors that this process may use, within its CPU
                quota and OMP_NUM_THREADS, shared among the processes of `group` on one machine.
            precision: That of the factors of matrix products: "float32", "bfloat16", or "auto" for the one
                that this processor is faster with. Their sums, and all that is kept from step to step, are
                float32.
            group: The processes that share each step. All of them must make this trainer. None: this one
                alone.

        Raises:
            SpeeDiffValueError: If a value is out of range or contradicts another one, or if the ranks of the
                group differ in anything but threads.
            SpeeDiffTypeError: If a value has the wrong type.
            SpeeDiffMemoryError: If the machine does not have enough memory.
        """
        _check_sampler(sampler)
        shape = network(model).native(input_size, in_channels, num_classes, learn_sigma, class_dropout_prob)
        native_options = options.native(
            learning_rate=learning_rate,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            ema_decay=ema_decay,
            ema_warmup=ema_warmup,
            max_grad_norm=max_grad_norm,
            warmup_steps=warmup_steps,
            seed=seed,
            threads=threads,
            precision=precision,
        )
        native = NativeTrainer(
            c.speediff_trainer_create, shape.pointer, native_options, sampler._open_handle().pointer
        )
        self._set_up(native, sampler, group)

    def _set_up(
        self, native: NativeTrainer, sampler: SamplerBase[Any], group: distributed.Group | None
    ) -> None:
        super().__init__(native)
        self.group = group or distributed.one()
        """The processes that share each step. All of them must call `step` and `save` together."""
        self.sampler = sampler
        """The sampler of timesteps and weights. The trainer does not use or advance its counter."""
        self._native_sampler = sampler._open_handle()
        self._steps: dict[str, object] = {}
        """The `step` that is on its way, if there is one."""
        shape, taken = native.network(), native.options()
        values = shape.values()
        self.config: Network = network_of(shape)
        """The network's shape."""
        self.input_size: int = values["input_size"]
        """The side of an image, in pixels or latents."""
        self.in_channels: int = values["in_channels"]
        """The channels of an image."""
        self.num_classes: int | None = values.get("num_classes") or None
        """The number of classes; None without labels."""
        self.class_dropout_prob: float = values.get("class_dropout_prob", 0.0)
        """The probability that a label is dropped."""
        self.learn_sigma = bool(values.get("learn_sigma", False))
        """Whether the network also predicts a variance."""
        self.seed: int = taken.seed
        """The seed of initial parameters, noise and label dropout."""
        self.threads: int = taken.threads
        """The number of threads of a step."""

    @classmethod
    @trainer_group.agreed
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        sampler: SamplerBase[Any] | None = None,
        threads: int | None = None,
        precision: str | None = None,
        rank: int = 0,
        world_size: int = 1,
        group: distributed.Group | None = None,
    ) -> Self:
        """Loads a saved trainer. It continues bit for bit with the same number of threads.

        Args:
            path: A file that `save` wrote.
            sampler: A matching sampler; the saved history is restored into it. None: the sampler is rebuilt
                from the file, which fails only for the weighting `to_emphasis` of another sampler.
            threads: The number of threads. None: the processors that this process may use, within its CPU
                quota and OMP_NUM_THREADS, shared among the processes of `group` on one machine.
            precision: As for `Trainer`; None: that of the file. The parameters are float32 in either case.
            rank: This process among `world_size`, for a sampler that is rebuilt.
            world_size: The number of processes that share each global batch.
            group: The processes that share each step; their number may differ from that of the saved run.
                All of them must load the file.

        Raises:
            SpeeDiffFileError: If the file cannot be read, is damaged, is overwritten while it is read, or
                is of another kind. For PyTorch's files see `speediff.torch.trainer_from`.
            SpeeDiffValueError: If the sampler does not match the file's.
        """
        checkpoint = checkpoints.Checkpoint(path)
        if sampler is None:
            sampler = checkpoint.sampler(rank, world_size)
        else:
            _check_sampler(sampler)
            checkpoint.check(sampler)
        native = checkpoint.trainer(sampler, options.thread_count(threads))
        # A file may be of another processor, which knows bfloat16.
        native.set_precision(
            native.options().precision if precision is None else options.precision_code(precision)
        )
        trainer = cls.__new__(cls)
        trainer._set_up(native, sampler, group)
        return trainer

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a safetensors file with everything that continues the run bit for bit.

        Parameters and `pos_embed` have the names of the official state dict. Their average and AdamW's
        moments have the same names after "ema.", "exp_avg." and "exp_avg_sq.". The file is replaced as a
        whole: a kill or a full disk leaves the old one. After an error the trainer can be used as before.
        With a group all ranks call this, and rank 0 writes.

        Raises:
            SpeeDiffFileError: If the file cannot be written.
            SpeeDiffNonFiniteError: If a parameter, its average or a moment is not finite: `load` would
                refuse the file, so none is written.
            SpeeDiffValueError: If a step has begun: call `apply` or `discard` first.
            SpeeDiffBusyError: In the middle of `step`: in another thread, or in a signal handler.
        """
        self._save(path, None)

    def _save(self, path: str | os.PathLike[str], run: dict[str, Any] | None) -> None:
        """`save`, with what a command knows of its run."""
        steps.check_between(self)
        trainer_group.save(self, lambda: checkpoints.save(self._open_handle(), path, self.sampler, run))

    @property
    def schedule(self) -> NoiseSchedule:
        """The sampler's schedule."""
        return self.sampler.schedule

    @property
    def global_step(self) -> int:
        """The updates so far: the step of the next draw and of AdamW's bias correction.

        It can be set between steps, for example to continue a run of another trainer. A run ends at 2³².
        """
        return self._open_handle().global_step()

    @global_step.setter
    def global_step(self, value: int) -> None:
        step = arguments.integer("global_step", value, least=0)
        self._open_handle().set_global_step(step)

    @property
    def learning_rate(self) -> float:
        """The learning rate after the warm-up. Setting it affects the updates that follow."""
        value: float = self._open_handle().options().learning_rate
        return value

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        c.speediff_trainer_set_learning_rate(
            self._open_handle().pointer, arguments.real("learning_rate", value)
        )

    @property
    def ema_decay(self) -> float:
        """The decay of the moving average, in [0, 1]; setting it changes the updates to come."""
        value: float = self._open_handle().options().ema_decay
        return value

    @ema_decay.setter
    def ema_decay(self, value: float) -> None:
        c.speediff_trainer_set_ema_decay(self._open_handle().pointer, arguments.real("ema_decay", value))

    @property
    def precision(self) -> str:
        """The precision of the factors of matrix products, "float32" or "bfloat16": what "auto" took."""
        return options.precision_name(self._open_handle().options().precision)

    def step(self, x: Floats, y: Integers | None = None) -> float:
        """One training step: draw, noise, forward, backward, update. A sampler that learns is updated too.

        Args:
            x: Images, float32 (n, in_channels, input_size, input_size). With accumulation A, n is a
                multiple of A, and x is divided into A micro-batches. With a group, x is this rank's part of
                the global batch, in which the parts follow in the order of ranks. Parts may differ in size
                and may be empty. The sampler's own rank and world size are ignored.
            y: Classes, int64 (n,); None without labels.

        Returns:
            The mean over the samples of all ranks of weight·mse, plus the variational term in bits per
            dimension. It is the sum over the network's passes; an MDT has two.

        Raises:
            SpeeDiffNonFiniteError: If the loss or the gradient is not finite. Nothing was applied.
            SpeeDiffGroupError: If another process has ended or does not respond.
            SpeeDiffBusyError: In the middle of another `step`.
        """
        return steps.step(self, x, y)[0]

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
        """The first half of a step: adds the gradients of a micro-batch.

        Args:
            x: Images, float32 (n, in_channels, input_size, input_size).
            y: Classes or the null label, int64 (n,); None without labels.
            t: Timesteps in [0, T), int64 (n,); None: they are drawn. If they are given, no label is dropped.
            noise: ε, float32 with the shape of x; None: it is drawn.
            weights: Finite, float32 (n,); None: the sampler's.
            masked_noise: ε of a second pass, as an MDT has it, float32 in the shape of x; None: drawn.
            kept: The tokens that the encoder gets in that pass, int64 (n, k), without repeats in a sample.
                They count the grid of patches row by row. None: drawn.
            offset: Given with `total`: the index of the first sample in the step's global batch. The
                sampler's rank is then ignored, so parts may differ in size.
            total: The size of that global batch, at most 2³¹ and at most 2³⁴ divided by the floats of an
                image. A part may be empty. Loss and gradients are then divided by it, so that their sums
                over all parts are the means over the global batch.

        Returns:
            The mean over the samples of weight·mse, plus the variational term in bits per dimension. For an
            MDT it is the sum of both passes.

        Raises:
            SpeeDiffNonFiniteError: If the result is not finite. The step then restarts with its first
                micro-batch.
        """
        micro_batches.check(self, x, y)
        micro_batches.check_given(x, t, noise, weights, masked_noise, kept)
        place = micro_batches.place(offset, total)
        return self._open_handle().backward(x, y, t, noise, weights, masked_noise, kept, *place)

    def discard(self) -> None:
        """Discards a partial step: the next `backward` is its first micro-batch."""
        self._open_handle().discard()

    def apply(self) -> float:
        """The second half of a step: clips the gradient, and updates the parameters and their average.

        Returns:
            The gradient's global norm before clipping.

        Raises:
            SpeeDiffNonFiniteError: If the gradient, or its square in float32, is not finite; nothing was
                applied.
            SpeeDiffValueError: If micro-batches of the step are missing.
        """
        return self._open_handle().apply()

    forward = predictions.forward
    generate = predictions.generate
    state_dict = tensors.state_dict
    load_state_dict = tensors.load_state_dict

    @property
    def losses(self) -> Floats:
        """The unweighted mean squared error of each sample of the last `backward`, float32 (n,).

        For an MDT, the sum over both passes. Its authors let samplers learn from that.
        """
        return self._open_handle().last_losses()[1]

    @property
    def timesteps(self) -> Integers:
        """The timestep of each sample of the last `backward`, int64 (n,)."""
        return self._open_handle().last_losses()[0]

    @property
    def parameters(self) -> dict[str, Floats]:
        """The parameters by their names in the official state dict: writable views of the memory itself."""
        return self._open_handle().tensors(c.BUFFER_PARAMETERS)

    @property
    def gradients(self) -> dict[str, Floats]:
        """The gradients of the step so far, in the form of `parameters`."""
        return self._open_handle().tensors(c.BUFFER_GRADIENTS)

    @property
    def ema_parameters(self) -> dict[str, Floats]:
        """The EMA of the parameters, in the form of `parameters`."""
        return self._open_handle().tensors(c.BUFFER_EMA_PARAMETERS)

    @property
    def exp_avg(self) -> dict[str, Floats]:
        """AdamW's first moments, in the form of `parameters`."""
        return self._open_handle().tensors(c.BUFFER_EXP_AVG)

    @property
    def exp_avg_sq(self) -> dict[str, Floats]:
        """AdamW's second moments, in the form of `parameters`."""
        return self._open_handle().tensors(c.BUFFER_EXP_AVG_SQ)

    @property
    def flat_parameters(self) -> Floats:
        """The memory of all parameters as one array; the padding between them is 0."""
        return self._open_handle().buffer(c.BUFFER_PARAMETERS)

    @property
    def flat_gradients(self) -> Floats:
        """The memory of all gradients as one array, with the layout of `flat_parameters`."""
        return self._open_handle().buffer(c.BUFFER_GRADIENTS)


def _check_sampler(sampler: object) -> None:
    if not isinstance(sampler, SamplerBase):
        raise errors.SpeeDiffTypeError(f"sampler must be a TimestepSampler, got {sampler!r}")
