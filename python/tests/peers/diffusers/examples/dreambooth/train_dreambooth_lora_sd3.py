"""Structure of huggingface/diffusers, examples/dreambooth/train_dreambooth_lora_sd3.py: flow matching by time step."""

import copy

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.training_utils import compute_density_for_timestep_sampling, compute_loss_weighting_for_sd3
from toys import ToyAccelerator, ToyModel


def load_text_encoders(name):
    return None, None, None


def main(args):
    accelerator = ToyAccelerator(gradient_accumulation_steps=args.gradient_accumulation_steps)
    torch.manual_seed(args.seed or 0)
    noise_scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(
        args.pretrained_model_name_or_path, subfolder="scheduler"
    )
    noise_scheduler_copy = copy.deepcopy(noise_scheduler)
    text_encoder_one, text_encoder_two, text_encoder_three = load_text_encoders(
        args.pretrained_model_name_or_path
    )
    assert text_encoder_one is text_encoder_two is text_encoder_three is None
    transformer = ToyModel(learn_sigma=False)
    optimizer = torch.optim.AdamW(transformer.parameters())
    if args.resume_from_checkpoint:
        accelerator.load_state(args.resume_from_checkpoint)

    def get_sigmas(timesteps, n_dim=4, dtype=torch.float32):
        sigmas = noise_scheduler_copy.sigmas.to(device=accelerator.device, dtype=dtype)
        schedule_timesteps = noise_scheduler_copy.timesteps.to(accelerator.device)
        timesteps = timesteps.to(accelerator.device)
        step_indices = [(schedule_timesteps == t).nonzero().item() for t in timesteps]
        return sigmas[step_indices].flatten().reshape(-1, *[1] * (n_dim - 1))

    seen = []
    for model_input in args.train_dataloader:
            with accelerator.accumulate(transformer):
                noise = torch.randn_like(model_input)
                bsz = model_input.shape[0]
                u = compute_density_for_timestep_sampling(
                    weighting_scheme=args.weighting_scheme, batch_size=bsz, logit_mean=0.0, logit_std=1.0, mode_scale=1.29
                )
                indices = (u * noise_scheduler_copy.config.num_train_timesteps).long()
                timesteps = noise_scheduler_copy.timesteps[indices].to(device=model_input.device)
                sigmas = get_sigmas(timesteps, n_dim=model_input.ndim, dtype=model_input.dtype)
                noisy_model_input = (1.0 - sigmas) * model_input + sigmas * noise
                model_pred = transformer(noisy_model_input, timesteps)
                if args.precondition_outputs:
                    model_pred = model_pred * (-sigmas) + noisy_model_input
                weighting = compute_loss_weighting_for_sd3(weighting_scheme=args.weighting_scheme, sigmas=sigmas)
                if args.precondition_outputs:
                    target = model_input
                else:
                    target = noise - model_input
                loss = torch.mean(
                    (weighting.float() * (model_pred.float() - target.float()) ** 2).reshape(target.shape[0], -1),
                    1,
                )
                loss = loss.mean()
                seen.append({"t": timesteps, "pred": model_pred.detach(), "target": target, "loss": loss.item()})
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    optimizer.step()
                    optimizer.zero_grad()
    accelerator.save_state(args.output_dir)
    return seen
