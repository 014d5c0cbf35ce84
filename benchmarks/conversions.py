"""How long conversions take, beside the same calls of pyarrow's or Pillow's in a bare script, on the same files.

    .venv/bin/python benchmarks/conversions.py [--pictures] [--times 2] [--rounds 5] [csv-jsonl png-webp …]

The table is the flights of 2013, so many times over; the picture a photograph of six megapixels. Both sides run in
turn, each in a process of its own that imports first and then measures only the call; ours imports what a worker's
slots do, and allocates memory as they do. What counts is the best of the rounds. Where pyarrow can't write a format
(JSON, Excel) the bare script does what its users do: rows as Python objects, one after the other, into the format's
library.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

from workbench.worker import memory

IMPORTS = """
import json, sys, time
import numpy, pandas
import pyarrow as pa, pyarrow.compute, pyarrow.csv, pyarrow.json, pyarrow.parquet, pyarrow.feather, pyarrow.orc
import python_calamine, xlsxwriter
import PIL.Image; PIL.Image.init()
pa.array(["1"]).cast(pa.int64())  # which imports more
"""

BARE = """
def read(path):
    kind = path.rpartition(".")[2]
    if kind == "csv":
        return pa.csv.read_csv(path)
    if kind == "jsonl":
        return pa.json.read_json(path)
    if kind == "parquet":
        return pa.parquet.read_table(path)
    if kind == "feather":
        return pa.feather.read_table(path)
    if kind == "orc":
        return pa.orc.read_table(path)
    header, *rows = python_calamine.CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()
    rows = [dict(zip(header, (None if cell == "" else cell for cell in row))) for row in rows]
    return pa.Table.from_pylist(rows)

def write(table, path):
    kind = path.rpartition(".")[2]
    if kind == "csv":
        pa.csv.write_csv(table, path)
    elif kind == "jsonl":
        with open(path, "w") as file:
            for row in table.to_pylist():
                file.write(json.dumps(row, default=str) + "\\n")
    elif kind == "parquet":
        pa.parquet.write_table(table, path)
    elif kind == "feather":
        pa.feather.write_feather(table, path)
    elif kind == "orc":
        pa.orc.write_table(table, path, compression="zstd")
    else:
        with xlsxwriter.Workbook(path, {"constant_memory": True, "remove_timezone": True}) as book:
            page = book.add_worksheet()
            page.write_row(0, 0, table.column_names)
            for number, row in enumerate(zip(*(column.to_pylist() for column in table.columns)), 1):
                page.write_row(number, 0, row)

def convert(source, target):
    write(read(source), target)
"""

BARE_PICTURES = """
OPTIONS = {"jpeg": {"quality": 85}, "webp": {"quality": 85}, "avif": {"quality": 75}, "pdf": {"quality": 85},
           "tiff": {"compression": "tiff_adobe_deflate"}}

def convert(source, target):
    kind = target.rpartition(".")[2]
    with PIL.Image.open(source) as image:
        if image.mode == "P" and kind not in ("png", "gif", "tiff", "bmp"):
            image = image.convert("RGB")
        image.save(target, **OPTIONS.get(kind, {}))
"""

SLOT = """
import workbench.worker.preload
from workbench.worker import memory
memory.share_arena()
"""

OURS = """
from workbench.operations.convert import table
from workbench.values.refs import FileRef

def convert(source, target):
    table(FileRef(source, source.rpartition("/")[2]), target.rpartition(".")[2], output=target)
"""

OURS_PICTURES = """
from workbench.operations.convert import image
from workbench.values.refs import FileRef

def convert(source, target):
    image(FileRef(source, source.rpartition("/")[2]), target.rpartition(".")[2], output=target)
"""

MEASURE = """
started = time.perf_counter()
convert(*sys.argv[1:])
seconds = time.perf_counter() - started
# The highest resident size of this process alone: the kernel's count for getrusage begins with its parent's.
highest = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(seconds, int(highest.split()[1]) / 1000)
"""

FORMATS = ("csv", "jsonl", "parquet", "feather", "orc")
PICTURES = ("png", "jpeg", "webp", "avif", "tiff", "gif", "bmp", "jp2")
SIZE = (3000, 2000)


def measured(script: str, source: Path, target: Path) -> tuple[float, float]:
    """Return the seconds of one conversion in a process of its own, and its highest memory in MB."""
    target.unlink(missing_ok=True)
    ours = script in (OURS, OURS_PICTURES)
    command = [sys.executable, "-c", (SLOT if ours else "") + IMPORTS + script + MEASURE, str(source), str(target)]
    environment = os.environ | ({"GLIBC_TUNABLES": memory.tunables()} if ours else {})
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    seconds, megabytes = done.stdout.split()
    return float(seconds), float(megabytes)


@functools.cache
def photograph() -> Any:
    """Return a photograph of six megapixels."""
    from PIL import Image

    from workbench import samples

    largest = max((Image.open(path) for path in samples.photographs()), key=lambda each: each.width)
    return largest.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)


def inputs(directory: Path, times: int, formats: Iterable[str]) -> dict[str, Path]:
    """Write the flights in these formats, so many times over, or a photograph in those of pictures."""
    from workbench import samples
    from workbench.operations.convert import image, table
    from workbench.values.refs import FileRef

    header, rows = samples.flights(directory).read_bytes().split(b"\n", 1)
    source = directory / "input.csv"
    source.write_bytes(header + b"\n" + rows * times)
    files = {"csv": source}
    for to in set(formats) - {"csv"}:
        files[to] = directory / f"input.{to}"
        if to in PICTURES:
            image(photograph(), to, output=str(files[to]))
        else:
            table(FileRef(str(source), source.name), to, output=str(files[to]))
    return files


def main() -> None:
    """Measure and print; the exit code is 1 where a conversion is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", help="such as csv-parquet or csv-xlsx; all but those of Excel if none")
    parser.add_argument("--pictures", action="store_true", help="all pairs of pictures' formats instead of tables'")
    parser.add_argument("--times", type=int, default=2, help="the flights so many times (31 MB of CSV each)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=1.1, help="the ratio that is still fast enough")
    options = parser.parse_args()
    kinds = PICTURES if options.pictures else FORMATS
    pairs = [tuple(pair.split("-")) for pair in options.pairs] or list(product(kinds, kinds))
    results = {}
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        files = inputs(directory, options.times, {start for start, _ in pairs})
        print(f"{'':18}{'bare':>9}{'ours':>9}{'ratio':>8}{'bare':>9}{'ours':>9}")
        for start, end in pairs:
            target = directory / f"made.{end}"
            scripts = (BARE_PICTURES, OURS_PICTURES) if start in PICTURES else (BARE, OURS)
            rounds = [[measured(script, files[start], target) for script in scripts] for _ in range(options.rounds)]
            bare, ours = (min(each[side][0] for each in rounds) for side in (0, 1))
            bare_memory, our_memory = (max(each[side][1] for each in rounds) for side in (0, 1))
            results[f"{start}-{end}"] = ours / bare
            mark = "" if ours / bare <= options.limit else "  above"
            print(
                f"{start + ' → ' + end:18}{bare:7.2f} s{ours:7.2f} s{ours / bare:8.2f}{bare_memory:6.0f} MB"
                f"{our_memory:6.0f} MB{mark}",
                flush=True,
            )
    print(json.dumps({pair: round(ratio, 3) for pair, ratio in results.items()}))
    sys.exit(any(ratio > options.limit for ratio in results.values()))


if __name__ == "__main__":
    main()
