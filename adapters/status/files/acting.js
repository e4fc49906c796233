// What a person with the token can do, and how they are asked and told.

import { $, sentence } from "./parts.js";

let token = sessionStorage.getItem("token") ?? "";
let changed = () => {};
export const unlocked = () => token !== "";
export const onUnlock = then => { changed = then; };

function setToken(text) {
  token = text;
  if (text) sessionStorage.setItem("token", text); else sessionStorage.removeItem("token");
  changed();
}

export async function act(what, content) {
  try {
    const answer = await fetch(`/api/${what}`, {
      method: "POST", body: JSON.stringify(content), cache: "no-store",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
    });
    const told = await answer.json();
    if (answer.status === 401) setToken("");
    if (!answer.ok) throw new Error(told.error);
    if (told.confirmed === false) toast("Sent; the device has not shown the new state yet.");
  } catch (error) {
    toast(error.message);
  }
}

let timer = 0;
function toast(text) {
  $("toast").textContent = sentence(text);
  $("toast").hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => { $("toast").hidden = true; }, 6000);
}

// Asks for one text; null where the person does not want to.
export function askFor({ title, hint, text = "", type = "text", yes = "OK" }) {
  const dialog = $("ask"), input = $("ask-input");
  $("ask-title").textContent = title;
  $("ask-hint").textContent = hint;
  $("ask-ok").textContent = yes;
  input.type = type;
  input.value = text;
  dialog.returnValue = "";
  dialog.showModal();
  input.select();
  return new Promise(done => dialog.addEventListener("close",
    () => done(dialog.returnValue === "ok" ? input.value : null), { once: true }));
}

$("ask-ok").addEventListener("click", () => $("ask").close("ok"));
$("ask-cancel").addEventListener("click", () => $("ask").close(""));
$("ask-input").addEventListener("keydown", event => { if (event.key === "Enter") $("ask").close("ok"); });
$("unlock").addEventListener("click", async () => {
  if (unlocked()) return setToken("");
  const hint = "The gateway's token lets this tab open the join window, name devices, and write where the configuration allows it.";
  const text = await askFor({ title: "Unlock", hint, type: "password", yes: "Unlock" });
  if (text?.trim()) setToken(text.trim());
});
