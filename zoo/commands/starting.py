"""Starting the framework without its messages about the machine."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quietly() -> Iterator[None]:
    """While the framework is imported, what it writes to standard error itself is kept back.

    Its C++ side writes about drivers and instruction sets before any setting of ours reaches it. If the import fails,
    what was kept back is shown.
    """
    import tempfile

    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            import keras  # noqa: F401

            # It counts the graphs that several networks in one process need, and takes them for a mistake.
            logging.getLogger("tensorflow").setLevel(logging.ERROR)
            yield
        except Exception:
            os.dup2(kept, 2)
            aside.seek(0)
            os.write(2, aside.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
