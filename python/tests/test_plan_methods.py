"""`speediff plan` for any method: what a text stands for, the flags of schedules, and the emphasis."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import reference

import speediff
from speediff._methods.method_text import MethodReader
from speediff.cli import main
from speediff.plan import make_plan
from speediff.sampling import Asymmetric, Blend, Laplace, Mixture, Shifted, Stages, Table, Truncated, Uniform
from speediff.weighting import P2, ChangeAware, MinSNR, ToEmphasis, Uncertainty

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from speediff import TimestepSampler

LINEAR = speediff.NoiseSchedule.linear(1000)
SHARED = ("uniform", "cosmap")


def read(text: str, **options: Any) -> TimestepSampler:
    reader = MethodReader(speediff.TimestepSampler, LINEAR, name="--method", prediction="v", **options)
    return reader.sampler(text)


def made(sampling: Any, weighting: Any) -> TimestepSampler:
    return speediff.TimestepSampler(LINEAR, sampling, weighting, "v")


def assert_equal(first: TimestepSampler, second: TimestepSampler) -> None:
    assert first.recipe == second.recipe or first.recipe.describe() == second.recipe.describe()
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    np.testing.assert_array_equal(first.weights, second.weights)


# ---- Texts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [m for m in speediff.methods() if m.cls], ids=str)
def test_every_name_stands_for_its_method_with_the_other_one_uniform(method: Any) -> None:
    pair = (method.name, "uniform") if method.kind == "sampling" else ("uniform", method.name)
    assert_equal(read("+".join(pair)), made(*pair))
    # A table alone is drawn from.
    if method.name not in SHARED and (method.kind, method.name) != ("weighting", "table"):
        assert_equal(read(method.name), made(*pair))


TEXTS: list[tuple[str, Any, Any]] = [
    ("uniform", "uniform", "uniform"),
    ("laplace(scale=1, mean=-.5)", Laplace(-0.5, 1), "uniform"),
    ("laplace(scale=1)+min_snr(gamma=3)", Laplace(scale=1), MinSNR(3)),
    ("min_snr * p2(k=2)*uncertainty", "uniform", MinSNR() * P2(2) * Uncertainty()),
    ("laplace+min_snr*p2", "laplace", MinSNR() * P2()),
    ("shifted(base=laplace(scale=2),shift=2)", Shifted(Laplace(scale=2), 2), "uniform"),
    ("mixture(a=laplace,b=blend(end_step=10))", Mixture("laplace", Blend(end_step=10)), "uniform"),
    ("truncated(end=None)", "truncated", "uniform"),
    ("table(0:0.2, 0.3:1, 1:0.1)", Table([(0, 0.2), (0.3, 1), (1, 0.1)]), "uniform"),
    ("table(-5:1,5:2,over=log_snr)+table(0:1,1:2)", Table({-5: 1, 5: 2}, "log_snr"),
     speediff.weighting.Table({0: 1, 1: 2})),
    ("uniform+table(0:1, 1:5)*p2", "uniform", speediff.weighting.Table({0: 1, 1: 5}) * P2()),
    ("stages(0:laplace(scale=2), 9:mixture(a=beta))", Stages([(0, Laplace(scale=2)), (9, Mixture("beta"))]),
     "uniform"),
    ("truncated(base=stages(0:beta, 1:table(0:1, 1:0)))",
     Truncated(Stages([(0, "beta"), (1, Table({0: 1, 1: 0}))])), "uniform"),
    ("laplace+to_emphasis(of=min_snr)", "laplace", ToEmphasis(of=made("uniform", "min_snr"))),
    ("laplace+to_emphasis(of=laplace+p2)", "laplace", ToEmphasis(of=made("laplace", "p2"))),
    ("beta+to_emphasis(of=None)", "beta", ToEmphasis()),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sampling", "weighting"), TEXTS, ids=[text for text, *_ in TEXTS])
def test_a_text_is_the_python_that_makes_the_method(text: str, sampling: Any, weighting: Any) -> None:
    assert_equal(read(text), made(sampling, weighting))


def test_the_presets_take_their_own_parameters_before_the_flags() -> None:
    flags = {"k": 3.0, "tau": 500}
    paper = speediff.TimestepSampler.speed
    assert_equal(read("speed", preset_parameters=flags), paper(LINEAR, 3, tau=500, prediction="v"))
    assert_equal(read("speed(k=2)", preset_parameters=flags), paper(LINEAR, 2, tau=500, prediction="v"))
    assert_equal(read("speed(r=10)", preset_parameters=flags), paper(LINEAR, 3, r=10, prediction="v"))
    official = speediff.TimestepSampler.speed(LINEAR, lam=0.7, preset="official", prediction="v")
    assert_equal(read("official(lam=0.7)"), official)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "cosmap",
            "cosmap is a sampling and a weighting: write cosmap+uniform to draw by it, or uniform+cosmap",
        ),
        ("bs", "bs is not implemented: no published formula"),
        ("learned+p2", "learned is not implemented: needs a second network"),
        ("laplac", "got 'laplac'; did you mean 'laplace'?"),
        ("laplace+min_snrr", "a weighting must be one of"),
        ("min_snr+laplace", "min_snr is not a sampling; write sampling+weighting, such as laplace+min_snr"),
        ("laplace+beta", "beta is not a weighting; write sampling+weighting, such as laplace+min_snr"),
        ("laplace*min_snr", "laplace is not a weighting"),
        ("speed+p2", "speed is a sampling with its own weighting and cannot be combined"),
        ("laplace(scal=1)", "a parameter of laplace must be one of mean, scale, got 'scal'; did you mean"),
        ("cosmap(k=1)+uniform", "cosmap has no parameters, got k"),
        ("speed(gamma=1)", "a parameter of speed must be one of k, lam, r, tau, got 'gamma'"),
        ("laplace(1)", "must be name or name(parameter=value, ...), got laplace(1)"),
        ("laplace(scale=1,scale=2)", "must be name or name(parameter=value, ...)"),
        ("laplace(**p2)", "must be name or name(parameter=value, ...)"),
        ("laplace/2", "must be name or name(parameter=value, ...), got laplace / 2"),
        ("laplace+", "must be like laplace"),
        ("", "must be like laplace"),
        ("laplace(scale=p2)", "scale must be a number, got p2"),
        ("laplace(scale=-p2)", "scale must be a number, got -p2"),
        ("laplace(scale=0)", "scale must be finite and above 0, got 0.0"),
        ("laplace(scale='1')", "scale must be a real number, got '1'"),
        ("shifted(base=p2)", "p2 is not a sampling"),
        ("laplace(0:1)", "laplace takes no pairs, got laplace(0:1)"),
        ("table(0:p2, 1:1)", "values must be a number, got p2"),
        ("table(0:1, 1)", "must be name or name(parameter=value, ...), got table(0:1, 1)"),
        ("table(0:1, 0:1)", "knots[1] must be above the knot before it"),
        ("table(0.5:1)", "knots must be at least 2, got 1"),
        ("table(values=p2)", "values must be pairs such as 0:1, or numbers in parentheses, got p2"),
        ("table(over=t)", "over must be one of log_snr, u, got 't'"),
        ("table(file=5)", "file must be a path in quotes, got 5"),
        ("table(file='/no/such/file')", "file must be a text file of numbers, got /no/such/file"),
        ("stages(0:p2)", "p2 is not a sampling"),
        ("stages(1:beta)", "start_steps[0] must be 0, where training starts, got 1"),
        ("stages(0.5:beta)", "stages[0][0] must be an integer, got 0.5"),
        ("uniform+to_emphasis(of=1)", "of must be a sampler or None, got 1"),
        ("laplace.scale", "must be name or name(parameter=value, ...)"),
        ("[].__class__", "must be name or name(parameter=value, ...)"),
        ("uniform+" + "*".join(["p2"] * 5000), "must be nested less deeply"),
        ("shifted(base=" * 300 + "laplace" + ")" * 300, "must"),
    ],
)
def test_a_wrong_text_is_told(text: str, message: str) -> None:
    with pytest.raises(speediff.SpeeDiffError) as error:
        read(text)
    assert message in str(error.value)
    assert str(error.value).startswith("--method ")


@pytest.mark.parametrize("text", ["speed(k=2)", "official(lam=0.7)", "laplace+min_snr", "p2", "beta"])
def test_from_text_makes_the_sampler_of_the_text(text: str) -> None:
    sampler = speediff.TimestepSampler.from_text(LINEAR, text, 3, prediction="v", accumulation=2)
    expected = read(text, seed=3, accumulation=2)
    assert_equal(sampler, expected)
    for drawn, wanted in zip(sampler.sample(64), expected.sample(64), strict=True):
        np.testing.assert_array_equal(drawn, wanted)


@pytest.mark.parametrize(
    ("text", "sampling", "weighting"),
    [
        ("laplace(scale=1)", Laplace(scale=1), None),
        ("min_snr*p2(k=2)", None, MinSNR() * P2(2)),
        ("laplace+min_snr", Laplace(), MinSNR()),
        ("uniform", Uniform(), None),
        ("speed", Asymmetric(), ChangeAware()),
        ("speed(k=2, lam=0.7, tau=600)", Asymmetric(2, 600), ChangeAware(0.7)),
    ],
)
def test_parse_method_gives_what_the_text_names(text: str, sampling: Any, weighting: Any) -> None:
    assert speediff.parse_method(text) == (sampling, weighting)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("official", "method official: its draws come in pairs"),
        ("uniform+to_emphasis(of=laplace)", "needs a noise schedule: use TimestepSampler.from_text"),
        ("speed(gamma=1)", "method speed(gamma=1): a parameter of speed must be one of k, lam, r, tau"),
        ("laplac", "method laplac: a method must be one of"),
        (b"laplace", "method must be a text such as 'laplace+min_snr', got b'laplace'"),
    ],
)
def test_parse_method_says_what_it_cannot_give(text: Any, message: str) -> None:
    with pytest.raises(speediff.SpeeDiffError) as error:
        speediff.parse_method(text)
    assert message in str(error.value)


# ---- Flags ---------------------------------------------------------------------------------------


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command, and gives what it prints: on stderr if it fails."""

    def run(*arguments: str, code: int = 0) -> str:
        assert main(["plan", *arguments]) == code
        out, err = capsys.readouterr()
        assert (err == "") == (code == 0)
        return out or err

    return run


