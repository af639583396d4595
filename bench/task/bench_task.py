#!/usr/bin/python3
"""What a task costs beside the bare runtime, both in one run, turn by turn.

  bench_task.py [rounds]     QUERN_TASK names the program of tests/task (meson sets it: ninja bench-task)

Printed: milliseconds, median and minimum (the minimum is what the code costs on a busy machine)."""
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "task"))
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import harness  # noqa: E402
from budgets import note  # noqa: E402


class Bare:
    """`runtime run` of the very config.json that the supervisor wrote, on the same kind of root."""

    def __init__(self, x):
        spec = x.spec("exec sleep 1000", resources=None)
        x.submit(spec)
        x.client.wait(spec["id"], "started")
        state = x.state(spec["id"])
        with open("/proc/%d/root/run/quern/c0/config.json" % state["pid"]) as f:
            config = json.load(f)
        os.kill(state["containers"][0]["pid"], 9)
        x.client.wait(spec["id"], "stopped")
        config["process"]["args"] = ["/bin/true"]
        config["linux"]["cgroupsPath"] = "/quern-bench/c0"
        for mount in config["mounts"]:
            if mount["destination"].startswith("/sys/fs/cgroup/"):
                mount["source"] = mount["source"].split("/quern/")[0] + "/quern-bench/c0"
        self.dir = os.path.join(x.data, "bare")
        self.runtime, self.config = x.runtime, config
        skeleton = [d for d in os.listdir(os.path.join(x.data, "tasks", ".exec")) if d.startswith("skeleton")][0]
        for name in ("root", "u0", "w0", "u1", "w1"):
            os.makedirs(os.path.join(self.dir, name))
        mount = lambda lower, n, to: subprocess.run(["mount", "-t", "overlay", "quern-bench", "-o", "lowerdir=%s,upperdir=%s/u%d,workdir=%s/w%d" % (  # noqa: E731
            lower, self.dir, n, self.dir, n), to], check=True)
        mount(os.path.join(x.data, "tasks", ".exec", skeleton), 0, self.dir + "/root")
        mount("/usr", 1, self.dir + "/root/usr")
        with open(os.path.join(self.dir, "config.json"), "w") as f:
            json.dump(config, f)

    def run(self):
        for mount in self.config["mounts"]:
            if mount["destination"].startswith("/sys/fs/cgroup/"):
                os.makedirs(mount["source"], exist_ok=True)
        before = time.perf_counter()
        subprocess.run([self.runtime, "--root", self.dir + "/rt", "run", "--bundle", self.dir, "c0"], check=True)
        return (time.perf_counter() - before) * 1000

    def end(self):
        subprocess.run(["umount", self.dir + "/root/usr", self.dir + "/root"])


def show(name, times, bare=None):
    ratio = "" if not bare else "   %.2f x / %.2f x bare" % (statistics.median(times) / statistics.median(bare), min(times) / min(bare))
    print("  %-46s %7.1f median %7.1f min%s" % (name, statistics.median(times), min(times), ratio), flush=True)


def one(x, spec):
    before = time.perf_counter()
    event = x.run(spec)
    took = (time.perf_counter() - before) * 1000
    assert event["containers"][0]["exit_code"] == 0, event
    x.client.send(op="forget", task=spec["id"])
    return took


def steps(x, rounds):
    bare_run = Bare(x)
    bare, step = [], []
    for i in range(rounds):
        bare.append(bare_run.run())
        step.append(one(x, x.spec(["/bin/true"])))
    bare_run.end()
    show("%s run /bin/true, bare" % x.runtime, bare)
    show("task /bin/true: start asked to result told", step, bare)
    medians = statistics.median(step), statistics.median(bare)
    note("a no-op task on %s" % x.runtime, 30 if x.runtime == "crun" else 60, medians[0], "ms",
         beside="%s run %.1f ms, ratio %.2f (fastest %.1f, %.1f)" % (x.runtime, medians[1], medians[0] / medians[1], min(step), min(bare)))


