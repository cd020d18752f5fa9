"""Commands about the commands: `help`, `--install-completion`."""

from plait.cli.entry import app
from plait.cli.mistakes import no_command
from plait.errors import InputError


@app.command(name="help")
def help_on(*command: str) -> None:
    """Show the help of a command.

    Example: plait help train text

    Parameters
    ----------
    command : str
        The command's words. Default: all commands.
    """
    chain, _, unknown = app.parse_commands(command)
    if unknown:
        raise InputError(no_command(app, list(chain), unknown[0]))
    app.help_print(list(command))


app.register_install_completion_command(
    help="Let the shell (bash, zsh or fish) complete commands and options."
)
