"""The help of every command: usage, examples as they are typed, options in groups with their defaults."""

from __future__ import annotations

import inspect
import io
import re
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import typer
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from adaptertune_deploy.cli.terminal import console, engine_settings, interrupts
from adaptertune_deploy.cli.terminal.errors import UsageProblem, sourced
from adaptertune_deploy.core.errors import UsageError, did_you_mean

WIDEST = 100
NARROW = 60  # below: the explanation goes under its option


class Command(TyperCommand):
    """A command with this program's help, and with a line to say when it is interrupted."""

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override, unused-ignore]
        """Write the help."""
        formatter.write(render(self, ctx))

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override, unused-ignore]
        """Read the command line; every problem knows whose it is."""
        try:
            return super().parse_args(ctx, args)
        except UsageProblem as problem:
            problem.ctx = problem.ctx or ctx  # type: ignore[attr-defined]
            raise

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override, unused-ignore]
        """Run the command; work that writes says itself what an interrupt left."""
        with interrupts.stoppable(lambda: "nothing was written"):
            try:
                return super().invoke(ctx)
            except UsageError as error:
                raise UsageError(sourced(str(error), ctx)) from None


class Program(TyperGroup):
    """The program with this program's help."""

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override, unused-ignore]
        """Write the help."""
        formatter.write(render(self, ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the first word names.

        Raises:
            UsageError: there is none.
        """
        name = args[0]
        if name not in self.commands and not name.startswith("-") and not ctx.resilient_parsing:
            near = did_you_mean(name, self.commands)
            there = f"no command '{name}', only {', '.join(_ordered(self.commands))}"
            raise UsageError(f"{there}.{near} See: {ctx.command_path} --help")
        return super().resolve_command(ctx, args)


def render(command: Any, ctx: Any) -> str:
    """Return a command's help, in colour for a terminal."""
    width = min(shutil.get_terminal_size().columns, WIDEST)
    page = io.StringIO()
    screen = Console(file=page, width=width, highlight=False, force_terminal=console.out.is_terminal)
    for part in _parts(command, ctx, width):
        screen.print(part)
        screen.print()
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def _parts(command: Any, ctx: Any, width: int) -> Iterator[RenderableType]:
    shown = [param for param in command.get_params(ctx) if not getattr(param, "hidden", False)]
    yield Text.assemble(("Usage: ", "bold"), _usage(command, ctx, shown))
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    yield from (Text(" ".join(paragraph.split())) for paragraph in paragraphs if not paragraph.startswith("\b"))
    panels: dict[str, list[tuple[Text, Text]]] = {}
    commands = getattr(command, "commands", {})
    if commands:
        panels["Commands"] = [(Text(name, "cyan"), _summary(commands[name])) for name in _ordered(commands)]
    last = "Options" if commands else "Output"
    for param in shown:
        usual = "Arguments" if param.param_type_name == "argument" else last
        panels.setdefault(getattr(param, "rich_help_panel", None) or usual, []).append((_name(param), _meaning(param)))
        if engine_settings.SETTING in param.opts:
            panels["Engines"] = [*_engines()]
    widest = max(name.cell_len for rows in panels.values() for name, _ in rows)
    for title, rows in sorted(panels.items(), key=lambda item: item[0] == last):
        yield _rows(title, rows, widest, width)
    for paragraph in paragraphs:
        if paragraph.startswith("\b"):  # last, where a terminal still shows them after a long page
            typed = _as_typed(paragraph.strip("\b\n").splitlines(), width - 2)
            yield Group(Text("Examples", style="bold"), Padding(typed, (0, 0, 0, 2)))


def _ordered(commands: Mapping[str, Any]) -> list[str]:
    """Return the names of commands as they were declared, then those of groups, which typer puts first."""
    return sorted(commands, key=lambda name: hasattr(commands[name], "commands"))


def _usage(command: Any, ctx: Any, params: list[Any]) -> str:
    words = [ctx.command_path]
    words += [f"{param.opts[0]} {param.metavar}" for param in params if param.required and _is_option(param)]
    words.append("[OPTIONS]")
    words += [f"{param.metavar}..." if param.nargs != 1 else param.metavar for param in params if not _is_option(param)]
    if getattr(command, "commands", {}):
        words.append("COMMAND")
    return " ".join(words)


def _is_option(param: Any) -> bool:
    return bool(param.param_type_name == "option")


def _as_typed(lines: list[str], width: int) -> Group:
    """Return example lines; where one does not fit, what it says after the command goes onto a line of its own."""
    narrow = any(len(line) > width for line in lines)
    shown: list[RenderableType] = []
    for line in lines:
        typed, gap, remark = re.split(r"(\s{2,}|$)", line.strip(), maxsplit=1)
        if narrow:
            shown += [Text(typed, "cyan"), *([Padding(Text(remark, "dim"), (0, 0, 0, 4))] if remark else [])]
        else:
            shown.append(Text.assemble((typed, "cyan"), gap, (remark, "dim")))
    return Group(*shown)


def _summary(command: Any) -> Text:
    first = inspect.cleandoc(command.help or "").split("\n\n")[0]
    return Text(" ".join(first.split()).partition(":")[0].partition(";")[0].rstrip("."))


def _name(param: Any) -> Text:
    if not _is_option(param):
        return Text(param.metavar, "cyan")
    names = Text("/".join([*param.opts, *param.secondary_opts]), "cyan")
    return names if param.is_flag else names.append(f" {param.metavar}", style="yellow")


def _meaning(param: Any) -> Text:
    text = Text(" ".join((param.help or "").split()))
    if param.required:
        text.append("  [required]", style="red")
    shown = param.show_default
    default = shown if isinstance(shown, str) else param.default if shown else None
    if default is not None and (isinstance(shown, str) or not getattr(param, "is_flag", False)):
        text.append(f"  [default: {default}]", style="dim")
    if isinstance(getattr(param, "envvar", None), str):
        text.append(f" [${param.envvar}]", style="dim")
    return text


def _engines() -> Iterator[tuple[Text, Text]]:
    """Yield what each engine is, and under it the settings that it has of its own."""
    for name, meaning, settings in engine_settings.describe():
        yield Text(name, "cyan"), Text(meaning)
        for held in settings:
            about = Text(" ".join([held.meaning, *([f"One of {held.values}."] if held.choices else [])]))
            about.append(f"  [default: {str(held.default).lower()}]", style="dim")
            yield Text.assemble(("  -E ", "cyan"), (f"{held.name}={held.metavar}", "yellow")), about


def _rows(title: str, rows: list[tuple[Text, Text]], widest: int, width: int) -> Group:
    heading = Text(title, style="bold")
    if width < NARROW:
        return Group(heading, *(Group(name, Padding(meaning, (0, 0, 0, 4))) for name, meaning in rows))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, min_width=widest)
    grid.add_column()
    for name, meaning in rows:
        grid.add_row(name, meaning)
    return Group(heading, Padding(grid, (0, 0, 0, 2)))
