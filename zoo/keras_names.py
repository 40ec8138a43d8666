"""What optimizers and schedules are called, and their arguments: known without loading Keras.

A recipe with a wrong name is refused before anything is loaded. A test compares these tables with what
:mod:`zoo.layers` makes, so that they cannot fall behind.
"""

#: What every optimizer takes.
_EVERY = (
    "learning_rate", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema", "ema_momentum",
    "ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps",
)  # fmt: skip
_ADAM = ("beta_1", "beta_2", "epsilon")
_OWN = {
    "adadelta": ("rho", "epsilon"),
    "adafactor": ("beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step"),
    "adagrad": ("initial_accumulator_value", "epsilon"),
    "adam": (*_ADAM, "amsgrad"),
    "adamax": _ADAM,
    "adamw": (*_ADAM, "amsgrad"),
    "ftrl": (
        "learning_rate_power", "initial_accumulator_value", "l1_regularization_strength", "l2_regularization_strength",
        "l2_shrinkage_regularization_strength", "beta",
    ),
    "lamb": _ADAM,
    "lion": ("beta_1", "beta_2"),
    "muon": (
        "adam_beta_1", "adam_beta_2", "adam_weight_decay", "epsilon", "exclude_layers", "exclude_embeddings", "muon_a",
        "muon_b", "muon_c", "adam_lr_ratio", "momentum", "ns_steps", "nesterov", "rms_rate",
    ),
    "nadam": _ADAM,
    "rmsprop": ("rho", "momentum", "epsilon", "centered"),
    "schedulefreeadamw": (*_ADAM, "warmup_steps"),
    "sgd": ("momentum", "nesterov"),
}  # fmt: skip
#: The arguments of each optimizer, by its name in lower case.
OPTIMIZERS = {name: (*_EVERY, *own) for name, own in _OWN.items()}
#: Arguments that are true or false; of the others all but ``exclude_layers`` are numbers.
SWITCHES = ("use_ema", "amsgrad", "centered", "nesterov", "relative_step", "exclude_embeddings")
#: Of which Keras takes one at a time.
CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")

_WARM = ("warmup_steps", "warmup_start")
_FALL = ("initial_learning_rate", "decay_steps", *_WARM)
_CYCLE = ("steps", "pct_start", "anneal", "three_phase")
#: The arguments of each schedule, by its short name; those of a warm-up before it among them.
SCHEDULES = {
    "piecewise": ("boundaries", "values", *_WARM),
    "exponential": (*_FALL, "decay_rate", "staircase"),
    "power": (*_FALL, "power"),
    "inverse_time": (*_FALL, "decay_rate", "staircase"),
    "polynomial": (*_FALL, "end_learning_rate", "power", "cycle"),
    "cosine": (*_FALL, "alpha", "warmup_target"),
    "cosine_restarts": ("initial_learning_rate", "first_decay_steps", "cycles", "t_mul", "m_mul", "alpha", *_WARM),
    "one_cycle": ("max_learning_rate", "div_factor", "final_div_factor", *_CYCLE),
    "one_cycle_momentum": ("base_momentum", "max_momentum", *_CYCLE),
    "warm_up": ("after", "steps", "start"),
}
#: The short name of each schedule's class.
SCHEDULE_CLASSES = {
    "PiecewiseConstantDecay": "piecewise",
    "ExponentialDecay": "exponential",
    "PowerDecay": "power",
    "InverseTimeDecay": "inverse_time",
    "PolynomialDecay": "polynomial",
    "CosineDecay": "cosine",
    "CosineDecayRestarts": "cosine_restarts",
    "OneCycle": "one_cycle",
    "OneCycleMomentum": "one_cycle_momentum",
    "WarmUp": "warm_up",
}

#: What augments: Keras's layers for images, ours for vectors, and what mixes examples.
AUGMENTATION_LAYERS = (
    "AugMix", "RandAugment", "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter", "RandomContrast",
    "RandomCrop", "RandomElasticTransform", "RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale",
    "RandomHue", "RandomInvert", "RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation",
    "RandomSharpness", "RandomShear", "RandomTranslation", "RandomZoom",
    "FeatureNoise", "FeatureDropout", "MixUp", "CutMix",
)  # fmt: skip
