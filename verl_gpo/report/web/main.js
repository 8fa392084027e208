// Tabs, and what is unpacked when.

const nonce = document.querySelector("script[nonce]").nonce;
const [runs, index] = await Promise.all([unpackJson("runs"), unpackJson("index")]);
const tabs = {runs: () => renderRuns(runs, nonce), traces: () => { window.viewer = new Viewer(index); }};
const opened = new Set();

function openTab(name) {
  for (const other of Object.keys(tabs)) {
    $(other).hidden = other !== name;
    $(`tab-${other}`).setAttribute("aria-selected", String(other === name));
  }
  if (!opened.has(name)) {
    opened.add(name);
    tabs[name]();
  }
}

for (const name of Object.keys(tabs)) $(`tab-${name}`).addEventListener("click", () => openTab(name));
$("tab-runs").hidden = !runs.table.length;
$("tab-traces").hidden = !index.rows.length && runs.table.length > 0;
openTab(location.hash.startsWith("#t=") || !runs.table.length ? "traces" : "runs");
document.documentElement.dataset.ready = "true";
