// The live status: when the store says that this login has moved on, wherever that was done, the page is loaded anew.
let leaving = false; // a form has been sent: what it leads to counts
addEventListener("submit", () => (leaving = true));
const anew = () => leaving || location.replace(location.pathname);
const place = document.querySelector("[data-live]");
let source;

const watch = () => {
  source?.close(); // a page in the background watches nothing
  if (document.hidden) return;
  source = new EventSource(place.dataset.live);
  source.onmessage = ({ data }) => data !== place.dataset.shown && anew();
};
document.addEventListener("visibilitychange", watch);
watch();
addEventListener("pagehide", () => source?.close());
addEventListener("pageshow", ({ persisted }) => {
  if (!persisted) return;
  leaving = false;
  anew(); // the back button has brought the page as it was
});

// The countdown. The server says how much time is left, so the clock of this device does not matter.
const timer = document.querySelector("[data-left]");
if (timer) {
  const until = performance.now() + 1000 * Number(timer.dataset.left);
  const show = () => {
    const left = Math.max(0, Math.ceil((until - performance.now()) / 1000));
    timer.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    setTimeout(left === 0 ? anew : show, 250);
  };
  show();
}
