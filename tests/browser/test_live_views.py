from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

import workbench as wb
from tests.browser.conftest import ask, await_news, chart_of
from tests.support import wait_until

expect = pytest.importorskip("playwright.sync_api").expect


def failed(client, message: str, times: int) -> list[wb.TaskHandle]:
    handles = [client.submit("bad.raises", message) for _ in range(times)]
    for handle in handles:
        with pytest.raises(wb.TaskFailed):
            handle.result(timeout=60)
    return handles


def test_the_stream_draws_attempts_and_a_click_opens_the_task(served, client, visit, shot) -> None:
    for handle in [client.submit("text.sleep", 1.0) for _ in range(3)]:
        handle.result(timeout=60)
    failed(client, "seen in the stream", 2)
    page = visit(f"{served.url}#/stream")
    expect(page.get_by_text(re.compile("attempts ended in the last minute"))).to_be_visible()
    expect(page.get_by_text("text.sleep", exact=True)).to_be_visible()
    page.get_by_role("button", name="Hold still").click()
    expect(page.get_by_role("button", name="Follow the time")).to_be_visible()
    shot(page, "stream-light")
    where = page.evaluate(RECTANGLE, "text.sleep")
    page.mouse.move(where["x"], where["y"])
    tip = page.locator(".bk-Tooltip:visible").first
    expect(tip).to_contain_text("text.sleep succeeded")
    expect(tip).to_contain_text(re.compile(r"1(\.\d+)? s"))
    expect(tip).to_contain_text(re.compile(r"worker-1, slot \d+"))
    expect(tip).to_contain_text(where["task"])
    shot(page, "stream-hover")
    page.mouse.click(where["x"], where["y"])
    expect(page.get_by_role("heading", name="In a notebook")).to_be_visible()
    assert page.url.endswith(f"/task/{where['task']}")


RECTANGLE = """operation => {
    const plots = Object.values(Bokeh.index).flatMap(view => [...view.model.references()])
    const plot = plots.find(m => m.type === 'Figure' && m.renderers.some(r => r.data_source?.data?.task))
    const { data } = plot.renderers.map(r => r.data_source).find(s => s.data.name.includes(operation))
    const at = data.name.lastIndexOf(operation)  // older ones may have left the chart
    const view = Bokeh.index.find_one(plot)
    const box = view.canvas_view.el.getBoundingClientRect()
    return { x: box.left + view.frame.x_scale.compute((data.left[at] + data.right[at]) / 2),
             y: box.top + view.frame.y_scale.compute(data.middle[at]),
             task: data.task[at] }
}"""
"""The pixel of an operation's last rectangle, from the chart's own numbers."""


def test_charts_pan_and_zoom_in_time_only_and_stay_there_until_told_to_follow(served, client, visit) -> None:
    client.submit("text.echo", 1).result(timeout=60)
    page = visit(served.url)
    for view in ("overview", "stream", "charts"):
        page.evaluate(f"location.hash = '/{view}'")
        expect(page.locator("nav a[aria-current]")).to_have_attribute("href", f"#/{view}")
        pan_and_zoom(page)


def pan_and_zoom(page) -> None:
    """Move the chart that is seen, and let it follow the time again."""

    def at() -> tuple[float, float]:
        return tuple((chart_of(page) or {"across": (0, 0)})["across"])

    follow = page.get_by_role("button", name="Follow the time")
    wait_until(lambda: at() > (1, 1), what="it shows a time")
    following = chart_of(page)
    live = tuple(following["across"])
    wait_until(lambda: at() > live, what="it follows the time")
    expect(follow).to_have_count(0)
    page.mouse.move(following["x"], following["y"])
    page.mouse.down()
    page.mouse.move(following["x"] + 150, following["y"] + 50, steps=5)
    page.mouse.up()
    expect(follow).to_be_visible()
    panned = chart_of(page)
    assert panned["across"][0] < live[0]
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    wait_until(lambda: at()[0] > panned["across"][0], what="it zooms")
    page.keyboard.up("Control")
    zoomed = chart_of(page)
    await_news(page)
    assert at() == tuple(zoomed["across"])
    assert chart_of(page)["up"] == zoomed["up"] == panned["up"]
    follow.click()
    wait_until(lambda: at()[1] > live[1], what="it follows the time again")
    expect(follow).to_have_count(0)


