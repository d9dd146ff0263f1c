"""Structure of huggingface/diffusers, examples/text_to_image/train_text_to_image.py: the loop, epsilon or v."""

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from toys import CLIPTokenizer, ToyAccelerator, ToyModel
from diffusers.utils.import_utils import is_xformers_available


def main(args):
    accelerator = ToyAccelerator(gradient_accumulation_steps=args.gradient_accumulation_steps)
    torch.manual_seed(args.seed or 0)
    assert callable(is_xformers_available)
    noise_scheduler = DDPMScheduler.from_pretrained(args.pretrained_model_name_or_path, subfolder="scheduler")
    tokenizer = CLIPTokenizer.from_pretrained(
        args.pretrained_model_name_or_path, subfolder="tokenizer"
    )
    assert tokenizer
    unet = ToyModel(learn_sigma=False)
    optimizer = torch.optim.AdamW(unet.parameters())
    if args.resume_from_checkpoint:
        accelerator.load_state(args.resume_from_checkpoint)
    seen = []
    for latents in args.train_dataloader:
            with accelerator.accumulate(unet):
                noise, bsz = torch.randn_like(latents), len(latents)
                timesteps = torch.randint(0, noise_scheduler.config.num_train_timesteps, (bsz,), device=latents.device)
                model_pred = unet(noise_scheduler.add_noise(latents, noise, timesteps), timesteps)
                v = noise_scheduler.config.prediction_type == "v_prediction"
                target = noise_scheduler.get_velocity(latents, noise, timesteps) if v else noise
                if args.snr_gamma is None:
                    loss = F.mse_loss(model_pred.float(), target.float(), reduction="mean")
                else:
                    raise NotImplementedError
                seen.append({"t": timesteps, "pred": model_pred.detach(), "target": target, "loss": loss.item()})
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    optimizer.step()
                    optimizer.zero_grad()
    accelerator.save_state(args.output_dir)
    return seen
