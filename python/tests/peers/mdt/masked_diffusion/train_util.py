"""Structure of sail-sg/MDT, train_util.py: a pass with and one without the mask for each draw."""

import functools

from torch.optim import AdamW

from . import dist_util
from .fp16_util import MixedPrecisionTrainer
from .resample import LossAwareSampler, UniformSampler
from diffusers.models import AutoencoderKL


class TrainLoop:
    def __init__(
        self, *, model, diffusion, data, batch_size, microbatch, lr, resume_checkpoint, schedule_sampler=None
    ):
        self.model = model
        self.diffusion = diffusion
        self.data = data
        self.batch_size = batch_size
        self.microbatch = microbatch if microbatch > 0 else batch_size
        self.lr = lr
        self.resume_checkpoint = resume_checkpoint
        self.schedule_sampler = schedule_sampler or UniformSampler(diffusion)
        self.step = 0
        self.resume_step = 0
        self.losses = []

        self.first_stage_class = AutoencoderKL
        self._load_and_sync_parameters()
        self.mp_trainer = MixedPrecisionTrainer(
            model=self.model,
        )
        self.opt = AdamW(self.mp_trainer.master_params, lr=self.lr)

    def _load_and_sync_parameters(self):
        if self.resume_checkpoint:
            self.resume_step = int(self.resume_checkpoint.split("model")[-1].split(".")[0])

    def run_step(self, batch, cond):
        self.forward_backward(batch, cond)
        self.mp_trainer.optimize(self.opt)
        self.step += 1

    def forward_backward(self, batch, cond):
        self.mp_trainer.zero_grad()
        for i in range(0, batch.shape[0], self.microbatch):
            micro = batch[i : i + self.microbatch].to(dist_util.dev())
            micro_cond = {
                k: v[i : i + self.microbatch].to(dist_util.dev())
                for k, v in cond.items()
            }
            t, weights = self.schedule_sampler.sample(micro.shape[0], dist_util.dev())

            compute_losses = functools.partial(
                self.diffusion.training_losses,
                self.model,
                micro,
                t,
                model_kwargs=micro_cond,
            )
            micro_cond_mask = micro_cond.copy()
            micro_cond_mask['enable_mask']=True
            compute_losses_mask = functools.partial(
                self.diffusion.training_losses,
                self.model,
                micro,
                t,
                model_kwargs=micro_cond_mask,
            )
            losses = compute_losses()
            losses_mask = compute_losses_mask()

            if isinstance(self.schedule_sampler, LossAwareSampler):
                self.schedule_sampler.update_with_local_losses(
                    t, losses["loss"].detach() + losses_mask["loss"].detach()
                )

            loss = (losses["loss"] * weights).mean() + (losses_mask["loss"] * weights).mean()
            self.losses.append(loss.item())
            self.mp_trainer.backward(loss)
