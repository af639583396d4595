"""Drives a real executor over its socket. Used by the tests and by bench/task."""
import json
import os
import queue
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/test-image:1"

IMAGES_JSON = {
    "version": 1,
    "layout": {"mounts": [], "links": [{"path": "/opt/quern/bin/python3", "to": "/usr/bin/python3"}],
               "env": {"LANG": "C.UTF-8"}},
    "images": [{"name": "test", "repositories": ["test-image", "team/test"], "tags": "*",
                "env": {"WHICH": "any"}, "tag_env": [{"tags": ["2*"], "env": {"WHICH": "two"}}],
                "default_command": ["/bin/sh", "-c", "echo default"]},
               {"name": "poor", "repositories": ["poor-image"], "tags": "*",
                "debian_packages": ["no-such-package-at-all"]}],
}


def program():
    path = os.environ.get("QUERN_TASK")
    if path:
        return path
    raise RuntimeError("QUERN_TASK must name the test program")


class Client:
    """One connection. Answers and events are read by a thread."""

    def __init__(self, path, subscribe=True, forget=False):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(path)
        self.events, self.replies, self.seen = queue.Queue(), {}, []
        self.cond, self.n, self.forget, self.dead = threading.Condition(), 0, forget, False
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        if subscribe:
            self.machine = self.call(op="hello", subscribe=True)["machine"]

    def read(self):
        buf = b""
        while True:
            try:
                data = self.sock.recv(65536)
            except OSError:
                data = b""
            if not data:
                with self.cond:
                    self.dead = True
                    self.cond.notify_all()
                return
            buf += data
            while len(buf) >= 4 and len(buf) >= 4 + struct.unpack(">I", buf[:4])[0]:
                size = struct.unpack(">I", buf[:4])[0]
                message, buf = json.loads(buf[4:4 + size]), buf[4 + size:]
                with self.cond:
                    if "re" in message:
                        self.replies[message["re"]] = message
                    else:
                        self.seen.append(message)
                    self.cond.notify_all()

    def send(self, **message):
        self.n += 1
        message["n"] = self.n
        data = json.dumps(message).encode()
        self.sock.sendall(struct.pack(">I", len(data)) + data)
        return self.n

    def answer(self, n, timeout=20):
        with self.cond:
            assert self.cond.wait_for(lambda: n in self.replies or self.dead, timeout), "no answer"
            assert n in self.replies, "the executor closed the connection"
            return self.replies.pop(n)

    def call(self, **message):
        return self.answer(self.send(**message))

    def wait(self, task, kind, timeout=30):
        def find():
            for message in self.seen:
                event = message["event"]
                if event["task"] == task and event["type"] == kind:
                    return event
            return None
        with self.cond:
            ok = self.cond.wait_for(lambda: find() or self.dead, timeout)
            event = find()
        assert ok and event, "no event %s of %s; seen: %s" % (kind, task, self.seen)
        return event

    def close(self):
        self.sock.close()


