"use strict";
// The page of `bivit explore --report`: engines as dots, and what is known of the one that is selected.

const found = JSON.parse(document.getElementById("data").textContent);
const chart = document.getElementById("points"), axis = document.getElementById("axis");
const LEFT = 72, RIGHT = 682, TOP = 14, BOTTOM = 396;
// Dots beyond this multiple of the device are left out, so that those which fit are not squeezed together.
const MOST = 1.3;

// Rounded as the tables are.
const text = (value, digits = 0) =>
  value === null
    ? "unknown"
    : value.toLocaleString("en-US", { maximumFractionDigits: digits, roundingMode: "halfEven" });
const available = Object.fromEntries(found.resources.map((row) => [row.resource, row.available]));
const axes = Object.entries(found.titles)
  .filter(([, title]) => title in available)
  .map(([name, title]) => ({ title, limit: available[title], of: (point) => point.used[name] }));
axes.push({
  title: "latency, µs",
  limit: null,
  of: (point) => point.latency_us ?? point.likely_latency_us,
});

function element(name, attributes, parent, content) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (content !== undefined) made.textContent = content;
  parent.append(made);
  return made;
}

// A step of 1, 2 or 5 times a power of ten, at most `most` of which reach `range`.
function step(range, most) {
  const power = 10 ** Math.floor(Math.log10(range / most));
  return [1, 2, 5, 10].map((factor) => factor * power).find((one) => range / one <= most);
}

// What fits and no other engine beats, by bounds: from the fewest resources on.
function front(points, of) {
  const best = [];
  const sorted = points.filter((point) => point.fits).sort(
    (a, b) => of(a) - of(b) || b.most_images_per_s - a.most_images_per_s,
  );
  for (const point of sorted) {
    if (!best.length || point.most_images_per_s > best.at(-1).most_images_per_s) best.push(point);
  }
  return best;
}

function name(point) {
  const weights = file(point).weights === "streamed" ? ", weights streamed" : "";
  return (point.name ? `${point.name}, ` : "") + `${point.shape}, ${point.images} in flight${weights}`;
}

function speed(point) {
  return point.images_per_s === null
    ? `at most ${text(point.most_images_per_s)} images/s, by loads`
    : `${text(point.images_per_s)} images/s, exact cycles, ${found.clock_kind} clock`;
}

function latency(point) {
  return point.latency_us === null
    ? `${text(point.likely_latency_us, 1)} µs or more for an image, by loads`
    : `${text(point.latency_us, 1)} µs for an image, exact cycles`;
}

function used(point) {
  return Object.entries(found.titles)
    .filter(([key]) => key in point.used)
    .map(([key, title]) => [title, point.used[key], share(point.used[key], available[title])]);
}

function share(value, all) {
  return value === null || !all ? "unknown" : `${text((100 * value) / all, 1)} %`;
}

function tip(point) {
  const rows = used(point).map(([title, value, part]) => `${title} ${text(value, 1)}, ${part}`);
  const fits = point.fits ? "fits" : point.fits === null ? "unknown if it fits" : "does not fit";
  return [name(point), speed(point), latency(point), ...rows, `${point.binds} binds; ${fits}`].join("\n");
}

function draw() {
  const { of, title, limit } = axes[axis.value];
  const known = found.points.filter((point) => of(point) !== null);
  const fitting = Math.max(...known.filter((point) => point.fits).map(of));
  const width = 1.06 * Math.min(Math.max(...known.map(of)), MOST * (limit ?? fitting));
  const points = known.filter((point) => of(point) <= width);
  // From 0 on, unless that would leave a third of the chart empty.
  const least = Math.min(...points.map(of)), begin = least > width / 3 ? 0.94 * least : 0;
  const height = 1.06 * Math.max(...points.map((point) => point.most_images_per_s));
  const x = (value) => LEFT + ((RIGHT - LEFT) * (value - begin)) / (width - begin);
  const y = (value) => BOTTOM - ((BOTTOM - TOP) * value) / height;
  chart.replaceChildren();
  grid(x, y, begin, width, height, title);
  if (limit !== null && limit <= width) {
    element("line", { class: "limit", x1: x(limit), x2: x(limit), y1: TOP, y2: BOTTOM }, chart);
    element("text", { class: "limit", x: x(limit) - 5, y: BOTTOM - 8, "text-anchor": "end" }, chart, "all of the device");
  }
  const line = front(points, of).map((point) => [x(of(point)), y(point.most_images_per_s)]);
  const path = line.map(([a, b], at) => (at ? `H${a}V${b}` : `M${a} ${b}`)).join("");
  element("path", { class: "front", d: path }, chart);
  // The chosen engine, and those that are named, lie on top.
  const order = (point) => 2 * point.chosen + (point.name !== null) + (point.images_per_s !== null);
  for (const point of [...points].sort((a, b) => order(a) - order(b))) dot(point, x(of(point)), y);
  const left = found.points.length - points.length;
  document.getElementById("outside").textContent = left
    ? `Outside of the chart, or unknown: ${left} more.`
    : "";
}

