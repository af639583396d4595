"""Layers of stored images: unpacking, hostile archives, and collection."""
import fcntl
import gzip
import hashlib
import os
import tarfile
import time

import pytest

from layerkit import Images, chain, diff_id_of, entry, tar, zstd


@pytest.fixture(scope="module")
def images(x):
    return Images(x)


def layers_dir(x):
    return os.path.join(x.data, "layers")


def unpacked(x):
    return {name for name in os.listdir(layers_dir(x)) if not name.startswith(".")}


def collect(x, keep=(), **more):
    answer = x.client.call(op="layers", keep=list(keep), **{"idle_ms": 0, "max_age_ms": 10**12, "max_bytes": 10**15, "dry": False, **more})
    assert "layers" in answer, answer
    return answer["layers"]


def wait_for(probe):
    for _ in range(500):
        if probe():
            return
        time.sleep(0.02)
    raise AssertionError("it does not come true")


# ---- what a layer means ----

def test_formats_and_modes(x, images):
    plain = tar(entry("a/file", b"plain\n", mode=0o640, uid=7, gid=8), entry("a/set", b"x", mode=0o4755), entry("a/sticky", mode=0o1777))
    packed = gzip.compress(tar(entry("b", b"gz\n"))) + gzip.compress(b"")  # two members
    other = zstd(tar(entry("c", b"zstd\n"), entry("a/hard", kind=tarfile.LNKTYPE, link="c"), entry("a/up", kind=tarfile.SYMTYPE, link="../b")))
    event, text = images.run([plain, packed, other], "cat a/file b c a/hard a/up; stat -c '%a %u %g' a/file a/set a/sticky; stat -c %h c")
    assert text.split("\n") == ["plain", "gz", "zstd", "zstd", "gz", "640 7 8", "4755 0 0", "1777 0 0", "2"], event


def test_whiteouts(x, images):
    low = tar(entry("d/gone", b"1"), entry("d/kept", b"2"), entry("whole/x", b"3"), entry("whole/y", b"4"), entry("f", b"5"))
    high = tar(entry("d/.wh.gone", b""), entry("whole/.wh..wh..opq", b""), entry("whole/z", b"6"), entry(".wh.f", b""), entry("d/.wh..wh.plnk", b""))
    event, text = images.run([low, high], "ls d whole; test ! -e f && echo no f")
    assert text.split("\n") == ["d:", "kept", "", "whole:", "z", "no f"], event


def test_entries_that_come_twice(x, images):
    """The last one counts, whatever kind it is."""
    event, text = images.run([tar(entry("f", b"old"), entry("f", b"new\n"), entry("g", b"file"), entry("g", mode=0o755), entry("g/in", b"dir\n"),
                                  entry("h", mode=0o755), entry("h/in", b"x"), entry("h", b"now a file\n"), entry("s", kind=tarfile.SYMTYPE, link="/etc"), entry("s", b"no link\n"))],
                             "cat f g/in h s; ls etc")
    assert text.split("\n")[:4] == ["new", "dir", "now a file", "no link"], event


# ---- hostile ones ----

def refused(images, *archives):
    event, _ = images.run(list(archives), "echo ran")
    assert event["error"] and event["error"].startswith("CannotPullContainerError: failed to extract layer sha256:"), event
    return event["error"]


def test_names_that_lead_out(x, images, tmp_path):
    before = sorted(os.listdir(x.data))
    for bad in ("../x", "a/../../x", "/../x", "a/..", "../" * 40 + "tmp/x"):
        assert "is not allowed" in refused(images, tar(entry(bad, b"x")))
    assert "hard link" in refused(images, tar(entry("h", kind=tarfile.LNKTYPE, link="../../../../etc/passwd")))
    assert "hard link" in refused(images, tar(entry("h", kind=tarfile.LNKTYPE, link="/etc/passwd")))  # absolute = in the layer, and not there
    # Through symlinks: in a directory that one layer, or a layer below, made a link. All of it stays inside.
    event, text = images.run([tar(entry("out", kind=tarfile.SYMTYPE, link=str(tmp_path)), entry("out/evil", b"x")), tar(entry("up", kind=tarfile.SYMTYPE, link="../../../..")), tar(entry("up/evil2", b"y"))],
                             "find / -name 'evil*' 2>/dev/null | wc -l")
    assert os.listdir(tmp_path) == [] and not os.path.exists("/evil2") and (event["error"] or text == "2"), event
    # A hard link to a symlink links the link; it is not followed.
    event, _ = images.run([tar(entry("l", kind=tarfile.SYMTYPE, link="/etc/passwd"), entry("m", kind=tarfile.LNKTYPE, link="l"), entry("m", b"mine"))], "cat m")
    assert not event["error"] and open("/etc/passwd").read().startswith("root:")
    assert sorted(set(os.listdir(x.data)) | {"layers"}) == sorted(set(before) | {"layers"})


