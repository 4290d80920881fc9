"""Results as an RO-Crate, for an archive: what was run, on what, with which software, and what came out.

The crate follows RO-Crate 1.1 and the Process Run Crate profile of Workflow Run RO-Crate.
"""

import mimetypes
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from deepinside.errors import DeepInsideError
from deepinside.results.folder import is_done, read_config, read_json, writable, writing

if TYPE_CHECKING:
    from rocrate.model import Entity
    from rocrate.rocrate import ROCrate

VERSION = "1.1"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
SHA256 = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
"""A term of the profile that RO-Crate 1.1 lacks."""
ORCID = "https://orcid.org/"
MEDIA_TYPES = {
    ".npz": "application/zip", ".parquet": "application/vnd.apache.parquet", ".yaml": "application/yaml",
}  # fmt: skip
"""Those that Python 3.11 does not know."""
DESCRIPTIONS = {
    "metrics.json": "metrics, claims with their verdicts, predictions, deviations from the paper and skipped photos",
    "items.parquet": "one row per item: name, label, target, the five best classes, and one column per metric",
    "shown.json": "captions and boxes of the items in the figure",
    "config.yaml": "the complete configuration",
    "provenance.json": "commit, versions, device, seed, SHA-256 of the network and of every photo",
    "figure.png": "the figure, laid out as in the paper",
    "trace.png": "curves over the steps",
    "panels": "the pictures of all items",
    "arrays.npz": "the raw maps and traces, float32",
}
INPUT = "config.yaml"


@dataclass(frozen=True)
class Credit:
    """What no result knows: who ran it, as a name and an ORCID, and the address of the licence of the results."""

    agent: str | None = None
    orcid: str | None = None
    licence: str | None = None


def write_crate(folders: Sequence[Path], path: Path, credit: Credit) -> None:
    """Write the results as an RO-Crate, a zip file if `path` ends in `.zip`, else a folder.

    Raises DeepInsideError if a folder is not a complete result, or if `path` exists.
    """
    if path.exists():
        raise DeepInsideError(f"--ro-crate: expected a path that does not exist yet, found {path}.")
    crate = make_crate(folders, credit)
    if path.suffix == ".zip":
        write_zip(crate, path)
    else:
        with writing(path) as temporary:
            crate.write(temporary)


def write_zip(crate: "ROCrate", path: Path) -> None:
    """Zip the crate, with entries for its folders: the library's own zip lacks them, and validators miss them."""
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent) as temporary:
            crate.write(Path(temporary, "crate"))
            Path(shutil.make_archive(f"{temporary}/crate", "zip", Path(temporary, "crate"))).rename(path)


def make_crate(folders: Sequence[Path], credit: Credit) -> "ROCrate":
    """The crate of these results. Raises DeepInsideError without `rocrate` or if a folder is not a complete result."""
    try:
        from rocrate.rocrate import ROCrate
    except ImportError as error:
        raise DeepInsideError("export: expected rocrate; pip install 'deepinside[archive]'.") from error
    crate = ROCrate(version=VERSION)
    crate.metadata.extra_terms.update(SHA256)
    places = {place_of(folder): folder for folder in folders}
    if len(places) < len(folders):
        raise DeepInsideError("export: expected results with different EXPERIMENT/NETWORK/CHANGES, found two alike.")
    agent = agent_of(crate, credit)
    describe_root(crate, [add_run(crate, folder, place, agent) for place, folder in places.items()], agent, credit)
    return crate


def place_of(folder: Path) -> str:
    """The folder in the crate: EXPERIMENT/NETWORK/CHANGES, as in the results folder."""
    return "/".join(folder.resolve().parts[-3:])


def describe_root(crate: "ROCrate", runs: "Sequence[Entity]", agent: "Entity | None", credit: Credit) -> None:
    root = crate.root_dataset
    names = ", ".join(dict.fromkeys(run["name"] for run in runs))
    root["name"] = f"Results of deepinside: {names}"
    root["description"] = f"{len(runs)} runs of deepinside, with configuration, provenance, figures and numbers."
    root["conformsTo"] = add(crate, PROFILE, "CreativeWork", name="Process Run Crate", version=PROFILE.split("/")[-1])
    root["mentions"] = list(runs)
    address = credit.licence or "#licence"
    root["license"] = add(
        crate,
        address,
        "CreativeWork",
        name=credit.licence or "not stated",
        description=(
            "The licence of these results." if credit.licence else "No licence has been stated for these results."
        ),
    )
    if agent is not None:
        root["author"] = agent


