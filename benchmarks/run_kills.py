"""What a run survives: SIGKILL at random moments, resumed until it ends; a full disk, Ctrl-C and SIGTERM.

    python -m benchmarks.run_kills [--kills 300] [--most 12] [--signals 10] [--fills 9] [--seed 0] [--json FILE]

The run is one with everything that a resume gets wrong elsewhere: dropout, batch normalization re-estimated on the new
data, a rate for each block, early stopping, performance scheduling, an average of late weights, three stages that thaw
one after another. It is run in two ways: with augmentation in every step, and on cached features, several steps a call.
Its checkpoints are written as often as the disk takes them.

``--kills``: a process gets SIGKILL at a random moment, and the run is resumed in another, which is killed again, up to
``--most`` times, until it ends. What counts is a kill between the first and the last step of training. A third of them
waits until a checkpoint is being written. After each kill the run folder has to be readable, in the end the weights
have to be those of a run that nobody disturbed: the table says where the kills came. ``--signals``: the same with
Ctrl-C and SIGTERM, after which the process has to end by itself within some seconds, with nothing lost: no step is
trained twice.
``--fills``: the disk is full while checkpoints are written.

Each process is a fork of one that has imported everything and computed nothing.
"""

import argparse
import errno
import json
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

#: Where the main thread is, as the child notes it in memory that it shares with this process.
PHASES = ("before", "features", "adapting", "step", "validating", "between epochs", "stage end", "after")
RECIPE = """
schema = 1
seed = 7
[model]
name = "glyphs"
[data]
path = "digits"
limit_per_class = 8
test = 0.05
val = 0.2
batch_size = 16
augment = "{augment}"
[top]
hidden = [16]
dropout = 0.3
[compute]
threads = 1
checkpoint_every = 0.001
[[stage]]
name = "head"
train = ["top"]
epochs = {head}
optimizer = {{ name = "adam", learning_rate = 1e-2 }}
early_stopping = {{ monitor = "val_loss", patience = 3, min_delta = 0.002 }}
[[stage]]
name = "thawed"
train = ["top", "block3"]
epochs = {thawed}
layer_decay = 0.5
batch_norm = {{ default = "adapt" }}
optimizer = {{ name = "adam", learning_rate = 1e-3, global_clipnorm = 1.0 }}
reduce_on_plateau = {{ factor = 0.5, patience = 1, min_delta = 0.002 }}
[[stage]]
name = "deeper"
train = ["top", "block3", "block2"]
epochs = {deeper}
multipliers = {{ block3 = 0.3, block2 = 0.1 }}
batch_norm = "fixed_statistics"
optimizer = {{ name = "sgd", learning_rate = 1e-3, momentum = 0.9, nesterov = true }}
weight_averaging = {{ start = 0.5 }}
"""
WAYS = {
    "in every step": RECIPE.format(augment="light", head=6, thawed=4, deeper=4),
    "cached": RECIPE.format(augment="none", head=20, thawed=10, deeper=10),
}