def test_absolute_names_are_inside(x, images):
    event, text = images.run([tar(entry("/abs/f", b"inside\n"))], "cat /abs/f")
    assert text == "inside", event
    assert not os.path.exists("/abs")


def test_devices(x, images):
    assert "device node" in refused(images, tar(entry("null", kind=tarfile.CHRTYPE)))
    assert "device node" in refused(images, tar(entry("disk", kind=tarfile.BLKTYPE, major=8, minor=0)))
    event, text = images.run([tar(entry("dev/sda", kind=tarfile.BLKTYPE, major=8, minor=0), entry("pipe", kind=tarfile.FIFOTYPE))], "ls /dev/sda 2>&1; test -p pipe && echo pipe")
    assert "No such file" in text and text.endswith("pipe"), event


def test_whiteout_tricks(x, images):
    for bad in (".wh..", ".wh...", ".wh."):
        assert "whiteout" in refused(images, tar(entry("d/" + bad, b"")))
    # A whiteout of a directory that is a symlink out of the layer takes the link away, not what it points to.
    event, _ = images.run([tar(entry("etc2", kind=tarfile.SYMTYPE, link="/etc"), entry("etc2/.wh.passwd", b""), entry(".wh.etc2", b""))], "true")
    assert os.path.exists("/etc/passwd") and event, event


def test_foreign_attributes_stay_out(x, images):
    """Attributes that overlayfs reads cannot be smuggled in."""
    low = tar(entry("d/below", b"1"))
    high = tar(entry("d", mode=0o755, pax={"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.overlay.opaque": "y"}),
               entry("r", b"r", pax={"SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.security.selinux": "x"}))
    event, text = images.run([low, high], "ls d")
    assert text == "below", event


def test_broken_archives(x, images):
    whole = gzip.compress(tar(entry("f", os.urandom(200000))))
    refused(images, whole[:100000])
    refused(images, zstd(tar(entry("f", os.urandom(200000))))[:100000])
    refused(images, tar(entry("f", b"x" * 5000))[:3000])
    refused(images, os.urandom(4096))
    # nothing half-made stays under a name
    assert not [n for n in os.listdir(layers_dir(x)) if n.endswith(".n")]


def left_over(x):
    return [n for n in os.listdir(layers_dir(x)) if n.endswith(".n") or n.startswith(".g-")]


def test_streams_that_are_not_whole(x, images):
    """Cut short, damaged, or followed by something else: nothing of them stays."""
    plain = tar(entry("f", os.urandom(200000)))
    packed, other = gzip.compress(plain), zstd(plain, "--check")
    before = unpacked(x)
    wrong_crc, wrong_byte = bytearray(packed), bytearray(other)
    wrong_crc[-8] ^= 1
    wrong_byte[-1] ^= 1  # of the frame's check sum
    for data, why in ((packed[:-3], "unexpected EOF"), (packed[:100000], "unexpected EOF"), (other[:-3], "unexpected EOF"), (bytes(wrong_crc), "gzip: invalid checksum"),
                      (bytes(wrong_byte), "zstd: "), (packed + b"\0" * 512, "gzip: invalid header"), (packed + other, "gzip: invalid header"),
                      (other + packed, "magic number mismatch"), (other + b"rubbish", "magic number mismatch")):
        assert why in refused(images, (data, diff_id_of(plain))), why
    assert "wrong diff id calculated on extraction" in refused(images, (plain + b"rubbish", diff_id_of(plain)))
    assert unpacked(x) - before <= {chain(images.base["digest"])} and not left_over(x)


