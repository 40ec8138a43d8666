"""What has to be as it was for a run to be done again: its recipe, its data, its network, its plans."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .array_digests import variable_digests
from .checkpoint import weights_digest
from .comparability import Obstacle
from .errors import DataError, DeviceError, ZooError
from .preparation import Preparation
from .run import LOCK, RECIPE, read_plan
from .run_files import origin_of, plan_text
from .sources.path import digest_of
from .unchanged import change_of_data


def other_recipe(folder: Path, lock: Mapping[str, Any]) -> list[Obstacle]:
    """Whether a run folder's recipe is the one that was run."""
    if digest_of(folder / RECIPE) == lock["recipe"]:
        return []
    needs = f"Put back the one whose SHA-256 begins with {lock['recipe'][:12]}."
    return [Obstacle(f"{RECIPE} is not the one that was run", needs)]


def gone(reason: ZooError, lock: Mapping[str, Any]) -> Obstacle:
    """What cannot be opened any more, from the error that says so."""
    if isinstance(reason, DeviceError):
        what, needs = "the device", f"{lock['compute']['device']}, or the figures alone: --metrics-only"
    elif isinstance(reason, DataError):
        what, needs = "the data", f"{lock['data']['source']}, as it was"
    else:
        what, needs = "the network", f"'{lock['network']['name']}', as it was"
    return Obstacle(f"{what}: {str(reason).removesuffix('.')}", f"It takes {needs}.")


def changes(folder: Path, lock: Mapping[str, Any], ready: Preparation) -> list[Obstacle]:
    """What is not as it was, and would have to be: the data, the network as training begins with it, the plans."""
    found = []
    if change := change_of_data(folder, lock, ready.data, ready.split):
        found.append(Obstacle(f"the data {ready.data.source}: {change}", "It takes the data as it was."))
    elif (start := _start(ready)) != lock["network"]["start"]:
        found.append(_other_start(lock["network"], origin_of(ready), start))
    if read_plan(folder) != plan_text(ready):
        found.append(Obstacle("the plans are others", f"It takes zoo as it was: see versions in {folder / LOCK}."))
    return found


def _start(ready: Preparation) -> str:
    return weights_digest(ready.network, variable_digests(ready.network.variables))


def _other_start(before: Mapping[str, str], now: Mapping[str, str], start: str) -> Obstacle:
    """The network is another, or its new layers start from other values."""
    if before["weights"] != now["weights"]:
        is_now, was = now["weights"][:12], before["weights"][:12]
        what = f"the network '{before['name']}': its weights are {is_now}, and were {was}"
        return Obstacle(what, "It takes the network as it was.")
    what = f"the weights that training begins with are {start[:12]}, and were {before['start'][:12]}"
    return Obstacle(what, "It takes the network as it was, and new layers drawn as they were: see the lock's versions.")
