"""Structure of kohya-ss/sd-scripts, train_network.py: scheduler, loss of a batch, and a validation between steps."""

import argparse
from typing import Any

import library.custom_train_functions as custom_train_functions
import library.train_util as train_util
import torch
from diffusers import DDPMScheduler
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from toys import ToyModel
from library.custom_train_functions import (
    apply_snr_weight,
    prepare_scheduler_for_custom_training,
    scale_v_prediction_loss_like_noise_prediction,
    apply_debiased_estimation,
    apply_masked_loss,
)
from library.utils import setup_logging, add_logging_arguments

setup_logging()
import logging

logger = logging.getLogger(__name__)
add_logging_arguments(None)
assert callable(apply_masked_loss)


class NetworkTrainer:
    def get_noise_scheduler(self, args: argparse.Namespace, device: torch.device) -> Any:
        noise_scheduler = DDPMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000, clip_sample=False
        )
        prepare_scheduler_for_custom_training(noise_scheduler, device)
        if args.zero_terminal_snr:
            custom_train_functions.fix_noise_scheduler_betas_for_zero_terminal_snr(noise_scheduler)
        return noise_scheduler

    def encode_images_to_latents(self, args, vae: AutoencoderKL, images: torch.FloatTensor) -> torch.FloatTensor:
        return images

    def get_noise_pred_and_target(self, args, noise_scheduler, latents, unet):
        noise, noisy, timesteps = train_util.get_noise_noisy_latents_and_timesteps(args, noise_scheduler, latents)
        noise_pred = unet(noisy, timesteps)
        target = noise_scheduler.get_velocity(latents, noise, timesteps) if args.v_parameterization else noise
        return noise_pred, target, timesteps, None

    def post_process_loss(self, loss, args, timesteps: torch.IntTensor, noise_scheduler) -> torch.FloatTensor:
        if args.min_snr_gamma:
            loss = apply_snr_weight(loss, timesteps, noise_scheduler, args.min_snr_gamma, args.v_parameterization)
        if args.scale_v_pred_loss_like_noise_pred:
            loss = scale_v_prediction_loss_like_noise_prediction(loss, timesteps, noise_scheduler)
        if args.debiased_estimation_loss:
            loss = apply_debiased_estimation(loss, timesteps, noise_scheduler, args.v_parameterization)
        return loss

    def process_batch(self, images, unet, noise_scheduler, args):
        latents = self.encode_images_to_latents(args, None, images)
        noise_pred, target, timesteps, _ = self.get_noise_pred_and_target(args, noise_scheduler, latents, unet)
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
