"""`border-gateway validate`: looks at any CoAP server's objects; it reads, and never writes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path as FilePath

import click

from adapters.coap.survey import Survey, Unanswered
from gateway.formats.durations import parse_duration
from gateway.objects.ddf import load_folder
from gateway.objects.registry import Registry
from gateway.objects.validation import Finding, Tree, check_server

EXIT_FINDINGS, EXIT_UNREACHABLE = 1, 2


def _seconds(context: click.Context, parameter: click.Parameter, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.argument("uri")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--definitions",
    type=click.Path(path_type=FilePath, exists=True, file_okay=False),
    help="A folder of vendors' object definitions (LwM2M DDF XML files) that count, too.",
)
@click.option(
    "--timeout",
    "timeout_s",
    default="15s",
    show_default=True,
    callback=_seconds,
    help="How long to wait for one answer.",
)
def command(uri: str, as_json: bool, definitions: FilePath | None, timeout_s: float) -> None:
    """Hold the IPSO and LwM2M objects of the CoAP server at URI against their definitions.

    Any server will do, such as coap://192.0.2.7 or a border-gateway with its devices. It is only
    read, never written. Ends with status 0 if all is as defined, 1 if not, 2 if URI cannot be
    reached.
    """
    registry = Registry.builtin()
    for fault in load_folder(definitions, registry) if definitions else ():
        click.echo(f"warning: {fault}", err=True)
    try:
        trees = asyncio.run(Survey(uri, registry, timeout_s).run())
    except Unanswered as error:
        click.echo(f"border-gateway: {error}", err=True)
        sys.exit(EXIT_UNREACHABLE)
    findings = check_server(trees, registry)
    if as_json:
        click.echo(json.dumps(_as_json(uri, trees, findings), indent=2))
    else:
        for line in _as_text(uri, trees, findings):
            click.echo(line)
    sys.exit(EXIT_FINDINGS if findings else 0)


def _numbers(trees: Iterable[Tree]) -> Mapping[str, int]:
    paths = [(tree.prefix, path) for tree in trees for path in tree.paths()]
    return {
        "devices": sum(bool(tree.prefix) for tree in trees),
        "instances": len({(prefix, p.upto(2)) for prefix, p in paths if len(p) > 1}),
        "resources": len({(prefix, p.upto(3)) for prefix, p in paths if len(p) > 2}),
    }


def _as_json(uri: str, trees: Sequence[Tree], findings: Sequence[Finding]) -> Mapping[str, object]:
    return {
        "uri": uri,
        **_numbers(trees),
        "findings": [{"path": f.path, "kind": f.kind.value, "text": f.text} for f in findings],
    }


def _as_text(uri: str, trees: Sequence[Tree], findings: Sequence[Finding]) -> Iterator[str]:
    width = max((len(finding.path) for finding in findings), default=0)
    for finding in findings:
        yield f"{finding.path:{width}}  {finding.kind.value}: {finding.text}"
    found = ", ".join(f"{n} {name}" for name, n in _numbers(trees).items())
    kinds = Counter(finding.kind.value for finding in findings)
    told = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()) or "nothing wrong"
    yield f"{uri}: {found}: {told}"
