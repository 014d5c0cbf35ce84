"""Workbooks that unfold: refused before a reader that ends its process where memory runs out has seen them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import xlsxwriter

from tests.security.limits import tried
from workbench.core.errors import InputError
from workbench.values.archives import check_workbook

CHECK = "__import__('workbench.values.archives').values.archives.check_workbook(Path(PATH), 'a.xlsx')"
SHEET = "xl/worksheets/sheet1.xml"


def workbook(path: Path, *cells: tuple[int, int]) -> Path:
    book = xlsxwriter.Workbook(str(path))
    sheet = book.add_worksheet()
    for row, column in cells:
        sheet.write(row, column, 1)
    book.close()
    return path


def with_sheet(path: Path, body: bytes) -> Path:
    """Write an archive whose sheet is this XML."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(SHEET, b"<worksheet><sheetData>" + body + b"</sheetData></worksheet>")
    return path


def test_two_cells_in_opposite_corners_are_seventeen_thousand_millions(tmp_path: Path) -> None:
    went = tried(CHECK, PATH=workbook(tmp_path / "a.xlsx", (0, 0), (1048575, 16383)))
    assert went.kind == "InputTooLarge", went
    assert (
        "whose last cell is in row 1,048,576 and column 16,384, with all that lies before it, doesn't fit" in went.text
    )


@pytest.mark.parametrize(
    "body",
    [
        b"<row/>" * 1_000_000 + b"<row>" + b"<c/>" * 16_000 + b"</row>",
        b"<row x='>'/>" * 1_000_000 + b"<row>" + b"<c t='n'/>" * 16_000 + b"</row>",
        b"<row r='1000000'/><row/><row><c x='>' r='XFD1000002'/></row>",
        b"<row r='1'><c r='A1'/></row><x:row r = \"1048576\"><x:c s='1'\n r\t=\n\"XFD1048576\"/></x:row>",
        b"<row r='1048576'/><row r='2'><c r='XFD2'/></row>",
        b"<!--" + b" " * 3_000_000 + b"--><row r='1048576'><c r='XFD1048576'/></row>",
    ],
)
def test_cells_are_counted_whether_they_say_where_they_stand_or_not(body: bytes, tmp_path: Path) -> None:
    went = tried(CHECK, PATH=with_sheet(tmp_path / "a.xlsx", body))
    assert went.kind == "InputTooLarge", went
    assert went.seconds < 10, went


ODS = (
    '<?xml version="1.0"?><office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"><office:body><office:spreadsheet>'
    '<table:table table:name="S"><table:table-row table:number-rows-repeated="100000">'
    '<table:table-cell table:number-columns-repeated="1000" office:value-type="float" office:value="1"/>'
    "</table:table-row></table:table></office:spreadsheet></office:body></office:document-content>"
)


@pytest.mark.parametrize("part", ["content.xml", "Content.XML", "xl/workbook.bin"])
def test_another_kind_of_workbook_that_is_named_as_one_is_refused(part: str, tmp_path: Path) -> None:
    """What a file of the store is called tells calamine nothing: it reads whatever it can, and may end the process."""
    path = tmp_path / "stored"  # as it is called in the store
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr(part, ODS)
        archive.writestr(
            "META-INF/manifest.xml",
            '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>',
        )
    went = tried("registry.get('convert.table').function(FileRef(PATH, 'a.xlsx'), 'csv')", PATH=path)
    assert went.kind == "InputError", went
    assert went.text.startswith("a.xlsx is a"), went
    assert "Open it, and save it as .xlsx" in went.text


def test_cells_are_counted_in_whichever_part_a_workbook_says_its_sheet_is(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", (0, 0), (1048575, 16383))
    moved = tmp_path / "moved.xlsx"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(moved, "w", zipfile.ZIP_DEFLATED) as other:
        for member in archive.infolist():
            data = archive.read(member).replace(b"worksheets/sheet1.xml", b"elsewhere/s.dat")
            other.writestr(member.filename.replace("worksheets/sheet1.xml", "elsewhere/s.dat"), data)
    went = tried("registry.get('convert.table').function(FileRef(PATH, 'a.xlsx'), 'csv')", PATH=moved)
    assert went.kind == "InputTooLarge", went
    assert "the sheet in xl/elsewhere/s.dat, whose last cell is in row 1,048,576" in went.text


def test_a_part_that_unpacks_to_gigabytes_is_refused_by_what_the_archive_says(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(SHEET, "w", force_zip64=True) as part,
    ):
        for _ in range(600):
            part.write(b" " * (1 << 20))
    assert path.stat().st_size < 1_000_000
    went = tried(CHECK, PATH=path)
    assert went.kind == "InputTooLarge", went
    assert "a.xlsx: what it unpacks to doesn't fit into the memory" in went.text


def test_an_archive_that_lies_about_its_size_is_found_out_by_unpacking(tmp_path: Path) -> None:
    path = with_sheet(tmp_path / "a.xlsx", b" " * 50_000_000)
    honest = (50_000_000 + len(b"<worksheet><sheetData></sheetData></worksheet>")).to_bytes(4, "little")
    data = path.read_bytes()
    assert data.count(honest) == 2
    path.write_bytes(data.replace(honest, (1000).to_bytes(4, "little")))
    with pytest.raises(InputError, match=r"sheet1\.xml is larger than the archive says\. .* decompression bomb"):
        check_workbook(path, "a.xlsx")


@pytest.mark.parametrize("length", [0, 10, 100, 2000, -1])
def test_a_workbook_cut_short_is_an_input_error(length: int, tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", *((row, 0) for row in range(100)))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"^a\.xlsx is not a workbook: "):
        check_workbook(path, "a.xlsx")


@pytest.mark.parametrize("piece", [b"<c ", b'<c "', b"<c r", b'<c r="', b"<row r = ", b'<c a="" ', b"<c r  "])
def test_tags_that_never_end_take_time_in_proportion_to_their_length(piece: bytes, tmp_path: Path) -> None:
    went = tried(
        CHECK, PATH=with_sheet(tmp_path / "a.xlsx", piece * (3_000_000 // len(piece)) + b"<c " + b'a="" ' * 500_000)
    )
    assert went.seconds < 8, went


def test_a_list_of_formulas_over_all_sheets_is_no_sheet(tmp_path: Path) -> None:
    """One may have many rows, and another one many columns."""
    path = workbook(tmp_path / "a.xlsx", (0, 0))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/calcChain.xml", "<calcChain><c r='A1048576' i='1'/><c r='XFD1' i='2'/></calcChain>")
    went = tried(CHECK, PATH=path)
    assert went.how == "returned", went


def test_an_ordinary_workbook_passes(tmp_path: Path) -> None:
    check_workbook(workbook(tmp_path / "a.xlsx", *((row, column) for row in range(500) for column in range(20))), "a")
    check_workbook(with_sheet(tmp_path / "b.xlsx", b"<row><c><v>1</v></c><c/></row>" * 1000), "b")
