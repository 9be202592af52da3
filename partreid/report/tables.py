"""The papers' tables beside our own numbers: as rows for a terminal and as the page
docs/recipes.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from partreid.errors import RecipeError
from partreid.evaluation.ledger import Entry, ours
from partreid.recipes import RECIPES, ROWS, SYNTHETIC, Expected, Recipe, papers
from partreid.recipes.base import unknown
from partreid.recipes.costs import ASSUMED, WITHDRAWN, hours

PAGE = "docs/recipes.md"
AGAIN = f"partreid recipes --table --out {PAGE}"
NUMBERS = {
    "rank1": ("Rank-1", "R1"),
    "rank5": ("Rank-5", "R5"),
    "rank10": ("Rank-10", "R10"),
    "mAP": ("mAP", "mAP"),
}
_KINDS = {"section": "Section", "figure": "Figure", "table": "Table"}


@dataclass(frozen=True)
class Line:
    """One recipe on one set of queries: the paper's numbers and ours, one entry of the ledger
    for each seed.
    """

    recipe: Recipe
    queries: str | None  # None: never run
    runs: tuple[Entry, ...]

    @property
    def expect(self) -> Expected:
        """The paper's numbers, in percent, which are of the first set of queries."""
        return self.recipe.expect or Expected("")

    def ours(self, number: str) -> tuple[float, float] | None:
        """Mean over the seeds and half their range, in percent; None if never run."""
        values = [100 * entry.scores[NUMBERS[number][1]] for entry in self.runs]
        return (sum(values) / len(values), (max(values) - min(values)) / 2) if values else None


def lines(rows: Iterable[Recipe], ledger: Sequence[Entry]) -> list[Line]:
    """A line for each set of queries that a row was scored on, one for a row that was not."""
    made = []
    for recipe in rows:
        runs = ours(recipe, ledger)
        made += [Line(recipe, queries, tuple(entries)) for queries, entries in runs.items()]
        if not runs:
            made.append(Line(recipe, None, ()))
    return made


def chosen(
    filter: str = "",
    paper: str | None = None,
    where: str | None = None,
    data_set: str | None = None,
) -> list[Recipe]:
    """Rows by part of their name, by paper, by table, and by data set, to train or to test on.
    RecipeError for one that no row has.
    """
    for what, word, known in (
        ("paper", paper, {paper_of(r) for r in ROWS}),
        ("table", where, {table_of(r) for r in ROWS}),
        ("data set of a recipe", data_set, {d for r in ROWS for d in (r.train, *r.test)}),
    ):
        if word is not None and word not in known:
            raise RecipeError(unknown(what, word, known))
    return [
        r
        for r in ROWS
        if filter in r.name
        and paper in (None, paper_of(r))
        and where in (None, table_of(r))
        and data_set in (None, r.train, *r.test)
    ]


def paper_of(recipe: Recipe) -> str:
    return recipe.name.split("/")[0]


def table_of(recipe: Recipe) -> str:
    """table2, figure5, released, ..."""
    return recipe.name.split("/")[1]


def percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def mean(values: tuple[float, float] | None, seeds: int) -> str:
    """Mean and, of several seeds, half their range."""
    if values is None:
        return ""
    return f"{values[0]:.1f} ± {values[1]:.1f}" if seeds > 1 else f"{values[0]:.1f}"


def cost(recipe: Recipe) -> str:
    """Hours of training, "" where nobody has counted; "shared" where another row's training is
    scored.
    """
    spent = hours(recipe)
    if spent is None:
        return ""
    if recipe.scores is not None:
        return "shared"
    return f"{spent:.1f}" if spent >= 0.05 else "< 0.1"


def total(rows: Sequence[Recipe]) -> str:
    """What it takes to train these rows, every training once, those of rows that are not among
    them too.
    """
    trained = {recipe.scores or recipe.name for recipe in rows}
    spent = [hours(RECIPES[name]) for name in trained]
    unknown = spent.count(None)
    return (
        f"{len(rows)} rows are {len(trained)} trainings, "
        f"{sum(hour or 0.0 for hour in spent):.0f} hours in all"
        + (
            f" without {unknown} of a trunk or a data set that nobody has counted"
            if unknown
            else ""
        )
    )


