"""``zoo cache``: the features of frozen trunks that are kept on the disk."""

import time
from typing import Any

import click

from ..byte_size import size_said
from ..errors import CacheError
from ..registry import zoo_home
from ..text_table import text_table


@click.group("cache")
def command() -> None:
    """List, check and remove the features of frozen trunks that are kept on the disk.

    They are in ZOO_HOME/features. Nothing is lost by removing them but the time to compute them again.
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List what there is, the most recently used first."""
    _print(_cache().entries(), as_json)


@command.command("verify")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(names: tuple[str, ...], as_json: bool) -> None:
    """Read every byte, and name what is damaged; the exit code is then 1.

    A run does that too for what it uses, and computes what is damaged again. NAME may be the beginning of a name.
    """
    cache = _cache()
    chosen = {cache.find(name).name for name in names}
    entries = [entry for entry in cache.entries(verify=True) if not names or entry.name in chosen]
    damaged = [(entry.name, shard) for entry in entries for shard in entry.damaged or ()]
    if as_json:
        _print(entries, as_json)
    else:
        shards = sum(entry.shards for entry in entries)
        click.echo(f"{shards - len(damaged)} of {shards} shards are what was written")
    if damaged:
        what = f"Damaged: {', '.join('/'.join(pair) for pair in damaged)}."
        raise CacheError(what, fix="The next run that needs them computes them again.")


@command.command("remove")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Remove everything.")
def remove(names: tuple[str, ...], everything: bool) -> None:
    """Remove features. NAME may be the beginning of a name."""
    if bool(names) == everything:
        what = "Say which: NAME..., or --all."
        raise click.UsageError(what)
    cache = _cache()
    paths = {cache.root / entry.name for entry in cache.entries()} if everything else {cache.find(n) for n in names}
    freed = cache.remove(sorted(paths))
    click.echo(f"removed the features of {len(paths)} {'trunk' if len(paths) == 1 else 'trunks'}, {size_said(freed)}")


def _cache() -> Any:
    from ..feature_cache import FeatureCache

    return FeatureCache(zoo_home() / "features")


def _print(entries: list[Any], as_json: bool) -> None:
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps([asdict(entry) for entry in entries], ensure_ascii=False, indent=1))
        return
    if not entries:
        click.echo("the cache is empty", err=True)
        return
    cells = [
        (e.name[:12], str(e.about.get("what", "?")), _how(e.about), f"{e.examples:,}", size_said(e.bytes), _day(e.used))
        for e in entries
    ]
    click.echo(text_table(("name", "what", "how", "examples", "size", "used"), cells, right=(3, 4)))


def _how(about: dict[str, Any]) -> str:
    """By which engine, in what, and how it is stored where that is not the same."""
    stored = about.get("dtype", "float32")
    said = [
        about.get("engine"),
        about.get("computes") or about.get("precision"),
        None if stored == "float32" else f"stored {stored}",
    ]
    return " ".join(str(word) for word in said if word) or "?"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
