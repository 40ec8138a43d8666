"""``zoo finetune``: the main job."""

from typing import Any

import click

from ..recipe import AUGMENTATIONS, LOSSES, PRECISIONS, TARGETS
from ..recipe_stage import BATCH_NORM, THAWS
from ..schedule_option import SCHEDULES
from ..trunk_options import CACHES, ENGINES, FEATURE_DTYPES, TRUNK_PRECISIONS
from .running import asked, carry_out, outcome, recipe_with
from .values import ByBlock, OneOf, Share, Widths, table_of


def _group(*options: Any) -> Any:
    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_data = _group(
    click.option("--val", type=float, help="Share for validation; of the labelled, with --test rest.  [default: 0.1]"),
    click.option(
        "--test", type=Share(), help="Share for the test, or `rest`: whatever is not labelled.  [default: 0.2]"
    ),
    click.option("--limit-per-class", type=int, metavar="N", help="Use N labels a class, validation included."),
    click.option("--batch-size", type=int, help="Examples a step.  [default: 32]"),
    click.option(
        "--augment",
        type=OneOf(AUGMENTATIONS),
        help="Random changes of the training examples; noise and feature_dropout are for vectors.  [default: none]",
    ),
    click.option(
        "--views",
        type=int,
        metavar="K",
        help="Augment each example K times in all, and train on one of these views an epoch, in turn: their features "
        "are computed once.  [default: 0, other ones in every epoch]",
    ),
    click.option("--class-weights", type=OneOf(("none", "balanced")), help="Weigh rare classes more.  [default: none]"),
    click.option("--target", type=OneOf(TARGETS), help="What is to be predicted.  [default: auto, from the data]"),
    click.option("--label-column", multiple=True, metavar="COLUMN", help="CSV: the target's column; may be repeated."),
    click.option("--path-column", metavar="COLUMN", help="CSV: the column of image paths."),
    click.option("--text-column", metavar="COLUMN", help="CSV: the column of texts."),
    click.option(
        "--feature-column",
        "feature_columns",
        multiple=True,
        metavar="COLUMN",
        help="CSV: a numeric column; may be repeated.",
    ),
    click.option("--skip-bad", is_flag=True, default=None, help="Leave out files that cannot be read, and say so."),
)
_top = _group(
    click.option("--cut", metavar="LAYER", help="Drop everything above this layer.  [default: below the classifier]"),
    click.option(
        "--hidden", type=Widths(), metavar="N[,N]", help="Widths of the new top's hidden layers.  [default: none]"
    ),
    click.option("--activation", help="Their activation.  [default: elu]"),
    click.option(
        "--dropout", type=float, help="Share of their units dropped; without any, of the features.  [default: 0]"
    ),
    click.option("--loss", type=OneOf(LOSSES), help="The loss.  [default: auto, by the target]"),
    click.option("--label-smoothing", type=float, help="Share of each target spread over all classes.  [default: 0]"),
)
_training = _group(
    click.option(
        "--freeze", metavar="BLOCK|all|none", help="The highest block that stays frozen.  [default: the lower half]"
    ),
    click.option("--head-epochs", type=int, help="Epochs of the first stage, the new top alone.  [default: 60]"),
    click.option("--head-learning-rate", type=float, help="Its learning rate.  [default: 0.01]"),
    click.option("--epochs", type=int, help="Epochs of the last stage.  [default: 30; from scratch 60]"),
    click.option("--optimizer", help="Keras's optimizer of the last stage, by name.  [default: adam]"),
    click.option(
        "--learning-rate",
        type=float,
        help="Its learning rate.  [default: 0.0003; from scratch 0.001; of another optimizer, Keras's]",
    ),
    click.option(
        "--schedule",
        type=OneOf(SCHEDULES),
        help="How its rate goes from there on, over the last stage's length.  [default: constant]",
    ),
    click.option("--momentum", type=float, help="Its momentum, where it has one; under one_cycle the highest."),
    click.option("--nesterov", is_flag=True, default=None, help="Nesterov's momentum (sgd)."),
    click.option("--weight-decay", type=float, help="Its weight decay."),
    click.option("--clipnorm", type=float, help="Clip each variable's gradient to this norm."),
    click.option("--clipvalue", type=float, help="Clip each component of the gradients."),
    click.option("--global-clipnorm", type=float, help="Clip all gradients together to this norm."),
    click.option(
        "--layer-decay", type=float, help="Rate of each block as a multiple of the one above.  [default: 0.5]"
    ),
    click.option(
        "--multiplier",
        "multipliers",
        type=ByBlock(),
        multiple=True,
        metavar="BLOCK=RATE",
        help="Rate of a block as a multiple of the learning rate, instead of --layer-decay; may be repeated.",
    ),
    click.option(
        "--batch-norm",
        type=ByBlock(BATCH_NORM, alone=True),
        multiple=True,
        metavar="MODE|BLOCK=MODE",
        help=f"Batch normalization: {', '.join(BATCH_NORM)}; for one block: BLOCK=MODE, may be repeated.  "
        "[default: fixed_statistics in thawed blocks]",
    ),
    click.option(
        "--thaw",
        type=OneOf(THAWS),
        help="Thaw the last stage's blocks together, or one after another, --epochs each.  [default: at_once]",
    ),
    click.option(
        "--patience", type=int, metavar="EPOCHS", help="Stop a stage when val_loss has not improved for so long."
    ),
    click.option(
        "--l2-sp",
        type=float,
        metavar="ALPHA",
        help="Pull the last stage's reused weights to their pretrained values.  [default: none]",
    ),
    click.option(
        "--weight-averaging",
        type=float,
        metavar="SHARE",
        help="End the last stage with the mean of its weights from this share of the epochs on, such as 0.75.",
    ),
    click.option(
        "--from-scratch", is_flag=True, default=None, help="Train the same network from random weights, to compare."
    ),
)
_compute = _group(
    click.option("--seed", type=int, help="Every random choice follows from it.  [default: 0]"),
    click.option("--precision", type=OneOf(PRECISIONS), help="How training computes.  [default: float32]"),
    click.option(
        "--engine", type=OneOf(ENGINES), help="What runs the frozen layers.  [default: auto, the fastest that is equal]"
    ),
    click.option(
        "--trunk-precision", type=OneOf(TRUNK_PRECISIONS), help="What they are computed in.  [default: float32]"
    ),
    click.option(
        "--cache",
        type=OneOf(CACHES),
        help="Keep what they give on the disk, while the run lasts, or run them in every step.  [default: disk]",
    ),
    click.option("--no-cache", is_flag=True, help="The same as --cache none."),
    click.option(
        "--cache-size", metavar="SIZE", help="What the cache may take, such as 20GB.  [default: a tenth of the disk]"
    ),
    click.option(
        "--feature-dtype", type=OneOf(FEATURE_DTYPES), help="What is kept of what they give.  [default: float32]"
    ),
    click.option("--device", metavar="auto|cpu|gpu[:N]", help="Where it computes.  [default: auto]"),
    click.option("--threads", type=int, help="CPU threads; 0 for all, up to 8.  [default: 0]"),
    click.option(
        "--checkpoint-every",
        type=float,
        metavar="SECONDS",
        help="Write a checkpoint so often within a stage; 0 for none.  [default: as often as costs little]",
    ),
)


