"""Measures the whole program: start, idle memory, and what a step of a pipeline costs.

  start        `quern serve` until the port answers its first signed request, beside the start of `python3 -c pass` in the same run
  idle memory  resident memory of the daemon and of the executor after the start
  step         a pipeline of no-op Processing steps in a chain: time a step, container included, beside `crun run` of the same
               command on a bare bundle in the same run

Ratios count; the machines this runs on are noisy. Usage: bench.py QUERN
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
os.environ["QUERN"] = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build", "dist", "bin", "quern")

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from budgets import note  # noqa: E402
from api import daemon, helpers  # noqa: E402


def timed(fn, times):
    samples = []
    for _ in range(times):
        begin = time.perf_counter()
        fn()
        samples.append((time.perf_counter() - begin) * 1000)
    return statistics.median(samples), min(samples)


def memory_kb(pid, field):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith(field):
                return int(line.split()[1])
    return 0


def bench_start(quern):
    def restart():
        quern.cli("down")
        quern.cli("up")

    quern.cli("down")
    both, _ = timed(restart, 9)
    down_only = []
    up_only = []
    for _ in range(9):
        begin = time.perf_counter()
        quern.cli("down")
        middle = time.perf_counter()
        quern.cli("up")
        down_only.append((middle - begin) * 1000)
        up_only.append((time.perf_counter() - middle) * 1000)
    python, _ = timed(lambda: subprocess.run(["python3", "-c", "pass"], check=True), 9)
    up = statistics.median(up_only)
    print(f"start: quern up {up:.1f} ms (min {min(up_only):.1f}), python3 -c pass {python:.1f} ms, ratio {up / python:.2f}; down {statistics.median(down_only):.1f} ms; down+up {both:.1f} ms")
    note("start to the first answer", 50, up, "ms", beside=f"python3 -c pass {python:.1f} ms, ratio {up / python:.2f}")
    time.sleep(1)
    note("idle memory of the daemon", 12, memory_kb(quern.pid("serve"), "VmRSS") / 1024, "MiB")
    for role in ("serve", "executor"):
        pid = quern.pid(role)
        print(f"idle memory: {role} {memory_kb(pid, 'VmRSS') / 1024:.1f} MiB resident, of it {memory_kb(pid, 'RssAnon') / 1024:.1f} MiB its own")


def bundle(runtime):
    """A bare bundle of the host's /usr that runs `true`."""
    folder = tempfile.mkdtemp(prefix="quern-bench-", dir="/tmp")
    root = os.path.join(folder, "root")
    for name in ("usr", "proc", "dev", "sys", "tmp"):
        os.makedirs(os.path.join(root, name))
    for name in ("bin", "lib", "lib64", "sbin"):
        os.symlink(f"usr/{name}", os.path.join(root, name))
    subprocess.run([runtime, "spec"], cwd=folder, check=True)
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    config["process"].update({"args": ["true"], "terminal": False, "rlimits": []})
    config["root"]["path"] = "root"
    config["mounts"] = [m for m in config["mounts"] if m["destination"] in ("/proc", "/dev")] + [{"destination": "/usr", "source": "/usr", "type": "bind", "options": ["rbind", "ro"]}]
    config["linux"]["resources"] = {}
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f)
    return folder


def runtime_ms():
    """`crun run` of `true`, or None where it cannot run here."""
    runtime = shutil.which("crun")
    if not runtime or os.geteuid() != 0:
        return None
    folder = bundle(runtime)
    command = ["unshare", "-m", "sh", "-c", f"umount /sys/fs/cgroup/unified 2>/dev/null; exec {runtime} --cgroup-manager=disabled run -b {folder} bench-$$"]
    try:
        if subprocess.run(command, capture_output=True).returncode != 0:
            return None
        return timed(lambda: subprocess.run(command, check=True, capture_output=True), 15)
    finally:
        shutil.rmtree(folder)


def chain(quern, n):
    steps = []
    for i in range(n):
        one = {
            "Name": f"S{i}",
            "Type": "Processing",
            "Arguments": {
                "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.t3.medium", "InstanceCount": 1, "VolumeSizeInGB": 1}},
                "AppSpecification": {"ImageUri": helpers.SKLEARN, "ContainerEntrypoint": ["true"]},
                "RoleArn": quern.role,
            },
        }
        if i:
            one["DependsOn"] = [f"S{i - 1}"]
        steps.append(one)
    return steps


def bench_step(quern):
    n = 20
    name = helpers.create_pipeline(quern, chain(quern, n))
    samples = []
    for _ in range(5):
        execution, _ = helpers.finish(quern, helpers.start(quern, name))
        assert execution["PipelineExecutionStatus"] == "Succeeded"
        samples.append((execution["LastModifiedTime"] - execution["CreationTime"]).total_seconds() * 1000 / n)
    step = statistics.median(samples)
    bare = runtime_ms()
    text = f"crun run of true {bare[0]:.1f} ms (min {bare[1]:.1f}), ratio {step / bare[0]:.2f}" if bare else "no bare crun here to compare with"
    note("a no-op step of a pipeline on crun", 30, step, "ms", beside=text)
    print(f"step: {step:.1f} ms a no-op Processing step in a chain of {n} (min {min(samples):.1f}), {text}")


def bench_logs(quern):
    """`quern logs` of a step that printed 100 MB in lines of 64 bytes: time, and processor time of client and daemon."""
    step = chain(quern, 1)
    step[0]["Arguments"]["AppSpecification"]["ContainerEntrypoint"] = ["sh", "-c", "head -c 100000000 /dev/zero | tr '\\0' a | fold -w 63"]
    execution, _ = helpers.finish(quern, helpers.start(quern, helpers.create_pipeline(quern, step)))
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    tick, pid = os.sysconf("SC_CLK_TCK"), quern.pid("serve")

    def daemon_s():
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / tick

    best = (float("inf"), 0.0, 0.0)
    for _ in range(3):
        before, children, begin = daemon_s(), os.times(), time.perf_counter()
        subprocess.run([quern.program, "logs", execution["PipelineExecutionArn"]], env=quern.own, stdout=subprocess.DEVNULL, check=True)
        took, after = time.perf_counter() - begin, os.times()
        client = after.children_user - children.children_user + after.children_system - children.children_system
        best = min(best, (took, client, daemon_s() - before))
    rate, cpu = 101.6 / best[0], f"processor: client {best[1]:.2f} s, daemon {best[2]:.2f} s"
    note("quern logs of 100 MB, 64 bytes a line", 100, rate, "MB/s", at_least=True, beside=cpu)
    print(f"logs: {rate:.0f} MB/s, {cpu}")


def main():
    quern = daemon.start_quern()
    try:
        bench_start(quern)
        bench_step(quern)
        bench_logs(quern)
    finally:
        quern.down()
        shutil.rmtree(quern.home, ignore_errors=True)


if __name__ == "__main__":
    main()
