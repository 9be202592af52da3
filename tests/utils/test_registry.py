"""Tables of names: loaded when asked for, nothing replaced without a word, plug-ins by entry
point.
"""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from partreid.errors import RecipeError
from partreid.utils.registry import Registry


def offered(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    entries = [EntryPoint(name, value, "example.numbers") for name, value in points.items()]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries)


def test_what_packages_offer_is_looked_for_once_and_loaded_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offered(monkeypatch, tau="math:tau", lost="math:lost")
    numbers: Registry[float] = Registry("number", "example.numbers", {"pi": "math:pi"})
    assert sorted(numbers) == ["lost", "pi", "tau"] and numbers["tau"] == 2 * numbers["pi"]
    with pytest.raises(RecipeError, match="the number 'lost' of the installed package math cannot"):
        numbers["lost"]


def test_a_taken_name_is_told_each_time_and_nothing_of_it_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offered(monkeypatch, e="math:e", pi="math:tau")
    numbers: Registry[float] = Registry("number", "example.numbers", {"pi": "math:pi"})
    for _ in range(2):
        with pytest.raises(RecipeError, match="brings a number 'pi', a name that is taken"):
            list(numbers)
    assert numbers["pi"] < 4
    with pytest.raises(RecipeError, match="brings a number 'pi'"):
        numbers["e"]


def test_start_up_does_not_look_for_packages() -> None:
    code = "import sys; import partreid.methods; sys.exit('importlib.metadata' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
