"""Structure of sail-sg/MDT, gaussian_diffusion.py: Min-SNR with gamma 5 is part of "mse" already."""

import numpy as np
from toys import ToyDiffusion


class GaussianDiffusion(ToyDiffusion):
    def __init__(self, steps=1000):
        super().__init__(steps)
        snr = self.alphas_cumprod / (1 - self.alphas_cumprod)
        self.built_in = np.minimum(snr, 5.0) / snr
