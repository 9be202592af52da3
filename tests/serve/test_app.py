"""The service as programs use it, on a real gallery: its answers are those of the Python API."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from tests.serve.conftest import Running, Service
from tests.serve.made import encoded, noise, person

TIME = "2026-03-01T12:00:00+01:00"


@pytest.fixture(scope="module")
def full(running: Running) -> Iterator[Service]:
    """Eight people in a gallery that keeps crops; tests must not change it."""
    with running(keep_crops=True) as service:
        for seed in range(30, 38):
            known = {
                "person": f"p{seed}",
                "camera": seed % 2,
                "time": f"2026-03-0{seed - 29}T12:00Z",
            }
            service.enrol(seed, 2, **known)
        yield service


def opened(seed: int, shot: int = 99) -> Image.Image:
    return Image.open(io.BytesIO(encoded(person(seed, shot))))


def test_a_search_says_what_rank_says(full: Service) -> None:
    answer = full.search(31, top=5, prior=0.25)
    crops = [opened(seed, shot) for seed in range(30, 38) for shot in range(2)]
    hits = full.model.rank(opened(31), crops, top=5, prior=0.25)[0]
    assert [hit["crop"]["id"] for hit in answer["hits"]] == [hit.row + 1 for hit in hits]
    for ours, theirs in zip(answer["hits"], hits, strict=True):
        pair = ours["pair"]
        assert ours["place"] == theirs.place
        assert pair["distance"] == pytest.approx(theirs.distance, rel=1e-4)
        assert pair["shared_evidence"] == theirs.shared_evidence
        assert sum(part["share"] for part in pair["parts"]) == pytest.approx(pair["distance"])
        if theirs.probability is not None:
            assert pair["probability"] == pytest.approx(theirs.probability, abs=1e-3)
            assert pair["same"] == theirs.same
    assert answer["crops"] == 16 and answer["expected_false_matches"] == pytest.approx(0.8)
    assert answer["decides"]["rate"] == 0.05
    assert answer["called_same"] is None or answer["withheld"] is None


def test_a_comparison_says_what_compare_says(full: Service) -> None:
    crops = {"a": encoded(person(31, 5)), "b": encoded(person(31, 6))}
    answer = full.client.post("/compare", files=crops, data={"prior": 0.1}).json()
    pair = full.model.compare(opened(31, 5), opened(31, 6), 0.1)
    assert answer["distance"] == pytest.approx(pair.distance, rel=1e-4)
    assert (answer["same"], answer["reason"]) == (pair.same, pair.reason)
    assert answer["verdict"] == pair.verdict
    assert [part["name"] for part in answer["parts"]] == list(pair.evidence.names)


def test_filters_hold(full: Service) -> None:
    hits = full.search(31, top=50, cameras=[1])["hits"]
    assert len(hits) == 8 and {hit["crop"]["camera"] for hit in hits} == {1}
    hits = full.search(31, top=50, cameras=[0, 1], since="2026-03-03T13:00+01:00")["hits"]
    assert {hit["crop"]["person"] for hit in hits} == {f"p{seed}" for seed in range(32, 38)}
    hits = full.search(31, top=50, until="2026-03-03T12:00Z")["hits"]
    assert {hit["crop"]["person"] for hit in hits} == {"p30", "p31"}
    assert full.search(31, cameras=[7])["hits"] == []


def test_a_claim_is_looked_at(full: Service) -> None:
    crop = {"crop": encoded(person(33, 9))}
    answer = full.client.post("/verify", files=crop, data={"person": "p33"}).json()
    assert answer["nearest"]["crop"]["person"] == "p33" and answer["nearest"]["pair"]["verdict"]
    nobody = full.client.post("/verify", files=crop, data={"person": "Nobody"})
    assert nobody.status_code == 404 and "Nobody is enrolled" in nobody.json()["error"]


def test_why_not_gives_rank_and_terms_beside_the_first(full: Service) -> None:
    order = [hit["crop"]["id"] for hit in full.search(31, top=16)["hits"]]
    crop = {"crop": encoded(person(31, 99))}

    def why(number: int, **fields: Any) -> Any:
        return full.client.post("/why", files=crop, data={"id": number, **fields}).json()

    last = why(order[-1])
    assert last["rank"] == 16 and last["first"]["crop"]["id"] == order[0]
    assert last["expected"]["pair"]["distance"] >= last["first"]["pair"]["distance"]
    assert why(order[0])["sentence"] == "It is the first answer."
    camera = full.client.get(f"/crops/{order[3]}").json()["camera"]
    out = why(order[3], cameras=1 - camera)
    assert out["rank"] is None and out["excluded"] == f"camera {camera} is not among those searched"
    late = why(order[3], since="2026-04-01T00:00Z")
    assert late["first"] is None and "before the time searched from" in late["excluded"]


def test_the_list_and_one_crop(full: Service) -> None:
    answer = full.client.get("/list").json()
    assert answer["crops"] == 16 and answer["parts"] == list(full.model.names)
    assert {"person": "p34", "crops": 2} in answer["people"]
    assert answer["cameras"] == [{"camera": 0, "crops": 8}, {"camera": 1, "crops": 8}]
    crop = full.client.get("/crops/1").json()
    assert (crop["person"], crop["camera"], crop["thumbnail"]) == ("p30", 0, True)
    assert full.client.get("/check").json() == {"crops": 16, "faults": []}
    assert full.client.get("/health").json() == {"status": "ok"}
    assert "partreid_crops 16\n" in full.client.get("/metrics").text


def test_a_kept_crop_is_shown_with_its_parts(full: Service) -> None:
    for what in ("picture", "parts"):
        answer = full.client.get(f"/crops/2/{what}")
        assert answer.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert picture.height == (64 if what == "picture" else 256)


@pytest.mark.parametrize(
    ("method", "path", "fields", "status", "says"),
    [
        ("post", "/search", {}, 422, "crop is missing"),
        ("post", "/search", {"crop": b"junk"}, 422, "cannot be read as a picture"),
        ("post", "/search", {"crop": None, "top": "0"}, 422, "top: "),
        ("post", "/search", {"crop": None, "prior": "1"}, 422, "prior: "),
        ("post", "/search", {"crop": None, "cameras": "-1"}, 422, "at least 0"),
        ("post", "/search", {"crop": None, "since": "2026-03-01T12:00"}, 422, "a time zone"),
        ("post", "/search", {"crop": None, "until": "0001-01-01T00:00Z"}, 422, "between the years"),
        ("post", "/enrol", {"crops": None, "person": "a\x00b"}, 422, "visible characters"),
        ("post", "/enrol", {"crops": None, "person": "a\u202eb"}, 422, "visible characters"),
        ("post", "/enrol", {"crops": None, "camera": str(2**70)}, 422, "camera: "),
        ("post", "/enrol", {"crops": None, "time": "soon"}, 422, "time: "),
        ("post", "/forget", {"person": "Nobody"}, 404, "Nobody is enrolled"),
        ("post", "/why", {"crop": None, "id": "999"}, 404, "no crop 999"),
        ("get", "/crops/999", {}, 404, "no crop 999"),
        ("get", "/crops/0", {}, 422, "id: "),
        ("get", f"/crops/{2**80}", {}, 422, "id: "),
        ("delete", "/crops/999", {}, 404, "no crop 999"),
        ("get", "/docs", {}, 404, "nothing at this address"),
        ("get", "/search", {}, 405, "no such method"),
    ],
)
def test_a_mistake_is_one_sentence(
    full: Service, method: str, path: str, fields: dict[str, Any], status: int, says: str
) -> None:
    picture = encoded(person(31))
    files = {k: (v or picture) for k, v in fields.items() if not isinstance(v, str)}
    data = {k: v for k, v in fields.items() if isinstance(v, str)}
    sent = {"files": files, "data": data} if fields else {}
    answer = full.client.request(method.upper(), path, **sent)
    error = answer.json()["error"]
    assert answer.status_code == status and list(answer.json()) == ["error"]
    assert says in error and "\n" not in error and "Traceback" not in error
    assert full.client.get("/list").json()["crops"] == 16


def test_a_picture_in_several_is_named(full: Service) -> None:
    good = encoded(person(31))
    crops = [("crops", ("a.png", good)), ("crops", ("b.png", b"junk"))]
    answer = full.client.post("/enrol", files=crops)
    assert answer.status_code == 422 and answer.json()["error"].startswith("crop 2 ")
    many = [("crops", (f"{i}.png", good)) for i in range(33)]
    assert "at most 32 crops" in full.client.post("/enrol", files=many).json()["error"]
    assert full.client.get("/list").json()["crops"] == 16


def test_no_part_of_an_upload_reaches_the_disk(
    full: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("an upload was written to a file")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", never)
    large = encoded(noise(900, 900), "PNG")
    assert len(large) > 2 * 2**20
    assert full.client.post("/search", files={"crop": large}).status_code == 200


def test_enrolled_removed_forgotten(running: Running) -> None:
    with running() as service:
        client = service.client
        assert service.search(50)["hits"] == []  # an empty gallery answers, too
        ids = service.enrol(50, 3, person="Ada", camera=4, time=TIME) + service.enrol(51)
        assert ids == [1, 2, 3, 4]
        crop = client.get("/crops/2").json()
        assert crop["time"] == "2026-03-01T11:00:00Z" and crop["thumbnail"] is False
        no = client.get("/crops/2/picture")
        assert no.status_code == 404 and "--keep-crops" in no.json()["error"]
        assert client.delete("/crops/2").status_code == 204
        assert client.get("/crops/2").status_code == 404
        gone = client.post("/forget", data={"person": "Ada"}).json()
        assert (gone["person"], gone["crops"]) == ("Ada", 2)
        assert any("backups" in note for note in gone["notes"])  # of a server that is not ours
        assert [hit["crop"]["id"] for hit in service.search(50)["hits"]] == [4]
        again = client.post("/enrol", files={"crops": encoded(person(50))}, data={"person": "Ada"})
        assert again.status_code == 422 and "was forgotten" in again.json()["error"]


def test_without_a_calibration_nothing_is_decided(running: Running) -> None:
    with running(calibration=False) as service:
        service.enrol(50)
        answer = service.search(50)
        assert answer["decides"] is None and answer["called_same"] is None
        assert answer["withheld"].startswith("no decision: this run has no calibration")
        pair = answer["hits"][0]["pair"]
        assert pair["same"] is None and pair["probability"] is None and pair["reason"]


def test_a_query_unlike_the_calibrations_crops_is_not_decided_about(full: Service) -> None:
    grey = encoded(Image.new("L", (300, 60), 3))
    answer = full.client.post("/search", files={"crop": grey}).json()
    assert answer["called_same"] is None and "nothing is decided" in answer["withheld"]
    assert all(hit["pair"]["same"] is None for hit in answer["hits"])


def test_a_lost_connection_is_opened_again(running: Running, database: Any) -> None:
    import psycopg

    url = database()
    with running(where=url) as service:
        service.enrol(50)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
                "current_database() AND pid <> pg_backend_pid()"
            )
        assert [hit["crop"]["id"] for hit in service.search(50)["hits"]] == [1]
        assert service.enrol(51) == [2]


def test_the_key_opens_it_and_nothing_else_does(running: Running) -> None:
    with running(key="a-key-of-many-letters") as service:
        assert service.client.get("/list").status_code == 200
        for given in ({"authorization": "Bearer wrong"}, {"authorization": ""}):
            answer = service.client.get("/list", headers=given)
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
            assert service.client.get("/", headers=given).status_code == 200
