"""An inspection as a folder: the table, the figures, the charts."""

import json
import os
import shutil
from pathlib import Path

from .errors import RunError
from .inspection_charts import activation_chart, gradient_chart
from .inspection_result import Inspection


def check_out(out: Path) -> None:
    """Refuses a folder that is there already: nothing is overwritten.

    Raises:
        RunError: if it is.
    """
    if out.exists():
        what = f"{out} exists already."
        raise RunError(what, expected="a path where nothing is", fix="Choose another --out, or remove it.")


def write_inspection(inspection: Inspection, out: Path) -> None:
    """Writes ``inspection.txt``, ``inspection.json``, ``activations.svg`` and ``gradients.svg``, all or nothing.

    Args:
        inspection: What :func:`zoo.inspect` gave.
        out: The folder; it must not exist.

    Raises:
        RunError: if it exists already, or cannot be written.
    """
    check_out(out)
    files = {
        "inspection.txt": f"{inspection}\n",
        "inspection.json": json.dumps(inspection.as_dict(), ensure_ascii=False, indent=1) + "\n",
        "activations.svg": activation_chart(inspection),
        "gradients.svg": gradient_chart(inspection),
    }
    part = out.with_name(f".{out.name}.part-{os.getpid()}")
    try:
        part.mkdir(parents=True)
        for name, text in files.items():
            (part / name).write_text(text, encoding="utf-8")
        part.rename(out)
    except OSError as reason:
        what = f"The folder {out} cannot be written: {reason}."
        raise RunError(what, fix="Choose an --out that can be written.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
