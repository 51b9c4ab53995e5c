"""Streams through a real gateway: terminals with a size, WebSocket clients of every subprotocol, and what was kept of them."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import pty
import select
import signal
import ssl
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import websocket

from chaperone.core.recording.reading import Moment, Opening, Reading, What
from chaperone.store.interface import Query
from hack.stack import audit, people
from hack.stack.kubectl import Kubectl
from hack.stack.layout import Layout
from tests.e2e.waiting import until

TOKEN = "ghp_" + "0123456789abcdefghijABCDEFGHIJ012345"
"""Has the form of a credential, and is none."""
STARS = "*" * len(TOKEN)
PIECES = f"for c in {' '.join(TOKEN)}; do printf %s $c; sleep 0.02; done; echo"
"""Prints the token, a character at a time."""

SPDY_FIRST = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}


class Terminal:
    """A command on a pseudo-terminal of this size."""

    def __init__(
        self, kubectl: Kubectl, *arguments: str, way: Mapping[str, str], columns: int = 100, rows: int = 30
    ) -> None:
        self._master, slave = pty.openpty()
        self._size(columns, rows)
        self._process = subprocess.Popen(
            kubectl.command(*arguments),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**kubectl.environment(), "TERM": "xterm", **way},
            start_new_session=True,
        )
        os.close(slave)
        self.shown = bytearray()

    def resize(self, columns: int, rows: int) -> None:
        self._size(columns, rows)
        self._process.send_signal(signal.SIGWINCH)

    def _size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, wanted: bytes, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while wanted not in self.shown and time.monotonic() < deadline:
            self._read()
        assert wanted in self.shown, bytes(self.shown)

    def wait(self, seconds: float = 60) -> int:
        """Its exit code, once everything it showed has been read."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and (self._read() or self._process.poll() is None):
            pass
        return self._process.wait(5)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 0.1)
        try:
            piece = os.read(self._master, 65536) if ready else b""
        except OSError:
            return False
        self.shown += piece
        return bool(piece)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)


@contextmanager
def terminal(
    kubectl: Kubectl,
    *arguments: str,
    way: Mapping[str, str] | None = None,
    columns: int = 100,
    rows: int = 30,
) -> Iterator[Terminal]:
    """way: how kubectl connects, as its environment says it."""
    screen = Terminal(kubectl, *arguments, way=way or {}, columns=columns, rows=rows)
    try:
        yield screen
    finally:
        screen.close()


@dataclass
class Said:
    """What a WebSocket client heard, by channel."""

    channels: dict[int, bytes] = field(default_factory=dict)

    def of(self, channel: int) -> bytes:
        return self.channels.get(channel, b"")


class WebSocketExec:
    """exec or attach as a client that only knows WebSocket."""

    def __init__(self, layout: Layout, agent: Kubectl, url: str, path: str, subprotocol: str) -> None:
        self.base64 = "base64" in subprotocol
        self.said = Said()
        self._socket = websocket.create_connection(
            url.replace("https://", "wss://") + path,
            header=[f"Authorization: Bearer {people.token_of(agent.kubeconfig)}"],
            subprotocols=[subprotocol] if subprotocol else None,
            sslopt={"context": ssl.create_default_context(cafile=str(layout.ca_file))},
            timeout=60,
        )

    def send(self, channel: int, data: bytes) -> None:
        if self.base64:
            self._socket.send(f"{channel}{base64.b64encode(data).decode()}")
        else:
            self._socket.send_binary(bytes([channel]) + data)

    def read_to_end(self) -> Said:
        while (message := self._read()) is not None:
            channel, data = message
            self.said.channels[channel] = self.said.of(channel) + data
        return self.said

    def wait_for(self, wanted: bytes, channel: int = 1) -> None:
        while wanted not in self.said.of(channel):
            message = self._read()
            assert message is not None, self.said
            self.said.channels[message[0]] = self.said.of(message[0]) + message[1]

    def _read(self) -> tuple[int, bytes] | None:
        try:
            opcode, data = self._socket.recv_data()
        except websocket.WebSocketConnectionClosedException:
            return None
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return None
        if not data:
            return 255, b""
        return (int(data[:1]), base64.b64decode(data[1:])) if self.base64 else (data[0], data[1:])

    def close(self) -> None:
        self._socket.close()


@dataclass(frozen=True)
class Kept:
    """A recording, as it stands in its file."""

    raw: bytes
    opening: Opening
    moments: tuple[Moment, ...]

    def data(self, what: What = What.OUTPUT, source: str = "") -> bytes:
        chosen = (each for each in self.moments if each.what is what and source in ("", each.source))
        return b"".join(each.data for each in chosen)


def records_of(layout: Layout, run: str) -> list[Mapping[str, Any]]:
    """The ended streams of a run, oldest first. Waits for those that are still open: the record of one that its client has
    left comes a moment later."""
    found = until("every stream of the run to end", lambda: _ended(layout, run))[0]
    return sorted(found, key=lambda record: str(record["stageTimestamp"]))


def _ended(layout: Layout, run: str) -> tuple[list[Mapping[str, Any]], ...]:
    """The last records of its streams; nothing while a request of the run has no end."""
    records = audit.records(layout, Query(run=run))
    over = {record["auditID"] for record in records if record["stage"] in ("ResponseComplete", "Panic")}
    if any(record["auditID"] not in over for record in records):
        return ()
    return ([record for record in records if "recording" in record],)


def own_record(layout: Layout, run: str, subresource: str = "exec") -> Mapping[str, Any]:
    """The record of the only stream of this kind that the run had."""
    (record,) = until(
        f"the record of the {subresource} of {run}",
        lambda: [each for each in records_of(layout, run) if each["objectRef"]["subresource"] == subresource],
    )
    return record


def last_record(layout: Layout, run: str, *, after: int = 0) -> Mapping[str, Any]:
    """The record of the stream that ended last, once more than `after` have."""
    return until("the record of the stream", lambda: records_of(layout, run)[after:])[-1]


def kept(layout: Layout, record: Mapping[str, Any]) -> Kept:
    """The recording that a record names; it is what the record says it is."""
    told = record["recording"]
    raw = (Path(layout.recordings) / told["name"]).read_bytes()
    assert told["state"] in ("sealed", "cut"), told
    assert (len(raw), hashlib.sha256(raw).hexdigest()) == (told["bytes"], told["sha256"])
    reading = Reading(raw.splitlines(keepends=True))
    return Kept(raw, reading.opening, tuple(reading.moments()))
