"""Finds or puts together quern-jsonata with the JSONata package for tests, and speaks with it."""

import json
import os
import shutil
import struct
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def _first(*paths):
    return next((p for p in paths if p and os.path.exists(p)), None)


def libexec():
    """A directory with quern-jsonata and jsonata/{jsonata.js,glue.js}, glue.js being the source tree's; or None and why."""
    program = _first(os.environ.get("QUERN_JSONATA"), os.path.join(ROOT, "build", "src", "jsonata", "quern-jsonata"))
    if not program:
        return None, "quern-jsonata is not built"
    folder = tempfile.mkdtemp(prefix="quern-jsonata-", dir="/tmp")
    os.mkdir(os.path.join(folder, "jsonata"))
    package = _first(os.environ.get("QUERN_JSONATA_PACKAGE"), os.path.join(ROOT, "build", "dist", "libexec", "quern", "jsonata", "jsonata.js"))
    if package:
        shutil.copy(package, os.path.join(folder, "jsonata", "jsonata.js"))
    else:
        subprocess.run([os.path.join(ROOT, "scripts", "jsonata"), folder], check=False, stderr=subprocess.DEVNULL, timeout=120)
    if not os.path.exists(os.path.join(folder, "jsonata", "jsonata.js")):
        shutil.rmtree(folder)
        return None, "the JSONata package is not here and cannot be fetched"
    shutil.copy(program, folder)
    shutil.copy(os.path.join(ROOT, "src", "jsonata", "glue.js"), os.path.join(folder, "jsonata"))
    return folder, None


class Worker:
    """One quern-jsonata."""

    def __init__(self, folder, memory=2 << 30):
        self.process = subprocess.Popen([os.path.join(folder, "quern-jsonata"), os.path.join(folder, "jsonata"), str(memory)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, **request):
        """The answer, or None when the worker ended."""
        text = json.dumps(request).encode()
        self.process.stdin.write(struct.pack(">I", len(text)) + text)
        self.process.stdin.flush()
        head = self.process.stdout.read(4)
        if len(head) < 4:
            return None
        return json.loads(self.process.stdout.read(struct.unpack(">I", head)[0]))

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