def channels(x, rounds):
    directory = os.path.join(x.data, "stage", "big")
    blob = os.path.join(x.data, "blob")
    os.makedirs(directory)
    with open(blob, "wb") as f:
        f.truncate(10 << 30)
    os.link(blob, os.path.join(directory, "data.bin"))
    many = os.path.join(x.data, "stage", "many")
    os.makedirs(many)
    for i in range(10000):
        os.link(blob, os.path.join(many, "part-%05d" % i))
    plain, big, parts = [], [], []
    for _ in range(rounds):
        plain.append(one(x, x.spec(["/bin/true"])))
        for source, times in ((directory, big), (many, parts)):
            mounts = [{"type": "stage", "source": source, "target": "/opt/ml/input/data/train", "writable": True}]
            times.append(one(x, x.spec(["/bin/true"], mounts=mounts)))
    show("without a channel", plain)
    show("with a staged 10 GiB channel", big)
    show("with 10,000 links of it (100 TB)", parts)
    note("staging a channel of 10 GiB", 100, max(0.0, statistics.median(big) - statistics.median(plain)), "ms")
    print("  staging costs %.1f ms (median), %.1f ms (min)" % (statistics.median(big) - statistics.median(plain), min(big) - min(plain)))


def rate(x, n, at_once):
    specs = [x.spec(["/bin/true"]) for _ in range(n)]
    before = time.perf_counter()
    for i, spec in enumerate(specs):
        x.client.send(op="start", owner="b", spec=spec)
        if i >= at_once:
            x.client.wait(specs[i - at_once]["id"], "stopped", 60)
    for spec in specs:
        x.client.wait(spec["id"], "stopped", 60)
    print("  %d tasks, %2d at once: %.0f a second" % (n, at_once, n / (time.perf_counter() - before)))


def memory(x):
    spec = x.spec("exec sleep 1000")
    x.submit(spec)
    x.client.wait(spec["id"], "started")
    for name, pid in (("executor", x.process.pid), ("supervisor", x.state(spec["id"])["pid"])):
        with open("/proc/%d/smaps_rollup" % pid) as f:
            sizes = {line.split(":")[0]: int(line.split()[1]) for line in f if line.split()[0] in ("Rss:", "Pss:")}
        print("  %-10s %5.1f MiB RSS, %4.1f MiB PSS" % (name, sizes["Rss"] / 1024, sizes["Pss"] / 1024))
    os.kill(x.state(spec["id"])["containers"][0]["pid"], 9)
    x.client.wait(spec["id"], "stopped")


def logs(x):
    spec = x.spec("head -c 1000000000 /dev/zero | tr '\\0' 'a' | fold -w 63")
    spec["containers"][0]["log"] = os.path.join(x.data, "big.log")
    before = time.perf_counter()
    x.run(spec, 300)
    took = time.perf_counter() - before
    bare = time.perf_counter()
    subprocess.run("head -c 1000000000 /dev/zero | tr '\\0' 'a' | fold -w 63 > %s" % os.path.join(x.data, "plain.log"), shell=True, check=True)
    bare = time.perf_counter() - bare
    print("  1 GB of 64-byte lines: %.1f s; the same written to a file by the shell: %.1f s" % (took, bare))
    for name in ("big.log", "plain.log"):
        os.unlink(os.path.join(x.data, name))


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    if os.geteuid() != 0:
        sys.exit("needs root")
    if os.environ.get("QUERN_BENCH_INSIDE") != "1":  # mounts of our own
        os.environ["QUERN_BENCH_INSIDE"] = "1"
        script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\""
        os.execvp("unshare", ["unshare", "-m", "sh", "-c", script, "sh", sys.executable] + sys.argv)
    for runtime in ("crun", "runc"):
        if not shutil.which(runtime):
            continue
        print("%s, load %.1f" % (runtime, os.getloadavg()[0]))
        x = harness.Executor(runtime=runtime)
        try:
            steps(x, rounds)
            if runtime == "crun":
                channels(x, max(5, rounds // 3))
                memory(x)
            for at_once in (1, 4):
                rate(x, rounds * 2, at_once)
            if runtime == "crun":
                logs(x)
        finally:
            x.end()


if __name__ == "__main__":
    main()
