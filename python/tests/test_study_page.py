"""docs/study.md: made from result files alone, as far as they are there; the committed page is theirs."""

from __future__ import annotations

import importlib
import json
import math
import re
import shutil
from typing import TYPE_CHECKING, Any

import made_studies
import pytest
from made_experiments import make, wobble, write_run
from made_studies import CLAIMS, TEMPLATE, Study, claim

from speediff._experiments import packed, plan, results
from speediff._experiments.experiment import Experiment
from speediff._experiments.results import Result

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.checkout
main = made_studies.modules()
StudyError = importlib.import_module("study.experiments").StudyError
template = importlib.import_module("study.template")
README_WORDS = 60
"""With the rest of the README, no more than a stranger reads."""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


def test_the_committed_texts_are_those_of_the_result_files() -> None:
    """Whatever has been run so far. They are also small, and few."""
    for path, text in main.texts(main.HERE, main.DOCS, main.PACKAGED).items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run make study-page"
    for folder in (main.DOCS / main.RESULTS).glob("*/"):
        kept = [
            path
            for path in folder.rglob("*")
            if path.is_file() and path.parent.name in ("results", folder.name)
        ]
        assert (folder / "curves.png").exists() == (folder / "report.md").exists()
        assert sum(path.stat().st_size for path in kept) < 4_000_000
        assert not (folder / "results" / "runs.jsonl").exists() or len(kept) < 20


def end(folder: Path) -> None:
    """Makes up every run of an experiment that has not ended, with the best learning rate at 4e-3."""
    experiment = Experiment(folder, plan.read(folder))
    every = plan.read(folder).measuring["measure_every"]
    while (job := experiment.next_job(frozenset())) is not None:
        known = experiment.result(next(iter(experiment.tuning_jobs()), job)) or experiment.result(job)
        assert known is not None
        pace = wobble(job.seed) / (1 + abs(math.log2(job.settings["lr"] / 4e-3)))
        steps = range(every, job.steps + 1, every)
        rows: Any = [(step, (1000 / (step * pace),) * len(experiment.columns)) for step in steps]
        times = [(step, (float(step), 1.0)) for step in steps]
        made = Result(job.settings, experiment.columns, rows, times, True, None, known.data)
        results.write(folder, job, made)
        experiment.forget(job)


def test_the_page_can_be_written_once_every_run_has_ended(tmp_path: Path) -> None:
    """Prose that waits for results names arms and measures that the committed plans have."""
    docs = tmp_path / "docs"
    shutil.copytree(main.DOCS, docs)
    shutil.copy(main.ROOT / "README.md", tmp_path)
    begun = sorted(path.parent for path in (docs / main.RESULTS).glob(f"*/{plan.NAME}"))
    for folder in begun:
        if folder.name != "search":
            end(folder)
    texts = main.texts(main.HERE, docs, tmp_path / "evidence.json")
    page, readme = texts[docs / main.PAGE], texts[tmp_path / "README.md"]
    assert "Numbers will change" not in page
    assert "as fast as uniform sampling" in readme
    said = readme.split(main.BEGIN)[1].split(main.END)[0]
    assert len(said.split()) <= README_WORDS
    for block in template.BLOCK.findall((main.HERE / main.TEMPLATE).read_text(encoding="utf-8")):
        if all((docs / main.RESULTS / name / plan.NAME).exists() for name in block[0].split()):
            first = template.PLACEHOLDER.split(block[1])[0].strip().splitlines()[0]
            assert first in page


def test_a_study_that_was_not_run_says_so(study: Study) -> None:
    page = study.page()
    assert page.count("*The main one: not run yet.*") == 2
    assert page.count("*Another: not run yet.*") == 1
    assert "There is no more to say." in page
    assert "Twice as fast" not in page
    assert "template:" not in page
    assert study.texts()[study.evidence] == "{}\n"
    known = {"main": {"title": "The main one"}, "other": {"title": "Another", "cut": True}}
    study.write("experiments.json", json.dumps(known))
    assert "*Another: cut to save hours, by the plan's rule.*" in study.page()


