"""Mounts, files, staged channels, outputs."""
import json
import os
import stat
import tarfile
import time

import pytest

import harness


def put(path, text="x", mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def stage(x, name, files):
    """A store's blobs and a stage directory of hard links to them."""
    directory = os.path.join(x.data, "stage", name)
    blobs = []
    for rel, text in files.items():
        blob = put(os.path.join(x.data, "blobs", name, rel.replace("/", "_")), text)
        os.makedirs(os.path.dirname(os.path.join(directory, rel)), exist_ok=True)
        os.link(blob, os.path.join(directory, rel))
        blobs.append(blob)
    return directory, blobs


def test_a_script_cannot_change_the_stores_bytes(x):
    directory, blobs = stage(x, x.new_id("s"), {"a.csv": "1,2\n", "sub/b.csv": "3\n"})
    before = [os.stat(b) for b in blobs]
    target = "/opt/ml/input/data/train"
    spec = x.spec("cd %s && cat a.csv sub/b.csv && echo more >> a.csv && rm sub/b.csv && chmod 777 a.csv && touch -d 2001-01-01 a.csv "
                  "&& mv a.csv c.csv && echo new > d && chown 5:5 . && cat c.csv" % target,
                  mounts=[{"type": "stage", "source": directory, "target": target, "writable": True}])
    event = x.run(spec)
    assert event["containers"][0]["exit_code"] == 0, x.text(spec)
    assert x.text(spec) == "1,2\n3\n1,2\nmore"
    for blob, old, text in zip(blobs, before, ("1,2\n", "3\n")):
        now = os.stat(blob)
        assert open(blob).read() == text
        assert (now.st_mode, now.st_uid, now.st_mtime_ns, now.st_nlink) == (old.st_mode, old.st_uid, old.st_mtime_ns, old.st_nlink)
    assert sorted(os.listdir(directory)) == ["a.csv", "sub"]


def test_stage_read_only(x):
    directory, blobs = stage(x, x.new_id("s"), {"a.csv": "1\n"})
    spec = x.spec("cd /data; cat a.csv; echo 2 2>/dev/null >> a.csv || echo closed; chmod 777 a.csv 2>/dev/null || echo closed; touch n 2>/dev/null || echo closed",
                  mounts=[{"type": "stage", "source": directory, "target": "/data", "writable": False}])
    x.run(spec)
    assert x.text(spec).split("\n") == ["1", "closed", "closed", "closed"] and open(blobs[0]).read() == "1\n"


def test_two_tasks_on_one_stage_do_not_see_each_other(x):
    directory, _ = stage(x, x.new_id("s"), {"a": "old"})
    specs = [x.spec("cat /d/a; printf %s > /d/a; sleep 1; cat /d/a" % word, mounts=[{"type": "stage", "source": directory, "target": "/d"}])
             for word in ("one", "two")]
    for spec in specs:
        x.submit(spec)
    for spec in specs:
        x.client.wait(spec["id"], "stopped")
    assert [x.text(spec) for spec in specs] == ["oldone", "oldtwo"]


def test_bind_mounts(x):
    path = put(os.path.join(x.data, "shared", x.new_id("b"), "f"), "hello\n")
    spec = x.spec("cat /ro/f /file; echo 2 2>/dev/null > /ro/f || echo closed; echo new > /rw/g",
                  mounts=[{"type": "bind", "source": os.path.dirname(path), "target": "/ro"},
                          {"type": "bind", "source": path, "target": "/file", "readonly": True},
                          {"type": "bind", "source": os.path.dirname(path), "target": "/rw", "readonly": False}])
    x.run(spec)
    assert x.text(spec) == "hello\nhello\nclosed" and open(os.path.join(os.path.dirname(path), "g")).read() == "new\n"


def test_links_in_the_data_directory_are_not_followed(x):
    directory = os.path.join(x.data, "stage", x.new_id("evil"))
    os.makedirs(os.path.dirname(directory), exist_ok=True)
    os.symlink("/etc", directory)
    for source in (directory, os.path.join(directory, "ssl")):
        event = x.run(x.spec("ls /d", mounts=[{"type": "bind", "source": source, "target": "/d"}]))
        assert event["reason"] == "start-failed" and event["error"].startswith("CannotStartContainerError: mount `/d`"), event


def test_scratch_is_shared_by_name_and_empty_at_the_start(x):
    spec = x.spec("ls -A /a | wc -l; echo from-main > /a/f; while [ ! -e /a/g ]; do sleep 0.05; done", essential="on-failure",
                  mounts=[{"type": "scratch", "name": "s", "target": "/a"}])
    other = dict(spec["containers"][0], name="other", log=spec["containers"][0]["log"] + "-2",
                 command=["/bin/sh", "-c", "while ! grep -q main /b/f; do sleep 0.05; done 2>/dev/null; cat /b/f; touch /b/g"],
                 mounts=[{"type": "scratch", "name": "s", "target": "/b"}])
    spec["containers"].append(other)
    x.run(spec)
    assert (x.text(spec), x.text(spec, 1)) == ("0", "from-main")


def test_files_are_written_before_the_start(x):
    text = "é\n" + "y" * 300000
    directory, blobs = stage(x, x.new_id("s"), {"a": "1"})
    spec = x.spec("stat -c %a /opt/ml/input/config/h.json /m/in /d/b; wc -c < /opt/ml/input/config/h.json; head -1 /opt/ml/input/config/h.json; cat /m/in /d/b /etc/hostname",
                  mounts=[{"type": "scratch", "name": "m", "target": "/m"}, {"type": "stage", "source": directory, "target": "/d"}],
                  files=[{"path": "/opt/ml/input/config/h.json", "text": text, "mode": 0o400},
                         {"path": "/m/in", "text": "scratch\n", "mode": 0o755}, {"path": "/d/b", "text": "staged\n"}])
    x.run(spec)
    assert x.text(spec).split("\n") == ["400", "755", "644", str(len(text.encode())), "é", "scratch", "staged", "main"]
    assert os.listdir(directory) == ["a"]


def test_file_in_a_read_only_mount_is_refused(x):
    path = put(os.path.join(x.data, "shared", x.new_id("b"), "f"))
    event = x.run(x.spec("true", mounts=[{"type": "bind", "source": os.path.dirname(path), "target": "/ro"}],
                         files=[{"path": "/ro/new", "text": "x"}]))
    assert "cannot be written before the start" in event["error"] and os.listdir(os.path.dirname(path)) == ["f"]


def test_nested_mounts_in_any_order(x):
    directory, _ = stage(x, x.new_id("s"), {"a": "1\n"})
    spec = x.spec("echo top > /opt/ml/x; cat /opt/ml/input/data/train/a; echo deep > /opt/ml/output/data/y; ls /opt/ml",
                  mounts=[{"type": "stage", "source": directory, "target": "/opt/ml/input/data/train"},
                          {"type": "scratch", "name": "deep", "target": "/opt/ml/output/data"},
                          {"type": "scratch", "name": "top", "target": "/opt/ml"}],
                  outputs=[{"name": "deep", "from": "deep", "path": "", "form": "files", "when": "always"}])
    event = x.run(spec)
    assert x.text(spec).split("\n") == ["1", "input", "output", "x"]
    assert [f["key"] for f in event["outputs"][0]["files"]] == ["y"]


# ---- outputs ----

MODEL = [{"type": "scratch", "name": "model", "target": "/opt/ml/model"}]


def output(form, when="success", **more):
    return dict({"name": "model", "from": "model", "path": "", "form": form, "when": when, "container": None}, **more)


def test_tar(x):
    spec = x.spec("cd /opt/ml/model; echo w > weights; mkdir -p code/empty; echo s > code/run.sh; chmod 755 code/run.sh; ln -s ../weights code/w; "
                  "ln -s /etc/passwd out1; ln -s ../../secret out2; mkfifo pipe; head -c 3000000 /dev/zero > zero",
                  mounts=MODEL, outputs=[output("tar.gz")])
    event = x.run(spec)
    file = event["outputs"][0]["files"][0]
    assert event["outputs"][0]["name"] == "model" and file["key"] == "model.tar.gz" and file["size"] == os.path.getsize(file["path"])
    assert file["path"] == os.path.join(x.task_dir(spec["id"]), "out", "model", "model.tar.gz")
    with tarfile.open(file["path"]) as tar:
        members = {m.name: m for m in tar.getmembers()}
        assert sorted(members) == ["code", "code/empty", "code/run.sh", "code/w", "weights", "zero"]
        assert members["code/run.sh"].mode == 0o755 and members["code/w"].linkname == "../weights" and members["zero"].size == 3000000
        assert tar.extractfile("weights").read() == b"w\n"
        assert {(m.uid, m.gid) for m in members.values()} == {(0, 0)}
    assert sum("left out" in note for note in event["notes"]) == 3, event["notes"]


def test_equal_contents_give_equal_archives(x):
    both = []
    for _ in range(2):
        spec = x.spec("cd /opt/ml/model; echo w > b; echo v > a; touch -d 2020-01-01 a b .", mounts=MODEL, outputs=[output("tar.gz")])
        both.append(open(x.run(spec)["outputs"][0]["files"][0]["path"], "rb").read())
    assert both[0] == both[1]


def test_files(x):
    spec = x.spec("cd /opt/ml/model; mkdir -p 'a b/c'; echo 1 > 'a b/c/one'; echo 22 > two; ln -s two link; echo no > /opt/ml/other", mounts=MODEL,
                  outputs=[output("files"), output("files", name="part", path="a b"), output("files", name="none", path="missing")])
    event = x.run(spec)
    files = event["outputs"][0]["files"]
    assert [(f["key"], f["size"], open(f["path"]).read()) for f in files] == [("a b/c/one", 2, "1\n"), ("two", 3, "22\n")]
    assert [o["name"] for o in event["outputs"]] == ["model", "part", "none"] and event["outputs"][2]["files"] == []
    assert any("`link` is not a regular file" in note for note in event["notes"])


def test_outputs_belong_to_the_daemon():
    if harness.os.geteuid() != 0:
        pytest.skip("needs root")
    x = harness.Executor(uid=54321)
    try:
        os.chown(x.data, 54321, 54321)
        spec = x.spec("mkdir -p /opt/ml/model/d; touch /opt/ml/model/d/f; chmod 4755 /opt/ml/model/d/f", mounts=MODEL, outputs=[output("files"), output("tar.gz", name="t")])
        event = x.run(spec)
        for out in event["outputs"]:
            path = out["files"][0]["path"]
            st = os.stat(path)
            assert (st.st_uid, stat.S_IMODE(st.st_mode)) == (54321, 0o644)
            assert os.stat(os.path.dirname(path)).st_uid == 54321 and os.stat(os.path.dirname(os.path.dirname(path))).st_uid == 54321
        assert os.stat(spec["containers"][0]["log"]).st_uid == 54321
        exec_dir = os.stat(os.path.join(x.task_dir(spec["id"]), "exec"))
        assert (exec_dir.st_uid, stat.S_IMODE(exec_dir.st_mode)) == (0, 0o700)
    finally:
        x.end()


def test_when(x):
    outputs = [output("files", name="good"), output("files", "always", name="ever")]
    names = lambda event: [o["name"] for o in event["outputs"]]  # noqa: E731
    assert names(x.run(x.spec("true", mounts=MODEL, outputs=outputs))) == ["good", "ever"]
    assert names(x.run(x.spec("exit 1", mounts=MODEL, outputs=outputs))) == ["ever"]
    assert names(x.run(x.spec("exec sleep 30", init=True, mounts=MODEL, outputs=outputs, max_runtime_ms=300, stop_timeout_ms=300))) == ["ever"]
    spec = x.spec("true", mounts=MODEL, outputs=[output("files", container="main"), output("files", name="o", container="other")], essential="on-failure")
    spec["containers"].append(dict(spec["containers"][0], name="other", command=["/bin/sh", "-c", "sleep 0.5; exit 2"]))
    assert names(x.run(spec)) == ["model"]


def test_texts(x):
    spec = x.spec("mkdir -p /opt/ml/output; printf 'A\\303\\251\\377%04000d' 7 > /opt/ml/output/failure; ln -s /etc/passwd /opt/ml/output/message; exit 1")
    texts = x.run(spec)["texts"]["main"]
    assert texts["failure"].startswith("Aé?0000") and len(texts["failure"].encode()) == 1024 and "root:x:0:0:root:/root:" in texts["message"]
    assert "backup" not in texts["message"]  # the container's passwd, not the host's
    spec = x.spec("echo done > /opt/ml/output/message", mounts=[{"type": "scratch", "name": "o", "target": "/opt/ml/output"}])
    assert x.run(spec)["texts"]["main"] == {"message": "done\n"}


def test_text_that_is_no_file(x):
    spec = x.spec("mkdir -p /opt/ml/output/message; mkfifo /opt/ml/output/failure")
    assert x.run(spec)["texts"]["main"] == {}


def test_forget_leaves_the_outputs_to_the_daemon(x):
    spec = x.spec("echo m > /opt/ml/model/m", mounts=MODEL, outputs=[output("files")])
    path = x.run(spec)["outputs"][0]["files"][0]["path"]
    x.client.call(op="forget", task=spec["id"])
    for _ in range(100):
        if not os.path.exists(os.path.join(x.task_dir(spec["id"]), "exec")):
            break
        time.sleep(0.05)
    assert open(path).read() == "m\n" and os.listdir(x.task_dir(spec["id"])) == ["out"]


def test_large_channel_is_staged_without_a_copy(x):
    directory, blobs = stage(x, x.new_id("s"), {"big": ""})
    with open(blobs[0], "r+b") as f:
        f.truncate(10 << 30)
    free = os.statvfs(x.data)
    spec = x.spec("stat -c %s /d/big; echo x > /d/other", mounts=[{"type": "stage", "source": directory, "target": "/d"}])
    event = x.run(spec)
    after = os.statvfs(x.data)
    assert x.text(spec) == str(10 << 30)
    assert (free.f_bfree - after.f_bfree) * free.f_frsize < 1 << 30
    assert json.dumps(event["notes"]) == "[]"  # nothing fell back to memory
