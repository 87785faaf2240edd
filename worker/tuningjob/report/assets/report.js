// The table of candidates: sort, filter, page, copy; the brushes of the parallel coordinates; which map is shown. No network, no library.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("candidates-data").textContent);
  const SHOWN = 50;
  const count = data.rows.length;
  const near = new Set(data.near);
  const columns = [
    { name: "candidate", value: (i) => data.rows[i], number: true },
    ...data.columns.map((column) => ({ name: column.name, value: (i) => column.values[i], number: true })),
    ...data.axes.map((axis) => ({ name: axis.name, axis, value: (i) => axis.codes[i], text: (i) => (axis.codes[i] < 0 ? "" : axis.levels[axis.codes[i]][0]) })),
  ];
  const byId = (id) => document.getElementById(id);
  const head = byId("candidates-head"), body = byId("candidates-body"), filter = byId("filter"), told = byId("told");
  let order = data.rows.map((_, i) => i), kept = order, page = 0, sorted = null, brushed = null;

  const shown = (column, i) => {
    if (column.axis) return column.text(i);
    const value = column.value(i);
    return value === null ? "–" : String(value);
  };

  // "C=10", "C>1", "score<0.9"; any other word must be somewhere in the row. A name may be its end: C for svc__C.
  const parsed = (text) =>
    text.split(/\s+/).filter(Boolean).map((word) => {
      const found = /^(.+?)(<=|>=|=|<|>)(.+)$/.exec(word);
      const column = found && columns.find((each) => each.name === found[1] || each.name.endsWith("__" + found[1]) || each.name.endsWith(" " + found[1]));
      if (!column) return (i) => columns.some((each) => shown(each, i).toLowerCase().includes(word.toLowerCase()));
      const wanted = found[3].replace(/^['"]|['"]$/g, "");
      return (i) => {
        const text = shown(column, i).replace(/^['"]|['"]$/g, "");
        if (text === "") return false;
        const [one, two] = [Number(text), Number(wanted)];
        const numbers = !Number.isNaN(one) && !Number.isNaN(two);
        if (found[2] === "=") return numbers ? one === two : text.toLowerCase() === wanted.toLowerCase();
        if (!numbers) return false;
        return { "<": one < two, ">": one > two, "<=": one <= two, ">=": one >= two }[found[2]];
      };
    });

  const choose = () => {
    const tests = parsed(filter.value);
    kept = order.filter((i) => (!brushed || brushed(i)) && tests.every((test) => test(i)));
    page = 0;
    show();
  };

  const copied = (button, text) => {
    const done = () => { button.textContent = "Copied"; told.textContent = "Copied."; setTimeout(() => { button.textContent = "Copy"; }, 1500); };
    const old = () => {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      done();
    };
    if (navigator.clipboard && window.isSecureContext) navigator.clipboard.writeText(text).then(done, old);
    else old();
  };

  const written = (i) => {
    const set = data.axes.filter((axis) => axis.codes[i] >= 0).map((axis) => [axis.name, axis.levels[axis.codes[i]]]);
    if (byId("language").value === "yaml") return set.map(([name, level]) => `${/^\w+$/.test(name) ? name : JSON.stringify(name)}: ${level[level.length - 1]}\n`).join("");
    return `{${set.map(([name, level]) => `${JSON.stringify(name)}: ${level[0]}`).join(", ")}}`;
  };

  const cell = (row, tag, text, className) => {
    const made = document.createElement(tag);
    made.textContent = text;
    if (className) made.className = className;
    row.append(made);
    return made;
  };

  const show = () => {
    const pages = Math.max(1, Math.ceil(kept.length / SHOWN));
    const rows = kept.slice(page * SHOWN, (page + 1) * SHOWN).map((i) => {
      const row = document.createElement("tr");
      if (data.rows[i] === data.best) row.className = "best";
      for (const column of columns) {
        const made = cell(row, column === columns[0] ? "th" : "td", shown(column, i), column.number ? "num" : "mono long");
        if (column === columns[0]) {
          made.scope = "row";
          if (data.rows[i] === data.best) made.textContent += " (answer)";
          else if (near.has(data.rows[i])) made.textContent += " ≈";
        }
      }
      const button = cell(cell(row, "td", ""), "button", "Copy");
      button.type = "button";
      button.setAttribute("aria-label", `Copy the parameters of candidate ${data.rows[i]}`);
      button.addEventListener("click", () => copied(button, written(i)));
      return row;
    });
    body.replaceChildren(...rows);
    byId("where").textContent = `${kept.length.toLocaleString("en")} of ${count.toLocaleString("en")} candidates, page ${page + 1} of ${pages}`;
    byId("back").disabled = page === 0;
    byId("on").disabled = page + 1 >= pages;
  };

  const sort = (at) => {
    const column = columns[at];
    // scores from the highest, all else from the least; a second click turns it round
    const down = sorted && sorted.at === at ? !sorted.down : column.number && at > 0 && column.name.startsWith("mean ");
    sorted = { at, down };
    const of = (i) => { const value = column.value(i); return value === null || (column.axis && value < 0) ? null : value; };
    order = [...order].sort((a, b) => {
      const [one, two] = [of(a), of(b)];
      if (one === null || two === null) return (one === null) - (two === null);
      return (down ? two - one : one - two) || data.rows[a] - data.rows[b];
    });
    [...head.children].forEach((th, i) => {
      if (i === at) th.setAttribute("aria-sort", down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
      const mark = th.querySelector("span");
      if (mark) mark.textContent = i === at ? (down ? " ↓" : " ↑") : "";
    });
    choose();
  };

  columns.forEach((column, i) => {
    const th = cell(head, "th", "", column.number ? "num" : "");
    th.scope = "col";
    const button = cell(th, "button", column.name);
    button.type = "button";
    cell(button, "span", "").setAttribute("aria-hidden", "true");
    button.addEventListener("click", () => sort(i));
  });
  cell(head, "th", "copy").scope = "col";
  filter.addEventListener("input", choose);
  byId("back").addEventListener("click", () => { page -= 1; show(); });
  byId("on").addEventListener("click", () => { page += 1; show(); });
  for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copied(button, document.getElementById(button.dataset.copy).textContent));
  for (const each of document.querySelectorAll(".script")) each.hidden = false;
  for (const each of document.querySelectorAll(".no-script")) each.hidden = true;
  sort(1);

  for (const select of document.querySelectorAll("select[data-figure]")) {
    select.addEventListener("change", () => {
      for (const each of document.querySelectorAll(`[data-variant="${select.dataset.figure}"]`)) each.hidden = each.dataset.number !== select.value;
    });
  }

  // --- brushes: the part of each axis that was dragged over; a line stays while it goes through all of them
  const parts = new Map();
  const lines = [...document.querySelectorAll("svg .pc")].map((line) => ({
    line,
    row: Number(line.dataset.row),
    ys: line.getAttribute("points").split(" ").map((point) => Number(point.split(",")[1])),
  }));
  const through = () => {
    const left = new Set();
    for (const { line, row, ys } of lines) {
      const on = [...parts].every(([axis, { from, to }]) => ys[axis] >= from && ys[axis] <= to);
      line.classList.toggle("off", !on);
      if (on) left.add(row);
    }
    brushed = parts.size ? (i) => left.has(data.rows[i]) : null;
    choose();
  };
  for (const rect of document.querySelectorAll("svg .brush")) {
    const svg = rect.ownerSVGElement, axis = Number(rect.dataset.axis);
    const at = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).y;
    let start = null, mark = null;
    rect.addEventListener("pointerdown", (event) => {
      rect.setPointerCapture(event.pointerId);
      start = at(event);
      if (mark) mark.remove();
      mark = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      mark.setAttribute("class", "chosen");
      mark.setAttribute("x", Number(rect.getAttribute("x")) + 6);
      mark.setAttribute("width", 16);
      svg.append(mark);
    });
    rect.addEventListener("pointermove", (event) => {
      if (start === null) return;
      const [from, to] = [start, at(event)].sort((a, b) => a - b);
      mark.setAttribute("y", from);
      mark.setAttribute("height", to - from);
    });
    rect.addEventListener("pointerup", (event) => {
      const [from, to] = [start, at(event)].sort((a, b) => a - b);
      start = null;
      if (to - from < 3) { mark.remove(); parts.delete(axis); }
      else parts.set(axis, { from, to });
      through();
    });
  }
})();
