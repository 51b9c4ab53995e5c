"""Whatever hides bytes on the wire is taken off before they are searched."""

from __future__ import annotations

import base64
import gzip

from tests.e2e.canary.unwrapping import contents, opened

SECRET = b"hunter2-hunter2-hunter2"


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def answer(body: bytes, *fields: bytes, code: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 " + code + b"\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def found(received: bytes) -> bool:
    return any(SECRET in content for content in contents(received))


def test_chunks_of_one_byte_in_the_second_answer() -> None:
    first = answer(b"hello", b"Content-Length: 5")
    second = answer(chunked(b"x" + SECRET, 1), b"Transfer-Encoding: chunked")
    third = answer(b"", b"Content-Length: 0")
    assert found(first + second + third)
    assert found(first + third + second)
    assert found(answer(b"", b"Content-Length: 50") + second)  # an answer to HEAD before it


def test_gzip_also_when_it_was_cut_off() -> None:
    packed = gzip.compress(b"a" * 100 + SECRET)
    fields = (b"Content-Encoding: gzip", b"Content-Length: %d" % len(packed))
    assert found(answer(packed, *fields))
    assert found(answer(packed[:-6], *fields))
    assert not found(answer(gzip.compress(b"nothing"), *fields))


def test_a_body_until_the_end_of_the_connection() -> None:
    assert found(answer(SECRET, b"Connection: close"))


def test_websocket_frames_of_one_byte() -> None:
    frames = b"".join(bytes((0x82, 2, 1, byte)) for byte in SECRET)
    assert found(answer(frames, code=b"101 Switching Protocols"))
    long = bytes((0x82, 126)) + (1 + 300 + len(SECRET)).to_bytes(2, "big") + b"\x01" + b"a" * 300 + SECRET
    assert found(answer(long, code=b"101 Switching Protocols"))


def test_spdy_frames_of_one_byte_between_others() -> None:
    control = b"\x80\x03\x00\x06\x00\x00\x00\x04abcd"
    frames = b"".join(bytes((0, 0, 0, 3, 0, 0, 0, 1, byte)) + control for byte in SECRET)
    assert found(answer(frames, code=b"101 Switching Protocols"))


def test_a_helm_release_in_a_secret() -> None:
    once = base64.b64encode(gzip.compress(b"x" * 50 + SECRET, mtime=0))
    for document in (once, base64.b64encode(once)):
        assert any(SECRET in content for content in opened(b'{"release":"' + document + b'"}'))
