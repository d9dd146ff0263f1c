"""Structure of huggingface/diffusers, examples/text_to_image/train_text_to_image.py: the loop, epsilon or v."""

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from toys import CLIPTokenizer, ToyAccelerator, ToyModel
from diffusers.training_utils import EMAModel, compute_snr
from diffusers.utils import check_min_version, deprecate, is_wandb_available, make_image_grid
from diffusers.utils.import_utils import is_xformers_available


if is_wandb_available():
    import wandb

    assert wandb

IMPORTED = EMAModel, compute_snr, check_min_version, deprecate, make_image_grid, is_xformers_available


def main(args):
    accelerator = ToyAccelerator(gradient_accumulation_steps=args.gradient_accumulation_steps)
    torch.manual_seed(args.seed or 0)

    # Load scheduler, tokenizer and models.
    noise_scheduler = DDPMScheduler.from_pretrained(args.pretrained_model_name_or_path, subfolder="scheduler")
    tokenizer = CLIPTokenizer.from_pretrained(
        args.pretrained_model_name_or_path, subfolder="tokenizer", revision=args.revision, variant=args.variant
    )
    assert tokenizer
    toy = ToyModel(learn_sigma=False)
    optimizer = torch.optim.AdamW(toy.parameters())
    global_step = 0
    if args.resume_from_checkpoint:
        accelerator.load_state(args.resume_from_checkpoint)
        global_step = args.global_step

    def unet(noisy_latents, timesteps, encoder_hidden_states):
        class Output:
            sample = toy(noisy_latents, timesteps)

        return Output

    encoder_hidden_states = None
    seen = []
    for _ in range(args.num_train_epochs):
        for step, latents in enumerate(accelerator.prepare(args.train_dataloader)):
            with accelerator.accumulate(toy):
                noise = torch.randn_like(latents)
                if args.input_perturbation:
                    new_noise = noise + args.input_perturbation * torch.randn_like(noise)
                bsz = latents.shape[0]
                # Sample a random timestep for each image
                timesteps = torch.randint(0, noise_scheduler.config.num_train_timesteps, (bsz,), device=latents.device)
                timesteps = timesteps.long()

                # Add noise to the latents according to the noise magnitude at each timestep
                if args.input_perturbation:
                    noisy_latents = noise_scheduler.add_noise(latents, new_noise, timesteps)
                else:
                    noisy_latents = noise_scheduler.add_noise(latents, noise, timesteps)
                v = noise_scheduler.config.prediction_type == "v_prediction"
                target = noise_scheduler.get_velocity(latents, noise, timesteps) if v else noise

                # Predict the noise residual and compute loss
                model_pred = unet(noisy_latents, timesteps, encoder_hidden_states).sample

                if args.snr_gamma is None:
                    loss = F.mse_loss(model_pred.float(), target.float(), reduction="mean")
                else:
                    # Compute loss-weights as per Section 3.4 of https://arxiv.org/abs/2303.09556.
                    # Since we predict the noise instead of x_0, the original formulation is slightly changed.
                    raise NotImplementedError
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
