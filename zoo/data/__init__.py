"""Data of every kind, behind one interface: arrays, folders, tables, and what is built in."""

from zoo.data.arrays import ArrayData
from zoo.data.csv_file import is_table
from zoo.data.dataset import BadFile, Dataset, InputForm, Kind, Side, TakenColumns, Target, TargetKind
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
    "TakenColumns",
    "Target",
    "TargetKind",
    "is_table",
    "open_data",
    "read_image",
    "read_images",
    "split",
]
