"use strict";

// Renews the parts of the page that have changed, once a second while somebody looks at it. The server renders them.
(() => {
  const EVERY = 1000; // milliseconds between two questions
  const LONGEST = 8000; // between two tries to reach a server that is gone
  const SOON = 60; // seconds left from which on a countdown is urgent
  const connection = document.getElementById("connection");
  const clock = document.getElementById("clock");
  const parts = [...document.querySelectorAll("[data-part]")];
  let timer = 0;
  let failures = 0;
  let asking = null;

  const say = (text, lost) => {
    connection.hidden = false;
    connection.classList.toggle("lost", lost);
    if (connection.textContent !== text) connection.textContent = text;
  };

  const face = (seconds) => {
    const whole = Math.max(0, Math.trunc(seconds));
    const pad = (number) => String(number).padStart(2, "0");
    const hours = Math.trunc(whole / 3600);
    const minutes = Math.trunc(whole / 60) % 60;
    return hours ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
  };

  const count = (now) => {
    for (const left of document.querySelectorAll("[data-expires]")) {
      const seconds = (Date.parse(left.dataset.expires) - now) / 1000;
      left.textContent = face(seconds);
      left.parentElement.classList.toggle("soon", seconds < SOON);
    }
  };

  // What somebody is just selecting, to copy it, stays until they are done.
  const isSelected = (part) => {
    const selection = document.getSelection();
    return !selection.isCollapsed && part.contains(selection.anchorNode);
  };

  const replace = (part, html, version) => {
    const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
    const open = new Set([...part.querySelectorAll("details[open]")].map((each) => each.id));
    part.innerHTML = html;
    part.dataset.version = version;
    for (const each of part.querySelectorAll("details")) each.open = open.has(each.id);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  };

  const renew = (news) => {
    for (const part of parts) {
      const changed = news.parts[part.dataset.part];
      if (changed && !isSelected(part)) replace(part, changed.html, changed.version);
    }
    clock.textContent = news.clock;
    clock.dateTime = news.now;
    count(Date.parse(news.now));
  };

  const ask = async () => {
    window.clearTimeout(timer);
    asking?.abort();
    const mine = new AbortController();
    asking = mine;
    const overdue = window.setTimeout(() => mine.abort(), LONGEST);
    const known = new URLSearchParams(parts.map((part) => [part.dataset.part, part.dataset.version]));
    try {
      const reply = await fetch(`/_sandbox/live?${known}`, { headers: { Accept: "application/json" }, signal: mine.signal });
      if (reply.status === 401 || reply.status === 403) {
        say("The simulator has started anew: open the address that it printed", true);
        failures += 1;
      } else if (!reply.ok) {
        throw new Error(String(reply.status));
      } else {
        renew(await reply.json());
        failures = 0;
        say("live", false);
      }
    } catch (error) {
      if (asking !== mine) return; // a newer question is on its way
      failures += 1;
      say("Connection lost: trying again", true);
    } finally {
      window.clearTimeout(overdue);
    }
    if (asking === mine && !document.hidden) {
      timer = window.setTimeout(ask, Math.min(EVERY * 2 ** Math.min(failures, 3), LONGEST));
    }
  };

  const send = async (form, button) => {
    const result = form.querySelector(".result");
    button?.setAttribute("aria-busy", "true");
    let failed = false;
    let text = "";
    try {
      const body = new URLSearchParams(new FormData(form, button));
      const reply = await fetch(form.getAttribute("action"), {
        method: "POST",
        headers: { Accept: "application/json" },
        body,
      });
      const said = await reply.json();
      failed = !reply.ok;
      text = failed ? said.error : said.said;
    } catch (error) {
      failed = true;
      text = "The simulator could not be reached.";
    }
    button?.removeAttribute("aria-busy");
    result.classList.toggle("failed", failed);
    result.textContent = text;
    await ask();
  };

  document.addEventListener("submit", (event) => {
    event.preventDefault();
    void send(event.target, event.submitter);
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) window.clearTimeout(timer);
    else void ask();
  });
  count(Date.parse(document.body.dataset.now));
  void ask();
})();
