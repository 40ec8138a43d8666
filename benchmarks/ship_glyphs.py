"""From the run that trained glyphs to the network that is shipped: weights in safetensors, and their card.

``make glyphs`` trains it again (zoo/recipes/glyphs.toml) and calls this with ``--check``: the shipped file is compared
with the run's, byte by byte, and not replaced.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

SHELF = Path(__file__).parents[1] / "models" / "shelf"
NAME = "glyphs.v1"


def main() -> None:
    """Writes ``glyphs.v1.safetensors`` and ``glyphs.v1.toml``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run folder that the recipe gave")
    parser.add_argument("--check", action="store_true", help="compare, and replace nothing")
    options = parser.parse_args()

    from zoo.commands.starting import quietly

    with quietly():
        from zoo.formats.safetensors import save_weights
        from zoo.run import Run
        from zoo.sources.path import digest_of

    run = Run(options.run)
    if options.check:
        with tempfile.TemporaryDirectory() as aside:
            fresh = Path(aside) / "weights.safetensors"
            save_weights(run.model, fresh)
            same = digest_of(fresh) == digest_of(SHELF / f"{NAME}.safetensors")
        if not same:
            sys.exit(
                "The run's weights are not the shipped ones: other threads, processor or versions change the last bits."
            )
        print("the run's weights are the shipped ones, byte for byte")
        return
    save_weights(run.model, SHELF / f"{NAME}.safetensors")
    (SHELF / f"{NAME}.toml").write_text(_card(run), encoding="utf-8")
    print(f"{NAME}: {(SHELF / f'{NAME}.safetensors').stat().st_size:,} bytes")


def _card(run) -> str:  # type: ignore[no-untyped-def]
    from zoo.card import BlockPattern, Card, WeightsFile, card_text
    from zoo.sources.path import digest_of

    file = SHELF / f"{NAME}.safetensors"
    test = run.metrics["test"]
    card = Card(
        name="glyphs",
        tag="v1",
        builder="convnet",
        task="classification",
        summary="printed characters in random hands, 62 classes, 8x8 grey: for handwriting and other small glyphs",
        license="Apache-2.0",
        source="trained by the recipe `glyphs` (zoo finetune --recipe glyphs) on the built-in data `characters`",
        input=run.card.input,
        decoder=run.card.decoder,
        cut="features",
        args=run.recipe.model.args,
        weights=WeightsFile(file.name, digest_of(file), file.stat().st_size),
        blocks=(
            BlockPattern("block1", "block1_.*"),
            BlockPattern("block2", "block2_.*"),
            BlockPattern("block3", "block3_.*|features"),
        ),
        labels=run.card.labels,
        results={
            "characters": {
                "how": "its own test side: rendered characters that it was not trained on",
                "examples": test["examples"],
                "accuracy": round(test["accuracy"], 4),
            }
        },
    )
    return card_text(replace(card, folder=None))


if __name__ == "__main__":
    main()
