"""`chaperone audit export` and `forward`: records in other formats, to a file or on to another system."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import orjson
import typer

from chaperone.cli.audit import Address, Moment, moment, opened
from chaperone.cli.faults import FailedError, WrongUsageError
from chaperone.cli.screen import say
from chaperone.core.legible import json_line, visible

if TYPE_CHECKING:
    from chaperone.core.chain import Sealed
    from chaperone.store.opening import Store


class Form(StrEnum):
    """Formats of an export."""

    JSON = "json"
    OCSF = "ocsf"
    OTLP = "otlp"
    SYSLOG = "syslog"


class Sent(StrEnum):
    """What a forwarder sends over HTTP."""

    JSON = "json"
    OCSF = "ocsf"
    OTLP = "otlp"


def export(
    *,
    store: Address,
    form: Annotated[Form, typer.Option("--format", help="json, ocsf, otlp or syslog.")] = Form.JSON,
    since: Moment = "",
    until: Moment = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A new file; standard output otherwise."),
    ] = None,
) -> None:
    """Write records, oldest first within each chain. JSON lines hold the stored bytes and checkpoints, and verify."""
    began, ended = moment("--since", since), moment("--until", until)
    with opened(store) as found:
        lines = (line for writer in found.writers() for line in _chain(found, writer, form, (began, ended)))
        if output is None:
            count = _write(sys.stdout.buffer, lines)
        else:
            try:
                with output.open("xb") as file:
                    count = _write(file, lines)
                if form is Form.JSON:
                    output.with_name(f"{output.name}.pub").write_text("".join(found.public_keys()))
            except FileExistsError as fault:
                raise WrongUsageError(f"--output: {output} is there already") from fault
    say(f"exported: {count} lines", error=True)


def forward(
    *,
    store: Address,
    to: Annotated[
        str,
        typer.Option(
            metavar="URL", help="https://…, syslog+tls://HOST[:PORT], syslog+tcp://… or syslog+udp://…."
        ),
    ],
    form: Annotated[Sent, typer.Option("--format", help="Over HTTP: json, ocsf or otlp.")] = Sent.JSON,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Under which its place is kept; the URL otherwise.")
    ] = "",
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A CA (PEM) instead of the system's.")
    ] = None,
    header_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help='A file with HTTP headers, "Name: value" a line.')
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Send what is new, then end.")] = False,
) -> None:
    """Send every record on, as it comes, until Ctrl-C. Each is sent at least once, and known by its id."""
    from chaperone.store.delivery import DeliveryError, target_of
    from chaperone.store.forwarding import Forwarder

    try:
        target = target_of(to, form, ca=str(ca or ""), headers=_headers(header_file))
    except (ValueError, OSError) as fault:
        raise WrongUsageError(f"--to: {visible(str(fault), 300)}") from fault
    with opened(store) as found:
        forwarder = Forwarder(found, name or to, target)
        try:
            sent = forwarder.forward()
        except DeliveryError as fault:
            if once:
                raise FailedError(str(fault)) from fault
            say(f"{fault}; trying again", error=True)
        else:
            say(f"forwarded: {sent} records", error=True)
        if not once:
            forwarder.follow(threading.Event().wait, lambda text: say(text, error=True))
    target.close()


def _chain(store: Store, writer: str, form: Form, between: tuple[float, float]) -> Iterator[bytes]:
    """One unbroken piece of a chain: from the first record that is young enough to the last that is old enough."""
    from chaperone.core.chain import read_sealed
    from chaperone.store.facts import facts_of

    began, ended = (round(seconds * 1_000_000) for seconds in between)
    inside = not began
    for line, _ in store.lines(writer):
        sealed = read_sealed(line)
        if sealed is not None:
            at = facts_of(record).at if (record := _loads(line)) else None
            inside = inside or (at is not None and at >= began)
            if ended and at is not None and at >= ended:
                return
        if inside and sealed is not None:
            yield _formatted(sealed, form)
        elif inside and form is Form.JSON:
            yield line


def _formatted(sealed: Sealed, form: Form) -> bytes:
    from chaperone.store.formats import ocsf, otlp, outgoing, syslog

    if form is Form.JSON:
        return sealed.line
    item = outgoing(sealed)
    if form is Form.SYSLOG:
        return syslog(item)
    return json_line(orjson.dumps(ocsf(item) if form is Form.OCSF else otlp([item])))


def _loads(line: bytes) -> dict[str, object]:
    """{} for a record that somebody made unreadable: it is exported all the same, for `verify` to name."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _write(file: BinaryIO, lines: Iterator[bytes]) -> int:
    count = 0
    for line in lines:
        file.write(line + b"\n")
        count += 1
    return count


def _headers(path: Path | None) -> dict[str, str]:
    """Raises OSError and ValueError."""
    if path is None:
        return {}
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    if not all(":" in line for line in lines):
        raise ValueError(f"{path} holds a line that is no header")
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
