"""Every workload by the shipped network, small: all ways give the same numbers, and wrong ones are noticed."""

import sys
from pathlib import Path

import pytest
import torch
import toys
from bench import climbs, commands, floors, folder, gradients, networks, peers, photos
from bench.__main__ import main
from bench.machine import describe, product, sentence
from bench.task import OURS, OURS_BF16, Task, agreements, differences
from bench.timing import Patience
from bench.workloads import chosen, workloads

from deepinside.targets import resolve

TASKS = {
    "saliency": lambda: gradients.maps("tinycaffenet", "saliency", 2),
    "guided": lambda: gradients.maps("tinycaffenet", "guided", 2),
    "deconvnet": lambda: gradients.maps("tinycaffenet", "deconvnet", 2),
    "class_models": lambda: climbs.class_models("tinycaffenet", 3, 2),
    "sweep": lambda: climbs.sweep("tinycaffenet", 2),
    "inversion": lambda: climbs.inversion("tinycaffenet", 2, 2),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", TASKS)
def test_all_ways_agree(name: str) -> None:
    task = TASKS[name]()
    if len(task.ways) == 1:
        pytest.skip("none of the peers is installed")
    found = agreements(task)
    assert all(way["agrees"] for way in found.values()), found
    assert len(found) == len(task.ways) >= 2
    assert task.ways[0].name == OURS


def test_another_rule_is_noticed() -> None:
    guided, plain = TASKS["guided"](), TASKS["saliency"]()
    mixed = Task("mixed", "", "photo", 2, (guided.ways[0], plain.ways[0]))
    assert not agreements(mixed)[OURS]["agrees"]  # the second way of that name


def test_rounding_is_small_on_a_shallow_network() -> None:
    bench = networks.network("tinycaffenet")
    x, targets = bench.photos(2), [resolve(index, bench.network) for index in (0, 1)]
    single, double = (gradients.plainly(bench, "guided", x, targets, kind) for kind in (torch.float32, torch.float64))
    assert 0 < differences(single, double).max() < 1e-4


def test_a_convolutions_operations_are_counted() -> None:
    bench = networks.network("tinycaffenet")
    one, two = gradients.operations(bench, 1), gradients.operations(bench, 2)
    sizes = [module.weight.numel() for module in bench.plain.modules() if isinstance(module, torch.nn.Linear)]
    assert two == 2 * one
    assert one > 4 * sum(sizes)  # multiply and add, there and back, and the convolutions besides


def test_without_peers_ours_is_still_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "installed", lambda name: None)
    assert peers.versions() == dict.fromkeys(peers.PACKAGES)
    names = [way.name for way in TASKS["class_models"]().ways]
    assert names == [OURS, "one by one"]


def test_names_are_patterns() -> None:
    assert list(chosen("caffenet_sal*,growth_steps")) == ["caffenet_saliency", "growth_steps"]
    assert set(workloads()) - set(chosen(None)) == {"folder_64x64", "folder_500x375", "growth_photos", "growth_steps"}
    assert list(chosen("*")) == list(workloads())


def test_any_network_is_measured_by_name_or_by_its_file() -> None:
    shipped = Path(networks.find_spec("tinycaffenet").folder or "") / "tinycaffenet.yaml"
    assert list(chosen("*_saliency", ["tinycaffenet"])) == list(chosen("*_saliency", [str(shipped)]))
    assert list(workloads([str(shipped), "other"])) == [
        f"{name}_{kind}" for name in ("tinycaffenet", "other")
        for kind in ("saliency", "guided", "deconvnet", "class_models", "sweep")
    ]  # fmt: skip
    assert networks.network(str(shipped)).spec.sha256 == networks.network("tinycaffenet").spec.sha256


def test_a_peer_is_put_beside_ours_of_its_own_precision_in_both_memory_formats() -> None:
    found = {way.name: way for way in TASKS["saliency"]().ways}
    assert found["autograd"].beside == OURS and found["autograd"].exact
    for layout in ("", ", channels-last"):
        half = found[f"autograd bf16{layout}"]
        assert half.beside == OURS_BF16 and not half.exact
    assert found["autograd bf16, channels-last"].layout_of == "autograd bf16"
    exact, half = (way.compared() for way in (found["autograd"], found["autograd bf16"]))
    assert 1e-3 < differences(half, exact).max() < 0.5  # type: ignore[arg-type]


def test_class_scores_are_read_where_the_declaration_says(tmp_path: Path) -> None:
    bench = networks.Bench(toys.caffe(tmp_path).spec)
    x = torch.zeros(2, 3, *bench.network.size)
    torch.testing.assert_close(bench.plain(bench.native(x)).detach(), bench.network.scores(x), rtol=1e-4, atol=1e-4)


def test_every_floor_is_of_a_workload() -> None:
    assert set(floors.read()) <= set(workloads())


def test_the_machine_is_named() -> None:
    here = describe(2)
    assert f"{here['cores']} cores" in sentence(here) and torch.__version__ in sentence(here)
    work, operations = product(64)
    assert work().shape == (64, 64) and operations == 2 * 64**3


def test_the_photos_are_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    for place in ("a", "b"):
        monkeypatch.setattr(photos, "BUILD", tmp_path / place)
        made = photos.jpegs(3, (50, 40))
        files.append([path.read_bytes() for path in sorted(made.glob("*.jpg"))])
    assert files[0] == files[1] and len(set(files[0])) == 3


def test_a_command_is_counted_by_itself_however_large_the_process_that_asks() -> None:
    held = torch.ones(2**26)  # a quarter of a gigabyte
    assert 0 < commands.run(["true"]).memory < 64
    taken = commands.run([sys.executable, "-c", "held = b'1' * 2**27"]).memory
    assert 128 < taken < 192 and len(held)


def test_a_command_that_fails_says_what_it_said() -> None:
    cost = commands.run(["sh", "-c", "sleep 0.05"])
    assert cost.seconds > 0.05 and cost.memory > 0.1
    with pytest.raises(commands.subprocess.CalledProcessError) as failed:
        commands.run(["sh", "-c", "echo because; exit 3"])
    assert failed.value.returncode == 3 and "because" in failed.value.output


def test_the_command_line_leaves_table_json_and_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.__main__.chosen", lambda *_: {"tinycaffenet_sweep": TASKS["sweep"]})
    threads = torch.get_num_threads()
    words = ["--quick", "--threads", str(threads), "--folder", str(tmp_path)]
    assert main(["run", "--only", "tinycaffenet_sweep", *words]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bench.json", "bench.png"]
    assert "one by one" in capsys.readouterr().out
    assert main(["markdown", "--folder", str(tmp_path)]) == 0
    assert "| tinycaffenet: a sweep of eight λ | one by one |" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_folder_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (folder, commands, photos):
        monkeypatch.setattr(module, "BUILD", tmp_path)
    monkeypatch.setattr(commands, "RESULTS", tmp_path / "results")
    once = Patience(seconds=0, least=1, most=1, warm=False)
    found = folder.end_to_end(20, (80, 60)).record(once, product(64))["ways"]
    assert all(way["agrees"] for way in found.values()), found
    assert found["computation"]["ratio"]["median"] < 1
