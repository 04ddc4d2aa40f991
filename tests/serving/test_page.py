"""The page in headless Chromium: a file, a drop, a paste, the camera, the keyboard."""

import base64
import re

import chromium
import pytest
from background_server import encoded
from tiny_run import DIGITS, random_images

from keras_wrn.inference.classifier import class_probabilities

if chromium.found() is None:
    pytest.skip("no Chromium is installed", allow_module_level=True)

IMAGE = random_images(1, seed=5)[0]
SAID = "document.getElementById('status').textContent"
GIVEN = """(() => {
  const bytes = Uint8Array.from(atob('%s'), c => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], '%s', {type: '%s'}));
  const options = {bubbles: true, cancelable: true};
  document.body.dispatchEvent('%s' === 'drop'
    ? new DragEvent('drop', {...options, dataTransfer: data})
    : new ClipboardEvent('paste', {...options, clipboardData: data}));
})()"""


def give(page, how, content, name="a.png", kind="image/png"):
    page.run(GIVEN % (base64.b64encode(content).decode(), name, kind, how))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser, server):
    browser.events.clear()
    browser.command("Page.navigate", url=f"{server.url}/")
    browser.wait_for("document.readyState === 'complete' && document.getElementById('model').value")
    yield browser
    asked = [e for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    addresses = {event["params"]["request"]["url"] for event in asked}
    foreign = {a for a in addresses if not a.startswith((server.url, "blob:", "data:"))}
    assert not foreign
    wrong = [e for e in browser.events if e["method"] == "Runtime.exceptionThrown"]
    assert not wrong


def bars(page):
    return page.run(
        "[...document.querySelectorAll('#bars tr')].map(row => [row.cells[0].textContent, "
        "parseFloat(row.cells[2].textContent), row.querySelector('span').style.width])"
    )


@pytest.mark.parametrize("how", ["file", "drop", "paste"])
def test_a_picture_has_five_bars_a_version_and_milliseconds(page, digits, tmp_path, how):
    probabilities = class_probabilities(digits, IMAGE[None], DIGITS)[0]
    if how == "file":
        (tmp_path / "a.png").write_bytes(encoded(IMAGE))
        root = page.command("DOM.getDocument")["root"]["nodeId"]
        node = page.command("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        page.command("DOM.setFileInputFiles", nodeId=node, files=[str(tmp_path / "a.png")])
    else:
        give(page, how, encoded(IMAGE))
    said = page.wait_for(f"{SAID}.includes('Version') && {SAID}")
    best = (-probabilities).argsort()[:5]
    assert [name for name, _, _ in bars(page)] == best.astype(str).tolist()
    for index, (_, percent, width) in zip(best, bars(page)):
        assert percent == pytest.approx(100 * probabilities[index], abs=0.06)
        assert float(width[:-1]) == pytest.approx(max(1, 100 * probabilities[index]), abs=0.01)
    assert re.fullmatch(
        rf"{best[0]}, \d+\.\d %\. Version 1, \d+ ms, \d+ ms of it in the model\.", said
    )
    seen = page.run(
        "(() => { const c = document.getElementById('picture');"
        " return [...c.getContext('2d').getImageData(0, 0, 32, 32).data]; })()"
    )
    assert [value for i, value in enumerate(seen) if i % 4 != 3] == IMAGE.ravel().tolist()


def test_the_camera_and_the_keyboard(page):
    page.run("document.activeElement.blur()")
    reached = []
    for _ in range(4):
        page.press("Tab")
        reached.append(page.run("document.activeElement.id"))
        if reached[-1] == "camera":
            break
    assert reached == ["file", "camera"]
    page.press("Enter")
    page.wait_for("document.activeElement.id === 'take'")
    page.wait_for("document.getElementById('video').videoWidth > 0")
    page.press("Enter")
    page.wait_for(f"{SAID}.includes('Version')")
    assert page.run("document.activeElement.id") == "camera"
    assert page.run("document.getElementById('video').srcObject.active") is False
    assert len(bars(page)) == 5


def test_mistakes_are_said(page):
    give(page, "drop", b"noise")
    page.wait_for(f"{SAID}.includes('is not an image')")
    assert page.run("document.getElementById('status').className") == "error"
    assert page.run("document.getElementById('answer').hidden")
    give(page, "drop", b"text", "a.txt", "text/plain")
    page.wait_for(f"{SAID} === 'That is no picture.'")


def test_a_screen_reader_is_told_all(page):
    give(page, "paste", encoded(IMAGE))
    page.wait_for(f"{SAID}.includes('Version')")
    page.command("Accessibility.enable")
    nodes = page.command("Accessibility.getFullAXTree")["nodes"]
    found = {
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    }
    roles = {role for role, _ in found}
    assert {("heading", "Classify a picture"), ("button", "Use the camera")} <= found
    assert ("table", "Most probable classes") in found
    assert {"status", "main", "rowheader"} <= roles
    assert any("Choose a file" in name for role, name in found if role == "button")
    assert any("as the network sees it" in name for role, name in found if "im" in role.lower())
    assert page.run("document.documentElement.lang") == "en"
