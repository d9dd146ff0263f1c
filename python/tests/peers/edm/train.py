"""Structure of NVlabs/edm, train.py: options become dicts of class names and arguments."""

import dnnlib
from training import training_loop


def main(**kwargs):
    opts = dnnlib.EasyDict(kwargs)
    c = dnnlib.EasyDict(images=opts.images)
    c.network_kwargs = dnnlib.EasyDict()
    c.loss_kwargs = dnnlib.EasyDict()
    c.optimizer_kwargs = dnnlib.EasyDict(class_name='torch.optim.Adam', lr=1e-3)

    # Preconditioning & loss function.
    if opts.precond == 'vp':
        c.network_kwargs.class_name = 'training.networks.VPPrecond'
        c.loss_kwargs.class_name = 'training.loss.VPLoss'
    elif opts.precond == 've':
        c.network_kwargs.class_name = 'training.networks.VEPrecond'
        c.loss_kwargs.class_name = 'training.loss.VELoss'
    else:
        assert opts.precond == 'edm'
        c.network_kwargs.class_name = 'training.networks.EDMPrecond'
        c.loss_kwargs.class_name = 'training.loss.EDMLoss'

    # Network options.
    if opts.cbase is not None:
        c.network_kwargs.sigma_data = opts.cbase
    c.update(batch_size=opts.batch, batch_gpu=opts.batch_gpu, run_dir=opts.run_dir, seed=opts.seed)
    c.update(steps=opts.steps, resume_pkl=opts.resume, resume_state_dump=opts.resume)
    return training_loop.training_loop(**c)
