"""A timestep sampler for LTX-2's trainer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ... import shifts
from ..._methods.method_text import parse_method
from ..._samplers.recipe import check_names
from ..._support import arguments
from ...errors import SpeeDiffValueError
from ...sampling import Sampling
from .._samplers import SigmaSampler
from ._flow import draw_unweighted, unweighted_flow_sampler

if TYPE_CHECKING:
    import torch

_TRAINER = "LTX-2's trainer"
_PARAMETERS = "sampling", "seed", "shift", "step", "weighting", "sigma_data"


class LTXTimesteps:
    """A sampler with the interface of LTX-2's `TimestepSampler`, for its dictionary `SAMPLERS`.

    ```python
    SAMPLERS["shifted_logit_normal"] = LTXTimesteps
    ```

    `timestep_sampling_params` of the config are its arguments.
    """

    def __init__(
        self,
        sampling: str | Sampling = "logit_normal",
        *,
        seed: int = 0,
        shift: float | str = "ltx2",
        step: int = 0,
        **options: Any,
    ) -> None:
        """Creates the sampler, in the process that draws.

        Args:
            sampling: Its density in t, before the shift; also as text, "laplace(scale=1)".
            seed: In [0, 2⁶⁴); the same on every rank.
            shift: Above 0; 1 for none. "ltx2": e^μ, with μ linear in the length of the sequence, 0.95 at 1024
                tokens and 2.05 at 4096, constant above. A logit-normal sampling is then centred on μ.
            step: The first draw's training step. The trainer does not save its sampler: on resuming, set the
                number of batches that each rank has drawn.
            **options: As for `SigmaSampler`, such as strata.

        Raises:
            SpeeDiffValueError: If a value is out of range, the weights are not 1, or the method learns.
        """
        check_names(options, _PARAMETERS, "timestep_sampling_params")
        if isinstance(sampling, str):
            sampling = _sampling(sampling)
        sampler = SigmaSampler.flow(seed, sampling=sampling, **options)
        self.sampler = unweighted_flow_sampler(sampler, _TRAINER)
        """The sampler."""
        if sampler.learns:
            raise SpeeDiffValueError(
                f"sampling must not learn, since {_TRAINER} gives its sampler no losses, got {sampling!r}"
            )
        if isinstance(shift, str):
            if shift != "ltx2":
                raise SpeeDiffValueError(f"shift must be a number or 'ltx2', got {shift!r}")
        elif not 0 < arguments.real("shift", shift) < math.inf:
            raise SpeeDiffValueError(f"shift must be finite and above 0, got {shift!r}")
        self.shift = shift
        """The shift, or its rule."""
        self.sampler.step = step

    def sample(
        self, batch_size: int, seq_length: int | None = None, device: torch.device | None = None
    ) -> torch.Tensor:
        """The t of the next batch, float32 (batch_size,), in [0, 1], where 1 is noise.

        Args:
            batch_size: The local batch size.
            seq_length: The number of tokens of each sample; only "ltx2" needs it.
            device: The device of the tensor; None: the CPU.
        """
        if isinstance(self.shift, str):
            shift = shifts.tokens(arguments.integer("seq_length", seq_length, least=1), "ltx2")
        else:
            shift = self.shift
        t = draw_unweighted(self.sampler, batch_size, _TRAINER, None if shift == 1 else shift)
        return t.to(device or "cpu")

    def sample_for(self, batch: torch.Tensor) -> torch.Tensor:
        """The t of the next batch on the batch's device, (n,), for latents (n, tokens, channels)."""
        if batch.ndim != 3:
            raise SpeeDiffValueError(f"batch must have three dimensions, got {batch.ndim}")
        return self.sample(batch.shape[0], batch.shape[1], batch.device)


def _sampling(text: str) -> Sampling:
    """The sampling that a text names.

    Raises:
        SpeeDiffValueError: If the text has a weighting, or no sampling.
    """
    if text in Sampling.by_name:  # Some names are those of a weighting, too.
        return Sampling.by_name[text]()
    sampling, weighting = parse_method(text)
    if sampling is None or weighting is not None:
        raise SpeeDiffValueError(
            f"sampling must be a sampling alone, since {_TRAINER} has no place for weights, got {text!r}; "
            "speediff.methods() lists them"
        )
    return sampling
