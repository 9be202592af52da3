"""The ledger: what an evaluation leaves, once; what of it counts for a recipe; broken files in
one sentence.
"""

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from partreid import __version__
from partreid.cli.base import app
from partreid.errors import DataError
from partreid.evaluation import ledger as module
from partreid.evaluation.ledger import (
    Entry,
    append,
    commit_of,
    entries,
    ours,
    own_commit,
    read,
    trained_for,
)
from partreid.recipes import find, override
from partreid.train.journal import read as read_journal
from tests.evaluation.made_up import result as of_result

BOT = find("bot/bpbreid-table1/market1501")


def entry(recipe: str = BOT.name, seed: int = 1, mAP: float = 0.8, **changes: object) -> Entry:
    scores = {"mAP": mAP, "mINP": 0.5, "R1": 0.9, "R5": 0.95, "R10": 0.97, "R20": 0.99}
    row = replace(find(recipe), seed=seed)
    made = Entry(
        recipe,
        row.digest,
        seed,
        row.test[0],
        "market1501",
        "query",
        False,
        None,
        scores,
        {"mAP": (mAP - 0.01, mAP + 0.01), "R1": (0.88, 0.92)},
        3368,
        3368,
        15913,
        1200.5,
        "CPU, 1 threads",
        "0.1.0",
        "0123456789ab",
        "2026-01-02T03:04:05+00:00",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def evaluate(*arguments: str | Path) -> None:
    app(["eval", *map(str, arguments)], result_action="return_value")


@pytest.fixture()
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What an evaluation leaves


def test_an_evaluation_adds_a_line_for_each_set_of_queries(
    here: Path, world: Path, trained: Callable[[str], Path]
) -> None:
    run = trained("bpbreid")
    ledger = here / "new" / "ledger.jsonl"
    evaluate(run, "--data", world, "--json", here / "scores.json", "--ledger", ledger)
    lines = read(ledger)
    results = json.loads((here / "scores.json").read_text())["results"]
    recipe = json.loads((run / "recipe.json").read_text())
    for line, row in zip(lines, results, strict=True):
        assert (line.recipe, line.seed, line.data) == (
            recipe["name"],
            recipe["seed"],
            "synthetic-tiny",
        )
        assert (line.queries, line.protocol, line.visibility, line.reranked) == (
            row["queries"],
            "market1501",
            True,
            False,
        )
        assert {k: line.scores[k] for k in ("R1", "R5", "mAP", "mINP")} == {
            "R1": row["rank1"],
            "R5": row["rank5"],
            "mAP": row["mAP"],
            "mINP": row["mINP"],
        }
        assert [list(line.intervals[k]) for k in ("R1", "mAP")] == [
            row["rank1_interval"],
            row["mAP_interval"],
        ]
        assert line.scores["R5"] <= line.scores["R10"] <= line.scores["R20"]
        assert (line.queries_scored, line.query_images, line.gallery_images) == (16, 16, 28)
        assert (
            line.version == __version__
            and line.device.startswith("CPU")
            and line.date.endswith("+00:00")
        )
        assert line.commit == own_commit() and line.seconds is not None and line.seconds > 0


def test_the_same_numbers_are_written_once_and_others_beside_them(
    here: Path, world: Path, trained: Callable[[str], Path]
) -> None:
    run, ledger = trained("bot"), here / "l.jsonl"
    evaluate(run, "--data", world, "--ledger", ledger)
    first = ledger.read_bytes()
    # the same run, named by its model
    evaluate(run / "model.safetensors", "--data", world, "--ledger", "l.jsonl")
    assert ledger.read_bytes() == first
    evaluate(run, "--data", world, "--rerank", "--ledger", ledger)
    assert ledger.read_bytes().startswith(first)
    assert [e.reranked for e in read(ledger)] == [False, False, True, True]


def test_a_ledger_that_nobody_names_is_not_there(
    here: Path, world: Path, trained: Callable[[str], Path]
) -> None:
    evaluate(trained("bot"), "--data", world)
    assert list(here.iterdir()) == []


def test_lines_say_whether_hidden_parts_were_left_out_and_none_of_other_matchings() -> None:
    made = [
        of_result("parts", parts, seed=3, noise=0.8, after=after)
        for parts, after in (
            ("visible parts", ""),
            ("all parts", "re-ranked"),
            ("", ""),
            ("visible parts", "expanded"),
        )
    ]
    lines = [line for line in entries(made) if line.queries == "holistic"]
    assert [(e.reranked, e.visibility) for e in lines] == [
        (False, True),
        (True, False),
        (False, None),
    ]


def test_a_broken_ledger_is_said_before_anything_is_scored(
    here: Path, world: Path, trained: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "l.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="line 1 of l.jsonl is no entry of a ledger"):
        evaluate(trained("bot"), "--data", world, "--ledger", "l.jsonl")
    assert capsys.readouterr().out == ""


# The file


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "results" / "ledger.jsonl"
    some = [
        entry(),
        entry(seed=2, mAP=0.81),
        entry(queries="other", visibility=False, seconds=None, commit=None),
    ]
    assert append(path, some[:2]) == 2 and append(path, some) == 1
    assert [json.dumps(asdict(e)) for e in read(path)] == [json.dumps(asdict(e)) for e in some]
    assert len(path.read_text().splitlines()) == 3 and read(tmp_path / "none.jsonl") == []


def test_a_later_look_at_the_same_run_is_not_another_result(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    append(path, [entry()])
    assert (
        append(
            path,
            [entry(date="2027-01-01T00:00:00+00:00", commit="ffff", version="9", device="a GPU")],
        )
        == 0
    )
    for change in (
        {"mAP": 0.80001},
        {"seconds": 3.0},
        {"digest": "x"},
        {"protocol": "any_camera"},
        {"gallery_images": 15914},
    ):
        assert append(path, [entry(**change)]) == 1, change  # type: ignore[arg-type]


def test_several_writers_tear_no_line(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda seed: append(path, [entry(seed=seed), entry(seed=seed, queries="b")]),
                range(24),
            )
        )
    lines = read(path)
    assert sorted(e.seed for e in lines) == sorted([*range(24)] * 2)
    # the two lines of a writer stay together
    assert all(a.seed == b.seed for a, b in zip(lines[::2], lines[1::2]))


@pytest.mark.parametrize(("change", "message"), [
    (lambda e: "no json", "Expecting value"),
    (lambda e: "", "Expecting value"),
    (lambda e: json.dumps(e)[:-20], "Unterminated|delimiter|Expecting"),
    (lambda e: "[1]", "expected a table"),
    (lambda e: json.dumps({k: v for k, v in e.items() if k != "digest"}), "'digest' is missing"),
    (lambda e: json.dumps(e | {"mood": 1}), "'mood' is unknown"),
    (lambda e: json.dumps(e | {"scores": {"mAP": 0.5}}), "'scores' must hold mAP, mINP, R1, R5, "
                                                         "R10, R20"),
    (lambda e: json.dumps(e | {"scores": e["scores"] | {"R1": 90.0}}), "scores must be numbers "
                                                                       "from 0 to 1"),
    (lambda e: json.dumps(e | {"seed": "one"}), "'seed' is 'one'"),
    (lambda e: json.dumps(e | {"seconds": "long"}), "'seconds' is 'long'"),
    (lambda e: json.dumps(e | {"intervals": {"mAP": 3, "R1": [0, 1]}}), "intervals must be pairs"),
    (lambda e: json.dumps(e | {"scores": e["scores"] | {"R1": float("nan")}}), "not finite"),
    (lambda e: json.dumps(e | {"protocol": None}), "'protocol' is None"),
    (lambda e: "[" * 100_000, "nests more than"),
])  # fmt: skip
def test_a_broken_line_is_named(
    change: Callable[[dict[str, object]], str], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "l.jsonl"
    append(path, [entry(), entry(seed=2)])
    path.write_text(path.read_text() + change(asdict(entry(seed=3))) + "\n")
    with pytest.raises(
        DataError, match=rf"line 3 of .*l\.jsonl is no entry of a ledger \(.*({message})"
    ):
        read(path)


@pytest.mark.parametrize("room", [0, 1, 300, 1500])
def test_a_full_disk_takes_all_lines_or_none(room: int, tmp_path: Path) -> None:
    """A limit on the length of files is met like a full disk: the first part of a write fits,
    the next one does not.
    """
    path = tmp_path / "l.jsonl"
    append(path, [entry()])
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, hard))
    try:
        with pytest.raises(
            DataError, match="cannot be written .* and is as it was; free some space"
        ):
            append(path, [entry(seed=seed) for seed in (2, 3, 4)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert append(path, [entry(seed=2)]) == 1 and [e.seed for e in read(path)] == [1, 2]


def test_a_last_line_without_an_end_is_kept_if_it_is_whole_and_replaced_if_it_is_half(
    tmp_path: Path,
) -> None:
    path = tmp_path / "l.jsonl"
    append(path, [entry(), entry(seed=2)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])  # an editor took the last end of line away
    assert append(path, [entry(seed=3)]) == 1 and [e.seed for e in read(path)] == [1, 2, 3]
    path.write_bytes(whole[:-30])  # the power failed
    assert [e.seed for e in read(path)] == [1]
    assert append(path, [entry(seed=3)]) == 1 and [e.seed for e in read(path)] == [1, 3]
    path.write_bytes(whole + b"a note of mine")  # not ours to throw away
    with pytest.raises(DataError, match="line 3"):
        append(path, [entry(seed=4)])


def test_a_pipe_is_no_ledger(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for use in (read, lambda path: append(path, [entry()])):
        with pytest.raises(DataError, match="a named pipe"):
            use(tmp_path / "pipe")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="cannot be written.*--ledger"):
        append(tmp_path / "file" / "l.jsonl", [entry()])
    with pytest.raises(DataError, match="a folder, where a ledger is expected"):
        read(tmp_path)


# What counts for a recipe


def test_the_latest_of_every_seed_counts() -> None:
    old, new, other = entry(mAP=0.7), entry(mAP=0.8), entry(seed=5, mAP=0.9)
    assert ours(BOT, [old, other, new]) == {"query": [new, other]}
    assert ours(find("bot/bpbreid-table1/dukemtmc"), [old]) == {}


def test_a_run_counts_by_what_it_did_and_not_by_its_name() -> None:
    main, again = find("dsa/table2/market1501"), find("dsa/table3/main-only")
    assert list(ours(again, [entry(main.name)])) == ["query"]
    changed = override(main, ["stages.lr=0.1"])
    assert ours(main, [entry(main.name, digest=changed.digest)]) == {}
    assert ours(main, [entry(main.name, data="dukemtmc")]) == {}


def test_re_ranked_rows_take_re_ranked_scores_and_ignored_visibility_is_left_out() -> None:
    plain, reranked = (
        find("magnifier/table1/market1501"),
        find("magnifier/table1/market1501/reranked"),
    )
    some = [entry(plain.name, mAP=0.89), entry(plain.name, mAP=0.95, reranked=True)]
    assert [e.scores["mAP"] for e in ours(plain, some)["query"]] == [0.89]
    assert [e.scores["mAP"] for e in ours(reranked, some)["query"]] == [0.95]
    seen, blind = (entry("bpbreid/table2/full", visibility=v) for v in (True, False))
    assert ours(find("bpbreid/table2/full"), [seen, blind]) == {"query": [seen]}


# Where numbers come from


Git = Callable[..., str]


@pytest.fixture()
def git(tmp_path: Path) -> Git:
    """Git in ``tmp_path / "checkout"``, an empty repository."""
    if shutil.which("git") is None:
        pytest.skip("no git")
    (tmp_path / "checkout").mkdir()

    def run(*words: str) -> str:
        who = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false")
        return subprocess.run(
            ("git", "-C", str(tmp_path / "checkout"), *who, *words),
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    run("init", "-q")
    return run


def test_the_commit_of_a_folder(git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commit_of(tmp_path) is None
    folder = tmp_path / "checkout"
    assert commit_of(folder) is None  # nothing committed yet
    (folder / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "one")
    head = git("rev-parse", "HEAD")
    assert commit_of(folder) == head[:12]
    (folder / "b").write_text("untracked")
    assert commit_of(folder) == head[:12]
    (folder / "a").write_text("2")
    assert commit_of(folder) == f"{head[:12]}+"
    monkeypatch.setenv("PATH", "")
    assert commit_of(folder) is None


def test_a_commit_counts_only_if_the_package_lies_in_a_checkout_of_its_own(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a package that is installed below somebody's repository, nor a copy that they keep in
    it, takes their commits for its own.
    """
    home = tmp_path / "checkout"

    def lies_in(folder: Path) -> str | None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
        monkeypatch.setattr(module, "PACKAGE", folder)
        return own_commit()

    (home / "theirs.py").touch()
    git("add", "theirs.py")
    git("commit", "-qm", "one")
    assert lies_in(home / "venv" / "site-packages" / "partreid") is None
    assert lies_in(home / "partreid") is None
    git("add", "-A")
    git("commit", "-qm", "a copy of the package")
    assert lies_in(home / "venv" / "site-packages" / "partreid") is None
    assert lies_in(home / "partreid") is None
    (home / "pyproject.toml").write_text('[project]\nname = "partreid"\n')
    assert lies_in(home / "partreid") == git("rev-parse", "HEAD")[:12]
    git("rm", "-rq", "--cached", "partreid")
    assert lies_in(home / "partreid") is None


def test_seconds_are_the_journal_s(trained: Callable[[str], Path], tmp_path: Path) -> None:
    steps = [e for e in read_journal(trained("bot") / "journal.jsonl") if "loss" in e]
    assert trained_for(trained("bot")) == pytest.approx(sum(e["seconds"] for e in steps), abs=0.06)
    assert trained_for(tmp_path) is None
