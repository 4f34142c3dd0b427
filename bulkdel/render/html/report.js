"use strict";
// Every word in the data came from a service: it only ever becomes text (textContent), never markup.
const SHOWN = 50;
const PRINTED = 5000;
const collator = new Intl.Collator("en", { numeric: true });

function rowsOf(data) {
  const several = new Set(data.places.map(([provider]) => provider)).size > 1;
  return data.rows.map(([place, id, name, outcome, reason, attempts, at]) => {
    const [provider, dataset, called] = data.places[place];
    const cells = [
      id, name, (several ? `${provider} / ` : "") + (called || dataset), outcome, reason, attempts,
      at === null ? "" : new Date(at).toISOString().slice(0, 19).replace("T", " "),
    ];
    return { cells, at, all: [...cells, provider, dataset].join("\n").toLowerCase() };
  });
}

function element(name, text, parent) {
  const made = document.createElement(name);
  made.textContent = text;
  parent.append(made);
  return made;
}

function list(section) {
  const source = section.querySelector("script[type='application/json']");
  if (source === null) return;
  const data = JSON.parse(source.textContent);
  const rows = rowsOf(data);
  const [table, tools, search, shown, back, on, printed] =
    ["table", ".tools", "input", "output", ".back", ".on", ".printed"].map((find) => section.querySelector(find));
  const body = table.tBodies[0];
  table.classList.toggle("alone", data.places.length === 1);  // one dataset: its column would say the same in every row
  let found = rows;
  let page = 0;
  let sorted = null;
  let rising = true;

  function show(from, to) {
    const part = document.createDocumentFragment();
    for (const row of found.slice(from, to)) {
      const line = element("tr", "", part);
      row.cells.forEach((cell, place) => {
        element("td", cell, line).className = place === 5 ? "n" : "";
      });
    }
    body.replaceChildren(part);
  }

  function turn(to) {
    page = to;
    const from = page * SHOWN;
    const until = Math.min(found.length, from + SHOWN);
    show(from, until);
    shown.textContent = found.length === 0
      ? "nothing found"
      : `${(from + 1).toLocaleString("en")}–${until.toLocaleString("en")} of ${found.length.toLocaleString("en")}`;
    back.disabled = page === 0;
    on.disabled = until >= found.length;
  }

  function order() {
    const words = search.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
    found = rows.filter((row) => words.every((word) => row.all.includes(word)));
    if (sorted !== null) {
      const sign = rising ? 1 : -1;
      found.sort(sorted === 6
        ? (a, b) => sign * ((a.at ?? 0) - (b.at ?? 0))
        : (a, b) => sign * (typeof a.cells[sorted] === "number"
          ? a.cells[sorted] - b.cells[sorted]
          : collator.compare(a.cells[sorted], b.cells[sorted])));
    }
    turn(0);
  }

  ["document", "name", "dataset", "outcome", "reason", "attempts", data.when].forEach((word, place) => {
    const head = element("th", "", table.tHead.rows[0]);
    head.scope = "col";
    head.dataset.word = word;
    if (place === 5) head.className = "n";
    const button = element("button", word, head);
    button.type = "button";
    button.addEventListener("click", () => {
      rising = sorted === place ? !rising : true;
      sorted = place;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      order();
    });
  });
  search.addEventListener("input", order);
  back.addEventListener("click", () => turn(page - 1));
  on.addEventListener("click", () => turn(page + 1));
  window.addEventListener("beforeprint", () => {
    if (section.dataset.list === "settled") {
      printed.textContent = "Not printed here. As text: bulkdel report RUN --format csv";
    } else {
      show(0, PRINTED);
      printed.textContent = found.length > PRINTED ? `The first ${PRINTED} of ${found.length}` : "";
    }
    printed.hidden = printed.textContent === "";
  });
  window.addEventListener("afterprint", () => {
    printed.hidden = true;
    turn(page);
  });
  table.hidden = false;
  tools.hidden = false;
  turn(0);
}

document.querySelectorAll("section.list").forEach(list);
