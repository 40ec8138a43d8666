"""What checkpoints and digests cost of a run's training time, at the settings that everybody gets.

    python -m benchmarks.checkpoint_overhead [--only demo resnet50] [--folder FOLDER] [--json FILE]

Two runs: the README's demo (``glyphs`` on ``digits``, ten labels a class, two stages), and ResNet50 with its upper
block thawed (``benchmarks/frozen_finetune.py``'s network and images). Every call that would not be there without
checkpoints and digests is timed where it is made: taking the state, writing it (in a thread of its own, beside the
training: all of it is counted, as if nothing else had gone on), waiting for that, and hashing weights before, between
and after stages. The difference of two runs would drown in the machine's noise.
"""

import argparse
import json
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

Figures = dict[str, Any]


class Ledger:
    """The seconds that some functions took, each counted once: not what they call of each other."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._inside = threading.local()

    def count(self, owner: Any, name: str, what: str) -> None:
        """Times a function from now on."""
        plain: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._inside, "busy", False):
                return plain(*args, **kwargs)
            self._inside.busy, started = True, time.perf_counter()
            try:
                return plain(*args, **kwargs)
            finally:
                self._inside.busy = False
                self.seconds[what] += time.perf_counter() - started
                self.calls[what] += 1

        setattr(owner, name, timed)


def watched() -> Ledger:
    """Has everything timed that checkpoints and digests are made of."""
    from zoo import checkpoint, checkpoints, execution, run_files, stage_state, train

    ledger = Ledger()
    ledger.count(stage_state, "snapshot", "taking the state")
    ledger.count(checkpoint.Snapshot, "write", "writing it, beside the training")
    ledger.count(checkpoints.CheckpointWriter, "wait", "waiting for that")
    for owner in (execution, run_files, train):
        for name in ("variable_digests", "weights_digest", "frozen_digests", "audit"):
            if hasattr(owner, name):
                ledger.count(owner, name, "hashing weights")
    return ledger


def measured(out: Path, **how: Any) -> Figures:
    """One run, and what of its training time went where."""
    import zoo

    ledger = watched()
    run = zoo.finetune(out=out, **how)
    seconds = run.metrics["seconds"]
    parts = {what: round(took, 4) for what, took in ledger.seconds.items()}
    kept = sum(file.stat().st_size for file in (out / "checkpoints").iterdir())
    return {
        "training_seconds": seconds,
        "seconds": parts,
        "calls": dict(ledger.calls),
        "share": sum(parts.values()) / seconds,
        "share_without_writing": (sum(parts.values()) - parts.get("writing it, beside the training", 0.0)) / seconds,
        "checkpoint_bytes": kept,
    }


def demo(folder: Path) -> Figures:
    """The README's demo."""
    how = {"limit_per_class": 10, "test": "rest", "seed": 0}
    return measured(folder / "demo", network="glyphs", data="digits", **how)


def resnet50(folder: Path) -> Figures:
    """ResNet50, its upper block thawed, five epochs."""
    from benchmarks import frozen_finetune

    if not (folder / "resnet50.keras").exists():
        frozen_finetune.make(str(folder), ["resnet50"], frozen_finetune.SIZE, frozen_finetune.IMAGES, 0)
    how = {"freeze": "conv4", "head_epochs": 5, "epochs": 5, "learning_rate": 1e-4}
    return measured(folder / "resnet50-run", network=folder / "resnet50.keras", data=folder / "images", **how)


RUNS: dict[str, Callable[[Path], Figures]] = {"demo": demo, "resnet50": resnet50}


def table(found: dict[str, Figures]) -> str:
    """The shares, and what they are made of."""
    lines = [
        "| run | trained, s | checkpoints and digests | without the writing thread | calls |",
        "|---|---:|---:|---:|---|",
    ]
    for name, row in found.items():
        calls = ", ".join(f"{what} {count}" for what, count in row["calls"].items())
        shares = f"{row['share']:.2%} | {row['share_without_writing']:.2%}"
        lines.append(f"| {name} | {row['training_seconds']:.1f} | {shares} | {calls} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--folder", type=Path, help="where frozen_finetune.py's network and images are, or are put")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["ZOO_HOME"] = f"{scratch}/home"
        found = {name: RUNS[name](options.folder or Path(scratch)) for name in options.only}
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
