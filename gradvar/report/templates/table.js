// Sorts tables by the column whose heading is pressed; opens what is folded before the page is printed.
(() => {
  const value = (row, k) => {
    const cell = row.cells[k];
    return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
  };
  const order = (k, sign) => (a, b) => {
    const x = value(a, k), y = value(b, k);
    if (x !== null && y !== null) {
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return sign * (x - y);
    }
    if ((x === null) !== (y === null)) return x === null ? 1 : -1;
    return sign * a.cells[k].textContent.localeCompare(b.cells[k].textContent, undefined, { numeric: true });
  };
  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => {
      const head = button.closest("th"), table = button.closest("table"), body = table.tBodies[0];
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of table.querySelectorAll("th")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      body.append(...[...body.rows].sort(order(head.cellIndex, sign)));
    });
  }
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details")) part.open = true;
  });
})();
