"use strict";

// Sorting and filtering of the tables. Without it they are all there, worst first.
(() => {
  const numbers = new Intl.NumberFormat("en");
  const compare = new Intl.Collator("en", { numeric: true }).compare;

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, place) => ({
      row,
      place,
      text: row.textContent.toLowerCase(),
      keys: [...row.cells].map((cell) => cell.dataset.key ?? cell.textContent.trim()),
    }));

    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const label = head.querySelector("span");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label.textContent;
      label.replaceWith(button);
      button.addEventListener("click", () => {
        const was = head.getAttribute("aria-sort");
        const first = head.classList.contains("n") ? "descending" : "ascending";
        const other = first === "ascending" ? "descending" : "ascending";
        const now = was === first ? other : first;
        for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", now);
        const sign = now === "ascending" ? 1 : -1;
        rows.sort((a, b) => sign * compare(a.keys[column], b.keys[column]) || a.place - b.place);
        body.append(...rows.map((each) => each.row));
      });
    });

    const form = document.querySelector(`form[data-filters="${table.id}"]`);
    if (!form) continue;
    const shown = form.querySelector("output");
    const filter = () => {
      const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
      const chosen = [...form.querySelectorAll("select")].filter((each) => each.value);
      let count = 0;
      for (const each of rows) {
        const fits =
          words.every((word) => each.text.includes(word)) &&
          chosen.every((select) => each.row.dataset[select.name] === select.value);
        each.row.hidden = !fits;
        count += fits;
      }
      shown.textContent = `${numbers.format(count)} of ${numbers.format(rows.length)}`;
    };
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    filter();
  }
})();
