"""One row for each kind of write that an agent can make with what it has read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import yaml

from tests.e2e.line import APPLY, JSON, MERGE, STEPS, STRATEGIC, Said
from tests.e2e.planted import (
    CONFIG,
    EVERY,
    FIXED,
    OTHER,
    PASSWORD,
    SECRET,
    SECRETS,
    TOKEN,
    WEB,
    WIDGET,
    Scene,
    b64,
    unb64,
)


@dataclass(frozen=True)
class Row:
    """One write. body: made of what the agent has seen. code: of the answer. words: in its message. new: strings that
    the administrator must find in the object afterwards. gone: planted values that the row is there to remove."""

    name: str
    path: str
    body: Callable[[Scene], Any]
    content_type: str = JSON
    method: str = ""
    query: str = ""
    code: int = 200
    words: str = ""
    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    before: Callable[[Scene], object] | None = None

    def by(self, scene: Scene) -> Said:
        body = self.body(scene)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        method = self.method or ("PUT" if self.content_type == JSON else "PATCH")
        return scene.agent.send(method, scene.at(self.path) + self.query, data, self.content_type)


def unchanged(path: str, scene: Scene) -> Any:
    return scene.seen[path]


def env(document: Any) -> Any:
    return document["spec"]["template"]["spec"]["containers"][0]["env"]


def env_patch(scene: Scene, *items: Any) -> Any:
    """A strategic merge patch of the environment."""
    return {"spec": {"template": {"spec": {"containers": [{"name": "app", "env": list(items)}]}}}}


def data(path: str, key: str) -> Callable[[Scene], str]:
    return lambda scene: str(scene.seen[path]["data"][key])


def plain(scene: Scene, key: str = "password", path: str = SECRET) -> str:
    """A placeholder as text."""
    return unb64(scene.seen[path]["data"][key]).decode()


def rotate(scene: Scene) -> None:
    """The value changes behind the agent's back; it is set back by the row's own check."""
    scene.admin.must("PATCH", scene.at(SECRET), {"data": {"password": b64("Pl4nted-rotated-1")}}, MERGE)


FIELD = "?fieldManager=agent"
FORCE = f"{FIELD}&force=true"

RESOLVED = (
    *(
        Row(f"WR-01 put back unchanged: {path.rsplit('/', 2)[1]}", path, partial(unchanged, path))
        for path in EVERY
    ),
    Row(
        "WR-02 put back with a label",
        SECRET,
        lambda s: s.changed(SECRET, lambda it: it["metadata"].update(labels={"new": "label-x"})),
        new=("label-x",),
    ),
    Row(
        "WR-02 put back with another key",
        SECRET,
        lambda s: s.changed(SECRET, lambda it: it["data"].update(more=b64("more-x"))),
        new=(b64("more-x"),),
    ),
    Row(
        "WR-02 a key left out is deleted",
        SECRET,
        lambda s: s.changed(SECRET, lambda it: it["data"].pop("token")),
        gone=(TOKEN,),
    ),
    Row(
        "WR-02 put back with another environment variable",
        WEB,
        lambda s: s.changed(WEB, lambda it: env(it).insert(0, {"name": "NEW", "value": "new-x"})),
        new=("new-x",),
    ),
    Row(
        "WR-02 put back with an edited file",
        CONFIG,
        lambda s: s.changed(
            CONFIG,
            lambda it: it["data"].update(
                {"app.properties": it["data"]["app.properties"].replace("8080", "9090")}
            ),
        ),
        new=("server.port=9090",),
    ),
    Row(
        "WR-02 a placeholder as a part of another secret value",
        SECRET,
        lambda s: s.changed(SECRET, lambda it: it["data"].update(url=b64(f"postgres://app:{plain(s)}@db/x"))),
        new=(b64(f"postgres://app:{PASSWORD}@db/x"),),
    ),
    Row(
        "WR-02 stringData with a placeholder of data",
        SECRET,
        lambda s: s.changed(SECRET, lambda it: it.update(stringData={"again": plain(s, "token")})),
        new=(b64(TOKEN),),
    ),
    Row(
        "WR-07 merge patch, one value",
        SECRET,
        lambda s: {"data": {"password": data(SECRET, "password")(s), "x": b64("x-x")}},
        MERGE,
        new=(b64("x-x"),),
    ),
    Row("WR-07 merge patch of a list", WEB, lambda s: s.part(WEB, "spec"), MERGE),
    Row(
        "WR-07 merge patch of a custom resource",
        WIDGET,
        lambda s: {"spec": {"pair": {"value": s.seen[WIDGET]["spec"]["pair"]["value"]}}},
        MERGE,
    ),
    Row(
        "WR-07 merge patch sets a new value",
        SECRET,
        lambda s: {"data": {"token": b64("agents-own")}},
        MERGE,
        new=(b64("agents-own"),),
        gone=(TOKEN,),
    ),
    Row(
        "WR-07 strategic merge patch by name",
        WEB,
        lambda s: env_patch(s, env(s.seen[WEB])[1], {"name": "B", "value": "b-x"}),
        STRATEGIC,
        new=("b-x",),
    ),
    Row(
        "WR-07 strategic merge patch with directives",
        WEB,
        lambda s: {
            "spec": {
                "template": {
                    "spec": {
                        "$setElementOrder/containers": [{"name": "app"}],
                        "containers": [
                            {
                                "name": "app",
                                "$setElementOrder/env": [{"name": "DB_PASSWORD"}],
                                "env": [{"name": "MODE", "$patch": "delete"}, env(s.seen[WEB])[1]],
                            }
                        ],
                    }
                }
            }
        },
        STRATEGIC,
    ),
    Row(
        "WR-07 strategic merge patch of a Secret",
        SECRET,
        lambda s: {"data": {"token": data(SECRET, "token")(s)}},
        STRATEGIC,
    ),
    Row(
        "WR-07 JSON patch, replace",
        SECRET,
        lambda s: [{"op": "replace", "path": "/data/password", "value": data(SECRET, "password")(s)}],
        STEPS,
    ),
    Row(
        "WR-07 JSON patch, add in another masked place",
        SECRET,
        lambda s: [{"op": "add", "path": "/data/copy", "value": data(SECRET, "token")(s)}],
        STEPS,
        new=(b64(TOKEN),),
    ),
    Row(
        "WR-07 JSON patch, test against the placeholder",
        SECRET,
        lambda s: [
            {"op": "test", "path": "/data/password", "value": data(SECRET, "password")(s)},
            {"op": "add", "path": "/data/n", "value": b64("n-x")},
        ],
        STEPS,
        new=(b64("n-x"),),
    ),
    Row(
        "WR-07 JSON patch, a list by index",
        WEB,
        lambda s: [
            {"op": "replace", "path": "/spec/template/spec/containers/0/env/1", "value": env(s.seen[WEB])[1]}
        ],
        STEPS,
    ),
    Row(
        "WR-07 JSON patch, move of what is no secret",
        WEB,
        lambda s: [
            {
                "op": "move",
                "from": "/spec/template/spec/containers/0/env/0",
                "path": "/spec/template/spec/containers/0/env/1",
            }
        ],
        STEPS,
    ),
    Row("WR-08 apply", SECRET, lambda s: s.part(SECRET), APPLY, query=FIELD),
    Row("WR-08 apply by force", SECRET, lambda s: s.part(SECRET), APPLY, query=FORCE),
    Row("WR-08 apply in YAML", SECRET, lambda s: yaml.safe_dump(s.part(SECRET)).encode(), APPLY, query=FIELD),
    Row(
        "WR-08 apply of a deployment in YAML",
        WEB,
        lambda s: yaml.safe_dump(s.part(WEB, "spec")).encode(),
        APPLY,
        query=FORCE,
    ),
    Row("WR-08 apply of a config map", CONFIG, lambda s: s.part(CONFIG, "data"), APPLY, query=FIELD),
    Row("WR-08 apply of a custom resource", WIDGET, lambda s: s.part(WIDGET, "spec"), APPLY, query=FIELD),
    Row(
        "an immutable Secret stays as it is",
        FIXED,
        lambda s: s.changed(FIXED, lambda it: it["metadata"].update(labels={"a": "label-y"})),
        new=("label-y",),
    ),
    Row(
        "a body in YAML", SECRET, lambda s: yaml.safe_dump(s.seen[SECRET]).encode(), "application/yaml", "PUT"
    ),
)

REFUSED = (
    Row(
        "WR-03 a new Secret",
        SECRETS,
        lambda s: {**s.part(SECRET), "metadata": {"name": "copy"}},
        method="POST",
        code=422,
        words="no object here",
    ),
    Row(
        "WR-03 a new object by apply",
        f"{SECRETS}/copy",
        lambda s: {**s.part(SECRET), "metadata": {"name": "copy"}},
        APPLY,
        query=FIELD,
        code=422,
        words="no object here",
    ),
    Row(
        "WR-04 of another object, at the same place",
        OTHER,
        lambda s: {"data": {"password": data(SECRET, "password")(s)}},
        MERGE,
        code=422,
        words="of another object",
    ),
    Row(
        "WR-04 another object put in place of this one",
        OTHER,
        lambda s: s.changed(SECRET, lambda it: it["metadata"].update(name="other")),
        code=422,
        words="of another object",
    ),
    Row(
        "WR-04 of another object, at a new place",
        OTHER,
        lambda s: {"data": {"new": data(SECRET, "password")(s)}},
        MERGE,
        code=422,
        words="of another object",
    ),
    Row(
        "WR-04 the same value in another object",
        OTHER,
        lambda s: s.changed(OTHER, lambda it: it["data"].update(password=data(SECRET, "same")(s))),
        code=422,
        words="of another object",
    ),
    Row(
        "WR-05 in a label",
        SECRET,
        lambda s: {"metadata": {"labels": {"a": plain(s)}}},
        MERGE,
        code=422,
        words="metadata.labels.a",
    ),
    Row(
        "WR-05 in an annotation",
        SECRET,
        lambda s: s.changed(SECRET, lambda it: it["metadata"].update(annotations={"a": plain(s)})),
        code=422,
        words="metadata.annotations.a",
    ),
    Row(
        "WR-05 in an annotation, as base64",
        SECRET,
        lambda s: {"metadata": {"annotations": {"a": data(SECRET, "password")(s)}}},
        MERGE,
        code=422,
    ),
    Row(
        "WR-05 in an environment variable that is shown",
        WEB,
        lambda s: s.changed(WEB, lambda it: env(it)[0].update(value=env(it)[1]["value"])),
        code=422,
        words="not masked",
    ),
    Row(
        "WR-05 the name of the variable is changed",
        WEB,
        lambda s: s.changed(WEB, lambda it: env(it)[1].update(name="MOTTO")),
        code=422,
        words="not masked",
    ),
    Row(
        "WR-05 the name is changed by a JSON patch",
        WEB,
        lambda s: [
            {"op": "replace", "path": "/spec/template/spec/containers/0/env/1/name", "value": "MOTTO"}
        ],
        STEPS,
        code=422,
        words="would be shown",
    ),
    Row(
        "WR-05 the name is changed by a merge patch",
        WIDGET,
        lambda s: {"spec": {"pair": {"name": "MOTTO"}}},
        MERGE,
        code=422,
        words="would be shown",
    ),
    Row("WR-05 in a key", SECRET, lambda s: {"data": {plain(s): b64("x")}}, MERGE, code=422, words="name"),
    Row(
        "WR-05 in another annotation of a deployment",
        WEB,
        lambda s: env_patch(s) | {"metadata": {"annotations": {"note": env(s.seen[WEB])[1]["value"]}}},
        STRATEGIC,
        code=422,
    ),
    Row(
        "WR-05 as text where base64 is due",
        SECRET,
        lambda s: {"data": {"token": plain(s)}},
        MERGE,
        code=422,
        words="base64",
    ),
    Row(
        "WR-06 of an old value",
        SECRET,
        lambda s: {"data": {"password": data(SECRET, "password")(s)}},
        MERGE,
        code=409,
        words="read the object again",
        before=rotate,
        gone=(PASSWORD,),
    ),
    Row(
        "WR-06 of an old value, in a PUT",
        SECRET,
        lambda s: s.seen[SECRET],
        code=409,
        words="read the object again",
        before=rotate,
        gone=(PASSWORD,),
    ),
    Row(
        "WR-06 of an old value, by apply",
        SECRET,
        lambda s: s.part(SECRET),
        APPLY,
        query=FORCE,
        code=409,
        before=rotate,
        gone=(PASSWORD,),
    ),
    Row(
        "WR-07 JSON patch, copy into an annotation",
        SECRET,
        lambda s: [
            {"op": "add", "path": "/metadata/annotations", "value": {}},
            {"op": "copy", "from": "/data/password", "path": "/metadata/annotations/a"},
        ],
        STEPS,
        code=422,
        words="may not be copied",
    ),
    Row(
        "WR-07 JSON patch, move",
        SECRET,
        lambda s: [{"op": "move", "from": "/data/password", "path": "/data/motto"}],
        STEPS,
        code=422,
        words="may not be copied",
    ),
    Row(
        "WR-07 JSON patch, copy of what is around it",
        WEB,
        lambda s: [
            {
                "op": "copy",
                "from": "/spec/template/spec/containers/0",
                "path": "/spec/template/spec/containers/1",
            }
        ],
        STEPS,
        code=422,
    ),
    Row(
        "WR-07 JSON patch, test against a guess",
        SECRET,
        lambda s: [{"op": "test", "path": "/data/password", "value": b64(PASSWORD)}],
        STEPS,
        code=422,
        words="only be tested against its placeholder",
    ),
    Row(
        "WR-07 JSON patch, test of all data",
        SECRET,
        lambda s: [{"op": "test", "path": "/data", "value": s.true[SECRET]["data"]}],
        STEPS,
        code=422,
    ),
    Row(
        "WR-07 JSON patch, with an index from the end",
        WEB,
        lambda s: [
            {
                "op": "copy",
                "from": "/spec/template/spec/containers/0/env/-1/value",
                "path": "/metadata/annotations/a",
            }
        ],
        STEPS,
        code=422,
    ),
    Row(
        "WR-10 protobuf",
        SECRET,
        lambda s: b"k8s\0" + plain(s).encode(),
        "application/vnd.kubernetes.protobuf",
        "PUT",
        code=415,
        words="use JSON",
    ),
    Row(
        "WR-10 protobuf, in base64",
        SECRET,
        lambda s: b"k8s\0\x0a" + data(SECRET, "password")(s).encode(),
        "application/vnd.kubernetes.protobuf",
        "PUT",
        code=415,
        words="use JSON",
    ),
    Row(
        "WR-10 CBOR",
        SECRET,
        lambda s: b"\xd9\xd9\xf7\xa0",
        "application/cbor",
        "PUT",
        code=415,
        words="use JSON",
    ),
    Row(
        "in the query",
        SECRETS,
        lambda s: b"",
        "",
        "GET",
        code=422,
        query="?labelSelector=a%3Dmasked-aaaaaaaaaaaaaaaaaaaaaaaa",
        words="query",
    ),
    Row(
        "in the options of a delete",
        SECRET,
        lambda s: {"preconditions": {"uid": plain(s)}},
        method="DELETE",
        code=422,
    ),
    Row(
        "in an eviction",
        "/api/v1/namespaces/PLACE/pods/p/eviction",
        lambda s: {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": plain(s)}},
        method="POST",
        code=422,
    ),
    Row(
        "in a scale",
        f"{WEB}/scale",
        lambda s: {"metadata": {"labels": {"a": env(s.seen[WEB])[1]["value"]}}},
        MERGE,
        code=422,
    ),
    Row(
        "behind a proxy",
        "/api/v1/namespaces/PLACE/services/web/proxy/x",
        lambda s: plain(s).encode(),
        "text/plain",
        "POST",
        code=422,
    ),
)
