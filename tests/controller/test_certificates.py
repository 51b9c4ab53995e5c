"""The webhook's certificate through its whole life, with lifetimes of minutes: at no moment does a handshake fail."""

from __future__ import annotations

import base64
import datetime
import socket
import ssl
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from chaperone.kube.configurations import webhook_configurations
from chaperone.kube.errors import RefusedError
from chaperone.kube.official import SECRETS
from chaperone.settings.controller import CertificateSettings, ControllerSettings
from chaperone.settings.loading import SettingsError, load_file
from controller.certificate_keeping import CONFIGURATIONS, CertificateKeeper
from controller.certificates import (
    Pair,
    Step,
    Terms,
    decide,
    issued,
    prepared,
    promoted,
    read_secret,
    retired,
    secret_data,
)
from controller.issuance import new_pair
from tests.controller.fakes import FakeCluster

NAMES = ("chaperone-webhook.kube-chaperone.svc", "chaperone-webhook.kube-chaperone")
TERMS = Terms(NAMES, lifetime=3600, renew_before=1200, overlap=300)
NOW = float(int(datetime.datetime.now(datetime.UTC).timestamp()))  # noqa: TID251 - OpenSSL compares with the clock
SECRET = SECRETS.path("chaperone-webhook-tls", namespace="kube-chaperone")


@pytest.fixture(scope="module")
def first() -> Pair:
    return new_pair(NAMES, NOW, TERMS.lifetime)


@pytest.fixture(scope="module")
def second() -> Pair:
    return new_pair(NAMES, NOW + 1, TERMS.lifetime)


# What to do


def test_nothing_there_is_issued() -> None:
    assert decide(None, NOW, TERMS, spread=False) is Step.ISSUE


def test_the_life_of_a_certificate_as_a_table(first: Pair, second: Pair) -> None:
    fresh = issued(first, NOW)
    ready = prepared(fresh, second, NOW + 2400)
    used = promoted(ready, NOW + 2800)
    late = NOW + TERMS.lifetime + 1
    table = [
        (fresh, NOW + 2399, True, Step.KEEP),
        (fresh, NOW + 2400, True, Step.PREPARE),
        (fresh, NOW + 2400, False, Step.PREPARE),
        (ready, NOW + 2699, True, Step.KEEP),  # API servers may not have the bundle yet
        (ready, NOW + 2700, False, Step.KEEP),  # a configuration does not carry it
        (ready, NOW + 2700, True, Step.PROMOTE),
        (used, NOW + 3099, True, Step.KEEP),  # a webhook may not have read its new certificate yet
    ]
    for material, now, spread, expected in table:
        lasting = replace(TERMS, renew_before=1200 if material is fresh else 100)
        assert decide(material, now, lasting, spread=spread) is expected, (now - NOW, spread)
    assert decide(used, NOW + 3100, replace(TERMS, renew_before=100), spread=True) is Step.RETIRE
    assert decide(used, NOW + 3100, replace(TERMS, renew_before=100), spread=False) is Step.KEEP
    assert (
        decide(retired(used, NOW + 3100), NOW + 3200, replace(TERMS, renew_before=100), spread=True)
        is Step.KEEP
    )
    assert decide(fresh, late, TERMS, spread=True) is Step.PREPARE


def test_an_expired_certificate_is_replaced_without_waiting(first: Pair) -> None:
    late = NOW + TERMS.lifetime + 1
    ready = prepared(issued(first, NOW), new_pair(NAMES, late, TERMS.lifetime), late)
    assert decide(ready, late, TERMS, spread=False) is Step.KEEP
    assert decide(ready, late, TERMS, spread=True) is Step.PROMOTE


def test_a_prepared_certificate_that_grew_old_gives_way(first: Pair, second: Pair) -> None:
    late = NOW + TERMS.lifetime
    ready = prepared(issued(first, NOW), second, NOW)
    assert decide(ready, late, TERMS, spread=True) is Step.PREPARE
    again = prepared(ready, new_pair(NAMES, late, TERMS.lifetime), late)
    assert second.authority not in again.authorities
    assert len(again.authorities) == 2


def test_another_name_asks_for_another_certificate(first: Pair) -> None:
    assert (
        decide(issued(first, NOW), NOW, replace(TERMS, names=("other.ns.svc",)), spread=True) is Step.PREPARE
    )


def test_promoting_nothing_is_an_error(first: Pair) -> None:
    with pytest.raises(ValueError, match="no certificate is prepared"):
        promoted(issued(first, NOW), NOW)


# What it looks like


def test_strict_verifiers_find_what_they_look_for(first: Pair) -> None:
    leaf = x509.load_pem_x509_certificate(first.certificate)
    authority = x509.load_pem_x509_certificate(first.authority)
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    signer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert signer.key_identifier == identifier.digest
    assert leaf.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert authority.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    permitted = authority.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
    assert [name.value for name in permitted or ()] == list(NAMES)


