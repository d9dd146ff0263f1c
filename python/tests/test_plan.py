"""`speediff plan`: the plan against the published definitions, then what is printed and drawn of it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import reference

import speediff
from speediff._support import extras
from speediff.cli import main
from speediff.plan import Plan, make_plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALPHAS_CUMPROD = np.cumprod(1 - reference.linear_betas(1000))


def plan_of(schedule: speediff.NoiseSchedule, preset: str | None = None, **settings: Any) -> Plan:
    """The plan of one preset of SpeeD, or of uniform sampling; `settings` go where they are known."""
    areas = {key: settings.pop(key) for key in ("r", "tau", "batch") if key in settings}
    if preset is None:
        sampler = speediff.TimestepSampler(schedule, **settings)
    else:
        tau_or_r = {key: areas[key] for key in ("r", "tau") if key in areas}
        sampler = speediff.TimestepSampler.speed(schedule, preset=preset, **tau_or_r, **settings)
    return make_plan(schedule, {preset or "uniform": sampler}, **areas)


def spans(plan: Plan) -> list[tuple[int, int]]:
    return [(area.first, area.last) for area in plan.process.areas]


# ---- The areas -----------------------------------------------------------------------------------


def test_the_areas_of_the_papers_schedule(linear: speediff.NoiseSchedule) -> None:
    plan = plan_of(linear)
    assert spans(plan) == [(1, 220), (221, 700), (701, 1000)]
    assert [area.steps for area in plan.process.areas] == [220, 480, 300]
    assert [area.share for area in plan.process.areas] == [0.22, 0.48, 0.3]
    closed = reference.LinearClosedForms.of(reference.linear_betas(1000))
    assert plan.process.closed_form is not None
    assert plan.process.closed_form.acceleration_end == pytest.approx(closed.acceleration_end())
    assert plan.process.closed_form.convergence_start == pytest.approx(closed.convergence_start(143.5))


def test_tau_and_r_move_the_convergence_area(linear: speediff.NoiseSchedule) -> None:
    assert spans(plan_of(linear, r=10.0)) == [(1, 220), (221, 476), (477, 1000)]
    given = plan_of(linear, tau=500)
    assert spans(given) == [(1, 220), (221, 500), (501, 1000)]
    assert given.process.r is None
    assert given.process.closed_form is not None
    assert given.process.closed_form.convergence_start is None


def test_convergence_before_the_peak_leaves_no_deceleration(linear: speediff.NoiseSchedule) -> None:
    assert spans(plan_of(linear, tau=100)) == [(1, 100), (101, 100), (101, 1000)]
    share = plan_of(linear, "paper", tau=100).methods[0].areas[1]
    assert (share.drawn, share.objective) == (0, 0)
    assert share.drawn_ratio is share.mean_weight is share.objective_ratio is None


def test_no_convergence_area_where_no_step_qualifies() -> None:
    plan = plan_of(speediff.NoiseSchedule.scaled_linear(900))
    assert plan.process.convergence_start is None
    assert spans(plan)[1:] == [(306, 900), (901, 900)]
    assert plan.process.closed_form is None


def test_a_last_step_that_alone_qualifies_has_no_step_beyond() -> None:
    zero_terminal = speediff.NoiseSchedule.from_betas(reference.jsd_betas(100))
    plan = plan_of(zero_terminal)
    assert plan.process.convergence_start == 100
    assert plan.process.areas[2].steps == 0


# ---- The shares ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", reference.BETAS)
@pytest.mark.parametrize(("k", "lam"), [(5.0, 0.6), (2.0, 0.9)])
def test_the_papers_shares_follow_its_definitions(name: str, k: float, lam: float) -> None:
    betas = reference.BETAS[name](1000)
    alphas_cumprod = np.cumprod(1 - betas)
    plan = plan_of(speediff.NoiseSchedule.from_betas(betas), "paper", k=k, lam=lam)
    tau = reference.convergence_start(alphas_cumprod, 143.5)
    p = np.array(reference.asymmetric(1000, k, tau), float)
    w = reference.change_aware(alphas_cumprod, lam)
    peak = int(np.argmax(reference.rate(alphas_cumprod))) + 1
    method = plan.methods[0]
    assert (method.tau, method.acting_k) == (tau, pytest.approx(k))
    assert method.expected_weight == pytest.approx(float(p @ w))
    for area, part in zip(method.areas, (slice(0, peak), slice(peak, tau), slice(tau, 1000)), strict=True):
        steps = len(p[part]) / 1000
        assert area.nominal == area.drawn == pytest.approx(p[part].sum())
        assert area.drawn_ratio == pytest.approx(p[part].sum() / steps)
        assert area.mean_weight == pytest.approx((p * w)[part].sum() / p[part].sum())
        assert area.objective == pytest.approx((p * w)[part].sum() / (p @ w))
        assert area.objective_ratio == pytest.approx(area.objective / steps)


def test_the_papers_numbers(linear: speediff.NoiseSchedule) -> None:
    method = plan_of(linear, "paper").methods[0]
    assert method.areas[2].drawn == pytest.approx(0.078947, abs=5e-7)
    assert method.expected_weight == pytest.approx(0.4965, abs=5e-5)


def test_uniform_training_gives_each_area_its_share_of_steps(linear: speediff.NoiseSchedule) -> None:
    plan = plan_of(linear)
    for area, share in zip(plan.process.areas, plan.methods[0].areas, strict=True):
        assert share.drawn == pytest.approx(area.share)
        assert (share.drawn_ratio, share.mean_weight, share.objective_ratio) == pytest.approx((1, 1, 1))


@pytest.mark.parametrize(("batch", "acting"), [(1, 5.0), (2, 5.0), (8, 8.3), (32, 9.8), (256, 10.3)])
def test_the_official_preset_is_described_by_what_it_draws(
    linear: speediff.NoiseSchedule, batch: int, acting: float
) -> None:
    method = plan_of(linear, "official", batch=batch).methods[0]
    p = np.array(reference.asymmetric(1000, 5, 700), float)
    drawn = reference.official_marginal(p, reference.dual_center(ALPHAS_CUMPROD), batch)
    w = reference.change_aware(ALPHAS_CUMPROD, 0.6)
    w[700:] = 1
    np.testing.assert_allclose(method.marginal, drawn, rtol=1e-12)
    assert method.has_marginal == (batch > 2)
    assert method.acting_k == pytest.approx(acting, abs=0.05)
    assert method.expected_weight == pytest.approx(float(drawn @ w))
    assert method.nominal_expected_weight == pytest.approx(float(p @ w))
    assert method.areas[2].drawn == pytest.approx(drawn[700:].sum())
    assert method.areas[2].nominal == pytest.approx(p[700:].sum())


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_normalized_weights_have_mean_one_under_what_is_drawn(
    linear: speediff.NoiseSchedule, preset: str
) -> None:
    raw = plan_of(linear, preset, batch=8).methods[0]
    method = plan_of(linear, preset, batch=8, normalize=True).methods[0]
    assert float(method.marginal @ method.weights) == pytest.approx(1)
    np.testing.assert_allclose(method.weights, raw.weights / raw.expected_weight)
    assert method.expected_weight == raw.expected_weight
    sampler = speediff.TimestepSampler.speed(linear, preset=preset, normalize=True)
    t, w = sampler.sample(8)
    np.testing.assert_allclose(w, method.weights[t], rtol=1e-6)


def test_a_sampler_over_another_schedule_is_an_error(linear: speediff.NoiseSchedule) -> None:
    sampler = speediff.TimestepSampler(speediff.NoiseSchedule.cosine(1000))
    with pytest.raises(speediff.SpeeDiffValueError, match=r"samplers\['a'\] must be over"):
        make_plan(linear, {"a": sampler})


# ---- The command line ----------------------------------------------------------------------------


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Runs a command that succeeds, and gives what it prints."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def run(command: str) -> str:
        assert main(command.split()) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


COMMANDS = [
    "plan",
    "plan --schedule cosine --method official --method speed --method uniform --normalize",
    "plan --schedule linear --steps 99999 --method official",
    "plan --schedule scaled_linear --steps 900 --method uniform",
    "plan --schedule constant --beta-end 0.01 --steps 700 --r 1.5 --k 2 --lam 0.5",
    "plan --steps 21 --tau 3",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_table_fits_80_columns_without_color_codes(run: Callable[[str], str], command: str) -> None:
    pytest.importorskip("rich")
    out = run(command)
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out
    assert "…" not in out


def test_the_table_holds_the_plan(run: Callable[[str], str]) -> None:
    pytest.importorskip("rich")
    lines = [line.split() for line in run("plan").splitlines()]
    assert ["convergence", "701–1000", "300", "30.0", "7.9", "0.26×", "0.4016", "6.4", "0.21×"] in lines
    assert ["all", "1–1000", "1000", "100.0", "100.0", "0.4965", "100.0"] in lines
    out = run("plan --schedule scaled_linear --steps 900 --method uniform")
    assert "1/ᾱ stays below r: no convergence area" in out


def test_json_holds_every_table(run: Callable[[str], str]) -> None:
    data = json.loads(run("plan --json --method speed --method uniform --k 3 --lam 0.7"))
    assert data["speediff"] == speediff.__version__
    assert data["process"]["alphas_cumprod"] == pytest.approx(ALPHAS_CUMPROD.tolist())
    speed, uniform = data["methods"]
    assert speed["probabilities"] == pytest.approx([float(p) for p in reference.asymmetric(1000, 3, 700)])
    assert speed["weights"] == pytest.approx(reference.change_aware(ALPHAS_CUMPROD, 0.7).tolist())
    assert (uniform["name"], uniform["probabilities"]) == ("uniform", [0.001] * 1000)


@pytest.mark.parametrize("dtype", ["f8", "f4", ">f8"])
def test_json_has_null_where_the_magnitude_is_infinite(
    run: Callable[[str], str], tmp_path: Path, dtype: str
) -> None:
    table = np.append(np.linspace(0.99, 0.1, 99) ** 2, 0).astype(dtype)
    np.save(tmp_path / "table.npy", table)

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    out = run(f"plan --alphas-cumprod {tmp_path / 'table.npy'} --r 20 --json")
    data = json.loads(out, parse_constant=refuse)
    assert data["process"]["magnitude"][-2:] == [pytest.approx(100), None]
    assert data["process"]["alphas_cumprod"] == table.tolist()
    assert data["process"]["schedule"] == "table.npy"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "plam",
            "must be one of classifier, compare, evaluate, generate, methods, plan, train, got 'plam'; "
            "did you mean 'plan'?",
        ),
        ("plan --method sped", "a method must be one of adaptive, asymmetric, "),
        ("plan --schedule cosin", "got 'cosin'; did you mean 'cosine'?"),
        ("plan --steps many", "argument --steps: invalid int value: 'many'"),
        ("plan --steps 20", "steps must be above 1000·max("),
        ("plan --k 0.5", "k must be at least 1, got 0.5"),
        ("plan --tau 700 --r 143.5", "tau must not be given together with r"),
        ("plan --tau 1000 --method uniform", "tau must be below the number of steps (1000), got 1000"),
        ("plan --r 1 --method uniform", "r must be finite and above 1, got 1.0"),
        ("plan --r 1e9", "choose a smaller r, or give tau"),
        ("plan --batch 0", "batch must be in [1, 2147483648], got 0"),
        ("plan --method uniform --k 2", "--k does not apply to the method uniform"),
        ("plan --schedule cosine --beta-end 0.1", "--beta-end does not apply to the cosine schedule"),
        ("plan --betas table.npy --steps 100", "--steps must not be given together with --betas"),
        ("plan --betas /nowhere/table.npy", "/nowhere/table.npy: No such file or directory"),
        (f"plan --betas {__file__}", "--betas must be an array that numpy.save wrote"),
        ("plan --plot plan.jpg", "a picture's name must end in .png, .svg, .pdf, got 'plan.jpg'"),
        ("plan --plot /nowhere/plan.png", "/nowhere/plan.png: No such file or directory"),
    ],
)
def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str], command: str, message: str) -> None:
    if "--plot" in command:
        pytest.importorskip("matplotlib")
    try:
        code: Any = main(command.split())
    except SystemExit as exit_:  # From argparse.
        code = exit_.code
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("speediff: ")
    assert message in err


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


RUN_WITHOUT = (
    "import sys; sys.modules[sys.argv[1]] = None; from speediff.cli import main; sys.exit(main(sys.argv[2:]))"
)


def test_without_rich_and_matplotlib_json_still_works() -> None:
    install = extras.command("speediff[cli]")
    table = python(RUN_WITHOUT, "rich", "plan")
    assert (table.returncode, table.stdout) == (2, "")
    assert f"{install}, or use --json" in table.stderr
    picture = python(RUN_WITHOUT, "matplotlib", "plan", "--json", "--plot", "plan.png")
    assert (picture.returncode, picture.stdout) == (2, "")
    assert "--plot needs matplotlib" in picture.stderr
    assert install in picture.stderr
    for module in ("rich", "matplotlib"):
        assert json.loads(python(RUN_WITHOUT, module, "plan", "--json").stdout)["process"]["steps"] == 1000


def test_python_m_speediff_is_the_command_line() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "speediff", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"speediff {speediff.__version__}\nlibrary {speediff.library_path()}\n"
