"""Structure of NVlabs/edm, training/networks.py: a denoiser D(x; sigma) that takes any shape of sigma."""

import torch


class EDMPrecond(torch.nn.Module):
    def __init__(self, sigma_data=0.5, fdm_multiplier=None):
        super().__init__()
        self.sigma_data = sigma_data
        self.model = torch.nn.Conv2d(2, 2, 3, padding=1)
        self.seen = []

    def forward(self, x, sigma, class_labels=None, force_fp32=False, **model_kwargs):
        self.seen.append({"sigma": sigma.detach().reshape(-1).clone(), "x": x.detach().clone(), **model_kwargs})
        sigma = sigma.to(torch.float32).reshape(-1, 1, 1, 1)
        total = sigma ** 2 + self.sigma_data ** 2
        D_x = x * self.sigma_data ** 2 / total + self.model(x / total.sqrt()) * sigma * self.sigma_data / total.sqrt()
        self.seen[-1]["D"] = D_x.detach().clone()
        return D_x


VPPrecond = VEPrecond = FDM_EDMPrecond = FDM_VPPrecond = FDM_VEPrecond = EDMPrecond
