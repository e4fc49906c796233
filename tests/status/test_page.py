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
