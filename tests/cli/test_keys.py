"""Where the key comes from, what is refused, and that no message ever holds it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from bulkdel.cli.context import AppContext
from bulkdel.cli.providers import KeyPlace, variable
from bulkdel.errors import ConfigurationError

KEY = "dataset-secret-0123456789"


def reading(file: Path | None, environ: dict[str, str]) -> tuple[str, list[str]]:
    """The key, and the lines that were said about it."""
    app = AppContext(environ=environ, stderr=io.StringIO())
    key = KeyPlace.usual("my-docs", file).read("my-docs", app, "set it, or give --api-key-file FILE")
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
    "content", [KEY.encode(), f"{KEY}\n".encode(), f"\ufeff{KEY}\r\n".encode(), f"\n{KEY}\n\n".encode()]
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
        (b"", "is empty"), (b" \n\n", "is empty"), (KEY.encode() + b"\nsecond\n", "more than one line"),
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
    """A wrong path is told with the system's reason."""
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
