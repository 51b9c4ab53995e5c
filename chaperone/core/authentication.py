"""Whom the gateway believes: the issuers file as typed values, or every fault in it with its field path.

The file is Kubernetes' own AuthenticationConfiguration, so that people can paste the one of their API server
(source: kubernetes/apiserver pkg/apis/apiserver, KEP-3331), with four fields of ours: `run`,
`signingAlgorithms` and `leeway` for each issuer, and `tokenReview` beside the list. Certificates are checked
where they are used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from chaperone.core.claims import CelError, Expression, compile_expression
from chaperone.core.document import Document
from chaperone.core.identity import EXTRA_PREFIX
from chaperone.core.policy import Fault

API_VERSIONS = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
KIND = "AuthenticationConfiguration"
MAX_ISSUERS = 64
MAX_LEEWAY = 300.0
ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
"""What can be verified. HMAC and `none` never will be; PS* and EdDSA are unknown to the library in use."""
DEFAULT_ALGORITHMS = frozenset({"RS256", "ES256"})

_EXTRA_KEY = re.compile(
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[a-z0-9/\-._~%!$&'()*+,;=:]+"
)
_RESERVED_DOMAINS = ("kubernetes.io", "k8s.io", EXTRA_PREFIX.rstrip("/"))
_EMAIL = re.compile(r"\bclaims\s*(\.\s*\??\s*email(?!\w)|\[\s*\??\s*[\"']email[\"'])")
_EMAIL_VERIFIED = re.compile(r"\bclaims\s*(\.\s*\??\s*email_verified\b|\[\s*\??\s*[\"']email_verified[\"'])")


@dataclass(frozen=True, slots=True)
class ClaimMapping:
    """Where a value comes from: a top-level claim with a prefix, or an expression. Neither: nowhere."""

    claim: str = ""
    prefix: str = ""
    expression: Expression | None = None


@dataclass(frozen=True, slots=True)
class ExtraMapping:
    key: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """A claim that must be there with this value, or an expression over `claims` that must be true."""

    claim: str = ""
    required_value: str = ""
    expression: Expression | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class UserRule:
    """An expression over `user` (username, uid, groups, extra) that must be true."""

    expression: Expression
    message: str = ""


@dataclass(frozen=True, slots=True)
class RunMapping:
    """Where the run, the model or the agent comes from: the first of these claims, or an expression.

    required: a token without it is refused (401).
    """

    claims: tuple[str, ...] = ()
    expression: Expression | None = None
    required: bool = False


DEFAULT_RUN = RunMapping(claims=("run", "run_id"), required=True)
"""Never `jti`: it names a token; a run that fetched a new one would shed its limits and its kill switch."""
DEFAULT_MODEL = RunMapping(claims=("model",))
DEFAULT_AGENT = RunMapping(claims=("agent",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """One entry of `jwt`. discovery_url "": the well-known path below url. leeway in seconds.

    certificate_authority: PEM, "" for the system's. uid is read and checked, but not used: nothing is
    impersonated under it.
    """

    url: str
    audiences: frozenset[str]
    discovery_url: str = ""
    certificate_authority: str = ""
    algorithms: frozenset[str] = DEFAULT_ALGORITHMS
    leeway: float = 30.0
    claim_rules: tuple[ClaimRule, ...] = ()
    user_rules: tuple[UserRule, ...] = ()
    username: ClaimMapping = ClaimMapping()
    groups: ClaimMapping = ClaimMapping()
    extra: tuple[ExtraMapping, ...] = ()
    run: RunMapping = DEFAULT_RUN
    model: RunMapping = DEFAULT_MODEL
    agent: RunMapping = DEFAULT_AGENT

    @property
    def document_url(self) -> str:
        return self.discovery_url or self.url.rstrip("/") + "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenReviewSettings:
    """`tokenReview`: tokens of no configured issuer are put to the API server. Its presence turns it on.

    audiences: empty for the API server's own. allow_service_accounts: let system:serviceaccount:NS:NAME in.
    run_extra, agent_extra, model_extra: the key in the reviewed user's extra that names each; "" for none.
    """

    audiences: tuple[str, ...] = ()
    allow_service_accounts: bool = False
    run_extra: str = "authentication.kubernetes.io/pod-uid"
    run_required: bool = True
    agent_extra: str = "authentication.kubernetes.io/pod-name"
    model_extra: str = ""


@dataclass(frozen=True, slots=True)
class AuthenticationConfiguration:
    issuers: tuple[Issuer, ...] = ()
    token_review: TokenReviewSettings | None = None


def read_configuration(value: object) -> AuthenticationConfiguration | tuple[Fault, ...]:
    """An AuthenticationConfiguration object (decoded YAML or JSON), or all its faults; never raises."""
    faults: list[Fault] = []
    document = Document(value, "", faults)
    if not isinstance(value, dict):
        document.fault("", f"must be a mapping with apiVersion, kind: {KIND} and jwt")
    if document.text("apiVersion") not in API_VERSIONS:
        document.fault("apiVersion", "must be one of " + ", ".join(API_VERSIONS))
    if document.text("kind") != KIND:
        document.fault("kind", f"must be {KIND}")
    issuers = tuple(_issuer(entry) for entry in document.children("jwt"))
    review = _token_review(document.child("tokenReview")) if document.has("tokenReview") else None
    _anonymous(document.child("anonymous"))
    if not issuers and review is None:
        document.fault("jwt", "must have an entry (or set tokenReview): nobody could be authenticated")
    if len(issuers) > MAX_ISSUERS:
        document.fault("jwt", f"must have at most {MAX_ISSUERS} entries")
    _refuse_doubles(document, "url", (issuer.url for issuer in issuers))
    _refuse_doubles(document, "discoveryURL", (issuer.discovery_url for issuer in issuers))
    document.close()
    return tuple(dict.fromkeys(faults)) if faults else AuthenticationConfiguration(issuers, review)


def _refuse_doubles(document: Document, field: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value and value in seen:
            document.fault(f"jwt[{index}].issuer.{field}", f"{value!r} belongs to another entry already")
        seen.add(value)


def _anonymous(document: Document) -> None:
    """`anonymous` of a pasted file: only its absence can be honoured."""
    if document.flag("enabled", default=False):
        document.fault("enabled", "must be false: the gateway lets nobody in without a token")
    tuple(document.children("conditions"))
    document.close()


def _token_review(document: Document) -> TokenReviewSettings:
    default = TokenReviewSettings()
    settings = TokenReviewSettings(
        audiences=document.texts("audiences"),
        allow_service_accounts=document.flag("allowServiceAccounts", default=False),
        run_extra=document.text("runExtra", default.run_extra),
        run_required=document.flag("runRequired", default=True),
        agent_extra=document.text("agentExtra", default.agent_extra),
        model_extra=document.text("modelExtra", default.model_extra),
    )
    document.close()
    return settings


def _issuer(entry: Document) -> Issuer:
    issuer, mappings, run = entry.child("issuer"), entry.child("claimMappings"), entry.child("run")
    result = Issuer(
        url=_url(issuer, "url", required=True),
        discovery_url=_discovery_url(issuer),
        audiences=_audiences(issuer),
        certificate_authority=issuer.text("certificateAuthority"),
        algorithms=_algorithms(entry),
        leeway=_leeway(entry),
        claim_rules=tuple(_claim_rule(rule) for rule in entry.children("claimValidationRules")),
        user_rules=tuple(filter(None, (_user_rule(rule) for rule in entry.children("userValidationRules")))),
        username=_claim_mapping(mappings.child("username"), required=True),
        groups=_claim_mapping(mappings.child("groups")),
        extra=_extra(mappings),
        run=_run_mapping(run.child("run"), DEFAULT_RUN),
        model=_run_mapping(run.child("model"), DEFAULT_MODEL),
        agent=_run_mapping(run.child("agent"), DEFAULT_AGENT),
    )
    _claim_mapping(mappings.child("uid"), prefixed=False)
    issuer.text("egressSelectorType")  # of an API server's network, not of ours
    _require_verified_email(mappings, result)
    for document in (issuer, mappings, run, entry):
        document.close()
    return result


def _url(issuer: Document, key: str, *, required: bool = False) -> str:
    url = issuer.text(key)
    if not url:
        if required:
            issuer.fault(key, "is missing: the issuer's https URL, exactly as it stands in the claim iss")
        return ""
    if fault := url_fault(url):
        issuer.fault(key, fault)
    return url


def url_fault(url: str) -> str:
    """What keeps this from being a URL to fetch keys from, or ""."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "is not a URL"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "must be printable ASCII without spaces"
    if parts.scheme != "https" or not parts.hostname:
        return "must be an https URL with a host"
    if "@" in parts.netloc:
        return "must not hold a user name or password"
    if "?" in url or "#" in url:
        return "must not have a query or a fragment"
    return ""


