"""Suggestions for misspelt or misplaced words on the command line."""

import shlex
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from cyclopts import App, CycloptsError, UnknownCommandError, UnknownOptionError
from cyclopts.exceptions import UnusedCliTokensError

MEANT = ("--data", "--prompt", "--vary", "--out")
"""Options whose value is often given without the option, most frequent first."""


def explain_mistake(app: App, error: CycloptsError, arguments: list[str]) -> str:
    """Return one line on what the command line could not parse, with a suggestion."""
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        command, word = list(error.command_chain or ()), error.unused_tokens[0]
        return _one_too_many(app, command, word, arguments)
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        return no_command(app, list(error.command_chain or ()), error.unused_tokens[0])
    if isinstance(error, UnknownOptionError):
        return _no_option(app, list(error.command_chain or ()), error)
    return str(error)


def no_command(app: App, command: list[str], word: str) -> str:
    """Return the message for an unknown command, with a suggestion."""
    here = app
    for name in command:
        here = here[name]
    known = _commands(here)
    begin = " ".join(["plait", *command])
    there_are = f"There are {', '.join(known)}"
    if word.startswith("-"):
        own = [name for name in [*here, *here.version_flags, *here.help_flags] if name[0] == "-"]
        if close := get_close_matches(word, own, n=1):
            return f"Unknown option: {word}. Did you mean {begin} {close[0]}?"
        kind = "TASK" if command else "COMMAND"
        return f"{word} comes before the command: write {begin} {kind} {word} …. {there_are}"
    meant = ""
    from plait.tasks import TASKS

    tasks = () if command else tuple(TASKS)
    if close := get_close_matches(word, [*known, *tasks], n=1):
        meant = f" Did you mean {begin} {'train ' * (close[0] in tasks)}{close[0]}?"
    return f'Unknown command "{word}".{meant} {there_are}'


def _one_too_many(app: App, command: list[str], word: str, arguments: list[str]) -> str:
    """Return the message for an unexpected word; most often its option is missing."""
    flags, at = _flags(app, command), arguments.index(word)
    before = ["", "", *arguments[:at]][-2:]
    if before[1].startswith("--"):
        fix = f"{before[1]} takes no value; leave it out"
    elif before[0].startswith("--"):
        both = shlex.quote(f"{before[1]} {word}")
        fix = f"{before[0]} takes one value; put several words in quotes: {before[0]} {both}"
    elif close := get_close_matches(f"--{word.lstrip('-')}", flags, n=1, cutoff=0.8):
        fix = f"did you mean {close[0]}?"
    elif meant := [flag for flag in MEANT if flag in flags and flag not in arguments]:
        fix = f"did you mean {meant[0]} {shlex.quote(word)}?"
    else:
        fix = "leave it out"
    return f"{' '.join(['plait', *command])} does not expect {word!r} here: {fix}"


def _no_option(app: App, command: list[str], error: UnknownOptionError) -> str:
    """Return the message for an unknown option, with a suggestion."""
    word = error.token.keyword or error.token.value
    word = word.partition("=")[0]
    flags = _flags(app, command)
    wanted = f"--{word.lstrip('-').replace('_', '-')}"
    close = [wanted] if wanted in flags else get_close_matches(wanted, flags, n=1, cutoff=0.7)
    help_ = " ".join(["plait help", *command])
    fix = f"Did you mean {close[0]}?" if close else f"{help_} lists all options"
    return f"Unknown option: {word}. {fix}"


def _flags(app: App, command: list[str]) -> list[str]:
    for name in command:
        app = app[name]
    found: Iterable[Any] = app.assemble_argument_collection()
    return [name for argument in found for name in argument.names if name.startswith("--")]


def _commands(app: App) -> list[str]:
    return [name for name in app if not name.startswith("-")]
