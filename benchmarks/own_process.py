"""A measurement in a process of its own: what one holds in memory, or has warmed up, does not reach the next."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def in_a_process(module: str, *arguments: str) -> Any:
    """Runs a benchmark's module with some arguments, and gives what it prints last, read as JSON.

    The whole benchmark ends, with what the process said, where that fails.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    if done.returncode:
        sys.exit(f"{' '.join([module, *arguments])} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])