def _discovery_url(issuer: Document) -> str:
    url = _url(issuer, "discoveryURL")
    if url and url.rstrip("/") == issuer.text("url").rstrip("/"):
        issuer.fault("discoveryURL", "must differ from url; leave it out to use the well-known path")
    return url


def _audiences(issuer: Document) -> frozenset[str]:
    audiences = issuer.texts("audiences")
    if not audiences:
        issuer.fault("audiences", "must name at least one audience")
    policy = issuer.text("audienceMatchPolicy")
    if policy not in ("", "MatchAny"):
        issuer.fault("audienceMatchPolicy", "must be MatchAny")
    if len(audiences) > 1 and not policy:
        issuer.fault("audienceMatchPolicy", "must be MatchAny where there are several audiences")
    return frozenset(audiences)


def _algorithms(entry: Document) -> frozenset[str]:
    algorithms = entry.texts("signingAlgorithms")
    for index, name in enumerate(algorithms):
        if name not in ALGORITHMS:
            entry.fault(f"signingAlgorithms[{index}]", f"{name!r} {_why_not(name)}")
    return frozenset(algorithms) or DEFAULT_ALGORITHMS


def _why_not(algorithm: str) -> str:
    known = ", ".join(ALGORITHMS)
    if algorithm.startswith("HS") or algorithm.lower() == "none":
        return f"is never accepted: it proves nothing about the issuer. Use one of {known}"
    return f"cannot be verified here. Let the issuer sign with one of {known}"


