"""The page in a real browser: drop, rank, open a reason, ask why not, enrol, forget."""

import base64
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.serve.conftest import Running, Service
from tests.serve.made import encoded, person

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: pip install playwright"
    )
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with api.sync_playwright() as play:
        made = play.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield made
        made.close()


@pytest.fixture(scope="module")
def service(running: Running) -> Iterator[Service]:
    with running(keep_crops=True) as made:
        for seed in range(70, 76):
            made.enrol(seed, 2, person=f"p{seed}", camera=seed % 3, time="2026-03-01T12:00Z")
        yield made


class Visit:
    """A page that is open. It may say nothing on its console and ask nobody else."""

    def __init__(self, browser: Any, url: str, width: int = 1280) -> None:
        self.troubles: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.page.set_default_timeout(30_000)
        self.page.on("console", lambda message: self.troubles.append(message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on(
            "request",
            lambda request: (
                request.url.startswith((url, "data:", "blob:"))
                or self.troubles.append(f"asks {request.url}")
            ),
        )
        self.page.goto(url)

    def give(self, data: bytes, how: str = "drop", kind: str = "image/png") -> None:
        self.page.evaluate(
            """([data, how, type]) => {
                const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
                const held = new DataTransfer();
                held.items.add(new File([bytes], "crop.png", { type }));
                const about = { bubbles: true, cancelable: true };
                document.querySelector("#drop").dispatchEvent(
                    how === "drop"
                        ? new DragEvent("drop", { ...about, dataTransfer: held })
                        : new ClipboardEvent("paste", { ...about, clipboardData: held }));
            }""",
            [base64.b64encode(data).decode(), how, kind],
        )

    def fits(self) -> bool:
        """Whether nothing is wider than the window."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


@pytest.fixture(params=[1280, 390])
def visit(browser: Any, service: Service, request: pytest.FixtureRequest) -> Iterator[Visit]:
    made = Visit(browser, service.url, request.param)
    made.page.wait_for_selector("table.people")
    yield made
    made.page.close()
    assert made.troubles == []


def test_drop_rank_reason_and_why_not(visit: Visit, service: Service) -> None:
    page = visit.page
    assert "12 crops of 6 named people, seen by 3 cameras" in page.inner_text("#state")
    visit.give(encoded(person(71, 9)))
    page.wait_for_selector("ol.hits > li")
    answer = service.search(71, 9)
    shown = [int(hit.get_attribute("data-id")) for hit in page.query_selector_all("li.hit")]
    assert shown == [hit["crop"]["id"] for hit in answer["hits"]]
    first = page.locator("li.hit").first
    assert f"{answer['hits'][0]['pair']['distance']:.3f}" in first.inner_text()
    page.wait_for_selector("li.hit .maps img")  # part maps over the stored crop, and over the query
    assert page.locator(".asked .pics img").count() == 2
    assert (
        first.locator(".badge").inner_text()
        in (
            "same person",
            "not called the same",
            "not decided",
        )
        or first.locator(".badge.same").count()
    )
    assert not first.locator(".terms-of").is_visible()
    first.locator("summary").click()
    assert first.locator(".terms-of").is_visible()
    assert first.locator(".terms-of tbody tr").count() == len(service.model.names)
    assert first.locator(".sumbar rect").first.bounding_box()["width"] > 0
    assert visit.fits()

    page.locator("details", has_text="Why not?").locator("summary").first.click()
    page.fill("#why input", str(shown[-1]))
    page.click("#why button")
    page.wait_for_selector("#whynot table")
    assert f"Crop {shown[-1]} comes at rank 10" in page.inner_text("#whynot h2")
    assert page.locator("#whynot .length").count() >= 2
    assert visit.fits()
    page.click("#whynot [data-close]")
    assert page.locator("#whynot section").count() == 0


def test_filters_and_a_pasted_crop(visit: Visit) -> None:
    page = visit.page
    page.locator(".chips label", has_text="2").click()
    visit.give(encoded(person(71, 9)), "paste")
    page.wait_for_selector("ol.hits > li")
    assert page.locator("li.hit").count() == 4
    assert set(page.locator("li.hit .facts span:first-child").all_inner_texts()) == {"camera 2"}
    page.fill("[name=until]", "2020-01-01T00:00")
    page.click("#ask .main")
    page.wait_for_selector("text=No crop passes these filters")


def test_a_bad_picture_is_said(visit: Visit) -> None:
    visit.give(b"no picture")
    visit.page.wait_for_selector(".notice.bad")
    assert "The crop cannot be read as a picture" in visit.page.inner_text("#said")
    assert visit.troubles.pop().startswith("Failed to load resource")  # the browser's word for 422


def test_enrol_and_forget(browser: Any, running: Running) -> None:
    with running(keep_crops=True) as service:
        visit = Visit(browser, service.url)
        page = visit.page
        page.wait_for_selector("text=Nobody with a name is enrolled yet")
        visit.give(encoded(person(80)))
        page.wait_for_selector("text=No crop passes these filters")
        page.locator("details", has_text="Enrol this crop").locator("summary").click()
        name = '<b>Ada & "Bob"</b>'
        page.fill("#enrol [name=person]", name)
        page.fill("#enrol [name=camera]", "5")
        page.fill("#enrol [name=time]", "2026-03-01T12:00:00")
        page.click("#enrol button")
        page.wait_for_selector("text=Enrolled as crop 1.")
        assert page.inner_text("table.people tbody th") == name  # shown, not run
        crop = service.client.get("/crops/1").json()
        assert crop["person"] == name and crop["camera"] == 5 and crop["thumbnail"]
        page.click("#ask .main")
        page.wait_for_selector("li.hit")

        page.click("[data-forget]")
        page.click("dialog >> text=Keep")
        page.wait_for_selector("dialog", state="hidden")
        assert service.client.get("/list").json()["crops"] == 1
        page.click("[data-forget]")
        assert name in page.inner_text("dialog h2")
        page.click("dialog >> text=Forget for good")
        page.wait_for_selector("text=is forgotten", timeout=120_000)  # files are written anew
        page.wait_for_selector("text=Nobody with a name is enrolled yet")
        assert service.client.get("/list").json()["crops"] == 0
        assert page.locator("li.hit").count() == 0
        page.close()
        assert visit.troubles == []


def test_the_key_is_asked_for_and_kept_in_the_tab(browser: Any, running: Running) -> None:
    with running(key="a-key-of-many-letters") as service:
        service.enrol(81, person="Ada")
        visit = Visit(browser, service.url)
        page = visit.page
        page.wait_for_selector("#key:not([hidden])")
        assert "Ada" not in page.content()
        page.fill("#key input", "wrong")
        page.click("#key button")
        page.wait_for_selector("text=That is not its key")
        page.fill("#key input", "a-key-of-many-letters")
        page.click("#key button")
        page.wait_for_selector("text=Ada")
        page.reload()
        page.wait_for_selector("text=Ada")
        page.close()
        assert [message for message in visit.troubles if "401" not in message] == []
