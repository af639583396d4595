"""Lets the stock sagemaker SDK talk to Quern, for scripts started by `quern run`.

The SDK asks STS for the caller's identity at an address of its own making, whatever AWS_ENDPOINT_URL says (SDK v2:
sagemaker.utils.sts_regional_endpoint; v3: two copies in sagemaker.core). This module waits for those
modules to be imported and lets that one function answer AWS_ENDPOINT_URL. Nothing else of the SDK is touched.

A script that ends because this Python has no sagemaker SDK is told how to get one.
"""

import importlib.abc
import importlib.util
import os
import sys

_MODULES = ("sagemaker.utils", "sagemaker.core.common_utils", "sagemaker.core.helper.session_helper")
_FUNCTION = "sts_regional_endpoint"


def _mend(module):
    endpoint = os.environ.get("AWS_ENDPOINT_URL_STS") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and hasattr(module, _FUNCTION):
        setattr(module, _FUNCTION, lambda region: endpoint)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds these modules as usual, and runs _mend after each was loaded."""

    def __init__(self):
        self.busy = False

    def find_spec(self, name, path=None, target=None):
        if name not in _MODULES or self.busy:
            return None
        self.busy = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.busy = False
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            _mend(module)

        spec.loader.exec_module = exec_module
        return spec


def _tell_of_the_sdk(kind, error, trace):
    sys.__excepthook__(kind, error, trace)
    if issubclass(kind, ModuleNotFoundError) and error.name == "sagemaker":
        print(f"quern: {sys.executable} has no sagemaker SDK\n  try: python3 -m venv sdk && sdk/bin/pip install 'sagemaker<3' && "
              "quern run --python sdk/bin/python SCRIPT", file=sys.stderr)


def _next_sitecustomize():
    """Runs the sitecustomize that this one hides, when there is one."""
    here = os.path.dirname(os.path.abspath(__file__))
    rest = [p for p in sys.path if os.path.abspath(p or ".") != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", rest)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if os.environ.get("AWS_ENDPOINT_URL"):
    sys.meta_path.insert(0, _Finder())
    sys.excepthook = _tell_of_the_sdk
_next_sitecustomize()
