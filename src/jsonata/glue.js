// glue.js - what quern-jsonata runs beside the official jsonata package.
//
// DESIGN: one function, quernHandle(requestText, reply), which worker.c calls for each request. A request is
//   {"expression", "input"?, "bindings"?, "seed"?, "limit"?, "depth"?, "timelimit"?, "check"?, "plain"?}
// and the answer is {"value"} | {"undefined":true} | {"error":{code,message,position,token,value}} | {"unsupported":true} (a function).
// "check" only parses; its value says what the expression refers to. "limit" is in milliseconds of processor time. "depth" and "timelimit" are the test suite's.
// Compiled expressions are kept by their text. AWS's own functions are bound and $eval is removed, unless "plain" asks for the bare language.
"use strict";

(function () {
  const jsonata = globalThis.jsonata;

  // The package's $base64encode and $base64decode call Node's Buffer with "binary" (one byte a character).
  const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  function encode(text) {
    let out = "";
    for (let i = 0; i < text.length; i += 3) {
      const byte = (k) => (i + k < text.length ? text.charCodeAt(i + k) & 255 : 0);
      const bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
      for (let k = 0; k < 4; k++) out += i + k - 1 < text.length || k < 2 ? ALPHABET[(bits >> (18 - 6 * k)) & 63] : "=";
    }
    return out;
  }
  function decode(text) {
    let out = "", bits = 0, count = 0;
    for (const c of text) {
      const value = ALPHABET.indexOf(c);
      if (value < 0) continue;
      bits = (bits << 6) | value;
      count += 6;
      if (count >= 8) {
        count -= 8;
        out += String.fromCharCode((bits >> count) & 255);
      }
    }
    return out;
  }
  globalThis.Buffer = {
    from: function (text, encoding) {
      return { toString: (wanted) => (wanted === "base64" ? encode(text) : encoding === "base64" ? decode(text) : text) };
    },
  };
  const compiled = new Map();
  const MAX_COMPILED = 1000;
  const MAX_RANGE = 1000;
  const MAX_DEPTH = 100; // as Step Functions: a sum of 200 terms is too deep there

  // The guard of the request in hand: the package calls enter and leave around each node.
  let depth, maxDepth, end, ticks, plain;
  function runaway(message) {
    return { code: plain ? "U1001" : "Limit", message, position: 0, stack: "" };
  }
  const STACK = "Stack overflow error: Check for non-terminating recursive function. Consider rewriting as tail-recursive.";
  function enter(expr, input, environment) {
    if (environment.isParallelCall) return;
    if (++depth > maxDepth) throw runaway(STACK);
    if (end !== Infinity && (++ticks & 63) === 0 && quernCpuMs() > end) throw runaway("Expression evaluation timeout: Check for infinite loop");
  }
  function leave(expr, input, environment) {
    if (!environment.isParallelCall) depth--;
  }

  function compile(text) {
    let expression = compiled.get(text);
    if (!expression) {
      expression = jsonata(text);
      expression.assign(Symbol.for("jsonata.__evaluate_entry"), enter);
      expression.assign(Symbol.for("jsonata.__evaluate_exit"), leave);
      if (compiled.size >= MAX_COMPILED) compiled.delete(compiled.keys().next().value);
      compiled.set(text, expression);
    }
    return expression;
  }

  // mulberry32: small, seeded, good enough for jitter and identifiers of one execution.
  function generator(seed) {
    let state = seed >>> 0;
    return function () {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  // The language's own kind of list: one value alone stands for itself.
  function sequence() {
    return Object.defineProperty([], "sequence", { enumerable: false, value: true });
  }

  function failure(code, message) {
    return { code, message, position: 0 };
  }

  // AWS's additions (developer guide, "Transforming data with JSONata", "JSONata functions provided by Step Functions").
  function awsFunctions(random) {
    return {
      partition(array, size) {
        if (!Array.isArray(array) || !Number.isInteger(size) || size < 1) throw failure("D3137", "Invalid arguments for $partition");
        const parts = [];
        for (let i = 0; i < array.length; i += size) parts.push(array.slice(i, i + size));
        return parts;
      },
      range(first, last, step) {
        if (![first, last, step].every(Number.isInteger) || step === 0) throw failure("D3137", "Invalid arguments for $range");
        const values = sequence();
        for (let v = first; step > 0 ? v <= last : v >= last; v += step) {
          if (values.length >= MAX_RANGE) throw failure("D2014", "The array from $range is too long");
          values.push(v);
        }
        return values;
      },
      hash(data, algorithm) {
        const text = typeof data === "string" ? data : JSON.stringify(data);
        const digest = quernHash(String(algorithm), text);
        if (digest === undefined) throw failure("D3137", "Invalid algorithm for $hash: " + algorithm);
        return digest;
      },
      random(seed) {
        return seed === undefined ? random() : generator(Number(seed))();
      },
      uuid() {
        const digit = (n) => Math.floor(random() * n).toString(16);
        return "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx".replace(/[xy]/g, (c) => (c === "x" ? digit(16) : (8 + Math.floor(random() * 4)).toString(16)));
      },
      parse(text) {
        try {
          return JSON.parse(text);
        } catch (e) {
          throw failure("D3137", "The argument of $parse is not JSON");
        }
      },
    };
  }

  // Bindings go into a frame of the evaluation, so that nothing of one request stays in a kept expression for the next.
  function bindingsOf(request) {
    const bindings = Object.assign({}, request.bindings);
    if (!request.plain) {
      const functions = awsFunctions(generator(request.seed === undefined ? Math.random() * 4294967296 : request.seed));
      for (const name of Object.keys(functions)) if (!(name in bindings)) bindings[name] = functions[name];
      bindings.eval = undefined;
    }
    return bindings;
  }

  function errorOf(e) {
    const out = { message: String((e && e.message) || e) };
    for (const key of ["code", "position", "token", "value", "index"]) if (e && e[key] !== undefined && typeof e[key] !== "function") out[key] = e[key];
    if (e instanceof RangeError && out.code === undefined) return { error: runaway(STACK) };
    if (out.code === undefined) out.code = "D0000";
    return { error: out };
  }

  function answerOf(value) {
    if (value === undefined) return { undefined: true };
    if (typeof value === "function" || (value && (value._jsonata_lambda || value._jsonata_function))) return { unsupported: true };
    return { value };
  }

  // Functions inside a value have no JSON form; an integral float is written as an integer, as everywhere in JavaScript.
  function textOf(answer) {
    return JSON.stringify(answer, (key, value) => {
      if (value && (value._jsonata_lambda || value._jsonata_function)) return undefined;
      return typeof value === "number" && !Number.isFinite(value) ? null : value;
    });
  }

  // Names that an expression reads where it has no context: all but the later steps of a path, predicates, orders and groups.
  function topNames(node, found) {
    if (!node || typeof node !== "object") return;
    switch (node.type) {
      case "name":
        found.add(node.value);
        break;
      case "path":
        topNames(node.steps[0], found);
        break;
      case "binary":
      case "apply":
        topNames(node.lhs, found);
        topNames(node.rhs, found);
        break;
      case "bind":
        topNames(node.rhs, found);
        break;
      case "unary":
        if (node.value === "{") for (const pair of node.lhs) for (const one of pair) topNames(one, found);
        else for (const one of node.expressions || [node.expression]) topNames(one, found);
        break;
      case "block":
        for (const one of node.expressions) topNames(one, found);
        break;
      case "condition":
        for (const one of [node.condition, node.then, node.else]) topNames(one, found);
        break;
      case "function":
      case "partial":
        for (const one of [node.procedure, ...node.arguments]) topNames(one, found);
        break;
      case "lambda":
        topNames(node.body, found);
        break;
    }
  }

  // $$ and $states.errorOutput anywhere in the tree. The tree may share nodes.
  function special(node, found, seen) {
    if (!node || typeof node !== "object" || seen.has(node)) return;
    seen.add(node);
    if (node.type === "variable" && node.value === "$") found.root = true;
    if (node.type === "path" && node.steps.length > 1 && node.steps[0].type === "variable" && node.steps[0].value === "states" && node.steps[1].value === "errorOutput")
      found.errorOutput = true;
    for (const key of Object.keys(node)) special(node[key], found, seen);
  }

  function inspect(expression) {
    const found = { top: [], root: false, errorOutput: false }, names = new Set();
    const tree = expression.ast();
    topNames(tree, names);
    special(tree, found, new Set());
    found.top = Array.from(names);
    return { value: found };
  }

  globalThis.quernHandle = function (text, reply) {
    try {
      const request = JSON.parse(text);
      const expression = compile(request.expression);
      if (request.check) return reply(JSON.stringify(inspect(expression)));
      plain = request.plain;
      depth = ticks = 0;
      maxDepth = request.depth !== undefined ? request.depth : plain ? Infinity : MAX_DEPTH;
      const limit = request.timelimit === undefined ? request.limit : request.timelimit;
      end = limit === undefined ? Infinity : quernCpuMs() + limit;
      expression.evaluate(request.input, bindingsOf(request)).then(
        (value) => reply(textOf(answerOf(value))),
        (e) => reply(textOf(errorOf(e)))
      );
    } catch (e) {
      reply(textOf(errorOf(e)));
    }
  };
})();
