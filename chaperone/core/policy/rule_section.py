"""spec.rules: from objects to compiled rules, and the faults that a rule can have."""

from __future__ import annotations

import re

from chaperone.core.expression import Scope
from chaperone.core.legible import visible
from chaperone.core.policy.fields import Fields
from chaperone.core.policy.globs import Globs, globs
from chaperone.core.policy.rules import ResourceGlob, Rule, RuleBook
from chaperone.core.policy.sections import ACTIONS, expression, patterns
from chaperone.core.policy.terms import Fault
from chaperone.core.verdict import Action

VERBS = (
    "*",
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "head",
    "post",
    "put",
    "options",
)
"""Those of resources, and of paths their HTTP methods in lower case."""
READ_VERBS = frozenset({"*", "get", "list", "watch"})
RESERVED_NAME = "defaults"
"""Verdicts say this where no rule matched."""
UNLIFTABLE = frozenset(
    {
        "agentpolicies",
        "agentsessions",
        "apiservices",
        "approvalrequests",
        "approvalrequests/status",
        "certificatesigningrequests/approval",
        "certificatesigningrequests/status",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
        "mutatingwebhookconfigurations",
        "nodes/proxy",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
    }
)
"""Resources of the risk rows that no rule lifts, as far as a resource name tells."""

_NAME = re.compile(r"[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?", re.ASCII)
_GROUP = re.compile(r"[-a-z0-9.*?]*", re.ASCII)
_RESOURCE = re.compile(r"[-a-z0-9.*?]+(/[-a-z0-9.*?]+)?", re.ASCII)
_PATH = re.compile(r"/[^*?\s]*\*?|\*")
_KIND = re.compile(r"[A-Z][A-Za-z]*", re.ASCII)


def read_rules(spec: Fields, warnings: list[Fault]) -> RuleBook:
    """All rules; what is legal and surely not meant goes to the warnings."""
    rules: list[Rule] = []
    names: set[str] = set()
    for fields in spec.children("rules"):
        rule = _rule(fields, warnings)
        if rule.name in names:
            fields.fault(
                "name", f'"{rule.name}" is the name of an earlier rule: verdicts could not tell them apart'
            )
        names.add(rule.name)
        rules.append(rule)
    return RuleBook(tuple(rules))


def _rule(fields: Fields, warnings: list[Fault]) -> Rule:
    name = fields.name("name", _NAME, "a rule name: letters, digits, '-', '_', '.', at most 63")
    if name == RESERVED_NAME:
        fields.fault("name", f'"{RESERVED_NAME}" is what verdicts say when no rule matched: choose another')
    for key in ("name", "action"):
        fields.require(key)
    fields.require("match", "is required; a rule that is to match everything says match: {}")
    action = ACTIONS[fields.choice("action", tuple(ACTIONS), "Deny")]
    message = fields.text("message")
    rule = _match(fields.child("match"), name, action, message)
    fields.close()
    _warn(rule, fields, warnings)
    return rule


def _match(fields: Fields, name: str, action: Action, message: str) -> Rule:
    resources = _resources(fields)
    rule = Rule(
        name=name,
        action=action,
        message=message,
        verbs=_verbs(fields),
        groups=_groups(fields),
        resources=resources,
        namespaces=patterns(fields, "namespaces"),
        names=patterns(fields, "names"),
        paths=_paths(fields),
        expression=expression(fields, Scope.RULE),
    )
    fields.close()
    if rule.paths is not None and not rule.speaks_of_paths:
        fields.fault(
            "nonResourceURLs",
            "cannot stand beside apiGroups, resources, namespaces or names, which paths have not: make it two rules",
        )
    return rule


def _verbs(fields: Fields) -> frozenset[str] | None:
    verbs = fields.texts("verbs")
    for index, verb in enumerate(verbs or ()):
        if verb not in VERBS:
            fields.fault(f"verbs[{index}]", f'"{visible(verb, 40)}" is none of {", ".join(VERBS)}')
    return None if verbs is None else frozenset(verbs)


def _groups(fields: Fields) -> Globs | None:
    groups = fields.texts("apiGroups", may_be_empty_text=True)
    for index, group in enumerate(groups or ()):
        if group in ("core", "v1"):
            fields.fault(f"apiGroups[{index}]", f'"{group}" is not a group: the core group is written ""')
        elif not _GROUP.fullmatch(group):
            fields.fault(
                f"apiGroups[{index}]", f'"{visible(group, 80)}" is not a group: leave the version out'
            )
    return None if groups is None else globs(groups)


def _resources(fields: Fields) -> tuple[ResourceGlob, ...] | None:
    resources = fields.texts("resources")
    for index, resource in enumerate(resources or ()):
        if _KIND.fullmatch(resource):
            what = "is a kind: write the resource, in lower case and plural (pods, deployments/scale)"
            fields.fault(f"resources[{index}]", f'"{resource[:80]}" {what}')
        elif not _RESOURCE.fullmatch(resource):
            what = "is not a resource: write pods, deployments/scale, pods/*, */scale or *"
            fields.fault(f"resources[{index}]", f'"{visible(resource, 80)}" {what}')
    return None if resources is None else tuple(_resource_glob(resource) for resource in resources)


def _resource_glob(pattern: str) -> ResourceGlob:
    resource, slash, subresource = pattern.partition("/")
    return ResourceGlob(globs([resource]), globs([subresource]) if slash else None)


def _paths(fields: Fields) -> Globs | None:
    paths = fields.texts("nonResourceURLs")
    for index, path in enumerate(paths or ()):
        if not _PATH.fullmatch(path):
            what = 'is not a path: it begins with "/", and "*" stands at its end or not at all'
            fields.fault(f"nonResourceURLs[{index}]", f'"{visible(path, 80)}" {what}')
    return None if paths is None else globs(paths)


def _warn(rule: Rule, fields: Fields, warnings: list[Fault]) -> None:
    reads = rule.expression.reads if rule.expression else frozenset()
    if reads & {"object", "oldObject"} and (rule.verbs is None or rule.verbs & READ_VERBS):
        what = (
            "reads the object, which a get, list or watch does not have: limit the rule to verbs that write"
        )
        warnings.append(Fault(fields.at("match.expression"), what))
    lifted = (
        [] if rule.action is Action.DENY else [name for name in rule_resources(rule) if name in UNLIFTABLE]
    )
    if lifted:
        what = f"never lifts the ban on {', '.join(lifted)}: that attacks identity or the guard itself"
        warnings.append(Fault(fields.at("action"), what))


def rule_resources(rule: Rule) -> list[str]:
    """The resources that a rule names, as written."""
    return [
        "/".join(part.patterns[0] for part in (glob.resource, glob.subresource) if part is not None)
        for glob in rule.resources or ()
    ]