def test_diff_ids(x, images):
    """What an image says of its layers must be so, also when another image has unpacked them already."""
    data = gzip.compress(tar(entry("mine", b"right\n")))
    wrong = "sha256:" + "0" * 64
    mine = chain(images.base["digest"], "sha256:" + hashlib.sha256(data).hexdigest())
    said = 'wrong diff id calculated on extraction "%s"' % diff_id_of(data)
    assert said in refused(images, (data, wrong))
    assert mine not in unpacked(x) and not left_over(x)
    assert images.run([data], "cat mine")[1] == "right" and mine in unpacked(x)
    assert said in refused(images, (data, wrong))
    # The digest of the packed bytes is a common mistake.
    assert said in refused(images, (data, "sha256:" + hashlib.sha256(data).hexdigest()))
    # By another algorithm: looked up in the archive once, and noted.
    long_form = diff_id_of(data, "sha512")
    assert "wrong diff id" in refused(images, (data, "sha512:" + "0" * 128))
    assert images.run([(data, long_form)], "cat mine")[1] == "right"
    with open(os.path.join(layers_dir(x), ".%s.l" % mine), encoding="ascii") as f:
        assert f.read().split() == ["6", diff_id_of(data), long_form]
    # A layer of before the diff ids were noted.
    with open(os.path.join(layers_dir(x), ".%s.l" % mine), "w", encoding="ascii") as f:
        f.write("6\n")
    assert said in refused(images, (data, wrong)) and images.run([data], "cat mine")[1] == "right"


def test_bombs(x, images):
    """More than a layer may hold: said by the header, made of holes, or of endless zeroes."""
    info, _ = entry("big", b"")
    info.size = 1 << 50
    header = info.tobuf(tarfile.GNU_FORMAT)
    assert "larger than" in refused(images, header + b"x" * 10240)
    sparse = tar(entry("GNUSparseFile.0/holes", b"1\n0\n1\n".ljust(512, b"\0") + b"x", pax={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "holes", "GNU.sparse.realsize": str(1 << 50)}))
    assert "larger than" in refused(images, sparse)
    # A long path, deep.
    assert "not allowed" in refused(images, tar(entry("/".join(["d"] * 300), b"x")))


def test_another_task_goes_on(x, images):
    spec = images.spec([tar(entry("mine", b"still here\n"))], "sleep 1; cat mine")
    x.submit(spec)
    x.client.wait(spec["id"], "started")
    refused(images, tar(entry("../x", b"x")))
    assert x.client.wait(spec["id"], "stopped")["containers"][0]["exit_code"] == 0 and x.text(spec) == "still here"


