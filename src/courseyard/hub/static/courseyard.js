// The pages work without this file; with it, search answers while typing and a start shows its steps.
"use strict";

const findForm = document.querySelector("form.find");
if (findForm) {
  const field = findForm.querySelector("input");
  let timer = 0;
  let latest = 0;
  const search = async () => {
    const turn = ++latest;
    const address = new URL(findForm.action);
    if (field.value.trim()) address.searchParams.set("q", field.value.trim());
    // The hub shows its pages to visitors and to its own pages, which know this token.
    const token = document.querySelector("input[name=_xsrf]").value;
    const reply = await fetch(address, { headers: { Accept: "text/html", "X-XSRFToken": token } });
    if (!reply.ok || reply.redirected) { location.assign(address); return; }
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    if (turn !== latest) return;
    for (const id of ["found", "courses"]) {
      const fresh = page.getElementById(id);
      if (fresh) document.getElementById(id).replaceWith(fresh);
    }
    history.replaceState(null, "", address);
  };
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => search().catch(() => findForm.submit()), 150);
  });
  findForm.addEventListener("submit", (event) => { event.preventDefault(); search().catch(() => findForm.submit()); });
}

// A second click on Start would only ask for the same server again.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post" || !event.submitter) return;
  setTimeout(() => { event.submitter.disabled = true; }, 0);
});
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

// What a notice leads to may be folded; browsers open it at a new address, not at the same one again.
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#problems-"]');
  const told = link && document.getElementById(link.hash.slice(1));
  if (told) { told.closest("details").open = true; told.focus(); }
});

const start = document.querySelector("[data-progress]");
if (start) {
  const bar = start.querySelector("progress");
  const step = start.querySelector("[role=status]");
  const source = new EventSource(start.dataset.progress);
  source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.ready || event.failed) { source.close(); location.reload(); return; }
    if (event.progress !== undefined) bar.value = event.progress;
    if (event.message) step.textContent = event.message;
  };
  source.onerror = () => { source.close(); setTimeout(() => location.reload(), 2000); };
}
// Once a server has stopped, the page about it is gone.
const stopping = document.querySelector("[data-next]");
if (stopping) setTimeout(() => location.replace(stopping.dataset.next), 2000);
