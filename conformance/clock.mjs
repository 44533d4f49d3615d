// The peer's clock: `x-test-now: MILLISECONDS` on a request is what `Date` says to everything that this request
// does, as in a test-mode build of Portcullis.
import { AsyncLocalStorage } from "node:async_hooks";

const store = new AsyncLocalStorage();
const RealDate = Date;
const now = () => store.getStore() ?? RealDate.now();

export function installClock() {
  const Patched = new Proxy(RealDate, {
    construct: (target, args, newTarget) =>
      Reflect.construct(target, args.length ? args : [now()], newTarget === Patched ? target : newTarget),
    apply: () => new RealDate(now()).toString(),
    get: (target, key, receiver) => (key === "now" ? now : Reflect.get(target, key, receiver)),
  });
  RealDate.prototype.constructor = Patched;
  globalThis.Date = Patched;
}

export const runAt = (milliseconds, f) => (Number.isFinite(milliseconds) ? store.run(milliseconds, f) : f());