def page(rows: Sequence[Recipe], ledger: Sequence[Entry]) -> str:
    """Markdown of all tables, by paper; what is not a table of a paper comes after them, made-up
    people last.
    """
    titles = {paper.name: paper.title for paper in papers()}
    titles |= {SYNTHETIC: "The synthetic benchmark"}
    groups: dict[str, dict[str, list[Line]]] = {name: {} for name in titles}
    for line in lines(rows, ledger):
        groups[paper_of(line.recipe)].setdefault(table_of(line.recipe), []).append(line)
    text = [_HEAD]
    for paper, tables in groups.items():
        if tables:
            text.append(f"## {titles[paper]}\n")
            text.append(f"{total([recipe for recipe in rows if paper_of(recipe) == paper])}.\n")
        for name, table in tables.items():
            text.append(f"### {_title(name)}\n")
            text.append(_table(table))
    return "\n".join(text)


_HEAD = f"""# Recipes: the papers' numbers and ours

Every row of the papers' tables is a recipe: `partreid train NAME --data ROOT` trains it, \
`partreid eval RUN --data
ROOT --ledger FILE` scores it and adds lines to that file, from which this page takes our numbers:
`{AGAIN} --ledger FILE`; without a ledger it holds the papers' alone.
"not run" means that nobody has yet run this row with this code on its data.

Numbers are percent. A – is a cell that the paper's text does not show. Ours are means over seeds \
± half their range;
the difference is in mAP, or in Rank-1 where the paper shows no mAP. ¹ DukeMTMC, Occluded-DukeMTMC \
and P-DukeMTMC were
withdrawn in 2019 by their authors' institution; these rows are for those who hold the data already.

{ASSUMED[0].upper()}{ASSUMED[1:]}. Where it says
"as" and a name, the row scores that row's training in its own way and needs none of its own: \
train the other one,
then `partreid eval RUN --data ROOT --row NAME`.
"""


def _title(table: str) -> str:
    """table2 -> Table 2; bpbreid-table1 -> BPBreID Table 1; released -> Released."""
    for paper in papers():
        if table.startswith(f"{paper.name}-"):
            return f"{paper.title} {_title(table.removeprefix(f'{paper.name}-'))}"
    kind = next((kind for kind in _KINDS if table.startswith(kind)), None)
    return f"{_KINDS[kind]} {table.removeprefix(kind)}" if kind else table.capitalize()


def _table(table: Sequence[Line]) -> str:
    shown = [
        n
        for n in NUMBERS
        if n in ("rank1", "mAP") or any(getattr(x.expect, n) is not None for x in table)
    ]
    names = ", ".join(NUMBERS[n][0] for n in shown)
    several = any(line.queries not in (None, "query") for line in table)
    head = [
        "recipe",
        "data",
        *(["queries"] if several else []),
        f"paper: {names}",
        f"ours: {names}",
        "difference",
        "seeds",
        "commit",
        "hours",
    ]
    text = [_row(head), _row(["---"] * 2 + (["---"] if several else []) + ["---:"] * 6)]
    for line in table:
        r = line.recipe
        data = r.train if r.test == (r.train,) else f"{r.train} to {', '.join(r.test)}"
        mark = "¹" if {r.train, *r.test} & set(WITHDRAWN) else ""
        published = [getattr(line.expect, n) for n in shown]
        paper = (
            ", ".join(percent(v) or "–" for v in published)
            if any(v is not None for v in published)
            else "–"
        )
        reached = (
            ", ".join(mean(line.ours(n), len(line.runs)) for n in shown) if line.runs else "not run"
        )
        text.append(
            _row(
                [
                    f"`{r.name}`",
                    data + mark,
                    *([line.queries or ""] if several else []),
                    paper,
                    reached,
                    _difference(line),
                    ", ".join(str(e.seed) for e in line.runs),
                    ", ".join(dict.fromkeys(e.commit or "?" for e in line.runs)),
                    cost(r) if r.scores is None else f"as `{r.scores}`",
                ]
            )
        )
    return "\n".join(text) + "\n"


def _difference(line: Line) -> str:
    number = "mAP" if line.expect.mAP is not None else "rank1"
    published, reached = getattr(line.expect, number), line.ours(number)
    return "" if published is None or reached is None else f"{reached[0] - published:+.1f}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
