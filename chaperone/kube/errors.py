"""What can go wrong between us and an API server: no answer, or an answer that is a refusal.

Messages name the request, the cause and what to do. They never carry a token or a body.
"""

from __future__ import annotations

from collections.abc import Mapping

REMEDIES: Mapping[int, str] = {
    401: "the API server does not know this credential: check the token file, certificate or kubeconfig",
    403: "the account lacks this right: grant it in its ClusterRole (the chart's rbac.yaml has the list)",
    404: "is the CustomResourceDefinition installed (crds/), and is the name right?",
    422: "the object does not fit the installed schema: install the crds/ of this release",
}


class KubeError(Exception):
    """Any failure of a call to the API server."""


class EndpointError(KubeError):
    """The kubeconfig, token or certificate that names an API server cannot be used."""


class UnreachableError(KubeError):
    """No usable answer: refused connection, TLS failure, timeout, cut or unreadable answer. It may have been
    done."""


class RefusedError(KubeError):
    """The API server answered with an error. code: HTTP status; reason: the Status reason, such as
    "Conflict"; causes: (reason, field) of each of its details.causes."""

    def __init__(
        self,
        request: str,
        code: int,
        reason: str = "",
        message: str = "",
        causes: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.causes = causes
        self.code = code
        self.reason = reason
        self.message = message
        remedy = REMEDIES.get(code, "")
        words = [f"{request}: {code}", reason, message, remedy]
        super().__init__(": ".join(word for word in words if word))

    @property
    def not_found(self) -> bool:
        return self.code == 404

    @property
    def already_exists(self) -> bool:
        return self.code == 409 and self.reason == "AlreadyExists"

    @property
    def conflict(self) -> bool:
        """Somebody changed the object since it was read: the compare-and-swap lost."""
        return self.code == 409 and self.reason != "AlreadyExists"

    @property
    def gone(self) -> bool:
        """The resourceVersion or continue token is too old: list again."""
        return self.code == 410 or self.reason in ("Expired", "Gone")

    @property
    def temporary(self) -> bool:
        return self.code == 429 or self.code >= 500
