"""The trainer of one architecture, and its script."""

from __future__ import annotations

from musubi_tuner.training.trainer_base import DiTOutput, NetworkTrainer

args = None
"""Instead of a command line."""
seen = []


class WanNetworkTrainer(NetworkTrainer):
    high_low_training = False

    def call_dit(
        self, args, accelerator, transformer_arg, latents, batch, noise, noisy_model_input, timesteps,
        network_dtype, **kwargs,
    ):  # fmt: skip
        pred = transformer_arg(noisy_model_input.flatten().unsqueeze(1)).view_as(latents)
        self.seen.append(
            {"timesteps": timesteps, "noisy": noisy_model_input, "latents": latents, "noise": noise}
        )
        self.seen[-1]["errors"] = (pred - (noise - latents)).detach().square().flatten(1).mean(1)
        return DiTOutput(pred, noise - latents)


def main():
    trainer = WanNetworkTrainer()
    trainer.train(args)
    seen[:] = trainer.seen
