"""Structure of kohya-ss/sd-scripts, train_network.py: scheduler, loss of a batch, and a validation between steps."""

import library.custom_train_functions as custom_train_functions
import library.train_util as train_util
import torch
from diffusers import DDPMScheduler
from library.custom_train_functions import apply_snr_weight
from toys import ToyModel
from library.utils import setup_logging, add_logging_arguments

setup_logging()
add_logging_arguments(None)


class NetworkTrainer:
    def get_noise_scheduler(self, args, device):
        noise_scheduler = DDPMScheduler(1000, 0.00085, 0.012, "scaled_linear", clip_sample=False)
        if args.zero_terminal_snr:
            custom_train_functions.fix_noise_scheduler_betas_for_zero_terminal_snr(noise_scheduler)
        return noise_scheduler

    def post_process_loss(self, loss, args, timesteps: torch.IntTensor, noise_scheduler) -> torch.FloatTensor:
        if args.min_snr_gamma:
            loss = apply_snr_weight(loss, timesteps, noise_scheduler, args.min_snr_gamma, args.v_parameterization)
        return loss

    def process_batch(self, latents, unet, noise_scheduler, args):
        draw = train_util.get_noise_noisy_latents_and_timesteps
        noise, noisy, timesteps = draw(args, noise_scheduler, latents)
        noise_pred = unet(noisy, timesteps)
        target = noise_scheduler.get_velocity(latents, noise, timesteps) if args.v_parameterization else noise
        loss = (noise_pred - target).square().mean(dim=[1, 2, 3])
        self.seen.append({"t": timesteps, "error": loss.detach()})
        loss = self.post_process_loss(loss, args, timesteps, noise_scheduler)
        return loss.mean()

    def train(self, args, batches):
        self.seen = []
        losses = []
        noise_scheduler = self.get_noise_scheduler(args, torch.device("cpu"))
        unet = ToyModel(learn_sigma=False)
        optimizer = torch.optim.AdamW(unet.parameters())
        for latents in batches:
            loss = self.process_batch(latents, unet, noise_scheduler, args)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            saved = args.min_timestep, args.max_timestep
            args.min_timestep = args.max_timestep = 400
            losses.append(self.process_batch(latents, unet, noise_scheduler, args).item())
            args.min_timestep, args.max_timestep = saved
        return losses
