// Dragging a quantity from one cell of a line to another: with a mouse, a pen or a finger. Typing does the same.
const board = document.querySelector(".board");
let held = null;

const target = (event) => {
  const cell = document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-cell], td:has([data-from])");
  return cell && cell.parentElement === held.row ? cell : null;
};

// Quantities are typed and shown in the reader's own way: 1.234,5 or 1,234.5.
const number = (text) =>
  Number(text.replaceAll(board.dataset.group, "").replaceAll("\u00a0", "").replace(board.dataset.decimal, "."));
const shown = (value) => String(Number(value.toFixed(6))).replace(".", board.dataset.decimal);

const letGo = () => {
  for (const cell of board.querySelectorAll(".over, .held")) cell.classList.remove("over", "held");
  held = null;
};

board?.addEventListener("pointerdown", (event) => {
  const grip = event.target.closest(".grip");
  if (!grip) return;
  event.preventDefault();
  const cell = grip.closest("td");
  held = { cell, row: cell.parentElement, input: cell.querySelector("input") };
  cell.classList.add("held");
  grip.setPointerCapture(event.pointerId);
});

board?.addEventListener("pointermove", (event) => {
  if (!held) return;
  for (const cell of held.row.querySelectorAll(".over")) cell.classList.remove("over");
  target(event)?.classList.add("over");
});

board?.addEventListener("pointerup", (event) => {
  if (!held) return;
  const cell = target(event);
  const amount = held.input ? held.input.value : held.cell.querySelector("output").textContent;
  if (cell && cell !== held.cell && number(amount)) {
    const into = cell.querySelector("input");
    // Quantities have at most six decimals; what is shown as left is worked out by the server alone.
    if (into) into.value = shown(number(into.value || "0") + number(amount));
    if (held.input) held.input.value = "";
    (into ?? held.input).dispatchEvent(new Event("input", { bubbles: true }));
  }
  letGo();
});

board?.addEventListener("pointercancel", letGo);
