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

    def get_sigmas(timesteps):
        (steps,) = zip(*((noise_scheduler_copy.timesteps == t).nonzero().flatten().tolist() for t in timesteps))
        return noise_scheduler_copy.sigmas[list(steps)].reshape(-1, 1, 1, 1)

    seen = []
    for model_input in args.train_dataloader:
            with accelerator.accumulate(transformer):
                noise, bsz = torch.randn_like(model_input), len(model_input)
                u = compute_density_for_timestep_sampling(args.weighting_scheme, bsz, 0.0, 1.0, 1.29)
                indices = (u * noise_scheduler_copy.config.num_train_timesteps).long()
                timesteps = noise_scheduler_copy.timesteps[indices].to(device=model_input.device)
                sigmas = get_sigmas(timesteps)
                noisy = torch.lerp(model_input, noise, sigmas)
                model_pred = transformer(noisy, timesteps)
                if args.precondition_outputs:
                    model_pred = noisy - sigmas * model_pred
                weighting = compute_loss_weighting_for_sd3(weighting_scheme=args.weighting_scheme, sigmas=sigmas)
                target = model_input if args.precondition_outputs else noise - model_input
                loss = (weighting * (model_pred - target).square()).mean()
                seen.append({"t": timesteps, "pred": model_pred.detach(), "target": target, "loss": loss.item()})
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    optimizer.step()
                    optimizer.zero_grad()
    accelerator.save_state(args.output_dir)
    return seen
