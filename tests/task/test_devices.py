"""GPUs that CDI files describe: what a container gets with them, and who has which."""
import json
import os
import stat

import harness
import pytest


def node(path, minor):
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))


def as_yaml(value, indent="\n"):
    """Block style, as nvidia-ctk writes it: plain texts, quotes where a text looks like a number."""
    if isinstance(value, dict):
        return "".join("%s%s:%s" % (indent, k, as_yaml(v, indent + "  ")) for k, v in sorted(value.items()))
    if isinstance(value, list):
        return "".join("%s-%s" % (indent, as_yaml(v, indent + "  ")) for v in value)
    return " \"%s\"" % value if str(value).isdigit() and isinstance(value, str) else " %s" % value


def describe(directory, yaml):
    """Two GPUs with a second name each, and "all". Their nodes are copies of /dev/null and /dev/full."""
    os.makedirs(directory, exist_ok=True)
    lib = os.path.join(directory, "libfake.so.1")
    with open(lib, "w") as f:
        f.write("a driver's library\n")
    nodes = [os.path.join(directory, "gpu%d" % i) for i in (0, 1)]
    node(nodes[0], 3), node(nodes[1], 7)
    hook = os.path.join(directory, "hook.sh")
    with open(hook, "w") as f:
        f.write("#!/bin/sh\ncat > %s/state\necho $1 $MARK > %s/hooked\n" % (directory, directory))
    os.chmod(hook, 0o755)
    one = lambda name, i: {"name": name, "containerEdits": {"env": ["FAKE_GPU_%d=yes" % i], "deviceNodes": [{"path": "/dev/fakegpu%d" % i, "hostPath": nodes[i]}]}}  # noqa: E731
    devices = [one("0", 0), one("GPU-aaaa", 0), one("1", 1), one("GPU-bbbb", 1), {"name": "all", "containerEdits": {"deviceNodes": [{"path": "/dev/all", "hostPath": nodes[0]}]}}]
    spec = {"cdiVersion": "0.6.0", "kind": "fake.example/gpu", "devices": devices, "containerEdits": {
        "env": ["FAKE_DRIVER=570", "PATH=/usr/bin:/bin:/fake"], "additionalGids": [4242],
        "mounts": [{"hostPath": lib, "containerPath": "/usr/lib/libfake.so.1", "options": ["ro", "nosuid", "nodev", "bind"]}],
        "hooks": [{"hookName": "createRuntime", "path": hook, "args": ["hook.sh", "argument"], "env": ["MARK=marked"]}]}}
    with open(os.path.join(directory, "fake.yaml" if yaml else "fake.json"), "w") as f:
        f.write("---" + as_yaml(spec) if yaml else json.dumps(spec))
    with open(os.path.join(directory, "other.yaml"), "w") as f:
        f.write("cdiVersion: 0.6.0\nkind: other.example/gpu\n")
    return directory


@pytest.fixture(params=["crun", "runc"])
def gpus(request, tmp_path):
    import shutil

    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not shutil.which(request.param):
        pytest.skip(request.param + " is not installed")
    tmp_path.chmod(0o755)
    prefix = ["unshare", "-m", "sh", "-c", "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"", "sh"]
    x = harness.Executor(runtime=request.param, cdi=describe(str(tmp_path / "cdi"), yaml=request.param == "runc"), prefix=prefix if request.param == "runc" else [])
    x.cdi_dir = str(tmp_path / "cdi")
    yield x
    x.end()


def test_what_a_container_gets(gpus):
    x = gpus
    assert x.client.machine["gpus"] == ["fake.example/gpu=0", "fake.example/gpu=1"]
    script = ("echo $FAKE_DRIVER $FAKE_GPU_0 $FAKE_GPU_1 $PATH; cat /usr/lib/libfake.so.1; stat -c '%t:%T %F' /dev/fakegpu0; echo x > /dev/fakegpu0 && echo null; "
              "ls /dev | grep -c fakegpu; touch /usr/lib/libfake.so.1 2>/dev/null || echo read-only; id -G")
    spec = x.spec(script, gpus=1)
    event = x.run(spec)
    assert x.text(spec).split("\n")[:6] == ["570 yes /usr/bin:/bin:/fake", "a driver's library", "1:3 character special file", "null", "1", "read-only"], event
    assert "4242" in x.text(spec).split("\n")[6].split()
    with open(os.path.join(x.cdi_dir, "hooked")) as f:
        assert f.read() == "argument marked\n"
    with open(os.path.join(x.cdi_dir, "state")) as f:
        assert json.load(f)["ociVersion"]
    spec = x.spec("ls /dev | grep -c fakegpu; echo $FAKE_DRIVER")
    x.run(spec)
    assert x.text(spec).split("\n") == ["0", ""]


def test_each_is_one_tasks_alone(gpus):
    x = gpus
    hold = "while [ ! -e /s/go ]; do sleep 0.05; done"
    specs = [x.spec(hold, gpus=1, mounts=[{"type": "scratch", "name": "s", "target": "/s"}], report=True) for _ in range(3)]
    states = [x.submit(s)["state"] for s in specs]
    assert states == ["live", "live", "queued"]
    assert "GPU" in x.client.wait(specs[2]["id"], "queued")["reason"]
    later = x.spec("true", gpus=1)  # nobody overtakes who wants the same
    assert x.submit(later)["state"] == "queued"
    assert x.run("true")["containers"][0]["exit_code"] == 0  # who wants none does not wait for them
    told = [x.client.wait(s["id"], "changed")["containers"][0]["gpus"] for s in specs[:2]]
    assert sorted(sum(told, [])) == ["fake.example/gpu=0", "fake.example/gpu=1"]
    assert x.client.call(op="machine")["machine"]["gpus_free"] == 0
    x.kill(9)  # a new executor still knows who has which
    x.start()
    assert x.client.machine["gpus_free"] == 0
    go = lambda s: open(os.path.join(x.task_dir(s["id"]), "exec", "s", "s", "go"), "w").close()  # noqa: E731
    go(specs[0])
    x.client.wait(specs[0]["id"], "stopped")
    x.client.wait(specs[2]["id"], "started")
    assert x.client.wait(specs[2]["id"], "changed")["containers"][0]["gpus"] == told[0]
    for s in specs[1:]:
        go(s)
        assert x.client.wait(s["id"], "stopped")["containers"][0]["exit_code"] == 0
    assert x.client.wait(later["id"], "stopped")["containers"][0]["exit_code"] == 0
    assert x.client.call(op="machine")["machine"]["gpus_free"] == 2
    both = x.spec("ls /dev | grep -c fakegpu", gpus=2)
    x.run(both)
    assert x.text(both) == "2"


def test_more_than_there_are(gpus):
    answer = gpus.submit(gpus.spec("true", gpus=3))
    assert "asks for 3 GPUs, this machine has 2" in answer["error"]["message"]


def test_a_node_that_is_gone(gpus):
    os.unlink(os.path.join(gpus.cdi_dir, "gpu0"))
    event = gpus.run(gpus.spec("true", gpus=1))
    assert event["reason"] == "start-failed" and "CDI device" in event["error"] and "not a device of this machine" in event["error"]
