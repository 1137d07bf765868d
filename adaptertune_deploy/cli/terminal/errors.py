"""What typer finds wrong with a command line, said in one line and in this program's words."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

import typer

from adaptertune_deploy.core.errors import did_you_mean

# Some releases of typer use click, others carry a copy of it; both derive BadParameter from UsageError.
UsageProblem: type[Exception] = typer.BadParameter.__mro__[1]


def explain(problem: Any, words: Sequence[str]) -> str:
    """Return one line: what was found, what was expected, what to do.

    Args:
        problem: a UsageProblem.
        words: the command line after the program's name.
    """
    context = problem.ctx
    command = context.command_path if context is not None else "atd"
    params = context.command.params if context is not None else []
    kind = type(problem).__name__
    if kind == "NoSuchOption":
        names = [name for param in params for name in (*param.opts, *param.secondary_opts) if name.startswith("-")]
        near = did_you_mean(problem.option_name, names)
        return f"{command} has no option {problem.option_name}.{near} See: {command} --help"
    if kind == "MissingParameter":
        return f"{command} needs {_called(problem.param)}: {_help(problem.param)}"
    if kind == "BadOptionUsage":
        param = next((param for param in params if problem.option_name in param.opts), None)
        if param is None or param.is_flag:
            return f"{problem.option_name} takes no value; see: {command} --help"
        return f"{problem.option_name} needs a value: {_help(param)}"
    if kind == "BadParameter" and problem.param is not None:
        unreadable = re.search(r"'(.*)' is not readable", problem.message)
        if unreadable is not None:
            option = f"{problem.param.opts[0]} " if problem.param.param_type_name == "option" else ""
            return f"{option}{unreadable[1]}: not readable; change its permissions, or name another one"
        if _from_environment(problem.param, context):
            return _in_environment(problem.param, f"expected {_expected(problem.message)}")
        name = problem.param.opts[0]
        return f"{name} {_given(problem.param, words)}: expected {_expected(problem.message)}"
    extra = re.search(r"extra arguments?(?:\(s\))? \((.*)\)", problem.message)
    if extra is not None:
        return f"{command} can't use {extra[1]}; see: {command} --help"
    return f"{problem.message.rstrip('.')}; see: {command} --help"


def sourced(message: str, context: Any) -> str:
    """Return a message about an option's value as one about the environment variable that the value came from.

    Args:
        message: as a UsageError says it, beginning with the option.
        context: of the command; anything else than an option that a variable set leaves the message as it is.
    """
    for param in context.command.params:
        if message.startswith(f"{param.opts[0]} ") and _from_environment(param, context):
            return _in_environment(param, message.partition(": ")[2])
    return message


def _from_environment(param: Any, context: Any) -> bool:
    source = context.get_parameter_source(param.name) if context is not None else None
    return source is not None and source.name == "ENVIRONMENT"


def _in_environment(param: Any, expected: str) -> str:
    advice = " Set it otherwise or unset it" if expected.endswith("?") else "; set it otherwise or unset it"
    return f"{param.envvar}={os.environ[param.envvar]:.60}: {expected}{advice}"


def _called(param: Any) -> str:
    return str(param.opts[0]) if param.param_type_name == "option" else str(param.metavar or param.name.upper())


def _help(param: Any) -> str:
    text = (param.help or "").rstrip(".")
    return text[:1].lower() + text[1:2] + text[2:] if text[1:2].islower() else text


def _given(param: Any, words: Sequence[str]) -> str:
    """Return the value that an option was given last."""
    value = ""
    for place, word in enumerate(words):
        name, equals, rest = word.partition("=")
        if name in param.opts:
            value = rest if equals else " ".join(words[place + 1 : place + 2])
    return value


def _expected(message: str) -> str:
    if re.search(r"\bint(eger)?\b", message):
        return "a whole number"
    if "number" in message or "float" in message:
        return "a number"
    if "boolean" in message:
        return "1 or 0"
    return message
