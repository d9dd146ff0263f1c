"""The preconditioning of EDM, VP, VE and FDM around a network."""

from __future__ import annotations

from typing import Any

import torch

from .. import processes
from .._samplers import fdm
from .._support import arguments
from ..errors import SpeeDiffTypeError, SpeeDiffValueError
from ..processes import Process

_VP_STEPS = 1000
"""DDPM's step count, the unit of a VP network's noise level."""


class Preconditioned(torch.nn.Module):
    """D(x; σ) = c_skip·x + c_out·F(c_in·x, c_noise), where F is a network (Karras et al. 2022, Table 1).

    Equals `EDMPrecond`, `VPPrecond` and `VEPrecond` of NVlabs/edm. With `momentum` it is FDM's (Wu et
    al. 2023), such as `FDM_EDMPrecond`, where c_in is e^{-m·b}(1+m·b), with b = 0.1·t+9.95·t² and
    t = (σ-σ_min)/(σ_max-σ_min).

    Attributes:
        model: F.
        process: The process.
        sigma_min: The smallest σ to generate at.
        sigma_max: The largest σ to generate at. The authors of all three start at 80 at most. With VP and
            momentum you must, too: c_in is close to 0 beyond.
    """

    def __init__(
        self, model: torch.nn.Module, process: str | Process = "edm", *, momentum: float | None = None
    ) -> None:
        """Wraps a network.

        Args:
            model: Called as `model(c_in·x, c_noise, class_labels=…)`, with c_noise of shape (n,). Returns a
                tensor like x, or an output of diffusers with the tensor as `sample`. Other keywords are
                passed on.
            process: "edm", "vp", "ve", or an EDM, VP or VE of `speediff.processes`. EDM's coefficients use
                its sigma_data.
            momentum: FDM's multiplier m, above 0; 2 in its paper's runs. None: no momentum.

        Raises:
            SpeeDiffValueError: If the process is rectified flow, or momentum is not above 0.
            SpeeDiffTypeError: If a value has the wrong type.
        """
        super().__init__()
        process = fdm.process_named(process)
        if not isinstance(process, Process):
            raise SpeeDiffTypeError(
                f"process must be 'edm', 'vp', 've' or an object of speediff.processes, got {process!r}"
            )
        low, high = fdm.sigma_range(process)
        if momentum is not None:
            momentum = arguments.real("momentum", momentum)
            if not 0 < momentum < float("inf"):
                raise SpeeDiffValueError(f"momentum must be finite and above 0, got {momentum}")
        self.model = model
        self.process = process
        self.momentum = momentum
        # EDM without momentum has no ends; Heun's method takes those of its paper.
        self.sigma_min, self.sigma_max = low, high

    def forward(
        self, x: torch.Tensor, sigma: torch.Tensor, class_labels: torch.Tensor | None = None, **keywords: Any
    ) -> torch.Tensor:
        """The denoised x.

        Args:
            x: float (n, …).
            sigma: (n,), (n, 1, …, 1) or a single value, above 0.
            class_labels: Passed to the network.
            **keywords: Passed to the network.
        """
        sigma = torch.as_tensor(sigma, dtype=torch.float32, device=x.device).reshape(-1, *(1,) * (x.ndim - 1))
        skip, out, scale, noise = self._coefficients(sigma)
        output = self.model(scale * x, noise.flatten().expand(len(x)), class_labels=class_labels, **keywords)
        output = getattr(output, "sample", output)
        result: torch.Tensor = skip * x + out * output.to(x.dtype)
        return result

    def round_sigma(self, sigma: torch.Tensor) -> torch.Tensor:
        """The nearest σ that the network accepts: σ itself."""
        return torch.as_tensor(sigma)

    def _coefficients(
        self, sigma: torch.Tensor
    ) -> tuple[torch.Tensor | float, torch.Tensor, torch.Tensor | float, torch.Tensor]:
        """c_skip, c_out, c_in and c_noise."""
        process = self.process
        skip: torch.Tensor | float = 1.0
        scale: torch.Tensor | float = 1.0
        if isinstance(process, processes.EDM):
            data = process.sigma_data
            total = sigma**2 + data**2
            skip, out = data**2 / total, sigma * data / total.sqrt()
            scale, noise = 1 / total.sqrt(), sigma.log() / 4
        elif isinstance(process, processes.VP):
            d, m = process.beta_d, process.beta_min
            # t solves ½·d·t² + m·t = ln(1+σ²), in a form without cancellation for small σ.
            log = torch.log1p(sigma**2)
            t = 2 * log / ((m**2 + 2 * d * log).sqrt() + m)
            out, scale, noise = -sigma, 1 / (sigma**2 + 1).sqrt(), (_VP_STEPS - 1) * t
        else:
            out, noise = sigma, (0.5 * sigma).log()
        if self.momentum is not None:
            t = (sigma - self.sigma_min) / (self.sigma_max - self.sigma_min)
            b = self.momentum * (0.1 * t + 9.95 * t**2)
            scale = torch.exp(-b) * (1 + b)
        return skip, out, scale, noise