class Executor:
    def __init__(self, runtime=None, uid=None, data=None, api_port=0, images=None, prefix=(), cdi=None):
        self.data = data or tempfile.mkdtemp(prefix="quern-task-")
        os.chmod(self.data, 0o755)
        self.images = images or os.path.join(self.data, "images")
        if not images:
            os.makedirs(self.images, exist_ok=True)
            with open(os.path.join(self.images, "images.json"), "w") as f:
                json.dump(IMAGES_JSON, f)
        self.socket = os.path.join(self.data, "exec.sock")
        self.runtime, self.uid, self.api_port, self.prefix, self.cdi = runtime, uid, api_port, list(prefix), cdi
        self.start()

    def start(self):
        argv = self.prefix + [program(), "executor", "--socket", self.socket, "--data", self.data, "--images", self.images]
        if self.runtime:
            argv += ["--runtime", self.runtime]
        if self.uid is not None:
            argv += ["--daemon-uid", str(self.uid), "--daemon-gid", str(self.uid)]
        if self.api_port:
            argv += ["--api-port", str(self.api_port)]
        if self.cdi:
            argv += ["--cdi-dirs", self.cdi]
        self.log = open(os.path.join(self.data, "executor.log"), "ab")
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        self.process = subprocess.Popen(argv, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        for _ in range(500):
            if os.path.exists(self.socket):
                try:
                    self.client = Client(self.socket)
                    return
                except OSError:
                    pass
            if self.process.poll() is not None:
                raise RuntimeError("the executor ended: " + self.log_text())
            time.sleep(0.01)
        raise RuntimeError("the executor does not listen: " + self.log_text())

    def log_text(self):
        with open(os.path.join(self.data, "executor.log")) as f:
            return f.read()

    def kill(self, sig=9):
        self.process.send_signal(sig)
        self.process.wait()
        self.client.close()

    def new_id(self, name="t"):
        return "%s-%s" % (name, uuid.uuid4().hex[:12])

    def spec(self, command, **more):
        """A task of one container; keys that belong to the container go there."""
        task = {"id": more.pop("id", None) or self.new_id(), "network": more.pop("network", "none")}
        for key in ("max_runtime_ms", "resources", "outputs", "limits", "report", "egress", "endpoints"):
            if key in more:
                task[key] = more.pop(key)
        container = {"name": "main", "image": IMAGE, "entrypoint": None,
                     "command": command if isinstance(command, list) else ["/bin/sh", "-c", command],
                     "log": os.path.join(self.data, "logs", task["id"])}
        container.update(more)
        task["containers"] = [container]
        return task

    def submit(self, spec, owner="job/x"):
        return self.client.call(op="start", owner=owner, spec=spec)

    def run(self, spec, timeout=30):
        """Starts and waits for the end; the spec may also be a shell command."""
        if isinstance(spec, str):
            spec = self.spec(spec)
        answer = self.submit(spec)
        assert "error" not in answer, answer
        return self.client.wait(spec["id"], "stopped", timeout)

    def stop(self, task):
        return self.client.call(op="stop", task=task, reason="test")

    def records(self, spec, index=0):
        """The log as (ms, text)."""
        with open(spec["containers"][index]["log"], "rb") as f:
            data = f.read()
        assert not data or data.endswith(b"\n")
        return [(int(line.split(b" ", 1)[0]), line.split(b" ", 1)[1].decode("utf-8", "replace"))
                for line in data.split(b"\n")[:-1]]

    def text(self, spec, index=0):
        return "\n".join(text for _, text in self.records(spec, index))

    def task_dir(self, task):
        return os.path.join(self.data, "tasks", task)

    def state(self, task):
        with open(os.path.join(self.task_dir(task), "exec", "state.json")) as f:
            return json.load(f)

    def end(self):
        """Stops what still runs and removes everything."""
        if self.process.poll() is not None:
            self.start()
        try:
            live = self.client.call(op="list")["tasks"]
            for task in live:
                self.stop(task["task"])
                for c in task["containers"]:
                    if c.get("pid"):
                        try:
                            os.kill(c["pid"], 9)
                        except OSError:
                            pass
            for task in live:
                self.client.wait(task["task"], "stopped")
        finally:
            self.kill(15)
            self.log.close()
            complaints = self.complaints()
            for _ in range(50):
                shutil.rmtree(self.data, ignore_errors=True)
                if not os.path.exists(self.data):
                    break
                time.sleep(0.1)
        assert not complaints, complaints

    def complaints(self):
        """What sanitizers wrote, when the program was built with them."""
        found = []
        logs = [os.path.join(self.data, "executor.log")]
        tasks = os.path.join(self.data, "tasks")
        logs += [os.path.join(tasks, t, "exec", "log") for t in (os.listdir(tasks) if os.path.isdir(tasks) else [])]
        for log in logs:
            try:
                with open(log, errors="replace") as f:
                    text = f.read()
            except OSError:
                continue
            if "Sanitizer" in text or "runtime error" in text:
                found.append(text[:4000])
        return "\n".join(found[:3])
