"""Trainings on a Ray cluster: Ray finds machines and starts torchrun's launcher on each; the rest is torchrun's."""

import logging
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segtrain.config.schema import LaunchConfig
from segtrain.errors import ConfigError

_PATIENCE = 60  # seconds to wait for machines that are free
_SAVING = 120  # seconds in which a launcher that is stopped has to end
_POLL = 0.2  # seconds
_PASSED_ON = ("PYTHONPATH", "OMP_NUM_THREADS")  # Ray sets the latter too, for one process


def launch_on_ray(config: LaunchConfig, processes: int, words: Sequence[str]) -> int:
    """Run ``segtrain launch`` on each of ``config.nodes`` machines of the cluster that this one belongs to.

    Returns 0, or the exit code of the first that fails. Raises `ConfigError` where there is no Ray, no cluster, or
    not enough of it is free.
    """
    try:
        import ray
    except ImportError:
        raise ConfigError("executor=ray: needs Ray; run pip install 'segtrain[ray]'") from None
    try:
        ray.init(address="auto", logging_level=logging.ERROR)
    except ConnectionError:
        raise ConfigError("executor=ray: this machine belongs to no cluster; run ray start --head first") from None
    wanted = {"CPU": processes} if "device=cpu" in words else {"CPU": processes, "GPU": processes}
    try:
        return _run_on_all(_machines(config.nodes, wanted), config, wanted, words)
    finally:
        ray.shutdown()  # frees the machines


def _machines(count: int, wanted: Mapping[str, float]) -> list[Any]:
    """Reserve what is wanted on each of several machines; returns where to start a task on each, for Ray."""
    from ray.util import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = placement_group([dict(wanted)] * count, strategy="STRICT_SPREAD")
    if not group.wait(_PATIENCE):
        resources = " and ".join(f"{number} {name}s" for name, number in wanted.items())
        raise ConfigError(
            f"executor=ray: {count} machines with {resources} each, expected them free within {_PATIENCE} s; "
            "see ray status; lower nodes or nproc, or set device=cpu"
        )
    return [PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=number) for number in range(count)]


def _run_on_all(
    machines: Sequence[Any], config: LaunchConfig, wanted: Mapping[str, float], words: Sequence[str]
) -> int:
    import ray

    def start(task: Any, machine: Any, *arguments: Any) -> Any:
        options = {"num_cpus": wanted["CPU"], "num_gpus": wanted.get("GPU", 0), "scheduling_strategy": machine}
        return ray.remote(task).options(**options, max_retries=0).remote(*arguments)

    options = [f"nproc={wanted['CPU']}", f"nodes={config.nodes}", f"restarts={config.restarts}"]
    if config.nodes > 1:
        options += [f"rendezvous={ray.get(start(meeting_place, machines[0]))}", f"job_id={uuid.uuid4().hex}"]
    command = [sys.executable, "-m", "segtrain", "launch", *options, *words]
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    pending = [start(run_launcher, machine, command, str(Path.cwd()), environment) for machine in machines]
    try:
        while pending:
            (done,), pending = ray.wait(pending)
            if code := ray.get(done):
                return int(code)
        return 0
    finally:
        for task in pending:  # one has failed, or this process is asked to end
            ray.cancel(task)
        if pending:
            ray.wait(pending, num_returns=len(pending), timeout=_SAVING)


def meeting_place() -> str:
    """Return an address of this machine, with a port that is free."""
    import ray

    with socket.socket() as free:
        free.bind(("", 0))
        return f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"


def run_launcher(command: Sequence[str], folder: str, environment: Mapping[str, str]) -> int:
    """Run a command in a folder; returns its exit code. If the task is cancelled, the command is asked to end."""
    others = {name: value for name, value in os.environ.items() if name not in _PASSED_ON}
    process = subprocess.Popen(command, cwd=folder, env={**others, **environment})
    try:
        while process.poll() is None:  # Ray cancels between two instructions, not in a system call
            time.sleep(_POLL)
    except BaseException:
        process.terminate()
        process.wait(_SAVING)
        raise
    return process.returncode