NAMED = speediff.NoiseSchedule
SCHEDULES: list[tuple[str, speediff.NoiseSchedule, str]] = [
    ("--schedule sigmoid --beta-end 0.03", NAMED.sigmoid(1000, beta_end=0.03), "sigmoid"),
    ("--schedule warmup --fraction 0.5", NAMED.warmup(1000, 0.5), "warmup"),
    ("--schedule jsd --steps 90 --method p2", NAMED.jsd(90), "jsd"),
    ("--zero-terminal-snr", LINEAR.zero_terminal_snr(), "linear, zero terminal SNR"),
    ("--respacing ddim250", LINEAR.respaced("ddim250"), "linear, respaced to ddim250"),
    (
        "--schedule cosine --respacing 20,30 --zero-terminal-snr",
        NAMED.cosine(1000).zero_terminal_snr().respaced("20,30"),
        "cosine, zero terminal SNR, respaced to 20,30",
    ),
]


@pytest.mark.parametrize(("flags", "schedule", "label"), SCHEDULES, ids=[flags for flags, *_ in SCHEDULES])
def test_flags_make_the_schedule(
    run: Callable[..., str], flags: str, schedule: speediff.NoiseSchedule, label: str
) -> None:
    process = json.loads(run("--json", "--prediction", "v", *flags.split()))["process"]
    assert process["schedule"] == label
    assert process["alphas_cumprod"] == schedule.alphas_cumprod.tolist()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--fraction 0.2", "--fraction does not apply to the linear schedule"),
        (
            "--respacing 2000",
            "--respacing 2000: spec must have counts of at least 1 that sum to at most 1000",
        ),
        (
            "--respacing ddim7,8",
            "--respacing ddim7,8: spec must be like '250', '10,20,30' or 'ddim50', got 'ddim7,8'",
        ),
        ("--prediction eps", "--prediction must be one of epsilon, flow, sample, v, got 'eps'"),
        ("--method laplace --at-step 5", "--at-step does not apply to the method laplace"),
        ("--method clts --at-step -1", "--at-step must be at least 0, got -1"),
        ("--method speed(k=2) --k 3", "--k does not apply to the method speed(k=2)"),
        ("--zero-terminal-snr --method debiased", "--method debiased: weighting debiased must have a finite"),
    ],
)
def test_a_wrong_flag_is_one_line(run: Callable[..., str], flags: str, message: str) -> None:
    err = run(*flags.split(), code=2)
    assert err.startswith("speediff: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_blend_is_shown_at_the_step_that_is_asked_for(run: Callable[..., str]) -> None:
    out = run("--json", "--at-step", "250", "--method", "blend(end_step=1000)", "--method", "laplace")
    blend, laplace = json.loads(out)["methods"]
    expected = 0.75 * np.array(laplace["probabilities"]) + 0.25 / 1000
    np.testing.assert_allclose(blend["probabilities"], expected, rtol=1e-13)
    assert (blend["step"], blend["changes"], laplace["changes"]) == (250, True, False)
    pytest.importorskip("rich")
    assert "this is step 7 (--at-step)" in run("--at-step", "7", "--method", "mixture(a=clts)")


def test_a_table_is_drawn_by_its_text_and_from_a_file(run: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text("0 0.2\n0.3 1\n1 0.1\n")
    texts = [
        "table(0:0.2, 0.3:1, 1:0.1)",
        f"table(file='{path}')",
        "stages(0:beta, 9:table(0:0.2, 0.3:1, 1:0.1))",
    ]
    flags = [flag for text in texts for flag in ("--method", text)]
    expected = made(Table([(0, 0.2), (0.3, 1), (1, 0.1)]), "uniform").probabilities.tolist()
    methods = json.loads(run("--json", "--at-step", "9", *flags))["methods"]
    assert [method["probabilities"] for method in methods] == [expected] * 3
    assert [method["changes"] for method in methods] == [False, False, True]
    pytest.importorskip("rich")
    shown = " ".join(run("--method", texts[0], "--method", texts[2]).split())
    assert "table(0:0.2, 0.3:1, 1:0.1, over=u), uniform" in shown
    assert "stages(0:beta(alpha=0.8, beta=1), 9:table(0:0.2, 0.3:1, 1:0.1, over=u)), uniform" in shown


def test_the_prediction_is_epsilon_unless_told_otherwise(run: Callable[..., str]) -> None:
    for flags, prediction in ((), "epsilon"), (("--prediction", "flow"), "flow"):
        (method,) = json.loads(run("--json", "--method", "min_snr", *flags))["methods"]
        sampler = speediff.TimestepSampler(LINEAR, weighting="min_snr", prediction=prediction)
        assert method["prediction"] == prediction
        assert method["weights"] == sampler.weights.tolist()
        log_snr, emphasis = sampler.emphasis()
        assert (method["log_snr"], method["emphasis"]) == (log_snr.tolist(), emphasis.tolist())


def test_the_table_stays_within_80_columns_and_says_what_is_shown(run: Callable[..., str]) -> None:
    pytest.importorskip("rich")
    long = "shifted(base=mixture(a=laplace(scale=1),b=log_normal),shift=3)+min_snr(gamma=5)*p2*uncertainty"
    out = run("--method", long, "--method", "adaptive", "--prediction", "v")
    assert max(map(len, out.splitlines())) <= 80
    assert out.count("learns from losses: this is the start of training") == 2
    assert "weights for the v loss; on the ε loss the areas get" in out


# ---- Emphasis ------------------------------------------------------------------------------------


def plan_of(sampler: TimestepSampler, **settings: Any) -> Any:
    return make_plan(sampler.schedule, {"a": sampler}, **settings)


@pytest.mark.parametrize(("mean", "scale"), [(0.0, 0.5), (1.5, 0.3), (-2.0, 1.0)])
def test_the_quartiles_are_those_of_the_density_that_is_drawn(mean: float, scale: float) -> None:
    fine = speediff.NoiseSchedule.linear(100_000)
    method = plan_of(speediff.TimestepSampler(fine, Laplace(mean, scale))).methods[0]
    quartile = scale * math.log(2)
    expected = [mean - quartile, mean, mean + quartile]
    assert method.log_snr_quartiles == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v", "flow"])
def test_the_areas_share_the_objective_as_one_of_epsilon(prediction: str) -> None:
    schedule = LINEAR.zero_terminal_snr()
    plan = plan_of(speediff.TimestepSampler(schedule, "beta", P2(), prediction))
    snr = schedule.snr[:-1]
    masses = speediff.TimestepSampler(schedule, "beta").probabilities[:-1] / (1 + snr)
    masses /= masses.sum()
    for area, share in zip(plan.process.areas, plan.methods[0].areas, strict=True):
        assert share.emphasis == pytest.approx(masses[area.entries].sum(), rel=1e-9)


@pytest.mark.parametrize("batch", [2, 7, 256])
def test_the_official_presets_emphasis_is_that_of_what_it_draws(batch: int) -> None:
    method = plan_of(speediff.TimestepSampler.speed(LINEAR, preset="official"), batch=batch).methods[0]
    bar = np.cumprod(1 - reference.linear_betas(1000))
    p = np.array(reference.asymmetric(1000, 5, 700), float)
    w = reference.change_aware(bar, 0.6)
    w[700:] = 1
    masses = reference.official_marginal(p, reference.dual_center(bar), batch) * w
    widths = -np.gradient(np.log(bar / (1 - bar)))
    np.testing.assert_allclose(method.emphasis, masses / masses.sum() / widths, rtol=1e-9)


def test_a_method_without_emphasis_has_a_plan_all_the_same(run: Callable[..., str]) -> None:
    flags = ("--schedule", "jsd", "--steps", "50", "--prediction", "v", "--method", "truncated(start=49)")
    (method,) = json.loads(run("--json", *flags))["methods"]
    assert method["emphasis"] is method["log_snr_quartiles"] is method["areas"][0]["emphasis"] is None
    shortest = speediff.NoiseSchedule.from_alphas_cumprod([0.5, 0.0])
    plan = plan_of(speediff.TimestepSampler(shortest, Uniform()))
    assert plan.process.uniform_emphasis is plan.methods[0].emphasis is None
    pytest.importorskip("rich")
    assert "no emphasis" in run(*flags)
