from __future__ import annotations

import re

import pytest

import workbench as wb
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
    # The pixel of a rectangle, from the chart's own numbers.
    where = page.evaluate(
        """() => {
            const plots = Object.values(Bokeh.index).flatMap(view => [...view.model.references()])
            const plot = plots.find(m => m.type === 'Figure' && m.renderers.some(r => r.data_source?.data?.task))
            const data = plot.renderers[0].data_source.data
            const at = data.name.findIndex(name => name === 'text.sleep')
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


def test_a_worker_shows_what_it_runs_and_its_tasks_can_be_cancelled(served, client, visit) -> None:
    handle = client.submit("text.sleep", 600)
    page = visit(f"{served.url}#/workers")
    row = page.locator("tr", has_text="worker-1")
    expect(row.get_by_role("link", name=handle.id[-8:])).to_be_visible()
    row.get_by_role("button", name="Cancel its tasks").click()
    page.get_by_role("button", name="Go ahead").click()
    wait_until(lambda: handle.status().state.value == "cancelled", what="it is cancelled")
    expect(page.locator(".toast")).to_contain_text("cancelled")


def test_failures_are_grouped_and_a_group_is_sent_again_and_discarded(served, client, visit, shot) -> None:
    handles = failed(client, "a group of failures", 3)
    page = visit(f"{served.url}#/failures")
    row = page.locator("tr", has_text="bad.raises")
    expect(row).to_contain_text("ValueError")
    expect(row).to_contain_text("in raises")
    shot(page, "failures-light")
    row.get_by_role("button", name="Send again").click()
    page.get_by_role("button", name="Go ahead").click()
    wait_until(lambda: all(handle.status().replay >= 1 for handle in handles), what="all were sent again")
    wait_until(lambda: all(handle.status().state.value == "failed" for handle in handles), what="they failed again")
    expect(page.locator(".toast")).to_contain_text("sent again")
    row.get_by_role("button", name="Discard").click()
    page.get_by_role("button", name="Go ahead").click()
    expect(row).to_have_count(0)
    assert handles[0].status().state.value == "failed"


def test_a_failed_task_is_sent_again_from_its_page(served, client, visit, tmp_path) -> None:
    stone = tmp_path / "stone"
    stone.touch()
    handle = client.submit("text.stumble", str(tmp_path), 1, 0.0, str(stone))
    wait_until(lambda: handle.status().state.value == "failed", timeout=90, what="it has failed")
    stone.unlink()
    page = visit(f"{served.url}#/task/{handle.id}")
    page.get_by_role("button", name="Send again").click()
    page.get_by_role("button", name="Go ahead").click()
    wait_until(lambda: handle.status().state.value == "succeeded", what="it succeeded the second time")
    expect(page.locator(".board .row > .state:visible")).to_have_text(re.compile("succeeded"))


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
    search.fill("there is nothing like this")
    expect(page.get_by_text("No task matches")).to_be_visible()


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
