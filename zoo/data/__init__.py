"""Data of every kind, behind one interface: arrays, folders, tables, and what is built in."""

from zoo.data.arrays import ArrayData
from zoo.data.dataset import BadFile, Dataset, InputForm, Kind, Side, Target, TargetKind
from zoo.data.files import read_images
from zoo.data.images import DECODER, read_image
from zoo.data.source import BUILTIN, open_data
from zoo.data.splits import Split, split

__all__ = [
    "BUILTIN",
    "DECODER",
    "ArrayData",
    "BadFile",
    "Dataset",
    "InputForm",
    "Kind",
    "Side",
    "Split",
    "Target",
    "TargetKind",
    "open_data",
    "read_image",
    "read_images",
    "split",
]