def test_numbers_are_those_of_the_report(study: Study) -> None:
    """Runs of pace 2 are as good after half the steps: over all pairs of seeds the median is 2."""
    study.run()
    page = study.page()
    found = re.search(r"Twice as fast: (.*) \[(.*)\], by KID (.*) ×.*\nIt is better by (.*)\.\n", page)
    assert found is not None
    faster, interval, kid, better = found.groups()
    assert faster == "2.00 ×"
    assert 1.7 < float(kid) < 2.2
    assert better.startswith("2.00 × [1.")
    report = study.texts()[study.docs / "results" / "study" / "main" / "report.md"]
    assert re.search(rf"\| fast \| [\d.]+ \| {faster} \| .* \| \[{interval}\] \| 25 \|", report)
    assert "| fast | 5 | 0.0015 | 5 [4.63, 5.435] |" in page
    assert "| predicts |" not in page
    assert "There is no more to say." not in page
    assert "![The main one: each measure over training](results/study/main/curves.png)" in page


def test_a_gain_can_be_that_of_an_earlier_step(study: Study) -> None:
    """The costs are as 1/step, and so are their differences."""
    study.run()
    steps = ("50", "100")
    study.write("readme.md", "\n".join(f"{{gain:main:fast:kid:uniform:{step}}}" for step in steps))
    readme = study.docs.parent / "README.md"
    early, late = (float(line.split()[0]) for line in study.texts()[readme].splitlines()[2:4])
    assert early == pytest.approx(2 * late, rel=1e-3)


def test_arms_are_ordered_by_quality(study: Study) -> None:
    study.run()
    heading, section = (part.split("| real images")[0] for part in study.page().split("| arm |")[1:3])
    for part in (heading, section):
        arms = [line.split(" | ")[0].strip("| ") for line in part.splitlines()[2:]]
        assert arms[0] == "fast"
        assert set(arms[1:3]) == {"uniform", "same"}
        assert arms[3] == "slow"


def test_a_claim_shows_the_highest_speed_up_and_that_of_the_same_seeds(study: Study) -> None:
    """Paces do not depend on the quality, and the seeds' own cancel: 2 for each, without a spread."""
    study.run()
    first = r"`fast` is 2\.00 × \[.*\] as fast as `uniform`, by fd; "
    assert re.search(
        first + r"2\.\d\d × at the quality where it is highest; 2\.00 × \[2\.00, 2\.00\] for the same seed; "
        r"after 100 steps, FD \(classifier\) of `uniform` is 2\.00 × \[.*\] that of `fast`",
        study.page(),
    )


def test_a_part_of_the_runs_is_counted(study: Study) -> None:
    study.run(skipped=lambda job: job.seed > 1 and job.arm == "fast")
    page = study.page()
    assert "*The main one: under way. 17 of 20 runs have ended. Numbers will change.*" in page
    assert "| fast | 2 of 5 |" in page
    assert "There is no more to say." in page, "a conclusion waits for every run"


def test_tuning_alone_is_under_way(study: Study) -> None:
    study.run(lr=(0.001, 0.002), skipped=lambda job: not job.is_tuning)
    assert "under way. 0 of 20 runs have ended, and 8 of 8 of tuning." in study.page()


def drawn(study: Study) -> dict[str, bytes]:
    """The pictures of `main`, drawn from the files as they are."""
    folder = study.docs / "results" / "study"
    for experiment in main.experiments.read(study.inputs / "experiments.json", folder).values():
        main.draw(experiment)
    return {path.name: path.read_bytes() for path in (folder / "main").glob("*.png")}


def test_a_run_that_is_at_work_changes_no_byte(study: Study) -> None:
    folder = study.docs / "results" / "study"
    study.run(skipped=lambda job: job.seed == 4)
    before = study.texts(), drawn(study)
    experiment = main.experiments.read(study.inputs / "experiments.json", folder)["main"]
    job = next(job for job in experiment._experiment.main_jobs() if job.seed == 4)
    write_run(folder / "main", job, 9.0, ended=False)
    main.pack(folder, folder)
    assert (study.texts(), drawn(study)) == before


def test_pictures_are_drawn_and_are_the_same_again(study: Study) -> None:
    known = {"main": {"title": "A", "shown": ["uniform", "fast"]}, "other": {"title": "B"}}
    study.write("experiments.json", json.dumps(known))
    study.run()
    found = drawn(study)
    assert set(found) == {"curves.png", "shown.png"}
    assert found["curves.png"] != found["shown.png"]
    assert drawn(study) == found


def test_what_runs_took_is_summed(study: Study) -> None:
    """20 runs of 100 steps, each of 2 seconds, and of four measurements of half a second, two at a time."""
    study.write("template.md", "{experiment:main}\n\n{experiment:other}\n\n{hours}\n")
    assert "No run has ended." in study.page()
    study.run()
    assert "| `main` | 20 | 2,000 | 0.6 |\n| all |  |  | 0.6 |" in study.page()


