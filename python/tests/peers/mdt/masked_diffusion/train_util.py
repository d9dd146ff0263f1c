"""Structure of sail-sg/MDT, train_util.py: a pass with and one without the mask for each draw."""

import copy

import torch as th

from . import dist_util
from .fp16_util import MixedPrecisionTrainer
from .nn import update_ema
from .resample import LossAwareSampler, UniformSampler
from diffusers.models import AutoencoderKL
from adan import Adan
from torch.distributed.optim import ZeroRedundancyOptimizer
# For ImageNet experiments, this was a good default value.
# We found that the lg_loss_scale quickly climbed to
# 20-21 within the first ~1K steps of training.
INITIAL_LOG_LOSS_SCALE = 20.0


class TrainLoop:
    def __init__(
        self, *, model, diffusion, data, batch_size, microbatch, lr, resume_checkpoint, use_fp16=False,
        fp16_scale_growth=1e-3, schedule_sampler=None, weight_decay=0.0, lr_anneal_steps=0, scale_factor=0.18215,
    ):
        self.model, self.diffusion, self.data = model, diffusion, data
        self.batch_size, self.microbatch = batch_size, microbatch if microbatch > 0 else batch_size
        self.lr = lr
        self.resume_checkpoint = resume_checkpoint
        self.use_fp16 = use_fp16
        self.fp16_scale_growth = fp16_scale_growth
        self.schedule_sampler = schedule_sampler or UniformSampler(diffusion)
        self.weight_decay = weight_decay
        self.lr_anneal_steps = lr_anneal_steps
        self.scale_factor = scale_factor

        self.step = self.resume_step = 0
        self.losses = []
        self.classes = AutoencoderKL, ZeroRedundancyOptimizer
        self.sync_cuda = th.cuda.is_available()

        self._load_and_sync_parameters()
        self.mp_trainer = MixedPrecisionTrainer(
            model=self.model,
            use_fp16=self.use_fp16,
            fp16_scale_growth=fp16_scale_growth,
        )
        self.opt = Adan(self.mp_trainer.master_params, lr=self.lr, weight_decay=self.weight_decay)
        self.ema_params = copy.deepcopy(self.mp_trainer.master_params)

    def _load_and_sync_parameters(self):
        if self.resume_checkpoint:
            self.resume_step = int(self.resume_checkpoint[-len("000000.pt") : -len(".pt")])

    def run_step(self, batch, cond):
        self.forward_backward(batch, cond)
        self.mp_trainer.optimize(self.opt)
        update_ema(self.ema_params, self.mp_trainer.master_params, rate=0.99)
        self.step += 1

    def forward_backward(self, batch, cond):
        self.mp_trainer.zero_grad()
        for first in range(0, len(batch), self.microbatch):
            part = slice(first, first + self.microbatch)
            micro = batch[part].to(dist_util.dev())
            micro_cond = {name: values[part] for name, values in cond.items()}
            t, weights = self.schedule_sampler.sample(micro.shape[0], dist_util.dev())

            run = self.diffusion.training_losses
            losses = run(self.model, micro, t, model_kwargs=micro_cond)
            losses_mask = run(self.model, micro, t, model_kwargs={**micro_cond, "enable_mask": True})
            if isinstance(self.schedule_sampler, LossAwareSampler):
                self.schedule_sampler.update_with_local_losses(
                    t, losses["loss"].detach() + losses_mask["loss"].detach()
                )

            loss = (losses["loss"] * weights).mean() + (losses_mask["loss"] * weights).mean()
            log_loss_dict(
                self.diffusion, t, {k: v * weights for k, v in losses.items()}
            )
            self.losses.append(loss.item())
            self.mp_trainer.backward(loss)


def log_loss_dict(diffusion, ts, losses):
    assert all(len(values) == len(ts) for values in losses.values())
