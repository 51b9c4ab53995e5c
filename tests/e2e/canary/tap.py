"""A tap on the wire between clients and the gateway: relays every connection and keeps all that reached the client.

It ends TLS with the gateway's own certificate, so clients notice nothing, and opens TLS again towards the gateway.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from hack.stack import pki
from hack.stack.layout import Layout

PIECE = 1 << 16


@dataclass
class Conversation:
    """What went over one connection, both ways."""

    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)


class Tap:
    """Listens on a free port of the loopback; `take` hands out what came since the last time."""

    def __init__(self, layout: Layout, gateway_port: int) -> None:
        files = pki.server_files(layout, "gateway")
        self._server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.load_cert_chain(files.certificate, files.key)
        self._server.set_alpn_protocols(["http/1.1"])
        self._client = ssl.create_default_context(cafile=str(layout.ca_file))
        self._client.set_alpn_protocols(["http/1.1"])
        self._gateway = ("127.0.0.1", gateway_port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._lock = threading.Lock()
        self._conversations: list[Conversation] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    def take(self) -> list[Conversation]:
        with self._lock:
            taken, self._conversations = self._conversations, []
            return taken

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            client = self._server.wrap_socket(connection, server_side=True)
            talk = Conversation()
            with self._lock:
                self._conversations.append(talk)
            # Only behind a whole head: the gateway's patience with slow connections is not to be tried.
            while b"\r\n\r\n" not in talk.sent:
                piece = client.recv(PIECE)
                if not piece:
                    return
                talk.sent += piece
            with self._connect() as gateway:
                gateway.sendall(talk.sent)
                _relay(client, gateway, talk)

    def _connect(self) -> ssl.SSLSocket:
        """Tried twice: a loaded machine may be slow to shake hands."""
        try:
            return self._client.wrap_socket(
                socket.create_connection(self._gateway), server_hostname="127.0.0.1"
            )
        except OSError:
            return self._client.wrap_socket(
                socket.create_connection(self._gateway), server_hostname="127.0.0.1"
            )


def _relay(client: ssl.SSLSocket, gateway: ssl.SSLSocket, talk: Conversation) -> None:
    """Both ways in one thread: OpenSSL's connections are not for two."""
    ways = {client: (gateway, talk.sent), gateway: (client, talk.received)}
    for end in ways:
        end.setblocking(False)
    while True:
        waiting = [end for end in ways if end.pending()] or select.select(list(ways), [], [])[0]
        for source in waiting:
            target, kept = ways[source]
            try:
                piece = source.recv(PIECE)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                continue
            if not piece:
                return
            kept += piece
            _send(target, piece)


def _send(target: ssl.SSLSocket, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        try:
            view = view[target.send(view) :]
        except ssl.SSLWantWriteError:
            select.select([], [target], [], 1)
        except ssl.SSLWantReadError:
            select.select([target], [], [], 1)


@contextmanager
def tapped(layout: Layout, gateway_port: int) -> Iterator[Tap]:
    tap = Tap(layout, gateway_port)
    try:
        yield tap
    finally:
        tap.close()
