"""The chapter's building blocks: Keras's own where Keras has them, ours where it has not.

``Inference`` runs a layer as in inference while the network around it trains; ``FrozenBatchNorm`` is batch
normalization that nothing moves; ``Masked`` puts a mask back on its tensor; ``optimizer`` makes any of Keras's by name,
with a rate for each variable; ``augmentation`` has the named presets; ``for_activation`` is the initializer that suits
an activation, ``chapter_table`` the chapter's.
"""

from .augmentation import PRESETS, augmentation
from .batch_norm import FrozenBatchNorm
from .inference import Inference
from .initializers import chapter_table, for_activation
from .masked import Masked
from .optimizers import by_variable, optimizer

__all__ = [
    "PRESETS",
    "FrozenBatchNorm",
    "Inference",
    "Masked",
    "augmentation",
    "by_variable",
    "chapter_table",
    "for_activation",
    "optimizer",
]
