"""``zoo info``: a network's card, and its blocks."""

from typing import Any

import click

from .. import registry
from ..card import Card
from ..errors import PlanError
from .list import parameters_of, row_of


@click.command("info")
@click.argument("model")
@click.option(
    "--blocks", is_flag=True, help="Print the blocks as a plan that freezes all below the top (builds the network)."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(model: str, blocks: bool, as_json: bool) -> None:
    """Show a network's card: what it takes, where it comes from, what it measured, how it is divided.

    MODEL is a name that `zoo list` shows, or a path: a run folder, a .keras file, safetensors with a card.
    """
    card = registry.find(model)
    plan = _plan(card) if blocks else None
    if as_json:
        import json

        data: dict[str, Any] = {**row_of(card), "parameters": parameters_of(card), **_facts(card)}
        data |= {"results": card.results, "labels": list(card.labels)}
        if plan is not None:
            data["blocks"] = [_row(row) for row in plan.rows]
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
    if plan is not None:
        click.echo(f"\n{plan}")
        click.echo("'crosses above' is what a frozen trunk gives an example, if it ends with that block")
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


def _row(row: Any) -> dict[str, Any]:
    block = row.block
    crossings = [{"layer": c.layer, "shape": list(c.shape), "bytes": c.bytes} for c in row.crossings]
    return {
        "name": block.name,
        "layers": list(block.layers),
        "parameters": block.parameters,
        "output": list(block.output_shape),
        "rate": row.rate,
        "batch_norm": row.batch_norm,
        "crosses_above": crossings,
    }


def _plan(card: Card) -> Any:
    """The plan that a first look asks for: everything below the top frozen; a network of one block learns whole."""
    from .starting import quietly

    with quietly():
        from ..block import blocks, top_block
        from ..network import build, load
        from ..plan import freeze

    if card.weights is not None:
        model = load(card)
    else:
        from dataclasses import replace

        from ..input_form import InputForm

        example = InputForm("image", (28, 28, 1))
        click.echo("for images of 28x28x1 and 10 classes:", err=True)
        model = build(replace(card, input=example), seed=0, outputs=10)
    top = top_block(blocks(model, card.blocks))
    try:
        return freeze(model, train=[top], blocks_of=card.blocks)
    except PlanError:  # a top without weights, or of batch normalization alone
        return freeze(model, batch_norm="fixed_statistics", blocks_of=card.blocks)
