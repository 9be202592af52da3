"""What was wrong with the words of a command, as a sentence that says what the command takes."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError
from cyclopts.exceptions import (
    ArgumentOrderError,
    CoercionError,
    ConsumeMultipleError,
    MissingArgumentError,
    MixedArgumentError,
    RepeatArgumentError,
    UnknownOptionError,
    UnusedCliTokensError,
    ValidationError,
)

_KINDS = {int: "a whole number", float: "a number", Path: "a path", str: "a word"}
_RENAMED = {  # options of earlier versions, and what is written instead
    **{
        (command, "--name"): "is --dataset now"
        for command in (
            "eval",
            "calibrate",
            "labels import",
            "labels check",
            "labels stats",
            "labels preview",
            "labels cache",
            "labels quality",
        )
    },
    ("recipes", "--data-set"): "is --dataset now",
    (
        "eval",
        "--no-ledger",
    ): "is needed no more: eval keeps no ledger unless --ledger FILE names one",
    ("calibrate", "--share"): "is --fit-fraction now",
    ("compare", "--run"): "is no option now: the run comes first, as in partreid compare RUN A B",
}
_NUMBERS = ("no names", "one name", "two names", "three names", "four names")


def sentence(error: CycloptsError, app: App) -> str:
    """One line: what was expected, what came, what to write instead."""
    chain = tuple(error.command_chain or ())
    command = " ".join(("partreid", *chain))
    words = _renamed(error, command, chain) or _mistake(error, command, _function(app, chain))
    words = words.removesuffix(".").removesuffix("?").replace(", ..", ", ...")
    return f"{words}; see: {command} --help"


def _renamed(error: CycloptsError, command: str, chain: tuple[str, ...]) -> str | None:
    """What became of the first option that an earlier version knew, if one was given."""
    for token in error.root_input_tokens or ():
        option = token.partition("=")[0]
        if (new := _RENAMED.get((" ".join(chain), option))) is not None:
            return f"{option} of {command} {new}"
    return None


def _function(app: App, chain: tuple[str, ...]) -> Callable[..., object] | None:
    for word in chain:
        app = app[word]
    return app.default_command


def _mistake(error: CycloptsError, command: str, function: Callable[..., object] | None) -> str:
    name = _named(error)
    if isinstance(error, UnusedCliTokensError) and function is not None:
        return _too_many(command, function, list(error.unused_tokens or ()))
    if isinstance(error, UnknownOptionError):
        return _unknown(error, command)
    if isinstance(error, ConsumeMultipleError):
        return f"{name} needs a value, or several with spaces between, got {error.actual_count}"
    if isinstance(error, MissingArgumentError):
        return _missing(error, command, name, function)
    if isinstance(error, ArgumentOrderError):
        return (
            f"'{error.token}' has no place, since what stands before it was given by name; give "
            f"all of them by place or all by name: {_usage(command, function)}"
        )
    if isinstance(error, MixedArgumentError):
        return f"{name} was given by place and by name; give it once"
    if isinstance(error, RepeatArgumentError):
        return f"{error.token.keyword} was given twice; give it once"
    if isinstance(error, CoercionError) and error.token is not None:
        return _unlike(error, name, error.token.value)
    if isinstance(error, ValidationError) and error.argument is not None:
        given = error.argument.tokens[-1].value if error.argument.tokens else error.value
        return f"{name} {error.exception_message.rstrip('.')}, got '{given}'"
    return str(error)


def _named(error: CycloptsError) -> str:
    """The parameter at fault as it was or would be written: --top, GALLERY."""
    if error.argument is None:
        return "it"
    given = next(
        (token.keyword for token in reversed(error.argument.tokens) if token.keyword), None
    )
    keyword_only = error.argument.field_info.kind is inspect.Parameter.KEYWORD_ONLY
    return given or (
        error.argument.name if keyword_only else error.argument.name.lstrip("-").upper()
    )


def _too_many(command: str, function: Callable[..., object], left: list[str]) -> str:
    places, options = _places(function), _options(function)
    rest = ", ".join(f"'{word}'" for word in left)
    takes = _NUMBERS[len(places)] if len(places) < len(_NUMBERS) else f"{len(places)} names"
    order = f", {' and '.join(places) if len(places) < 3 else ', '.join(places)}," if places else ""
    return (
        f"{command} takes {takes}{order} and there were {len(places) + len(left)}; {rest} "
        f"{'is' if len(left) == 1 else 'are'} left over"
        + (f". All else is told by options: {', '.join(options)}" if options else "")
    )


def _unknown(error: UnknownOptionError, command: str) -> str:
    given = error.token.keyword or error.token.value
    near = re.search(r"Did you mean ([^?]+)\?", str(error))
    if near is not None:
        return f"unknown option {given} of {command}; did you mean {near[1]}?"
    looks = Path(given).suffix or "/" in given or Path(given).exists()
    about = (
        f"'{given}' begins with a dash and is read as an option, which {command} does not know"
        if looks
        else f"unknown option {given} of {command}"
    )
    return (
        f"{about}. If it is a name, write ./{given}, or put -- before the names, after all options"
    )


def _missing(
    error: MissingArgumentError, command: str, name: str, function: Callable[..., object] | None
) -> str:
    assert error.argument is not None
    count, _ = error.argument.token_count()
    given = error.keyword or next(
        (n for n in error.argument.names if n in (error.unused_tokens or ())), None
    )
    if given is not None and count > 1:
        return (
            f"{given} takes {count} values with a space between, got "
            f"{len(error.tokens_so_far) % count}"
        )
    if given is not None:
        return (
            f"{given} needs a value after it; one that begins with a dash stands behind an equals "
            f"sign, as in {given}=-x"
        )
    return f"{command} needs {name}{_about(function, error.argument.field_info.name)}"


def _about(function: Callable[..., object] | None, parameter: str) -> str:
    """What a parameter is: the first clause of its help."""
    match = re.search(
        rf"^ +{parameter}: (.+)$", (function.__doc__ if function else None) or "", re.M
    )
    return f" ({re.split(r'[.;:] |[.;:,]$', match[1])[0]})" if match else ""


def _unlike(error: CoercionError, name: str, given: str) -> str:
    kind: Any = error.target_type
    if kind is bool:
        return (
            f"{name} is a switch and takes no value, got '{given}'; write {name} alone, or leave "
            "it out"
        )
    if kind in _KINDS:
        return f"{name} must be {_KINDS[kind]}, got '{given}'"
    text = str(error)
    choices = text.partition("Choose from: ")[2].replace('"', "")
    return f"{name} must be one of {choices.rstrip('.')}, got '{given}'" if choices else text


def _places(function: Callable[..., object]) -> list[str]:
    return [
        p.name.rstrip("_").upper()
        for p in inspect.signature(function).parameters.values()
        if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]


def _options(function: Callable[..., object]) -> list[str]:
    return [
        "--" + p.name.strip("_").replace("_", "-")
        for p in inspect.signature(function).parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    ]


def _usage(command: str, function: Callable[..., object] | None) -> str:
    return " ".join((command, *(_places(function) if function is not None else ())))
