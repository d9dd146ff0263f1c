"""Structure of version 1 of sail-sg/MDT, gaussian_diffusion.py: "mse" has no weight of its own."""

from toys import ToyDiffusion


class GaussianDiffusion(ToyDiffusion):
    pass
