"""Mistakes in the words of a command: each is one sentence that says what the command takes."""

import shlex

import pytest
from cyclopts import CycloptsError

import partreid.cli  # noqa: F401
from partreid.cli.base import app
from partreid.cli.usage import sentence

NAMES = "takes three names, RUN, QUERY, GALLERY, and there were 4; 'more' is left over"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trian", 'Unknown command "trian". Did you mean "train"?'),
        ("data chek", 'Did you mean "check"?'),
        ("--bogus", "Unknown command"),
        ("compare", "partreid compare needs RUN (Run folder or model.safetensors)"),
        ("compare run", "partreid compare needs A (One crop)"),
        (
            "compare RUN A B C",
            "partreid compare takes three names, RUN, A, B, and there were 4; 'C' is left over. "
            "All else is told by options: --picture, --calibration",
        ),
        ("rank run q g more", NAMES),
        ("rank run q", "partreid rank needs GALLERY"),
        (
            "rank run -x.png g",
            "'-x.png' begins with a dash and is read as an option, which partreid rank does not "
            "know. If it is a name, write ./-x.png, or put -- before the names",
        ),
        ("rank run q g --tpo 3", "unknown option --tpo of partreid rank; did you mean --top"),
        ("rank run q g --top", "--top needs a value after it"),
        ("rank run q g --sheet -x.png", "stands behind an equals sign, as in --sheet=-x"),
        ("rank run q g --sheet x.doc", "--sheet must end in .png, .jpg or .jpeg, got 'x.doc'"),
        ("rank run q g --top many", "--top must be a whole number, got 'many'"),
        ("rank run q g --top 2.7", "--top must be a whole number, got '2.7'"),
        ("rank run q g --top 0", "--top must be a whole number from 1 to 2147483647, got '0'"),
        ("rank run q g --top 3 --top 4", "--top was given twice; give it once"),
        ("rank run q g --prior 1", "--prior must be a number above 0 and below 1, got '1'"),
        ("rank run q g --prior nan", "--prior must be a number above 0 and below 1, got 'nan'"),
        ("rank run q g --json=maybe", "--json is a switch and takes no value, got 'maybe'"),
        ("compare --a x y z", "give all of them by place or all by name: partreid compare RUN A B"),
        ("eval run", "partreid eval needs --data (Root folder of the test data)"),
        ("eval run --data x --shrink much", "--shrink must be a number, got 'much'"),
        ("train a b", "partreid train takes one name, RECIPE, and there were 2; 'b' is left over"),
        ("train r --set", "--set needs a value after it"),
        ("train r -o y", "unknown option -o of partreid train"),
        ("embed run crops", "partreid embed needs --out"),
        ("convert x --out y --identities 0", "--identities must be a whole number from 1"),
        ("calibrate run --data x --rate 2", "--rate must be a number above 0 and below 1, got '2'"),
        ("data check market1501 x y z", "and there were 4; 'y', 'z' are left over"),
        ("data synth huge x", "PRESET must be one of tiny, demo, full, scenes, got 'huge'"),
        ("data sheet x y.gif", "PICTURE must end in .png, .jpg or .jpeg, got 'y.gif'"),
        ("labels cache --data x --size 256", "--size takes 2 values with a space between, got 1"),
        ("labels import lip x --data y", "SOURCE must be one of densepose, pifpaf"),
        ("eval run --data x --name market1501", "--name of partreid eval is --dataset now"),
        ("eval run --data x --no-ledger", "keeps no ledger unless --ledger FILE names one"),
        ("calibrate run --data x --share=0.3", "--share of partreid calibrate is --fit-fraction"),
        ("compare a b --run r", "the run comes first, as in partreid compare RUN A B"),
        ("labels check --data x --name y", "--name of partreid labels check is --dataset now"),
        ("demo extra", "partreid demo takes no names and there were 1; 'extra' is left over"),
        ("claims --papers", "--papers needs a value"),
        ("claims --seeds", "--seeds needs a value"),
        ("claims --seeds a", "--seeds must be a whole number, got 'a'"),
    ],
)
def test_a_mistake_is_a_sentence_with_the_way_out(words: str, message: str) -> None:
    with pytest.raises(CycloptsError) as caught:
        app.parse_args(shlex.split(words), exit_on_error=False, print_error=False)
    line = sentence(caught.value, app)
    assert message in line and "Tokens" not in line and "unable to convert" not in line
    command = " ".join(caught.value.command_chain or ())
    assert line.endswith(f"; see: {' '.join(filter(None, ('partreid', command)))} --help")


def test_names_that_begin_with_a_dash_are_taken_behind_two_dashes() -> None:
    _, bound, _ = app.parse_args(
        ["compare", "--prior", "0.1", "--", "run", "-a.png", "--b.png"], exit_on_error=False
    )
    assert [str(path) for path in bound.args] == ["run", "-a.png", "--b.png"]
