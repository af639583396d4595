"""What bench.py measures with: requests signed once and repeated by wrk, CPU time and memory of a process."""

import os
import re
import subprocess
import tempfile
import time

import http_client

TICK = os.sysconf("SC_CLK_TCK")


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [int(x) for x in f.read().split()]
    except OSError:
        return []


def cpu_us(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000000 // TICK


def memory_kib(pid, field):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for one in f:
            if one.startswith(field + ":"):
                return int(one.split()[1])
    return 0


def forget_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as f:
        f.write("5")


def settle(pid, seconds=25):
    """Waits until the process has done nothing for six seconds (by then it has given unused memory back)."""
    quiet, last, end = 0, -1, time.time() + seconds
    while quiet < 6 and time.time() < end:
        now = cpu_us(pid)
        quiet = quiet + 1 if now - last < 30000 else 0
        last = now
        time.sleep(1)


class Request:
    def __init__(self, headers, body):
        self.headers, self.body = headers, body

    def wrk(self, host, seconds, connections):
        """(requests answered, requests a second). Any answer but 2xx is an error."""
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as f:
            f.write('wrk.method = "POST"\nwrk.path = "/"\n')
            for n, v in self.headers.items():
                if n.lower() != "host":  # wrk sends its own, which is the signed one
                    f.write(f'wrk.headers["{n}"] = [[{v}]]\n')
            f.write(f"wrk.body = [[{self.body.decode()}]]\n")
            f.flush()
            out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", f.name, f"http://{host}/"],
                                 stdout=subprocess.PIPE, text=True, check=True).stdout
        if "Non-2xx" in out or "Socket errors" in out:
            raise RuntimeError(out)
        return int(re.search(r"(\d+) requests in", out).group(1)), float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))


def signed(host, keys, operation, body):
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AWSStepFunctions." + operation}
    _, headers = http_client.sign(host, "POST", "/", body, service="states", headers=headers, key=keys[0], secret=keys[1])
    return Request(headers, body)
