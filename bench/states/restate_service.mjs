// The peer's service for bench.py: a handler of n durable steps. Usage: node restate_service.mjs <folder with node_modules> <port>
import { createRequire } from "node:module";
Promise.withResolvers ??= () => {
  const r = {};
  r.promise = new Promise((resolve, reject) => Object.assign(r, { resolve, reject }));
  return r;
};
const restate = createRequire(process.argv[2] + "/")("@restatedev/restate-sdk");
const chain = restate.service({
  name: "chain",
  handlers: {
    run: async (ctx, n) => {
      for (let i = 0; i < n; i++) await ctx.run("step", () => i);
      return n;
    },
  },
});
restate.endpoint().bind(chain).listen(Number(process.argv[3]));