def test_stop_while_it_unpacks(x, images):
    """Nothing is started any more, and what was half unpacked goes; so for one that waits for somebody else's unpacking."""
    spec = images.spec([tar(entry("zeros", bytes(64 << 20)), *(entry("f%d" % i, b"x") for i in range(20000)))], "echo ran")
    x.submit(spec)
    x.stop(spec["id"])
    event = x.client.wait(spec["id"], "stopped")
    digests = [layer["digest"] for layer in spec["containers"][0]["rootfs"]["layers"]]
    assert (event["reason"], event["error"], event["started_at"], event["containers"][0]["error"]) == ("stop", None, None, None), event
    assert chain(*digests) not in unpacked(x) and not os.path.exists(os.path.join(layers_dir(x), ".%s.n" % chain(*digests)))
    os.unlink(spec["containers"][0]["rootfs"]["layers"][1]["path"])
    spec = images.spec([tar(entry("one", b"1"))], "echo ran")
    digests = [layer["digest"] for layer in spec["containers"][0]["rootfs"]["layers"]]
    with open(os.path.join(layers_dir(x), ".%s.l" % chain(*digests)), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        x.submit(spec)
        for _ in range(200):  # until it waits for the lock
            if chain(digests[0]) in unpacked(x):
                break
            time.sleep(0.02)
        x.stop(spec["id"])
        event = x.client.wait(spec["id"], "stopped")
        assert (event["reason"], event["error"], event["started_at"]) == ("stop", None, None), event
    assert images.run([tar(entry("one", b"1"))], "cat one")[1] == "1"


# ---- collection ----

def test_collection(x, images):
    data = [tar(entry("one", os.urandom(3000))), tar(entry("two", b"2\n"))]
    digests = [images.base["digest"], *("sha256:" + hashlib.sha256(d).hexdigest() for d in data)]
    chains = [chain(*digests[:n]) for n in (1, 2, 3)]
    spec = images.spec(data, "while test ! -e /tmp/go; do sleep 0.1; done; cat two", mounts=[{"type": "bind", "source": os.path.join(x.data, "layer-go"), "target": "/tmp"}])
    os.makedirs(os.path.join(x.data, "layer-go"), exist_ok=True)
    x.submit(spec)
    x.client.wait(spec["id"], "started")
    assert set(chains) <= unpacked(x)
    # In use: nothing of it goes, though no image refers to it.
    answer = collect(x)
    assert set(chains) == unpacked(x) and answer["in_use"] == 3 and answer["kept"] == 3 and answer["kept_bytes"] > 3000
    # A restart of the executor does not change that.
    x.kill(9)
    x.start()
    assert collect(x)["in_use"] == 3 and set(chains) == unpacked(x)
    open(os.path.join(x.data, "layer-go", "go"), "w").close()
    assert x.client.wait(spec["id"], "stopped")["containers"][0]["exit_code"] == 0 and x.text(spec) == "2"
    os.unlink(os.path.join(x.data, "layer-go", "go"))
    # The supervisor is gone: an image still refers to two of them.
    for _ in range(100):
        answer = collect(x, [digests[:2]], dry=True)
        if not answer["in_use"]:
            break
        time.sleep(0.05)
    assert answer["removed"] == 1 and answer["in_use"] == 0 and set(chains) == unpacked(x)
    assert collect(x, [digests[:2]], idle_ms=3600000)["removed"] == 0
    answer = collect(x, [digests[:2]])
    assert answer["removed"] == 1 and answer["removed_bytes"] == 2 and answer["kept"] == 2 and unpacked(x) == set(chains[:2])
    wait_for(lambda: not [name for name in os.listdir(layers_dir(x)) if name.startswith(".g-")])
    # The bound on size takes the one that was used least recently, the bound on age both.
    os.utime(os.path.join(layers_dir(x), ".%s.l" % chains[0]), (1, 1))
    assert collect(x, [digests], max_bytes=10000)["removed"] == 1 and unpacked(x) == {chains[1]}
    os.utime(os.path.join(layers_dir(x), ".%s.l" % chains[1]), (1, 1))
    assert collect(x, [digests], max_age_ms=86400000)["removed"] == 1 and unpacked(x) == set()
    # What a crash left.
    for name in (".g-" + chains[0], ".%s.n" % chains[0]):
        os.makedirs(os.path.join(layers_dir(x), name, "deep", "tree"))
    collect(x)
    wait_for(lambda: not [name for name in os.listdir(layers_dir(x)) if name.startswith(".g-") or name.endswith(".n")])
    # And all of it comes back when it is needed.
    event, text = images.run(data, "cat two")
    assert text == "2" and unpacked(x) == set(chains), event


def test_a_task_that_waits_keeps_its_archives(x, images):
    cpus = x.client.machine["cpus"]
    first = x.spec("sleep 60", stop_timeout_ms=100, resources={"cpus": cpus, "memory": 1 << 20})
    assert x.submit(first)["state"] == "live"
    x.client.wait(first["id"], "started")
    data = tar(entry("waited", b"for it\n"))
    spec = images.spec([data], "cat waited", resources={"cpus": cpus, "memory": 1 << 20})
    assert x.submit(spec)["state"] == "queued"
    os.unlink(spec["containers"][0]["rootfs"]["layers"][1]["path"])  # the registry drops the image
    x.kill(9)
    x.start()
    x.stop(first["id"])
    event = x.client.wait(spec["id"], "stopped")
    assert event["containers"][0]["exit_code"] == 0 and x.text(spec) == "for it", event
