"""Which reader a file of weights is for."""

from contextlib import AbstractContextManager
from pathlib import Path

from ..errors import WeightsError, close_matches
from . import h5, keras_file, npz, safetensors, tf_checkpoint
from .tensor import Tensor

READERS = {
    ".keras": keras_file.opened,
    ".h5": h5.opened,
    ".hdf5": h5.opened,
    ".safetensors": safetensors.opened,
    ".npz": npz.opened,
    ".index": tf_checkpoint.opened,
}


def opened(path: Path) -> AbstractContextManager[dict[str, Tensor]]:
    """The tensors of a file of weights, by the file's own names; it is closed when the block ends.

    Args:
        path: A ``.keras``, ``.h5``, ``.safetensors`` or ``.npz`` file, or a TensorFlow checkpoint: its prefix, which
            may have any ending, its ``.index`` file, or a folder with a file named ``checkpoint``.

    Raises:
        WeightsError: if the file is missing, empty or of another kind; on entering, if it is damaged.
    """
    if path.is_file() and path.suffix in READERS:
        if path.stat().st_size == 0:
            what = f"{path} is empty."
            raise WeightsError(what, fix="Save or copy it again.")
        return READERS[path.suffix](path)
    if path.is_dir() or path.with_name(f"{path.name}.index").is_file():
        return tf_checkpoint.opened(path)
    if path.exists():
        what = f"{path} is no kind of weights that is read."
        forms = "a .keras, .h5, .safetensors or .npz file, or a TensorFlow checkpoint's prefix"
        raise WeightsError(what, expected=forms, received=f"the ending '{path.suffix}'" if path.suffix else "no ending")
    what = f"There are no weights at {path}."
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    near = close_matches(path.name, [entry.name for entry in beside if entry.suffix in READERS])
    raise WeightsError(what, fix=near if near.startswith("Did you") else "Check the path.")