def add_run(crate: "ROCrate", folder: Path, place: str, agent: "Entity | None") -> "Entity":
    """The action that computed a result, with everything that it used and made."""
    config, provenance = read_config(folder), read_json(folder / "provenance.json")
    if config is None or provenance is None or not is_done(folder):
        raise DeepInsideError(f"{folder}: expected the folder of a complete result, found none.")
    files = {path.name: add_file(crate, path, f"{place}/{path.name}") for path in sorted(folder.iterdir())}
    used = [files[INPUT], *network_entities(crate, config, provenance), *photo_entities(crate, provenance)]
    action = crate.add_action(
        instrument(crate, provenance), f"#{quote(place)}", used, [file for name, file in files.items() if name != INPUT]
    )
    action["name"] = f"{config['name']} on {config['network']['name']}"
    action["description"] = f"{config['title']}. Repeat it: deepinside --repeat {shlex.quote(place)}"
    action["actionStatus"] = "http://schema.org/CompletedActionStatus"
    times = {"startTime": provenance.get("started"), "endTime": provenance.get("ended"), "agent": agent}
    for key, value in times.items():
        if value:
            action[key] = value
    return action


def add_file(crate: "ROCrate", path: Path, place: str) -> "Entity":
    """A file or folder of a result."""
    words = {"name": path.name, "description": DESCRIPTIONS.get(path.name)}
    properties = {key: value for key, value in words.items() if value}
    if path.is_dir():
        return crate.add_dataset(path, place, properties=properties)
    media = MEDIA_TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    return crate.add_file(path, place, properties={**properties, "encodingFormat": media}, record_size=True)


def network_entities(crate: "ROCrate", config: Mapping[str, Any], provenance: Mapping[str, Any]) -> "Iterator[Entity]":
    """The network that was analysed, and the judging one if there is one, by hash, address and licence."""
    known = provenance["network"]
    for network, sha256 in ((config["network"], known["sha256"]), (config.get("judge"), None)):
        if network:
            name, urls = network["name"], network.get("urls") or [None]
            kind = ("File", urls[0]) if urls[0] else ("CreativeWork", f"#network-{quote(name)}")
            details = {
                "description": network.get("title"), "sha256": sha256 or network.get("sha256"),
                "license": licence(crate, network), "citation": network.get("source"),
            }  # fmt: skip
            yield add(crate, kind[1], kind[0], name=name, **details)


def licence(crate: "ROCrate", network: Mapping[str, Any]) -> "Entity | None":
    words = network.get("licence")
    return add(crate, f"#licence-{quote(network['name'])}", "CreativeWork", name=words) if words else None


def photo_entities(crate: "ROCrate", provenance: Mapping[str, Any]) -> "Iterator[Entity]":
    """The photos, by hash: their files are not part of a result."""
    for name, sha256 in provenance["images"].items():
        yield add(crate, f"#photo-{sha256}", "CreativeWork", name=name, sha256=sha256)


def instrument(crate: "ROCrate", provenance: Mapping[str, Any]) -> "Entity":
    """The software: deepinside at its commit, which requires the libraries that can affect numbers."""
    versions = dict(provenance["versions"])
    version, code = versions.pop("deepinside", None), provenance["code"]
    # the Software Heritage identifier of a commit is its hash, whether or not it has been archived there
    identifier = f"swh:1:rev:{code['commit']}" if code["commit"] else "#deepinside"
    if code["dirty"]:
        identifier = f"#deepinside-{code['commit']}-modified"
    required = [library(crate, name, number) for name, number in versions.items()]
    return add(
        crate, identifier, "SoftwareApplication", name="deepinside", version=version, softwareRequirements=required,
    )  # fmt: skip


def library(crate: "ROCrate", name: str, version: str) -> "Entity":
    page = f"https://pypi.org/project/{name}/{version.partition('+')[0]}/"
    return add(crate, page, "SoftwareApplication", name=name, version=version, url=page)


def agent_of(crate: "ROCrate", credit: Credit) -> "Entity | None":
    if not credit.agent:
        return None
    identifier = f"{ORCID}{credit.orcid.removeprefix(ORCID)}" if credit.orcid else f"#{quote(credit.agent)}"
    return add(crate, identifier, "Person", name=credit.agent)


def add(crate: "ROCrate", identifier: str, kind: str, **properties: Any) -> "Entity":
    """A contextual entity, the same one for the same identifier; properties without a value are left out."""
    known = crate.get(identifier)
    if known is not None:
        return known
    stated = {key: value for key, value in properties.items() if value is not None}
    if kind == "File":
        return crate.add_file(identifier, properties=stated)
    return crate.add_jsonld({"@id": identifier, "@type": kind, **stated})
