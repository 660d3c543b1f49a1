"use strict";
const said = document.getElementById("said");
const say = (text, bad) => {
  said.textContent = text;
  said.className = bad ? "bad" : "";
  said.hidden = false;
};
const newId = () => crypto.randomUUID ? crypto.randomUUID()
  : "10000000-1000-4000-8000-100000000000".replace(/[018]/g, c => (c ^ crypto.getRandomValues(new Uint8Array(1))[0] & 15 >> c / 4).toString(16));

// The id is made here and kept while the outcome is open: sent again, the same order stays one order.
const open = new Map();
document.addEventListener("click", async event => {
  const button = event.target.closest("button[data-product]");
  if (!button) return;
  const productId = Number(button.dataset.product);
  const id = open.get(productId) ?? newId();
  open.set(productId, id);
  button.disabled = true;
  try {
    const answer = await fetch("/api/orders", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ id, productId, quantity: 1 }) });
    if (answer.ok) {
      open.delete(productId);
      say(`${button.dataset.name} is ordered, from ${answer.headers.get("X-Served-By")?.split("/")[0] ?? "somewhere"}.`);
    } else if (answer.headers.get("BuildRunner-Outcome") === "unknown") {
      say("It is not certain yet whether the order went through. Press again: it will not be ordered twice.", true);
    } else {
      const problem = await answer.json().catch(() => ({}));
      say(problem.title ?? `The shop answered ${answer.status}.`, true);
    }
  } catch {
    say("The shop did not answer. Press again: it will not be ordered twice.", true);
  } finally {
    button.disabled = false;
  }
});
