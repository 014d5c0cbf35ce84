"""Whatever comes instead of a message or a value is a declared error: no crash, no endless loop, no memory taken."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.security import fuzz
from workbench.core import control, messages, rpc
from workbench.core.errors import InputError
from workbench.values import codecs
from workbench.values.files import Files
from workbench.values.plain import Code, with_header
from workbench.worker import wire

NAMES = list(fuzz.targets())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_sent_in_earnest_is_read(name: str) -> None:
    target = fuzz.targets()[name]
    assert all(fuzz.one(target, data) for data in target.corpus)


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**63))
@settings(max_examples=150, deadline=None)
def test_a_damaged_message_raises_nothing_but_what_its_decoder_declares(name: str, seed: int) -> None:
    fuzz.run(name, random.Random(seed))


@pytest.mark.parametrize("name", NAMES)
@given(data=st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_arbitrary_bytes_raise_nothing_but_what_their_decoder_declares(name: str, data: bytes) -> None:
    fuzz.one(fuzz.targets()[name], data)


def test_thousands_of_damaged_messages_leave_a_process_alive_and_small() -> None:
    """In a process that may take a gigabyte: one that crashed in compiled code would say nothing more."""
    assert _fuzzed(9000) - _fuzzed(1) < 32  # MiB: what is beyond the libraries themselves, three or so


def _fuzzed(runs: int) -> int:
    """Return the MiB that a process has needed for so many."""
    command = [sys.executable, "-W", "error", "-m", "tests.security.fuzz", "--runs", str(runs), "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = re.search(rf"{runs} runs, (\d+) MiB at most", done.stdout)
    assert found is not None, done.stdout
    return int(found[1])


LENGTHS = [2**31, 2**32 - 1]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kind", [b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("keys", "frames")])
def test_a_length_that_is_claimed_takes_no_memory(name: str, kind: bytes, length: int) -> None:
    """Five bytes that promise four billion elements: arrays, maps, texts, bytes, extensions."""
    for data in (kind + length.to_bytes(4, "big"), b"\x81\xa4type" + kind + length.to_bytes(4, "big") + b"\x01" * 9):
        tracemalloc.start()
        try:
            assert not fuzz.one(fuzz.targets()[name], data)
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    "decode",
    [
        messages.decode,
        messages.decode_task,
        rpc.decode_request,
        rpc.decode_answer,
        control.decode_order,
        control.decode_holding,
        wire.decode,
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        b"\x81\xa4type\xa4\xff\xff\xff\xff",
        b"\x81\xa5order\xa4\xff\xff\xff\xff",
        b"\x81\xa3ask\xa2\xff\xff",
        b"\x81\xa6answer\xa2\xff\xff",
        b"\x81\xa4hold\xa2\xff\xff",
        b"\x81\xa1x" + b"\x91" * 100_000 + b"\x01",
        b"",
        b"\xc1",
    ],
)
def test_text_that_is_not_utf_8_and_nesting_without_end_are_decode_errors(decode: Any, body: bytes) -> None:
    """A `UnicodeDecodeError` or a `RecursionError` would pass by whoever is ready for a message that can't be read."""
    with pytest.raises(msgspec.DecodeError):
        decode(body)


def value(code: int, header: object, rest: bytes = b"") -> bytes:
    return msgspec.msgpack.encode(msgspec.msgpack.Ext(code, with_header(header) + rest))


@pytest.mark.parametrize(
    "data",
    [
        value(Code.ARRAY, ["'<f8'", [2**40, 2**40], False]),
        value(Code.ARRAY, ["'V0'", [2**62], False]),
        value(Code.ARRAY, ["'|O'", [1], False], b"\0" * 8),
        value(Code.ARRAY, ["-" * 9000 + "1", [1], False], b"\0" * 8),
        value(Code.ARRAY, ["(" * 9000, [1], False], b"\0" * 8),
        value(Code.ARRAY, ["__import__('os').system('true')", [1], False], b"\0" * 8),
        value(Code.ARRAY, ["('<f8', (9999, 9999, 9999, 9999, 9999))", [1], False], b"\0" * 8),
        value(Code.IMAGE, ["pixels", None, [], "RGB", [2**31, 2**31], None], b"x\x9c"),
        value(Code.IMAGE, ["pixels", None, [], "RGB", [10_000, 10_000], None], b"x\x9c"),
        value(Code.FRAME, [["range", 0, 2**62, 1, None], ["plain", ["range", 0, 2**62, 1, None]], [], {}]),
        value(Code.FRAME, [["index", ["cells"], None, None], ["strings", "python", "NA", [], None], [], {}]),
        b"\xc7\x05\x03\xff\xff\xff\xff\xff",
        b"\x91" * 100_000 + b"\x01",
        msgspec.msgpack.encode(msgspec.msgpack.Ext(Code.PAIRS, b"\x91" * 50_000 + b"\x01")),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(Code.TUPLE, b"\x91" * 50_000 + b"\x01")),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(99, b"x")),
    ],
)
def test_a_made_up_value_is_an_input_error_and_takes_no_memory(data: bytes, tmp_path: Path) -> None:
    files = Files(str(tmp_path / "store"))
    with pytest.raises(InputError):
        codecs.decode(data, files)  # once, so that what it imports doesn't count
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            codecs.decode(data, files)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
