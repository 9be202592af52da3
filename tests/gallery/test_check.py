from pathlib import Path

import pytest

from partreid.gallery import Enrolled, open_gallery
from tests.gallery.drawn import DISTANCES, saved


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE crops SET p1 = p2 WHERE id = 3", "crop 3: half precision and float32"),
        (
            "UPDATE crops SET vectors = overlay(vectors PLACING '\\x00003f' FROM 50) WHERE id = 4",
            "crop 4: half precision and float32",
        ),
        ("UPDATE crops SET vectors = substr(vectors, 2) WHERE id = 5", "crop 5: its vectors have"),
        ("UPDATE crops SET v0 = 0.125 WHERE id = 2", "crop 2: its visibilities stand there twice"),
        ("UPDATE crops SET slack = slack / 2 WHERE id = 1", "crop 1: the allowance"),
        ("UPDATE crops SET slack = 'NaN' WHERE id = 1", "crop 1: the allowance"),
        ("DELETE FROM crops WHERE id = 6", "counts 8 crops and holds 7"),
        ("INSERT INTO likeness VALUES (99, 0.5)", "1 scores of likeness belong to no crop"),
        ("UPDATE crops SET person = 'anna' WHERE id = 7", "1 people who were forgotten"),
        ("ALTER TABLE crops ALTER p2 TYPE halfvec USING p2::halfvec", "the column p2 is halfvec"),
        ("ALTER TABLE crops DROP v1", "the column v1 is not there"),
    ],
)
def test_a_fault_is_found(empty: Path, statement: str, fault: str) -> None:
    crops = saved(DISTANCES[2], 8, 1, soft=False)
    with open_gallery(empty, crops) as gallery:
        gallery.add(crops)
        gallery._connection.execute(
            "INSERT INTO journal (reason, person, crops, thumbnails) SELECT 'person', %s, 1, 0",
            (_digest(gallery._connection, "anna"),),
        )
        steps: list[int] = []
        assert gallery.verify(lambda done, of: steps.append(done)) == [] and steps == [8]
        gallery._connection.execute(statement)
        (problem,) = gallery.verify()
        assert fault in problem


def test_many_faults_are_counted(empty: Path) -> None:
    crops = saved(DISTANCES[0], 50)
    with open_gallery(empty, crops) as gallery:
        gallery.add(crops, Enrolled(1))
        gallery._connection.execute("UPDATE crops SET slack = 0")
        problems = gallery.verify()
        assert len(problems) == 21 and problems[-1] == "and 30 more crops"


def _digest(connection: object, person: str) -> bytes:
    from partreid.gallery.forget import digest, salt_of

    return digest(salt_of(connection), person)
