"""MDT in the hands of the CPU trainer: two passes, trained positions, tables of biases with their indices."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import official_mdt
import pytest
import torch
from pipelines import EMA_DECAY, Pipeline, assert_same
from reference_mdt import random_weights
from reference_mdt_training import Pass, mdt_objective

import speediff
from speediff.torch import adopt

if TYPE_CHECKING:
    from torch import Tensor

    from speediff import NoiseSchedule

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")

CLASSES, TOKENS = 10, 16
VERSIONS: dict[int, tuple[type[official_mdt.MDT], dict[str, Any]]] = {
    1: (official_mdt.MDT, {"depth": 3, "decode_layer": 1}),
    2: (official_mdt.MDTv2, {"depth": 3, "decode_layer": 1}),
}


class Batch(NamedTuple):
    """What a step is made of: noise for either pass, and the tokens that the second keeps."""

    x: Tensor
    y: Tensor
    t: Tensor
    noise: Tensor
    masked_noise: Tensor
    kept: Tensor
    weights: Tensor

    @property
    def drawn(self) -> dict[str, Tensor]:
        return {name: value for name, value in self._asdict().items() if name not in ("x", "y")}


def batches(count: int, n: int = 4) -> list[Batch]:
    result = []
    for number in range(count):
        random = np.random.default_rng(number)
        images = [torch.from_numpy(random.normal(size=(n, 3, 8, 8)).astype(np.float32)) for _ in range(3)]
        order = random.permuted(np.tile(np.arange(TOKENS), (n, 1)), axis=1)
        result.append(
            Batch(
                images[0],
                torch.from_numpy(random.integers(0, CLASSES + 1, n)),
                torch.from_numpy(random.integers(0, 1000, n)),
                images[1],
                images[2],
                torch.from_numpy(np.ascontiguousarray(order[:, : 8 + number % 3])),
                torch.from_numpy(random.uniform(0.5, 2, n).astype(np.float32)),
            )
        )
    return result


def network(version: int, **options: Any) -> official_mdt.MDT:
    kind, blocks = VERSIONS[version]
    shape = {"hidden_size": 16, "num_heads": 2, "patch_size": 2, "input_size": 8, "in_channels": 3}
    model = kind(**{**shape, **blocks, "mask_ratio": 0.3, "learn_sigma": False, **options})
    weights = {name: torch.from_numpy(value) for name, value in random_weights(model, 3).items()}
    model.load_state_dict({**model.state_dict(), **weights})
    return model


class MaskedPipeline(Pipeline):
    """Trains both passes, version 2 with the Min-SNR-5 of its authors' loss."""

    def loss(self, batch: Any) -> Tensor:
        passes = Pass(batch.noise, batch.y), Pass(batch.masked_noise, batch.y, batch.kept)
        gamma = 5.0 if self.model.version == 2 else None
        given = (self._process, "epsilon", batch.x, batch.t, passes, batch.weights.double(), gamma)
        return mdt_objective(self.model, *given).loss


@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_handed_over_and_back_is_that_of_pytorch(linear: NoiseSchedule, version: int) -> None:
    steps = batches(45)
    alone, handed = (MaskedPipeline(network(version), linear) for _ in range(2))
    expected = [alone.step(batch) for batch in steps]
    losses = [handed.step(batch) for batch in steps[:5]]
    with adopt(handed.model, handed.ema, handed.optimizer, ema_decay=EMA_DECAY) as adoption:
        config = adoption.trainer.config
        assert (config.version, config.mask_ratio, config.min_snr_gamma) == (
            version,
            0.3,
            {2: 5.0}.get(version),
        )
        for batch in steps[5:25]:
            losses.append(adoption.backward(batch.x, batch.y, **batch.drawn))
            adoption.apply()
    losses += [handed.step(batch) for batch in steps[25:]]
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert_same(handed.tensors(), alone.tensors(), 1e-3)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_step_is_that_of_a_trainer_with_these_weights(version: int) -> None:
    model = network(version)
    state = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    x, y, *_ = batches(1)[0]
    with adopt(copy.deepcopy(model), seed=4) as adoption:
        config, sampler = adoption.trainer.config, speediff.TimestepSampler(adoption.trainer.schedule, seed=4)
        data = {"input_size": 8, "in_channels": 3, "num_classes": CLASSES, "learn_sigma": False}
        with speediff.Trainer(config, sampler, **data, seed=4, threads=1) as trainer:
            trainer.load_state_dict(state)
            assert [adoption.step(x, y) for _ in range(3)] == [
                trainer.step(x.numpy(), y.numpy()) for _ in range(3)
            ]


def test_a_module_built_for_sampling_is_adopted_as_the_error_says() -> None:
    """That is the default of the authors' functions: no mask_ratio, and a mask_token that is frozen."""
    module, sampling = network(2), network(2, mask_ratio=None)
    sampling.load_state_dict(module.state_dict())
    assert not sampling.mask_token.requires_grad
    with pytest.raises(
        speediff.SpeeDiffValueError, match=r"must have a mask_ratio, .*; set module\.mask_ratio"
    ):
        adopt(sampling)
    sampling.mask_ratio = 0.3
    sampling.mask_token.requires_grad_(True)
    x, y, *_ = batches(1)[0]
    with adopt(sampling, seed=4) as adoption, adopt(module, seed=4) as other:
        assert adoption.step(x, y) == other.step(x, y)


def test_what_cannot_be_adopted_is_named() -> None:
    for change, words in (
        (lambda m: setattr(m, "mask_ratio", None), "module must have a mask_ratio"),
        (lambda m: m.mask_token.requires_grad_(False), r"module\.mask_token must be trained"),
        (lambda m: m.pos_embed.requires_grad_(False), r"module\.pos_embed must be trained"),
        (
            lambda m: m.de_blocks[0].attn.rel_pos_bias.relative_position_index.add_(1),
            r"relative_position_index must have the values of the authors' code",
        ),
        (
            lambda m: setattr(m.en_outblocks[0], "skip_linear", None),
            r"all tensors of its network, got .*en_outblocks\.0\.skip_linear",
        ),
        (
            lambda m: setattr(m.en_inblocks[0].norm1, "eps", 1e-2),
            "module must compute what sail-sg/MDT's MDTv2 does",
        ),
    ):
        model = network(2)
        change(model)
        with pytest.raises(speediff.SpeeDiffError, match=words):
            adopt(model)
