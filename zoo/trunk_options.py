"""What a run may say about its frozen trunk, word for word."""

#: What runs it: the fastest that is equal, or one of :mod:`zoo.engines`.
ENGINES = ("auto", "keras", "tensorflow", "openvino")
#: What it computes in.
TRUNK_PRECISIONS = ("float32", "bfloat16")
#: What becomes of its features: kept from run to run, while the run lasts, or not at all.
CACHES = ("disk", "run", "none")
#: What they are stored in.
FEATURE_DTYPES = ("float32", "float16")
