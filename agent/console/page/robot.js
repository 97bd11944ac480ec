// The panel of robots: a map, how one stands, its commands and guards, a stop that stays, and steering by hand.

import { alarm, notice } from "./notices.js";
import { RobotMap } from "./robot-map.js";
import { length } from "./robots.js";
import { Steering } from "./steering.js";
import { seconds } from "./telling.js";

const CONFIRMED = 1500; // ms until a stop that stays must have been seen at the robot
const STEERED = 0.7; // s: what was steered is told for so long
const SHOWN = 12; // commands, and guards
const LINKS = { heard: "heard", suspended: "not heard for half a second", unknown: "not heard for two seconds: what became of its commands is unknown" };
const LATCHED = "It does not move until an operator resets it. First make sure that it is safe where the robot is. Neither the agent nor this page can reset it.";
const STATES = { asked: "asked for", sent: "sent", accepted: "accepted", running: "running", paused: "paused", cancelling: "coming to its end" };
const ENDS = { done: "done", cut: "ended early", fenced: "never begun", refused: "refused", failed: "failed", timeout: "not done in time" };
const place = (id) => document.getElementById(id);

export class RobotPanel {
  onhalt = () => {}; // Stop was pressed here
  #link;
  #map = new RobotMap(place("map"));
  #steering;
  #chosen = "";
  #live = null; // Robots of the session that runs
  #told = 0;
  #drawn = "";

