"""The executor as an ordinary user: a user namespace with one user, no limits, and it says so."""
import gzip
import os
import shutil
import subprocess
import tarfile
import tempfile
import time

import pytest

import conftest
import harness
import layerkit

UID = 54321


def prefix():
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]


@pytest.fixture(scope="module", params=conftest.RUNTIMES or ["none"])
def x(request):
    if not conftest.RUNTIMES:
        pytest.skip("neither crun nor runc is installed")
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed")
    if subprocess.run(prefix() + ["unshare", "-Ur", "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("user namespaces are closed to ordinary users here")
    data = tempfile.mkdtemp(prefix="quern-rootless-")
    images = os.path.join(data, "images")
    os.mkdir(images)
    with open(os.path.join(images, "images.json"), "w") as f:
        harness.json.dump(harness.IMAGES_JSON, f)
    os.chmod(data, 0o755)
    if os.geteuid() == 0:
        os.chown(data, UID, UID)
        program = os.path.join(data, "program")  # the build directory may be closed to that user
        shutil.copy(harness.program(), program)
        old = os.environ["QUERN_TASK"]
        os.environ["QUERN_TASK"] = program
    executor = harness.Executor(runtime=request.param, data=data, images=images, prefix=prefix())
    yield executor
    if os.geteuid() == 0:
        os.environ["QUERN_TASK"] = old
    executor.end()


def test_says_so(x):
    assert x.client.machine["rootless"] and x.client.machine["cgroup_mode"] == "none"
    assert any("without root" in note for note in x.client.machine["notes"])
    assert any("not enforced" in note for note in x.client.machine["notes"])


def test_runs(x):
    spec = x.spec("id -u; echo $$; cat /proc/self/uid_map | tr -s ' '; touch /opt/x /etc/y /tmp/z && echo wrote; exit 11")
    event = x.run(spec)
    assert event["containers"][0]["exit_code"] == 11, (event, x.log_text())
    assert x.text(spec).split("\n") == ["0", "1", " 0 %d 1" % (UID if os.geteuid() == 0 else os.geteuid()), "wrote"] or \
        x.text(spec).split("\n")[0:2] == ["0", "1"] and x.text(spec).endswith("wrote")


def test_makes_no_device_nodes(x):
    """Without control groups nothing would keep the machine's devices from a container that makes their nodes."""
    spec = x.spec("cat /proc/self/status", capabilities={"add": ["MKNOD"]})
    x.run(spec)
    bounding = next(line for line in x.text(spec).split("\n") if line.startswith("CapBnd:"))
    assert int(bounding.split()[1], 16) & 1 << 27 == 0 and int(bounding.split()[1], 16) & 1


def test_staging_and_outputs(x):
    directory = os.path.join(x.data, "stage", x.new_id("s"))
    os.makedirs(directory)
    with open(os.path.join(directory, "a"), "w") as f:
        f.write("bytes\n")
    for path in (os.path.dirname(directory), directory, os.path.join(directory, "a")):
        if os.geteuid() == 0:
            os.chown(path, UID, UID)
    spec = x.spec("cat /d/a; echo changed >> /d/a; cp /d/a /opt/ml/model/a", mounts=[
        {"type": "stage", "source": directory, "target": "/d"}, {"type": "scratch", "name": "m", "target": "/opt/ml/model"}],
        outputs=[{"name": "model", "from": "m", "path": "", "form": "tar.gz", "when": "success"},
                 {"name": "files", "from": "m", "path": "", "form": "files", "when": "success"}])
    event = x.run(spec)
    assert x.text(spec) == "bytes" and open(os.path.join(directory, "a")).read() == "bytes\n", event
    assert open(event["outputs"][1]["files"][0]["path"]).read() == "bytes\nchanged\n"


def test_stop_and_networks(x):
    spec = x.spec("exec sleep 60", init=True)
    x.submit(spec)
    x.client.wait(spec["id"], "started")
    time.sleep(0.3)  # a signal before the reaper is ready is lost, as with every PID 1
    x.stop(spec["id"])
    assert x.client.wait(spec["id"], "stopped")["reason"] == "stop"
    for network in ("host", "private"):
        spec = x.spec("echo %s" % network, network=network)
        event = x.run(spec)
        assert x.text(spec) == network, event


def test_another_user_is_refused(x):
    assert "only user 0" in x.run(x.spec("true", user="1000"))["error"]


def test_survives_the_executor(x):
    spec = x.spec("sleep 1; exit 8")
    x.submit(spec)
    x.client.wait(spec["id"], "started")
    x.kill(9)
    x.start()
    assert x.client.wait(spec["id"], "stopped")["containers"][0]["exit_code"] == 8


def test_stored_images(x):
    """Layers unpack: every file is the one user's, whiteouts and opaque directories count, hostile ones are refused, and the collector works."""
    images = layerkit.Images(x, owner=UID if os.geteuid() == 0 else None)
    low = layerkit.tar(layerkit.entry("d/gone", b"1"), layerkit.entry("d/kept", b"2"), layerkit.entry("whole/x", b"3"), layerkit.entry("closed", mode=0o500), layerkit.entry("closed/in", b"in\n", uid=7, gid=8))
    high = layerkit.tar(layerkit.entry("d/.wh.gone", b""), layerkit.entry("whole/.wh..wh..opq", b""), layerkit.entry("whole/z", b"6"))
    event, text = images.run([gzip.compress(low), high], "ls d whole; cat closed/in; stat -c %u:%g closed/in; touch /new && echo wrote")
    assert text.split("\n") == ["d:", "kept", "", "whole:", "z", "in", "0:0", "wrote"], (event, x.log_text())
    for bad in (layerkit.entry("../x", b"x"), layerkit.entry("node", kind=tarfile.CHRTYPE), layerkit.entry("h", kind=tarfile.LNKTYPE, link="/etc/passwd")):
        event, _ = images.run([layerkit.tar(bad)], "true")
        assert event["error"].startswith("CannotPullContainerError: failed to extract layer"), event
    names = [n for n in os.listdir(os.path.join(x.data, "layers")) if not n.startswith(".")]
    assert len(names) == 3
    answer = {}
    for _ in range(100):  # until the last supervisor has gone
        answer = x.client.call(op="layers", keep=[], idle_ms=0, max_age_ms=10**12, max_bytes=10**15, dry=False)["layers"]
        if not answer["kept"]:
            break
        time.sleep(0.05)
    for _ in range(200):
        if not os.listdir(os.path.join(x.data, "layers")):
            break
        time.sleep(0.05)
    assert answer["kept"] == 0 and os.listdir(os.path.join(x.data, "layers")) == []


def test_shared_processes_and_ipc(x):
    """Without control groups what a container leaves in the shared PID name space ends with the task."""
    spec = x.spec("until test -s /dev/shm/word; do sleep 0.02; done; cat /dev/shm/word /proc/1/comm; until pgrep -f '^sleep 815' > /dev/null; do sleep 0.02; done; echo left")
    spec.update(shared_pid=True, ipc="task")
    spec["containers"].append({"name": "side", "image": harness.IMAGE, "essential": False, "command": ["/bin/sh", "-c", "echo hi > /dev/shm/word; (sleep 815 > /dev/null 2>&1 &); true"]})
    event = x.run(spec)
    assert x.text(spec).split("\n") == ["hi", "quern-pause", "left"], event
    assert event["containers"][1]["exit_code"] == 0 and subprocess.run(["pgrep", "-u", str(UID) if os.geteuid() == 0 else str(os.geteuid()), "-f", "^sleep 815"], stdout=subprocess.DEVNULL).returncode == 1


def test_a_way_out_or_a_note(x):
    spec = x.spec("ls /sys/class/net; cat /proc/net/route", network="private", egress=True)
    event = x.run(spec)
    if any("no way out" in note for note in event["notes"]):
        assert "tap0" not in x.text(spec)
    else:
        assert bool(shutil.which("slirp4netns")) == ("tap0\t00000000" in x.text(spec))
