"""Records to somewhere else: HTTP (a webhook, or OpenTelemetry's logs) and syslog over UDP, TCP or TLS.

A delivery has happened when the other side took all of a batch; otherwise DeliveryError, and it is to be sent again, or
TooLargeError, and it is to be sent in smaller pieces.
"""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

import orjson

from chaperone.store.formats import Outgoing, ocsf, otlp, syslog

log = logging.getLogger(__name__)

PATIENCE = 15.0
"""Seconds for the other side to answer."""
TOO_LARGE = 413
LONGEST_ANSWER = 65_536
SYSLOG_PORTS = {"syslog+udp": 514, "syslog+tcp": 601, "syslog+tls": 6514}


class DeliveryError(Exception):
    """The other side did not take it."""


class TooLargeError(DeliveryError):
    """The other side takes no messages of that size."""


class Target(Protocol):
    def deliver(self, items: Sequence[Outgoing]) -> None:
        """All of them, in order. Raises DeliveryError and TooLargeError."""
        ...

    def close(self) -> None: ...


def target_of(address: str, form: str, *, ca: str = "", headers: Mapping[str, str] | None = None) -> Target:
    """`https://…` (form json, ocsf or otlp) or `syslog+tls://HOST[:PORT]`, `syslog+tcp://…`, `syslog+udp://…`. ca: a PEM
    file to trust instead of the system's. Raises ValueError."""
    url = urlsplit(address)
    if url.scheme in SYSLOG_PORTS and url.hostname:
        return SyslogTarget(url, ca)
    if url.scheme in ("http", "https") and url.hostname and form in BODIES:
        return HttpTarget(address, form, ca=ca, headers=headers or {})
    raise ValueError(
        f"{address} is no place for {form}: give http(s)://, syslog+udp://, syslog+tcp:// or syslog+tls://"
    )


def _json_body(items: Sequence[Outgoing]) -> bytes:
    """Each record as it is stored, with its id."""
    parts = [b'{"id":%b,"record":%b}' % (orjson.dumps(item.id), item.line) for item in items]
    return b'{"items":[' + b",".join(parts) + b"]}"


BODIES: Mapping[str, Callable[[Sequence[Outgoing]], bytes]] = {
    "json": _json_body,
    "ocsf": lambda items: orjson.dumps([ocsf(item) for item in items]),
    "otlp": lambda items: orjson.dumps(otlp(items)),
}


class HttpTarget:
    """One POST a batch; anything but 2xx is a failure, redirects too."""

    def __init__(self, address: str, form: str, *, ca: str, headers: Mapping[str, str]) -> None:
        self._address = address
        self._form = form
        self._body = BODIES[form]
        self._headers = {"Content-Type": "application/json", "User-Agent": "kube-chaperone", **headers}
        tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca or None))
        self._opener = urllib.request.build_opener(tls, _NoRedirect, urllib.request.ProxyHandler())

    def deliver(self, items: Sequence[Outgoing]) -> None:
        headers = {**self._headers, "Idempotency-Key": f"{items[0].id}-{items[-1].sealed.link.sequence}"}
        request = urllib.request.Request(self._address, self._body(items), headers, method="POST")  # noqa: S310  checked
        try:
            with self._opener.open(request, timeout=PATIENCE) as answer:
                said = answer.read(LONGEST_ANSWER)
        except urllib.error.HTTPError as fault:
            fault.close()
            failure = TooLargeError if fault.code == TOO_LARGE else DeliveryError
            raise failure(f"{self._place} answered {fault.code}") from fault
        except (OSError, ValueError, http.client.HTTPException) as fault:
            raise DeliveryError(f"{self._place} cannot be reached: {fault}") from fault
        if self._form == "otlp" and (rejected := _rejected(said)):
            log.warning("%s rejected %d records of a batch for good", self._place, rejected)

    @property
    def _place(self) -> str:
        url = urlsplit(self._address)
        return f"{url.scheme}://{url.hostname}"

    def close(self) -> None:
        """Every delivery has a connection of its own."""


def _rejected(answer: bytes) -> int:
    """How many log records OTLP's partial success names; its specification forbids to send them again."""
    try:
        return int(orjson.loads(answer)["partialSuccess"]["rejectedLogRecords"])
    except (ValueError, TypeError, KeyError):
        return 0


class SyslogTarget:
    """RFC 5424; over TCP and TLS with octet counting (RFC 6587, RFC 5425). Syslog acknowledges nothing: what the other
    side's kernel took counts as delivered."""

    def __init__(self, url: SplitResult, ca: str) -> None:
        self._scheme = url.scheme
        self._host = str(url.hostname)
        self._port = url.port or SYSLOG_PORTS[url.scheme]
        self._ca = ca
        self._socket: socket.socket | None = None

    def deliver(self, items: Sequence[Outgoing]) -> None:
        try:
            if self._socket is None:
                self._socket = self._connect()
            for item in items:
                message = syslog(item)
                if self._scheme == "syslog+udp":
                    self._socket.send(message)
                else:
                    self._socket.sendall(b"%d %b" % (len(message), message))
        except OSError as fault:
            self.close()
            raise DeliveryError(f"{self._host}:{self._port} cannot be reached: {fault}") from fault

    def _connect(self) -> socket.socket:
        if self._scheme == "syslog+udp":
            family, kind, protocol, _, place = socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_DGRAM
            )[0]
            datagrams = socket.socket(family, kind, protocol)
            datagrams.connect(place)
            return datagrams
        stream = socket.create_connection((self._host, self._port), timeout=PATIENCE)
        if self._scheme == "syslog+tcp":
            return stream
        context = ssl.create_default_context(cafile=self._ca or None)
        return context.wrap_socket(stream, server_hostname=self._host)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Records go where they were told to go and nowhere else."""
