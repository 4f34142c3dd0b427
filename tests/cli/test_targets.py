"""Target files: every shape that is read, and every bad line named by its number."""

from __future__ import annotations

import csv
import io
import json
import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel.cli.targets import LONGEST_LINE
from bulkdel.errors import TargetFileError
from bulkdel.model import Target
from bulkdel.text import QUOTES, has_invisible, read_cell
from tests.cli.outside import targets_in

TWO = [Target("dify", "ds1", "d1"), Target("dify", "ds2", "d2")]


def reading(content: bytes | str) -> list[Target]:
    raw = content.encode() if isinstance(content, str) else content
    return targets_in(io.BytesIO(raw), "targets.csv")


@pytest.mark.parametrize(
    "content",
    [
        "dataset,document\nds1,d1\nds2,d2\n",
        "document,dataset\nd1,ds1\nd2,ds2",
        "dataset,document\r\nds1,d1\r\nds2,d2\r\n",
        b"\xef\xbb\xbfdataset,document\nds1,d1\nds2,d2\n",
        '"dataset","document"\n"ds1","d1"\n"ds2","d2"\n',
        "Dataset, DOCUMENT \n ds1 , d1 \nds2,d2\n",
        "name,dataset,size,document\na,ds1,1,d1\n\"b, with a comma\",ds2,2,d2\n",
        "name,dataset,document\n\"two\nlines\",ds1,d1\nb,ds2,d2\n",
        "\n\ndataset,document\n\nds1,d1\n,\n\nds2,d2\n\n",
        "provider,dataset,document\ndify,ds1,d1\n,ds2,d2\n",
        '{"dataset":"ds1","document":"d1"}\n{"dataset":"ds2","document":"d2"}\n',
        '\n  {"document": "d1", "dataset": "ds1", "name": "ü", "size": 3}\r\n\r\n{"dataset":"ds2","document":"d2","provider":"dify"}',
        b'\xef\xbb\xbf{"dataset":"ds1","document":"d1","provider":null}\n{"dataset":" ds2","document":"d2 "}',
        "dataset;document\nds1;d1\nds2;d2\n",
        "sep=;\r\ndataset;document\r\nds1;d1\r\nds2;d2\r\n",
        b'\xef\xbb\xbf"sep=|"\r\nDataset|Document\r\nds1|d1\r\nds2|d2\r\n',
        "dataset\tname\tdocument\nds1\ta, b; c\td1\nds2\t\td2\n",
        "dataset;name;document\nds1;a, b;d1\nds2;\"x;y\";d2\n",
        "dataset,document,name,size\nds1,d1\nds2,d2,b\n",
        "document,dataset,provider\nd1,ds1\nd2,ds2,\n",
        "dataset,document\nds1,d1,,\nds2,d2,\n",
        "dataset,document\nds1,d1\ndataset,document\nds2,d2\n",
        "dataset,document\nds1,d1\nDocument, DATASET ,name\nd2,ds2,b\n",
        '\ufeff"dataset","document"\r\nds1,d1\r\n\ufeff"dataset","document"\r\nds2,d2\r\n',
        '"dataset", "document", "name"\n"ds1", "d1", "a, b"\n"ds2", "d2", ""\n',
        '\ufeff{"dataset":"ds1","document":"d1"}\n\ufeff{"dataset":"ds2","document":"d2"}\n',
        '"dataset,document,name"\r\n"ds1,d1,""a, b"""\r\n"ds2,d2,b"\r\n',
        '{"dataset":"ds1","document":"d1"},\n{"dataset":"ds2","document":"d2"},\n',
        ";;;\n,,\ndataset,document\nds1,d1\nds2,d2\n",
        '[{"dataset":"ds1","document":"d1"},{"dataset":"ds2","document":"d2"}]',
        '[\n  {\n    "dataset": "ds1",\n    "document": "d1"\n  },\n  {\n    "dataset": "ds2",\n    "document": "d2"\n  }\n]\n',
        '{\n  "dataset": "ds1",\n  "document": "d1"\n}\n{\n  "dataset": "ds2",\n  "document": "d2"\n}\n',
        '{"dataset": "ds1",\n "document": "d1"}\n{"dataset":"ds2","document":"d2"}',
        '[{"dataset":"ds1","document":"d1"}\n,{"dataset":"ds2","document":"d2"},\n]',
        '{"Dataset":"ds1","DOCUMENT":"d1"}\n{"dataset ":"ds2","document":"d2"}',
        "dataset,document\rds1,d1\rds2,d2\r",
        'dataset,document,name\r\n"ds1,d1,""a, b"""\r\nds2,d2,b\r\n',
        "dataset\tdocument\r\nds1\td1\r\nds2\td2\r\n".encode("utf-16"),
        "\ufeffdocument\tname\tdataset\r\nd1\t日本, ü\tds1\r\nd2\t\"two\r\nlines\"\tds2\r\n".encode("utf-16-be"),
        "dataset;document;name\r\nds1;d1;Übersicht.pdf\r\nds2;d2;\r\n".encode("cp1252"),
        '{"dataset":"ds1"\n,"document":"d1"}\n{"dataset":"ds2","document":"d2"}',
        'dataset,document\n="ds1",="d1"\n"=""ds2""","=""d2"""\n',
        '="dataset",="document"\nds1,d1\nds2,d2\n',
    ],
)  # fmt: skip
def test_every_shape_of_a_target_file_is_read(content: bytes | str) -> None:
    """CSV and JSON, with byte-order mark, any line ending, quotes, blank lines and more columns, in any encoding that Excel saves."""
    assert reading(content) == TWO


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        ("name,dataset\nx,y\n", 1, "no 'document' column"),
        ("name;document\nx;y\n", 1, "no 'dataset' column: name;document"),
        ("dataset,document,dataset\nx,y,z\n", 1, "more than one 'dataset' column"),
        ("\n\nds1,d1\n", 3, "no 'dataset' column"),
        ("dataset,document\nds1,d1\nds2\n", 3, "no 'document'"),
        ('dataset,document\nds1,d1\n"ds2,\nd2"\n', 3, "the document is empty"),
        ("dataset,document\nds1,d1\nds2,d2,,x\n", 3, "4 columns, and the header has 2: ds2,d2,,x"),
        ("dataset,document\nds1,d1\n,d2\n", 3, "the dataset is empty"),
        ("dataset,document\nds1,d1\n\n\nds2, \n", 5, "the document is empty"),
        ('name,dataset,document\n"two\nlines",ds1,d1\nb,ds2,\n', 4, "the document is empty"),
        ('dataset,document\nds1,d1\n"ds2,d2\n', 3, "not CSV: a quote is opened here and never closed"),
        ('dataset,document\n"a\nb"c,d1\n', 3, "not CSV: text behind a closing quote"),
        ("dataset,document\nds1," + "x" * 200_000 + "\n", 2, "not CSV: a value is longer than 131072 characters"),
        ("dataset,document\nds1,att_x\u200b\n", 2, "the document holds a character that cannot be seen: att_x\\u200b"),
        ("dataset,document\nds\u00a01,d\n", 2, "the dataset holds a character that cannot be seen: ds\\xa01"),
        ('dataset,document\nds1,"""d1"""\n', 2, 'the document stands in quotes: "d1"'),
        ("dataset,document\nds1,d1\n'ds2',d2\n", 3, "the dataset stands in quotes: 'ds2'"),
        ('{"dataset":"ds1","document":"“d1”"}\n', 1, "the document stands in quotes: “d1”"),
        ('{"dataset":"ds1","document":"d1","document":"d2"}\n', 1, "a key is there twice: document"),
        ('{"dataset":"ds1","document":"d1"}\n{"dataset":"ds1","document":"d1","Document":"d2"}\n', 2, "a key is there twice: Document"),
        ('[\n{"dataset":"ds1","document":"d1"},\n{"dataset":"ds1","document":"d1","document":"d2"}]', 3, "a key is there twice"),
        ('[{"dataset":"ds1",\n "more":{"document":"} \\" {"},\n "document":"d1",\n "document":"d2"}]', 4, "a key is there twice: document"),
        ('[\n  {"dataset": "ds1", "document": "d1"}\n  {"dataset": "ds2", "document": "d2"}\n]', 3, "a comma or ] is missing"),
        ('[\n  {"dataset": "ds1", "document": "d1"},\n', 3, "the list is never closed"),
        ('{"dataset":"ds1","document":"d1"}\r{"dataset":"ds2",document:"d2"}\r', 2, "not JSON: document"),
        ('[\r  {"dataset": "ds1",\r   "document": 1}\r]', 2, "'document' is not a string"),
        ('[{"dataset":"ds1","document":"d1"}]\nmore', 2, "text behind the end of the list"),
        ('[\n  "d1"\n]', 2, "not a JSON object: d1"),
        ('{\n  "dataset": "ds1"\n  "document": "d1"\n}', 3, 'not JSON: "document": "d1"'),
        ('[{"dataset":"ds1",\n"document":', 2, "not JSON: it breaks off"),
        ("provider,dataset,document\ndify,ds1,d1\nother,ds2,d2\n", 3, "for another provider than 'dify': other"),
        (b"dataset,document\nds1,d1\nds2,\xff\xfe\n", 3, "not UTF-8"),
        (b"dataset,document\nds1,d1\nds2,d\x00\n", 3, "null byte"),
        (b"\xff\xfed\x00\x00\xd8,\x00", 1, "not UTF-16"),
        ('{"dataset":"ds1","document":"d1"}\n{"dataset":' + "1" * 5000 + "}", 2, "not JSON"),
        ("dataset,document\nds1,d1\ndocument,dataset,document\n", 3, "more than one 'document' column"),
        ('dataset,document\nds1,"a""b\n', 2, "not CSV: a quote is opened here and never closed"),
        (b"dataset,document\nds1,d1\nds2," + b"x" * LONGEST_LINE + b"\n", 3, "longer than"),
        ('{"dataset":"ds1","document":"d1"}\n\n{"dataset":"ds2"}\n', 3, "no 'document'"),
        ('{"dataset":"ds1","document":"d1"}\n{"dataset":"ds2","document":7}\n', 2, "'document' is not a string: 7"),
        ('{"dataset":"ds1","document":"d1"}\n{"dataset":null,"document":"d"}\n', 2, "'dataset' is not a string: null"),
        ('{"dataset":"ds1","document":"d1"}\n["ds2","d2"]\n', 2, "not a JSON object"),
        ('{"dataset":"ds1","document":"d1"}\nds2,d2\n', 2, "not JSON"),
        ('{"dataset":"ds1","document":"d1"}\n{"dataset":"ds2","document":""}\n', 2, "the document is empty"),
        ('{"dataset":"ds1","document":"d1"}\n{"dataset":"ds2","document":"d2","provider":"x"}\n', 2, "another provider"),
        ('{"dataset":"ds1","document":"d1"}\n' + "[" * 100_000 + "\n", 2, "not JSON"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_by_its_number(content: bytes | str, line: int, what: str) -> None:
    """The message names the file, the line and what is wrong, and shows nothing that a terminal would obey."""
    with pytest.raises(TargetFileError) as refused:
        reading(content)
    assert re.match(rf"targets\.csv, line {line}(, column \d+)?: ", str(refused.value))
    assert what in str(refused.value)
    assert len(str(refused.value)) < 300
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"  \r\n", b",\n;\n", b","])
def test_an_empty_target_file_is_refused(content: bytes) -> None:
    """Nothing to delete is more likely a slip than a wish."""
    with pytest.raises(TargetFileError, match=r"the target file is empty: targets\.csv"):
        reading(content)