def test_a_search_shows_who_went_on(study: Study) -> None:
    """Arms that ended after 10 steps are in the report alone; the others have a column for each round."""
    known = {"main": {"title": "The main one", "in_rounds": True}, "other": {"title": "Another"}}
    study.write("experiments.json", json.dumps(known))
    study.write("template.md", "{experiment:main}\n\n{experiment:other}\n")
    study.write("readme.md", "")
    study.write("claims.json", json.dumps(CLAIMS[-1:]))
    steps = {"first": 10, "second": 50, "last": 100, "better": 100}
    paces = {"first": 9.0, "second": 9.0, "last": 1.0, "better": 2.0}
    arms = {name: {"method": "uniform", "steps": count} for name, count in steps.items()}
    make(study.runs / "main", arms, lambda job: paces[job.arm], seeds=(3,))
    main.pack(study.runs, study.docs / "results" / "study")
    page = study.page()
    assert "- 10, 50 or 100 steps of 64 images" in page
    table = page[page.index("Of 4 candidates these went on after 10 steps:") :]
    rows = [line.split(" | ")[0].strip("| ") for line in table.splitlines() if line.startswith("|")]
    assert rows == ["arm", "---", "better", "last", "second"]
    assert "| better | 1 | 48.08 | 9.615 | 4.808 |" in table
    assert "| second | 1 | 10.68 | 2.137 | – |" in table


def test_other_baselines_have_columns_in_their_section(study: Study) -> None:
    known = {"main": {"title": "A", "baselines": ["same", "uniform"]}, "other": {"title": "B"}}
    study.write("experiments.json", json.dumps(known))
    study.run()
    heads = [line for line in study.page().splitlines() if line.startswith("| arm |")]
    assert [head.count("speed-up over") for head in heads] == [2, 4]
    assert all(head.index("over same, by fd") for head in heads)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{spedup:main:fast:fd}", "unknown placeholder {spedup}"),
        ("{speedup:mian:fast:fd}", "no experiment 'mian'"),
        ("{speedup:main:quick:fd}", "no arm 'quick'"),
        ("{speedup:main:fast:fid}", "did not measure 'fid'"),
        ("{speedup:main:fast}", "too many parts or too few"),
        ("{quality:main:fast:fd:kid}", "too many parts or too few"),
        ("{step:main:fast}", "too many parts or too few"),
        ("{speedup:main:uniform:fd}", "no speed-up over itself"),
        ("{speedup:main:fast:fd:none}", "no arm 'none'"),
        ("{quality:other:fast:fd}", "other has no results yet"),
        ("{gain:main:fast:fd:uniform:51}", "no run was measured after 51 steps"),
        ("{gain:main:fast:fd:uniform:0}", "no run was measured after 0 steps"),
        ("{gain:main:fast:fd:uniform:end}", "the step must be a number, got 'end'"),
        ("{verdict:none}", "no such claim"),
        ("{count:maybe}", "no such verdict"),
        ("It is 1.4 × as fast.", "must come from a result file"),
        ("It is 3 × as fast.", "must come from a result file"),
        ("It gains 20 % by it.", "must come from a result file"),
        ("<!-- otherwise -->", "a line for its beginning and one for its end"),
        ("<!-- when: none -->\nText.\n<!-- end -->", "no experiment 'none'"),
        ("<!-- when: other -->\n{speedup:mian:fast:fd}\n<!-- end -->", "no experiment 'mian'"),
    ],
)
def test_an_error_names_what_is_wrong_with_the_template(study: Study, text: str, message: str) -> None:
    study.run()
    study.write("template.md", f"{text}\n{TEMPLATE}")
    with pytest.raises(StudyError, match=re.escape(message)):
        study.page()


