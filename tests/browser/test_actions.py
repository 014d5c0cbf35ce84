"""What a reader does with a click: each asks first, reports, and has its effect on the broker and the tracker."""

from __future__ import annotations

import re

import pytest

import workbench as wb
from tests.browser.conftest import ask, await_news, serve
from tests.support import wait_until

expect = pytest.importorskip("playwright.sync_api").expect

FORGED = """([act, data]) => {
    const find = root => { for (const el of root.querySelectorAll('*')) {
        if (el.matches('[data-part]')) return el
        const inside = el.shadowRoot && find(el.shadowRoot); if (inside) return inside } }
    const button = Object.assign(document.createElement('button'), { type: 'button' })
    Object.assign(button.dataset, { act, ...data })
    find(document).append(button)
    button.click()
    button.remove() }"""
"""Clicks a button that the page doesn't have: its message is what any script could send."""


def press(page, button, *, sure: bool = True) -> None:
    """Click, and answer what is asked."""
    button.click()
    page.get_by_role("button", name="Go ahead" if sure else "Keep as it is").click()
    expect(page.locator("dialog")).to_have_count(0)


def report(page):
    return page.locator(".toast")


def running(client: wb.Client, seconds: float = 600.0) -> wb.TaskHandle:
    handle = client.submit("text.sleep", seconds)
    wait_until(lambda: handle.status().state.value == "running", what="it runs")
    return handle


def rejected(client: wb.Client, *reasons: str) -> list[wb.TaskHandle]:
    """Tasks that have failed, and whose messages lie among the dead letters."""
    handles = [client.submit("bad.rejects", reason) for reason in reasons]
    for handle in handles:
        with pytest.raises(wb.TaskFailed):
            handle.result(timeout=60)
    ids = {handle.id for handle in handles}
    wait_until(lambda: ids <= dead(client), what="they are dead letters")
    return handles


def dead(client: wb.Client) -> set[str]:
    return {letter.task_id for letter in ask(lambda: client.dead_letters())}


def test_cancelling_asks_first_and_really_cancels(served, client, visit) -> None:
    handle = running(client)
    page = visit(f"{served.url}#/task/{handle.id}")
    cancel = page.get_by_role("button", name="Cancel", exact=True)
    press(page, cancel, sure=False)
    assert handle.status().state.value == "running"
    press(page, cancel)
    expect(report(page)).to_contain_text("cancelled: it was running on worker-1")
    expect(page.locator(".board .row > .state:visible")).to_have_text(re.compile("cancelled"))
    assert handle.status().state.value == "cancelled"


def test_a_failed_task_is_sent_again_from_its_page(served, client, visit, tmp_path) -> None:
    stone = tmp_path / "stone"
    stone.touch()
    handle = client.submit("text.stumble", str(tmp_path), 1, 0.0, str(stone))
    wait_until(lambda: handle.status().state.value == "failed", timeout=90, what="it has failed")
    stone.unlink()
    page, other = (visit(f"{served.url}#/task/{handle.id}") for _ in range(2))
    expect(other.locator(".board .row > .state:visible")).to_have_text(re.compile("failed"))
    press(page, page.get_by_role("button", name="Send again"))
    expect(report(page)).to_contain_text("1 task sent again")
    wait_until(lambda: handle.status().state.value == "succeeded", what="it succeeded the second time")
    expect(page.locator(".board .row > .state:visible")).to_have_text(re.compile("succeeded"))
    expect(other.locator(".board .row > .state:visible")).to_have_text(re.compile("succeeded"))
    assert handle.status().replay == 1


def test_a_drained_worker_ends_what_it_runs_and_stays_away(cluster, served, client, visit, shot) -> None:
    page = visit(f"{served.url}#/workers")
    row = page.locator("table[aria-label=Workers] tr", has_text="worker-1")
    expect(row.get_by_role("button", name="Drain")).to_be_visible()
    last = running(client, 4.0)
    try:
        press(page, row.get_by_role("button", name="Drain"))
        expect(report(page)).to_contain_text("worker-1 takes nothing new")
        expect(row).to_contain_text(re.compile("draining|stopped"))  # the latter where the page was slow
        expect(row).to_contain_text("stopped")
        assert last.result(timeout=60) == "slept 4 s"
        expect(row.get_by_role("button")).to_have_count(0)
        shot(page, "workers-drained")
        page.get_by_role("link", name="Queues").click()
        waiting = client.submit("text.echo", "nobody takes it")
        expect(page.locator("tr", has_text="tasks.text")).to_contain_text("nobody takes from it")
        assert waiting.status().state.value == "queued"
        assert cluster.restarts() == {}
    finally:
        assert cluster.resume() == ("worker-1",)
    assert waiting.result(timeout=60) == "nobody takes it"
    page.go_back()
    expect(row).to_contain_text("online")


def test_a_worker_shows_what_it_runs_and_its_tasks_can_be_cancelled(served, client, visit) -> None:
    handle = running(client)
    page = visit(f"{served.url}#/workers")
    row = page.locator("table[aria-label=Workers] tr", has_text="worker-1")
    expect(row.get_by_role("link", name=handle.id[-8:])).to_be_visible()
    press(page, row.get_by_role("button", name="Cancel its tasks"))
    expect(report(page)).to_contain_text("cancelled")
    wait_until(lambda: handle.status().state.value == "cancelled", what="it is cancelled")


