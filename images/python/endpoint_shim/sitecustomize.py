"""Makes an old botocore (before 1.31) honour AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_<SERVICE>, as newer ones do.

DESIGN: put this directory on PYTHONPATH only where the packages of ../requirements.txt are not mounted. Python runs it at
every start, so it costs next to nothing: botocore is changed when, and if, a program imports it. A newer botocore is
left alone. Another sitecustomize further down the path still runs.
"""
import importlib.abc
import importlib.machinery
import os
import sys

MODULE = "botocore.session"
FIRST_VERSION_WITH_ENDPOINTS = (1, 31)


def endpoint_for(session, service_name):
    """The endpoint that the environment names for a service, or None."""
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    if any(name.startswith("AWS_ENDPOINT_URL_") for name in os.environ):
        service_id = session.get_service_model(service_name).service_id
        own = os.environ.get("AWS_ENDPOINT_URL_" + service_id.upper().replace(" ", "_"))
        if own:
            return own
    return os.environ.get("AWS_ENDPOINT_URL") or None


def version_of(text):
    return tuple(int(part) for part in text.split(".")[:2])


def change(module):
    import botocore

    if version_of(botocore.__version__) >= FIRST_VERSION_WITH_ENDPOINTS:
        return
    original = module.Session.create_client

    def create_client(self, service_name, region_name=None, api_version=None, use_ssl=True, verify=None,
                      endpoint_url=None, *args, **kwargs):
        if endpoint_url is None:
            endpoint_url = endpoint_for(self, service_name)
        return original(self, service_name, region_name, api_version, use_ssl, verify, endpoint_url, *args, **kwargs)

    create_client.__doc__ = original.__doc__
    module.Session.create_client = create_client


class ChangingLoader(importlib.abc.Loader):
    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        change(module)


class Finder(importlib.abc.MetaPathFinder):
    """Answers for one module, once."""

    def find_spec(self, name, path, target=None):
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            spec.loader = ChangingLoader(spec.loader)
        return spec


def run_next_sitecustomize():
    here = os.path.dirname(os.path.abspath(__file__))
    rest = [p for p in sys.path if os.path.abspath(p) != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", rest)
    if spec and spec.loader:
        with open(spec.origin, "rb") as f:
            exec(compile(f.read(), spec.origin, "exec"), {"__name__": "sitecustomize", "__file__": spec.origin})


if any(name.startswith("AWS_ENDPOINT_URL") for name in os.environ):
    sys.meta_path.insert(0, Finder())
run_next_sitecustomize()
