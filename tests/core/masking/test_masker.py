"""What is masked in which object, and what stays byte-equal: by kind and shape, in every form in which an answer comes."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from chaperone.core.masking import Masker, Place, SecretPlace, Terms, UnmaskableError, find, is_placeholder
from chaperone.core.masking.report import SECRET_IN_KEY, SECRET_IN_NAME
from chaperone.core.policy import Exemption
from tests.core.masking.engine import (
    AWS,
    GITHUB,
    MINT,
    STANDARD,
    FewForms,
    OneKnown,
    b64,
    custom,
    masked,
    places,
    reported,
    spec_of,
)

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
SECRETS = Place("", "secrets", "ns", "s")
PODS = Place("", "pods", "ns", "p")
CANARY = "Qx7-canary-Zw9"


def pod(container: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "ns", "uid": "pod-1", **metadata},
        "spec": {"containers": [{"name": "main", "image": "app:1", **container}]},
    }


def config_map(data: dict[str, str], **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "uid": "cm-1", **metadata},
        "data": data,
    }


def container_after(container: dict[str, Any]) -> dict[str, Any]:
    after: dict[str, Any] = masked(pod(container), PODS)["spec"]["containers"][0]
    return after


def annotated(text: str, key: str = "example.com/note") -> str:
    after: str = masked(custom({}, annotations={key: text}))["metadata"]["annotations"][key]
    return after


# Pods, and what holds them


def test_an_environment_variable_by_name_and_by_value() -> None:
    after = container_after(
        {
            "env": [
                {"name": "DB_PASSWORD", "value": CANARY},
                {"name": "LOG_LEVEL", "value": "debug"},
                {"name": "ID", "value": AWS},
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "db-password", "key": "token"}}},
                {"name": "DATABASE", "value": f"postgres://app:{CANARY}@db/x"},
                {"name": "EMPTY_PASSWORD", "value": ""},
                {"name": "PASSWORD", "value": "$(DB_PASSWORD)"},
            ],
            "envFrom": [{"secretRef": {"name": "password"}}],
        }
    )["env"]
    assert is_placeholder(after[0]["value"])
    assert after[1]["value"] == "debug"
    assert is_placeholder(after[2]["value"])
    assert after[3] == {
        "name": "TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "db-password", "key": "token"}},
    }
    assert after[4]["value"].startswith("postgres://app:masked-")
    assert after[4]["value"].endswith("@db/x")
    assert [each["value"] for each in after[5:]] == ["", "$(DB_PASSWORD)"]


def test_probes_and_hooks() -> None:
    headers = [
        {"name": "Authorization", "value": "Bearer abc"},
        {"name": "X-Api-Key", "value": "k"},
        {"name": "Cookie", "value": "a=b"},
    ]
    after = container_after(
        {
            "livenessProbe": {
                "httpGet": {"path": "/healthz", "httpHeaders": [*headers, {"name": "Accept", "value": "*/*"}]}
            },
            "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", f"curl -u a:{CANARY} http://h"]}}},
        }
    )
    probe = after["livenessProbe"]["httpGet"]
    assert all(is_placeholder(each["value"]) for each in probe["httpHeaders"][:3])
    assert probe["httpHeaders"][3]["value"] == "*/*"
    assert CANARY not in json.dumps(after)
    assert after["lifecycle"]["preStop"]["exec"]["command"][2].startswith("curl -u a:masked-")


@pytest.mark.parametrize(
    "kind",
    [
        "Deployment",
        "ReplicaSet",
        "StatefulSet",
        "DaemonSet",
        "Job",
        "CronJob",
        "ControllerRevision",
        "PodTemplate",
        "Rollout",
    ],
)
def test_a_pod_is_a_pod_wherever_it_stands(kind: str) -> None:
    template = {"spec": {"template": pod({"env": [{"name": "API_KEY", "value": CANARY}]})}}
    field = {"CronJob": {"jobTemplate": template}, "ControllerRevision": template}.get(kind, template["spec"])
    body = {
        "kind": kind,
        "metadata": {"name": "x", "uid": "1"},
        "data" if kind == "ControllerRevision" else "spec": field,
    }
    assert CANARY not in json.dumps(masked(body))


def test_the_rest_of_a_pod_stays() -> None:
    clean = pod(
        {
            "image": "registry.example.com/app@sha256:" + "ab" * 32,
            "args": ["--leader-elect", "--port=8080"],
            "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
        },
        annotations={"checksum/secret": "cd" * 32},
        labels={"app": "x"},
        resourceVersion="12",
    )
    clean["spec"] |= {
        "imagePullSecrets": [{"name": "regcred"}],
        "automountServiceAccountToken": True,
        "volumes": [
            {
                "name": "s",
                "secret": {"secretName": "db-password", "items": [{"key": "password", "path": "pw"}]},
            },
            {
                "name": "t",
                "projected": {
                    "sources": [
                        {
                            "serviceAccountToken": {
                                "audience": "vault",
                                "expirationSeconds": 3600,
                                "path": "token",
                            }
                        }
                    ]
                },
            },
        ],
    }
    clean["status"] = {
        "containerStatuses": [
            {"containerID": "containerd://" + "ef" * 32, "imageID": "x@sha256:" + "ab" * 32}
        ]
    }
    assert masked(clean, PODS) == clean


# Secrets


def secret(**more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "ns", "uid": "sec-1"},
        "type": "Opaque",
    } | more


@pytest.mark.parametrize(
    "type_",
    [
        "Opaque",
        "kubernetes.io/dockerconfigjson",
        "kubernetes.io/basic-auth",
        "kubernetes.io/ssh-auth",
        "kubernetes.io/tls",
        "kubernetes.io/service-account-token",
        "x/y",
    ],
)
def test_every_value_of_every_secret(type_: str) -> None:
    values = {
        "token": b64(CANARY),
        "tls.key": b64("k"),
        ".dockerconfigjson": b64('{"auths":{}}'),
        "username": b64("admin"),
        "empty": "",
        "none": None,
    }
    after = masked(secret(type=type_, data=values, immutable=True), SECRETS)
    assert list(after["data"]) == list(values)
    assert all(is_placeholder(after["data"][key]) for key in list(values)[:4])
    assert all(next(find(after["data"][key])).encoded for key in list(values)[:4])
    assert (after["data"]["empty"], after["data"]["none"]) == ("", None)
    assert (after["type"], after["immutable"]) == (type_, True)


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def test_certificates_of_a_secret_stay_if_they_are_nothing_else() -> None:
    data = {"ca.crt": b64(CERTIFICATE), "tls.crt": b64(f"# chain\n{CERTIFICATE}{CERTIFICATE}")}
    assert masked(secret(data=data), SECRETS)["data"] == data
    text = {"tls.crt": CERTIFICATE}
    assert masked(secret(stringData=text), SECRETS)["stringData"] == text
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n"
    for content in (CERTIFICATE + key, "hunter2", CERTIFICATE + "hunter2", key, ""):
        after = masked(secret(data={"ca.crt": b64(content) or "AA=="}), SECRETS)
        assert is_placeholder(after["data"]["ca.crt"])
    assert is_placeholder(masked(secret(data={"cert": b64(CERTIFICATE)}), SECRETS)["data"]["cert"])


def test_a_secret_is_one_by_its_url_whatever_it_calls_itself() -> None:
    for kind in ("Secret", "ConfigMap", "Thing", None):
        body = secret(data={"x": b64(CANARY)}) | {"kind": kind}
        assert is_placeholder(masked(body, SECRETS)["data"]["x"])
    bare = {"data": {"x": b64(CANARY)}, "stringData": {"y": CANARY}}
    after = masked(bare, Place("", "secrets", "ns", "s"))
    assert is_placeholder(after["stringData"]["y"])
    assert masked({"data": {"x": b64("plain words here")}}, Place("other.io", "secrets", "ns", "s"))["data"][
        "x"
    ] == b64("plain words here")


def test_a_secret_is_one_by_its_kind_wherever_it_stands() -> None:
    body = custom(
        {"resources": [secret(data={"x": b64(CANARY)}), {"kind": "Secret", "data": None, "stringData": 7}]}
    )
    assert is_placeholder(masked(body)["spec"]["resources"][0]["data"]["x"])


def test_string_data_has_its_place_in_data() -> None:
    (found,) = places(secret(stringData={"pass.word": CANARY}), SECRETS)
    (stored,) = places(secret(data={"pass.word": b64(CANARY)}), SECRETS)
    assert found.path == ("stringData", "pass.word")
    assert stored.path == ("data", "pass.word")
    assert found.path_class == stored.path_class == 'data["pass.word"]'
    assert found.placeholder == stored.placeholder
    assert (found.value, stored.value) == (CANARY, CANARY)
    assert (found.encoded, stored.encoded) == (False, True)


def test_bytes_of_a_secret_that_are_no_text() -> None:
    (found,) = places(secret(data={"jks": b64(b"\xfe\xed\xfe\xed")}), SECRETS)
    assert found.value == b"\xfe\xed\xfe\xed"
    (broken,) = places(secret(data={"x": "no base64!"}), SECRETS)
    assert broken.value == "no base64!"


# Annotations


def test_last_applied_is_masked_by_the_rules_of_its_own_kind() -> None:
    applied = (
        json.dumps(secret(data={"x": b64(CANARY)}, stringData={"y": "word"}), separators=(",", ":")) + "\n"
    )
    after = annotated(applied, LAST_APPLIED)
    assert after.endswith("}\n")
    inside = json.loads(after)
    assert is_placeholder(inside["data"]["x"])
    assert is_placeholder(inside["stringData"]["y"])
    assert {**inside, "data": 0, "stringData": 0} == {**json.loads(applied), "data": 0, "stringData": 0}


@pytest.mark.parametrize("text", ["{broken", '["a"]', "words", '{"a":"x","a":"b"}'])
def test_last_applied_that_cannot_be_read_goes_whole(text: str) -> None:
    assert is_placeholder(annotated(text, LAST_APPLIED))


def test_last_applied_without_secrets_stays_to_the_byte() -> None:
    text = '{ "kind" : "Pod",\n "spec": {"x": "\\u0041", "n": 1e3, "big": 123456789012345678901234567890} }'
    assert annotated(text, LAST_APPLIED) == text


def test_other_annotations() -> None:
    assert annotated('{"password":"x1","n":1}').startswith('{"password":"masked-')
    assert annotated(f"postgres://u:{CANARY}@h/d").startswith("postgres://u:masked-")
    assert is_placeholder(annotated("abc", "example.com/api-token"))
    for key, value in {
        "nginx.ingress.kubernetes.io/auth-tls-secret": "prod/ca-secret",
        "nginx.ingress.kubernetes.io/auth-secret": "basic-auth",
        "checksum/secret": "ab" * 32,
        "vault.hashicorp.com/agent-inject-secret-db": "database/creds/app",
        "cert-manager.io/private-key-rotation-policy": "Always",
        "example.com/password": "",
    }.items():
        assert annotated(value, key) == value
    body = custom({}, annotations={"n": 7})
    assert masked(body) == body


# ConfigMaps and nested texts


TEXTS = {
    ".env": f"A=1\nDB_PASSWORD={CANARY}\nB=2\n",
    "application.properties": f"server.port=80\nspring.datasource.password={CANARY}\n",
    "app.ini": f"[db]\nuser = a\npassword = {CANARY}\n",
    "app.yaml": f"db:\n  user: a # the user\n  password: {CANARY}\n",
    "app.json": f'{{"db": {{"user": "a", "password": "{CANARY}"}}}}',
    "app.xml": f"<db><user>a</user><password>{CANARY}</password></db>",
    "app.toml": f'[db]\npassword = "{CANARY}"\n',
    "list.yaml": f"env:\n- name: API_KEY\n  value: {CANARY}\n",
    "many.yaml": f"a: b\n---\napiVersion: v1\nkind: Secret\nmetadata: {{name: x}}\nstringData:\n  anything: {CANARY}\n",
    "comment.yaml": f"a: b\n# password: {CANARY}\n",
    "template.yaml": f"a: {{{{ .x }}}}\npassword: {CANARY}\n",
    "deep.json": json.dumps({"inner": json.dumps({"deeper": f"password: {CANARY}\nuser: a\n"})}),
    "kubeconfig": f"apiVersion: v1\nkind: Config\nusers:\n- name: u\n  user:\n    token: {CANARY}\n",
    "DB_PASSWORD": CANARY,
    "url": f"redis://:{CANARY}@r:6379",
}


@pytest.mark.parametrize("key", TEXTS)
def test_texts_of_every_format(key: str) -> None:
    text = TEXTS[key]
    after = masked(config_map({key: text, "other": "stays"}), Place("", "configmaps", "ns", "c"))["data"]
    assert CANARY not in after[key]
    assert after["other"] == "stays"
    (found,) = find(after[key])
    assert after[key][: found.start] == text[: text.index(CANARY)]
    assert after[key][found.end :] == text[text.index(CANARY) + len(CANARY) :]


def test_a_kubeconfig_still_reads_and_keeps_what_is_public() -> None:
    text = (
        "clusters:\n- cluster: {certificate-authority-data: LS0tLS1DQQ==, server: https://h}\n  name: c\n"
        "users:\n- name: u\n  user:\n    client-certificate-data: LS0tLS1DRVJU\n    client-key-data: LS0tLS1LRVk=\n"
        "- name: v\n  user: {username: a, password: pw1}\n"
        "- name: w\n  user: {auth-provider: {config: {access-token: a1, id-token: b1, refresh-token: c1, client-secret: d1, client-id: e}}}\n"
        "- name: x\n  user: {tokenFile: /x/token, exec: {command: aws, env: [{name: AWS_SECRET_ACCESS_KEY, value: f1}]}}\n"
    )
    after = masked(config_map({"config": text}))["data"]["config"]
    assert "LS0tLS1DQQ==" in after
    assert "LS0tLS1DRVJU\n" in after
    assert "client-id: e" in after
    assert "tokenFile: /x/token" in after
    assert "LS0tLS1LRVk=" not in after
    found = list(find(after))
    assert len(found) == 7
    assert [each.encoded for each in found] == [False] * 6 + [True]


def test_binary_data() -> None:
    data = {
        "a.jks": b64(b"\x00\x01\x02"),
        "b.txt": b64(f"password={CANARY}"),
        "c.bin": b64(b"\xff\x00" * 20),
        "d": 7,
        "e": "",
    }
    after = masked({"kind": "ConfigMap", "metadata": {"uid": "1"}, "binaryData": data})["binaryData"]
    assert is_placeholder(after["a.jks"])
    assert is_placeholder(after["b.txt"])
    assert (after["c.bin"], after["d"], after["e"]) == (data["c.bin"], 7, "")


def test_the_manifest_of_a_secret_that_does_not_parse_goes_whole() -> None:
    broken = "apiVersion: v1\nkind: Secret\ndata:\n  a: Zm9v\n  a: YmFy\n"
    assert is_placeholder(masked(config_map({"x": broken}))["data"]["x"])
    template = "apiVersion: v1\nkind: Secret\ndata:\n  a: {{ .Values.a }}\n"
    assert masked(config_map({"x": template}))["data"]["x"] == template
    words = "This kind of thing is Secret, see kind: SecretStore\n"
    assert masked(config_map({"x": words}))["data"]["x"] == words


def test_a_text_that_cannot_be_put_together_again_goes_whole() -> None:
    text = "a: |2\n    password: hunter2\n    b: c\nd: &x {password: q1}\n"
    after = masked(config_map({"x": text}))["data"]["x"]
    assert "hunter2" not in after
    assert "q1" not in after


def test_what_is_packed_goes_whole_and_stays_base64() -> None:
    packed = b64(json.dumps({"password": CANARY}))
    after = spec_of(
        {"a": packed, "b": b64(packed), "c": packed.rstrip("=") + "", "d": b64("nothing of interest")}
    )
    assert next(find(after["a"])).encoded
    assert next(find(after["b"])).encoded
    assert is_placeholder(after["c"])
    assert after["d"] == b64("nothing of interest")
    wrapped = packed[:40] + "\n" + packed[40:]
    found = next(place for place in places(custom({"a": wrapped})))
    assert (found.value, found.encoded) == (wrapped, False)


def test_more_than_can_be_unpacked_goes_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from chaperone.core.masking import layers

    monkeypatch.setattr(layers, "MAX_UNPACKED", 10)
    assert is_placeholder(spec_of({"a": b64(layers.gzipped(b"x" * 100))})["a"])


# Custom resources


def test_names_on_any_depth() -> None:
    after = spec_of(
        {
            "db": {"password": CANARY, "host": "h", "port": 5432, "passwordPolicy": "strict"},
            "list": [[{"token": CANARY}]],
            "enabled": {"password": True, "token": 7, "secret": None},
            "passwords": {"alice": CANARY, "type": "plain", "deep": {"x": {"token": CANARY}}},
            "tokens": [CANARY, "$(X)", 7, {"token": CANARY}],
            "auth": {"value": CANARY, "type": "basic"},
            "password": {"valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}},
            "secrets": ["etcd-certs"],
            "pull": {"imagePullSecrets": ["regcred"], "existingSecret": "db", "userPasswordKey": "password"},
            "params": [
                {"name": "db.password", "value": CANARY, "default": CANARY},
                {"name": 7, "value": "x"},
                {"value": "y"},
            ],
            "Env": [{"Name": "API_KEY", "Value": CANARY}],
            "pairs": [{"key": "token", "value": CANARY}, {"key": "a", "value": 3}],
            "storageClass": {
                "parameters": {
                    "adminSecretName": "s",
                    "restuserkey": "k",
                    "csi.storage.k8s.io/provisioner-secret-name": "n",
                }
            },
        }
    )
    assert CANARY not in json.dumps(after)
    assert after["db"] == {**after["db"], "host": "h", "port": 5432, "passwordPolicy": "strict"}
    assert after["enabled"] == {"password": True, "token": 7, "secret": None}
    assert after["passwords"]["type"] == "plain"
    assert after["tokens"][1:3] == ["$(X)", 7]
    assert after["password"] == {"valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}
    assert after["secrets"] == ["etcd-certs"]
    assert after["pull"] == {
        "imagePullSecrets": ["regcred"],
        "existingSecret": "db",
        "userPasswordKey": "password",
    }
    assert after["params"][1:] == [{"name": 7, "value": "x"}, {"value": "y"}]
    assert after["storageClass"]["parameters"]["adminSecretName"] == "s"


def test_the_name_of_a_secret_is_not_a_secret_in_an_object_of_the_api() -> None:
    spec = {
        "configSecret": "alertmanager-main",
        "secret": "shop",
        "params": [{"name": "token", "value": "git-token"}],
    }
    assert spec_of(spec) == spec
    assert is_placeholder(spec_of({"clientSecret": "correct-horse"})["clientSecret"])
    assert is_placeholder(spec_of({"secret": "hunter2"})["secret"])
    assert "shop" not in spec_of({"text": "a: b\nsecret: shop\n"})["text"]


def test_free_form_texts_of_custom_resources() -> None:
    after = spec_of(
        {
            "values": f"db:\n  password: {CANARY}\n",
            "valuesObject": {"rootPassword": CANARY},
            "script": f"export TOKEN={CANARY}\n",
        }
    )
    assert CANARY not in json.dumps(after)
    assert after["values"].startswith("db:\n  password: masked-")


def test_external_and_sealed_secrets_stay() -> None:
    external = {
        "kind": "ExternalSecret",
        "metadata": {"uid": "1"},
        "spec": {
            "secretStoreRef": {"name": "vault"},
            "data": [
                {"secretKey": "password", "remoteRef": {"key": "secret/data/db", "property": "password"}}
            ],
            "target": {"name": "x", "template": {"data": {"password": "{{ .password }}"}}},
        },
    }
    sealed = {
        "kind": "SealedSecret",
        "metadata": {"uid": "1"},
        "spec": {"encryptedData": {"password": "AgBy3i4OJSWK" + GITHUB}},
    }
    provider = custom(
        {
            "parameters": {
                "objects": '- objectName: "db"\n  secretPath: "secret/data/db"\n  secretKey: "password"\n'
            }
        }
    )
    for body in (external, sealed, provider):
        assert masked(body) == body
    assert is_placeholder(spec_of({"s3": {"secretKey": "hunter2"}})["s3"]["secretKey"])


def test_certificates_and_requests_stay() -> None:
    body = {
        "kind": "CertificateSigningRequest",
        "metadata": {"uid": "1"},
        "spec": {
            "request": b64("-----BEGIN CERTIFICATE REQUEST-----\nx\n-----END CERTIFICATE REQUEST-----"),
            "signerName": "a/b",
        },
        "status": {"certificate": b64(CERTIFICATE)},
    }
    hook = {
        "kind": "MutatingWebhookConfiguration",
        "webhooks": [{"clientConfig": {"caBundle": b64(CERTIFICATE)}}],
    }
    for clean in (body, hook):
        assert masked(clean) == clean


@pytest.mark.parametrize(
    "body",
    [
        {
            "kind": "TokenRequest",
            "spec": {"audiences": ["a"]},
            "status": {"token": CANARY, "expirationTimestamp": "2024-01-01T00:00:00Z"},
        },
        {"kind": "TokenReview", "spec": {"token": CANARY}, "status": {"authenticated": True}},
    ],
)
def test_answers_that_are_credentials(body: dict[str, Any]) -> None:
    after = masked(body, Place("", "serviceaccounts", "ns", "sa", subresource="token"))
    assert CANARY not in json.dumps(after)
    assert {**after, "spec": 0, "status": 0} == {**body, "spec": 0, "status": 0}


def test_a_schema_speaks_about_fields() -> None:
    schema = {
        "properties": {
            "password": {"type": "string", "description": "password: the password"},
            "list": {"items": [{"type": "x"}, 7]},
        }
    }
    body = custom({"versions": [{"schema": {"openAPIV3Schema": schema}}]})
    assert masked(body) == body
    leaky = custom({"openAPIV3Schema": {"description": f"such as {AWS}"}})
    assert AWS not in json.dumps(masked(leaky))


# Status and messages


def test_an_empty_secret_stays_empty() -> None:
    assert spec_of({"password": "", "token": "", "name": ""}) == {"password": "", "token": "", "name": ""}


def test_messages() -> None:
    body = custom({})
    body["status"] = {
        "conditions": [{"type": "Ready", "message": f"cannot pull https://u:{CANARY}@r.example.com/x"}],
        "terminated": {"message": f"password={CANARY}"},
    }
    assert CANARY not in json.dumps(masked(body))
    event = {
        "kind": "Event",
        "metadata": {"uid": "1"},
        "message": f"pull https://u:{CANARY}@r failed",
        "note": AWS,
    }
    after = masked(event)
    assert after["message"].startswith("pull https://u:masked-")
    assert is_placeholder(after["note"])


def test_a_status_that_quotes_the_object() -> None:
    body = {
        "kind": "Status",
        "status": "Failure",
        "message": f'Pod "x" is invalid: spec: Forbidden: {{Name:"PASSWORD", Value:"{CANARY}"}}',
        "reason": "Invalid",
        "details": {
            "name": AWS,
            "kind": "Pod",
            "causes": [{"message": f'"password":"{CANARY}"', "field": "spec"}],
        },
        "code": 422,
    }
    after = masked(body)
    assert CANARY not in json.dumps(after)
    assert is_placeholder(after["details"]["name"])
    assert {**after, "message": 0, "details": 0} == {**body, "message": 0, "details": 0}
    bare = {"kind": "Status", "details": {"name": 7}}
    assert masked(bare) == bare


def test_values_inside_of_managed_fields() -> None:
    entry = {
        "manager": "x",
        "fieldsV1": {
            "f:spec": {
                f'v:"{AWS}"': {},
                'k:{"containerPort":80,"protocol":"TCP"}': {".": {}},
                f'k:{{"name":"{AWS}"}}': {},
            }
        },
    }
    after = masked(custom({}, managedFields=[entry]))["metadata"]["managedFields"]
    keys = list(after[0]["fieldsV1"]["f:spec"])
    assert AWS not in json.dumps(after)
    assert keys[0].startswith('v:"masked-')
    assert keys[1] == 'k:{"containerPort":80,"protocol":"TCP"}'
    assert json.loads(keys[2][2:])["name"].startswith("masked-")
    (found, other) = places(custom({}, managedFields=[entry]))
    assert found.path == other.path == ("metadata", "managedFields")


def test_managed_fields_without_values_stay() -> None:
    several: tuple[dict[str, Any], ...] = ({"f:spec": {"f:replicas": {}}}, {})
    for fields in several:
        body = custom({}, managedFields=[{"manager": "x", "fieldsV1": fields}])
        assert masked(body) == body


def test_names_and_keys_are_only_noted() -> None:
    body = custom({}, labels={AWS: GITHUB}, annotations={GITHUB: "x"})
    body["metadata"]["name"] = AWS
    report = reported(body)
    assert report.total == 0
    assert report.flags == {SECRET_IN_NAME: 2, SECRET_IN_KEY: 2}
    assert masked(body) == body


# Representations


def test_a_list_of_secrets_whose_items_carry_no_kind() -> None:
    items = [{"metadata": {"name": name, "uid": name}, "data": {"x": b64(CANARY)}} for name in ("a", "b")]
    body = {
        "kind": "SecretList",
        "apiVersion": "v1",
        "metadata": {"continue": f"x{AWS}", "resourceVersion": "1"},
        "items": items,
    }
    for kind, place in (
        ("SecretList", Place()),
        ("SecretList", SECRETS),
        (None, Place("", "secrets", "ns")),
        ("SecretList", Place("", "secrets", kind="Secret")),
    ):
        after = masked(body | {"kind": kind}, place)
        values = [item["data"]["x"] for item in after["items"]]
        assert all(map(is_placeholder, values))
        assert values[0] != values[1], "equal values of two objects must not show that they are equal"
        assert after["metadata"] == body["metadata"]


def test_a_list_of_config_maps_and_a_list_of_anything() -> None:
    release = {"metadata": {"name": "x", "uid": "1"}, "data": {"DB_PASSWORD": CANARY}}
    assert CANARY not in json.dumps(
        masked({"kind": "ConfigMapList", "items": [release]}, Place("", "configmaps"))
    )
    mixed = {
        "kind": "List",
        "items": [secret(data={"x": b64(CANARY)}), pod({"env": [{"name": "TOKEN", "value": CANARY}]}), "odd"],
    }
    assert CANARY not in json.dumps(masked(mixed))
    assert b64(CANARY) not in json.dumps(masked(mixed))


def test_an_object_is_the_same_in_a_list_a_watch_and_alone() -> None:
    body = secret(data={"x": b64(CANARY)})
    alone = masked(body, SECRETS)["data"]
    assert (
        masked({"kind": "SecretList", "items": [body]}, Place("", "secrets", "ns"))["items"][0]["data"]
        == alone
    )
    assert masked({"type": "ADDED", "object": body}, Place("", "secrets", "ns"))["object"]["data"] == alone
    assert places({"kind": "List", "items": [body]})[0].path == ("items", 0, "data", "x")
    assert places({"type": "ADDED", "object": body})[0].path == ("object", "data", "x")
    assert places({"kind": "List", "items": [body]})[0].path_class == "data.x"


def test_events_of_a_watch() -> None:
    place = Place("", "secrets", "ns")
    for kind in ("ADDED", "MODIFIED", "DELETED"):
        assert is_placeholder(
            masked({"type": kind, "object": secret(data={"x": b64(CANARY)})}, place)["object"]["data"]["x"]
        )
    bookmark = {
        "type": "BOOKMARK",
        "object": {
            "kind": "Secret",
            "metadata": {"resourceVersion": "7", "annotations": {"k8s.io/initial-events-end": "true"}},
        },
    }
    assert masked(bookmark, place) == bookmark
    error = {"type": "ERROR", "object": {"kind": "Status", "message": f"password={CANARY}"}}
    assert CANARY not in json.dumps(masked(error, place))


def test_a_list_of_events() -> None:
    body = [{"type": "ADDED", "object": secret(data={"x": b64(CANARY)})}]
    assert b64(CANARY) not in json.dumps(masked(body))


def table(rows: list[Any], columns: Any = None) -> dict[str, Any]:
    return {
        "kind": "Table",
        "metadata": {},
        "columnDefinitions": columns or [{"name": "Name"}, {"name": "Password"}, 7, {"name": 7}],
        "rows": rows,
    }


def test_a_table_with_objects_and_without() -> None:
    applied = json.dumps(secret(data={"x": b64(CANARY)}))
    partial = {
        "kind": "PartialObjectMetadata",
        "metadata": {"name": "s", "uid": "1", "annotations": {LAST_APPLIED: applied}},
    }
    cells = ["s", CANARY, 3, f"https://u:{CANARY}@h", None, ""]
    rows = [
        {"cells": cells, "object": partial},
        {"cells": ["s", "<none>", 3], "object": secret(data={"x": b64(CANARY)})},
        {"cells": ["s", "3"], "object": None},
        {"cells": None},
        "odd",
    ]
    after = masked(table(rows), SECRETS)
    assert CANARY not in json.dumps(after)
    assert b64(CANARY) not in json.dumps(after)
    assert after["rows"][0]["cells"][0] == "s"
    assert is_placeholder(after["rows"][0]["cells"][1])
    assert after["rows"][1]["cells"] == ["s", "<none>", 3]
    assert after["rows"][2:] == rows[2:]
    assert masked({"kind": "Table", "rows": 7}) == {"kind": "Table", "rows": 7}
    assert masked(table([{"cells": ["a"]}], columns="x"))["rows"] == [{"cells": ["a"]}]
    found = places(table([{"cells": ["s", CANARY], "object": partial}]), SECRETS)
    assert ("rows", 0, "cells", 1) in [each.path for each in found]


# Values that were seen before


def test_what_was_masked_is_masked_wherever_it_turns_up_in_the_document() -> None:
    body = pod(
        {"env": [{"name": "TOKEN", "value": CANARY}], "args": [f"echo {CANARY}"], "workingDir": CANARY},
        labels={"a": CANARY},
    )
    after = masked(body, PODS)
    container = after["spec"]["containers"][0]
    assert CANARY not in json.dumps(container)
    assert after["metadata"]["labels"] == {"a": CANARY}
    assert len({container["env"][0]["value"], container["args"][0][5:], container["workingDir"]}) == 3


def test_many_values_of_a_document() -> None:
    values = [f"Zq{number:04}x{number * 7919}Kp" for number in range(40)]
    body = custom({"tokens": values, "text": " ".join(values)})
    after = masked(body)
    assert not any(value in json.dumps(after) for value in values)
    assert len(list(find(after["spec"]["text"]))) == 40


def test_ordinary_words_are_masked_only_in_their_place() -> None:
    after = spec_of({"password": "postgres", "image": "postgres:16"})
    assert is_placeholder(after["password"])
    assert after["image"] == "postgres:16"


def test_known_values_stand_for_what_they_stood_for() -> None:
    placeholder = MINT.placeholder("other", "data.x", CANARY)
    masker = Masker(Terms(), FewForms(), MINT, OneKnown(CANARY, placeholder))
    body = custom({"a": f"it is {CANARY}", "b": "no"})
    collected: list[SecretPlace] = []
    report = masker.document(body, Place(), collect=collected.append)
    assert body["spec"] == {"a": f"it is {placeholder}", "b": "no"}
    assert report.counts == {"known-value": 1}
    assert collected == []
    assert masker.text(f"log {CANARY}")[0] == f"log {placeholder}"


# Terms


def test_further_names() -> None:
    masker = Masker(Terms(keys=("kundenNummer",)), FewForms(), MINT)
    body = custom(
        {
            "KUNDEN_NUMMER": "4711",
            "text": "kunden-nummer=4711\n",
            "env": [{"name": "kundenNummer", "value": "4711"}],
            "yaml": "a: b\nkundenNummer: 4711\n",
        }
    )
    assert "4711" not in json.dumps(masked(body, masker=masker))
    assert masked(body) == body


def exempting(
    path: str, kind: str = "ConfigMap", group: str = "", namespaces: tuple[str, ...] | None = None
) -> Masker:
    return Masker(Terms(exempt=(Exemption(kind, path, "public", group, namespaces),)), FewForms(), MINT)


@pytest.mark.parametrize(
    "path",
    ["data.DB_PASSWORD", "data", 'data["app.yaml"]', 'data["app.yaml"].db.password', 'data[".env"]#API_KEY'],
)
def test_an_exempt_place_stays(path: str) -> None:
    body = config_map(
        {"DB_PASSWORD": "a1", "app.yaml": "db:\n  password: b1\n", ".env": "API_KEY=c1\n"}, namespace="ns"
    )
    place = Place("", "configmaps", "ns", "c")
    after = json.dumps(masked(body, place, exempting(path)))
    shown = [
        value
        for value in ("a1", "b1", "c1")
        if f'"{value}"' in after or f": {value}\\n" in after or f"={value}\\n" in after
    ]
    expected = {
        "data.DB_PASSWORD": ["a1"],
        'data["app.yaml"]': ["b1"],
        'data["app.yaml"].db.password': ["b1"],
        'data[".env"]#API_KEY': ["c1"],
    }
    assert shown == expected.get(path, ["a1", "b1", "c1"])


def test_an_exemption_holds_for_its_kind_group_and_namespaces_alone() -> None:
    body = config_map({"DB_PASSWORD": CANARY}, namespace="ns")
    place = Place("", "configmaps", "ns", "c")
    holding = [exempting("data"), exempting("data", "configmaps"), exempting("data", namespaces=("n*",))]
    others = [
        exempting("data", "Secret"),
        exempting("data", group="x.io"),
        exempting("data", namespaces=("other",)),
        exempting("metadata"),
    ]
    for masker in holding:
        assert CANARY in json.dumps(masked(body, place, masker))
    for masker in others:
        assert CANARY not in json.dumps(masked(body, place, masker))


def test_what_an_object_says_of_itself_exempts_nothing_where_the_url_decides() -> None:
    body = secret(data={"x": b64(CANARY)}) | {"kind": "ConfigMap"}
    assert is_placeholder(masked(body, SECRETS, exempting("data"))["data"]["x"])
    listed = {"kind": "List", "items": [config_map({"DB_PASSWORD": CANARY})]}
    assert CANARY in json.dumps(masked(listed, masker=exempting("data")))


# What the agent wrote itself


def test_what_was_submitted_is_shown_as_submitted() -> None:
    sent = secret(stringData={"x": CANARY, "y": "other1"})
    echo = STANDARD.submitted(sent, SECRETS)
    answer = secret(data={"x": b64(CANARY), "y": b64("changed1"), "z": b64("more1")})
    report = STANDARD.document(answer, SECRETS, echo=echo)
    assert answer["data"]["x"] == b64(CANARY)
    assert is_placeholder(answer["data"]["y"])
    assert is_placeholder(answer["data"]["z"])
    assert report.total == 2


def test_what_was_submitted_at_another_place_is_masked() -> None:
    echo = STANDARD.submitted(pod({"env": [{"name": "A_TOKEN", "value": CANARY}]}), PODS)
    answer = pod(
        {
            "env": [{"name": "A_TOKEN", "value": CANARY}, {"name": "B_TOKEN", "value": CANARY}],
            "args": [f"--url=http://u:{CANARY}@h"],
        }
    )
    STANDARD.document(answer, PODS, echo=echo)
    env = answer["spec"]["containers"][0]["env"]
    assert env[0]["value"] == CANARY
    assert is_placeholder(env[1]["value"])
    assert CANARY not in answer["spec"]["containers"][0]["args"][0]


def test_a_known_value_that_was_submitted_tells_nothing() -> None:
    """Whether a guess is a secret elsewhere must not show in the answer to the write that makes the guess."""
    masker = Masker(Terms(), FewForms(), MINT, OneKnown(CANARY, MINT.placeholder("o", "p", CANARY)))
    sent = custom({"note": CANARY, "list": [CANARY, 7]})
    answer = copy.deepcopy(sent)
    assert masker.document(answer, Place(), echo=masker.submitted(sent, Place())).total == 0
    assert answer == sent


# Paths


def test_places_say_where() -> None:
    body = pod({"env": [{"name": "TOKEN", "value": CANARY}], "args": ["--password=abcd"]})
    body["metadata"]["annotations"] = {"a.b/c": '{"x": {"password": "hunter2"}}'}
    found = {each.path_class: each for each in places(body, PODS)}
    assert set(found) == {
        "spec.containers[main].env[TOKEN].value",
        "spec.containers[main].args[]",
        "metadata.annotations.a.b/c.x.password",
    } or set(found) == {
        "spec.containers[main].env[TOKEN].value",
        "spec.containers[main].args[]",
        'metadata.annotations["a.b/c"].x.password',
    }
    env = found["spec.containers[main].env[TOKEN].value"]
    assert env.path == ("spec", "containers", 0, "env", 0, "value")
    assert (env.value, env.rule, env.encoded) == (CANARY, "name-value", False)
    assert body["spec"]["containers"][0]["env"][0]["value"] == CANARY, "asking changes nothing"


def test_the_order_of_a_list_does_not_matter() -> None:
    first, second = {"name": "A_TOKEN", "value": "a1"}, {"name": "B_TOKEN", "value": "b1"}
    one, other = pod({"env": [first, second]}), pod({"env": [second, first]})
    assert {each.placeholder for each in places(one, PODS)} == {
        each.placeholder for each in places(other, PODS)
    }


def test_without_a_uid_the_name_tells_objects_apart() -> None:
    bodies = [{"kind": "Secret", "metadata": {"name": name}, "data": {"x": b64(CANARY)}} for name in "ab"]
    assert len({places(body, SECRETS)[0].placeholder for body in bodies}) == 2
    places_ = [
        places({"kind": "Secret", "data": {"x": b64(CANARY)}}, Place("", "secrets", "ns", name))[0]
        for name in "ab"
    ]
    assert len({each.placeholder for each in places_}) == 2


# What cannot be masked


@pytest.mark.parametrize("document", ["text", 7, None, True])
def test_what_is_no_document(document: Any) -> None:
    with pytest.raises(UnmaskableError):
        STANDARD.document(document, Place())


def test_what_is_nested_too_deep() -> None:
    deep: Any = {}
    for _ in range(2000):
        deep = {"a": deep}
    with pytest.raises(UnmaskableError, match="too deep"):
        STANDARD.document(deep, Place())


def test_lone_surrogates_do_not_stop_it() -> None:
    assert CANARY not in str(spec_of({"a": f"\ud800 password={CANARY}", "b": f"\udfff {AWS}"}))


# Texts


def test_a_plain_text() -> None:
    text, report = STANDARD.text(f"connect to postgres://u:{CANARY}@h failed, {AWS}")
    assert text.startswith("connect to postgres://u:masked-")
    assert report.counts == {"url-userinfo": 1, "aws": 1}
    assert STANDARD.text("nothing of interest") == ("nothing of interest", reported({}))
    again, more = STANDARD.text(text)
    assert (again, more.total) == (text, 0)


def test_a_text_is_bound_to_its_place_and_can_be_collected() -> None:
    collected: list[SecretPlace] = []
    one = STANDARD.text(AWS, Place("", "pods", "ns", "a"), collect=collected.append)[0]
    other = STANDARD.text(AWS, Place("", "pods", "ns", "b"))[0]
    assert one != other
    assert [(each.placeholder, each.value) for each in collected] == [(one, AWS)]


def test_a_command_in_a_json_text() -> None:
    for command in (["mongosh", "-p", CANARY], ["sh", "-c", f'mysqladmin -p"{CANARY}"']):
        text = json.dumps(pod({"command": command}))
        after = STANDARD.text(text)[0]
        assert CANARY not in after
        assert json.loads(after)
        assert CANARY not in STANDARD.text(f"broken: {text}")[0] or command[0] == "mongosh"


def test_a_json_text_is_masked_as_one() -> None:
    assert STANDARD.text('{"password": "x1"}')[0].startswith('{"password": "masked-')


def test_longer_finds_swallow_shorter_ones_and_rests_are_masked_too() -> None:
    placeholder = MINT.placeholder("u", "p", "v")
    key = "-----BEGIN PRIVATE KEY-----\n" + "A" * 40 + placeholder + "\n-----END PRIVATE KEY-----"
    text = STANDARD.text(key)[0]
    assert "AAAA" not in text
    assert placeholder in text
    assert STANDARD.text(f"password={placeholder}")[0] == f"password={placeholder}"
    assert STANDARD.text(f"token={AWS} x", Place())[0].count("masked-") == 1
