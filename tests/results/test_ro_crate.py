"""Results as an RO-Crate: what RO-Crate 1.1 and its Process Run Crate profile demand, and what the record says."""

import json
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from disk import put_failure, put_run

from deepinside.cli import results as command
from deepinside.errors import DeepInsideError
from deepinside.results.ro_crate import Credit, write_crate

COMMIT = "a" * 40
NETWORK = {
    "name": "net", "title": "A net", "urls": ["https://example.org/net.onnx"], "sha256": "e" * 64, "licence": "MIT",
}  # fmt: skip
PROVENANCE = {
    "code": {"commit": COMMIT, "dirty": False}, "versions": {"deepinside": "0.1.0", "torch": "2.13.0+cpu"},
    "network": {"name": "net", "sha256": "e" * 64}, "images": {"cat": "f" * 64},
    "started": "2026-11-21T03:24:07+00:00", "ended": "2026-11-21T03:24:09+00:00",
}  # fmt: skip
CREDIT = Credit("Ada Lovelace", "0000-0002-1825-0097", "https://creativecommons.org/licenses/by/4.0/")


def result(root: Path, folder: str = "fig2/net/seed=1, 2", **changes: Any) -> Path:
    place = put_run(root, folder, settings={"network": NETWORK, **changes.pop("settings", {})})
    (place / "provenance.json").write_text(json.dumps({**PROVENANCE, **changes}))
    return place


def graph_of(crate: Path) -> dict[str, dict[str, Any]]:
    found = json.loads((crate / "ro-crate-metadata.json").read_text(encoding="utf-8"))
    return {entity["@id"]: entity for entity in found["@graph"]}


def exported(tmp_path: Path, *folders: Path, credit: Credit = CREDIT) -> dict[str, dict[str, Any]]:
    write_crate(folders, tmp_path / "crate", credit)
    return graph_of(tmp_path / "crate")


def many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def references(entity: dict[str, Any]) -> set[str]:
    return {one["@id"] for value in entity.values() for one in many(value) if isinstance(one, dict)}


def test_the_musts_of_ro_crate_and_of_the_profile(tmp_path: Path) -> None:
    graph = exported(tmp_path, result(tmp_path), result(tmp_path, "fig1/net/default"), credit=Credit())
    context = json.loads((tmp_path / "crate" / "ro-crate-metadata.json").read_text())["@context"]
    assert context[0] == "https://w3id.org/ro/crate/1.1/context"
    descriptor, root = graph["ro-crate-metadata.json"], graph["./"]
    assert descriptor["@type"] == "CreativeWork"
    assert descriptor["about"] == {"@id": "./"}
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert root["@type"] == "Dataset"
    assert {"name", "description", "datePublished", "license"} <= set(root)
    profile = graph[root["conformsTo"]["@id"]]
    assert (profile["@id"], profile["@type"]) == ("https://w3id.org/ro/wfrun/process/0.5", "CreativeWork")
    for one in root["mentions"]:
        action = graph[one["@id"]]
        assert action["@type"] == "CreateAction"
        assert graph[action["instrument"]["@id"]]["@type"] == "SoftwareApplication"


def test_every_reference_leads_to_an_entity_and_every_file_is_listed_and_there(tmp_path: Path) -> None:
    graph = exported(tmp_path, result(tmp_path))
    crate = tmp_path / "crate"
    outside = {"https://w3id.org/ro/crate/1.1"}
    assert set().union(*map(references, graph.values())) <= set(graph) | outside
    parts = {part["@id"] for part in graph["./"]["hasPart"]}
    data = {name for name, entity in graph.items() if entity["@type"] in ("File", "Dataset")} - {"./"}
    assert data == parts
    local = {name for name in parts if not name.startswith("https:")}
    assert "fig2/net/seed%3D1%2C%202/metrics.json" in local
    for name in local:
        assert (crate / name.replace("%3D", "=").replace("%2C", ",").replace("%20", " ")).exists(), name
    for entity in graph.values():
        if entity["@id"] in local and entity["@type"] == "File":
            assert int(entity["contentSize"]) > 0
            assert "/" in entity["encodingFormat"]


