// Which trajectories are listed, and in which order.

/** The numbers of the rows that pass the filters, in the order that is asked for. */
function select(rows, filters) {
  const words = (filters.text || "").toLowerCase().split(/\s+/).filter(Boolean);
  const number = (name) => (filters[name] === undefined || filters[name] === "" ? null : Number(filters[name]));
  const within = (value, low, high) => {
    if (low === null && high === null) return true;
    return value !== null && value !== undefined && (low === null || value >= low) && (high === null || value <= high);
  };
  const bounds = Object.fromEntries(
    ["confidence", "steps", "train"].map((name) => [name, [number(`${name}Min`), number(`${name}Max`)]]),
  );
  const isKnown = (row) => row.true !== undefined;
  const critical = {
    found: (row) => row.critical !== null,
    none: (row) => row.critical === null,
    right: (row) => isKnown(row) && row.critical === row.true,
    wrong: (row) => isKnown(row) && row.critical !== row.true,
  }[filters.critical];
  const passes = (row) =>
    (!filters.outcome || row.solved === (filters.outcome === "solved")) &&
    (!critical || critical(row)) &&
    within(row.confidence, ...bounds.confidence) &&
    within(row.steps, ...bounds.steps) &&
    within(row.step, ...bounds.train) &&
    words.every((word) => haystack(row).includes(word));
  const numbers = [...rows.keys()].filter((number) => passes(rows[number]));
  const none = (value) => value === null || value === undefined;
  const by = (key, sign) => (a, b) => {
    const [x, y] = [rows[a][key], rows[b][key]];
    return none(x) || none(y) ? none(x) - none(y) : sign * (x - y) || a - b;
  };
  const orders = {
    confidence: by("confidence", -1), unsure: by("confidence", 1), advantage: by("advantage", -1), steps: by("steps", -1),
  };
  return orders[filters.sort] ? numbers.sort(orders[filters.sort]) : numbers;
}

const haystacks = new WeakMap();

function haystack(row) {
  if (!haystacks.has(row)) haystacks.set(row, `${row.uid} ${row.source} ${row.text}`.toLowerCase());
  return haystacks.get(row);
}
