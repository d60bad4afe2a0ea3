"""A real browser without a window: the Chromium of this machine, driven by Playwright.

Without a browser the tests are skipped; with MPIOPT_BROWSER_TESTS=required they fail.
"""

import os
import shutil
from contextlib import contextmanager

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = {1400: 900, 390: 844}
LOCAL = ("file:", "data:", "blob:")


def lacking(why):
    """Skip the test, or fail it where a browser is required."""
    end = pytest.fail if os.environ.get("MPIOPT_BROWSER_TESTS") == "required" else pytest.skip
    end(f"browser: {why}")


@pytest.fixture(scope="session")
def browser():
    """Return the browser."""
    program = os.environ.get("MPIOPT_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        lacking("none of " + ", ".join(BROWSERS) + " is installed; MPIOPT_BROWSER names another")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("no playwright (pip install playwright)")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def opened(browser):
    """Return a context manager that opens a file at a width, in a colour scheme, and waits for its charts.

    It fails at its end if a script failed, or if the page requested anything but the file.
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