def test_the_readme_has_its_sentence_between_its_lines(study: Study, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    assert study.texts()[readme] == "Before.\n<!-- study: begin -->\n<!-- study: end -->\nAfter.\n"
    study.run()
    lines = study.texts()[readme].splitlines()
    assert lines[:2] == ["Before.", "<!-- study: begin -->"]
    assert lines[2].startswith("It is 2.00 × [1.")
    assert lines[3:] == ["<!-- study: end -->", "After."]


def of_two(
    study: Study, fast: dict[str, Any], pace: float, template: str = "", lr: tuple[float, ...] = ()
) -> None:
    """Makes a study of uniform sampling and of one other arm."""
    arms = {"uniform": {"method": "uniform"}, "fast": fast}
    make(study.runs / "main", arms, lambda job: pace if job.arm == "fast" else 1.0, lr=lr)
    main.pack(study.runs, study.docs / "results" / "study")
    study.write("claims.json", json.dumps(CLAIMS[:1]))
    study.write("template.md", template + TEMPLATE.replace(":same}", ":uniform}"))


def test_what_networks_predict_is_a_column_if_they_differ(study: Study) -> None:
    of_two(study, {"method": "uniform", "prediction": "sample"}, 1.0)
    page = study.page()
    assert "| arm | predicts | seeds | lr |" in page
    assert "| fast | x₀ | 5 |" in page
    assert "| real images |  |  |  | 0.5 |" in page


def test_an_arm_with_a_given_rate_says_so_where_others_are_tuned(study: Study) -> None:
    of_two(study, {"method": "p2", "lr": 0.003}, 2.0, lr=(0.001, 0.002))
    page = study.page()
    assert "| arm | seeds | own best lr |" in page
    assert "| fast | 5 | 0.003 (given) |" in page
    assert re.search(r"\| uniform \| 5 \| 0\.00\d \(edge\) \|", page)


def test_a_verdict_that_needs_the_beginnings_says_what_it_was_without(study: Study, tmp_path: Path) -> None:
    """Runs of pace 20 pass the best of pace 1 after 5 steps, before their first measurement at 10."""
    of_two(study, {"method": "laplace"}, 20.0, "{registered}\n\n")
    own = claim("ours", "fast", "uniform", more_than=12)
    study.write("registered.json", json.dumps([{**own, "paper": ""}]))
    assert study.page().startswith("It is ours: **not decided**.\n")
    early = make(tmp_path / "early", {"fast": {"method": "laplace", "steps": 10}}, lambda job: 20.0)
    for job in early.main_jobs():
        write_run(tmp_path / "early", job, 20.0, steps=(2, 5, 10))
    packed.pack(tmp_path / "early", study.docs / "results" / "study" / "main" / "early")
    page = study.page()
    assert page.startswith(
        "It is ours: **held**. Without the beginnings, which were measured later: **not decided**.\n"
    )
    assert re.search(r"\| held; without beginnings, more than 9\.\d\d × \(.* to ∞\): not decided \|", page)


def test_what_the_paper_says_may_be_typed(study: Study) -> None:
    study.run()
    study.write(
        "template.md", f"{TEMPLATE}\nThe paper says {{paper:3 ×, 9.95}}; images of 32×32; a 95 % interval.\n"
    )
    assert "The paper says 3 ×, 9.95; images of 32×32; a 95 % interval." in study.page()


def test_files_that_contradict_each_other_are_errors(study: Study) -> None:
    study.write("template.md", TEMPLATE.replace("{experiment:other}", ""))
    with pytest.raises(StudyError, match=r"must show \{experiment:other\}"):
        study.page()
    study.write("template.md", TEMPLATE)
    study.write("experiments.json", json.dumps({"main": {"title": "A"}, "other": {"name": "B"}}))
    with pytest.raises(StudyError, match="other must have a title"):
        study.page()
    study.run("third")
    study.write("experiments.json", json.dumps({"main": {"title": "A"}, "other": {"title": "B"}}))
    with pytest.raises(StudyError, match="must name every experiment, but not third"):
        study.page()


def test_the_claims_stand_in_the_page_and_with_their_experiment(study: Study) -> None:
    study.run()
    page = study.page()
    assert page.count("- It is faster: **held**") == 1
    assert "| It is faster | Tab. 1 | `fast` is 2.00 × [1." in page
    assert "| It is large | Tab. 2 | it is not | **not tested** |" in page
    lists = "{claims:did not hold}\n{claims:held}\n{count:not decided}, {verdict:unclear}\n"
    study.write("template.md", f"{lists}\n{TEMPLATE}")
    assert study.page().startswith("- It is triple (Tab. 1).\n- It is faster (Tab. 1).\n1, not decided\n")
    own = {key: value for key, value in claim("ours", "fast", "same").items() if key != "paper"}
    study.write("registered.json", json.dumps([own]))
    study.write("template.md", f"{{verdict:ours}}, {{count:held}}\n\n{{registered}}\n\n{TEMPLATE}")
    page = study.page()
    assert page.startswith("held, 1\n\nIt is ours: **held**.\n\n| experiment | arms | by | speed-up |")
    assert re.search(
        r"\n\| `main` \| `fast` over `same` \| FD \| 2.00 × \[.*\] \| 2.00 × \[.*\] \| held \|\n", page
    )
    study.write("claims.json", json.dumps([*CLAIMS, claim("odd", "quick", "uniform")]))
    with pytest.raises(StudyError, match="no arm 'quick'"):
        study.page()
