"""Whether a data set holds what a network takes."""

from .data import Dataset
from .errors import DataError
from .input_form import InputForm


def check_form(form: InputForm, data: Dataset) -> None:
    """Compares what a network takes with what the examples are.

    Raises:
        DataError: if they do not fit together.
    """
    native = data.native_shape()
    if form.kind == data.kind and (form.kind in ("image", "text") or native == form.shape):
        return
    what = "The network and the data do not fit together."
    received = f"{data.kind}{'' if native is None else f' of shape {native}'}"
    raise DataError(what, expected=f"{form.kind} of shape {form.shape}", received=received)
