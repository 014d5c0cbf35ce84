from __future__ import annotations

import re

import pytest

import workbench as wb

expect = pytest.importorskip("playwright.sync_api").expect


def tile(page, state: str):
    return page.locator(f"a.tile[href='#/tasks?state={state}'] .value")


def test_the_overview_counts_tasks_as_they_end(served, client, visit, shot) -> None:
    page = visit(served.url)
    expect(tile(page, "succeeded")).to_have_text(re.compile(r"^[\d,]+$"))
    before = int(tile(page, "succeeded").inner_text().replace(",", ""))
    for handle in client.map("text.echo", range(25)):
        handle.result(timeout=60)
    expect(tile(page, "succeeded")).to_have_text(f"{before + 25:,}")
    expect(page.locator(".top .chip").first).to_have_text(re.compile("live"))
    shot(page, "overview-light")


def test_a_tile_leads_to_the_tasks_in_its_state(served, client, visit) -> None:
    with pytest.raises(wb.TaskFailed):
        client.submit("bad.raises", "a tile leads here").result(timeout=60)
    page = visit(served.url)
    page.locator("a.tile[href='#/tasks?state=failed']").click()
    expect(page.locator("td .state:visible").first).to_have_text(re.compile("failed"))
    states = page.locator("td:nth-child(2)").all_inner_texts()
    assert states
    assert all("failed" in text for text in states)
    assert page.url.endswith("#/tasks?state=failed")


def test_a_task_of_a_hostile_name_and_message_is_text(served, client, visit) -> None:
    hostile = "<img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>"
    handle = client.submit("bad.raises", hostile)
    with pytest.raises(wb.TaskFailed):
        handle.result(timeout=60)
    page = visit(f"{served.url}#/task/{handle.id}")
    expect(page.locator("pre").first).to_contain_text("<script>")
    page.goto(f"{served.url}#/task/<script>document.title='broken in'</script>")
    expect(page.get_by_text("TaskNotFound")).to_be_visible()
    page.goto(f"{served.url}#/tasks?operation=%22%3E%3Cscript%3Edocument.title%3D'broken in'%3C/script%3E")
    expect(page.get_by_text("No task matches")).to_be_visible()
    assert page.title() == "workbench"


def test_a_deep_link_shows_a_task_with_its_attempts_log_and_result(served, client, visit, shot) -> None:
    handle = client.submit("bad.talks", 3)
    handle.result(timeout=60)
    page = visit(f"{served.url}#/task/{handle.id}")
    expect(page.get_by_text("line 2")).to_be_visible()
    expect(page.get_by_role("heading", name="bad.talks")).to_be_visible()
    expect(page.get_by_text(f'client.result("{handle.id}")')).to_be_visible()
    expect(page.locator("table[aria-label=Attempts] tbody tr")).to_have_count(1)
    shot(page, "task")
    other = visit(f"{served.url}?task={handle.id}")
    expect(other.get_by_role("heading", name="bad.talks")).to_be_visible()


def test_back_and_forward_move_between_views(served, client, visit) -> None:
    client.submit("text.echo", 1).result(timeout=60)
    page = visit(f"{served.url}#/tasks")
    page.locator("tr[data-href]").first.click()
    expect(page.get_by_role("heading", name="In a notebook")).to_be_visible()
    expect(page.get_by_role("heading", name="Tasks", exact=True)).to_be_hidden()
    page.go_back()
    expect(page.get_by_role("heading", name="Tasks", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="In a notebook")).to_be_hidden()


def test_filters_and_pages_are_kept_in_the_address(served, client, visit) -> None:
    for handle in client.map("text.wordcount", ["a b"] * 120):
        handle.result(timeout=60)
    page = visit(f"{served.url}#/tasks")
    page.get_by_label("operation").select_option("text.wordcount")
    expect(page).to_have_url(re.compile(r"#/tasks\?operation=text.wordcount$"))
    expect(page.locator("tr[data-href]")).to_have_count(50)
    first = page.locator("tr[data-href]").first.get_attribute("data-href")
    page.get_by_role("button", name="Older").click()
    expect(page.locator("tr[data-href]").first).not_to_have_attribute("data-href", first)
    page.get_by_role("button", name="Newer").click()
    expect(page.locator("tr[data-href]").first).to_have_attribute("data-href", first)
    page.reload()
    expect(page.get_by_label("operation")).to_have_value("text.wordcount")


@pytest.mark.parametrize("route", ["overview", "workers", "tasks", "dead"])
@pytest.mark.parametrize(("width", "dark"), [(1400, True), (420, False)])
def test_views_fit_dark_and_narrow_windows(served, client, visit, shot, route: str, width: int, dark: bool) -> None:
    page = visit(f"{served.url}#/{route}", width=width, dark=dark)
    expect(page.locator("nav a[aria-current]")).to_have_attribute("href", f"#/{route}")
    page.wait_for_function("document.documentElement.dataset.theme === '%s'" % ("dark" if dark else "light"))
    expect(page.locator(".card:visible, .tile:visible").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shot(page, f"{route}-{'dark' if dark else 'narrow'}")


def test_the_chosen_theme_is_kept(served, visit) -> None:
    page = visit(served.url)
    page.get_by_role("button", name="Light or dark").click()
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    page.reload()
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