def test_throughput_has_a_line_and_a_row_for_each_family(served, client, visit, shot) -> None:
    for handle in client.map("text.echo", range(50)):
        handle.result(timeout=60)
    failed(client, "of another family", 1)
    page = visit(f"{served.url}#/charts")
    rows = page.locator("table[aria-label='By family'] tbody tr")
    expect(rows.filter(has_text="text")).to_have_count(1)
    expect(rows.filter(has_text="bad")).to_have_count(1)
    expect(page.get_by_role("heading", name="Throughput")).to_be_visible()
    page.get_by_role("button", name="1 hour").click()
    expect(page.get_by_role("button", name="1 hour")).to_have_attribute("aria-pressed", "true")
    shot(page, "throughput-light")


def test_queues_tell_their_depth_and_who_takes_from_them(served, client, visit, shot) -> None:
    page = visit(f"{served.url}#/queues")
    row = page.locator("table[aria-label='Task queues'] tr", has_text="tasks.text")
    expect(row).to_contain_text("empty")
    expect(row.locator("td").nth(4)).to_have_text(re.compile(r"^[1-9]$"))
    shot(page, "queues-light")


def test_queues_tell_their_pace_and_what_waits_for_its_next_attempt(served, client, visit, shot, tmp_path) -> None:
    retried = client.submit("bad.retries", str(tmp_path), 16.0)
    wait_until(lambda: retried.status().state.value == "retrying", what="it waits for its next attempt")
    handles = [client.submit("text.sleep", 600.0) for _ in range(9)]  # three slots take the first
    page = visit(f"{served.url}#/queues")
    row = page.locator("table[aria-label='Task queues'] tr", has_text="tasks.text")
    cells = row.locator("td")
    try:
        expect(cells.nth(1)).to_contain_text("growing")
        expect(cells.nth(2)).to_have_text(re.compile(r"^[1-9]$"))
        expect(cells.nth(3)).to_have_text("3 of 3 slots")
        expect(cells.nth(5)).to_have_text(re.compile(r"^[\d.]+/(s|min)$"))
        expect(cells.nth(6)).to_have_text(re.compile(r"^[\d.]+/(s|min)$"))
        expect(cells.nth(7)).to_have_text("not at this pace")
        delays = page.locator("section.card", has=page.get_by_role("heading", name="Delay queues"))
        expect(delays.locator("tbody tr")).to_have_count(1)
        expect(delays.locator("tbody tr td").last).to_have_text("1")
        expect(delays.locator("tbody tr")).to_contain_text(re.compile(r"[\d.]+ s"))
        shot(page, "queues-busy")
    finally:
        ask(lambda: client.cancel([*handles, retried], timeout=60))


@pytest.mark.slow  # what came in has to be older than the minute that rates are of
def test_a_queue_that_gets_shorter_tells_when_it_will_be_empty(served, client, visit) -> None:
    handles = [client.submit("text.sleep", 1.0) for _ in range(300)]
    page = visit(f"{served.url}#/queues")
    cells = page.locator("table[aria-label='Task queues'] tr", has_text="tasks.text").locator("td")
    expect(cells.nth(1)).to_contain_text("getting shorter", timeout=90_000)
    expect(cells.nth(7)).to_have_text(re.compile(r"^([\d.]+ s|\d min \d+ s)$"))
    ask(lambda: client.cancel(handles, timeout=60))


