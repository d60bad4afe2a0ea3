"""A real browser without a window: Chromium of the machine, driven by Playwright."""

import os
import shutil
from contextlib import contextmanager

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = {1400: 900, 390: 844}
LOCAL = ("file:", "data:", "blob:")


@pytest.fixture(scope="session")
def browser():
    """Give the browser; the test skips where there is none."""
    program = os.environ.get("MPIOPT_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("browser: none of " + ", ".join(BROWSERS) + " is installed; MPIOPT_BROWSER names another")
    playwright = pytest.importorskip("playwright.sync_api", reason="browser: no playwright (pip install playwright)")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def opened(browser):
    """Give a function that opens a file at a width and in a colour scheme, as a context that waits for its charts.

    The context fails at its end where a script failed, or where anything but the file was asked for.
    """

    @contextmanager
    def opened(path, width=1400, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": WIDTHS[width]}, color_scheme=scheme, offline=True)
        wrong = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda line: wrong.append(line.text) if line.type in ("error", "warning") else None)
        page.on("request", lambda asked: wrong.append(asked.url) if not asked.url.startswith(LOCAL) else None)
        page.goto(path.resolve().as_uri())
        page.wait_for_selector("body[data-drawn]", timeout=60000)
        yield page
        page.close()
        assert wrong == []

    return opened