class Notes:
    """What a child notes in shared memory: its phase, whether a checkpoint is being written, and steps."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 32)

    def clear(self) -> None:
        """Nothing is noted yet."""
        self._memory[:] = bytes(32)

    def phase(self, name: str) -> None:
        """Notes where the main thread is."""
        self._memory[0] = PHASES.index(name)

    def writing(self, change: int) -> None:
        """Notes that a checkpoint begins or ends to be written."""
        self._memory[1] = int(change > 0)

    def training(self, stage: int) -> None:
        """Notes that a step was trained, and of which stage."""
        self._memory[2], self._memory[3] = 1, stage
        count = struct.unpack_from("<q", self._memory, 8)[0]
        struct.pack_into("<q", self._memory, 8, count + 1)

    def over(self) -> None:
        """Notes that the last step is trained."""
        self._memory[4] = 1

    @property
    def steps(self) -> int:
        """How many calls of steps were made."""
        return struct.unpack_from("<q", self._memory, 8)[0]

    @property
    def counts(self) -> bool:
        """Whether the child was between the first step of the run and the last."""
        return bool(self._memory[2]) and not self._memory[4]

    @property
    def where(self) -> tuple[str, bool, int]:
        """The phase, whether a checkpoint was being written, and the stage."""
        return PHASES[self._memory[0]], bool(self._memory[1]), self._memory[3] + 1


def instrument(notes: Notes) -> None:
    """Has this process note where it is."""
    from zoo import checkpoint, epochs, execution, stage_state, train

    def during(owner: Any, name: str, phase: str, then: str) -> None:
        plain = getattr(owner, name)

        def noted(*args: Any, **kwargs: Any) -> Any:
            notes.phase(phase)
            try:
                return plain(*args, **kwargs)
            finally:
                notes.phase(then)

        setattr(owner, name, noted)

    during(train, "_assemble", "features", "between epochs")
    during(train, "adapt", "adapting", "between epochs")
    during(stage_state.StageState, "epoch_begins", "between epochs", "step")
    during(stage_state.StageState, "train_begins", "between epochs", "step")
    during(epochs, "_means", "validating", "between epochs")
    during(stage_state.StageState, "end", "stage end", "stage end")
    stepped = stage_state.StageState.stepped

    def noting(self: Any, rows: Any) -> None:
        notes.training(self._index)
        stepped(self, rows)

    stage_state.StageState.stepped = noting
    write = checkpoint.Snapshot.write

    def writing(self: Any, file: Path) -> None:
        notes.writing(1)
        try:
            write(self, file)
        finally:
            notes.writing(-1)

    checkpoint.Snapshot.write = writing
    measured = execution.Execution._measured

    def after(self: Any, sides: Any) -> Any:
        notes.phase("after")
        notes.over()
        return measured(self, sides)

    execution.Execution._measured = after


def child(work: Callable[[], object], notes: Notes, log: Path) -> int:
    """Does something in a fork of this process; gives its process number."""
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        instrument(notes)
        work()
        code = 0
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run(folder: Path, recipe: str) -> None:
    """Begins the run, or goes on with it; or begins it again where it was killed before it had begun."""
    import zoo
    from zoo.recipe import parse_recipe
    from zoo.resuming import resume

    if (folder / "recipe.toml").exists():
        resume(folder)
        return
    shutil.rmtree(folder, ignore_errors=True)
    zoo.finetune(recipe=parse_recipe(recipe), out=folder)


def weights(folder: Path) -> tuple[str, ...]:
    """What has to be the same: the digests of all stages and of the result, and the loss of every step."""
    lock = tomllib.loads((folder / "recipe.lock").read_text())
    steps = (folder / "steps.csv").read_text()
    return (lock["result"]["weights"], *(stage["weights"] for stage in lock["stage"]), steps)


def readable(folder: Path) -> bool:
    """Whether every file in a run folder that has its final name is whole."""
    from zoo.checkpoint import read_checkpoint
    from zoo.recipe import read_recipe

    for file in (folder / "checkpoints").glob("*.safetensors"):
        if not file.name.startswith("."):
            read_checkpoint(file)
    if (folder / "recipe.toml").exists():
        read_recipe(folder / "recipe.toml")
    if (folder / "recipe.lock").exists():
        tomllib.loads((folder / "recipe.lock").read_text())
    return True


class Trials:
    """Runs trials in a folder of its own, and counts."""

    def __init__(self, root: Path, seed: int):
        self.root, self.random, self.notes = root, random.Random(seed), Notes()
        self.counts: Counter[str] = Counter()
        self.phases: Counter[str] = Counter()
        self.expected: dict[str, tuple[str, ...]] = {}
        self.seconds: dict[str, float] = {}
        self.steps: dict[str, int] = {}
        for way in WAYS:
            folder = self.root / "whole"
            for turn in range(2):  # the second one finds its features, as a resumed one does
                started = time.perf_counter()
                code = self.wait(self.begin(folder, way))
                self.seconds[way] = time.perf_counter() - started
                if code:
                    raise SystemExit((root / "log").read_text())
                found = weights(folder)
                if turn and found != self.expected[way]:
                    what = f"{way}: two runs that nobody disturbed differ"
                    raise SystemExit(what)
                self.expected[way], self.steps[way] = found, self.notes.steps
                shutil.rmtree(folder)

    def begin(self, folder: Path, way: str) -> int:
        """Begins or resumes a run in a child."""
        self.notes.clear()
        return child(partial(run, folder, WAYS[way]), self.notes, self.root / "log")

    @staticmethod
    def wait(number: int) -> int:
        """The exit code of a child."""
        return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])

    def first_step(self, number: int) -> bool:
        """Waits until a child has trained its first step; whether it did."""
        while not self.notes.counts:
            if os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return False
            time.sleep(0.002)
        return True

    def writes(self, number: int) -> None:
        """Waits until a child is writing a checkpoint, for a random part of what that takes, or has ended."""
        until = time.perf_counter() + 2
        while not self.notes.where[1] and time.perf_counter() < until:
            if os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
        until = time.perf_counter() + self.random.uniform(0, 0.004)
        while time.perf_counter() < until:
            pass

    def kills(self, number: int, most: int) -> None:
        """Kills at random moments until so many have counted."""
        ways = [*WAYS, next(iter(WAYS))]  # two thirds in every step
        trial = 0
        while self.counts["kills"] < number:
            way, folder, killed = ways[trial % 3], self.root / "killed", 0
            trial += 1
            while True:
                process = self.begin(folder, way)
                if killed < most and self.first_step(process):
                    time.sleep(self.random.uniform(0, 0.6 * self.seconds[way] / most))
                    if self.counts["kills"] % 3 == 2:  # writing is short: a third of the kills waits for it
                        self.writes(process)
                    if self.notes.counts:
                        os.kill(process, signal.SIGKILL)
                code = self.wait(process)
                if code == 0:
                    break
                if code != -signal.SIGKILL:
                    raise SystemExit((self.root / "log").read_text()[-4000:])
                phase, writing, stage = self.notes.where
                killed += 1
                self.counts["kills"] += 1
                self.counts["unreadable"] += not readable(folder)
                self.counts["while a checkpoint was written"] += writing
                self.phases[f"{way}: stage {stage}, {phase}"] += 1
            self.counts["runs"] += 1
            self.counts["identical"] += weights(folder) == self.expected[way]
            self.counts["left behind"] += len(list((folder / "checkpoints").glob(".*")))
            shutil.rmtree(folder)
            print(dict(self.counts), file=sys.stderr, flush=True)

    def signals(self, number: int) -> None:
        """Asks runs to end, by Ctrl-C and SIGTERM in turn."""
        for i in range(number):
            way, folder = list(WAYS)[i % 2], self.root / "asked"
            sent = (signal.SIGINT, signal.SIGTERM)[i // 2 % 2]
            process, steps = self.begin(folder, way), 0
            if self.first_step(process):
                time.sleep(self.random.uniform(0, 0.4 * self.seconds[way]))
                os.kill(process, sent)
                asked = time.perf_counter()
                code, steps = self.wait(process), self.notes.steps
                self.counts[f"{sent.name}: exit code {code}"] += 1
                self.counts[f"{sent.name}: over a second"] += time.perf_counter() - asked > 1
            if self.wait(self.begin(folder, way)) if not (folder / "report.html").exists() else 0:
                raise SystemExit((self.root / "log").read_text()[-4000:])
            again = steps + self.notes.steps - self.steps[way]
            self.counts[f"{sent.name}: calls of steps made twice"] += again if way == "in every step" else 0
            self.counts["asked to end, identical"] += weights(folder) == self.expected[way]
            shutil.rmtree(folder)

    def fills(self, number: int) -> None:
        """Has the disk full for a share of the checkpoints, and then for all that follow."""
        for i in range(number):
            way, folder = list(WAYS)[i % 2], self.root / "full"
            self.notes.clear()
            room = int(self.random.uniform(0, 40e6))
            process = child(partial(full, room, partial(run, folder, WAYS[way])), self.notes, self.root / "log")
            code = self.wait(process)
            said = "No space left on device" in (folder / "log.txt").read_text()
            self.counts[f"full disk: exit code {code}"] += 1
            self.counts["full disk: said"] += said
            if not (folder / "report.html").exists() and self.wait(self.begin(folder, way)):
                raise SystemExit((self.root / "log").read_text()[-4000:])
            self.counts["full disk, identical"] += weights(folder) == self.expected[way]
            shutil.rmtree(folder)


def full(room: int, work: Callable[[], object]) -> None:
    """Does something on a disk that has room for so many bytes of checkpoints."""
    from zoo.errors import ZooError
    from zoo.formats import safetensors

    left, plain = [room], safetensors.completed

    @contextmanager
    def filling(file: Path) -> Any:
        with plain(file) as part:
            yield part
            left[0] -= part.stat().st_size
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    safetensors.completed = filling
    try:
        work()
    except ZooError as error:
        print(error)
        os._exit(3)


def main() -> None:
    """Runs the trials, and prints their counts; the exit code is 1 where one went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--most", type=int, default=12, help="kills of one run (default: 12)")
    parser.add_argument("--signals", type=int, default=10)
    parser.add_argument("--fills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here")
    options = parser.parse_args()
    import keras  # noqa: F401
    import tensorflow  # noqa: F401

    import zoo.execution
    import zoo.finetuning
    import zoo.resuming  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        os.environ["ZOO_HOME"] = str(Path(folder) / "home")
        trials = Trials(Path(folder), options.seed)
        try:
            trials.kills(options.kills, options.most)
            trials.signals(options.signals)
            trials.fills(options.fills)
        except KeyboardInterrupt:
            print("interrupted: what was counted until then", file=sys.stderr)
    print(table(trials))
    found = {"counts": dict(trials.counts), "phases": dict(trials.phases), "seconds": trials.seconds}
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    counts = trials.counts
    wrong = counts["runs"] - counts["identical"] + counts["unreadable"]
    wrong += options.signals - counts["asked to end, identical"] + options.fills - counts["full disk, identical"]
    raise SystemExit(bool(wrong))


def table(trials: Trials) -> str:
    """The counts, and the kills by phase."""
    lines = ["| what | count |", "|---|---:|"]
    lines += [f"| {what} | {count} |" for what, count in trials.counts.items()]
    lines += ["", "| killed in | times |", "|---|---:|"]
    lines += [f"| {what} | {count} |" for what, count in sorted(trials.phases.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
