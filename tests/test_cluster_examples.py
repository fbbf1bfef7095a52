"""The scripts of docs/cluster.md do what it says: a Slurm job and a Kubernetes job, run on one node of stand-ins."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from engine.checkpoint import newest_checkpoint
from engine.logger import read_log
from tests.conftest import ROOT, TINY
from tests.test_resume import status, wait_for

SCRIPT = ROOT / "docs/examples/train.sbatch"
MANIFEST = yaml.safe_load((ROOT / "docs/examples/train-job.yaml").read_text())
POD = MANIFEST["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
RECIPE = "configs/demo.yaml"
WORDS = (*TINY, "train.device=cpu", "checkpoints.every=100000", "log.pictures_every=100000", "log.wandb=disabled")

# What Slurm's programs would do on one node. srun passes USR1 on and ends its job at a TERM; the batch script alone is
# sent what --signal=B: says. A requeue is the job's end, so that the run must have been saved by then.
STAND_INS = {
    "sbatch": 'export SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=localhost SLURM_GPUS_ON_NODE=1\nexec bash "$@"',
    "scontrol": """case $1 in
    show) echo "$3" ;;
    requeue) echo "$2" $(grep '"state"' "$STATUS") >> "$REQUEUED" ;;
    esac""",
    "srun": """while [[ $1 == --* ]]; do shift; done
    "$@" & task=$!
    trap 'kill -USR1 $task' USR1
    trap 'kill -KILL $task' TERM
    wait $task; code=$?
    while kill -0 $task 2> /dev/null; do wait $task; code=$?; done
    exit $code""",
    "python": 'exec "$PYTHON" "$@"',
}


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """The environment of a node."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in STAND_INS.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (folder / name).chmod(0o755)
    job = next(number for number in range(os.getpid() % 20000, 20000) if is_free(10000 + number))  # the script's port
    return os.environ | {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "SLURM_JOB_ID": str(job),
        "REQUEUED": str(tmp_path / "requeued"),
        "STATUS": str(tmp_path / "run/status.json"),
    }


def is_free(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) != 0


def family(session: int) -> list[int]:
    """The processes of a session and their descendants: torchrun puts each of its own into a session for itself."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid=,sess="], capture_output=True, text=True, check=True).stdout
    rows = [tuple(map(int, line.split())) for line in table.splitlines()]
    found = [pid for pid, _, its_session in rows if its_session == session]
    for parent in found:
        found += [pid for pid, its_parent, _ in rows if its_parent == parent and pid not in found]
    return found


@contextmanager
def job(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **pipes)
    try:
        yield process
    finally:
        for pid in family(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=60)


def ended(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    with job(command, environment) as process:
        said, _ = process.communicate(timeout=300)
        return process.returncode, said


def stopped_in_training(
    command: list[str], environment: dict[str, str], run: Path, number: signal.Signals
) -> tuple[int, str]:
    """Send a signal to the script when its training is under way."""
    with job(command, environment) as process:
        log = run / "log.jsonl"
        wait_for(lambda: log.exists() and any("loss/G" in row for row in read_log(log)), process)
        process.send_signal(number)
        said, _ = process.communicate(timeout=300)
        return process.returncode, said


def assert_stopped(run: Path, by: signal.Signals) -> int:
    """Returns the steps done."""
    saved, _ = newest_checkpoint(run / "checkpoints")
    done = saved["step"]
    assert status(run) == {"state": "stopped", "step": done, "exit": 75, "reason": by.name}
    return done


def test_the_batch_script_can_be_parsed() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    options = re.findall(r"^#SBATCH --([\w-]+)", SCRIPT.read_text(), re.MULTILINE)
    assert {"nodes", "ntasks-per-node", "gpus-per-node", "signal", "requeue", "open-mode"} <= set(options)
    assert "\nexport TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1\n" in SCRIPT.read_text()  # --max-restarts needs it
    # What follows the first command is not read by sbatch any more.
    lines = [line for line in SCRIPT.read_text().splitlines() if line]
    first = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    assert not any(line.startswith("#SBATCH") for line in lines[first:])


def test_a_slurm_job_saves_asks_once_for_its_requeue_and_then_trains_to_the_end(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    run, requeued = tmp_path / "run", tmp_path / "requeued"
    command = ["sbatch", str(SCRIPT), str(run), RECIPE, *WORDS]
    code, said = stopped_in_training([*command, "schedule.constant=100000"], cluster, run, signal.SIGUSR1)
    assert code != 0
    done = assert_stopped(run, signal.SIGUSR1)
    assert requeued.read_text().splitlines() == [f'{cluster["SLURM_JOB_ID"]} "state": "stopped",'], said

    code, said = ended([*command, f"schedule.constant={done}", "schedule.decay=2"], cluster)
    assert code == 0, said
    assert status(run)["state"] == "finished"
    assert status(run)["step"] == done + 2
    assert len(requeued.read_text().splitlines()) == 1


def container(*args: str) -> list[str]:
    """The container's command with other arguments."""
    return [*CONTAINER["command"], *args]


