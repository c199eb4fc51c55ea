"""The ``fabric`` command: one file per subcommand in ``dashboards.commands``, listed here.

Exit status: 0 healthy or information only, 1 a finding of warning or above, 2 it could not be done
(one line says why), 130 interrupted. Only the standard library and typer are loaded before a command
runs; everything heavy is imported inside the command that needs it.
"""

import io
import os
import signal
import sys
from importlib import import_module, metadata
from types import FrameType
from typing import Annotated, NoReturn

import typer

OURS = "roce-fabric"
COMMANDS = (
    "analyze", "audit", "collect", "dashboard", "demo", "explain", "packets", "replay", "score",
    "simulate", "topology", "warm",
)  # fmt: skip
INTERRUPTED = 130
FAILED = 2


def foreign() -> str:
    """Why this environment cannot be used, or nothing.

    ``fabric`` is also the name of a well-known library for remote commands over SSH, whose package
    bears the same name as ours: one of the two would hide the other.
    """
    try:
        other = metadata.distribution("fabric")
    except metadata.PackageNotFoundError:
        return ""
    return (
        f"another distribution named fabric ({other.version}) is installed in this environment "
        f"and its package has the same name; install {OURS} in an environment of its own"
    )


def main() -> NoReturn:
    """Entry point of the ``fabric`` script; never returns."""
    signal.signal(signal.SIGTERM, _terminated)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # JSON is UTF-8; a terminal shows what it can
            wanted = "utf-8" if "--json" in sys.argv else None
            stream.reconfigure(encoding=wanted, errors="replace")
    if reason := foreign():
        _say(reason)
        sys.exit(FAILED)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; the exit status. Failures become one line on standard error."""
    try:
        chosen = next((word for word in arguments if not word.startswith("-")), "")
        status = _app(chosen)(args=arguments, prog_name="fabric", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone: nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # A wrong command line. Some versions of typer bring a click of their own, so that no class
        # of exceptions is common to all of them; how they are shown is.
        if show := getattr(error, "show", None):
            show()
            return FAILED
        if os.environ.get("FABRIC_DEBUG"):
            raise
        _say(_one_line(error))
        return FAILED
    return status if isinstance(status, int) else 0


def _one_line(error: Exception) -> str:
    """What is wrong; an error that no user can cause says how to learn more."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError | ValueError | ImportError):
        return text or type(error).__name__
    return f"internal error, {type(error).__name__}: {text} (FABRIC_DEBUG=1 shows where)"


def _say(text: str) -> None:
    sys.stderr.write(f"fabric: {text}\n")


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _app(chosen: str = "") -> typer.Typer:
    """The command ``chosen``, where there is one of this name, else all of them.

    Each is a function, or a group ``app``, in a module of its own name: what is not asked for is
    not loaded.
    """
    app = typer.Typer(
        add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
        rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]},
        help="Find the cause when a lossless RoCE fabric slows down.",
    )  # fmt: skip
    app.callback()(_top)
    for name in (chosen,) if chosen in COMMANDS else COMMANDS:
        module = import_module(f"dashboards.commands.{name}")
        if group := getattr(module, "app", None):
            app.add_typer(group, name=name)
        else:
            app.command()(getattr(module, name))
    return app


def _version(wanted: bool) -> None:
    if wanted:
        from fabric import __version__

        typer.echo(f"fabric {__version__}")
        raise typer.Exit


def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Find the cause when a lossless RoCE fabric slows down."""


if __name__ == "__main__":
    main()
