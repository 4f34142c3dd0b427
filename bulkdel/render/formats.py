"""The forms that a report of a run comes in, each a function from a run to pieces of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from bulkdel.errors import ConfigurationError
from bulkdel.render.account import as_json
from bulkdel.render.rows import as_csv, jsonl
from bulkdel.render.text import text
from bulkdel.store import Run

Renderer = Callable[[Run], Iterator[str]]


def html(run: Run) -> Iterator[str]:
    """The page.

    :raises ConfigurationError: where what draws it is not installed: only reports need it, so it is an extra
    """
    try:
        from bulkdel.render.page.render import page
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("jinja2", "markupsafe", "pygal"):
            raise
        raise ConfigurationError(
            f"the HTML report needs a package that is not installed: {error.name}",
            hint="in bulkdel's checkout: pip install '.[report]'",
        ) from None
    return page(run)


FORMATS: Mapping[str, Renderer] = {"text": text, "json": as_json, "jsonl": jsonl, "csv": as_csv, "html": html}
"""By the name that ``bulkdel report --format`` takes; pieces are in order and small, whatever the run's size."""
