"""The app: run a command, and turn every error into one line and an exit code."""

import errno
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cyclopts import App, CycloptsError

from plait import __version__
from plait.cli.mistakes import explain_mistake
from plait.errors import InputError
from plait.launch import is_first, process_count
from plait.terminal import printable, show, tolerate_encodings

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130

app = App(
    name="plait",
    help="Learn on sequences, on graphs, and on sequences over graphs.",
    version=__version__,
    version_flags=["--version"],
    help_flags=["--help", "-h"],
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # its message says where the work is saved
)

# those that ask every task for its options are imported when they are given
app.command(
    "plait.cli.training:train",
    name="train",
    help="Train a model on a task and save everything in a run folder.",
)
app.command(
    "plait.cli.comparing:compare",
    name="compare",
    help="Train with several options and seeds, and compare the scores.",
)
app.command(
    "plait.cli.results:score",
    name="score",
    help="Score a trained model on its test set or on data that it has not seen, and its "
    "baselines.\n\nExample: plait score runs/text-presidents --data other.txt",
)
app.command(
    "plait.cli.results:predict",
    name="predict",
    help="Write what a trained model predicts to a file.\n\nExample: plait predict runs/speeds "
    "--data recent.csv --out forecast.csv",
)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0 done, 2 bad input, 130 interrupted with the work saved."""
    tolerate_encodings(sys.stdout, sys.stderr)
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code; an error of the user's is printed as one line."""
    from plait.cli.flags import with_values

    try:
        arguments = with_values(arguments)
        if process_count() > 1 and arguments[:1] not in (["train"], ["resume"]):
            raise InputError(
                "torchrun is for plait train and plait resume; start other commands without it"
            )
        with _show_news():
            app(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return DONE
    except CycloptsError as error:
        return _complain(explain_mistake(app, error, arguments))
    except InputError as error:
        return _complain(str(error))
    except KeyboardInterrupt as error:
        if _speaks():
            show(f"plait: {str(error) or 'interrupted'}", sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush
        return DONE
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        fix = "; free some, then continue with plait resume" if error.errno == errno.ENOSPC else ""
        return _complain(f"{place}{error.strerror or error}{fix}")
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        return _complain("not enough memory for these sizes; make them smaller")


def _complain(message: str) -> int:
    if _speaks():
        print(f"plait: {printable(' '.join(message.split()))}", file=sys.stderr)
    return BAD_INPUT


def _speaks() -> bool:
    """Return whether this process is the one, of several that train together, that says why."""
    if process_count() == 1:
        return True
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun ends all of them: the reason first
    from plait.training.ranks import is_first_to_fail

    return is_first_to_fail()


@contextmanager
def _show_news() -> Iterator[None]:
    """Show what is logged: notes on data, and on a terminal messages about slow work."""
    from plait.news import messages_to

    level = logging.INFO if sys.stderr.isatty() else logging.WARNING
    level = level if is_first() else logging.CRITICAL
    with messages_to(lambda text: show(f"plait: {text}", sys.stderr), level):
        yield