@pytest.mark.parametrize("content", [b"PK\3\4\x14\0\6\0\x08\0", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"])
def test_a_workbook_is_no_csv(content: bytes) -> None:
    """What Excel saves unless it is told otherwise."""
    with pytest.raises(
        TargetFileError, match=r"targets\.csv: a workbook \(\.xlsx, \.xls, \.ods\) or an archive, and no text"
    ) as refused:
        reading(content)
    assert refused.value.hint == "save it as CSV"


@pytest.mark.parametrize("content", ["dataset,document\n", "[]", "[\n]\n"])
def test_a_header_alone_is_a_list_of_nothing(content: str) -> None:
    """An export that found nothing is no mistake."""
    assert reading(content) == []


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ('dataset,document\nds1,"d1"x\n', "line 2, column 9"),
        ('dataset,document\nds1,d1\nds2,"d2\n', "line 3, column 5"),
        ('dataset,document\n"ds1",  "d1"x\n', "line 2, column 13"),
        ('{"dataset":"ds1","document":}\n', "line 1, column 29"),
        ('[{"dataset":"ds1","document":"d1"},\n {"dataset":"ds2" "document":"d2"}]', "line 2, column 19"),
        ('{"dataset":"ds1","document":"d1"\n{"dataset":"ds2","document":"d2"}\n', "line 1, column 33"),
        ('{"dataset":"ds1","document":"d1\n{"dataset":"ds2","document":"d2"}\n', "line 1, column 32"),
        ('\ufeffdataset\tdocument\r\nds1\t"d1"x\r\n'.encode("utf-16-be"), "line 2, column 9"),
    ],
)
def test_a_fault_is_named_with_its_column(content: bytes | str, place: str) -> None:
    """The first character that cannot stand where it stands."""
    with pytest.raises(TargetFileError, match=rf"^targets\.csv, {place}: not "):
        reading(content)