@click.command("finetune")
@click.argument("model", required=False)
@click.argument("data", required=False)
@click.option("--recipe", metavar="FILE|NAME", help="A recipe; flags win over it.")
@_data
@_top
@_training
@_compute
@outcome
def command(
    model: str | None, data: str | None, recipe: str | None, settings: tuple[str, ...], no_cache: bool, **flags: Any
) -> None:
    """Fine-tune MODEL on DATA, and write everything about it into a run folder.

    MODEL is a name that `zoo list` shows, or a path. DATA is a folder of class folders, a .csv, an .npz, or a built-in
    name: digits, characters. Both may come from --recipe.

    For example: zoo finetune glyphs my_images --limit-per-class 20 --out runs/mine

    Two stages by default: a fresh top on frozen layers, then the upper half of the layers with it, more slowly.
    """
    wanted = asked(flags)
    options = {key: value for key, value in flags.items() if value is not None and value != ()}
    options |= {key: table_of(options[key]) for key in ("multipliers", "batch_norm") if key in options}
    if no_cache:
        if options.get("cache", "none") != "none":
            what = f"--no-cache and --cache {options['cache']} contradict each other."
            raise click.UsageError(what)
        options["cache"] = "none"
    carry_out(wanted, model, data, recipe_with(recipe, settings, model, data, options), options)
