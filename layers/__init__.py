"""The chapter's building blocks: Keras's own where Keras has them, ours where it has not.

``Inference`` runs a layer as in inference while the network around it trains; ``FrozenBatchNorm`` is batch
normalization that nothing moves; ``Masked`` puts a mask back on its tensor; ``activation`` makes any by name, ``RReLU``
among them, and ``check_selu`` says whether a stack suits SELU; ``optimizer`` makes any of Keras's by name, with a rate
for each variable (``by_variable``) and a momentum that changes (``with_momentum``); ``schedule`` makes any schedule by
name, ``PowerDecay``, ``WarmUp`` and ``OneCycle`` among them; ``FtrlFromWeights`` is FTRL that keeps what it starts
from; ``augmentation`` has the named presets, ``mixing`` MixUp and CutMix; ``for_activation`` is the initializer that
suits an activation, ``chapter_table`` the chapter's. ``L2SP`` pulls weights to where they started, ``max_norm`` limits
their norm along the axes of each kind of layer, ``StochasticDepth`` leaves residual branches out.
"""

from .activations import activation
from .augmentation import PRESETS, VECTOR_PRESETS, augmentation, split_spec
from .batch_norm import FrozenBatchNorm
from .by_variable import by_variable
from .ftrl import FtrlFromWeights
from .inference import Inference
from .initializers import chapter_table, for_activation
from .masked import Masked
from .max_norm import max_norm
from .mixing import Mix, Mixing, mixed, mixing
from .momentum_schedule import with_momentum
from .one_cycle import OneCycle, OneCycleMomentum
from .optimizers import optimizer
from .power_decay import PowerDecay
from .regularizers import L2SP
from .rrelu import RReLU
from .schedules import reduce_on_plateau, schedule
from .selu import check_selu
from .stochastic_depth import StochasticDepth, linear_rates
from .vector_augmentation import FeatureDropout, FeatureNoise
from .warm_up import WarmUp

__all__ = [
    "L2SP",
    "PRESETS",
    "VECTOR_PRESETS",
    "FeatureDropout",
    "FeatureNoise",
    "FrozenBatchNorm",
    "FtrlFromWeights",
    "Inference",
    "Masked",
    "Mix",
    "Mixing",
    "OneCycle",
    "OneCycleMomentum",
    "PowerDecay",
    "RReLU",
    "StochasticDepth",
    "WarmUp",
    "activation",
    "augmentation",
    "by_variable",
    "chapter_table",
    "check_selu",
    "for_activation",
    "linear_rates",
    "max_norm",
    "mixed",
    "mixing",
    "optimizer",
    "reduce_on_plateau",
    "schedule",
    "split_spec",
    "with_momentum",
]