def test_a_list_of_one_long_line_is_read() -> None:
    """As programs write JSON that no person reads: two mebibytes without a line end, with letters of two bytes."""
    content = json.dumps(
        [{"dataset": "ds", "document": f"d{n}", "name": "ü" * 60} for n in range(16_000)], ensure_ascii=False
    )
    assert len(content.encode()) > 2 * LONGEST_LINE
    assert [target.document for target in reading(content)] == [f"d{n}" for n in range(16_000)]


def test_a_long_list_of_json_is_read_in_pieces() -> None:
    """An array of thousands of objects in lines of their own: in order, and each at its line."""
    content = "[\n" + ",\n".join(json.dumps({"dataset": "ds", "document": f"d{n}"}) for n in range(5000)) + "\n]\n"
    assert [target.document for target in reading(content)] == [f"d{n}" for n in range(5000)]
    with pytest.raises(TargetFileError, match=r"line 4002: the document is empty"):
        reading(content.replace('"d4000"', '""'))


ids = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20).filter(
    lambda words: (
        not has_invisible(words) and not (words[0] in QUOTES and words[-1] in QUOTES) and read_cell(words) == words
    )
)


@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=20))
def test_what_was_written_as_csv_is_read(pairs: list[tuple[str, str]]) -> None:
    """Whatever ids a CSV writer quotes, they are read as they were, in order and with their duplicates."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["document", "more", "dataset"])
    writer.writerows([document, 'x,"y"', dataset] for dataset, document in pairs)
    assert reading(out.getvalue()) == [Target("dify", *pair) for pair in pairs]


@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=20))
def test_what_was_written_as_jsonl_is_read(pairs: list[tuple[str, str]]) -> None:
    """Whatever ids JSON holds, they are read as they were, in order and with their duplicates."""
    lines = [json.dumps({"dataset": dataset, "document": document}) for dataset, document in pairs]
    assert reading("\n".join(lines)) == [Target("dify", *pair) for pair in pairs]


@given(st.binary(max_size=200))
def test_whatever_is_in_the_file_it_is_read_or_refused(content: bytes) -> None:
    """No bytes make anything but targets or a message."""
    try:
        found = reading(content)
    except TargetFileError:
        return
    assert all(target.dataset and target.document for target in found)


def test_many_targets_share_the_strings_of_their_dataset() -> None:
    """A hundred thousand lines of one dataset cost below 200 bytes each: its id is held once."""
    content = b"dataset,document\n" + b"".join(
        b"6f1c2b34-0000-4000-8000-000000000001,%036d\n" % n for n in range(50_000)
    )
    tracemalloc.start()
    try:
        found = reading(content)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == 50_000
    assert held / len(found) < 200
    assert len({id(target.dataset) for target in found}) == 1
