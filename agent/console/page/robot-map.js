// The small map: x is up and y to the left, as seen from above by a robot that looks along x (REP 103).

const SVG = "http://www.w3.org/2000/svg";
const SPANS = [2, 4, 8, 16, 32, 64]; // m from edge to edge
const STILL = 0.3; // of the span: with reduced motion the map stays as long as the robot is that near to its middle
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class RobotMap {
  #svg;
  #world = make("g", { class: "world" });
  #grid = make("path", { class: "grid" });
  #origin = make("path", { class: "origin" });
  #fence = make("polygon", { class: "fence" });
  #out = make("g", {});
  #way = make("polyline", { class: "way" });
  #robot = make("g", { class: "me" });
  #body = make("circle", { class: "body", r: 0.2 });
  #nose = make("path", { class: "nose" });
  #scale = make("g", { class: "scale" });
  #compass = make("g", { class: "compass" });
  #middle = { x: 0, y: 0 };
  #turned = null; // rad, counted on beyond a whole turn, so that it turns the shorter way
  #span = 1;
  #shown = "";

  constructor(svg) {
    this.#svg = svg;
    svg.setAttribute("viewBox", "-50 -50 100 100");
    this.#robot.append(this.#body, this.#nose);
    this.#world.append(this.#grid, this.#fence, this.#out, this.#origin, this.#way, this.#robot);
    this.#compass.append(make("path", { d: "M-41 45H-33V37M-39 43L-41 45L-39 47M-35 39L-33 37L-31 39" }));
    this.#compass.append(make("text", { x: -33, y: 34 }, "x"), make("text", { x: -44.5, y: 45 }, "y"));
    svg.append(this.#world, this.#scale, this.#compass);
  }

  /** More or less of the world; -1, 1. */
  zoom(step) {
    this.#span = Math.max(0, Math.min(SPANS.length - 1, this.#span + step));
    this.#shown = "";
  }

  get span() {
    return SPANS[this.#span];
  }

  /** Draw `robot`, as `Robots` has it. */
  show({ id, told, state, way }) {
    const pose = state?.pose ?? null;
    const known = pose?.every(Number.isFinite) ?? false;
    const unit = this.span / 100; // m of one unit of the picture
    const fresh = `${id} ${this.#span} ${JSON.stringify([told?.fence, told?.keep_out, told?.radius_m])}`;
    if (fresh !== this.#shown) this.#ground(told, unit);
    this.#follow(known ? pose : [0, 0], fresh !== this.#shown);
    this.#shown = fresh;
    const points = known ? [...way, { x: pose[0], y: pose[1] }] : way;
    set(this.#way, "points", points.map(({ x, y }) => at(x, y)).join(" "));
    this.#robot.classList.toggle("unknown", !known || state?.link === "unknown");
    this.#robot.classList.toggle("latched", state?.estop === "latched");
    if (!known) return;
    const turn = this.#turned === null ? pose[2] : this.#turned + wrapped(pose[2] - this.#turned);
    this.#turned = turn;
    this.#robot.style.transform = `translate(${-pose[1]}px, ${-pose[0]}px) rotate(${-turn}rad)`;
  }

  /** All that stays where it is. */
  #ground(told, unit) {
    const radius = Math.max(told?.radius_m || 0.1, unit * 1.5);
    const far = 100;
    const step = this.span <= 4 ? 0.5 : this.span <= 16 ? 1 : 5;
    const lines = [];
    for (let each = -far; each <= far; each += step) lines.push(`M${-far} ${each}H${far}M${each} ${-far}V${far}`);
    set(this.#grid, "d", lines.join(""));
    const arm = this.span / 40;
    set(this.#origin, "d", `M${-arm} 0H${arm}M0 ${-arm}V${arm}`);
    set(this.#fence, "points", (told?.fence ?? []).map(([x, y]) => at(x, y)).join(" "));
    this.#out.replaceChildren(...(told?.keep_out ?? []).map((area) => make("polygon", { class: "out", points: area.map(([x, y]) => at(x, y)).join(" ") })));
    set(this.#body, "r", radius);
    set(this.#nose, "d", `M0 ${-radius * 1.6}L${radius * 0.55} ${-radius * 0.15}H${-radius * 0.55}Z`);
    const bar = this.span / 4;
    this.#scale.replaceChildren(make("path", { d: "M20 44v2H45v-2" }), make("text", { x: 32.5, y: 43 }, bar < 1 ? `${bar * 100} cm` : `${bar} m`));
  }

  #follow([x, y], jump) {
    const near = this.span * STILL;
    const stays = still.matches && !jump && Math.abs(x - this.#middle.x) < near && Math.abs(y - this.#middle.y) < near;
    if (!stays) this.#middle = { x, y };
    const scale = 100 / this.span;
    const { x: mx, y: my } = this.#middle;
    this.#world.style.transform = `scale(${scale}) translate(${my}px, ${mx}px)`;
  }
}

/** The way from one heading to another, in (-pi, pi]. */
const wrapped = (angle) => Math.atan2(Math.sin(angle), Math.cos(angle));

const at = (x, y) => `${-y},${-x}`;

function set(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

function make(name, attributes, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}
