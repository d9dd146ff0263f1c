"""Trains, saves and resumes the network that CONTRIBUTING.md adds; test_contributing.py runs it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from tiny_trainers import CLASSES, create, images, labels, memory

from speediff import Network, Trainer

MIXER = Network("mixer", hidden_size=16, depth=2, patch_size=2, token_width=12)


def check_gradient() -> None:
    """The slope of the loss along each tensor's gradient is the gradient's length."""
    x, y, t = images(), labels(), np.array([3, 20, 40, 11])
    noise = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    with create(model=MIXER, learn_sigma=False) as trainer:
        rng = np.random.default_rng(2)
        for value in trainer.parameters.values():
            value[...] += 0.3 * rng.normal(size=value.shape)

        def loss() -> float:
            trainer.discard()
            return trainer.backward(x, y, t=t, noise=noise)

        for name, value in trainer.parameters.items():
            loss()
            gradient = trainer.gradients[name].astype(np.float64)
            length = np.linalg.norm(gradient)
            assert length > 0, f"{name} has no gradient"
            middle, ends = value.copy(), []
            for step in (1e-2, -1e-2):
                value[...] = middle + step * gradient / length
                ends.append(loss())
            value[...] = middle
            np.testing.assert_allclose((ends[0] - ends[1]) / 2e-2, length, rtol=0.02, err_msg=name)


def main() -> None:
    """Everything that a family of its own must do."""
    check_gradient()
    path = Path(sys.argv[1]) / "mixer.safetensors"
    x, y = images(), labels()
    with create(model=MIXER, learning_rate=1e-2) as trainer:
        losses = [trainer.step(x, y) for _ in range(60)]
        assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10]), losses
        trainer.save(path)
        with Trainer.load(path, threads=1) as again:
            assert again.config == MIXER
            assert again.num_classes == CLASSES
            assert [again.step(x, y) for _ in range(3)] == [trainer.step(x, y) for _ in range(3)]
            assert memory(again) == memory(trainer)
            assert np.isfinite(again.generate(y, steps=3)).all()
            assert set(again.state_dict()) == set(again.parameters)
    print("trained and resumed")


if __name__ == "__main__":
    main()
