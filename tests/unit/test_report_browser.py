# SPDX-License-Identifier: GPL-2.0-only
"""report.html in a real browser: on a phone, in the dark, for who cannot see it, and with a hostile guest.

Chromium and its driver come from the distribution; as root they are installed, as bubblewrap is.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from filelock import FileLock
from report_material import ALL, make_run
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from harness.build import host
from harness.report import page
from harness.report.results import Run

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
DRIVER: Final = "chromedriver"
PHONE: Final = 360
LEAST_CONTRAST: Final = 4.5
"""WCAG 2, level AA, for text."""
SWITCHES: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip

# The contrast of an element's text against the first background that is painted behind it.
CONTRAST: Final = """
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const rgba = colour => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return canvas.getImageData(0, 0, 1, 1).data;
};
const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
  .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const behind = element => {
  for (; element; element = element.parentElement) {
    const colour = rgba(getComputedStyle(element).backgroundColor);
    if (colour[3] === 255) return colour;
  }
  return [255, 255, 255, 255];
};
const poor = [];
for (const element of document.body.querySelectorAll('*')) {
  const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  if (!own || element.closest('svg') || !element.checkVisibility()) continue;
  const a = light(rgba(getComputedStyle(element).color)), b = light(behind(element));
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < arguments[0]) poor.push(`${element.tagName}.${element.className} ${ratio.toFixed(2)}`);
}
return [...new Set(poor)];
"""


def _browser() -> tuple[str, str]:
    """The paths of Chromium and its driver. As root they are installed; for others the tests are skipped."""
    # Only one process may install: pytest-xdist deals these tests out to several.
    with FileLock(Path(tempfile.gettempdir()) / f"harness-chromium-{os.getuid()}.lock", timeout=900):
        found = next(filter(None, map(host.find_program, BROWSERS)), None)
        driver = host.find_program(DRIVER)
        if found and driver:
            return found, driver
        if not host.is_root():
            pytest.skip(
                "report.html was not looked at in a browser: "
                "sudo apt-get install --no-install-recommends -y chromium chromium-driver"
            )
        host.require(["chromium", "chromium-driver"])
    found, driver = host.find_program(BROWSERS[0]), host.find_program(DRIVER)
    assert found, "apt installed chromium, and it is not there"
    assert driver, "apt installed chromium-driver, and it is not there"
    return found, driver


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("run")
    make_run(folder)
    page.write(folder / page.FILE, ALL, Run("2026-11-21T14:47:29+00:00", 123.4, "harness run -t all"))
    return (folder / page.FILE).as_uri()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    browser, driver = _browser()
    options = Options()
    options.binary_location = browser
    for switch in SWITCHES:
        options.add_argument(switch)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    # The driver is spoken to on this machine, whatever proxy the way to others leads through.
    with pytest.MonkeyPatch.context() as patch:
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, "127.0.0.1,localhost")
        opened = webdriver.Chrome(options=options, service=Service(driver))
        yield opened
        opened.quit()


def look(chromium: webdriver.Chrome, address: str, width: int = 1200, scheme: str = "light") -> None:
    """Open the page anew on a screen of ``width`` CSS pixels."""
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    chromium.get("about:blank")
    chromium.get(address)


def unfold(chromium: webdriver.Chrome) -> None:
    chromium.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")


def ask(chromium: webdriver.Chrome, script: str, *arguments: object) -> Any:
    return chromium.execute_script(script, *arguments)


@pytest.mark.parametrize("unfolded", [False, True], ids=["folded", "unfolded"])
@pytest.mark.parametrize("width", [320, PHONE, 768, 1200])
def test_the_page_never_scrolls_sideways(
    chromium: webdriver.Chrome, report: str, width: int, unfolded: bool
) -> None:
    look(chromium, report, width)
    if unfolded:
        unfold(chromium)
    assert ask(chromium, "return innerWidth") == width
    assert ask(chromium, "return document.documentElement.scrollWidth") <= width
    wide = ask(
        chromium,
        "return [...document.querySelectorAll('body *')]"
        ".filter(e => !e.closest('.scroll, .log, svg') && e.checkVisibility())"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
        ".map(e => e.tagName + '.' + e.className)",
    )
    assert wide == []


def test_verdicts_are_read_and_seen(chromium: webdriver.Chrome, report: str) -> None:
    look(chromium, report)
    text = ask(chromium, "return document.querySelector('.matrix').innerText")
    for word in ("passed", "failed", "crashed", "broken", "impossible", "no high memory here"):
        assert word in text
    look(chromium, report, PHONE)
    heights = ask(
        chromium,
        "return [...document.querySelectorAll('.matrix .sign')].map(e => e.getBoundingClientRect().height)",
    )
    assert len(heights) == len(ALL)
    assert min(heights) >= 12
    names = ask(chromium, "return [...document.querySelectorAll('.cell a')].map(e => e.textContent)")
    assert all(
        any(word in name for word in ("passed", "failed", "crashed", "broken", "impossible"))
        for name in names
    )


def test_links_lead_somewhere(chromium: webdriver.Chrome, report: str) -> None:
    look(chromium, report)
    dead = ask(
        chromium,
        "return [...document.querySelectorAll('a[href^=\"#\"]')]"
        ".map(a => decodeURIComponent(a.hash.slice(1)))"
        ".filter(id => !document.getElementById(id))",
    )
    assert dead == []
    files = ask(chromium, "return [...document.querySelectorAll('.files a')].map(a => a.href)")
    assert files
    assert all(Path(file.removeprefix("file://")).is_file() for file in files)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(chromium: webdriver.Chrome, report: str, scheme: str) -> None:
    look(chromium, report, scheme=scheme)
    unfold(chromium)
    assert ask(chromium, CONTRAST, LEAST_CONTRAST) == []


def test_dark_is_dark(chromium: webdriver.Chrome, report: str) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        look(chromium, report, scheme=scheme)
        seen[scheme] = ask(
            chromium,
            "return [document.body, document.querySelector('.card')]"
            ".map(e => getComputedStyle(e).backgroundColor.match(/\\d+/g).map(Number))",
        )
    assert all(min(colour) > 200 for colour in seen["light"])
    assert all(max(colour) < 64 for colour in seen["dark"])


def test_nothing_of_the_guest_runs_and_nothing_is_fetched(chromium: webdriver.Chrome, report: str) -> None:
    look(chromium, report)
    assert "owned" not in chromium.title
    assert "script>document.title" in ask(chromium, "return document.body.textContent")
    assert ask(chromium, "return document.querySelectorAll('script, img, iframe, object').length") == 0
    assert ask(chromium, "return performance.getEntriesByType('resource').map(e => e.name)") == []


def test_a_screen_reader_finds_its_way(chromium: webdriver.Chrome, report: str) -> None:
    look(chromium, report)
    levels = ask(
        chromium, "return [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => +h.tagName[1])"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert ask(chromium, "return [...document.querySelectorAll('th')].filter(h => !h.scope).length") == 0
    unnamed = (
        "return [...document.querySelectorAll('svg')]"
        ".filter(s => !s.closest('[aria-hidden]') && !s.querySelector('title')).length"
    )
    assert ask(chromium, unnamed) == 0
    tree = chromium.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = [node["name"]["value"] for node in tree if node.get("role", {}).get("value") in ("image", "img")]
    assert any(name.startswith("Free memory: MemFree ") for name in named)


def test_plots_are_drawn_in_their_boxes(chromium: webdriver.Chrome, report: str) -> None:
    look(chromium, report, PHONE)
    unfold(chromium)
    boxes = ask(
        chromium,
        "return [...document.querySelectorAll('.box svg')].map(s => [s, s.querySelector('.line')]"
        ".map(e => e.getBoundingClientRect()).map(r => [r.left, r.right, r.width]))",
    )
    assert boxes
    for (left, right, width), (line_left, line_right, line_width) in boxes:
        assert width > PHONE / 2
        assert line_width > width / 2
        assert left - 2 <= line_left
        assert line_right <= right + 2


def test_it_prints(chromium: webdriver.Chrome, report: str) -> None:
    look(chromium, report)
    printed = chromium.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert len(printed) > 20_000
    hidden = ask(
        chromium,
        "return [...document.querySelectorAll('details:not([open]) > pre, details:not([open]) figure')]"
        ".filter(e => !e.checkVisibility()).length",
    )
    assert hidden == 0, "what is folded on the screen is printed"
