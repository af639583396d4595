// Runs a Lambda function's Node.js handler: asks Quern's runtime interface for events, calls the handler, answers.
//
// The container has the function's code in LAMBDA_TASK_ROOT, `_HANDLER` says what to call. No packages. Log lines START, END and REPORT, error objects
// and the context are as AWS's Node.js runtime has them.

import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import util from "node:util";

const env = process.env;
const [host, ...rest] = env.AWS_LAMBDA_RUNTIME_API.split("/");
const prefix = (rest.length ? "/" + rest.join("/") : "") + "/2018-06-01/runtime";
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
let requestId = "";

function call(method, where, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const [hostname, port] = host.split(":");
    const request = http.request({ hostname, port, method, path: prefix + where, agent, headers }, (response) => {
      const pieces = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(pieces).toString() }));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

function say(text) {
  fs.writeSync(1, text + "\n");
}

for (const [name, level] of [["log", "INFO"], ["info", "INFO"], ["debug", "DEBUG"], ["warn", "WARN"], ["error", "ERROR"], ["trace", "TRACE"]])
  console[name] = (...values) => say(`${new Date().toISOString()}\t${requestId}\t${level}\t${util.format(...values)}`.replace(/\n/g, "\r"));

class Failure extends Error {
  constructor(kind, text) {
    super(text);
    this.name = kind;
  }
}

function describe(error) {
  if (!(error instanceof Error) && !(error && error.stack))
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  return { errorType: error.name, errorMessage: error.message, trace: String(error.stack || "").split("\n") };
}

function resolveFile(base) {
  for (const end of [".js", ".mjs", ".cjs", ""])
    if (fs.existsSync(base + end) && fs.statSync(base + end).isFile()) return base + end;
  return null;
}

async function load(name) {
  const file = path.basename(name), at = file.indexOf(".");
  if (at < 0) throw new Failure("Runtime.MalformedHandlerName", "Bad handler");
  const root = path.join(env.LAMBDA_TASK_ROOT, path.dirname(name));
  const moduleName = file.slice(0, at), parts = file.slice(at + 1).split(".");
  const found = resolveFile(path.join(root, moduleName));
  if (!found) throw new Failure("Runtime.ImportModuleError", `Error: Cannot find module '${moduleName}'`);
  let loaded;
  try {
    loaded = await import(pathToFileURL(found));
  } catch (error) {
    if (error instanceof SyntaxError && /require|export|import/.test(error.message)) loaded = createRequire(found)(found);
    else if (error instanceof SyntaxError) throw new Failure("Runtime.UserCodeSyntaxError", `SyntaxError: ${error.message}`);
    else if (error && (error.code === "ERR_MODULE_NOT_FOUND" || error.code === "MODULE_NOT_FOUND")) throw new Failure("Runtime.ImportModuleError", `Error: ${error.message}`);
    else throw error;
  }
  const pick = (from) => parts.reduce((value, part) => (value == null ? undefined : value[part]), from);
  const handler = pick(loaded) ?? pick(loaded.default);
  if (handler === undefined) throw new Failure("Runtime.HandlerNotFound", `${name} is undefined or not exported`);
  if (typeof handler !== "function") throw new Failure("Runtime.HandlerNotFound", `${name} is not a function`);
  return handler;
}

function contextOf(headers) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]), client = headers["lambda-runtime-client-context"];
  return {
    awsRequestId: requestId,
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: client ? JSON.parse(client) : undefined,
    identity: undefined,
    callbackWaitsForEmptyEventLoop: true,
    getRemainingTimeInMillis: () => Math.max(deadline - Date.now(), 0),
  };
}

// With a promise, or with the callback or the context's functions. What else is returned counts for nothing, and when nothing is left that could still
// call back, the answer is null: as AWS's runtime has it.
function run(handler, event, context) {
  let nothingLeft;
  return new Promise((resolve, reject) => {
    nothingLeft = () => resolve(null);
    process.once("beforeExit", nothingLeft);
    const callback = (error, value) => (error == null ? resolve(value) : reject(error));
    context.done = callback;
    context.succeed = (value) => resolve(value);
    context.fail = (error) => reject(error);
    const value = handler(event, context, callback);
    if (value && typeof value.then === "function") value.then(resolve, reject);
  }).finally(() => process.off("beforeExit", nothingLeft));
}

function encode(value) {
  try {
    return JSON.stringify(value === undefined ? null : value) ?? "null";
  } catch (error) {
    throw new Failure("Runtime.MarshalError", `Unable to stringify response body: ${error.message}`);
  }
}

async function invoke(handler, init) {
  const next = await call("GET", "/invocation/next");
  if (next.status !== 200) process.exit(0); // not needed any more
  requestId = next.headers["lambda-runtime-aws-request-id"];
  say(`START RequestId: ${requestId} Version: ${env.AWS_LAMBDA_FUNCTION_VERSION}`);
  const started = performance.now();
  let what = "response", answer;
  try {
    answer = encode(await run(handler, JSON.parse(next.body), contextOf(next.headers)));
  } catch (error) {
    what = "error";
    const shown = describe(error);
    answer = JSON.stringify(shown);
    say(`${new Date().toISOString()}\t${requestId}\tERROR\tInvoke Error \t${JSON.stringify({ ...shown, stack: shown.trace, trace: undefined })}`);
  }
  const ms = performance.now() - started, used = Math.round(process.resourceUsage().maxRSS / 1024);
  const more = init === undefined ? "" : `Init Duration: ${init.toFixed(2)} ms\t`;
  say(`END RequestId: ${requestId}\nREPORT RequestId: ${requestId}\tDuration: ${ms.toFixed(2)} ms\tBilled Duration: ${Math.ceil(ms)} ms\tMemory Size: ${env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE} MB\tMax Memory Used: ${used} MB\t${more}`);
  await call("POST", `/invocation/${requestId}/${what}`, answer, { "Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": "Unhandled" });
}

let handler;
try {
  handler = await load(env._HANDLER);
} catch (error) {
  const shown = describe(error);
  say(`${new Date().toISOString()}\tundefined\tERROR\tUncaught Exception \t${JSON.stringify(shown)}`);
  await call("POST", "/init/error", JSON.stringify(shown)).catch(() => {});
  process.exit(1);
}
const fatal = (kind) => (error) => {
  const shown = { ...describe(error), errorType: kind };
  say(`${new Date().toISOString()}\t${requestId}\tERROR\t${kind} \t${JSON.stringify(shown)}`);
  http.request({ hostname: host.split(":")[0], port: host.split(":")[1], method: "POST", path: `${prefix}/invocation/${requestId}/error` }, () => process.exit(1)).on("error", () => process.exit(1)).end(JSON.stringify(shown));
};
process.on("uncaughtException", fatal("Runtime.UncaughtException"));
process.on("unhandledRejection", fatal("Runtime.UnhandledPromiseRejection"));
let init = performance.now();
try {
  for (;;) {
    await invoke(handler, init);
    init = undefined;
  }
} catch {
  process.exit(0); // Quern is gone: so is this worker
}
