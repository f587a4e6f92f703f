// Live updates. The page is whole without this script: it only puts in what the server has rendered again.
"use strict";

(() => {
  const main = document.getElementById("main");
  const state = document.getElementById("live-state");
  let serverNow = Number(main.dataset.now);
  let receivedAt = performance.now();

  const duration = (seconds) => {
    const whole = Math.max(0, Math.round(seconds));
    const parts = [[Math.floor(whole / 86400), "d"], [Math.floor((whole % 86400) / 3600), "h"],
      [Math.floor((whole % 3600) / 60), "m"], [whole % 60, "s"]];
    return parts.filter(([count]) => count).map(([count, unit]) => count + unit).slice(0, 2).join("") || "0s";
  };

  const tick = () => {
    const now = serverNow + (performance.now() - receivedAt) / 1000;
    for (const each of document.querySelectorAll("time[data-since]")) {
      each.textContent = `${duration(now - Number(each.dataset.since))} ago`;
    }
  };

  const parsed = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content;
  };

  // Details that are open stay open, and what is being typed is not thrown away.
  const replaceContent = (target, html) => {
    if (!target || target.contains(document.activeElement) && document.activeElement.matches("input")) return;
    const open = [...target.querySelectorAll("details")].map((each) => each.open);
    target.replaceChildren(parsed(html));
    [...target.querySelectorAll("details")].forEach((each, index) => { each.open ||= Boolean(open[index]); });
  };

  // Without the time that passes anyway.
  const textOf = (row) => row.outerHTML.replace(/<time[^]*?<\/time>/g, "").replace(/ ?changed/g, "");

  const replaceRow = (id, html) => {
    const before = document.getElementById(id);
    const after = parsed(html).querySelector("tr");
    if (!before || !after || textOf(before) === textOf(after)) return;
    const focused = before.contains(document.activeElement);
    before.replaceWith(after);
    after.classList.add("changed");
    if (focused) after.querySelector("a")?.focus();
  };

  const listen = () => {
    const path = main.dataset.live;
    if (!path || !window.EventSource) return;
    const stream = new EventSource(path);
    stream.addEventListener("open", () => { state.textContent = "live"; });
    stream.addEventListener("error", () => {
      state.textContent = "not live: connecting again …";
      // Refused, as when there are too many live pages: the browser gives up, so this tries again.
      if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 15000);
    });
    stream.addEventListener("update", (event) => {
      const data = JSON.parse(event.data);
      serverNow = data.now;
      receivedAt = performance.now();
      for (const [id, html] of Object.entries(data.rows ?? {})) replaceRow(id, html);
      for (const [id, html] of Object.entries(data.parts ?? {})) replaceContent(document.getElementById(id), html);
      if (data.title) document.title = data.title;
      tick();
    });
    // Other rollouts belong on this page of the list now.
    stream.addEventListener("reload", () => {
      if (!document.activeElement?.matches("input, select")) location.reload();
    });
    window.addEventListener("pagehide", () => stream.close());
  };

  setInterval(tick, 5000);
  listen();
})();
