"""Planted bugs in what an answer means: the providers' readers, keys and addresses, and words made safe."""

from __future__ import annotations

from tests.mutants.planted import Mutant

DIFY = "bulkdel/providers/dify.py"
ANSWERS = "bulkdel/providers/dify_answers.py"
ROWS = "bulkdel/providers/dify_rows.py"
LANGDOCK = "bulkdel/providers/langdock.py"
WORDS = "bulkdel/providers/words.py"
BEARER = "bulkdel/providers/bearer.py"
TEXT = "bulkdel/text.py"

DIFY_TABLE = ("tests/providers/test_dify_table.py",)
LANGDOCK_TABLE = ("tests/providers/test_langdock_table.py",)
QUESTIONS = ("tests/providers/test_questions.py",)
BEARERS = ("tests/providers/test_bearer.py",)

MUTANTS = (
    Mutant(
        "404-always-gone", "S12", DIFY,
        "            if reply.status == 204:\n",
        '            if reply.status == 404:\n                return Gone("not there")\n            if reply.status == 204:\n',
        "every 404 is taken for a document that is gone: a wrong base URL would empty any knowledge base at once",
        DIFY_TABLE,
    ),
    Mutant(
        "any-2xx-deleted", "S12", DIFY,
        "if status == 200 and is_success(said.value):\n            return words.DELETED",
        "if 200 <= status < 300:\n            return words.DELETED",
        "a login page that says 200 is taken for a delete",
        DIFY_TABLE,
    ),
    Mutant(
        "dify-500-certain", "S2", DIFY,
        "usual = usual_meaning(said, doubt=True)",
        "usual = usual_meaning(said, doubt=False)",
        "a server error is taken for proof that nothing was deleted",
        DIFY_TABLE,
    ),
    Mutant(
        "dify-404-exact-words", "S12", ANSWERS,
        "said.message.startswith(whose)",
        'said.message == f"{whose} not found."',
        "a 404 with a suffix, or in an older release's words, is not understood",
        DIFY_TABLE,
    ),
    Mutant(
        "dify-dataset-unconfirmed", "S12", DIFY,
        'case 404 if is_404(said, "Dataset"):  # 14\n                return Ask("dataset", said.reason)',
        'case 404 if is_404(said, "Dataset"):  # 14\n                return Gone(said.reason)',
        "the 404 of a vanished dataset counts N times as already gone",
        DIFY_TABLE,
    ),
    Mutant(
        "dify-401-goes-on", "S11", ANSWERS,
        "return StopProvider(said.reason, _WRONG_KEY)",
        'return Requeue("unclear", said.reason)',
        "a refused key is tried again for every document",
        DIFY_TABLE,
    ),
    Mutant(
        "dify-cloud-short-pause", "S7", ANSWERS,
        "_CLOUD_WINDOW: Final = 60.0",
        "_CLOUD_WINDOW: Final = 6.0",
        "Dify Cloud is asked again before its window has passed, which locks the workspace out",
        DIFY_TABLE,
    ),
    Mutant(
        "dify-whole-plan", "S6", DIFY,
        "_SHARE: Final = 0.8",
        "_SHARE: Final = 1.1",
        "pacing at 110 % of the plan: three deletes a minute instead of 95",
        BEARERS,
    ),
    Mutant(
        "dify-429-a-failure", "S8", ANSWERS,
        "            return Pause(said.reason, after=after, slower=True)",
        '            return Requeue("unclear", said.reason)',
        "a rate limit costs the document an attempt",
        DIFY_TABLE,
    ),
    Mutant(
        "dify-loose-ids", "S12", DIFY,
        "if document is not None and _UUID.fullmatch(document) is None:",
        "if document is not None and _UUID.match(document) is None:",
        "an id with a path behind it is sent",
        DIFY_TABLE,
    ),
    Mutant(
        "dify-trusts-a-short-page", "S15", DIFY,
        "next_page(cursor) if items else None, total)\n\n    def document",
        "next_page(cursor) if len(items) == 100 else None, total)\n\n    def document",
        "a page that is not full is taken for the last one, though rows shift while a listing is read",
        QUESTIONS,
    ),
    Mutant(
        "dify-cut-listing-read", "S15", WORDS,
        "    if answer.cut or not answer.body:\n",
        "    if not answer.body:\n",
        "the beginning of a body that was cut is read as if it were all of it",
        (*QUESTIONS, "tests/providers/test_fuzz.py"),
    ),
    Mutant(
        "row-without-id-skipped", "S15", WORDS,
        '            raise Unreadable(f"row {number} has no id")\n',
        "            continue\n",
        "a row that nobody can read is left out, and the listing looks whole",
        QUESTIONS,
    ),
    Mutant(
        "lost-unsent-in-doubt", "S2", WORDS,
        "doubt=doubt and reply.sent)",
        "doubt=doubt)",
        "a request that never left puts its document in doubt, so that another's delete counts as ours",
        (*DIFY_TABLE, *LANGDOCK_TABLE),
    ),
    Mutant(
        "wrong-page-read", "S15", ROWS,
        "if page is not None and page != wanted:",
        "if page is not None and page > wanted:",
        "a proxy that drops the query serves page 1 for ever",
        QUESTIONS,
    ),
    Mutant(
        "paused-is-indexing", "S5", ROWS,
        "indexing = not paused and state not in _ENDED",
        "indexing = state not in _ENDED",
        "a document whose indexing was paused is waited for until its time is over",
        QUESTIONS,
    ),
    Mutant(
        "langdock-access-route", "S12", LANGDOCK,
        "(?!(?:access|list|",
        "(?!(?:list|",
        "the id `access` reaches DELETE /knowledge/{folder}/access, which revokes sharing",
        LANGDOCK_TABLE,
    ),
    Mutant(
        "langdock-slash-unquoted", "S12", LANGDOCK,
        'quote(text, safe="")',
        "quote(text)",
        "an id with a slash in it would be two path segments",
        LANGDOCK_TABLE,
        "the pattern of good ids lets no slash through before anything is quoted; the two hold each other's promise",
    ),
    Mutant(
        "langdock-404-unlisted-gone", "S12", LANGDOCK,
        "if asked.listed and _is_attachments(said) else",
        "if _is_attachments(said) else",
        "a 404 is believed though no listing of the folder has shown that the folder is there",
        LANGDOCK_TABLE,
    ),
    Mutant(
        "langdock-gateway-404-gone", "S12", LANGDOCK,
        "if asked.listed and _is_attachments(said) else",
        "if asked.listed else",
        "a gateway's 404 for a route that it does not have is a document that is gone",
        LANGDOCK_TABLE,
    ),
    Mutant(
        "langdock-any-success", "S12", LANGDOCK,
        '(value.get("status"), value.get("message")) == ("success", "Attachment deleted")',
        'value.get("status") == "success"',
        "any JSON that says success is taken for a delete",
        (*LANGDOCK_TABLE, "tests/providers/test_fuzz.py"),
    ),
    Mutant(
        "langdock-403-one-document", "S11", LANGDOCK,
        "        if status == 403:\n            return StopDataset(said.reason)",
        '        if status == 403:\n            return Requeue("unclear", said.reason)',
        "a folder that is not shared is asked for each of its files",
        LANGDOCK_TABLE,
    ),
    Mutant(
        "key-in-service-words", "S20", BEARER,
        'message = message.replace(self.api_key, "(key)")',
        "pass",
        "a service that repeats the key it refuses gets it into the report",
        (*DIFY_TABLE, *LANGDOCK_TABLE),
    ),
    Mutant(
        "key-in-repr", "S20", BEARER,
        "api_key: str = field(repr=False)",
        "api_key: str",
        "the key stands in the provider's repr, so in every traceback that shows values",
        BEARERS,
    ),
    Mutant(
        "address-with-credentials", "S20", BEARER,
        '    if "@" in parts.netloc:\n        raise ConfigurationError("the base URL holds credentials", hint="give the key apart, as the API key")\n',
        "",
        "a password in the base URL is kept, shown and written to the run file",
        BEARERS,
    ),
    Mutant(
        "no-warning-in-clear", "S20", BEARER,
        'if parts.scheme.lower() == "http" and not _private(',
        'if parts.scheme.lower() == "http" and _private(',
        "a key that goes over the internet in clear is not warned of",
        BEARERS,
    ),
    Mutant(
        "escapes-left", "S20", TEXT,
        '_UNSAFE.sub(" ", _ANSI.sub("", head))',
        '_UNSAFE.sub(" ", head)',
        "of an escape sequence only the first byte is taken out, and its words are shown as the name's",
        ("tests/test_text.py",),
    ),
    Mutant(
        "right-to-left-left", "S20", TEXT,
        "\\u2028-\\u202e",
        "\\u2028-\\u2029",
        "a direction override in a name turns the rest of the line around",
        ("tests/test_text.py",),
    ),
    Mutant(
        "no-limit-on-words", "S20", TEXT,
        "    if len(flat) > limit or len(words) > len(head):\n        return flat[: limit - 1] + \"…\"\n",
        "",
        "a name of 10 kB floods the terminal",
        ("tests/test_text.py",),
    ),
    Mutant(
        "formula-after-blank", "S20", TEXT,
        "if flat.lstrip().startswith(_FORMULA)",
        "if flat[1:].startswith(_FORMULA)",
        "a name that begins with = is a formula in the spreadsheet",
        ("tests/test_text.py",),
    ),
)  # fmt: skip
