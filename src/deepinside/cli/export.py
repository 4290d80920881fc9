"""`deepinside-results export RUN … --ro-crate`: results packed for an archive."""

import argparse
from pathlib import Path
from typing import Any

from deepinside.results.ro_crate import Credit, write_crate

DESCRIPTION = """\
Pack results for an archive such as Zenodo, as a Workflow Run RO-Crate (Process Run Crate profile): all files of the
results, with a machine-readable record of software, configuration, network, photos, times and licence."""


def add_command(commands: Any) -> None:
    """Add `export` to the subparsers of `deepinside-results`."""
    words = "pack results for an archive, as an RO-Crate"
    command: argparse.ArgumentParser = commands.add_parser("export", help=words, description=DESCRIPTION)
    command.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="the folder of a complete result")
    words = "the file to write if PATH ends in .zip, else the folder (ro-crate.zip)"
    command.add_argument(
        "--ro-crate", type=Path, nargs="?", const=Path("ro-crate.zip"), required=True, metavar="PATH", help=words
    )
    command.add_argument("--agent", metavar="NAME", help="who ran it")
    command.add_argument("--orcid", metavar="ID", help="the ORCID of the agent, such as 0000-0002-1825-0097")
    command.add_argument("--licence", metavar="URL", help="the address of the licence that you give the results")


def export(arguments: argparse.Namespace) -> None:
    """Write the crate; prints its path."""
    write_crate(arguments.runs, arguments.ro_crate, Credit(arguments.agent, arguments.orcid, arguments.licence))
    print(f"ro-crate: {arguments.ro_crate}")
