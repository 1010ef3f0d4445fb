"""A headless Chromium, spoken to over a pipe in its DevTools protocol: nothing to install but the browser."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 300  # seconds after which no answer will come; on a busy machine one may take a minute
# Every page keeps what its policy forbids. The protocol's log of it loses an entry now and then; an event is not lost,
# and comes before the page is complete.
KEEP_VIOLATIONS = """
window.violations = [];
window.addEventListener("securitypolicyviolation", event => violations.push(event.effectiveDirective));
"""


def find():
    """The path of a browser on this machine, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page of one browser. ``problems`` holds every error and warning that the page has caused."""

    def __init__(self, executable):
        self.problems = []
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        from_us, to_browser = os.pipe()
        from_browser, to_us = os.pipe()
        # The browser reads its file descriptor 3 and writes its 4.
        script = f'exec "$0" "$@" 3<&{from_us} 4>&{to_us}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, executable, "--headless=new", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--remote-debugging-pipe", "--no-first-run", "--hide-scrollbars",
             "--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND",
             f"--user-data-dir={self._folder.name}", "about:blank"],
            pass_fds=(from_us, to_us), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(from_us)
        os.close(to_us)
        self._out, self._in = to_browser, from_browser
        os.set_blocking(self._in, False)
        self._buffer, self._count, self._session = b"", 0, None
        targets = self.ask("Target.getTargets")["targetInfos"]
        (page,) = [t["targetId"] for t in targets if t["type"] == "page"]
        self._session = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask("Page.addScriptToEvaluateOnNewDocument", source=KEEP_VIOLATIONS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Exception):
            self._session = None
            self.ask("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
        os.close(self._in)
        os.close(self._out)
        self._folder.cleanup()

    def open(self, path, width, height=900, dark=False, touch=False):
        """Load a file at a window's size, in light or in dark."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=touch,
        )
        self.ask(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        self.evaluate("window.isPrevious = true")  # one page's address may be the next one's
        answer = self.ask("Page.navigate", url=Path(path).resolve().as_uri())
        assert "errorText" not in answer, answer
        ends = time.monotonic() + PATIENCE
        while not self.evaluate("document.readyState === 'complete' && !window.isPrevious"):
            assert time.monotonic() < ends, f"{path} does not load"
            time.sleep(0.05)
        self.problems += [f"the page's policy forbids {what}" for what in self.evaluate("violations")]

    def evaluate(self, expression):
        """The value of a JavaScript expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, path, whole=True):
        """The page as it is seen, or as long as it is."""
        clip = {}
        if whole:
            size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=whole, **clip)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def pdf(self, path):
        """The page as it is printed."""
        Path(path).write_bytes(base64.b64decode(self.ask("Page.printToPDF", printBackground=True)["data"]))

    def ask(self, method, **params):
        """Send a command and wait for its answer; what the page complains of meanwhile is kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            for said in self._read():
                self._note(said)
                if said.get("id") == self._count:
                    assert "error" not in said, said
                    return said["result"]
            time.sleep(0.005)
        raise AssertionError(f"the browser does not answer {method}")

    def _read(self):
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._in, 1 << 20):
                self._buffer += chunk
        *whole, self._buffer = self._buffer.split(b"\0")
        return [json.loads(m) for m in whole]

    def _note(self, said):
        method, params = said.get("method", ""), said.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(params["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.problems.append(json.dumps(params["args"])[:500])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(
            ("file:", "data:")
        ):
            self.problems.append(f"asks the network for {params['request']['url']}")
