"""A real Chromium without a window, and axe-core in it: `from chromium import browser`."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from servers import require, require_file

_SWITCHES = (
    "--headless=new",
    "--no-sandbox",  # which root needs
    "--use-angle=swiftshader",  # WebGL without a GPU
    "--enable-unsafe-swiftshader",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
_SECONDS = 60.0  # a machine that runs two test files at once may be slow
_AXE = Path(__file__).parent / "browser" / "node_modules" / "axe-core" / "axe.min.js"


class Browser:
    """One window, and what it said and asked for since it was last asked."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, address: str, width: int = 1440, height: int = 900, scheme: str = "light") -> None:
        """Open a report, and wait until all its items are there."""
        self.driver.get("about:blank")  # so that an address that differs after the # alone is opened too
        for log in ("browser", "performance"):
            self.driver.get_log(log)
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.get(address)
        self.until("document.documentElement.dataset.ready")

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *arguments)

    def until(self, condition: str) -> Any:
        """The value of a JavaScript expression once it is true."""
        return WebDriverWait(self.driver, _SECONDS, 0.05).until(
            lambda driver: self.run(f"return {condition}"), condition
        )

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements that a selector finds, as they stand in the document."""
        return self.run("return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", selector)

    def click(self, selector: str) -> None:
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def choose(self, field: str, value: str) -> None:
        """Give a field of the filters a value, as a person does: its events are sent."""
        sent = "element.dispatchEvent(new Event('input', {bubbles: true}))"
        self.run(
            f"const element = document.getElementById(arguments[0]); element.value = arguments[1]; {sent}", field, value
        )

    def press(self, *keys: str) -> None:
        """Press keys one after the other, on whatever has the focus."""
        actions = ActionBuilder(self.driver)
        for key in keys:
            actions.key_action.send_keys(key)
        actions.perform()

    def drag(self, selector: str, right: int, down: int) -> None:
        element = self.driver.find_element(By.CSS_SELECTOR, selector)
        webdriver.ActionChains(self.driver, duration=50).drag_and_drop_by_offset(element, right, down).perform()

    def complaints(self) -> list[str]:
        """Errors and warnings on the console: what the page's policy refused is among them."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def requests(self) -> list[str]:
        """Addresses that the page asked for."""
        events = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]

    def serious(self) -> list[str]:
        """What axe-core finds serious or critical: rule, help and the first element of each."""
        self.run(_AXE.read_text())
        found = self.driver.execute_async_script(
            "axe.run(document, {resultTypes: ['violations']}).then((all) => arguments[0](all.violations))"
        )
        return [
            f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}: {one['nodes'][0].get('failureSummary')}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]


@contextmanager
def start(profile: Path | str) -> Iterator[Browser]:
    """Chromium with a profile of its own."""
    options = Options()
    options.binary_location = str(shutil.which("chromium"))
    for switch in (*_SWITCHES, f"--user-data-dir={profile}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_script_timeout(_SECONDS)
    try:
        yield Browser(driver)
    finally:
        driver.quit()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, where it is installed with its driver."""
    require("chromium", "chromedriver")
    with start(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="session")
def axe() -> None:
    """axe-core, where `npm ci --prefix tests/browser` has been run."""
    require_file(_AXE, "npm ci --prefix tests/browser")
