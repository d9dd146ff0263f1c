"""The oracle of MDT's training: what both passes minimize, and the law of the mask."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import torch
from reference_mdt_training import Pass, kept_count, kept_tokens, mdt_objective, min_snr
from reference_training import Process, losses
from scipy import stats
from statistics_helpers import UNLIKELY, chi_square_of_counts, permutation_chi_square
from tiny_mdt import KEPT, LABELS, TOKENS, VERSIONS, T, X, create

EPS = torch.randn(2, *X.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

# ---- The objective -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_every_parameter_has_a_gradient_and_some_from_the_masked_pass_alone(version: int) -> None:
    model, process = create(version), Process(reference.linear_betas(1000))
    full, masked = Pass(EPS[0], LABELS), Pass(EPS[1], LABELS.flip(0), KEPT)
    mdt_objective(model, process, "epsilon", X, T, (full, masked), torch.ones(4)).loss.backward()
    assert all(parameter.grad.any() for parameter in model.parameters())
    model.zero_grad()
    mdt_objective(model, process, "epsilon", X, T, (full, full), torch.ones(4)).loss.backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith(("mask_token", "sideblocks")), name


@pytest.mark.parametrize("gamma", [5.0, 0.5, None])
@pytest.mark.parametrize(("prediction", "power"), [("epsilon", 1), ("sample", 0)])
def test_the_objective_is_the_weighted_squares_of_both_passes_and_both_variational_terms(
    prediction: str, power: int, gamma: float | None
) -> None:
    """With Min-SNR's weight as the authors write it."""
    model, process, weights = create(2), Process(reference.linear_betas(1000)), torch.tensor([0.5, 1, 0, 3])
    passes = Pass(EPS[0], LABELS), Pass(EPS[1], LABELS.flip(0), KEPT)
    found = mdt_objective(model, process, prediction, X, T, passes, weights, gamma)
    snr = (process.signal / process.noise)[T] ** 2
    factors = torch.ones(4) if gamma is None else snr.clamp(max=gamma) / snr**power
    expected, squares = torch.zeros(4), torch.zeros(4)
    for eps, labels, kept in passes:
        output = model(process.noised(prediction, X, T, eps), T, labels, kept)
        terms = losses(process, prediction, output, X, T, eps)
        expected, squares = expected + weights * factors * terms.mse + terms.vb, squares + terms.mse
    torch.testing.assert_close(found.loss, expected.mean(), rtol=1e-12, atol=0)
    torch.testing.assert_close(found.mse, squares, rtol=1e-12, atol=0)


def test_min_snr_of_v_and_flow_makes_their_loss_that_of_epsilon() -> None:
    """An error e of the predicted x₀ at a signal a and a noise s is one of e·a/s of ε."""
    process, t = Process(reference.linear_betas(1000)), torch.arange(0, 1000, 37)
    a, s = process.signal[t], process.noise[t]
    of_epsilon = torch.from_numpy(min_snr(process, "epsilon", 5.0))[t] * (a / s) ** 2
    errors = {"sample": torch.ones(len(t)), "v": 1 / s, "flow": 1 + a / s}
    for prediction, error in errors.items():
        found = torch.from_numpy(min_snr(process, prediction, 5.0))[t]
        torch.testing.assert_close(found * error**2, of_epsilon, rtol=1e-9, atol=0)


# ---- The law of the mask -------------------------------------------------------------------------


def test_version_1_keeps_the_same_number_in_every_step() -> None:
    """As the authors' code does, down to 1 - 0.9 in float64, which is below 0.1."""
    for tokens, ratio, kept in ((16, 0.3, 11), (16, 0.0, 16), (16, 0.5, 8), (10, 0.9, 0), (16, 1.0, 0)):
        assert {kept_count(5, step, tokens, ratio, 1) for step in range(20)} == {kept}


def test_version_2_masks_up_to_a_fifth_more() -> None:
    """K of 16 tokens is the whole part of 11.2 - 3.2u."""
    counts = np.bincount([kept_count(7, step, TOKENS, 0.3, 2) for step in range(4000)], minlength=12)
    shares = np.array([0] * 8 + [1, 1, 1, 0.2]) / 3.2
    assert chi_square_of_counts(counts, shares) > UNLIKELY
    assert {kept_count(7, step, TOKENS, 0.95, 2) for step in range(50)} == {0}


def test_every_token_is_kept_as_often_as_any_other() -> None:
    """Without replacement: the counts of K of L tokens have (L-K)/(L-1) of a multinomial's variance."""
    entries, keep = 4000, 6
    kept = kept_tokens(11, 5, 0, entries, TOKENS, keep)
    assert (np.diff(np.sort(kept, axis=1), axis=1) > 0).all()
    counts, expected = np.bincount(kept.ravel(), minlength=TOKENS), entries * keep / TOKENS
    statistic = ((counts - expected) ** 2 / expected).sum() * (TOKENS - 1) / (TOKENS - keep)
    assert UNLIKELY < stats.chi2.sf(statistic, TOKENS - 1) < 1 - UNLIKELY


def test_the_order_of_the_tokens_is_a_random_permutation() -> None:
    assert permutation_chi_square(kept_tokens(12, 0, 0, 4000, TOKENS, TOKENS)) > UNLIKELY


@pytest.mark.parametrize("tokens", [1, 9, 16, 49])
def test_entries_have_masks_of_their_own_wherever_a_batch_begins(tokens: int) -> None:
    whole = kept_tokens(2**40 + 1, 8, 0, 12, tokens, tokens)
    assert (kept_tokens(2**40 + 1, 8, 5, 4, tokens, tokens) == whole[5:9]).all()
    assert (np.sort(whole, axis=1) == np.arange(tokens)).all()
    if tokens > 1:
        assert len(np.unique(whole, axis=0)) == 12
        assert (kept_tokens(2**40 + 1, 9, 0, 12, tokens, tokens) != whole).any()
        fewer = kept_tokens(2**40 + 1, 8, 0, 12, tokens, tokens - 1)
        assert (fewer == whole[:, :-1]).all()


def test_equal_words_are_in_the_order_of_their_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "words", lambda *_: np.array([5, 2, 5, 2, 1, 5, 0, 0], np.uint64))
    assert kept_tokens(0, 0, 0, 1, 6, 6).tolist() == [[4, 1, 3, 0, 2, 5]]
