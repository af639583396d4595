"""Runs a Lambda function's Python handler: asks Quern's runtime interface for events, calls the handler, answers.

The container has the function's code in LAMBDA_TASK_ROOT, `_HANDLER` says what to call. Standard library only. Log lines START, END and REPORT, error
objects and the context are as AWS's Python runtime has them."""

import time

STARTED = time.monotonic()

import decimal
import http.client
import importlib
import json
import logging
import os
import resource
import sys

VERSION = "/2018-06-01/runtime"


class Api:
    """The runtime interface: "host:port/prefix" in AWS_LAMBDA_RUNTIME_API."""

    def __init__(self, address):
        host, _, prefix = address.partition("/")
        self.connection = http.client.HTTPConnection(host)
        self.prefix = f"/{prefix}{VERSION}" if prefix else VERSION

    def call(self, method, path, body=None, headers=None):
        self.connection.request(method, self.prefix + path, body, headers or {})
        response = self.connection.getresponse()
        return response.status, response.headers, response.read()

    def next(self):
        status, headers, body = self.call("GET", "/invocation/next")
        if status != 200:
            sys.exit(0)  # not needed any more
        return headers, body

    def answer(self, request_id, what, body):
        headers = {"Content-Type": "application/json"}
        if what == "error":
            headers["Lambda-Runtime-Function-Error-Type"] = "Unhandled"
        self.call("POST", f"/invocation/{request_id}/{what}", body, headers)

    def init_error(self, body):
        self.call("POST", "/init/error", body, {"Lambda-Runtime-Function-Error-Type": "Unhandled"})


class Part:
    """Attributes taken from a dict; None when it has them not."""

    def __init__(self, values, names):
        for name in names:
            setattr(self, name, (values or {}).get(name))


class ClientContext:
    def __init__(self, values):
        self.custom = values.get("custom")
        self.env = values.get("env")
        self.client = None
        if values.get("client"):
            self.client = Part(values["client"], ["installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name"])


class Context:
    def __init__(self, headers):
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = Part({}, ["cognito_identity_id", "cognito_identity_pool_id"])
        given = headers.get("Lambda-Runtime-Client-Context")
        self.client_context = ClientContext(json.loads(given)) if given else None
        self.tenant_id = None
        self._deadline_ms = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self):
        return max(self._deadline_ms - int(time.time() * 1000), 0)

    def log(self, text):
        sys.stdout.write(str(text))


class Handler(logging.Handler):
    """The root logger's: one line a record on standard output."""

    request_id = ""

    def __init__(self):
        super().__init__()
        self.setFormatter(logging.Formatter("[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"))
        self.formatter.converter = time.gmtime

    def emit(self, record):
        record.aws_request_id = Handler.request_id
        try:
            say(self.format(record))
        except Exception:
            self.handleError(record)


class Encoder(json.JSONEncoder):
    def default(self, o):
        if isinstance(o, decimal.Decimal):
            return float(o)
        return super().default(o)


class Failure(Exception):
    """An error of the runtime's own making: its type's name is not a class's."""

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def encode(value):
    version = os.environ.get("AWS_EXECUTION_ENV", "").rpartition("python3.")[2]
    ascii_only = version.isdigit() and int(version) < 12
    try:
        return json.dumps(value, cls=Encoder, ensure_ascii=ascii_only).encode()
    except Exception as error:
        raise Failure("Runtime.MarshalError", f"Unable to marshal response: {error}") from None


def frames(error):
    import traceback

    rows = [(f.filename, f.lineno, f.name, f.line) for f in traceback.extract_tb(error.__traceback__)]
    while rows and (rows[0][0] == __file__ or "importlib" in rows[0][0]):
        rows.pop(0)
    return traceback.format_list(rows)


def describe(error, request_id):
    """The error object that the caller gets, and the log line."""
    kind = error.kind if isinstance(error, Failure) else type(error).__name__
    stack = [] if isinstance(error, Failure) else frames(error)
    text = f"[ERROR] {kind}: {error}"
    if stack:
        text += "\nTraceback (most recent call last):\n" + "".join(stack).rstrip("\n")
    body = {"errorMessage": str(error), "errorType": kind, "requestId": request_id, "stackTrace": stack}
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "backslashreplace"), text


def load(name):
    module_name, dot, function_name = name.rpartition(".")
    if not dot:
        raise Failure("Runtime.MalformedHandlerName", f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)")
    module_name = module_name.replace("/", ".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise Failure("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}") from None
    except SyntaxError as error:
        raise Failure("Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}") from None
    if not hasattr(module, function_name):
        raise Failure("Runtime.HandlerNotFound", f"Handler '{function_name}' missing on module '{module_name}'")
    return getattr(module, function_name)


def report(request_id, seconds, init):
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    ms = seconds * 1000
    line = f"REPORT RequestId: {request_id}\tDuration: {ms:.2f} ms\tBilled Duration: {int(ms) + 1} ms\tMemory Size: {os.environ['AWS_LAMBDA_FUNCTION_MEMORY_SIZE']} MB\tMax Memory Used: {used} MB\t"
    if init is not None:
        line += f"Init Duration: {init * 1000:.2f} ms\t"
    say(f"END RequestId: {request_id}\n{line}")


def invoke(api, handler, init):
    headers, body = api.next()
    request_id = Handler.request_id = headers["Lambda-Runtime-Aws-Request-Id"]
    say(f"START RequestId: {request_id} Version: {os.environ['AWS_LAMBDA_FUNCTION_VERSION']}")
    started = time.monotonic()
    what = "response"
    try:
        try:
            event = json.loads(body)
        except ValueError as error:
            raise Failure("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from None
        answer = encode(handler(event, Context(headers)))
    except Exception as error:
        what = "error"
        answer, text = describe(error, request_id)
        say(text)
    sys.stderr.flush()
    report(request_id, time.monotonic() - started, init)
    api.answer(request_id, what, answer)


def main():
    api = Api(os.environ["AWS_LAMBDA_RUNTIME_API"])
    root = os.environ["LAMBDA_TASK_ROOT"]
    sys.path[0] = root  # instead of this file's directory
    sys.stdout.reconfigure(line_buffering=True)
    logging.getLogger().addHandler(Handler())
    try:
        handler = load(os.environ["_HANDLER"])
    except Exception as error:
        body, text = describe(error, "")
        say(text)
        api.init_error(body)
        sys.exit(1)
    init = time.monotonic() - STARTED
    try:
        while True:
            invoke(api, handler, init)
            init = None
    except (OSError, http.client.HTTPException):
        sys.exit(0)  # Quern is gone: so is this worker


main()
