"""Drive headless Chromium through its debugging pipe: no driver, no further package."""

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time

NAMES = ("chromium", "chromium-browser", "google-chrome")


def found():
    """The program, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One page of a browser."""

    def __init__(self, write, read):
        self.write, self.read, self.rest = write, read, b""
        self.numbers, self.session, self.events = itertools.count(1), None, []

    def command(self, method, **parameters):
        """Send a command of the DevTools protocol and return its result."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            reply = self.receive()
            if reply.get("id") == number:
                assert "error" not in reply, reply
                return reply["result"]
            self.events.append(reply)

    def receive(self):
        while b"\0" not in self.rest:
            chunk = os.read(self.read, 1 << 20)
            assert chunk, "the browser has ended"
            self.rest += chunk
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def run(self, script):
        """Evaluate JavaScript, and wait for what it promises."""
        result = self.command(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, script, seconds=30):
        """Wait until JavaScript is true, and return its value."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"{script}: {self.run('document.body.innerText')}"
            time.sleep(0.05)
        return value

    def press(self, key, **more):
        """Press and release a key."""
        code = {"Tab": 9, "Enter": 13, " ": 32}[key]
        text = {"Enter": "\r", " ": " "}.get(key)
        keys = {"key": key, "windowsVirtualKeyCode": code, **({"text": text} if text else {})}
        self.command("Input.dispatchKeyEvent", type="keyDown", **keys, **more)
        self.command("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)


@contextlib.contextmanager
def browser(profile):
    """Start the browser with a camera of its own; yields an empty page."""
    (ours_read, theirs_write), (theirs_read, ours_write) = os.pipe(), os.pipe()
    switches = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
        "--window-size=900,700",
        "--remote-debugging-pipe",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--user-data-dir={profile}",
        "about:blank",
    ]
    # The browser reads from 3 and writes to 4.
    script = f'exec "$0" "$@" 3<&{theirs_read} 4>&{theirs_write}'
    process = subprocess.Popen(
        ["bash", "-c", script, found(), *switches],
        pass_fds=(theirs_read, theirs_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_read)
    os.close(theirs_write)
    page = Page(ours_write, ours_read)
    try:
        target = page.command("Target.createTarget", url="about:blank")
        attached = page.command("Target.attachToTarget", **target, flatten=True)
        page.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            page.command(f"{domain}.enable")
        yield page
        page.session = None
        page.command("Browser.close")
    finally:
        process.terminate()
        process.wait(timeout=20)
        os.close(ours_write)
        os.close(ours_read)
