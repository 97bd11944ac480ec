// What is known of robots, made of events: where each is and was, how it stands, its commands, its guards. No page, no clock.

const WAY = 60; // s of session time
const COMMANDS = 60;
const TRIPS = 60;
const FIRM = 0.02; // m: a shorter step is no step

/**
 * `robots`: by id, in the order in which they came, each `{id, told, state, way}`: its newest `Attached` and `BodyState` (null
 * before the first), and `way` of the last minute, `{t, x, y}` each.
 * `commands`: newest first, each `{id, name, arguments, origin, where, state, progress, detail, start, end, status, ended, result}`; `state`
 * is "asked", or as in `Progress`, or "over". `trips`: newest first, each `{where, guard, level, reason, detail, count, at}`.
 * `steered`: the newest `Steered`, or null. `changes` counts events that were of importance.
 */
export class Robots {
  robots = new Map();
  commands = [];
  trips = [];
  steered = null;
  last = 0; // session time (s) of the newest event
  changes = 0;

  clear() {
    this.robots = new Map();
    this.commands = [];
    this.trips = [];
    this.steered = null;
    this.changes += 1;
  }

  /** How many times a guard of robot `id` has tripped. */
  tripped(id) {
    return this.trips.reduce((sum, { where, count }) => sum + (where === id ? count : 0), 0);
  }

  take(e) {
    this.last = Math.max(this.last, e.at);
    switch (e.type) {
      case "Attached": this.#robot(e.where).told = e; break;
      case "BodyState": this.#stands(e); break;
      case "Command": this.#commanded(e); break;
      case "Progress": this.#further(e); break;
      case "Outcome": if (e.action !== "Command" || !this.#ended(e)) return; break;
      case "Tripped": this.#trip(e); break;
      case "Steered": this.steered = e; break;
      default: return;
    }
    this.changes += 1;
  }

  #robot(id) {
    if (!this.robots.has(id)) this.robots.set(id, { id, told: null, state: null, way: [] });
    return this.robots.get(id);
  }

  #stands(e) {
    const robot = this.#robot(e.where);
    robot.state = e;
    if (!e.pose?.every(Number.isFinite)) return;
    const [x, y] = e.pose;
    const { way } = robot;
    const before = way.at(-1);
    if (!before || Math.hypot(x - before.x, y - before.y) >= FIRM) way.push({ t: e.t, x, y });
    while (way.length && way[0].t < e.t - WAY) way.shift();
  }

  #commanded({ id, name, arguments: given, origin, t }) {
    if (this.commands.some((each) => each.id === id)) return; // told again to who joined late
    const made = { id, name, arguments: given ?? {}, origin, where: "", state: "asked", progress: null, detail: "", start: t };
    this.commands.unshift({ ...made, end: null, status: "", ended: "", result: null });
    this.commands.length = Math.min(this.commands.length, COMMANDS);
  }

  #further({ id, where, state, progress, detail }) {
    const command = this.commands.find((each) => each.id === id);
    if (!command || command.end !== null) return;
    Object.assign(command, { where, state, detail, progress: progress ?? command.progress });
  }

  #ended({ id, status, detail, result, at }) {
    const command = this.commands.find((each) => each.id === id);
    if (!command) return false;
    Object.assign(command, { state: "over", end: at, status, ended: detail, result });
    if (status === "done") command.progress = 1;
    return true;
  }

  #trip({ where, guard, level, reason, detail, count, at }) {
    const same = this.trips.findIndex((each) => each.where === where && each.guard === guard && each.reason === reason);
    const before = same < 0 ? 0 : this.trips.splice(same, 1)[0].count;
    this.trips.unshift({ where, guard, level, reason, detail, at, count: before + (count ?? 1) });
    this.trips.length = Math.min(this.trips.length, TRIPS);
  }
}

/** How far one has gone along `way`, m. */
export function length(way) {
  return way.slice(1).reduce((sum, { x, y }, at) => sum + Math.hypot(x - way[at].x, y - way[at].y), 0);
}