def test_failures_are_grouped_and_a_group_is_sent_again_and_discarded(served, client, visit, shot) -> None:
    handles = rejected(client, "a", "group", "of failures")
    page = visit(f"{served.url}#/failures")
    row = page.locator("tr", has_text="bad.rejects")
    expect(row).to_contain_text("Reject")
    shot(page, "failures-light")
    press(page, row.get_by_role("button", name="Send again"))
    expect(report(page)).to_contain_text(re.compile(r"\d+ tasks? sent again"))
    wait_until(lambda: all(handle.status().replay == 1 for handle in handles), what="all were sent again")
    wait_until(lambda: all(handle.status().state.value == "failed" for handle in handles), what="they failed again")
    ids = {handle.id for handle in handles}
    wait_until(lambda: ids <= dead(client), what="they are dead letters again")
    press(page, row.get_by_role("button", name="Discard"), sure=False)
    assert row.count() == 1
    other = visit(f"{served.url}#/failures")
    expect(other.locator("tr", has_text="bad.rejects")).to_be_visible()
    press(page, row.get_by_role("button", name="Discard"))
    expect(report(page)).to_contain_text("taken off the list")
    expect(row).to_have_count(0)
    expect(other.locator("tr", has_text="bad.rejects")).to_have_count(0)
    assert not ids & dead(client)
    assert {handle.status().state.value for handle in handles} == {"failed"}
    assert "bad.rejects" not in {group.operation for group in ask(lambda: client.live.failures()).groups}


def test_dead_letters_are_sent_again_and_discarded(served, client, visit) -> None:
    (handle,) = rejected(client, "a dead letter")
    page = visit(f"{served.url}#/dead")
    row = page.locator("tr", has_text=handle.id[-12:])
    press(page, row.get_by_role("button", name="Send again"))
    expect(report(page)).to_contain_text("1 dead letter sent again")
    wait_until(lambda: handle.status().replay == 1 and handle.status().state.value == "failed", what="it failed again")
    wait_until(lambda: handle.id in dead(client), what="it's a dead letter again")
    page.get_by_role("button", name="Refresh").click()
    press(page, row.get_by_role("button", name="Discard"))
    expect(report(page)).to_contain_text("1 dead letter removed")
    expect(row).to_have_count(0)
    assert handle.id not in dead(client)


def test_read_only_has_no_action_and_the_server_takes_none(cluster, client, served, visit) -> None:
    handle = running(client)
    with serve(cluster.settings, "--read-only") as read_only:
        page = visit(f"{read_only.url}#/task/{handle.id}")
        expect(page.get_by_text("read-only")).to_be_visible()
        expect(page.get_by_role("button", name="Copy id")).to_be_visible()
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
        page.evaluate(FORGED, ["cancel", {"tasks": handle.id}])
        expect(report(page)).to_contain_text("This dashboard is read-only: nothing was done.")
        page.goto(f"{read_only.url}#/workers")
        expect(page.locator("table[aria-label=Workers] tr", has_text="worker-1")).to_be_visible()
        expect(page.get_by_role("button", name="Drain")).to_have_count(0)
        assert handle.status().state.value == "running"
    # The same message, to a server that isn't read-only.
    page = visit(served.url)
    page.locator(".tile").first.wait_for()
    page.evaluate(FORGED, ["cancel", {"tasks": handle.id}])
    wait_until(lambda: handle.status().state.value == "cancelled", what="it is cancelled")


@pytest.mark.parametrize("view", ["workers", "failures"])
def test_a_slow_click_isnt_lost_while_the_page_is_renewed(served, client, visit, view: str) -> None:
    """A button that is replaced between press and release gets no click; these views change each second."""
    handle = running(client)
    with pytest.raises(wb.TaskFailed):
        client.submit("bad.raises", "clicked slowly").result(timeout=60)
    page = visit(f"{served.url}#/{view}")
    button = page.locator("tr", has=page.get_by_role("button")).last.get_by_role("button").last
    expect(button).to_be_visible()
    button.hover()
    page.mouse.down()
    await_news(page)
    page.mouse.up()
    expect(page.get_by_role("button", name="Go ahead")).to_be_visible()
    page.get_by_role("button", name="Keep as it is").click()
    button.focus()
    await_news(page)
    expect(button).to_be_focused()
    handle.cancel()


def test_a_press_that_a_menu_or_another_window_takes_does_not_freeze_the_page(served, client, visit) -> None:
    client.submit("text.echo", "the last event").result(timeout=60)
    page = visit(served.url)
    ago = page.locator("dt:text-is('last event') + dd")  # another one each second
    expect(ago).to_contain_text("ago")
    ago.hover()
    for end in ("contextmenu", "blur"):
        page.mouse.down()
        before = ago.inner_text()
        await_news(page)
        assert ago.inner_text() == before
        page.evaluate(f"window.dispatchEvent(new Event('{end}'))")
        expect(ago).not_to_have_text(before)
        page.mouse.up()


def test_only_the_primary_button_presses(served, client, visit) -> None:
    client.submit("text.echo", "the last event").result(timeout=60)
    page = visit(served.url)
    ago = page.locator("dt:text-is('last event') + dd")
    expect(ago).to_contain_text("ago")
    page.evaluate("window.addEventListener('contextmenu', event => event.stopImmediatePropagation(), true)")
    ago.hover()
    page.mouse.down(button="right")
    before = ago.inner_text()
    expect(ago).not_to_have_text(before)