def _leeway(entry: Document) -> float:
    leeway = entry.seconds("leeway", 30.0)
    if leeway > MAX_LEEWAY:
        entry.fault("leeway", "must be at most 5m")
    return leeway


def _claim_rule(rule: Document) -> ClaimRule:
    claim, value, message = rule.text("claim"), rule.text("requiredValue"), rule.text("message")
    expression = _expression(rule, "expression", "claims", boolean=True)
    if bool(claim) == rule.has("expression"):
        rule.fault("", "must have either claim (with requiredValue) or expression (with message)")
    if claim and message:
        rule.fault("message", "belongs to an expression")
    if rule.has("expression") and value:
        rule.fault("requiredValue", "belongs to a claim")
    rule.close()
    return ClaimRule(claim, value, expression, message)


def _user_rule(rule: Document) -> UserRule | None:
    if not rule.text("expression"):
        rule.fault("expression", "is missing")
    expression = _expression(rule, "expression", "user", boolean=True)
    message = rule.text("message")
    rule.close()
    return UserRule(expression, message) if expression else None


def _claim_mapping(mapping: Document, *, required: bool = False, prefixed: bool = True) -> ClaimMapping:
    claim = mapping.text("claim")
    prefix = mapping.text("prefix") if prefixed else ""
    expression = _expression(mapping, "expression", "claims")
    if claim and mapping.has("expression"):
        mapping.fault("", "must not have both claim and expression")
    if required and not claim and not mapping.has("expression"):
        mapping.fault("", "must have claim (with prefix) or expression")
    if mapping.has("expression") and prefix:
        mapping.fault("prefix", "belongs to a claim; an expression writes its own")
    if prefixed and claim and not mapping.has("prefix"):
        mapping.fault("prefix", 'is missing: write prefix: "" for none')
    if prefix.lower().startswith("system:"):
        mapping.fault("prefix", "must not begin with system:, which names the cluster's own identities")
    mapping.close()
    return ClaimMapping(claim, prefix, expression)


def _extra(mappings: Document) -> tuple[ExtraMapping, ...]:
    kept: dict[str, ExtraMapping] = {}
    for entry in mappings.children("extra"):
        key = entry.text("key")
        if fault := _extra_key_fault(key):
            entry.fault("key", fault)
        elif key in kept:
            entry.fault("key", f"{key!r} stands here twice")
        if not entry.text("valueExpression"):
            entry.fault("valueExpression", "is missing")
        if expression := _expression(entry, "valueExpression", "claims"):
            kept[key] = ExtraMapping(key, expression)
        entry.close()
    return tuple(kept.values())


def _extra_key_fault(key: str) -> str:
    if not _EXTRA_KEY.fullmatch(key):
        return "must be a lower-case domain and a path, such as example.org/team"
    domain = key.split("/", 1)[0]
    if any(domain == reserved or domain.endswith("." + reserved) for reserved in _RESERVED_DOMAINS):
        return f"must not lie below {', '.join(_RESERVED_DOMAINS)}: these are reserved"
    return ""


def _run_mapping(mapping: Document, default: RunMapping) -> RunMapping:
    claim = mapping.text("claim")
    expression = _expression(mapping, "expression", "claims")
    if claim and mapping.has("expression"):
        mapping.fault("", "must not have both claim and expression")
    required = mapping.flag("required", default=default.required)
    mapping.close()
    if claim or mapping.has("expression"):
        return RunMapping((claim,) if claim else (), expression, required)
    return RunMapping(default.claims, None, required)


def _expression(document: Document, key: str, variable: str, *, boolean: bool = False) -> Expression | None:
    source = document.text(key)
    if not source:
        return None
    try:
        return compile_expression(source, variable, boolean=boolean)
    except CelError as error:
        document.fault(key, str(error))
        return None


def _require_verified_email(mappings: Document, issuer: Issuer) -> None:
    """An address that nobody verified must not become a name: the same demand as the API server's."""
    username = issuer.username.expression
    if username is None or not _EMAIL.search(username.source):
        return
    others = [rule.expression for rule in issuer.claim_rules] + [extra.expression for extra in issuer.extra]
    sources = [expression.source for expression in (username, *others) if expression]
    if not any(_EMAIL_VERIFIED.search(source) for source in sources):
        mappings.fault(
            "username.expression",
            "uses claims.email, so claims.email_verified must be used too: here, in an extra value or in a "
            "claimValidationRules expression",
        )
