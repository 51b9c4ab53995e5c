"""Targets for logs: no credential, no control character, bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.legible import is_visible
from chaperone.core.url import redact_target

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2EifQ.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("/api/v1/pods?limit=5", "/api/v1/pods?limit=5"),
        ("/api/v1/pods?access_token=hush", "/api/v1/pods?access_token=REDACTED"),
        ("/api/v1/pods?a=b&TOKEN=hush&c=d", "/api/v1/pods?a=b&TOKEN=REDACTED&c=d"),
        ("/api/v1/pods?Id-Token=hush=hush", "/api/v1/pods?Id-Token=REDACTED"),
        ("/api/v1/pods?%74oken=hush", "/api/v1/pods?%74oken=REDACTED"),
        ("/api/v1/pods?a=b;token=hush", "/api/v1/pods?a=b;token=REDACTED"),
        ("/api/v1/pods?a=b?token=hush", "/api/v1/pods?a=b?token=REDACTED"),
        (
            "/x?password=hush&client_secret=hush&sig=hush",
            "/x?password=REDACTED&client_secret=REDACTED&sig=REDACTED",
        ),
        ("/x?token", "/x?token"),
        ("https://me:hush@host/x", "https://REDACTED@host/x"),
        (f"/x/{JWT}/y", "/x/REDACTED/y"),
        (f"/x?command={JWT}", "/x?command=REDACTED"),
        ("/x\r\n\x1b[31m\u202e", "/x\\r\\n\\x1b[31m\\u202e"),
        ("/x?\ud800=y", "/x?\\ud800=y"),
        ("/" + "a" * 3000, "/" + "a" * 2046 + "…"),
        ("", ""),
    ],
)
def test_id12_credentials_never_reach_a_log(raw: str, shown: str) -> None:
    assert redact_target(raw) == shown


@given(st.text(), st.sampled_from(["token", "ACCESS_TOKEN", "refresh-token", "%70assword", "+bearer"]))
def test_nothing_around_it_brings_a_credential_back(noise: str, key: str) -> None:
    shown = redact_target(f"/x?{noise}&{key}=hush-hush&{noise}")
    assert "hush-hush" not in shown
    assert is_visible(shown)
    assert len(shown) <= 2048
