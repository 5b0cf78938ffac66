"use strict";
(function () {
  const field = document.getElementById("filter");
  const table = document.getElementById("partitions");
  if (field !== null) {
    const rows = Array.from(table.tBodies[0].rows);
    const matches = document.getElementById("matches");
    field.parentElement.hidden = false;
    field.addEventListener("input", function () {
      const words = field.value.toLowerCase().split(/\s+/);
      let shown = 0;
      rows.forEach(function (row) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every(function (word) { return text.includes(word); });
        shown += row.hidden ? 0 : 1;
      });
      matches.textContent = shown + " of " + rows.length;
    });
  }
}());
