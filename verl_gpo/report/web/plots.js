// The runs' table, and the figures by plotly, which is unpacked when they are first looked at.

/** Okabe and Ito's palette without its yellow and black, and what else phases need. */
const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#999999", "#7f6a00", "#5e4fa2"];

function renderTable([header, ...rows]) {
  const cells = (tag, row) => row.map((text, i) => h(i && tag === "td" ? "td" : "th", {}, text));
  return h("table", {}, h("thead", {}, h("tr", {}, cells("th", header))),
    h("tbody", {}, rows.map((row) => h("tr", {}, cells("td", row)))));
}

async function loadPlotly(nonce) {
  const script = h("script", {});
  script.nonce = nonce;
  script.textContent = await unpack("plotly");
  document.head.append(script);
  return window.Plotly;
}

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const [ink, grid] = ["--ink", "--line"].map((name) => style.getPropertyValue(name).trim());
  const axis = {gridcolor: grid, zerolinecolor: grid, linecolor: grid, automargin: true};
  return {
    ...layout, paper_bgcolor: "transparent", plot_bgcolor: "transparent", font: {color: ink, size: 12, family: "inherit"}, colorway: COLORS,
    margin: {l: 48, r: 12, t: 8, b: 40}, legend: {orientation: "h", y: -0.2}, height: 320,
    xaxis: {...axis, ...layout.xaxis, title: {...layout.xaxis.title, standoff: 6}}, yaxis: {...axis, ...layout.yaxis}, hovermode: "closest",
  };
}

async function renderOverview({table, figures}, nonce) {
  if (table.length) $("run-table").replaceChildren(renderTable(table));
  if (!figures.length) return;
  const slots = figures.map((figure) => {
    const slot = h("div", {class: "plot"});
    $("figures").append(h("figure", {}, h("h3", {}, figure.title), h("figcaption", {}, figure.note), slot));
    return slot;
  });
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done))); // the table first
  const Plotly = await loadPlotly(nonce);
  const config = {responsive: true, displaylogo: false, displayModeBar: false};
  const draw = async (i) => {
    await Plotly.newPlot(slots[i], figures[i].data, themed(figures[i].layout), config);
    slots[i].dataset.drawn = "true";
  };
  // A figure at a time, when it comes near the screen, so that the page answers in between.
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((entry) => entry.isIntersecting)) {
      watch.unobserve(entry.target);
      setTimeout(() => draw(slots.indexOf(entry.target)));
    }
  }, {rootMargin: "300px"});
  slots.forEach((slot) => watch.observe(slot));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    slots.forEach((slot, i) => slot.data && Plotly.relayout(slot, themed(figures[i].layout))));
}
