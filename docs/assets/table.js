// The table of all rules: narrows it by facets and words, sorts it, and keeps all of that in the address.
//
// It reads nothing but the table. A facet's value is off, included or excluded: one press each.
(() => {
  "use strict";
  const table = document.querySelector("table.rules.all");
  if (!table) return;
  const rows = [...table.tBodies[0].rows];
  const FACETS = { severity: "Severity", chapter: "Chapter", stimulus: "Shown by", symptom: "Symptom", corrects: "Corrects" };
  const SEVERITIES = ["critical", "high", "medium"];
  const SORTS = [
    (row) => rows.indexOf(row),
    (row) => rows.findIndex((each) => each.dataset.chapter === row.dataset.chapter),
    (row) => SEVERITIES.indexOf(row.dataset.severity),
    (row) => row.dataset.symptom,
    (row) => row.dataset.stimulus,
    (row) => (row.dataset.corrects === "yes" ? 0 : 1),
  ];
  const state = { q: "", facets: new Map(), sort: 0, down: false };

  const element = (tag, attributes = {}, ...content) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...content);
    return made;
  };
  // A keyboard writes ' where the page has ’.
  const plain = (text) => text.toLowerCase().replaceAll("’", "'");
  const haystack = new Map(rows.map((row) => [row, plain(`${row.textContent} ${row.dataset.words}`)]));

  // Every word has to be there, in any order.
  const matches = (row) => {
    const words = plain(state.q).split(/\s+/).filter(Boolean);
    if (!words.every((word) => haystack.get(row).includes(word))) return false;
    return Object.keys(FACETS).every((facet) => {
      const chosen = [...state.facets].filter(([key]) => key.startsWith(`${facet}:`));
      const wanted = chosen.filter(([, how]) => how === "in").map(([key]) => key.slice(facet.length + 1));
      const unwanted = chosen.filter(([, how]) => how === "out").map(([key]) => key.slice(facet.length + 1));
      const value = row.dataset[facet];
      return (!wanted.length || wanted.includes(value)) && !unwanted.includes(value);
    });
  };

  const search = element("input", { type: "search", id: "rule-words", autocomplete: "off", spellcheck: "false" });
  const count = element("p", { class: "count", role: "status" });
  const reset = element("button", { type: "button", class: "reset" }, "Show all");
  const form = element("form", { class: "facets", role: "search", "aria-label": "Narrow the table" });
  form.append(element("p", {}, element("label", { for: "rule-words" }, "Words"), " ", search));

  const buttons = new Map();
  for (const [facet, title] of Object.entries(FACETS)) {
    const values = [...new Set(rows.map((row) => row.dataset[facet]))];
    if (facet === "severity") values.sort((a, b) => SEVERITIES.indexOf(a) - SEVERITIES.indexOf(b));
    const group = element("fieldset", {}, element("legend", {}, title));
    for (const value of values) {
      const key = `${facet}:${value}`;
      const made = element("button", { type: "button" });
      made.addEventListener("click", () => {
        const next = { undefined: "in", in: "out" }[state.facets.get(key)];
        if (next) state.facets.set(key, next);
        else state.facets.delete(key);
        update();
      });
      buttons.set(key, made);
      group.append(made, " ");
    }
    form.append(group);
  }
  form.append(element("p", {}, count, " ", reset));
  form.addEventListener("submit", (event) => event.preventDefault());
  table.before(form);

  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, at) => {
    const made = element("button", { type: "button" }, ...head.childNodes);
    made.addEventListener("click", () => {
      [state.sort, state.down] = [at, state.sort === at && !state.down];
      update();
    });
    head.append(made);
  });

  const SIGNS = { in: ["+ ", ", only these"], out: ["− ", ", not these"] };
  const draw = () => {
    const shown = rows.filter(matches);
    const order = [...rows].sort((a, b) => {
      const [x, y] = [SORTS[state.sort](a), SORTS[state.sort](b)];
      return ((x > y) - (x < y)) * (state.down ? -1 : 1) || rows.indexOf(a) - rows.indexOf(b);
    });
    table.tBodies[0].append(...order);
    for (const row of rows) row.hidden = !shown.includes(row);
    for (const [key, made] of buttons) {
      const how = state.facets.get(key);
      const [sign, said] = SIGNS[how] ?? ["", ""];
      made.className = how ?? "";
      made.replaceChildren(sign + key.slice(key.indexOf(":") + 1));
      made.setAttribute("aria-pressed", how === "in" ? "true" : how === "out" ? "mixed" : "false");
      made.setAttribute("aria-label", key.slice(key.indexOf(":") + 1) + said);
    }
    heads.forEach((head, at) => {
      if (at === state.sort) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    count.textContent = `${shown.length} of ${rows.length} rules`;
    reset.hidden = !state.q && !state.facets.size;
  };

  const update = () => {
    draw();
    const query = new URLSearchParams();
    if (state.q) query.set("q", state.q);
    for (const [key, how] of state.facets) query.append(how, key);
    if (state.sort || state.down) query.set("sort", (state.down ? "-" : "") + state.sort);
    const text = query.toString();
    history.replaceState(null, "", location.pathname + (text ? `?${text}` : ""));
  };

  const read = () => {
    const query = new URLSearchParams(location.search);
    state.q = search.value = query.get("q") ?? "";
    state.facets = new Map(["in", "out"].flatMap((how) => query.getAll(how).filter((key) => buttons.has(key)).map((key) => [key, how])));
    const sort = query.get("sort") ?? "0";
    state.down = sort.startsWith("-");
    state.sort = Math.min(Math.abs(Number.parseInt(sort, 10) || 0), SORTS.length - 1);
    draw();
  };

  search.addEventListener("input", () => {
    state.q = search.value.trim();
    update();
  });
  reset.addEventListener("click", () => {
    [state.q, search.value] = ["", ""];
    state.facets.clear();
    update();
    search.focus();
  });
  addEventListener("popstate", read);
  read();
})();
