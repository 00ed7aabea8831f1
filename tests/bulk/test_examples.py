"""The files for clusters: what can be said of them without one."""

import re
import shlex
from pathlib import Path

import pytest

from wct_jax.cli.bulk import main

yaml = pytest.importorskip("yaml")
FOLDER = Path(__file__).resolve().parents[2] / "examples" / "cluster"


@pytest.mark.parametrize("name", ["aws.yaml", "kuberay.yaml"])
def test_commands_have_flags_that_there_are(run, name):
    _, shown, _ = run(main, "--help")
    text = (FOLDER / name).read_text()
    commands = [line for line in re.split(r"\n(?!    --)", text) if "wct-jax bulk s3" in line]
    assert commands
    for command in commands:
        words = shlex.split(command[command.index("wct-jax bulk") :].replace('"', "").replace("\n", " "))
        flags = [word for word in words if word.startswith("--")]
        assert {"--style", "--output"} <= set(flags) <= set(re.findall(r"--[a-z-]+", shown))


def test_the_launcher_takes_the_cluster():
    util = pytest.importorskip("ray.autoscaler._private.util")
    config = yaml.safe_load((FOLDER / "aws.yaml").read_text())
    util.validate_config(util.fillout_defaults(config) | {"cluster_synced_files": []})
    assert all("RAY_AUTH_MODE=token" in config[f"{kind}_start_ray_commands"][-1] for kind in ("head", "worker"))


def test_the_job_is_whole():
    job = yaml.safe_load((FOLDER / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_USAGE_STATS_ENABLED"} == {
            each["name"] for each in container["env"]
        }
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        assert container["resources"]["requests"] == container["resources"]["limits"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
