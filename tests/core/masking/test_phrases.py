"""Secrets in plain text, told by the words around them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.masking.keys import judgement
from chaperone.core.masking.phrases import phrases
from tests.core.masking.engine import MINT, b64

PHRASES = phrases(judgement(), ())
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----"


def found(text: str, *, lines: bool = True) -> list[str]:
    """The secrets in a text, each once, in their order; every one of them also passes the fast look."""
    hits = PHRASES.find(text, lines=lines)
    if hits:
        assert list(PHRASES.candidates(["first", text, "last"])) == [1], "the fast look must not miss it"
    return list(
        dict.fromkeys(
            text[hit.start : hit.end] for hit in sorted(hits, key=lambda hit: (hit.start, -hit.end))
        )
    )


LINES = [
    ("DB_PASSWORD=hunter2", ["hunter2"]),
    ("export DB_PASSWORD='two words'", ["two words"]),
    ('DB_PASSWORD="say \\"x\\" twice"', ['say \\"x\\" twice']),
    ("password=two words here", ["two words here"]),
    ("A=1\nDB_PASSWORD=hunter2\nB=2", ["hunter2"]),
    ("A=1\r\nDB_PASSWORD=hunter2\r\nB=2", ["hunter2"]),
    ("spring.datasource.password : hunter2", ["hunter2"]),
    ("spring.datasource.password=hunter2 \\\n  goes-on\nx=1", ["hunter2 \\\n  goes-on"]),
    ("password = hunter2  # why\n", ["hunter2"]),
    ("# password: hunter2", ["hunter2"]),
    ("- password: hunter2", ["hunter2"]),
    ("password: |\n  line one\n  line two\nother: x", ["line one\n  line two"]),
    ("a:\n  password: |\n    one\n\n    two\n  b: c", ["one\n\n    two"]),
    ("password: |", []),
    ("ENV API_KEY=abc", ["abc"]),
    ('"password": "hunter2", "a": 1', ["hunter2"]),
    ("'password' => 'hunter2',", ["hunter2"]),
    ('{\\"password\\":\\"hunter2\\"}', ["hunter2"]),
    ("[client]\nuser = a\npassword = hunter2\n", ["hunter2"]),
    ("requirepass hunter2\nmasterauth abc", ["hunter2", "abc"]),
    ("machine h\nlogin u\npassword hunter2\n", ["hunter2"]),
    ("//registry.example.com/:_authToken=abcdef", ["abcdef"]),
    ('password = "unclosed', ["unclosed"]),
    ("password = `unclosed\nx", ["unclosed"]),
    ("token=a;", ["a"]),
    ("secret is what it is\npassword $(X)\n", []),
    ("PASSWORD=", []),
    ("PASSWORD=$(cat /run/x)", []),
    ("PASSWORD=${PASSWORD}", []),
    ("secretName=db", []),
    ("password=" + MINT.placeholder("u", "p", "v"), []),
    ("api key: hunter2", ["hunter2"]),
    ("the key: hunter2", []),
    ("key: hunter2", []),
]


@pytest.mark.parametrize(("text", "secrets"), LINES)
def test_lines_of_configuration(text: str, secrets: list[str]) -> None:
    assert found(text) == secrets


COMMANDS = [
    ("PGPASSWORD=hunter2 psql -h db", ["hunter2"]),
    ("app --password=hunter2 --x", ["hunter2"]),
    ("app --password hunter2 --x", ["hunter2"]),
    ("app --password 'two words' --x", ["two words"]),
    ("app -password hunter2", ["hunter2"]),
    ("app --password-file /x --no-password --token", []),
    ("app --password flag", []),
    ("app --set auth.password=hunter2,foo=bar", ["hunter2"]),
    ("app --set auth.password=hun,ter2", ["hun,ter2"]),
    ("https://h/?token=abc&x=1", ["abc"]),
    ("https://h/?x=1&token=abc", ["abc"]),
    ("Server=db;User Id=sa;Password=P@ss;Encrypt=true", ["P@ss"]),
    ("map[password:hunter2 user:a]", ["hunter2"]),
    ("{password: hunter2, user: a}", ["hunter2"]),
    ('PASSWORD=ab"cd" x', ['ab"cd']),
    ("mysql -uroot -phunter2 db", ["hunter2"]),
    ("mysqldump -p hunter2", ["hunter2"]),
    ("mysql -p -h db", []),
    ("docker run -p 8080:80 mysql", []),
    ("docker login -u a -p hunter2", ["hunter2"]),
    ("redis-cli -a hunter2 ping", ["hunter2"]),
    ("curl -u bob:hunter2 https://h", ["hunter2"]),
    ("curl -u bob https://h", []),
    ("curl -u bob: https://h", []),
    ("smbclient -U bob%hunter2 //h/x", ["hunter2"]),
    ("sshpass -phunter2 ssh h", ["hunter2"]),
    ("ldapsearch -w hunter2 -x", ["hunter2"]),
    ("zip -Pabc x", []),
    ("mkdir -p a/b && tar -cf x", []),
    ("openssl rsa -passin pass:hunter2 -in x", ["hunter2"]),
    ("curl -H 'Authorization: Bearer abc' h", ["abc"]),
    ('curl -H "X-Api-Key: abc" h', ["abc"]),
    ("curl -H 'Cookie: a=b; c=d' h", ["a=b; c=d"]),
]


@pytest.mark.parametrize(("text", "secrets"), COMMANDS)
def test_commands(text: str, secrets: list[str]) -> None:
    assert found(text, lines=False) == secrets


MESSAGES = [
    ("failed to read token: permission denied by policy", []),
    ('secrets "db" is forbidden: User "x" cannot get resource "secrets" in API group ""', []),
    ("couldn't find key password in Secret default/db", []),
    ('MountVolume.SetUp failed for volume "x" : secret "db" not found', []),
    ("login failed, password: hunter2", ["hunter2"]),
    ("login failed with password=hunter2, try again", ["hunter2"]),
    ("Authorization: Bearer abcdef", ["abcdef"]),
    ("Authorization: Basic " + b64("user:hunter2"), [b64("user:hunter2")]),
    ("sent bearer abcdefgh12345 to it", ["abcdefgh12345"]),
    ("bearer of good tidings", []),
    ("Basic understanding of things", []),
    ("sent basic " + b64("user:hunter2"), [b64("user:hunter2")]),
    ("the token expired yesterday12345", []),
    ('Invalid value: core.EnvVar{Name:"PASSWORD", Value:"hunter2", ValueFrom:nil}', ["hunter2"]),
    ('[{"name":"API_KEY","value":"hunter2"}]', ["hunter2"]),
    ('[{\\"name\\":\\"API_KEY\\",\\"value\\":\\"hunter2\\"}]', ["hunter2"]),
    ("- name: API_KEY\n  value: hunter2\n", ["hunter2"]),
    ("- name: API_KEY\n  value: 'hunter2'\n", ["hunter2"]),
    ('Name:"LEVEL", Value:"debug"', []),
    (f"it holds {KEY} here", [KEY]),
    ("cut: " + KEY[:40], [KEY[:40]]),
    (
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nx\n-----END PGP PRIVATE KEY BLOCK-----",
        ["-----BEGIN PGP PRIVATE KEY BLOCK-----\nx\n-----END PGP PRIVATE KEY BLOCK-----"],
    ),
    ("-----BEGIN CERTIFICATE-----\nx", []),
]


@pytest.mark.parametrize(("text", "secrets"), MESSAGES)
def test_messages(text: str, secrets: list[str]) -> None:
    assert found(text) == secrets


NOTATIONS = [
    ("users: admin:$apr1$salt$abcdefgh", ["$apr1$salt$abcdefgh"]),
    ("root:$6$rounds=5000$salt$abcdefghij:1", ["$6$rounds=5000$salt$abcdefghij"]),
    ("it costs $5 or $1$", []),
    ("{SSHA}abcdefghijkl=", ["{SSHA}abcdefghijkl="]),
    ("proxy_set_header X-Api-Key abc1;", ["abc1"]),
    ('proxy_set_header Authorization "Bearer abc1";', ["Bearer abc1"]),
    ("add_header X-Frame-Options DENY;", []),
    ("RequestHeader set X-Auth-Token abc1", ["abc1"]),
    ('data[password]: Invalid value: "hunter2": too short', ["hunter2"]),
    ('spec.db.password: Invalid value: "hunt\\"er2": no', ['hunt\\"er2']),
    ('spec.replicas: Invalid value: "x": no', []),
    ("auth_token = '''abc1'''", ["abc1"]),
    ('auth_token = """abc1"""', ["abc1"]),
]


@pytest.mark.parametrize(("text", "secrets"), NOTATIONS)
def test_notations(text: str, secrets: list[str]) -> None:
    assert found(text) == secrets


URLS = [
    ("postgres://user:hunter2@db:5432/x", ["hunter2"]),
    ("postgres://user:hun@ter2@db:5432/x", ["hun@ter2"]),
    ("redis://:hunter2@db", ["hunter2"]),
    ("https://user:hun/ter2@db/x", ["hun/ter2"]),
    ("https://user:hun#ter?2@db/x", ["hun#ter?2"]),
    ("http://host:8080/a@b", []),
    ("http://host:8080/users/a@b.example", []),
    ("https://user@host/x", []),
    ("https://user:@host/x", []),
    ("https://user:$(PASSWORD)@host/x", []),
    ("mongodb+srv://u:p1@a.example.com,b.example.com/x", ["p1"]),
    ("user:hunter2@tcp(db:3306)/x", ["hunter2"]),
    ("user:hun@ter2@tcp(db:3306)/x", ["hun@ter2"]),
    ("admin:hunter2@registry.example.com/app:1", ["hunter2"]),
    ("registry.example.com/app:1.2@sha256:" + "ab" * 32, []),
    ("app:v1@sha256:" + "ab" * 32, []),
    ("jdbc:oracle:thin:scott/tiger@db:1521/x", ["tiger"]),
    ("jdbc:postgresql://h/d?user=a&password=hunter2&ssl=true", ["hunter2"]),
    ("mail me at a.b@example.com or c@d.org", []),
    ("12:30:00 user@host.example.com", []),
]


@pytest.mark.parametrize(("text", "secrets"), URLS)
def test_urls(text: str, secrets: list[str]) -> None:
    assert found(text) == secrets


MARKUP = [
    ("<password>hunter2</password>", ["hunter2"]),
    ('<password type="plain">\n  hunter2\n</password>', ["hunter2"]),
    ("<db:password>hunter2</db:password>", ["hunter2"]),
    ("<password><![CDATA[hunter2]]></password>", ["hunter2"]),
    ('<add key="ApiKey" value="hunter2"/>', ["hunter2"]),
    ('<property value="hunter2" name="db.password"/>', ["hunter2"]),
    ("<property><name>db.password</name><value>hunter2</value></property>", ["hunter2"]),
    (
        "<property>\n<name>fs.s3a.secret.key</name>\n<final>true</final>\n<value>hunter2</value>\n</property>",
        ["hunter2"],
    ),
    ('<user name="a" password="hunter2"/>', ["hunter2"]),
    ("<password>${db.password}</password><name>x</name>", []),
    ("<level>debug</level>", []),
]


@pytest.mark.parametrize(("text", "secrets"), MARKUP)
def test_markup(text: str, secrets: list[str]) -> None:
    assert found(text) == secrets


def test_further_names_are_found_as_well() -> None:
    finder = phrases(judgement(["kundenNummer"]), ("kundenNummer",))
    text = "KUNDEN_NUMMER=12345"
    assert [hit.key for hit in finder.find(text)] == ["KUNDEN_NUMMER"]
    assert list(finder.candidates([text])) == [0]
    assert found(text) == []


def test_only_the_texts_with_a_sign_are_looked_at() -> None:
    texts = ["a", "password=x", "", "info", "token: y", "z"]
    assert list(PHRASES.candidates(texts)) == [1, 4]
    assert list(PHRASES.candidates(["a", "b"])) == []
    assert list(PHRASES.candidates([])) == []


@given(
    st.lists(
        st.text(max_size=40)
        | st.sampled_from(["password=x", "a\npassword: y", "token=z token=y", "-p", "http://a:b@c"]),
        max_size=6,
    )
)
def test_the_fast_look_misses_nothing(texts: list[str]) -> None:
    candidates = list(PHRASES.candidates(texts))
    assert candidates == sorted(set(candidates))
    for index, text in enumerate(texts):
        if PHRASES.find(text):
            assert index in candidates


@given(st.text(alphabet="pasword=: -\"'\\\n{}[](),;&@/<>#|.%$au1", max_size=120), st.booleans())
def test_any_text_can_be_read(text: str, lines: bool) -> None:
    for hit in PHRASES.find(text, lines=lines):
        assert 0 <= hit.start < hit.end <= len(text)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000,
        "a=" * 100_000,
        "-p " * 60_000,
        '\\"' * 80_000,
        "://a:" * 40_000,
        "<a " * 60_000,
        "password: " * 20_000,
        "name: a, " * 20_000,
    ],
)
def test_no_text_takes_forever(text: str) -> None:
    PHRASES.find(text[:200_000])
