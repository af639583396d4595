"""Fails when an #include goes up or sideways between the rooms of src/ (see ARCHITECTURE.md, "Rooms")."""

import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src")

# Room -> rooms whose headers it may include. A room's own headers are always allowed.
BASE = {"base"}
STORAGE = BASE | {"store"}
PLATFORM = STORAGE | {"blob", "engine", "wire", "task"}
SERVICES = ["s3", "iam", "logs", "sagemaker", "ecr", "ecs", "states", "lambda", "ssm", "secrets"]
ALLOWED = {
    "base": set(),
    "store": BASE,
    "blob": STORAGE,
    "engine": STORAGE,
    "wire": STORAGE | {"engine"},
    "task": STORAGE | {"engine"},
    "cli": PLATFORM | set(SERVICES),
}
# A service may use the platform, and another service only through that service's one public header <room>/<room>.h.
PUBLIC_ONLY = set(SERVICES)
# The daemon's start (src/cli) also needs these.
EXTRA = {("cli", "sagemaker/jobs.h")}


def includes(path):
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if match:
                yield number, match.group(1)


# In a text of the C code: what only SQLite understands of it (src/store/store.h). Not where a migration has its own text for PostgreSQL.
SQLITE_ONLY = re.compile(r"\bINSERT OR [A-Z]+|\bREPLACE INTO|\browid\b|\bjson_(?:extract|tree)\(|\bGLOB \?|\bIS \?|\bOR \?\d?\)|\bAND \?\d?\)|DO UPDATE SET (\w+)=\1[-+]|ON CONFLICT DO UPDATE|\bCOLLATE NOCASE")


def sqlite_only(path):
    """(line, words) of SQL that PostgreSQL would refuse, as far as words tell."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    if ".sql_postgres" in text:
        return
    for literal in re.finditer(r'"(?:[^"\\\n]|\\.)*"(?:\s*"(?:[^"\\\n]|\\.)*")*', text):
        joined = "".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', literal.group()))
        match = SQLITE_ONLY.search(joined) if re.search(r"\b(SELECT|INSERT|UPDATE|DELETE|WHERE)\b", joined) else None
        if match:
            yield text.count("\n", 0, literal.start()) + 1, match.group()


def allowed(room, header):
    other = header.split("/")[0]
    if other == room or (room, header) in EXTRA:
        return True
    if other in PUBLIC_ONLY:
        return (room == "cli" or room in SERVICES) and header == f"{other}/{other}.h"
    return other in (PLATFORM if room in SERVICES else ALLOWED.get(room, set()))


def main():
    wrong = checked = 0
    for folder, _, names in os.walk(ROOT):
        room = os.path.relpath(folder, ROOT).split(os.sep)[0]
        for name in sorted(names):
            if not name.endswith((".c", ".h")):
                continue
            path = os.path.join(folder, name)
            for number, words in sqlite_only(path) if room != "store" else ():
                wrong += 1
                print(f"{os.path.relpath(path, ROOT)}:{number}: only SQLite knows `{words}`")
            for number, header in includes(path):
                checked += 1
                if not allowed(room, header):
                    wrong += 1
                    print(f"{os.path.relpath(path, ROOT)}:{number}: {room} must not include {header}")
    print(f"layers: {checked} includes checked, {wrong} wrong")
    return 1 if wrong or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
