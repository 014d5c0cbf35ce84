from __future__ import annotations

import re

import pytest

import workbench as wb

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
    # The pixel of a rectangle, from the chart's own numbers.
    where = page.evaluate(
        """() => {
            const plots = Object.values(Bokeh.index).flatMap(view => [...view.model.references()])
            const plot = plots.find(m => m.type === 'Figure' && m.renderers.some(r => r.data_source?.data?.task))
            const { data } = plot.renderers.map(r => r.data_source).find(s => s.data.name.includes('text.sleep'))
            const at = data.name.lastIndexOf('text.sleep')  // older ones may have left the chart
            const view = Bokeh.index.find_one(plot)
            const box = view.canvas_view.el.getBoundingClientRect()
            return { x: box.left + view.frame.x_scale.compute((data.left[at] + data.right[at]) / 2),
                     y: box.top + view.frame.y_scale.compute(data.middle[at]),
                     task: data.task[at] }
        }"""
    )
    page.mouse.click(where["x"], where["y"])
    expect(page.get_by_role("heading", name="In a notebook")).to_be_visible()
    assert page.url.endswith(f"/task/{where['task']}")


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
