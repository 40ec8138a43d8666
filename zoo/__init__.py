"""zoo: transfer learning and a model zoo on Keras 3.

The names below are loaded when they are first used: importing zoo imports neither TensorFlow nor Keras.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batch_norms import adapt_batch_norm, freeze_batch_norm
    from .block import Block, Blocks, blocks
    from .card import Card
    from .data import Dataset, open_data
    from .editing import insert_layer, replace_layer
    from .errors import (
        CacheError,
        CardError,
        DataError,
        DeviceError,
        PlanError,
        RecipeError,
        RunError,
        SurgeryError,
        WeightsError,
        ZooError,
    )
    from .evaluation import Prediction, evaluate, predict
    from .extracted import Extracted, extract
    from .finding_depth import find_depth
    from .finetuning import finetune
    from .folding import fold_batch_norm, foldable
    from .guideline import guidelines
    from .inspection import Inspection, inspect
    from .network import load
    from .norm_limits import limit_norms
    from .plan import Plan, freeze
    from .recipe import Recipe, read_recipe
    from .repetition import Repetition, repeat
    from .restoring import Restored, load_weights
    from .resuming import resume
    from .run import Run
    from .sparse import Zeros, zero_tiny_weights
    from .starting_point import l2_sp
    from .surgery import drop_above, replace_top, split
    from .tracing import trace
    from .unit_variance import Lsuv, lsuv
    from .verification import Verification
    from .verifying import verify
    from .weight_averaging import WeightAveraging

_HOME = {
    "Block": "block",
    "Blocks": "block",
    "CacheError": "errors",
    "Card": "card",
    "CardError": "errors",
    "DataError": "errors",
    "Dataset": "data",
    "DeviceError": "errors",
    "Extracted": "extracted",
    "Inspection": "inspection",
    "Lsuv": "unit_variance",
    "Plan": "plan",
    "PlanError": "errors",
    "Prediction": "evaluation",
    "Recipe": "recipe",
    "RecipeError": "errors",
    "Repetition": "repetition",
    "Restored": "restoring",
    "Run": "run",
    "RunError": "errors",
    "SurgeryError": "errors",
    "Verification": "verification",
    "WeightAveraging": "weight_averaging",
    "WeightsError": "errors",
    "Zeros": "sparse",
    "ZooError": "errors",
    "adapt_batch_norm": "batch_norms",
    "blocks": "block",
    "drop_above": "surgery",
    "evaluate": "evaluation",
    "extract": "extracted",
    "find_depth": "finding_depth",
    "finetune": "finetuning",
    "fold_batch_norm": "folding",
    "foldable": "folding",
    "freeze": "plan",
    "freeze_batch_norm": "batch_norms",
    "guidelines": "guideline",
    "insert_layer": "editing",
    "inspect": "inspection",
    "l2_sp": "starting_point",
    "limit_norms": "norm_limits",
    "load": "network",
    "load_weights": "restoring",
    "lsuv": "unit_variance",
    "open_data": "data",
    "predict": "evaluation",
    "read_recipe": "recipe",
    "repeat": "repetition",
    "replace_layer": "editing",
    "replace_top": "surgery",
    "resume": "resuming",
    "split": "surgery",
    "trace": "tracing",
    "verify": "verifying",
    "zero_tiny_weights": "sparse",
}

__all__ = [
    "Block",
    "Blocks",
    "CacheError",
    "Card",
    "CardError",
    "DataError",
    "Dataset",
    "DeviceError",
    "Extracted",
    "Inspection",
    "Lsuv",
    "Plan",
    "PlanError",
    "Prediction",
    "Recipe",
    "RecipeError",
    "Repetition",
    "Restored",
    "Run",
    "RunError",
    "SurgeryError",
    "Verification",
    "WeightAveraging",
    "WeightsError",
    "Zeros",
    "ZooError",
    "adapt_batch_norm",
    "blocks",
    "drop_above",
    "evaluate",
    "extract",
    "find_depth",
    "finetune",
    "fold_batch_norm",
    "foldable",
    "freeze",
    "freeze_batch_norm",
    "guidelines",
    "insert_layer",
    "inspect",
    "l2_sp",
    "limit_norms",
    "load",
    "load_weights",
    "lsuv",
    "open_data",
    "predict",
    "read_recipe",
    "repeat",
    "replace_layer",
    "replace_top",
    "resume",
    "split",
    "trace",
    "verify",
    "zero_tiny_weights",
]

__version__ = "0.1.0"

# In a checkout `layers/` and `models/` lie beside this package; installed, they lie inside it. So a checkout works by
# itself too, whatever is or is not installed.
_here = os.path.dirname(__file__)
_above = os.path.dirname(_here)
if not os.path.isdir(os.path.join(_here, "layers")) and os.path.isdir(os.path.join(_above, "layers")):
    __path__.append(_above)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        what = f"module 'zoo' has no attribute {name!r}"
        raise AttributeError(what)
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
