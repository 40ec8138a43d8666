"""``zoo info``: a network's card, and its blocks."""

from typing import Any

import click

from .. import registry
from ..card import Card
from .list import parameters_of, row_of


@click.command("info")
@click.argument("model")
@click.option("--blocks", is_flag=True, help="Print the blocks, bottom to top (builds the network).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(model: str, blocks: bool, as_json: bool) -> None:
    """Show a network's card: what it takes, where it comes from, what it measured, how it is divided.

    MODEL is a name that `zoo list` shows, or a path: a run folder, a .keras file, safetensors with a card.
    """
    card = registry.find(model)
    found = _blocks(card) if blocks else None
    if as_json:
        import json

        data: dict[str, Any] = {**row_of(card), "parameters": parameters_of(card), **_facts(card)}
        data |= {"results": card.results, "labels": list(card.labels)}
        if found is not None:
            data["blocks"] = [
                {"name": b.name, "layers": list(b.layers), "parameters": b.parameters, "output": list(b.output_shape)}
                for b in found
            ]
        click.echo(json.dumps(data, ensure_ascii=False, indent=1))
        return
    facts = {**row_of(card), "parameters": parameters_of(card), **_facts(card)}
    del facts["bytes"], facts["summary"]
    click.echo(f"{card.full_name}: {card.summary}")
    for key, value in facts.items():
        if value not in (None, "", []):
            click.echo(f"  {key + ':':<12} {f'{value:,}' if isinstance(value, int) else value}")
    for name, figures in card.results.items():
        click.echo(f"  {name}: {_flat(figures)}")
    if found is not None:
        click.echo(f"\n{found}")
    flags = " --from-scratch" if card.weights is None else ""
    click.echo(f"\nfine-tune it: zoo finetune {model} DATA --out runs/NAME{flags}")


def _facts(card: Card) -> dict[str, Any]:
    return {
        "takes": _takes(card),
        "outputs": len(card.labels) or None,
        "cut": card.cut,
        "blocks": ", ".join(b.name for b in card.blocks) or None,
        "licence": card.license,
        "source": card.source,
        "digest": card.weights.sha256 if card.weights else None,
    }


def _takes(card: Card) -> str | None:
    form = card.input
    if form is None:
        return None
    how = f", 0 to 255, {form.resample}, {form.fit}" if form.kind == "image" else ""
    return f"{form.kind} {form.shape}{how}"


def _flat(figures: Any) -> str:
    if not isinstance(figures, dict):
        return str(figures)
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in figures.items()
    )


def _blocks(card: Card) -> Any:
    from .starting import quietly

    with quietly():
        from ..block import blocks
        from ..network import build, load

    if card.weights is not None:
        return blocks(load(card), card.blocks)
    from dataclasses import replace

    from ..input_form import InputForm

    example = InputForm("image", (28, 28, 1))
    click.echo("for images of 28x28x1 and 10 classes:", err=True)
    return blocks(build(replace(card, input=example), seed=0, outputs=10))
