// What is fed while it runs: one stream of server-sent events replaces the part that changes. Filter and sort of tables. No library.
"use strict";
(() => {
  const part = document.getElementById("part"), filter = document.getElementById("filter"), lost = document.getElementById("lost");
  let sorted = null;

  const filtered = () => {
    if (!filter) return;
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of part.querySelectorAll("tbody tr")) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
  };
  const ordered = () => {
    const head = part.querySelector("thead tr"), body = part.querySelector("tbody");
    if (!sorted || !head) return;
    const of = (row) => { const cell = row.children[sorted.at]; return cell.dataset.value ?? cell.textContent; };
    const rows = [...body.children].sort((one, two) => {
      const [a, b] = [of(one), of(two)];
      const numbers = a !== "" && b !== "" && !Number.isNaN(Number(a)) && !Number.isNaN(Number(b));
      return (numbers ? Number(a) - Number(b) : a.localeCompare(b)) * (sorted.down ? -1 : 1);
    });
    body.replaceChildren(...rows);
    [...head.children].forEach((th, at) => { if (at === sorted.at) th.setAttribute("aria-sort", sorted.down ? "descending" : "ascending"); else th.removeAttribute("aria-sort"); });
  };
  const again = () => { ordered(); filtered(); };

  if (filter) filter.addEventListener("input", filtered);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("th button");
    if (!button || !part.contains(button)) return;
    const at = [...button.closest("tr").children].indexOf(button.closest("th"));
    sorted = { at, down: sorted !== null && sorted.at === at && !sorted.down };
    again();
  });

  if (!part || !part.dataset.stream) return;
  let failures = 0;
  const listen = () => {
    const stream = new EventSource(part.dataset.stream);
    stream.onmessage = (event) => {
      failures = 0;
      lost.hidden = true;
      const open = new Set([...part.querySelectorAll("details[open]")].map((each) => each.id));
      const focused = document.activeElement?.id;
      part.innerHTML = event.data; // escaped where it was made; and the policy lets no script in it run
      for (const each of part.querySelectorAll("details")) if (open.has(each.id)) each.open = true;
      if (focused) document.getElementById(focused)?.focus();
      again();
    };
    stream.addEventListener("over", () => { stream.close(); location.reload(); });
    stream.onerror = () => {
      // the browser comes again by itself while it may; a refusal it takes for the end
      if (stream.readyState !== EventSource.CLOSED) return;
      failures += 1;
      lost.hidden = false;
      if (failures < 20) setTimeout(listen, Math.min(30, failures * 2) * 1000);
    };
  };
  listen();
})();
