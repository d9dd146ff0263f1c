"""Structure of kohya-ss/sd-scripts, custom_train_functions.py: the weights that options switch on."""

import torch


def prepare_scheduler_for_custom_training(noise_scheduler, device):
    table = noise_scheduler.alphas_cumprod
    noise_scheduler.all_snr = (table / (1 - table)).to(device)


def apply_snr_weight(loss, timesteps, noise_scheduler, gamma, v_prediction=False):
    snr = noise_scheduler.all_snr[timesteps]
    return loss * snr.clamp(max=gamma) / (snr + 1 if v_prediction else snr)


def fix_noise_scheduler_betas_for_zero_terminal_snr(noise_scheduler):
    root = noise_scheduler.alphas_cumprod.double().sqrt()
    noise_scheduler.alphas_cumprod = ((root - root[-1]) * root[0] / (root[0] - root[-1])).square().float()
    ratios = noise_scheduler.alphas_cumprod[1:] / noise_scheduler.alphas_cumprod[:-1]
    noise_scheduler.betas = 1 - torch.cat([noise_scheduler.alphas_cumprod[:1], ratios])


def scale_v_prediction_loss_like_noise_prediction(loss, timesteps, noise_scheduler):
    snr = noise_scheduler.all_snr[timesteps].clamp(max=1000)
    return loss * snr / (snr + 1)


def apply_debiased_estimation(loss, timesteps, noise_scheduler, v_prediction=False):
    snr = noise_scheduler.all_snr[timesteps].clamp(max=1000)
    return loss / (snr + 1 if v_prediction else snr.sqrt())


def apply_masked_loss(loss, batch):
    raise NotImplementedError