def test_an_action_says_what_was_run_on_what_with_what_and_when(tmp_path: Path) -> None:
    graph = exported(tmp_path, result(tmp_path, "fig2/net/default"))
    action = graph["#fig2/net/default"]
    assert "deepinside --repeat fig2/net/default" in action["description"]
    assert (action["startTime"], action["endTime"]) == (PROVENANCE["started"], PROVENANCE["ended"])
    assert action["actionStatus"] == "http://schema.org/CompletedActionStatus"
    used = {one["@id"] for one in action["object"]}
    assert used == {"fig2/net/default/config.yaml", NETWORK["urls"][0], f"#photo-{'f' * 64}"}
    made = {one["@id"].removeprefix("fig2/net/default/") for one in action["result"]}
    assert made == {"metrics.json", "provenance.json", "panels/"}
    network = graph[str(NETWORK["urls"][0])]
    assert (network["@type"], network["sha256"]) == ("File", "e" * 64)
    assert graph[network["license"]["@id"]]["name"] == "MIT"
    software = graph[f"swh:1:rev:{COMMIT}"]
    assert action["instrument"] == {"@id": software["@id"]}
    assert (software["name"], software["version"]) == ("deepinside", "0.1.0")
    required = [graph[one["@id"]] for one in software["softwareRequirements"]]
    assert [(one["name"], one["version"], one["url"]) for one in required] == [
        ("torch", "2.13.0+cpu", "https://pypi.org/project/torch/2.13.0/")
    ]


def test_who_ran_it_and_the_licence_stand_there_only_if_they_are_known(tmp_path: Path) -> None:
    graph = exported(tmp_path, result(tmp_path, "fig2/net/default"))
    person = graph["https://orcid.org/0000-0002-1825-0097"]
    assert graph["#fig2/net/default"]["agent"] == graph["./"]["author"] == {"@id": person["@id"]}
    assert graph["./"]["license"] == {"@id": CREDIT.licence}
    write_crate([tmp_path / "fig2/net/default"], tmp_path / "unsigned", Credit())
    graph = graph_of(tmp_path / "unsigned")
    assert "agent" not in graph["#fig2/net/default"]
    assert graph[graph["./"]["license"]["@id"]]["description"].startswith("No licence has been stated")


def test_modified_code_and_a_network_without_an_address_are_no_published_ones(tmp_path: Path) -> None:
    bare = {**NETWORK, "urls": []}
    place = result(tmp_path, code={"commit": COMMIT, "dirty": True}, settings={"network": bare, "judge": NETWORK})
    graph = exported(tmp_path, place)
    assert f"swh:1:rev:{COMMIT}" not in graph
    assert graph[f"#deepinside-{COMMIT}-modified"]["version"] == "0.1.0"
    assert graph["#network-net"]["@type"] == "CreativeWork"
    assert NETWORK["urls"][0] in graph  # the judging network


def test_a_zip_holds_the_same_with_entries_for_its_folders(tmp_path: Path) -> None:
    place = result(tmp_path, "fig2/net/default")
    write_crate([place], tmp_path / "new" / "crate.zip", CREDIT)
    write_crate([place], tmp_path / "crate", CREDIT)
    with ZipFile(tmp_path / "new" / "crate.zip") as archive:
        names = set(archive.namelist())
    assert {str(path.relative_to(tmp_path / "crate")) for path in (tmp_path / "crate").rglob("*")} == {
        name.rstrip("/") for name in names
    } - {""}
    assert "fig2/net/default/panels/" in names
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["crate.zip"]


def test_what_cannot_be_exported_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = result(tmp_path, "fig2/net/default")
    with pytest.raises(DeepInsideError, match="does not exist yet"):
        write_crate([place], tmp_path, CREDIT)
    with pytest.raises(DeepInsideError, match="complete result"):
        write_crate([put_failure(tmp_path, "fig2/net/seed=3", "no")], tmp_path / "crate", CREDIT)
    with pytest.raises(DeepInsideError, match="found two alike"):
        write_crate([place, result(tmp_path / "other", "fig2/net/default")], tmp_path / "crate", CREDIT)
    monkeypatch.setitem(sys.modules, "rocrate.rocrate", None)
    with pytest.raises(DeepInsideError, match=r"pip install 'deepinside\[archive\]'"):
        write_crate([place], tmp_path / "crate", CREDIT)
    assert not (tmp_path / "crate").exists()


def test_the_command_writes_it_and_prints_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = result(tmp_path, "fig2/net/default")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["deepinside-results", "export", str(place), "--ro-crate", "--agent", "Ada"])
    with pytest.raises(SystemExit) as end:
        command.main()
    assert end.value.code == 0
    assert capsys.readouterr().out == "ro-crate: ro-crate.zip\n"
    with ZipFile("ro-crate.zip") as archive:
        found = json.loads(archive.read("ro-crate-metadata.json"))
    assert "Ada" in [entity.get("name") for entity in found["@graph"]]
