"""The scripts of launch/ start what they say, with programs that stand in for Slurm's."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if shutil.which("bash") is None:
    pytest.skip("there is no bash", allow_module_level=True)


def start(script, tmp_path, environment, *words):
    """Run a script, with `scontrol`, `srun` and `python` in place of the real ones."""
    programs = {
        "scontrol": "printf 'node1\\nnode2\\n'",
        "srun": 'for i in 0 1; do SLURM_PROCID=$i "$@"; done',
        "python": 'echo "$TF_CONFIG" | tr -d "\\n"; echo "|$*"',
    }
    for name, text in programs.items():
        file = tmp_path / name
        file.write_text(f"#!/usr/bin/env bash\n{text}\n")
        file.chmod(0o755)
    return subprocess.run(
        [ROOT / "launch" / script, *words],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_slurm_nodes_become_workers(tmp_path):
    command = ("python", "recipes/cifar.py", "--workdir", "a folder")
    done = start("slurm.sh", tmp_path, {"SLURM_JOB_NODELIST": "node[1-2]", "PORT": "99"}, *command)
    assert done.returncode == 0, done.stderr
    for number, line in enumerate(done.stdout.splitlines()):
        config, _, words = line.partition("|")
        assert json.loads(config) == {
            "cluster": {"worker": ["node1:99", "node2:99"]},
            "task": {"type": "worker", "index": number},
        }
        assert words == "recipes/cifar.py --workdir a folder"
    assert number == 1
    done = start("slurm.sh", tmp_path, {"SLURM_JOB_NODELIST": "node[1-2]"})
    assert done.returncode == 2 and "needs the command to run" in done.stderr


def test_tasks_of_an_array_become_parts(tmp_path):
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT")
    environment = dict(zip(names, ("7", "4", "8"), strict=True))
    done = start("slurm_array.sh", tmp_path, environment, "table4", "--runs", "2")
    assert done.stdout == "|recipes/reproduce.py table4 --runs 2 --part 4/8\n"
    script = (ROOT / "launch" / "slurm_array.sh").read_text()
    assert "--signal=B:TERM@120" in script and "exec python" in script


def test_the_pods_of_a_job_are_its_parts():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    job = yaml.safe_load((ROOT / "launch" / "kubernetes_job.yaml").read_text())["spec"]
    (command,) = job["template"]["spec"]["containers"][0]["args"]
    assert command.endswith(f"--part $((JOB_COMPLETION_INDEX + 1))/{job['completions']}")
