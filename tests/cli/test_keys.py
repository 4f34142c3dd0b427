"""Where the key comes from, what is refused, and that no message ever holds it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from bulkdel.cli.context import AppContext
from bulkdel.cli.options import Options
from bulkdel.cli.providers import key_place
from bulkdel.credentials import KeyPlace, variable
from bulkdel.errors import ConfigurationError

KEY = "dataset-secret-0123456789"


def reading(file: Path | None, environ: dict[str, str]) -> tuple[str, list[str]]:
    """The key, and the lines that were said about it."""
    app = AppContext(environ=environ, stderr=io.StringIO())
    place = key_place("my-docs", Options(api_key_file=file))
    key = place.key("my-docs", environ, hint="set it, or give --api-key-file FILE", warn=app.warn)
    return key, app.stderr.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "name"), [("dify", "DIFY_API_KEY"), ("my-docs", "MY_DOCS_API_KEY"), ("a.b c", "A_B_C_API_KEY")]
)
def test_the_variable_is_named_after_the_provider(kind: str, name: str) -> None:
    """Upper case, and every dash (or other sign) an underscore."""
    assert variable(kind, "API_KEY") == name


@pytest.mark.parametrize("value", [KEY, f"{KEY}\n", f"  {KEY} \r\n"])
def test_a_key_comes_from_the_environment(value: str) -> None:
    """Blanks around it, as a mounted secret has them, are no part of it."""
    assert reading(None, {"MY_DOCS_API_KEY": value}) == (KEY, [])


@pytest.mark.parametrize("environ", [{}, {"MY_DOCS_API_KEY": ""}, {"MY_DOCS_API_KEY": " \n"}, {"DIFY_API_KEY": KEY}])
def test_a_missing_key_says_where_it_would_be_looked_for(environ: dict[str, str]) -> None:
    """The sentence names the variable, and the hint both ways to give a key."""
    with pytest.raises(ConfigurationError, match="no key for my-docs: MY_DOCS_API_KEY is not set") as refused:
        reading(None, environ)
    assert "--api-key-file" in refused.value.hint


@pytest.mark.parametrize(
    "content",
    [
        KEY.encode(),
        f"{KEY}\n".encode(),
        f"\ufeff{KEY}\r\n".encode(),
        f"# for production\r\n\r\n{KEY}\r\n".encode(),
        f"\n{KEY}\n\n".encode(),
        f"{KEY}\r\n".encode("utf-16"),
    ],
)
def test_a_key_file_goes_before_the_environment(tmp_path: Path, content: bytes) -> None:
    """What is asked for by name is what is used, without its line end."""
    file = tmp_path / "key"
    file.write_bytes(content)
    file.chmod(0o600)
    assert reading(file, {"MY_DOCS_API_KEY": "another"}) == (KEY, [])


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"), (b" \n\n", "is empty"), (KEY.encode() + b"\n\nsecond\n", r"more than one line \(line 3\)"),
        (b"\xff\xfe\x00", "is not text"), (b"x" * 70_000, "longer than any key"),
    ],
)  # fmt: skip
def test_a_key_file_without_one_key_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    """The message names the file and never what is in it."""
    file = tmp_path / "key"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(ConfigurationError, match=what) as refused:
        reading(file, {})
    assert str(file) in str(refused.value)
    assert KEY not in str(refused.value) + refused.value.hint


def test_a_key_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A wrong path is named with the system's reason."""
    with pytest.raises(ConfigurationError, match=r"cannot read the key file: .*missing: No such file"):
        reading(tmp_path / "missing", {})


