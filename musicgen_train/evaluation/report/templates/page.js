"use strict";
// Only one sound at a time.
document.addEventListener("play", (event) => {
  for (const other of document.querySelectorAll("audio")) {
    if (other !== event.target) other.pause();
  }
}, true);

// A row's sounds play in one bar at the foot of the window, made when it is first needed.
let player = null;
function openPlayer() {
  if (player) return player;
  const bar = document.createElement("div");
  bar.className = "player";
  const inner = document.createElement("div"), title = document.createElement("span");
  const audio = document.createElement("audio");
  audio.controls = true;
  inner.append(title, audio);
  bar.append(inner);
  document.body.append(bar);
  document.body.style.paddingBottom = "6rem";
  return (player = { title, audio });
}
document.addEventListener("click", (event) => {
  const link = event.target.closest("a.play");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const { title, audio } = openPlayer();
  title.textContent = link.dataset.title;
  audio.src = link.getAttribute("href");
  audio.play().catch(() => {});
  for (const other of document.querySelectorAll("a.play.on")) other.classList.remove("on");
  link.classList.add("on");
});

// Columns sort by a click, numbers as numbers; what has no value stays at the end.
function sortable(table) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const byText = new Intl.Collator(undefined, { numeric: true });
  function valueOf(row, place, isNumber) {
    const cell = row.cells[place];
    if (!isNumber) return cell.textContent.trim() || null;
    return cell.dataset.value ? Number(cell.dataset.value) : null;
  }
  heads.forEach((head, place) => {
    const button = head.querySelector("button");
    if (!button) return;
    const isNumber = head.classList.contains("number");
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [valueOf(row, place, isNumber), row]);
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * (isNumber ? a - b : byText.compare(a, b));
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}
function filterable(table, input, shown) {
  const rows = [...table.tBodies[0].rows];
  const texts = rows.map((row) => `${row.cells[0].textContent} ${row.cells[1].textContent}`.toLowerCase());
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    rows.forEach((row, place) => {
      row.hidden = !wanted.every((word) => texts[place].includes(word));
      count += !row.hidden;
    });
    shown.textContent = count === rows.length ? `${count} clips` : `${count} of ${rows.length} clips`;
  });
}
const clips = document.getElementById("clip-table");
if (clips) {
  sortable(clips);
  filterable(clips, document.getElementById("filter"), document.getElementById("shown"));
}
