"""Where weights go: beside a variational term, in a denoiser's loss, and around what a loss has already."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import speediff
from speediff import NoiseSchedule
from speediff.weighting import EDM, ChangeAware, Importance, MinSNR, Reciprocal, Uncertainty, Uniform

torch = pytest.importorskip("torch")

from speediff.torch import DenoisingLoss, Preconditioned, SigmaSampler, TimestepSampler, combine  # noqa: E402

TERMS = {"mse": torch.tensor([1.0, 2.0, 3.0]), "vb": torch.tensor([0.5, 0.25, 0.125])}
WEIGHTS = torch.tensor([0.5, 1.0, 2.0])


def test_weights_are_of_the_squared_error_alone_or_of_both_terms() -> None:
    assert combine(TERMS, WEIGHTS).tolist() == [1.0, 2.25, 6.125]
    assert combine(TERMS, WEIGHTS, on="loss").tolist() == [0.75, 2.25, 6.25]
    assert combine({"mse": TERMS["mse"]}, WEIGHTS).tolist() == [0.5, 2.0, 6.0]
    assert combine({"loss": TERMS["vb"]}, WEIGHTS, "loss").tolist() == [0.25, 0.25, 0.25]


def test_gradients_pass_through_the_terms() -> None:
    terms = {name: term.clone().requires_grad_() for name, term in TERMS.items()}
    combine(terms, WEIGHTS).sum().backward()
    assert terms["mse"].grad is not None
    assert torch.equal(terms["mse"].grad, WEIGHTS)
    assert terms["vb"].grad is not None
    assert terms["vb"].grad.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("terms", "weights", "on", "message"),
    [
        ({"loss": WEIGHTS}, WEIGHTS, "mse", r"must contain 'mse', or 'loss' with on='loss', got \['loss'\]"),
        (TERMS, WEIGHTS[:2], "mse", r"weights must have one entry per sample.*\(3,\), got \(2,\)"),
        (TERMS, WEIGHTS[:, None], "mse", "weights must have one entry"),
        ({"mse": torch.ones(3, 1)}, torch.ones(3, 1), "mse", "must have one entry"),
        (TERMS, WEIGHTS, "vb", "on must be"),
        (TERMS, WEIGHTS.to("meta"), "mse", "weights must be on cpu"),
        (TERMS, [1, 2, 3], "mse", "weights must be a tensor, got list"),
        ({"mse": 1.0}, WEIGHTS, "mse", r"terms\['mse'\] must be a tensor, got float"),
    ],
)
def test_what_cannot_be_combined_is_an_error(terms: Any, weights: Any, on: str, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        combine(terms, weights, on)


def test_a_sampler_tells_what_its_authors_weigh(linear: NoiseSchedule) -> None:
    def weighs(sampling: Any, weighting: Any = "uniform") -> str:
        return TimestepSampler(linear, sampling, weighting, "epsilon").weighs

    assert TimestepSampler.speed(linear).weighs == "mse"
    assert weighs("uniform", "min_snr") == weighs("laplace") == "mse"
    for sampling in ("loss_second_moment", "adaptive"):
        assert weighs(sampling) == "loss"
        assert weighs(speediff.sampling.Mixture(sampling, "uniform", 0.5)) == "loss"
    for weighting in (Importance(), MinSNR() * Importance()):
        assert weighs("uniform", weighting) == "loss"


def test_a_weight_that_the_loss_has_already_is_divided_out(linear: NoiseSchedule) -> None:
    snr = linear.snr
    for prediction, built_in in {
        "epsilon": np.minimum(snr, 5) / snr,
        "sample": np.minimum(snr, 5),
        "v": np.minimum(snr, 5) / (snr + 1),
    }.items():
        alone = TimestepSampler(linear, "uniform", "change_aware", prediction).weights
        divided = TimestepSampler(linear, "uniform", ChangeAware() / MinSNR(), prediction).weights
        np.testing.assert_allclose(divided * built_in, alone, rtol=1e-14)


def test_what_has_no_reciprocal_is_an_error(linear: NoiseSchedule) -> None:
    for weighting in (Uncertainty(), Importance(), MinSNR() * speediff.weighting.ToEmphasis()):
        with pytest.raises(ValueError, match="of must not depend on P or losses"):
            Reciprocal(weighting)
    with pytest.raises(TypeError, match="of must be a weighting, got 'min_snr'"):
        Reciprocal("min_snr")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must give finite values of at least 0, got inf for index 999"):
        TimestepSampler(linear, "uniform", Uniform() / ChangeAware(1.0))
    assert SigmaSampler.edm(weighting=EDM() / EDM()).sample(3)[1].tolist() == pytest.approx([1] * 3)


def test_losses_of_another_device_or_type_are_an_error(linear: NoiseSchedule) -> None:
    sampler = TimestepSampler(linear, "adaptive")
    t, _ = sampler.sample(4)
    losses = torch.ones(4)
    for wrong, message in {
        losses.to("meta"): "losses must be on the device of t",
        losses.long(): "losses a floating point one, got torch.int64, torch.int64",
        losses / 0 * 0: "losses.*finite",
        losses[:3]: "losses must have 4 entries, got 3",
    }.items():
        with pytest.raises((ValueError, TypeError), match=message):
            sampler.update(t, wrong)
    sampler.update(t, losses.to(torch.bfloat16))


def test_guided_diffusions_name_for_update_asks_only_those_who_learn(linear: NoiseSchedule) -> None:
    TimestepSampler.speed(linear).update_with_local_losses(torch.tensor([1]), torch.tensor([1.0]))
    learner, same = TimestepSampler(linear, "adaptive"), TimestepSampler(linear, "adaptive")
    t, _ = learner.sample(256)
    losses = t / 1000
    for _ in range(20):
        learner.update_with_local_losses(t, losses)
        same.update(t, losses)
    assert (learner.probabilities == same.probabilities).all()


class Denoiser(torch.nn.Module):
    """Halves what it sees, and notes how it was called."""

    def forward(self, x: Any, sigma: Any, labels: Any = None, augment_labels: Any = None) -> Any:
        self.seen = x, sigma, labels, augment_labels
        return x / 2


@pytest.mark.parametrize("process", ["edm", "vp", "ve"])
@pytest.mark.parametrize("warm_up", [None, 10])
def test_a_denoisers_loss_is_the_formula_of_its_process(process: str, warm_up: int | None) -> None:
    torch.manual_seed(0)  # Where the square is next to 0, its relative error may be any.
    images, labels = torch.randn(64, 1, 4, 4), torch.arange(64)
    loss_fn, net = DenoisingLoss(process, seed=7, warm_up=warm_up), Denoiser()
    torch.manual_seed(1)
    loss = loss_fn(net=net, images=images, labels=labels)
    torch.manual_seed(1)
    noise = torch.randn_like(images).double()
    sigma = SigmaSampler.fdm(seed=7, process=process).sample(64)[0].double().reshape(-1, 1, 1, 1)
    # training/loss.py of NVlabs/edm, and the bound of sail-sg/FDM's at its first step.
    weight = (sigma**2 + 0.25) / (0.5 * sigma) ** 2 if process == "edm" else 1 / sigma**2
    if warm_up:
        weight = weight.clamp(max=5)
    expected = weight * ((images + sigma * noise) / 2 - images) ** 2
    assert loss.shape == images.shape
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert loss.mean().item() == pytest.approx(expected.mean().item(), rel=1e-6)
    assert net.seen[1].shape == (64, 1, 1, 1)
    assert torch.equal(net.seen[2], labels)
    assert net.seen[3] is None


def test_noise_may_be_given() -> None:
    images, noise, net = torch.ones(4, 1, 2, 2), torch.randn(4, 1, 2, 2), Denoiser()
    loss_fn = DenoisingLoss()
    with pytest.raises(
        ValueError, match=r"noise must have the images' shape \(4, 1, 2, 2\), got \(4, 1, 2\)"
    ):
        loss_fn(net, images, noise=noise[..., 0])
    loss_fn(net, images, noise=noise)
    sigma = SigmaSampler.edm().sample(4)[0].reshape(4, 1, 1, 1)
    torch.testing.assert_close(net.seen[0], images + sigma * noise)


def test_an_augmentation_comes_before_the_noise() -> None:
    images, net = torch.ones(4, 1, 2, 2), Denoiser()
    loss = DenoisingLoss()(net, images, None, lambda x: (3 * x, torch.full((4, 9), 2.0)))
    assert net.seen[3].shape == (4, 9)
    assert loss.shape == images.shape
    sigma = SigmaSampler.edm().sample(4)[0]
    assert ((net.seen[0] - 3).abs().amax(dim=(1, 2, 3)) < 6 * sigma).all()


def test_a_denoisers_loss_goes_into_snapshots_and_continues() -> None:
    loss_fn, net = DenoisingLoss("vp", seed=3, warm_up=5, accumulation=2, sampling="laplace"), Denoiser()
    images = torch.zeros(8, 1, 2, 2)
    for _ in range(3):
        loss_fn(net, images)
    copies = [
        copy.deepcopy(loss_fn),
        pickle.loads(pickle.dumps(loss_fn)),
        DenoisingLoss("vp", warm_up=5, accumulation=2, sampling="laplace"),
    ]
    copies[2].load_state_dict(loss_fn.state_dict())
    expected = loss_fn.sampler.sample(8)
    for again in copies:
        assert again.sampler.step == 1
        for ours, theirs in zip(again.sampler.sample(8), expected, strict=True):
            assert torch.equal(ours, theirs)


def test_a_denoisers_loss_refuses_what_it_has_no_form_for() -> None:
    with pytest.raises(ValueError, match="process must be EDM, VP or VE for a denoiser's loss, got Flow"):
        DenoisingLoss(speediff.processes.Flow())
    with pytest.raises(ValueError, match="process must be"):
        DenoisingLoss("edn")


class Recorder(torch.nn.Module):
    """A network that returns what it gets."""

    def forward(self, x: Any, noise: Any, class_labels: Any = None) -> Any:
        self.seen = x, noise, class_labels
        return x


@pytest.mark.parametrize("momentum", [None, 2.0])
@pytest.mark.parametrize("process", ["edm", "vp", "ve"])
def test_preconditioning_is_that_of_the_papers(process: str, momentum: float | None) -> None:
    model, x = Recorder(), torch.randn(5, 2, 3, 3)
    net = Preconditioned(model, process, momentum=momentum)
    sigma = torch.tensor([0.03, 0.5, 1.0, 7.0, 50.0])
    denoised = net(x, sigma, torch.arange(5))
    s = sigma.double().numpy()
    scale = {"edm": (s**2 + 0.25) ** -0.5, "vp": (s**2 + 1) ** -0.5, "ve": np.ones(5)}[process]
    skip = {"edm": 0.25 / (s**2 + 0.25), "vp": np.ones(5), "ve": np.ones(5)}[process]
    out = {"edm": 0.5 * s * (s**2 + 0.25) ** -0.5, "vp": -s, "ve": s}[process]
    t = (np.sqrt(0.01 + 2 * 19.9 * np.log1p(s**2)) - 0.1) / 19.9
    noise = {"edm": np.log(s) / 4, "vp": 999 * t, "ve": np.log(s / 2)}[process]
    if momentum:
        sampler = speediff.SigmaSampler.fdm(process=process)
        scale = sampler.fdm_input_scale(s, multiplier=momentum)
    scales = np.broadcast_to(scale[:, None, None, None], x.shape)
    np.testing.assert_allclose(model.seen[0] / x, scales, rtol=2e-5)
    np.testing.assert_allclose(model.seen[1], noise, rtol=2e-5)
    assert torch.equal(model.seen[2], torch.arange(5))
    factor = skip + out * scale
    np.testing.assert_allclose(
        denoised, factor[:, None, None, None] * x.double().numpy(), rtol=1e-4, atol=1e-6
    )
    assert torch.equal(net(x, sigma.reshape(5, 1, 1, 1)), denoised)
    assert net(x, torch.tensor(0.5)).shape == x.shape


def test_preconditioning_takes_a_network_of_diffusers_and_its_data() -> None:
    diffusers = pytest.importorskip("diffusers")
    model = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8,), norm_num_groups=4,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), num_class_embeds=3,
    )  # fmt: skip
    net = Preconditioned(model, speediff.processes.EDM(sigma_data=1.0))
    x, sigma = torch.randn(2, 1, 8, 8), torch.tensor([0.5, 2.0])
    denoised = net(x, sigma, torch.tensor([0, 2]))
    assert denoised.shape == x.shape
    total = (sigma**2 + 1).reshape(-1, 1, 1, 1)
    inner = model(x / total.sqrt(), sigma.log() / 4, torch.tensor([0, 2])).sample
    expected = x / total + sigma.reshape(-1, 1, 1, 1) / total.sqrt() * inner
    torch.testing.assert_close(denoised, expected)


def test_preconditioning_refuses_what_it_has_no_form_for() -> None:
    with pytest.raises(ValueError, match="process must be EDM, VP or VE"):
        Preconditioned(Recorder(), speediff.processes.Flow())
    with pytest.raises(ValueError, match="momentum must be finite and above 0, got 0"):
        Preconditioned(Recorder(), momentum=0)
    with pytest.raises(
        TypeError, match=r"process must be 'edm', 'vp', 've' or an object of speediff.processes, got 3"
    ):
        Preconditioned(Recorder(), 3)  # type: ignore[arg-type]