function grid(x, y, begin, width, height, title) {
  const across = step(width - begin, 7), up = step(height, 6);
  for (let at = Math.ceil(begin / across) * across; at <= width; at += across) {
    element("line", { class: "grid", x1: x(at), x2: x(at), y1: TOP, y2: BOTTOM }, chart);
    element("text", { x: x(at), y: BOTTOM + 17, "text-anchor": "middle" }, chart, text(at));
  }
  for (let at = 0; at <= height; at += up) {
    element("line", { class: "grid", x1: LEFT, x2: RIGHT, y1: y(at), y2: y(at) }, chart);
    element("text", { x: LEFT - 8, y: y(at) + 4, "text-anchor": "end" }, chart, text(at));
  }
  element("text", { x: (LEFT + RIGHT) / 2, y: BOTTOM + 38, "text-anchor": "middle" }, chart, title);
  const turned = `rotate(-90 14 ${(TOP + BOTTOM) / 2})`;
  element("text", { x: 14, y: (TOP + BOTTOM) / 2, "text-anchor": "middle", transform: turned }, chart, "images/s");
}

function dot(point, x, y) {
  const exact = point.images_per_s !== null, at = y(exact ? point.images_per_s : point.most_images_per_s);
  const kinds = { exact, named: point.name !== null, chosen: point.chosen, fits: point.fits, over: !point.fits };
  const classes = ["dot", ...Object.keys(kinds).filter((kind) => kinds[kind])].join(" ");
  if (exact) element("line", { class: "drop", x1: x, x2: x, y1: y(point.most_images_per_s), y2: at }, chart);
  const size = point.chosen ? 7.5 : point.name ? 7 : 4.5;
  const shared = { class: classes, tabindex: 0, role: "button", "aria-label": name(point), "data-tip": tip(point) };
  const made = point.name
    ? element("path", { ...shared, d: `M${x} ${at - size}l${size} ${size}l${-size} ${size}l${-size} ${-size}Z` }, chart)
    : element("circle", { ...shared, cx: x, cy: at, r: size }, chart);
  made.dataset.index = found.points.indexOf(point);
  if (point.name) element("text", { class: "mark", x: x + size + 4, y: at + 4 }, chart, point.name);
  made.addEventListener("click", () => select(point));
  made.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") select(point), event.preventDefault();
  });
}

// The file of an engine: the chosen one's, with what differs.
function file(point) {
  const { engine: array, ...rest } = point.differs;
  return { ...found.engine, ...rest, engine: { ...found.engine.engine, ...array } };
}

function generate(point) {
  const at = point.name ?? (point.chosen && found.engine_file ? found.engine_file : "engine.json");
  return `bivit generate --net ${found.networks[0]} --engine ${at} --target ${found.target} --out out/verilog`;
}

function differences(point) {
  const { engine: array, ...rest } = point.differs;
  const rows = [...Object.entries({ ...array }).map(([key, value]) => [key, found.engine.engine[key], value])];
  rows.push(...Object.entries(rest).map(([key, value]) => [key, found.engine[key], value]));
  const shown = (value) => (Array.isArray(value) ? value.join(" ") || "none" : value);
  return rows.map(([key, before, value]) => `${key} ${shown(value)} (${shown(before)})`).join("\n");
}

function html(name, parent, content) {
  const made = document.createElement(name);
  if (content !== undefined) made.textContent = content;
  parent.append(made);
  return made;
}

function select(point) {
  const box = document.getElementById("point");
  box.replaceChildren();
  html("h3", box, (point.chosen ? "Chosen: " : "") + name(point));
  html("p", box, `${speed(point)}. ${latency(point)}.`);
  const list = html("dl", box);
  const rows = used(point).map(([title, value, part]) => [title, `${text(value, 1)}, ${part}, ${found.resources_kind}`]);
  rows.push(["bound", `${text(point.most_images_per_s)} images/s; ${point.binds} binds`]);
  rows.push(["fits", point.fits === null ? "unknown" : point.fits ? "yes" : "no"]);
  for (const [key, value] of rows) html("dt", list, key), html("dd", list, value);
  html("pre", box, generate(point)).id = "generate";
  const content = JSON.stringify(file(point), null, 2) + "\n";
  const save = html("a", html("p", box), "Save its engine.json");
  save.download = "engine.json";
  save.href = "data:application/json;charset=utf-8," + encodeURIComponent(content);
  if (!point.chosen) {
    html("p", box, "Fields that differ from the chosen engine's (in brackets):").className = "soft";
    html("pre", box, differences(point)).id = "differs";
  }
  const all = html("details", box);
  html("summary", all, "All fields");
  html("pre", all, content).id = "fields";
  for (const one of chart.querySelectorAll(".dot")) {
    one.classList.toggle("selected", found.points[one.dataset.index] === point);
  }
}

function follow(event) {
  const box = document.getElementById("tip"), over = event.target.closest?.("[data-tip]");
  box.style.display = over ? "block" : "none";
  if (!over) return;
  box.textContent = over.dataset.tip;
  const left = Math.min(event.clientX + 14, innerWidth - box.offsetWidth - 8);
  const below = event.clientY + 16 + box.offsetHeight < innerHeight;
  box.style.left = `${Math.max(8, left)}px`;
  box.style.top = `${below ? event.clientY + 16 : event.clientY - box.offsetHeight - 10}px`;
}

axes.forEach(({ title }, at) => {
  const option = html("option", axis, title);
  option.value = at;
});
// A tooltip of its own in place of the browser's, which comes late.
for (const title of document.querySelectorAll("svg title")) {
  title.parentElement.dataset.tip = title.textContent;
  title.remove();
}
axis.addEventListener("change", draw);
document.addEventListener("mousemove", follow);
draw();
select(found.points.find((point) => point.chosen));
