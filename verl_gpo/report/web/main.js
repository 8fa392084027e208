// Tabs, and what is unpacked when.

const nonce = document.querySelector("script[nonce]").nonce;
const [overview, index] = await Promise.all([unpackJson("overview"), unpackJson("index")]);
const tabs = {overview: () => renderOverview(overview, nonce), traces: () => { window.viewer = new Viewer(index); }};
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
$("tab-overview").hidden = !overview.figures.length && !overview.table.length;
$("tab-traces").hidden = !index.rows.length && overview.table.length > 0;
$("keys").addEventListener("click", () => $("help").showModal());
openTab(location.hash.startsWith("#t=") || !overview.table.length ? "traces" : "overview");
document.documentElement.dataset.ready = "true";
