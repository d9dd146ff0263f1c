"""Structure of openai/guided-diffusion, train_util.py: `TrainLoop` with its micro-batches and its resuming by a number."""

from torch.optim import AdamW

from . import dist_util
from .fp16_util import MixedPrecisionTrainer
from .resample import LossAwareSampler, UniformSampler


class TrainLoop:
    def __init__(
        self, *, model, diffusion, data, batch_size, microbatch, lr, resume_checkpoint, schedule_sampler=None
    ):
        self.model, self.diffusion, self.data = model, diffusion, data
        self.batch_size, self.microbatch = batch_size, microbatch if microbatch > 0 else batch_size
        self.lr = lr
        self.resume_checkpoint = resume_checkpoint
        self.schedule_sampler = schedule_sampler or UniformSampler(diffusion)
        self.step = self.resume_step = 0
        self.losses = []

        self._load_and_sync_parameters()
        self.mp_trainer = MixedPrecisionTrainer(
            model=self.model,
        )
        self.opt = AdamW(self.mp_trainer.master_params, lr=self.lr)

    def _load_and_sync_parameters(self):
        if self.resume_checkpoint:
            self.resume_step = int(self.resume_checkpoint[-len("000000.pt") : -len(".pt")])

    def run_step(self, batch, cond):
        self.forward_backward(batch, cond)
        self.mp_trainer.optimize(self.opt)
        self.step += 1

    def forward_backward(self, batch, cond):
        self.mp_trainer.zero_grad()
        for first in range(0, len(batch), self.microbatch):
            part = slice(first, first + self.microbatch)
            micro = batch[part].to(dist_util.dev())
            micro_cond = {name: values[part] for name, values in cond.items()}
            t, weights = self.schedule_sampler.sample(micro.shape[0], dist_util.dev())

            losses = self.diffusion.training_losses(self.model, micro, t, model_kwargs=micro_cond)
            if isinstance(self.schedule_sampler, LossAwareSampler):
                self.schedule_sampler.update_with_local_losses(t, losses["loss"].detach())
            loss = (losses["loss"] * weights).mean()
            self.losses.append(loss.item())
            self.mp_trainer.backward(loss)
