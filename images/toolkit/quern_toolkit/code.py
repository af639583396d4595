"""Brings the user's code to /opt/ml/code and installs what it needs.

DESIGN: code that is already there is left alone. Packages go to a user directory of their own (PYTHONUSERBASE), because
the image's /usr is read-only and shared; it comes first on PYTHONPATH, so a script gets the versions that it asked for.
"""
import os
import shutil
import sys
import tarfile
import tempfile
from urllib.parse import urlparse

from quern_toolkit import failure, process


def fetch(uri, code_dir):
    """Fills an empty `code_dir` from s3://bucket/key, a directory, a tar file, or a single file."""
    os.makedirs(code_dir, exist_ok=True)
    if os.listdir(code_dir):
        failure.info(f"{code_dir} is not empty; the code there is used")
        return
    if uri.startswith("s3://"):
        with tempfile.TemporaryDirectory() as tmp:
            archive = os.path.join(tmp, "sourcedir.tar.gz")
            download(uri, archive)
            extract(archive, code_dir)
    elif os.path.isdir(uri):
        if os.path.realpath(uri) != os.path.realpath(code_dir):
            shutil.copytree(uri, code_dir, dirs_exist_ok=True)
    elif not os.path.exists(uri):
        raise failure.ClientError(f"sagemaker_submit_directory {uri} does not exist")
    elif tarfile.is_tarfile(uri):
        extract(uri, code_dir)
    else:
        shutil.copy2(uri, code_dir)


def extract(archive, code_dir):
    """Unpacks a tar file; members that would leave `code_dir` are refused."""
    with tarfile.open(archive, "r:*") as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(code_dir, filter="data")
            return
        root = os.path.realpath(code_dir)
        for member in tar.getmembers():
            targets = [member.name]
            if member.issym():
                targets.append(os.path.join(os.path.dirname(member.name), member.linkname))
            elif member.islnk():
                targets.append(member.linkname)
            elif not (member.isfile() or member.isdir()):
                raise failure.ClientError(f"{member.name} in the source archive is a device or pipe")
            for target in targets:
                place = os.path.realpath(os.path.join(root, target))
                if place != root and not place.startswith(root + os.sep):
                    raise failure.ClientError(f"{member.name} in the source archive points outside of it")
            tar.extract(member, root)


def s3_endpoint():
    for name in ("S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if os.environ.get(name):
            return os.environ[name]
    return None


def download(uri, path):
    process.use_site_packages()
    import boto3
    from botocore.config import Config

    url = urlparse(uri)
    endpoint = s3_endpoint()
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("SAGEMAKER_REGION")
    # The host name of an own endpoint has no bucket names below it.
    config = Config(s3={"addressing_style": "path"}) if endpoint else None
    client = boto3.client("s3", region_name=region or "us-east-1", endpoint_url=endpoint, config=config)
    client.download_file(url.netloc, url.path.lstrip("/"), path)


def packages_dir():
    return os.environ.setdefault("PYTHONUSERBASE", os.path.join(tempfile.gettempdir(), "quern-packages"))


def user_site():
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return os.path.join(packages_dir(), "lib", version, "site-packages")


def pip_install(what, code_dir, error_class):
    command = [sys.executable, "-m", "pip", "install", *what]
    flags = ["--user", "--break-system-packages", "--no-warn-script-location", "--disable-pip-version-check"]
    packages_dir()
    process.run(command, error_class, cwd=code_dir, flags=flags)


def install(entry_point, code_dir):
    """Installs the package or the requirements that come with the code."""
    kind = process.entry_point_kind(code_dir, entry_point)
    requirements = os.path.exists(os.path.join(code_dir, "requirements.txt"))
    if kind == process.PACKAGE:
        failure.info("Installing module.")
        more = ["-r", "requirements.txt"] if requirements else []
        pip_install([".", *more], code_dir, failure.InstallModuleError)
    elif kind == process.SCRIPT and requirements:
        failure.info("Installing dependencies from requirements.txt")
        pip_install(["-r", "requirements.txt"], code_dir, failure.InstallRequirementsError)
    elif kind == process.COMMAND:
        path = os.path.join(code_dir, entry_point)
        if os.path.exists(path):
            os.chmod(path, 0o777)
