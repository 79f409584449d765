"""``lrtrain doctor``: what is wrong with this installation, and what to do about it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from lrtrain.cli.options import json_option
from lrtrain.cli.tables import print_json
from lrtrain.cli.terminal import printable

if TYPE_CHECKING:
    from lrtrain.doctor.examination import Finding

_MARKS = {"ok": ("ok", "green"), "note": ("note", "yellow"), "fault": ("FAULT", "red")}


@click.command("doctor", short_help="Examine the installation, and say the cure for each fault.")
@json_option
def command(as_json: bool) -> None:
    """Examine the installation: versions, devices, numbers, plugins, data, caches and disks.

    Every fault is shown with its cure; the exit code is 1 when there is one. Nothing is changed.
    """
    from lrtrain.doctor.examination import examine

    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json:
            click.echo(_line(finding))
    faults = sum(finding.health == "fault" for finding in findings)
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        click.echo(f"\n{faults} fault{'s' * (faults != 1)}" if faults else "\nno fault")
    if faults:
        sys.exit(1)


def _line(finding: Finding) -> str:
    text, colour = _MARKS[finding.health]
    line = f"{click.style(f'{text:5}', fg=colour)}  {printable(finding.subject):20}  {printable(finding.detail)}"
    return (
        line if finding.cure is None else f"{line}\n{'':29}{click.style('cure: ', bold=True)}{printable(finding.cure)}"
    )