def test_a_worker_tells_its_load_and_stays_when_it_is_lost(cluster, served, visit, shot) -> None:
    command = [sys.executable, "-m", "workbench", "worker", "text", "--slots", "2", "--name", "vanishing"]
    process = subprocess.Popen(
        [*command, "--include", "tests.integration.user_operations"],
        env={**os.environ, **cluster.settings.as_environ()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        page = visit(f"{served.url}#/workers")
        cells = page.locator("table[aria-label=Workers] tr", has_text="vanishing").locator("td")
        expect(cells.nth(1)).to_contain_text("online")
        expect(cells.nth(2)).to_contain_text(f"(pid {process.pid})")
        expect(cells.nth(3)).to_have_text("text")
        expect(cells.nth(4)).to_contain_text("of 2")
        expect(cells.nth(5)).to_have_text(re.compile(r"^\d+ %$"))
        expect(cells.nth(6)).to_have_text(re.compile(r"^[\d.]+ [MG]iB$"))
    finally:
        process.kill()
        process.wait(20)
    expect(cells.nth(1)).to_contain_text("lost", timeout=40_000)
    expect(page.get_by_text("1 worker lost")).to_be_visible()
    expect(cells.nth(5)).to_have_text("–")
    expect(cells.nth(8)).to_contain_text("ago")
    shot(page, "workers-lost")
    page.reload()
    expect(cells.nth(1)).to_contain_text("lost")


def test_a_task_tells_its_progress_its_story_and_what_it_was_given(served, client, visit, shot) -> None:
    handle = client.submit("bad.tells", 12, seconds=1.0)
    page = visit(f"{served.url}#/task/{handle.id}")
    meter = page.locator("p", has=page.locator(".meter"))
    expect(meter).to_contain_text(re.compile(r"\d+% step \d+"))
    first = meter.inner_text()
    shot(page, "task-progress")
    expect(meter).not_to_have_text(first)
    arguments = page.locator("section.card", has=page.get_by_role("heading", name="Arguments"))
    expect(arguments.locator("dt:text-is('seconds') + dd")).to_have_text("1.0")
    expect(arguments).to_contain_text("12")
    events = page.locator("section.card", has=page.get_by_role("heading", name="Events"))
    expect(events.locator("tbody tr").first).to_contain_text(re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"))
    before = events.locator("tbody tr").count()
    handle.cancel()
    expect(page.locator(".board .row > .state:visible")).to_have_text(re.compile("cancelled"))
    expect(events.locator("tbody tr").nth(before)).to_be_visible()
    expect(meter).to_have_count(0)


def test_search_finds_by_the_beginning_of_an_id_and_by_exception(served, client, visit) -> None:
    handle = client.submit("text.wordcount", "found by its id")
    handle.result(timeout=60)
    failed(client, "found by its exception", 1)
    page = visit(f"{served.url}#/tasks")
    search = page.get_by_role("searchbox")
    search.fill(handle.id)
    expect(page.get_by_text("Showing 1 of 1 task that matches")).to_be_visible()
    expect(page.locator("tr[data-href]")).to_have_attribute("data-href", f"/task/{handle.id}")
    search.fill("ValueErr")
    expect(page.locator("tr[data-href]").first).to_contain_text("ValueError")
    for _ in range(2):
        search.fill("there is nothing like this")
        expect(page.get_by_text("No task matches")).to_be_visible()
        page.get_by_role("link", name="Clear").click()
        expect(page.locator("tr[data-href]").first).to_be_visible()
        expect(search).to_have_value("")


def test_a_table_and_a_picture_are_shown_as_results(served, client, visit, shot) -> None:
    import pandas as pd
    from PIL import Image

    frame = client.submit("text.echo", pd.DataFrame({"city": ["Oslo", "<b>Rome</b>"], "people": [7, 28]}))
    frame.result(timeout=60)
    page = visit(f"{served.url}#/task/{frame.id}")
    expect(page.locator(".preview table")).to_contain_text("<b>Rome</b>")
    picture = client.submit("text.echo", Image.new("RGB", (40, 30), "teal"))
    picture.result(timeout=60)
    page.goto(f"{served.url}#/task/{picture.id}")
    expect(page.locator(".preview img")).to_be_visible()
    shot(page, "task-picture")
