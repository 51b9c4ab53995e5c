"""CEL of policies: what compiles, what it may see, and that nothing but true and false comes out of it."""

from __future__ import annotations

import threading

import pytest

from chaperone.core.expression import MAX_TEXT, EvaluationError, Expression, Scope, compile_expression, facts

FACTS = facts(
    {
        "claims": {"owner": "acme"},
        "caller.username": "ci",
        "caller.groups": ["agents", "ci"],
        "request.verb": "update",
        "request.parameters": {"dryRun": ["All"]},
        "object": {"spec": {"replicas": 0}, "flag": True, "list": list(range(1000))},
        "oldObject": None,
    }
)


def compiled(text: str, scope: Scope = Scope.RULE) -> Expression:
    expression = compile_expression(text, scope=scope)
    assert isinstance(expression, Expression), expression
    return expression


TRUE_OR_FALSE = {
    "a field of the object": ("object.spec.replicas == 0", True),
    "a value of the object that is a boolean": ("object.flag", True),
    "a claim": ('claims.owner == "other"', False),
    "a group": ('"agents" in caller.groups', True),
    "a macro over groups": ('caller.groups.exists(group, group.startsWith("x"))', False),
    "no object at all": ("oldObject == null", True),
    "a field that may be missing": ("has(object.spec.paused) && object.spec.paused", False),
    "an optional field": ("object.spec.?paused.orValue(true)", True),
    "a parameter": ('"All" in request.parameters.dryRun', True),
    "string functions": ('caller.username.upperAscii() == "CI"', True),
    "what does not need the unknown": ('request.verb == "update" || request.name == "x"', True),
}


@pytest.mark.parametrize(("text", "value"), TRUE_OR_FALSE.values(), ids=TRUE_OR_FALSE)
def test_value(text: str, value: bool) -> None:
    assert compiled(text).evaluate(FACTS) is value


WITHOUT_VALUE = {
    "a missing field": ("object.spec.nope == 1", "not there"),
    "a fact that is not known": ('request.name == "x"', "not known"),
    "a field of null": ("oldObject.spec.replicas == 0", "cannot be evaluated"),
    "a value that is no boolean": ("object.spec.replicas", "neither true nor false"),
    "too many steps": (
        "object.list.exists(x, object.list.exists(y, object.list.exists(z, x + y + z < 0)))",
        "too many steps",
    ),
}


@pytest.mark.parametrize(("text", "reason"), WITHOUT_VALUE.values(), ids=WITHOUT_VALUE)
def test_no_value_is_an_error_and_never_false(text: str, reason: str) -> None:
    value = compiled(text).evaluate(FACTS)
    assert isinstance(value, EvaluationError)
    assert reason in value.reason


def test_what_the_library_cannot_convert_is_an_error() -> None:
    assert isinstance(compiled("object.a == 1").evaluate(facts({"object": {"a": 2**70}})), EvaluationError)
    assert isinstance(
        compiled('object.a == "x"').evaluate(facts({"object": {"a": "\ud800"}})), EvaluationError
    )


def test_an_error_quotes_nothing_of_the_object() -> None:
    data = facts({"object": {"key": "hunter2", "map": {}}})
    for text in ("object.map[object.key] == 1", "int(object.key) == 1", "object.key.nope"):
        value = compiled(text).evaluate(data)
        assert isinstance(value, EvaluationError)
        assert "hunter2" not in value.reason


REFUSED = {
    "a syntax error, with its place": ("object.spec.replicas = 0", "line 1, column 22"),
    "the place in a later line": ("true &&\nnope", "line 2, column 1"),
    "an unknown name, with the known ones": ("subject == 1", "known are claims, caller.username"),
    "a misspelt field of the request": ('request.verbs == "get"', "request.verbs"),
    "a field of another type": ("request.verb == 1", "no matching overload"),
    "no boolean": ("1 + 1", "of type INT"),
    "too long": ("true || " * 600 + "true", f"limit is {MAX_TEXT}"),
    "too deep": ("(" * 200 + "true" + ")" * 200, "recursion"),
    "nothing": ("", "does not compile"),
    "a NUL, at which the library would cut it": ("true\0 && false", "NUL"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(text: str, message: str) -> None:
    fault = compile_expression(text, scope=Scope.RULE)
    assert isinstance(fault, str)
    assert message in fault


def test_a_subject_does_not_see_the_request() -> None:
    assert isinstance(compile_expression('request.verb == "get"', scope=Scope.SUBJECT), str)
    assert compiled("has(claims.a)", Scope.SUBJECT).reads == {"claims"}


READS = {
    "object.spec.replicas == 0": {"object"},
    "oldObject == null || object.a": {"object", "oldObject"},
    'caller.run == "x" && request.dryRun': {"caller.run", "request.dryRun"},
    '[1].exists(object, object == 1) && request.verb == "object"': {"request.verb"},
}


@pytest.mark.parametrize(("text", "reads"), READS.items())
def test_reads(text: str, reads: set[str]) -> None:
    assert compiled(text).reads == reads


def test_many_threads_share_one_expression() -> None:
    expression = compiled("object.items.exists(x, x == object.wanted)")
    wrong: list[tuple[int, int]] = []

    def work(thread: int) -> None:
        for turn in range(1000):
            wanted = thread * 1_000_000 + turn + 10
            items = [1, 2, wanted if turn % 2 else 3]
            if expression.evaluate(facts({"object": {"items": items, "wanted": wanted}})) is not bool(
                turn % 2
            ):
                wrong.append((thread, turn))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


CUT: dict[str, tuple[str, dict[str, object]]] = {
    "a text": ('object.a == "safe"', {"object": {"a": "safe\0evil"}}),
    "a key": ("has(object.safe)", {"object": {"safe\0evil": 1}}),
    "deep inside": ('object.a[0].b == "safe"', {"object": {"a": [{"b": "safe\0evil"}]}}),
    "elsewhere in the object": ('object.a == "safe"', {"object": {"a": "safe", "b": "\0"}}),
    "a plain fact": ('caller.username == "safe"', {"caller.username": "safe\0evil"}),
    "one of a list": ('"safe" in caller.groups', {"caller.groups": ["safe\0evil"]}),
}


@pytest.mark.parametrize(("text", "values"), CUT.values(), ids=CUT)
def test_what_the_library_would_cut_is_not_known(text: str, values: dict[str, object]) -> None:
    """It takes a NUL for the end: without care all of these were true."""
    assert isinstance(compiled(text).evaluate(facts(values)), EvaluationError)


def test_a_backslash_is_no_nul() -> None:
    known = facts({"object": {"a": ["\\u0000"], "b": {"c": 1}}})
    assert compiled("object.b.c == 1").evaluate(known) is True


def test_what_is_no_json_is_not_known() -> None:
    nested: object = 1
    for _ in range(5000):
        nested = [nested]
    for value in ({"a": object()}, {"a": nested}, {"a": {1, 2}}, {"a": "\udc80"}):
        assert facts({"object": value}) == {}
