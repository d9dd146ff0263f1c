"""Structure of sail-sg/FDM, train.py: EDM's, with three more preconditionings, and a warm-up of their losses."""

import dnnlib
from training import training_loop


def main(**kwargs):
    opts = dnnlib.EasyDict(kwargs)
    c = dnnlib.EasyDict(images=opts.images)
    c.network_kwargs = dnnlib.EasyDict()
    c.loss_kwargs = dnnlib.EasyDict()
    c.optimizer_kwargs = dnnlib.EasyDict(class_name='torch.optim.Adam', lr=1e-3)

    # Preconditioning & loss function.
    if opts.precond in ('vp', 've', 'edm'):
        name = opts.precond.upper()
        c.network_kwargs.class_name = f'training.networks.{name}Precond'
        c.loss_kwargs.class_name = f'training.loss.{name}Loss'
    elif opts.precond == 'fdm_vp':
        c.network_kwargs.class_name = 'training.networks.FDM_VPPrecond'
        c.loss_kwargs.class_name = 'training.loss.VPLoss'
        c.network_kwargs.update(fdm_multiplier=opts.fdm_multiplier)
        c.loss_kwargs.update(warmup_ite=opts.warmup_ite)
    elif opts.precond == 'fdm_ve':
        c.network_kwargs.class_name = 'training.networks.FDM_VEPrecond'
        c.loss_kwargs.class_name = 'training.loss.VELoss'
        c.network_kwargs.update(fdm_multiplier=opts.fdm_multiplier)
        c.loss_kwargs.update(warmup_ite=opts.warmup_ite)
    else:
        assert opts.precond == 'fdm_edm'
        c.network_kwargs.class_name = 'training.networks.FDM_EDMPrecond'
        c.loss_kwargs.class_name = 'training.loss.EDMLoss'
        c.network_kwargs.update(fdm_multiplier=opts.fdm_multiplier)
        c.loss_kwargs.update(warmup_ite=opts.warmup_ite)

    # Network options.
    if opts.cbase is not None:
        c.network_kwargs.sigma_data = opts.cbase
    c.update(batch_size=opts.batch, batch_gpu=opts.batch_gpu, run_dir=opts.run_dir, seed=opts.seed)
    c.update(steps=opts.steps, resume_pkl=opts.resume, resume_state_dump=opts.resume)
    return training_loop.training_loop(**c)