  constructor(link) {
    this.#link = link;
    this.#steering = new Steering(link);
    this.#steering.ontold = (text) => put(place("hand-told"), text);
    place("robot-choice").addEventListener("change", () => {
      this.#chosen = place("robot-choice").value;
      this.#drawn = "";
    });
    place("robot-stop").addEventListener("click", () => this.onhalt());
    place("estop").addEventListener("click", () => this.#estop());
    place("map-more").addEventListener("click", () => this.#zoom(1));
    place("map-less").addEventListener("click", () => this.#zoom(-1));
  }

  /** What is steered rests, and what is held must be pressed anew. `reason`: why, for people. */
  release(reason = "") {
    this.#steering.release(reason && `It does not move: ${reason}. Let go, and press again.`);
  }

  /**
   * To be called for every picture of the page. `live`: the `Robots` of the session that runs; `seen`: those that are looked
   * at, the same or of a recording; `now`: session time there, s.
   */
  show(live, seen, now) {
    this.#live = live;
    const there = live.robots.size > 0 || seen.robots.size > 0;
    const attached = [...live.robots.values(), ...seen.robots.values()].some(({ told }) => told);
    this.#appear(there && attached);
    if (!there || !attached) return;
    const robot = seen.robots.get(this.#chosen) ?? seen.robots.values().next().value;
    this.#offer(live, seen, robot);
    const steered = seen.steered && now - seen.steered.at < STEERED ? seen.steered : null;
    const drawn = `${seen.changes} ${robot?.id} ${steered?.at} ${live === seen}`;
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    place("robot-body").hidden = !robot;
    if (!robot) {
      this.#banner("");
      return;
    }
    this.#choose(seen, robot);
    this.#map.show(robot);
    this.#state(robot, steered?.robot === robot.id || steered?.robot === "" ? steered : null);
    const time = performance.now();
    if (time - this.#told > 1000 || !place("map-words").textContent) {
      this.#told = time;
      put(place("map-words"), words(robot));
    } else {
      this.#drawn = ""; // the words are told a little later
    }
    rows(place("robot-commands"), seen.commands.slice(0, SHOWN), (each) => each.id, (each, row) => command(each, row, seen.robots.size > 1));
    rows(place("robot-trips"), seen.trips.filter(({ where }) => where === robot.id).slice(0, SHOWN), ({ guard, reason }) => `${guard} ${reason}`, trip);
    place("no-commands").hidden = seen.commands.length > 0;
    put(place("trips-title"), `Guards that acted: ${seen.tripped(robot.id) || "none"}`);
  }

  #appear(there) {
    if (place("robot").hidden !== there) return;
    place("robot").hidden = place("view-robot").hidden = !there;
    document.body.classList.toggle("robots", there);
    if (!there && document.body.dataset.view === "robot") document.querySelector(".views [data-view=talk]").click();
  }

  #offer(live, seen, robot) {
    const told = robot?.told ?? null;
    const speeds = told?.speeds ?? [0, 0];
    const state = robot?.state;
    const drives = speeds[0] > 0 || speeds[1] > 0;
    const able = live === seen && this.#link.state === "open" && drives && state?.estop !== "latched" && state?.link !== "unknown";
    place("steer").hidden = live !== seen || !drives;
    this.#steering.offer(robot?.id ?? "", speeds, able);
  }

  #choose({ robots }, robot) {
    const choice = place("robot-choice");
    const ids = [...robots.keys()];
    choice.hidden = ids.length < 2;
    if (ids.join(" ") !== [...choice.options].map(({ value }) => value).join(" ")) choice.replaceChildren(...ids.map((id) => new Option(id, id)));
    choice.value = robot.id;
    put(place("robot-name"), [ids.length < 2 ? robot.id : "", robot.told?.model, robot.told?.kind.replaceAll("_", " ")].filter(Boolean).join(", "));
  }

  #state({ id, state }, steered) {
    const latched = state?.estop === "latched";
    this.#banner(latched ? id : "");
    place("robot").dataset.link = state?.link ?? "";
    const held = state?.holder ? `${state.holder}${state.rank ? ` (${state.rank})` : ""}` : "nobody";
    const [speed, turning] = state?.speed ?? [0, 0];
    const pairs = [
      ["Link", state ? LINKS[state.link] ?? state.link : "nothing was heard yet"],
      ["Stop", latched ? "LATCHED" : state?.estop === "none" ? "not latched" : state?.estop ?? "–"],
      ["Mode", state?.mode || "–"],
      ["Moved by", steered && moves(steered) ? `${held}, by hand (${steered.by})` : held],
      ["Held back by", state?.guards?.length ? state.guards.join(", ") : "no guard"],
      ["Speed", `${speed.toFixed(2)} m/s, ${turning.toFixed(2)} rad/s`],
      ["Battery", typeof state?.battery === "number" ? `${Math.round(state.battery * 100)} %` : "not told"],
    ];
    if (state?.errors?.length) pairs.push(["Errors", state.errors.join("; ")]);
    const list = place("robot-state");
    while (list.children.length > pairs.length * 2) list.lastElementChild.remove();
    pairs.flat().forEach((text, at) => {
      if (!list.children[at]) list.append(document.createElement(at % 2 ? "dd" : "dt"));
      put(list.children[at], text);
    });
    const alarming = { Link: state?.link === "unknown", Stop: latched, Errors: true };
    pairs.forEach(([name], at) => list.children[at * 2 + 1].classList.toggle("alarm", !!alarming[name]));
  }

  /** `id`: of the robot whose stop is latched, or "". */
  #banner(id) {
    put(place("latched-title"), id && `Stop latched: ${id}`);
    put(place("latched-text"), id && LATCHED);
    place("latched").classList.toggle("on", id !== "");
  }

  #zoom(step) {
    this.#map.zoom(step);
    this.#drawn = "";
    notice(`The map shows ${this.#map.span} metres.`);
  }

  #estop() {
    this.release();
    if (!this.#link.send({ type: "stop", latch: true })) {
      alarm("The emergency stop could not be sent: there is no connection. Use the stop on the robot itself.");
      return;
    }
    notice("The emergency stop was sent. It stays until an operator resets it.");
    setTimeout(() => {
      const free = [...(this.#live?.robots.values() ?? [])].filter(({ state }) => state?.estop !== "latched").map(({ id }) => id);
      if (free.length) alarm(`No word that ${free.join(" and ")} has stopped: use the stop on the robot itself.`);
    }, CONFIRMED);
  }
}

const moves = ({ vx, vy, wz }) => vx || vy || wz;