@pytest.mark.parametrize(
    ("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True), (0o644, True)]
)
def test_a_key_file_that_others_can_read_is_warned_of(tmp_path: Path, mode: int, warned: bool) -> None:
    """The warning says what to do, and the key is used all the same."""
    file = tmp_path / "key"
    file.write_text(KEY)
    file.chmod(mode)
    key, warnings = reading(file, {})
    assert key == KEY
    assert bool(warnings) == warned
    assert not warned or warnings[-1] == f"hint: chmod 600 {file}"


def test_a_key_that_was_read_is_hidden_in_everything_shown() -> None:
    """Words that repeat the key lose it; a word too short to be one is left alone."""
    app = AppContext()
    app.hide_from_now_on(KEY)
    app.hide_from_now_on("the")
    assert app.hide(f"the service says: {KEY} is wrong") == "the service says: (key) is wrong"
    assert KEY not in repr(app)


@pytest.mark.parametrize(
    ("content", "flaw"),
    [
        (f"DIFY_API_KEY={KEY}", "stands behind a name"), (f"export DIFY_API_KEY='{KEY}'", "stands behind a name"),
        (f"api_key: {KEY}", "stands behind a name"), (f"\u201c{KEY}\u201d", "stands in quotes"), (f"`{KEY}`", "stands in quotes"),
        (f"{{{KEY}}}", "stands in brackets"), (f"<{KEY}>", "stands in brackets"), (f"{KEY};", "ends in a semicolon"),
        (f"{KEY},", "ends in a comma"), ("$DIFY_API_KEY", "is the name of a variable"), ("${DIFY_API_KEY}", "is the name of a variable"),
        ("%DIFY_API_KEY%", "is the name of a variable"), (f"Bearer:{KEY}", "stands behind a name"),
        (f"apiKey={KEY}", "stands behind a name"), (f"{KEY[:9]}******", "is cut short, or a placeholder"),
        ("dataset-...", "is cut short, or a placeholder"), (f"{KEY}\\n", "ends in what no key ends in"), (f"{KEY}:", "ends in what no key ends in"),
        (f'"{KEY};"', "ends in a semicolon"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("in_file", [True, False])
def test_what_was_copied_along_is_refused(content: str, flaw: str, in_file: bool, tmp_path: Path) -> None:
    """Before anything is sent, with what is wrong about it, where it stands, and never the key itself."""
    file = tmp_path / "key"
    file.write_text(content, "utf-8")
    file.chmod(0o600)
    with pytest.raises(ConfigurationError) as refused:
        reading(file, {}) if in_file else reading(None, {"MY_DOCS_API_KEY": content})
    quoted = not in_file and content.startswith('"')  # quotes are dropped in a file alone
    assert ("stands in quotes" if quoted else flaw) in str(refused.value)
    assert str(refused.value).endswith(str(file) if in_file else "MY_DOCS_API_KEY")
    assert KEY not in str(refused.value) + refused.value.hint


@pytest.mark.parametrize("place", [KeyPlace(env=KEY), KeyPlace(file=KEY), KeyPlace(file=f"/run/secrets/{KEY}")])
def test_a_key_in_place_of_its_place_is_not_shown(place: KeyPlace) -> None:
    """api_key_env = "dataset-…" in a job: what is named there is nowhere, and it is not repeated."""
    with pytest.raises(ConfigurationError) as refused:
        place.key("dify", {})
    assert "looks like a key" in str(refused.value)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(("place", "like"), [
    (KEY, "a key"), (f"/home/me/X-Token: {KEY}", "a header"), (f"/home/me/X-Token:{KEY}", "a header")
])  # fmt: skip
def test_a_header_in_place_of_its_file_is_not_shown(place: str, like: str) -> None:
    """--header-file "X-Token: …", as curl takes it: there is no such file, and its name is not repeated."""
    with pytest.raises(ConfigurationError, match="cannot read the header file: what is named there") as refused:
        KeyPlace(headers=place).extra_headers()
    assert f"looks like {like}" in str(refused.value)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("content", [f'"{KEY}"', f"'{KEY}'", f'  "{KEY}"\n', f'" {KEY} "'])
def test_quotes_around_a_key_in_a_file_are_dropped(content: str, tmp_path: Path) -> None:
    """A shell would have dropped them; a file of secrets keeps them."""
    file = tmp_path / "key"
    file.write_text(content)
    file.chmod(0o600)
    assert reading(file, {}) == (KEY, [])


@pytest.mark.parametrize("key", ["QUJDREVGRw==", "app-aB3=x", "a.b-c_d~e+f/g=", "sk_live_0123"])
def test_no_letter_of_a_good_key_is_held_against_it(key: str) -> None:
    """Whatever base64 and tokens are made of."""
    assert reading(None, {"MY_DOCS_API_KEY": key}) == (key, [])


# ------------------------------------------------------------------ extra headers


def headers_in(content: str | bytes, file: Path) -> dict[str, str]:
    """What is read of a header file with this content."""
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return KeyPlace(headers=str(file)).extra_headers()


HEADERS = "# for the gateway\nCF-Access-Client-Id: 0123abcd.access\n\n x-token :  Bearer gateway-token:1 \n"


@pytest.mark.parametrize(
    "content",
    [HEADERS, HEADERS.replace("\n", "\r\n"), f"\ufeff{HEADERS}", HEADERS.replace("\n", "\r"), HEADERS.encode("utf-16"), HEADERS.strip()],
)  # fmt: skip
def test_headers_are_read_whoever_wrote_the_file(content: str | bytes, tmp_path: Path) -> None:
    """Name: value lines with any line end, a byte-order mark, blanks around the colon, empty lines and comments."""
    assert headers_in(content, tmp_path / "headers") == {
        "CF-Access-Client-Id": "0123abcd.access",
        "x-token": "Bearer gateway-token:1",
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("X-A: b\nsecret-token\n", "line 2: not a header"), ("X A: secret-token\n", "line 1: not a header"),
        ("X-A=secret-token\n", "line 1: not a header"), ("- X-A: secret-token\n", "line 1: not a header"),
        ("\n-H 'X-A: secret-token'\n", "line 2: not a header"), ("'X-A: secret-token'\n", "line 1: not a header"),
        ("X-A:\n", "line 1: the value is empty: X-A"), ("X-A: secret-token\x07\n", "line 1: the value is not one that a header can carry: X-A"),
        ("X-A: secret-t\u00f6ken\n", "line 1: the value is not one that a header can carry: X-A"),
        ('# one\r\n\r\nX-A: "secret-token"\r\n', "line 3: the value stands in quotes: X-A"),
        ("X-A: “secret-token”\n", "line 1: the value stands in quotes: X-A"),
        ("X-A: ${SECRET}\n", "line 1: the value is the name of a variable, which nothing replaces here: X-A"),
        ("X-A: 1\nx-a: secret-token\n", "line 2: a header is there twice: x-a"),
        ("accept: secret-token\n", "line 1: bulkdel sets this header itself: accept"),
        ("# none\n", "the header file has no header"), ("", "the header file has no header"),
    ],
)  # fmt: skip
def test_a_wrong_line_of_a_header_file_is_named(content: str, said: str, tmp_path: Path) -> None:
    """With its number, and never its value."""
    file = tmp_path / "headers"
    with pytest.raises(ConfigurationError) as refused:
        headers_in(content, file)
    assert said in str(refused.value)
    assert str(file) in str(refused.value)
    assert "secret-token" not in str(refused.value) + refused.value.hint


@pytest.mark.parametrize(
    ("place", "given"),
    [({"env": "DIFY_API_KEY"}, "DIFY_API_KEY or --api-key-file"), ({"file": "/run/key"}, "/run/key")],
)
def test_the_key_in_a_header_file_is_answered_with_its_place(place: dict[str, str], given: str, tmp_path: Path) -> None:
    """Authorization: Bearer KEY in a header file: refused, and the hint says where the key is given."""
    (tmp_path / "headers").write_text("Authorization: Bearer secret-token\n")
    with pytest.raises(ConfigurationError, match="line 1: bulkdel sets this header itself: Authorization") as refused:
        KeyPlace(**place, headers=str(tmp_path / "headers")).extra_headers()
    assert refused.value.hint == f"leave the line out: the key is given by {given}"


def test_a_header_file_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    """As a key file is: what it holds is as secret."""
    file = tmp_path / "headers"
    file.write_text("X-A: b\n")
    file.chmod(0o644)
    warned: list[tuple[str, str]] = []
    KeyPlace(headers=str(file)).extra_headers(lambda *words: warned.append(words))
    assert warned == [(f"others on this machine can read the header file: {file}", f"chmod 600 {file}")]
