#!/usr/bin/env python3
"""RunTask until RUNNING, beside the bare runtime on the same bundle, turn by turn in one run.

  bench.py QUERN [rounds]

Printed: milliseconds, median and minimum (the minimum is what the code costs on a busy machine), their ratios, and the
budget. A task: one container of a stored image, a network of its own, CPU and memory limits, a log group.
  API     from the call until its answer
  start   createdAt to startedAt, as DescribeTasks shows them
  seen    from the call until a DescribeTasks without pause says RUNNING
The bare runtime: `crun run --detach` of the config.json that the task had, on an overlay of the same files, with the
limits and a new network namespace made by crun."""
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
sys.path.insert(0, os.path.join(ROOT, "bench"))
from budgets import note  # noqa: E402

BUDGET_MS = 30  # DESIGN: a step's overhead on crun, container included


class Bare:
    def __init__(self, config, runtime, work):
        self.dir, self.runtime = work, runtime
        from api import ecs_images

        plain, _ = ecs_images.busybox_layer()
        for name in ("lower", "root", "upper", "work"):
            os.makedirs(os.path.join(work, name))
        subprocess.run(["tar", "-x", "-C", work + "/lower"], input=plain, check=True)
        subprocess.run(["mount", "-t", "overlay", "quern-bench", "-o", f"lowerdir={work}/lower,upperdir={work}/upper,workdir={work}/work", work + "/root"], check=True)
        linux = config["linux"]
        linux["cgroupsPath"] = "/quern-bench/c0"
        linux["resources"] = {"cpu": {"quota": 50000, "period": 100000}, "memory": {"limit": 64 << 20}}
        for namespace in linux["namespaces"]:
            if namespace["type"] == "network":
                namespace.pop("path", None)
        self.groups = []
        for mount in config["mounts"]:
            if mount["destination"].startswith("/sys/fs/cgroup/"):
                mount["source"] = mount["source"].split("/quern/")[0] + "/quern-bench/c0"
                self.groups.append(mount["source"])
        with open(work + "/config.json", "w", encoding="ascii") as f:
            json.dump(config, f)

    def run(self):
        for group in self.groups:
            os.makedirs(group, exist_ok=True)
        call = [self.runtime, "--root", self.dir + "/rt"]
        before = time.perf_counter()
        subprocess.run([*call, "run", "--detach", "--bundle", self.dir, "bench"], check=True, stdout=subprocess.DEVNULL)
        took = (time.perf_counter() - before) * 1000
        subprocess.run([*call, "delete", "--force", "bench"], check=True)
        return took

    def end(self):
        subprocess.run(["umount", self.dir + "/root"], check=False)


def show(name, times, bare=None):
    ratio = "" if not bare else f"   {statistics.median(times) / statistics.median(bare):.2f} x / {min(times) / min(bare):.2f} x bare"
    print(f"  {name:<44} {statistics.median(times):7.1f} median {min(times):7.1f} min{ratio}", flush=True)


def config_of(quern, arn):
    """What the supervisor wrote for the runtime."""
    directory = os.path.join(quern.home, "tasks", "ecs-" + arn.rsplit("/", 1)[1], "exec")
    with open(os.path.join(directory, "state.json"), encoding="utf-8") as f:
        pid = json.load(f)["pid"]
    with open(f"/proc/{pid}/root/run/quern/c0/config.json", encoding="utf-8") as f:
        return json.load(f)


def one(ecs, definition):
    before = time.perf_counter()
    answer = ecs.run_task(taskDefinition=definition)
    called = (time.perf_counter() - before) * 1000
    assert not answer["failures"], answer
    arn = answer["tasks"][0]["taskArn"]
    while True:
        task = ecs.describe_tasks(tasks=[arn])["tasks"][0]
        if task["lastStatus"] == "RUNNING":
            break
        assert task["lastStatus"] != "STOPPED", task
    seen = (time.perf_counter() - before) * 1000
    return arn, called, (task["startedAt"] - task["createdAt"]).total_seconds() * 1000, seen


def main():
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    if os.geteuid() != 0:
        sys.exit("needs root")
    if os.environ.get("QUERN_BENCH_INSIDE") != "1":  # mounts of our own; crun does not start beside a second tree
        os.environ["QUERN_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "-m", "sh", "-c", 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"', "sh", sys.executable, *sys.argv])
    os.environ["QUERN"] = sys.argv[1]
    from api import daemon, ecs_images

    quern = daemon.start_quern()
    ecs, bare = quern.client("ecs"), None
    try:
        options = {"awslogs-group": "/bench", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p", "awslogs-create-group": "true"}
        definition = ecs.register_task_definition(family="bench", cpu="512", memory="64", containerDefinitions=[{
            "name": "main", "image": ecs_images.push_busybox(quern), "command": ["sleep", "600"], "stopTimeout": 0, "logConfiguration": {"logDriver": "awslogs", "options": options}}])
        definition = definition["taskDefinition"]["taskDefinitionArn"]
        arn = one(ecs, definition)[0]  # unpacks the image
        bare = Bare(config_of(quern, arn), shutil.which("crun") or shutil.which("runc"), os.path.join(quern.home, "bare"))
        ecs.stop_task(task=arn)
        print(f"{bare.runtime}, load {os.getloadavg()[0]:.1f}")
        times = {"bare": [], "API": [], "start": [], "seen": []}
        for _ in range(rounds):
            times["bare"].append(bare.run())
            arn, *took = one(ecs, definition)
            for name, ms in zip(("API", "start", "seen"), took):
                times[name].append(ms)
            ecs.stop_task(task=arn)
            while ecs.describe_tasks(tasks=[arn])["tasks"][0]["lastStatus"] != "STOPPED":
                time.sleep(0.01)
        show("crun run --detach, bare", times["bare"])
        show("RunTask answers", times["API"])
        show("RunTask to RUNNING (createdAt, startedAt)", times["start"], times["bare"])
        show("RunTask to RUNNING as a client sees it", times["seen"], times["bare"])
        note("RunTask to RUNNING", BUDGET_MS, statistics.median(times["start"]), "ms", beside=f"{bare.runtime} alone {statistics.median(times['bare']):.1f} ms")
        print(f"  budget {BUDGET_MS} ms: median {statistics.median(times['start']) / BUDGET_MS:.2f} of it, minimum {min(times['start']) / BUDGET_MS:.2f}")
    finally:
        if bare:
            bare.end()
        quern.down()
        for role in ("serve", "executor"):
            try:
                os.kill(quern.pid(role), signal.SIGTERM)
            except (OSError, ValueError):
                pass
        shutil.rmtree(quern.home, ignore_errors=True)


if __name__ == "__main__":
    main()