/** Where it is and how far it went, in words: the map for who does not see it. */
function words({ told, state, way }) {
  const pose = state?.pose;
  if (!pose?.every(Number.isFinite)) return "It does not say where it is.";
  const [x, y, heading] = pose;
  const degrees = Math.round((heading * 180) / Math.PI);
  const parts = [`x ${x.toFixed(2)} m, y ${y.toFixed(2)} m, turned ${degrees}° to the left of x`];
  const far = length([...way, { x, y }]);
  parts.push(far >= 0.05 ? `${far.toFixed(1)} m gone in the last minute` : "not moved in the last minute");
  const { fence = [], keep_out: out = [] } = told ?? {};
  const edge = Math.min(...[fence, ...out].filter(({ length }) => length > 2).map((area) => border(area, x, y)));
  if (Number.isFinite(edge)) parts.push(`${edge.toFixed(1)} m to the nearest border`);
  return `${parts.join("; ")}.`;
}

/** From (x, y) to the nearest side of a polygon, m. */
function border(points, x, y) {
  return Math.min(...points.map(([ax, ay], at) => {
    const [bx, by] = points[(at + 1) % points.length];
    const square = (bx - ax) ** 2 + (by - ay) ** 2;
    const share = square ? Math.max(0, Math.min(1, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / square)) : 0;
    return Math.hypot(ax + share * (bx - ax) - x, ay + share * (by - ay) - y);
  }));
}

function command(each, row, several) {
  if (!row.firstChild) row.append(...["name", "how", "why"].map((name) => span(name)), document.createElement("progress"));
  const [name, how, why, bar] = row.children;
  const given = Object.entries(each.arguments).map(([key, value]) => `${key} ${JSON.stringify(value)}`).join(", ");
  put(name, `${each.name}${given ? ` (${given})` : ""}${several && each.where ? `, ${each.where}` : ""}`);
  const over = each.end !== null;
  const share = each.progress === null ? "" : ` ${Math.round(each.progress * 100)} %`;
  put(how, over ? `${ENDS[each.status] ?? each.status}${each.status === "done" ? "" : share} after ${seconds(Math.max(0, each.end - each.start), 1)}` : `${STATES[each.state] ?? each.state}${share}`);
  put(why, [over ? each.ended : each.detail, over ? result(each.result) : ""].filter(Boolean).join("; "));
  bar.hidden = each.progress === null;
  bar.value = each.progress ?? 0;
  bar.setAttribute("aria-label", `${each.name}: how far`);
  row.className = over ? (each.status === "done" ? "good" : each.status === "cut" ? "cut" : "bad") : "under-way";
}

function result(value) {
  if (value === null || value === undefined || value === "") return "";
  if (typeof value !== "object") return String(value);
  return Object.entries(value).map(([key, each]) => `${key.replaceAll("_", " ")} ${typeof each === "number" ? Number(each.toFixed(3)) : JSON.stringify(each)}`).join(", ");
}

function trip(each, row) {
  if (!row.firstChild) row.append(...["name", "how", "why"].map((name) => span(name)));
  const [name, how, why] = row.children;
  put(name, each.guard.replaceAll("_", " "));
  put(how, `${each.count > 1 ? `${each.count} times, ` : ""}${each.level}`);
  put(why, [each.reason === each.guard ? "" : each.reason.replaceAll("_", " "), each.detail].filter(Boolean).join(": "));
  row.className = ["urgent", "critical", "fatal"].includes(each.level) ? "bad" : each.level === "warning" ? "cut" : "";
}

/** Children of `list` for `items`, in their order; those that are there already stay. `fill(item, row)`. */
function rows(list, items, key, fill) {
  const there = new Map([...list.children].map((row) => [row.dataset.key, row]));
  const made = items.map((item) => {
    const name = String(key(item));
    const row = there.get(name) ?? document.createElement("li");
    row.dataset.key = name;
    fill(item, row);
    return row;
  });
  if (made.length !== list.children.length || made.some((row, at) => row !== list.children[at])) list.replaceChildren(...made);
}

const span = (name) => Object.assign(document.createElement("span"), { className: name });

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