def inside(cluster: dict[str, str], run: Path) -> dict[str, str]:
    """The container's environment, but for its paths and its GPUs."""
    return cluster | {entry["name"]: entry["value"] for entry in CONTAINER["env"]} | {"RUN": str(run), "PROCESSES": "1"}


def decision(code: int, disrupted: bool = False) -> str:
    """What Kubernetes does with a pod that ended so: the first rule that fits; else the failure counts."""
    for rule in MANIFEST["spec"]["podFailurePolicy"]["rules"]:
        if code in rule.get("onExitCodes", {}).get("values", []):
            return rule["action"]
        if disrupted and any(c["type"] == "DisruptionTarget" for c in rule.get("onPodConditions", [])):
            return rule["action"]
    return "Count"


def test_the_manifest_says_what_the_text_promises() -> None:
    spec = MANIFEST["spec"]
    assert (MANIFEST["apiVersion"], MANIFEST["kind"]) == ("batch/v1", "Job")
    assert POD["restartPolicy"] == "Never"  # a podFailurePolicy is refused with any other
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["backoffLimit"] > 0
    assert [decision(code) for code in (1, 2, 75, 137)] == ["Count", "FailJob", "Ignore", "Count"]
    assert decision(137, disrupted=True) == "Ignore"
    named = {
        rule["onExitCodes"]["containerName"] for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule
    }
    assert named == {CONTAINER["name"]}
    given = int(re.search(r"--shutdown-timeout=(\d+)", CONTAINER["command"][2]).group(1))
    assert POD["terminationGracePeriodSeconds"] > given > 30
    processes = next(entry["value"] for entry in CONTAINER["env"] if entry["name"] == "PROCESSES")
    assert int(processes) == CONTAINER["resources"]["limits"]["nvidia.com/gpu"]
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in CONTAINER["volumeMounts"]}
    assert mounts["/dev/shm"]["emptyDir"]["medium"] == "Memory"
    assert "persistentVolumeClaim" in mounts["/runs"]
    assert not re.search(r"\$[$(]", CONTAINER["command"][2])  # Kubernetes would put in variables of its own


def test_a_pod_that_is_asked_to_stop_saves_and_the_next_one_finishes(cluster: dict[str, str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    command, environment = container(RECIPE, *WORDS), inside(cluster, run)
    code, said = stopped_in_training([*command, "schedule.constant=100000"], environment, run, signal.SIGTERM)
    assert code == 75, said
    assert decision(code) == "Ignore"
    done = assert_stopped(run, signal.SIGTERM)
    code, said = ended([*command, f"schedule.constant={done}", "schedule.decay=2"], environment)
    assert code == 0, said
    assert status(run)["state"] == "finished"


def test_a_pod_with_a_users_mistake_is_not_tried_again(cluster: dict[str, str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, said = ended(container(RECIPE, *WORDS, "data.sise=32"), inside(cluster, run))
    assert (code, decision(code)) == (2, "FailJob"), said
    assert "data.size" in said


@pytest.mark.parametrize(
    ("state", "exit_code", "told", "code"),
    [
        ("finished", 0, 0, 0),
        ("failed", 2, 1, 2),  # a full disk, losses that are not finite
        ("failed", 1, 1, 1),  # a bug
        ("running", None, 1, 1),  # killed: out of memory
        ("stopped", 75, 1, 1),  # what an earlier pod left; this one could not begin
    ],
)
def test_a_pods_code_is_what_came_of_the_run(
    state: str, exit_code: int | None, told: int, code: int, cluster: dict[str, str], tmp_path: Path
) -> None:
    """Of a torchrun that only says `told`."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "status.json").write_text(json.dumps({"state": state, "step": 3, "exit": exit_code, "reason": ""}, indent=1))
    false = tmp_path / "bin/python"
    false.write_text(f"#!/usr/bin/env bash\nexit {told}\n")
    assert ended(container(RECIPE), inside(cluster, run))[0] == code
