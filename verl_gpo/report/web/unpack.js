// The embedded data, and the only way in which this page makes elements: texts become text nodes, never markup.

const $ = (id) => document.getElementById(id);

/** Decompress an embedded blob to text; null where there is none. */
async function unpack(name) {
  const blob = $(`data-${name}`);
  if (!blob) return null;
  const binary = atob(blob.textContent);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

const unpackJson = async (name) => JSON.parse(await unpack(name));

/** An element: h("p", {class: "x", onclick: f}, "text", child). Strings are text; null and false are left out. */
function h(tag, properties = {}, ...children) {
  const svg = ["svg", "line", "polyline", "circle", "text", "rect", "path"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "style") Object.assign(node.style, value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** A count, a reward or seconds for people: whole numbers as such, others with two digits, "–" for none. */
const figure = (value) =>
  value === null || value === undefined ? "–" : Number.isInteger(value) ? value.toLocaleString("en") : value.toFixed(2);

/** A value or a probability: always two digits. */
const share = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));

const signed = (value) => (value === null || value === undefined ? "–" : (value >= 0 ? "+" : "−") + Math.abs(value).toFixed(2));
