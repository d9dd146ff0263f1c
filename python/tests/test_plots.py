"""The pictures of plans: what is drawn is what the tables hold."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

import speediff
from speediff.cli import main
from speediff.plan import Plan, make_plan

pytest.importorskip("matplotlib")

from speediff import plots

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

SCHEDULES = {
    "linear": speediff.NoiseSchedule.linear(1000),
    "cosine": speediff.NoiseSchedule.cosine(1000),
    "small": speediff.NoiseSchedule.linear(30),
    "no convergence": speediff.NoiseSchedule.scaled_linear(900),
    "zero terminal SNR": speediff.NoiseSchedule.from_alphas_cumprod(
        np.append(np.linspace(0.99, 0.1, 99) ** 2, 0)
    ),
}
METHODS = {
    "speed": lambda schedule: speediff.TimestepSampler.speed(schedule, tau=20),
    "official": lambda schedule: speediff.TimestepSampler.speed(schedule, tau=20, preset="official"),
    "uniform": speediff.TimestepSampler,
}


def plan_of(schedule: str, *methods: str) -> Plan:
    steps = SCHEDULES[schedule]
    return make_plan(steps, {name: METHODS[name](steps) for name in methods})


def lines(figure: Figure) -> dict[str, Line2D]:
    return {str(line.get_gid()): line for panel in figure.axes for line in panel.get_lines()}


def expected_lines(plan: Plan) -> dict[str, np.ndarray]:
    process = plan.process
    result = {"process.variance": process.variance / 2, "process.rate": process.rate / process.rate.max()}
    for method in plan.methods:
        result[f"{method.name}.probabilities"] = method.probabilities
        result[f"{method.name}.weights"] = method.weights
        if method.has_marginal:
            result[f"{method.name}.marginal"] = method.marginal
    return result


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    "methods", [("speed",), ("official",), ("uniform",), ("speed", "official", "uniform")]
)
def test_the_lines_are_the_tables_over_one_based_steps(schedule: str, methods: tuple[str, ...]) -> None:
    plan = plan_of(schedule, *methods)
    drawn = lines(plots.plan_figure(plan))
    for name, table in expected_lines(plan).items():
        np.testing.assert_array_equal(drawn[name].get_xdata(), np.arange(1, len(table) + 1), err_msg=name)
        np.testing.assert_array_equal(drawn[name].get_ydata(), table, err_msg=name)
    assert ("uniform" in drawn) == ("uniform" not in methods)
    if "uniform" in drawn:
        assert set(drawn["uniform"].get_ydata()) == {1 / plan.process.steps}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("methods", [("speed",), ("speed", "uniform")])
def test_the_shades_are_the_areas_in_every_panel(schedule: str, methods: tuple[str, ...]) -> None:
    plan = plan_of(schedule, *methods)
    figure = plots.plan_figure(plan)
    expected = {
        f"area.{area.name}": (area.first - 0.5, area.last + 0.5) for area in plan.process.areas if area.steps
    }
    *shaded, over_log_snr = [shades(panel.patches) for panel in figure.axes if panel.patches]
    assert shaded == [expected] * (1 + len(methods))
    assert figure.axes[0].get_xlim() == (0.5, plan.process.steps + 0.5)
    # Each λ lies in the shade of its own step's area, with noise to the right.
    for area in plan.process.areas:
        log_snr = SCHEDULES[schedule].log_snr[area.entries]
        log_snr = log_snr[np.isfinite(log_snr)]
        assert (f"area.{area.name}" in over_log_snr) == (len(log_snr) > 0)
        if len(log_snr):
            right, left = sorted(over_log_snr[f"area.{area.name}"])
            assert right <= log_snr.min() <= log_snr.max() <= left


def shades(patches: list[Patch]) -> dict[str, tuple[float, float]]:
    def ends(patch: Patch) -> tuple[float, float]:
        # A rectangle, or a polygon in Matplotlib before 3.9.
        x = patch.get_patch_transform().transform(patch.get_path().vertices)[:, 0]
        return x.min(), x.max()

    return {str(patch.get_gid()): ends(patch) for patch in patches}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("methods", [("speed",), ("official", "uniform")])
def test_every_curve_lies_inside_its_panel(schedule: str, methods: tuple[str, ...]) -> None:
    for panel in plots.plan_figure(plan_of(schedule, *methods)).axes:
        low, high = panel.get_ylim()
        for line in panel.get_lines():
            assert low <= np.min(line.get_ydata())
            assert np.max(line.get_ydata()) < high


def test_the_boundaries_are_named() -> None:
    panel = plots.plan_figure(plan_of("linear", "speed")).axes[0]
    assert {text.get_text() for text in panel.texts} == {
        "acceleration",
        "deceleration",
        "convergence",
        "$t_{ad}$ = 220",
        "$\\tau$ = 700",
    }


@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("PNG", b"\x89PNG")]
)
def test_the_ending_chooses_the_format_and_equal_plans_give_equal_files(
    tmp_path: Path, ending: str, start: bytes
) -> None:
    first, second = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    assert main(["plan", "--json", "--plot", str(first)]) == 0
    assert main(["plan", "--json", "--plot", str(second)]) == 0
    assert first.read_bytes().startswith(start)
    assert first.read_bytes() == second.read_bytes()


def test_a_name_with_mathematics_in_it_is_drawn_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a$\\frac_{$.npy"
    np.save(path, SCHEDULES["linear"].betas)
    assert main(["plan", "--json", "--betas", str(path), "--plot", str(tmp_path / "plan.svg")]) == 0


def test_no_global_figure_is_made(tmp_path: Path) -> None:
    code = (
        "import sys; from speediff.cli import main; main(sys.argv[1:]); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "plan", "--json", "--plot", str(tmp_path / "plan.png")]
    subprocess.run(command, capture_output=True, check=True)


def test_weights_over_orders_of_magnitude_have_a_logarithmic_axis() -> None:
    schedule = SCHEDULES["linear"]

    def scale(*names: str) -> str:
        samplers = {
            name: speediff.TimestepSampler(schedule, weighting=name, prediction="epsilon") for name in names
        }
        figure = plots.plan_figure(make_plan(schedule, samplers))
        (panel,) = [panel for panel in figure.axes if "weight" in panel.get_ylabel()]
        return str(panel.get_yscale())

    assert scale("change_aware") == scale("change_aware", "uniform") == "linear"
    assert scale("min_snr") == scale("change_aware", "edm") == "log"


def test_many_methods_all_look_different() -> None:
    schedule = SCHEDULES["small"]
    samplers = {f"p{i}": speediff.TimestepSampler(schedule) for i in range(12)}
    drawn = lines(plots.plan_figure(make_plan(schedule, samplers)))
    for part in ("probabilities", "weights", "emphasis"):
        looks = {(line.get_color(), line.get_linestyle()) for name, line in drawn.items() if part in name}
        assert len(looks) >= len(samplers)


@pytest.mark.parametrize("name", ["laplace(scale=1)+min_snr(gamma=5)*p2(k=2,gamma=1)", "a$_{$b"])
def test_long_and_strange_names_stay_inside_the_picture(name: str, tmp_path: Path) -> None:
    schedule = SCHEDULES["linear"]
    sampler = speediff.TimestepSampler(schedule, "laplace", "min_snr", "v")
    for count in (1, 3):
        plan = make_plan(schedule, {name + " " * i: sampler for i in range(count)})
        figure = plots.plan_figure(plan)
        figure.savefig(tmp_path / "plan.png")
        width = figure.get_window_extent().width
        for panel in figure.axes:
            legend = panel.get_legend()
            for part in (panel.title, *([legend] if legend else [])):
                box = part.get_window_extent()
                assert box.x0 >= 0
                assert box.x1 <= width


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("names", [["edm"], ["laplace", "min_snr", "speed"]])
def test_what_is_drawn_is_what_the_samplers_do(schedule: str, names: list[str]) -> None:
    # Bins and weights off by one are a known mistake of previews: entry i of each table is step i + 1.
    steps = SCHEDULES[schedule]
    prediction = "v"
    makers = {
        "edm": lambda: speediff.TimestepSampler(steps, weighting="edm", prediction=prediction),
        "laplace": lambda: speediff.TimestepSampler(steps, "laplace", prediction=prediction),
        "min_snr": lambda: speediff.TimestepSampler(steps, weighting="min_snr", prediction=prediction),
        "speed": lambda: speediff.TimestepSampler.speed(steps, tau=20, prediction=prediction),
    }
    samplers = {name: makers[name]() for name in names}
    drawn = lines(plots.plan_figure(make_plan(steps, samplers)))
    plain = speediff.TimestepSampler(steps).emphasis()
    np.testing.assert_array_equal(drawn["process.uniform_emphasis"].get_data(), plain)
    for name, sampler in samplers.items():
        log_snr, emphasis = sampler.emphasis()
        for part, x, y in (
            ("probabilities", np.arange(1, steps.steps + 1), sampler.probabilities),
            ("weights", np.arange(1, steps.steps + 1), sampler.weights),
            ("emphasis", steps.log_snr[: len(log_snr)], emphasis),
        ):
            line = drawn[f"{name}.{part}"]
            np.testing.assert_array_equal(line.get_xdata(), x, err_msg=part)
            np.testing.assert_array_equal(line.get_ydata(), y, err_msg=part)
        t, w = sampler.sample(1000)
        weights = dict(zip(*drawn[f"{name}.weights"].get_data(), strict=True))
        np.testing.assert_array_equal(w, np.array([weights[step + 1] for step in t], np.float32))


def test_noise_grows_to_the_right_in_every_panel() -> None:
    figure = plots.plan_figure(plan_of("linear", "speed", "uniform"))
    levels = figure.axes[-1]
    assert "noise grows to the right" in levels.get_xlabel()
    assert levels.get_xlim()[0] > levels.get_xlim()[1]
