"""Structure of NVlabs/edm, training/training_loop.py: rounds of accumulation, and snapshots that pickle the loss."""

import copy
import pickle

import dnnlib
import torch
from torch_utils import distributed as dist
from torch_utils import misc


def training_loop(
    images, network_kwargs, loss_kwargs, optimizer_kwargs, batch_size, batch_gpu, run_dir, seed, steps,
    resume_pkl=None, resume_state_dump=None, augment_kwargs=None,
):
    torch.manual_seed(seed)
    batch_gpu_total = batch_size
    num_accumulation_rounds = batch_gpu_total // batch_gpu
    net = dnnlib.util.construct_class_by_name(**network_kwargs) # subclass of torch.nn.Module
    net.train().requires_grad_(True)

    # Setup optimizer.
    dist.print0('Setting up optimizer...')
    loss_fn = dnnlib.util.construct_class_by_name(**loss_kwargs) # training.loss.(VP|VE|EDM)Loss
    optimizer = dnnlib.util.construct_class_by_name(params=net.parameters(), **optimizer_kwargs) # subclass of torch.optim.Optimizer
    augment_pipe = dnnlib.util.construct_class_by_name(**augment_kwargs) if augment_kwargs is not None else None # training.augment.AugmentPipe
    ema = copy.deepcopy(net).eval().requires_grad_(False)
    if resume_pkl is not None:
        with open(resume_pkl, 'rb') as f:
            data = pickle.load(f)
        if dist.get_world_size() > 1:
            torch.distributed.barrier() # other ranks follow
        misc.copy_params_and_buffers(src_module=data['ema'], dst_module=net, require_all=False)
        misc.copy_params_and_buffers(src_module=data['ema'], dst_module=ema, require_all=False)
        del data # conserve memory
    if resume_state_dump:
        dist.print0(f'Loading training state from "{resume_state_dump}"...')

    losses = []
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        for round_idx in range(num_accumulation_rounds):
            labels = torch.zeros([batch_gpu, 0])
            loss = loss_fn(net=net, images=images[:batch_gpu], labels=labels, augment_pipe=augment_pipe)
            losses.append(loss.detach().clone())
            loss.sum().mul(1 / batch_gpu_total).backward()
        optimizer.step()

    ema.load_state_dict(net.state_dict())
    data = dict(ema=ema, loss_fn=loss_fn, augment_pipe=augment_pipe)
    with open(run_dir / 'network-snapshot.pkl', 'wb') as f:
        pickle.dump(data, f)
    return net, losses