def test_two_authorities_have_two_names(first: Pair, second: Pair) -> None:
    subjects = {x509.load_pem_x509_certificate(pair.authority).subject for pair in (first, second)}
    assert len(subjects) == 2


def test_the_key_of_the_authority_is_nowhere(first: Pair) -> None:
    authority = x509.load_pem_x509_certificate(first.authority).public_key()
    leaf = x509.load_pem_x509_certificate(first.certificate).public_key()
    assert authority != leaf
    assert set(secret_data(issued(first, NOW))) == {"tls.crt", "tls.key", "ca.crt"}


# The Secret


def test_what_is_written_is_read(first: Pair, second: Pair) -> None:
    for material in (issued(first, NOW), prepared(issued(first, NOW), second, NOW)):
        read = read_secret(secret_data(material), {"chaperone.dev/since": str(NOW)})
        assert read is not None
        assert secret_data(read) == secret_data(material)
        assert (read.since, read.authorities) == (NOW, material.authorities)


@pytest.mark.parametrize("key", ["tls.crt", "tls.key", "ca.crt"])
@pytest.mark.parametrize("value", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_cannot_be_read_is_nothing(first: Pair, key: str, value: bytes) -> None:
    data = {**secret_data(issued(first, NOW)), key: value}
    assert read_secret(data, {}) is None


def test_a_foreign_key_or_authority_is_nothing(first: Pair, second: Pair) -> None:
    data = secret_data(issued(first, NOW))
    assert read_secret({**data, "tls.key": second.key}, {}) is None
    assert read_secret({**data, "ca.crt": second.authority}, {}) is None
    assert read_secret(data, {"chaperone.dev/since": "yesterday"}) is None


def test_a_prepared_pair_that_cannot_be_used_is_prepared_again(first: Pair, second: Pair) -> None:
    data = {**secret_data(prepared(issued(first, NOW), second, NOW)), "next.key": first.key}
    read = read_secret(data, {})
    assert read is not None
    assert read.upcoming is None


# In a cluster


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def settings(**more: Any) -> CertificateSettings:
    terms = {"lifetime": 3600.0, "renew_before": 1200.0, "overlap": 300.0}
    return CertificateSettings(manage=True, **{**terms, **more})


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster()
    configurations = webhook_configurations(
        url=None,
        service=("kube-chaperone", "chaperone-webhook", 443),
        ca_bundle=b"",
        server_version=(1, 30),
        identities=(),
    )
    for path, configuration in zip(CONFIGURATIONS, configurations, strict=True):
        made.put(path, configuration)
    return made


def bundles(cluster: FakeCluster) -> set[str]:
    return {
        webhook["clientConfig"].get("caBundle", "")
        for path in CONFIGURATIONS
        if path in cluster.objects
        for webhook in cluster.objects[path]["webhooks"]
    }


def served(cluster: FakeCluster) -> Pair:
    data = cluster.objects[SECRET]["data"]
    return Pair(base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"]))


def test_the_first_pass_makes_a_certificate_that_all_configurations_trust(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    CertificateKeeper(cluster, settings(), "kube-chaperone", Clock()).keep()
    assert cluster.objects[SECRET]["type"] == "kubernetes.io/tls"
    (bundle,) = bundles(cluster)
    assert shakes_hands(served(cluster), base64.b64decode(bundle), tmp_path)


def test_through_a_renewal_old_and_new_webhooks_are_always_trusted(cluster: FakeCluster) -> None:
    """Every API server that has read a bundle since the last pass must trust every certificate still served."""
    clock = Clock()
    keeper = CertificateKeeper(cluster, settings(), "kube-chaperone", clock)
    keeper.keep()
    began = served(cluster)
    seen = {began.certificate}
    held_bundles: list[str] = []
    for _ in range(48):  # a pass a minute: a renewal is due after 40
        clock.now += 60
        before = served(cluster)
        held_bundles = [*held_bundles[-1:], *bundles(cluster)]
        keeper.keep()
        (bundle,) = bundles(cluster)
        for held in {*held_bundles, bundle}:
            assert is_trusted(before, base64.b64decode(held), clock.now)
        seen.add(served(cluster).certificate)
    assert len(seen) == 2
    (bundle,) = bundles(cluster)
    assert base64.b64decode(bundle).count(b"BEGIN CERTIFICATE") == 2
    clock.now += 300
    keeper.keep()
    (bundle,) = bundles(cluster)
    assert base64.b64decode(bundle).count(b"BEGIN CERTIFICATE") == 1
    assert not is_trusted(began, base64.b64decode(bundle), clock.now)
    assert is_trusted(served(cluster), base64.b64decode(bundle), clock.now)


def test_nothing_is_written_when_nothing_is_due(cluster: FakeCluster) -> None:
    keeper = CertificateKeeper(cluster, settings(), "kube-chaperone", Clock())
    keeper.keep()
    cluster.writes.clear()
    keeper.keep()
    assert cluster.writes == []


def test_only_the_bundle_of_a_configuration_changes(cluster: FakeCluster) -> None:
    path = CONFIGURATIONS[2]
    before = cluster.objects[path]["webhooks"][0]
    CertificateKeeper(cluster, settings(), "kube-chaperone", Clock()).keep()
    after = cluster.objects[path]["webhooks"][0]
    after["clientConfig"].pop("caBundle")
    assert after == before


def test_a_configuration_that_somebody_deleted_stays_deleted(cluster: FakeCluster) -> None:
    del cluster.objects[CONFIGURATIONS[2]]
    CertificateKeeper(cluster, settings(), "kube-chaperone", Clock()).keep()
    assert CONFIGURATIONS[2] not in cluster.objects
    assert "" not in bundles(cluster)


def test_a_bundle_that_cannot_be_written_holds_up_the_promotion(cluster: FakeCluster) -> None:
    clock = Clock()
    keeper = CertificateKeeper(cluster, settings(), "kube-chaperone", clock)
    keeper.keep()
    began = served(cluster)
    cluster.refuse = lambda verb, path: "no" if verb == "update" and "webhookconf" in path else ""
    for _ in range(50):
        clock.now += 60
        with pytest.raises(RefusedError) if clock.now >= NOW + 2400 else nothing():
            keeper.keep()
    assert served(cluster) == began
    cluster.refuse = lambda _verb, _path: ""
    keeper.keep()
    keeper.keep()
    assert served(cluster) != began


def test_two_controllers_take_one_step(cluster: FakeCluster) -> None:
    """The Secret was written by the other one between reading and writing: a conflict, and no second pair."""
    clock = Clock()
    CertificateKeeper(cluster, settings(), "kube-chaperone", clock).keep()
    clock.now += 2400
    raced: list[Pair] = []

    def other_first(names: tuple[str, ...], now: float, lifetime: float) -> Pair:
        if not raced:
            raced.append(new_pair(names, now, lifetime))
            CertificateKeeper(cluster, settings(), "kube-chaperone", clock).keep()
        return new_pair(names, now, lifetime)

    with pytest.raises(RefusedError, match="modified"):
        CertificateKeeper(cluster, settings(), "kube-chaperone", clock, other_first).keep()
    assert base64.b64decode(cluster.objects[SECRET]["data"]["ca.crt"]).count(b"BEGIN") == 2


def test_a_secret_full_of_nonsense_is_begun_anew(cluster: FakeCluster) -> None:
    cluster.put(SECRET, {"metadata": {"name": "chaperone-webhook-tls"}, "data": {"tls.crt": "%%%"}})
    CertificateKeeper(cluster, settings(), "kube-chaperone", Clock()).keep()
    (bundle,) = bundles(cluster)
    assert bundle == cluster.objects[SECRET]["data"]["ca.crt"]


@pytest.mark.parametrize("terms", ["renewBefore: 90d", "overlap: 20d", "lifetime: 20d"])
def test_terms_that_cannot_work_are_refused(tmp_path: Path, terms: str) -> None:
    config = tmp_path / "controller.yaml"
    config.write_text(f"certificates: {{manage: true, {terms}}}\n")
    with pytest.raises(SettingsError, match="two overlaps"):
        load_file(ControllerSettings, config)


def test_it_is_off_until_asked_for() -> None:
    assert ControllerSettings().certificates.manage is False


class nothing:  # noqa: N801 - reads like contextlib.nullcontext
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def is_trusted(pair: Pair, authorities: bytes, now: float) -> bool:
    """The same at any moment, by a verifier of its own that is as strict."""
    store = Store(x509.load_pem_x509_certificates(authorities))
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    verifier = PolicyBuilder().store(store).time(moment).build_server_verifier(x509.DNSName(NAMES[0]))
    try:
        verifier.verify(x509.load_pem_x509_certificate(pair.certificate), [])
    except VerificationError:
        return False
    return True


def shakes_hands(pair: Pair, authorities: bytes, folder: Path) -> bool:
    """Does a strict client that trusts these authorities accept the webhook?"""
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    client = ssl.create_default_context(cadata=authorities.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    here, there = socket.socketpair()
    thread = threading.Thread(target=_serve, args=(server, there))
    thread.start()
    try:
        with client.wrap_socket(here, server_hostname=NAMES[0]):
            return True
    except ssl.SSLCertVerificationError:
        return False
    finally:
        here.close()
        thread.join()


def _serve(context: ssl.SSLContext, sock: socket.socket) -> None:
    try:
        with context.wrap_socket(sock, server_side=True):
            return
    except (ssl.SSLError, OSError):
        sock.close()
