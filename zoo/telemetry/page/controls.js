"use strict";
// What is on the page beside the panels: the language, what is copied by a click, and a second run that is laid over.

$("language").addEventListener("click", () => {
  page.lang = page.lang === "zh" ? "en" : "zh";
  nameSiblings();
  tellOfOther();
  draw();
});

for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    const text = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea"); // where a browser gives a file's page no clipboard
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.classList.add("done");
    $("said").textContent = say("copied");
    setTimeout(() => button.classList.remove("done"), 1500);
  });
}

// --- a second run -------------------------------------------------------------------------------------------------------

function lay(told) {
  other = told && new Recorded(told);
  tellOfOther();
  draw();
}

function tellOfOther() {
  const line = $("other");
  if (!line) return;
  line.hidden = !other;
  $("alone").hidden = !other;
  if (!other) return;
  const { name, verdict, confidence } = other.told;
  line.textContent = say("laid over: {name}", { name: `${name}${verdict ? ` · ${verdict} ${confidence ? confidence.toFixed(2) : ""}` : ""}` });
}

async function read(file) {
  try {
    const text = new DOMParser().parseFromString(await file.text(), "text/html").getElementById("data").textContent;
    const told = JSON.parse(text);
    if (!told.texts || !("theory" in told)) throw new Error("another page");
    lay(told);
  } catch {
    $("other").hidden = false;
    $("other").textContent = say("this file is no page of a run.");
  }
}

$("file")?.addEventListener("change", (event) => event.target.files[0] && read(event.target.files[0]));
$("alone")?.addEventListener("click", () => {
  if ($("sibling")) $("sibling").value = "";
  lay(null);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  if (event.dataTransfer.files[0]) read(event.dataTransfer.files[0]);
});

// A page that lies on a disk may not read the one beside it; but it may show it in a frame, and ask it.
const QUESTION = "gradient-zoo: which run are you?";
const trusted = (event) => event.origin === location.origin || (location.protocol === "file:" && ["null", "file://"].includes(event.origin));

function nameSiblings() {
  if (!data.siblings) return;
  const [count, own] = data.siblings, chosen = $("sibling").value;
  const option = (value, text) => Object.assign(document.createElement("option"), { value, textContent: text });
  const others = Array.from({ length: count }, (_, i) => i).filter((i) => i !== own);
  $("sibling").replaceChildren(option("", "–"), ...others.map((i) => option(i, say("run {number}", { number: i }))));
  $("sibling").value = chosen;
}
nameSiblings();

$("sibling")?.addEventListener("change", (event) => {
  if (event.target.value === "") return lay(null);
  const address = `../${event.target.value}/run.html`;
  document.querySelector("iframe")?.remove();
  const frame = document.createElement("iframe");
  frame.title = address;
  frame.src = address;
  const late = setTimeout(() => {
    $("other").hidden = false;
    $("other").textContent = say("{address} is not there, or does not answer.", { address });
  }, 4000);
  window.addEventListener("message", function answered(answer) {
    if (answer.source !== frame.contentWindow || !trusted(answer) || answer.data?.question !== QUESTION) return;
    window.removeEventListener("message", answered);
    clearTimeout(late);
    lay(answer.data.told);
    frame.remove();
  });
  frame.addEventListener("load", () => frame.contentWindow.postMessage(QUESTION, "*"));
  document.body.append(frame);
});
window.addEventListener("message", (event) => {
  if (event.data !== QUESTION || event.source !== window.parent || !trusted(event)) return;
  event.source.postMessage({ question: QUESTION, told: data }, event.origin === "null" || event.origin === "file://" ? "*" : event.origin);
});

if (run.columns) {
  draw();
  whenResized([$("map") ?? $("cursor")].concat([...document.querySelectorAll(".chart")]), draw);
}
