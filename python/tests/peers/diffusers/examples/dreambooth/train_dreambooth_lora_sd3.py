"""Structure of huggingface/diffusers, examples/dreambooth/train_dreambooth_lora_sd3.py: flow matching by time step."""

import copy

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.training_utils import compute_density_for_timestep_sampling, compute_loss_weighting_for_sd3
from toys import ToyAccelerator, ToyModel


def load_text_encoders(*classes):
    return classes


def main(args):
    accelerator = ToyAccelerator(gradient_accumulation_steps=args.gradient_accumulation_steps)
    torch.manual_seed(args.seed or 0)
    text_encoder_cls_one = text_encoder_cls_two = text_encoder_cls_three = None
    noise_scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(
        args.pretrained_model_name_or_path, subfolder="scheduler"
    )
    noise_scheduler_copy = copy.deepcopy(noise_scheduler)
    text_encoder_one, text_encoder_two, text_encoder_three = load_text_encoders(
        text_encoder_cls_one, text_encoder_cls_two, text_encoder_cls_three
    )
    assert text_encoder_one is text_encoder_two is text_encoder_three is None
    transformer = ToyModel(learn_sigma=False)
    optimizer = torch.optim.AdamW(transformer.parameters())
    global_step = 0
    if args.resume_from_checkpoint:
        accelerator.load_state(args.resume_from_checkpoint)
        global_step = args.global_step

    def get_sigmas(timesteps):
        (steps,) = zip(*((noise_scheduler_copy.timesteps == t).nonzero().flatten().tolist() for t in timesteps))
        return noise_scheduler_copy.sigmas[list(steps)].reshape(-1, 1, 1, 1)

    seen = []
    for _ in range(args.num_train_epochs):
        for step, model_input in enumerate(accelerator.prepare(args.train_dataloader)):
            with accelerator.accumulate(transformer):
                noise, bsz = torch.randn_like(model_input), len(model_input)
                u = compute_density_for_timestep_sampling(
                    weighting_scheme=args.weighting_scheme,
                    batch_size=bsz,
                    logit_mean=args.logit_mean,
                    logit_std=args.logit_std,
                    mode_scale=args.mode_scale,
                )
                indices = (u * noise_scheduler_copy.config.num_train_timesteps).long()
                timesteps = noise_scheduler_copy.timesteps[indices].to(device=model_input.device)

                # Add noise according to flow matching.
                # zt = (1 - texp) * x + texp * z1
                sigmas = get_sigmas(timesteps)
                noisy = torch.lerp(model_input, noise, sigmas)
                model_pred = transformer(noisy, timesteps)
                if args.precondition_outputs:
                    model_pred = noisy - sigmas * model_pred

                # these weighting schemes use a uniform timestep sampling
                # and instead post-weight the loss
                weighting = compute_loss_weighting_for_sd3(weighting_scheme=args.weighting_scheme, sigmas=sigmas)

                # flow matching loss
                if args.precondition_outputs:
                    target = model_input
                else:
                    target = noise - model_input
                loss = (weighting * (model_pred - target).square()).mean()
                seen.append(
                    {"step": (global_step, step), "t": timesteps, "pred": model_pred.detach(), "target": target, "loss": loss.item()}
                )
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    optimizer.step()
                    optimizer.zero_grad()
                    global_step += 1
    accelerator.save_state(args.output_dir)
    return seen
