"""Which protocol two ends have agreed on, from the answer to the handshake. What is not known is refused."""

from __future__ import annotations

from chaperone.core.request import Request
from chaperone.core.streams.channels import SUBPROTOCOLS, ChannelWire
from chaperone.core.streams.events import StreamError, Wire
from chaperone.core.streams.opaque import OpaqueWire
from chaperone.core.streams.portforward import SUBPROTOCOL, TunnelWire
from chaperone.core.streams.spdy_streams import PORT_FORWARD, SpdyWire

STREAMS = frozenset({"pods/exec", "pods/attach", "pods/portforward"})
MOST_PORTS = 64


def is_stream(request: Request) -> bool:
    """Is this an exec, an attach or a port-forward? (A proxied upgrade speaks whatever the pod speaks.)"""
    return bool(request.upgrade) and not request.group and request.full_resource in STREAMS


def wire_for(request: Request, chosen: str) -> Wire:
    """The reader of both directions. chosen: the subprotocol that the API server named, "" for none. Raises
    StreamError."""
    if not is_stream(request):
        return OpaqueWire(request.upgrade)
    forwards = request.subresource == "portforward"
    if request.upgrade == "spdy/3.1":
        if forwards != (chosen == PORT_FORWARD):
            raise StreamError("the API server chose a stream protocol of another kind than asked")
        return SpdyWire(chosen)
    if forwards and chosen == SUBPROTOCOL:
        return TunnelWire()
    if chosen not in SUBPROTOCOLS:
        raise StreamError("the API server chose a WebSocket subprotocol that is not known")
    return ChannelWire(SUBPROTOCOLS[chosen], _ports(request) if forwards else ())


def _ports(request: Request) -> tuple[int, ...]:
    """`ports` may be given several times, each with several, separated by commas (kubelet, portforward)."""
    texts = [part for name, value in request.parameters if name == "ports" for part in value.split(",")]
    if not texts or len(texts) > MOST_PORTS or not all(text.isascii() and text.isdigit() for text in texts):
        raise StreamError("the forwarded ports are not named")
    return tuple(int(text) for text in texts)
