import json

from deepinside.html_report.runs import Found, Run
from deepinside.html_report.views import (
    deviations,
    experiments,
    leading,
    metric_tables,
    natural,
    papers,
    problems,
    script,
    side_by_side,
)


def run(folder: str, **values: object) -> Run:
    experiment, network, _ = folder.split("/")
    words = {"experiment": experiment, "network": network, "status": "done", "title": experiment, **values}
    return Run(folder=folder, stamp="", **words)  # type: ignore[arg-type]


def test_experiments_stand_by_paper_and_figure_and_runs_without_changes_first() -> None:
    runs = [
        run("b/n/seed=1", source="A 2013, Fig. 2"),
        run("b/n/default", source="A 2013, Fig. 2"),
        run("a/n/default", source="A 2013, Fig. 3"),
        run("c/n/default", source="B 2010, Fig. 9"),
    ]
    found = experiments(runs)
    assert [one.name for one in found] == ["c", "b", "a"]
    assert found[1].best.is_default
    assert [paper.name for paper in papers(found)] == ["B 2010", "A 2013"]


def test_departures_are_those_of_runs_without_changes_too() -> None:
    runs = [run("a/n/seed=1", deviations=["d"]), run("a/n/default", deviations=["d"]), run("b/n/x", deviations=["e"])]
    found = {sentence: [one.folder for one in those] for sentence, those in deviations(runs).items()}
    assert found == {"d": ["a/n/default"], "e": ["b/n/x"]}
    assert [one.folder for one in deviations([*runs, run("c/n/default", deviations=["d"])])["d"]] == [
        "a/n/default",
        "c/n/default",
    ]


def test_three_figures_of_different_techniques_lead() -> None:
    kinds = ["saliency", "saliency", "class_model", "inversion", "localisation"]
    runs = [run(f"{n}/n/default", technique=kind, mosaic="m") for n, kind in enumerate(kinds)]
    broken = run("0a/n/default", technique="randomisation")
    assert [one.name for one in leading(experiments([*runs, broken]))] == ["0", "2", "3"]


def test_metrics_are_tables_of_layers_and_measures() -> None:
    names = ["conv1/error", "conv2/error", "conv1/psnr", "conv2/psnr", "score", "rank_correlation/a~b", "v/fc8/error"]
    found = metric_tables({name: float(place) for place, name in enumerate(names)})
    assert [(table.columns, table.rows) for table in found] == [
        (["error", "psnr"], {"conv1": {"error": 0, "psnr": 2}, "conv2": {"error": 1, "psnr": 3}}),
        (["score"], {"": {"score": 4}}),
        (["rank_correlation"], {"a and b": {"rank_correlation": 5}}),
        (["error"], {"v/fc8": {"error": 6}}),
    ]


def test_everything_that_went_wrong_is_counted() -> None:
    runs = [run("a/n/x", status="failed"), run("a/n/y", skipped=[{"name": "x", "reason": "y"}]), run("a/n/z")]
    found = problems(runs, Found({}, ["a/n/w.part"], []))
    assert ([len(found.failed), len(found.skipped)], len(found)) == ([1, 1], 3)


def test_at_first_one_run_a_network_stands_side_by_side() -> None:
    runs = [run("a/n/default"), run("a/n/seed=1"), run("a/m/default"), run("b/n/default"), run("b/n/x"), run("b/n/y")]
    assert [one.folder for one in side_by_side(runs)] == ["a/n/default", "a/m/default", "a/n/seed=1", "b/n/default"]
    assert side_by_side([]) == []


def test_json_in_a_script_cannot_leave_it() -> None:
    hostile = {"</script><!--": "\u2028 & é \udcff"}
    words = script(hostile)
    assert words.isascii() and not set("<>&") & set(words)
    assert json.loads(words) == hostile


def test_runs_are_sorted_by_number() -> None:
    names = ["technique.contrast=12", "technique.contrast=3", "technique.contrast=1e-5", "default"]
    assert sorted(names, key=natural) == [names[3], names[2], names[1], names[0]]
