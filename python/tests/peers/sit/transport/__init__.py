"""Structure of willisma/SiT, transport: t runs from noise, 0, to the data, 1, and is drawn inside of the losses."""

import torch as th


class Transport:
    def __init__(self):
        self.seen = []

    def sample(self, x1):
        return th.rand(len(x1)), th.randn_like(x1), x1

    def training_losses(self, model, x1, model_kwargs=None):
        t, x0, x1 = self.sample(x1)
        at = t.reshape(-1, 1, 1, 1)
        xt, ut = at * x1 + (1 - at) * x0, x1 - x0
        model_output = model(xt, t, **(model_kwargs or {}))
        terms = {"pred": model_output, "loss": ((model_output - ut) ** 2).mean(dim=(1, 2, 3))}
        self.seen.append({"t": t, "x0": x0, "x1": x1, "xt": xt, "error": terms["loss"].detach()})
        return terms


class Sampler:
    def __init__(self, transport):
        self.transport = transport


def create_transport(*options):
    return Transport()
