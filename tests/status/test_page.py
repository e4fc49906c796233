"""The page in a real browser."""

from collections.abc import Iterator

import pytest

from tests.status.browser import Browser, chromium
from tests.status.conftest import ATTIC, CELLAR, TOKEN, Page

HOSTILE = '<img src=x onerror="document.title=1">&lt;"\'</td>'
VALUE = "document.querySelector('#devices .online td.value')?.textContent"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        browser.size(1280, 900)
        yield browser


def test_a_value_changes_on_the_page_while_one_looks(page: Page, browser: Browser) -> None:
    browser.open(page.url)
    before = browser.until(VALUE)
    assert before.endswith("°C")
    browser.until(f"{VALUE} !== arguments[0]", before)
    browser.until("document.querySelector('#devices .spark .line')")
    assert browser.complaints() == []


def test_a_hostile_name_is_text_and_nothing_else(page: Page, browser: Browser) -> None:
    page.act("permit", seconds=60)
    page.daemon.until(lambda: page.get(f"/api/devices/{CELLAR}").status == 200)
    page.act("permit", seconds=0)
    page.act("name", id=CELLAR, name=HOSTILE)
    browser.open(page.url)
    shown = "[...document.querySelectorAll('#devices a')].some(a => a.textContent === arguments[0])"
    browser.until(shown, HOSTILE)
    browser.until("document.querySelector('#log').textContent.includes(arguments[0])", HOSTILE[:30])
    browser.open(f"{page.url}#/device/{CELLAR}")
    browser.until("document.querySelector('#device h1')?.textContent === arguments[0]", HOSTILE)
    assert browser.run("return document.querySelectorAll('main img').length") == 0
    assert browser.complaints() == []


def test_who_has_the_token_switches_from_the_page(page: Page, browser: Browser) -> None:
    browser.open(f"{page.url}#/device/{ATTIC}")
    browser.until("document.querySelector('.object')")
    assert browser.run("return document.querySelectorAll('.switch').length") == 0
    page.act("write", id=ATTIC, path="/3312/0/5850", text="0")
    browser.until("!document.querySelector('#unlock').hidden")
    browser.run(
        "document.querySelector('#unlock').click();"
        "document.querySelector('#ask-input').value = arguments[0];"
        "document.querySelector('#ask-ok').click()",
        TOKEN,
    )
    browser.until("document.querySelector('.switch[aria-checked=false]')")
    browser.run("document.querySelector('.switch').click()")
    browser.until("document.querySelector('.switch[aria-checked=true]')")
    assert page.daemon.value("attic/3312/0/5850") == "1"


def test_the_object_browser_plots_what_is_chosen_and_reads_on_a_phone(
    page: Page, browser: Browser
) -> None:
    browser.open(f"{page.url}#/device/{ATTIC}")
    browser.until("document.querySelector('figure .plot .line')")
    browser.run("document.querySelector('.object button.link').click()")
    browser.until("document.querySelector('figcaption').textContent.includes('Min Measured Value')")
    browser.size(390, 844)
    browser.until("innerWidth === 390")
    assert browser.run("return document.documentElement.scrollWidth") == 390
    browser.size(1280, 900)


def test_a_page_whose_gateway_ends_says_so_and_comes_back_with_it(
    page: Page, browser: Browser
) -> None:
    browser.open(page.url)
    browser.until("document.querySelector('#health .online')")
    page.daemon.configure(page.daemon.config.read_text().replace('1:0"', f'1:{page.port}"'))
    page.daemon.end()
    browser.until("document.querySelector('#health').textContent.startsWith('Connection lost')")
    page.daemon.start()
    browser.until("document.querySelector('#health .online')")


def test_a_failed_adapter_and_its_devices_stand_out_with_the_reason(
    page: Page, browser: Browser
) -> None:
    browser.open(page.url)
    browser.until("document.querySelector('#health .online')")
    config = page.daemon.config.read_text()
    page.daemon.configure(config.replace("devices = 2", 'replay = "/none.zip"'))
    page.daemon.command("reload")
    browser.until("document.querySelector('#health').textContent === 'sim needs attention'")
    reason = browser.run("return document.querySelector('#adapters .failed .reason').textContent")
    assert "/none.zip" in reason
    browser.until("document.querySelector('#adapters .failed .restarts').textContent")
    why = browser.until("document.querySelector('#devices .offline .why')?.textContent")
    assert "offline, not reached since the adapter sim stopped" in why
    browser.open(f"{page.url}#/device/{ATTIC}")  # whose value nobody knows since
    browser.until("document.querySelector('.plot')")
    end = "document.querySelector('.plot .dot').getBoundingClientRect().right"
    browser.until(f"{end} < document.querySelector('.plot').getBoundingClientRect().right - 30")
    page.daemon.configure(config)
    page.daemon.command("reload")
    browser.until("document.querySelector('#health .online')")


def test_the_log_shows_its_end_also_where_the_window_becomes_narrow(
    page: Page, browser: Browser
) -> None:
    browser.open(page.url)
    browser.until("document.querySelector('#log .text')")
    browser.size(390, 844)
    box = "document.querySelector('#log')"
    browser.until(f"{box}.scrollHeight > 2 * {box}.clientHeight")
    browser.until(f"{box}.scrollHeight - {box}.scrollTop - {box}.clientHeight < 8")
    lines = browser.run(f"{box}.scrollTop = 0; return {box}.children.length")
    page.act("permit", seconds=60)
    browser.until(f"{box}.children.length > arguments[0]", lines)
    assert browser.run(f"return {box}.scrollTop") == 0
    browser.size(1280, 900)


def test_an_open_join_window_counts_down_until_it_is_closed(page: Page, browser: Browser) -> None:
    browser.open(page.url)
    page.act("permit", seconds=90)
    before = browser.until("document.querySelector('#countdown')?.textContent")
    assert before.startswith("1:")
    browser.until("document.querySelector('#countdown').textContent !== arguments[0]", before)
    page.act("permit", seconds=0)
    browser.until("!document.querySelector('#countdown')")


FAINTEST = """
const channels = color => color.match(/[\\d.]+/g).map(Number);
const light = color => color.map(c => c / 255)
  .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const ground = node => {
  const [r, g, b, alpha = 1] = channels(getComputedStyle(node).backgroundColor);
  if (alpha === 1) return [r, g, b];
  const below = ground(node.parentElement);
  return [r, g, b].map((c, i) => c * alpha + below[i] * (1 - alpha));
};
const told = [...document.querySelectorAll("body *")].filter(node => node.checkVisibility()
  && [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim())
  && !node.matches(".none, .off, .unseen"));
return told.map(node => {
  const [a, b] = [light(channels(getComputedStyle(node).color)), light(ground(node))];
  return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.outerHTML];
}).sort((a, b) => a[0] - b[0])[0];
"""
"""The contrast of the text that has least of it (WCAG 2 1.4.3), and its element."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_light_or_dark_as_the_browser_wishes_and_readable(
    page: Page, browser: Browser, scheme: str
) -> None:
    browser.size(1280, 900, scheme)
    page.act("permit", seconds=60)
    for shown, where in (("#countdown", ""), (".object", f"#/device/{ATTIC}")):
        browser.open(f"{page.url}{where}")
        browser.until("document.querySelector(arguments[0])", shown)
        contrast, element = browser.run(FAINTEST)
        assert contrast >= 4.5, element
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    is_dark = int(ground.removeprefix("rgb(").split(",")[0]) < 128
    assert is_dark == (scheme == "dark")
    browser.size(1280, 900)
