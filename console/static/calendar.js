// Moving an order to another day: dragged with a mouse, a pen or a finger, or with Shift and the arrow keys.
const calendar = document.querySelector(".calendar");
const DAYS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7 };
let moving = null;

document.getElementById(location.hash.slice(1))?.focus(); // so that it can be moved on

const move = (form, day) => {
  if (!day || form.elements.on.value === day) return;
  form.elements.on.value = day;
  form.elements.back.value = `/calendar?month=${day.slice(0, 7)}#${form.querySelector("[data-moves]").id}`;
  form.requestSubmit();
};

const dayAt = (event) => document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-day]");

calendar?.addEventListener("keydown", (event) => {
  const link = event.target.closest("[data-moves]");
  if (!link || !event.shiftKey || !(event.key in DAYS)) return;
  event.preventDefault();
  const form = link.closest("form");
  const day = new Date(`${form.elements.on.value}T00:00:00Z`);
  day.setUTCDate(day.getUTCDate() + DAYS[event.key]);
  move(form, day.toISOString().slice(0, 10));
});

calendar?.addEventListener("pointerdown", (event) => {
  const link = event.target.closest("[data-moves]");
  if (link && event.button === 0) moving = { link, x: event.clientX, y: event.clientY, dragged: false };
});

calendar?.addEventListener("pointermove", (event) => {
  if (!moving) return;
  moving.dragged ||= Math.hypot(event.clientX - moving.x, event.clientY - moving.y) > 6;
  for (const day of calendar.querySelectorAll(".over")) day.classList.remove("over");
  if (moving.dragged) dayAt(event)?.classList.add("over");
});

calendar?.addEventListener("pointerup", (event) => {
  if (moving?.dragged) {
    const { link } = moving;
    link.addEventListener("click", (click) => click.preventDefault(), { once: true });
    move(link.closest("form"), dayAt(event)?.dataset.day);
  }
  moving = null;
});

calendar?.addEventListener("pointercancel", () => { moving = null; });
