"""The command line, one file a verb; each is imported when it is called."""

from importlib import import_module
from typing import Any

import click

from .. import __version__
from ..errors import ZooError

#: Verb, and the line that ``zoo --help`` shows for it.
VERBS = {
    "list": "List the networks of the zoo.",
    "info": "Show a network's card, and its blocks.",
    "add": "Put a network on your shelf.",
    "remove": "Remove a network from your shelf.",
    "finetune": "Fine-tune a network on your data.",
    "run": "Run a recipe.",
    "recipe": "List, show, write and describe recipes.",
    "resume": "Go on with a run that was interrupted.",
    "verify": "Do a run again, and compare bit by bit.",
    "diff": "Compare two runs, side by side.",
    "evaluate": "Measure a run's result on data.",
    "predict": "Say what new examples are.",
    "cache": "List, check and remove kept features.",
    "inspect": "See where a network's signals vanish, explode or die.",
}


INTERRUPTED = 130
_DEBUG = "zoo.debug"


class Verbs(click.Group):
    """A group whose commands are imported when they are called, so that none pays for another's imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order in which they are used."""
        return [*VERBS]  # not list(): once `zoo list` ran, `list` is its module here

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports a verb's file."""
        if cmd_name not in VERBS:
            return None
        command = import_module(f".{cmd_name}", __name__).command
        for each in (command, *getattr(command, "commands", {}).values()):
            if not any(param.name == "debug" for param in each.params):
                each.params.append(_debug_of_a_verb())
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggests a verb for one that is not."""
        from difflib import get_close_matches

        near = get_close_matches(args[0], VERBS, n=1)
        if args[0] not in VERBS and near:
            ctx.fail(f"There is no command '{args[0]}'. Did you mean '{near[0]}'?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs with their lines, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([*VERBS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a verb; an error that zoo explains is one paragraph and exit code 1, an interrupt is exit code 130."""
        try:
            return super().invoke(ctx)
        except ZooError as error:
            if ctx.params.get("debug") or _DEBUG in ctx.meta:
                raise
            raise Explained(str(error)) from None
        except KeyboardInterrupt:
            click.echo("\ninterrupted", err=True)
            ctx.exit(INTERRUPTED)


class Explained(click.ClickException):
    """An error on the command line, without a traceback."""

    exit_code = 1


def _debug_of_a_verb() -> click.Option:
    """``--debug`` after the verb too: that is where one adds it to a command that failed."""

    def remember(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value:
            ctx.meta[_DEBUG] = True

    text = "Show the traceback of an error."
    return click.Option(["--debug"], is_flag=True, expose_value=False, callback=remember, help=text)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="zoo")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def zoo(debug: bool) -> None:
    """Transfer learning and a model zoo on Keras 3.

    zoo takes a network that somebody already trained, keeps the layers that are still useful, and trains the rest on
    your data. Start with: zoo finetune glyphs digits --out runs/first
    """


def main() -> None:
    """The entry point of the command ``zoo``."""
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    zoo(prog_name="zoo")
