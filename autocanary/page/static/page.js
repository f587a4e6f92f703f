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

  // Without the time that passes anyway.
  const textOf = (html) => html.replace(/<time[^]*?<\/time>/g, "").replace(/ ?changed/g, "");

  const fieldsOf = (target) => [...target.querySelectorAll("input:not([type=hidden])")];

  // Details that are open stay open, what is being typed stays, and the focus stays where it is.
  const replaceContent = (target, html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    if (!target || textOf(target.innerHTML).trim() === textOf(template.innerHTML).trim()) return;
    const open = [...target.querySelectorAll("details")].map((each) => each.open);
    const typed = new Map(fieldsOf(target).map((each) => [each.name, each.value]));
    const focused = target.contains(document.activeElement) ? document.activeElement : null;
    const row = focused?.closest("tr")?.id;
    const selection = focused?.matches("input") ? [focused.selectionStart, focused.selectionEnd] : null;
    target.replaceChildren(template.content);
    [...target.querySelectorAll("details")].forEach((each, index) => { each.open ||= Boolean(open[index]); });
    for (const each of fieldsOf(target)) each.value = typed.get(each.name) ?? each.value;
    if (!focused) return;
    const after = focused.id ? document.getElementById(focused.id)
      : row ? document.getElementById(row)?.querySelector("a")
      : focused.matches("button[value]") ? target.querySelector(`button[value="${CSS.escape(focused.value)}"]`) : null;
    after?.focus({preventScroll: true});
    if (after && selection) after.setSelectionRange(...selection);
  };

  const replaceRow = (id, html) => {
    const before = document.getElementById(id);
    const template = document.createElement("template");
    template.innerHTML = html;
    const after = template.content.querySelector("tr");
    if (!before || !after || textOf(before.outerHTML) === textOf(after.outerHTML)) return;
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
      for (const [id, html] of Object.entries(data.parts ?? {})) replaceContent(document.getElementById(id), html);
      for (const [id, html] of Object.entries(data.rows ?? {})) replaceRow(id, html);
      if (data.title) document.title = data.title;
      tick();
    });
    window.addEventListener("pagehide", () => stream.close(), {once: true});
  };

  // The browser's Back button brings back the page as it was, with its stream closed.
  window.addEventListener("pageshow", (event) => { if (event.persisted) listen(); });
  setInterval(tick, 5000);
  listen();
})();
