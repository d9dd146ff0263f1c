"""Structure of NVlabs/edm, training/loss.py: what a loss is called with."""


class EDMLoss:
    def __call__(self, net, images, labels=None, augment_pipe=None):
        raise NotImplementedError


VPLoss = VELoss = EDMLoss
