from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest

import workbench as wb
from tests.support import wait_until
from workbench.dashboard.views import VIEWS

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


@pytest.mark.parametrize(("width", "dark"), [(1400, True), (420, False)])
def test_every_view_fits_dark_and_narrow_windows(served, client, visit, shot, width: int, dark: bool) -> None:
    with pytest.raises(wb.TaskFailed):
        client.submit("bad.raises", "seen in every view").result(timeout=60)
    handle = client.submit("text.echo", "seen in every view")
    handle.result(timeout=60)
    page = visit(served.url, width=width, dark=dark)
    for name in VIEWS:
        page.evaluate(f"location.hash = '/{name}{f'/{handle.id}' if name == 'task' else ''}'")
        if VIEWS[name].title:
            expect(page.locator("nav a[aria-current]")).to_have_attribute("href", f"#/{name}")
            expect(page.locator("nav a[aria-current]")).to_be_in_viewport(ratio=0.9)
        expect(page.get_by_text(TELLS[name]).first).to_be_visible()
        page.wait_for_function("document.documentElement.dataset.theme === '%s'" % ("dark" if dark else "light"))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        if dark:
            assert page.evaluate(INK_OF_CHARTS, "#e6ebf1"), name
        shot(page, f"{name}-{'dark' if dark else 'narrow'}")


TELLS = {
    "overview": "recorded in all",
    "stream": "ended in the last minute",
    "charts": "text: ",
    "queues": "Rates are of the last minute",
    "workers": "online, ",
    "tasks": "As of ",
    "failures": "the latest first",
    "dead": re.compile("[Ll]etters?|No dead letters"),
    "task": "In a notebook",
}
"""What each view says where it has its data."""
INK_OF_CHARTS = """ink => Object.values(Bokeh.index).flatMap(view => [...view.model.references()])
    .filter(model => model.type === 'Legend').every(legend => legend.label_text_color === ink)"""


def test_what_is_searched_for_is_the_same_after_a_reload(served, client, visit) -> None:
    client.submit("text.echo", 1).result(timeout=60)
    page = visit(f"{served.url}#/tasks")
    expect(page.locator("tr[data-href]").first).to_be_visible()
    for text in ("a+b", "a&b", "50%", "a=b#c", "ü/é"):
        page.get_by_role("searchbox").fill(text)
        expect(page).to_have_url(re.compile(re.escape(urlencode({"text": text})) + "$"))
        page.reload()
        expect(page.get_by_role("searchbox")).to_have_value(text)
    expect(page.get_by_text("No task matches")).to_be_visible()


def test_an_address_that_is_not_well_formed_is_taken_as_it_is(served, visit) -> None:
    page = visit(f"{served.url}#/tasks?text=%")
    expect(page.get_by_text("No task matches")).to_be_visible()
    expect(page.get_by_role("searchbox")).to_have_value("%")
    page.goto(f"{served.url}#/task/%E0%A4%A")
    expect(page.get_by_text("TaskNotFound")).to_be_visible()


def test_the_overview_tells_percentiles_lag_and_whether_the_broker_is_well(served, client, visit) -> None:
    for handle in client.map("text.echo", range(20)):
        handle.result(timeout=60)
    page = visit(served.url)
    for title in ("Waiting on a queue", "Running"):
        card = page.locator("section.card", has=page.get_by_role("heading", name=title, exact=True))
        for share in ("half within (p50)", "95 of 100 (p95)", "99 of 100 (p99)"):
            expect(card.locator(f"dt:text-is('{share}') + dd")).to_have_text(re.compile(r"^(< 1|[\d.]+) m?s$"))
    tracker = page.locator("section.card", has=page.get_by_role("heading", name="Tracker"))
    expect(tracker.locator("dt:text-is('lag') + dd")).to_have_text(re.compile(r"^.*m?s, \d+ messages? to record$"))
    expect(tracker.locator("dt:text-is('last event') + dd")).to_have_text(re.compile("now|ago"))
    expect(tracker.locator("dt:text-is('name') + dd")).not_to_be_empty()
    broker = page.locator("section.card", has=page.get_by_role("heading", name="Broker"))
    expect(broker.locator("dt:text-is('condition') + dd")).to_contain_text("no alarm")
    told = page.get_by_text("Over the last 10 s")
    expect(told).to_have_text(re.compile(r"[\d.,]+/(s|min) came in and [\d.,]+/(s|min) ended; [\d,]+ tasks recorded"))


def test_an_id_is_copied_and_it_is_said_where_that_is_not_possible(served, client, visit) -> None:
    handle = client.submit("text.echo", 1)
    handle.result(timeout=60)
    page = visit(f"{served.url}#/task/{handle.id}")
    copy = page.locator("[data-act=copy]").first
    copy.click()
    expect(copy).to_have_text("Copied")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # as by plain HTTP
    page.get_by_role("button", name="Copy link").click()
    page.goto(f"{served.url}#/tasks")
    search = page.get_by_role("searchbox")
    search.focus()
    page.keyboard.press("Control+V")
    expect(search).to_have_value(re.compile(f"/task/{handle.id}$"))
    page.go_back()
    page.evaluate("document.execCommand = () => false")
    expect(copy).to_have_text("Copy id")
    copy.click()
    expect(copy).to_have_text("Copy failed")
    expect(copy).to_have_text("Copy id")
    expect(page.locator("textarea")).to_have_count(0)


def test_the_chosen_theme_is_kept(served, visit) -> None:
    page = visit(served.url)
    page.get_by_role("button", name="Light or dark").click()
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    page.reload()
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")


def test_a_theme_is_chosen_where_a_frame_has_no_storage(served, browser) -> None:
    context, wrong = browser.new_context(color_scheme="dark"), []
    context.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('refused') } })")
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(served.url)
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    page.locator("#first").wait_for(state="detached")
    page.get_by_role("button", name="Light or dark").click()
    page.wait_for_function("document.documentElement.dataset.theme === 'light'")
    context.close()
    assert wrong == []


def test_the_overview_is_read_before_any_script_has_run(served, client, browser, shot) -> None:
    client.submit("text.echo", 1).result(timeout=60)
    context = browser.new_context(viewport={"width": 1400, "height": 900}, java_script_enabled=False)
    page = context.new_page()

    def counted() -> bool:
        page.goto(served.url)
        return tile(page, "succeeded").inner_text() not in ("–", "0")

    wait_until(counted, what="a page is served with what the feed knows")
    expect(page.get_by_text("loading")).to_be_visible()
    expect(page.get_by_text("Tasks in and out")).to_be_visible()
    shot(page, "overview-first")
    late = page.get_by_text("hasn't come to life")
    expect(late).to_be_hidden()
    animations = context.new_cdp_session(page)
    animations.send("Animation.enable")
    animations.send("Animation.setPlaybackRate", {"playbackRate": 100})
    page.reload()
    expect(late).to_be_visible()
    context.close()


def test_what_is_seen_first_makes_room_for_what_lives(served, client, visit) -> None:
    for address in ("", "#/overview", "#/tasks"):
        page = visit(f"{served.url}{address}")
        expect(page.locator(".card:visible, .tile:visible").first).to_be_visible()
        expect(page.locator("#first")).to_have_count(0)
        expect(page.locator("header.top")).to_have_count(1)
