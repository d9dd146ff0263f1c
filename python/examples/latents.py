"""What the network sees of the images: they themselves, or the latents of a VAE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Space:
    """Images as they are."""

    def __init__(self, image_shape: Sequence[int]) -> None:
        """Take the channels, height and width of an image."""
        self.shape = tuple(image_shape)
        """Those of what the network sees."""

    def encode(self, images: Tensor) -> Tensor:
        """What the network sees of images in [-1, 1]."""
        return images

    def decode(self, x: Tensor) -> Tensor:
        """The images again."""
        return x


class LatentSpace(Space):
    """Images as a VAE of diffusers sees them: Stable Diffusion's, for example."""

    def __init__(self, folder: Path, image_shape: Sequence[int], device: torch.device) -> None:
        """Load the VAE.

        Args:
            folder: Where ``save_pretrained`` wrote it.
            image_shape: Channels, height and width of the images; gray ones are repeated as needed.
            device: Where it is to compute.
        """
        from diffusers import AutoencoderKL

        try:
            vae = AutoencoderKL.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError) as error:
            raise SystemExit(
                f"--vae {folder}: no AutoencoderKL there: {str(error).partition(chr(10))[0]}"
            ) from None
        self._vae = vae.to(device).eval().requires_grad_(False)
        self._device = device
        self._scale, self._shift = vae.config.scaling_factor, vae.config.shift_factor or 0.0
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        if any(side % factor for side in image_shape[1:]):
            raise SystemExit(f"--vae {folder}: the sides of an image must be multiples of {factor}")
        super().__init__((vae.config.latent_channels, *(side // factor for side in image_shape[1:])))

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Latents, scaled to about unit variance.

        These are the means of the encoder's distributions. Its own noise is small, and would be
        the only one in a training step that does not follow from seed and step.
        """
        images = images.expand(-1, self._vae.config.in_channels, -1, -1).to(self._device)
        latents = [self._vae.encode(part).latent_dist.mode() for part in images.split(32)]
        return (torch.cat(latents) - self._shift) * self._scale

    @torch.no_grad()
    def decode(self, x: Tensor) -> Tensor:
        """Images in [-1, 1] of latents."""
        latents = x / self._scale + self._shift
        return torch.cat([self._vae.decode(part).sample for part in latents.split(16)]).clamp(-1, 1)
