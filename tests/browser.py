"""A Chromium without a window, driven as a person drives it: over the WebDriver protocol, with the standard library."""

import base64
import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MISSING = None if CHROMIUM and DRIVER else "no Chromium with its driver here: apt-get install chromium chromium-driver"
PATIENCE = 60  # seconds that a page may take


class Browser:
    """A session of a WebDriver server at `base`. It reaches this machine and no other.

    A place on the page is a CSS selector or, where it begins with a slash, an XPath.
    """

    def __init__(self, base: str):
        options = {
            "binary": CHROMIUM,
            "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
                "--disable-dev-shm-usage", "--window-size=1400,1000", "--hide-scrollbars",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        }  # fmt: skip
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self.base = base
        self.base += "/session/" + self.post("/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def post(self, path: str, body: dict):
        """Send a command; return its value."""
        request = urllib.request.Request(
            self.base + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)["value"]

    def open(self, url: str) -> None:
        self.post("/url", {"url": url})

    def __call__(self, script: str, *arguments):
        """Run JavaScript on the page; return what it returns."""
        return self.post("/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str, *arguments):
        """Return the first value of a script that is not false, null, 0 or empty; fail if there is none in time."""
        end = time.monotonic() + PATIENCE
        while not (value := self(script, *arguments)):
            assert time.monotonic() < end, f"{script}\nnever came true for {arguments} on:\n{self.text()[:4000]}"
            time.sleep(0.1)
        return value

    def text(self) -> str:
        """What is to be read on the page."""
        return self("return document.body.innerText")

    def elements(self, place: str) -> list[dict]:
        using = "xpath" if place.startswith("/") else "css selector"
        return self.post("/elements", {"using": using, "value": place})

    def click(self, place: str, index: int = 0) -> None:
        """Click as a person does: once the element is there, in view and not covered."""
        self._act("click", {}, place, index)

    def type(self, place: str, text: str) -> None:
        self._act("value", {"text": text}, place, 0)

    def _act(self, verb: str, body: dict, place: str, index: int) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                found = self.elements(place)[index]
                self("arguments[0].scrollIntoView({block: 'center'})", found)
                self.post(f"/element/{next(iter(found.values()))}/{verb}", body)
                return
            except (IndexError, urllib.error.HTTPError) as error:  # not there yet, just replaced, still covered
                why = error.read().decode() if isinstance(error, urllib.error.HTTPError) else "none is there"
                assert time.monotonic() < end, f"no {verb} on {place}: {why[:500]}\n{self.text()[:4000]}"
                time.sleep(0.1)

    def look(self, width: int, height: int = 900, *, dark: bool = False, media: str = "screen") -> None:
        """Let the page believe in a screen of that size, in a scheme of colours, or in paper."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._devtools("Emulation.setEmulatedMedia", {"media": media, "features": scheme})

    def overflows(self) -> list[str]:
        """What is wider than the card that it stands in, unless that part of the card scrolls."""
        return self(
            """return [...document.querySelectorAll('section *, header *')].filter((node) => {
                 const box = node.getBoundingClientRect();
                 const card = node.closest('section, header').getBoundingClientRect();
                 const out = box.right > card.right + 1 || box.left < card.left - 1;
                 return out && box.width && !node.closest('.wide, .hidden, svg');
               }).map((node) => `${node.tagName} ${node.id || node.className} ${node.textContent.slice(0, 40)}`)"""
        )

    def small_texts(self) -> list[str]:
        """Texts whose letters are smaller than 9 px on the screen, in a drawing too."""
        return self(
            """return [...document.querySelectorAll('body *')].filter((node) => {
                 const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
                 const scale = node.getScreenCTM?.().a ?? 1;
                 return own && node.getClientRects().length && parseFloat(getComputedStyle(node).fontSize) * scale < 9;
               }).map((node) => `${node.tagName} ${node.textContent.slice(0, 40)}`)"""
        )

    def picture(self) -> bytes:
        """Return a PNG of the whole page, as wide as it looks."""
        shot = self._devtools("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True})
        return base64.b64decode(shot["data"])

    def _devtools(self, command: str, parameters: dict):
        return self.post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def log(self, kind: str) -> list[dict]:
        return self.post("/se/log", {"type": kind})

    def quit(self) -> None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(urllib.request.Request(self.base, method="DELETE"), timeout=30)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium and its driver; end both."""
    driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        port = next(m[1] for line in driver.stdout if (m := re.search(r"started successfully on port (\d+)", line)))
        browser = Browser(f"http://127.0.0.1:{port}")
        yield browser
        browser.quit()
    finally:
        driver.terminate()
        driver.wait()
