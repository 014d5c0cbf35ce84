"""A real slot with a memory limit: what asks for more ends in a clean error, and the slot goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from tests.integration.test_slots import Audience, report_of, start, task
from tests.security import hostile_tables, test_images, test_workbooks
from tests.support import until
from workbench.core.messages import Status
from workbench.core.settings import Settings
from workbench.values import codecs
from workbench.values.files import Files
from workbench.values.refs import FileRef
from workbench.worker import slots, wire
from workbench.worker.slots import Slot

OPERATIONS = ("tests.integration.user_operations", "tests.security.hungry_operations")
LIMIT = 400 << 20

Scene = Callable[[Slot, Audience], Awaitable[None]]


def play(directory: Path, scene: Scene, limit: int = LIMIT) -> None:
    """Let a slot of so much memory play a scene; its root is `directory/root`."""

    async def run() -> None:
        audience = Audience()
        (directory / "root").mkdir()
        config = wire.ChildConfig(
            settings=Settings(
                broker_url="amqp://nowhere/", store=str(directory / "store"), roots=(str(directory / "root"),)
            ),
            include=OPERATIONS,
            scratch=str(directory / "scratch"),
            memory_limit=limit,
        )
        slot = Slot(1, config, audience, slots.context(OPERATIONS))
        await slot.start()
        try:
            await scene(slot, audience)
        finally:
            await slot.stop()

    asyncio.run(run())


async def failure_of(slot: Slot, audience: Audience, operation: str, *args: object) -> tuple[str, str, str]:
    report = await report_of(slot, audience, task(operation, *args))
    assert report.status is Status.FAILED, report
    assert report.failure is not None
    return report.failure.type, report.failure.message, report.failure.hint


async def goes_on(slot: Slot, audience: Audience, pid: int | None) -> None:
    """The very same process still works."""
    report = await report_of(slot, audience, task("text.wordcount", "a b c"))
    assert (report.status, slot.pid, audience.deaths) == (Status.SUCCEEDED, pid, [])


def test_whichever_library_asks_for_too_much_the_error_is_clean_and_the_slot_survives(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        await until(lambda: audience.ready)
        pid = slot.pid
        for library in ("numpy", "numpybits", "pandas", "pyarrow", "pillow", "python", "duckdb"):
            kind, message, hint = await failure_of(slot, audience, f"hungry.{library}")
            assert kind == "MemoryLimitExceeded", (library, kind, message)
            assert message.startswith("the attempt asked for more memory than the slot may use ("), message
            assert "the slot's memory limit was reached: give the worker a higher --memory-limit" in hint, library
            await goes_on(slot, audience, pid)

    play(tmp_path, scene)


def test_what_arrows_allocator_reserves_is_not_taken_from_the_slots_limit(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        report = await report_of(slot, audience, task("hungry.modest", 600))
        assert report.status is Status.SUCCEEDED, report.failure

    play(tmp_path, scene, limit=1200 << 20)


def test_memory_that_the_kernels_limit_does_not_count_ends_the_process_and_another_takes_its_place(
    tmp_path: Path,
) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        await start(slot, audience, task("hungry.mapped", 900))

        def seen() -> bool:
            slot.check_memory()  # as the worker does every second
            return bool(audience.deaths)

        await until(seen)
        failure, _ = audience.deaths[0]
        assert failure.type == "MemoryLimitExceeded"
        assert "more than the slot's limit of 400 MiB, and was killed" in failure.message
        assert "give the worker a higher --memory-limit" in failure.hint
        assert not failure.transient
        before = len(audience.ready)
        await slot.restart()
        await until(lambda: len(audience.ready) > before)
        report = await report_of(slot, audience, task("text.wordcount", "a b c"))
        assert report.status is Status.SUCCEEDED

    play(tmp_path, scene)


def test_hostile_tables_leave_the_slot_that_was_given_them_alive(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        await until(lambda: audience.ready)
        pid, root = slot.pid, tmp_path / "root"
        no_room = "it doesn't fit into the memory this process may use ("
        for make, error, words in (
            (hostile_tables.parquet_of_one_long_text, "InputTooLarge", no_room),
            (hostile_tables.feather_of_many_rows, "InputTooLarge", no_room),
            (
                hostile_tables.feather_whose_offsets_lead_out,
                "InputError",
                "In column 0: Invalid: Length spanned by binary offsets (1073741824) larger than values array",
            ),
            (hostile_tables.zipped_endless_line, "InputError", "a row after line 1 is longer than 1"),
            (hostile_tables.zipped_zeros, "InputTooLarge", no_room),
        ):
            path = make(root)
            kind, message, _ = await failure_of(slot, audience, "data.describe", str(path))
            assert (kind, message[: len(path.name) + 2 + len(words)]) == (error, f"{path.name}: {words}"), message
            await goes_on(slot, audience, pid)

    play(tmp_path, scene)


def test_whatever_kind_of_hostile_input_a_slot_is_given_it_says_what_is_wrong_and_goes_on(tmp_path: Path) -> None:
    """One of each kind; the other tests here try each kind in many ways, in processes of their own."""

    async def scene(slot: Slot, audience: Audience) -> None:
        await until(lambda: audience.ready)
        pid, root = slot.pid, tmp_path / "root"

        def made(name: str, data: bytes) -> str:
            (root / name).write_bytes(data)
            return str(root / name)

        def bomb(name: str) -> str:
            return made(name, test_images.BOMBS[name][0]())

        table = made("a.csv", b"x,s\n1,a\n")
        png = test_images.saved("PNG")
        book = test_workbooks.workbook(root / "a.xlsx", (0, 0), (1048575, 16383))
        rows = hostile_tables.parquet_of_many_rows(root)
        cases: list[tuple[str, list[object], str, str]] = [
            ("image.info", [bomb("bomb.png")], "InputError", "bomb.png has 900 megapixels, and the limit is 200"),
            ("convert.image", [bomb("slot.png"), "jpeg"], "InputError", "MB of memory decoded, and the slot has"),
            (
                "convert.image",
                [made("many.gif", test_images.gif_of_frames(20_000)), "webp"],
                "InputError",
                "10,000 frames",
            ),
            (
                "convert.image",
                [made("cut.png", png[: len(png) // 2]), "jpeg"],
                "InputError",
                "cut.png can't be read as PNG",
            ),
            (
                "image.info",
                [made("a.eps", test_images.OTHERS["a.eps"][0])],
                "InputError",
                "it looks like EPS or PostScript",
            ),
            (
                "image.info",
                [made("a.png", test_images.OTHERS["a.psd"][0])],
                "InputError",
                "it looks like Photoshop (PSD)",
            ),
            (
                "image.info",
                [made("b.png", test_images.OTHERS["b.svg"][0])],
                "InputError",
                "it looks like SVG; export it",
            ),
            ("image.info", [made("c.svg", b"<!---->" * 146)], "InputError", "c.svg is not an image that can be read"),
            (
                "convert.table",
                [str(book), "csv"],
                "InputTooLarge",
                "whose last cell is in row 1,048,576 and column 16,384",
            ),
            (
                "data.rolling",
                [str(rows), 10],
                "InputTooLarge",
                "rows.parquet: it doesn't fit into the memory this process may use (",
            ),
            (
                "data.describe",
                [str(hostile_tables.nested_json(root))],
                "InputError",
                "deep.json: its values are nested in more than 64 levels of arrays and objects, which is no table. ",
            ),
            (
                "data.describe",
                [str(hostile_tables.nested_lines(root))],
                "InputError",
                "deep.jsonl is nested too deeply to be a table: no row of one goes so deep. Get the file again",
            ),
            (
                "convert.table",
                [str(hostile_tables.unclosed_json(root)), "csv"],
                "InputError",
                "open.json ends after record 1, without a ]. It is cut short: get the file again",
            ),
            (
                "data.sql",
                ["SELECT * FROM read_text('/etc/passwd')"],
                "InvalidArguments",
                "query: it reads the tables it is given, and nothing else: Permission Error: Cannot access file",
            ),
            ("data.sql", ["LOAD httpfs"], "InvalidArguments", "that reads, SELECT … or WITH … SELECT …, got LOAD"),
            ("data.sql", [f"WITH s AS (COPY (SELECT 1) TO '{root}/out') FROM s"], "InvalidArguments", "got COPY in it"),
            (
                "data.assign",
                [table, {"y": "open('/etc/passwd').read()"}],
                "InvalidArguments",
                "at character 1: \"open('/etc/passwd').read()\" is not part of the language. Known are columns, ",
            ),
            ("data.filter", [table, [["x", "==", {"a": 1}]]], "InvalidArguments", "can't compare with {'a': 1} (dict)"),
            ("data.filter", [table, {"x": 1}], "InvalidArguments", "parameter 'filters' takes list[anything], got "),
            ("data.describe", [f"{root}/../secret.csv"], "PathRefused", "lies outside what the worker on"),
        ]
        for operation, args, error, words in cases:
            kind, message, _ = await failure_of(slot, audience, operation, *args)
            assert (kind, words in message) == (error, True), (operation, args, kind, message)
            await goes_on(slot, audience, pid)

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/etc/passwd", "/etc/passwd lies outside what the worker on "),
        ("http://169.254.169.254/latest", "'http://169.254.169.254/latest' is not an absolute path. Allowed are "),
        ("simplecache::file:///etc/passwd", "'simplecache::file:///etc/passwd' is not an absolute path. Allowed are "),
    ],
)
def test_a_path_that_a_producer_wrote_by_hand_is_refused_by_the_slot(text: str, words: str, tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        root = str(tmp_path / "root")
        for operation, *args in (
            ("data.describe", text),
            ("data.describe", [text]),
            ("convert.table", text, "csv"),
            ("convert.concat", [text], "csv"),
            ("convert.image", text, "png"),
            ("convert.batch", text, root, "csv"),
            ("convert.batch", root, text, "csv"),
        ):
            kind, message, _ = await failure_of(slot, audience, operation, *args)
            assert (kind, message[: len(words)]) == ("PathRefused", words), (operation, message)
            assert root in message

    play(tmp_path, scene)


def test_a_name_that_is_switched_to_and_fro_gives_a_slot_its_own_file_or_an_error_and_never_a_secret(
    tmp_path: Path,
) -> None:
    """The link comes at any moment: as the path is checked, between that and the reading, as it is read."""
    secret, name = tmp_path / "secret.csv", tmp_path / "root" / "sub" / "a.csv"
    stop = threading.Event()

    def switch() -> None:
        while not stop.is_set():
            for make in (lambda new: new.write_text("x\n1\n"), lambda new: new.symlink_to(secret)):
                make(tmp_path / "new")
                (tmp_path / "new").replace(name)

    async def scene(slot: Slot, audience: Audience) -> None:
        secret.write_text("password\nhunter2\n")
        name.parent.mkdir()
        switcher = threading.Thread(target=switch)
        switcher.start()
        try:
            read = refused = 0
            while read < 10 or refused < 10:
                for operation, *args in (("convert.table", str(name), "csv"), ("data.describe", str(name))):
                    report = await report_of(slot, audience, task(operation, *args))
                    if report.status is Status.SUCCEEDED:
                        assert report.result is not None
                        files = Files(str(tmp_path / "store"))
                        made = codecs.decode(report.result, files)
                        text = made.read_bytes().decode() if isinstance(made, FileRef) else str(made)
                        assert "password" not in text
                        assert "hunter2" not in text
                        read += 1
                    else:
                        assert report.failure is not None
                        assert report.failure.type in ("PathRefused", "InputNotFound"), report.failure
                        refused += 1
        finally:
            stop.set()
            switcher.join()

    play(tmp_path, scene)


def test_an_operation_of_the_package_writes_nothing_outside_the_roots(tmp_path: Path) -> None:
    async def scene(slot: Slot, audience: Audience) -> None:
        source = tmp_path / "root" / "a.csv"
        source.write_text("x\n1\n")
        (tmp_path / "root" / "link.csv").symlink_to(tmp_path / "outside.csv")
        for output in (
            tmp_path / "outside.csv",
            tmp_path / "root" / "link.csv",
            tmp_path / "root" / ".." / "outside.csv",
        ):
            kwargs = {"output": msgspec.Raw(msgspec.msgpack.encode(str(output)))}
            each = msgspec.structs.replace(task("convert.table", str(source), "csv"), kwargs=kwargs)
            report = await report_of(slot, audience, each)
            assert report.failure is not None
            assert report.failure.type == "PathRefused"
            assert "lies outside what the worker on" in report.failure.message
        assert not (tmp_path / "outside.csv").exists()

    play(tmp_path, scene)


def test_a_users_own_operation_is_trusted_code_and_writes_where_it_likes(tmp_path: Path) -> None:
    """Roots say what arguments may name; they are no sandbox for code that the worker's owner has let in."""

    async def scene(slot: Slot, audience: Audience) -> None:
        report = await report_of(slot, audience, task("stray.writes", str(tmp_path / "outside.txt")))
        assert report.status is Status.SUCCEEDED
        assert (tmp_path / "outside.txt").read_text() == "here"

    play(tmp_path, scene)
