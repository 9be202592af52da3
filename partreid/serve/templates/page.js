"use strict";
// What the page does: it sends a crop and puts in the pieces that the service gives back.

const one = (query, where = document) => where.querySelector(query);
const all = (query, where = document) => [...where.querySelectorAll(query)];
const needsKey = "needsKey" in document.body.dataset;
let crop = null; // the file that is asked for
let asked = 0; // a later question makes the answer to an earlier one void
let running = 0;

function say(text, kind = "bad") {
  const place = one("#said");
  place.replaceChildren();
  if (!text) return;
  const p = document.createElement("p");
  p.className = `notice ${kind}`;
  p.textContent = text;
  place.append(p);
}

async function ask(path, options = {}) {
  const headers = new Headers();
  if (needsKey) headers.set("Authorization", `Bearer ${sessionStorage.getItem("key") || ""}`);
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The service does not answer; see that it runs.");
  }
  if (answer.ok) return answer;
  if (answer.status === 401) lock(Boolean(sessionStorage.getItem("key")));
  const said = await answer.json().catch(() => ({ error: `the service failed (${answer.status})` }));
  throw new Error(`${said.error[0].toUpperCase()}${said.error.slice(1)}.`);
}

// Each piece replaces the one of its name.
function fill(html) {
  const pieces = new DOMParser().parseFromString(html, "text/html").body.children;
  for (const piece of [...pieces]) one(`#${piece.id}`).replaceWith(document.adoptNode(piece));
  for (const time of all("time")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.valueOf())) {
      time.title = time.textContent;
      time.textContent = at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    }
  }
}

async function refresh() {
  const chosen = all("#cameras input:checked").map((box) => box.value);
  fill(await (await ask("/page/state")).text());
  for (const box of all("#cameras input")) box.checked = chosen.includes(box.value);
}

// A local time without a zone, as the field has it, to one with.
const zoned = (text) => (text ? new Date(text).toISOString() : "");

function question() {
  const form = new FormData(one("#ask"));
  form.set("crop", crop);
  for (const name of ["since", "until"]) {
    const text = form.get(name);
    if (text) form.set(name, zoned(text));
    else form.delete(name);
  }
  return form;
}

async function search() {
  if (!crop) return;
  const mine = ++asked;
  working(1);
  try {
    const html = await (await ask("/page/search", { method: "POST", body: question() })).text();
    if (mine !== asked) return;
    say("");
    one("#whynot").replaceChildren();
    fill(html);
    if (matchMedia("(max-width: 900px)").matches) one("#answers").scrollIntoView({ behavior: "smooth" });
    drawMaps(mine);
  } catch (error) {
    if (mine === asked) say(error.message);
  } finally {
    working(-1);
  }
}

// Part maps over kept crops, one after the other: the answers do not wait for them.
async function drawMaps(mine) {
  for (const place of all(".maps[data-crop]:empty")) {
    try {
      const picture = await (await ask(`/crops/${place.dataset.crop}/parts`)).blob();
      if (mine !== asked && !place.isConnected) return;
      const img = new Image();
      img.alt = `Part maps over crop ${place.dataset.crop}`;
      img.src = URL.createObjectURL(picture);
      img.onload = () => URL.revokeObjectURL(img.src);
      place.replaceChildren(img);
    } catch {
      return; // the answer stands without them
    }
  }
}

function working(step) {
  running += step;
  document.body.classList.toggle("busy", running > 0);
  one("#ask .main").textContent = running > 0 ? "Searching…" : "Search";
}

function take(file) {
  if (!file || !file.type.startsWith("image/")) {
    say("That is no picture; give a JPEG, PNG or WebP file.");
    return;
  }
  crop = file;
  const preview = one("#preview");
  if (preview.src) URL.revokeObjectURL(preview.src);
  preview.src = URL.createObjectURL(file);
  preview.hidden = false;
  one("#drop").classList.add("full");
  one("#ask .main").disabled = false;
  for (const box of all(".with-crop")) box.hidden = false;
  search();
}

function lock(wrong) {
  sessionStorage.removeItem("key");
  one("#desk").hidden = true;
  one("#key").hidden = false;
  if (wrong) one("#key h2").textContent = "That is not its key";
  one("#key input").focus();
}

async function begin() {
  if (needsKey && !sessionStorage.getItem("key")) {
    lock(false);
    return;
  }
  try {
    await refresh();
    one("#key").hidden = true;
    one("#desk").hidden = false;
  } catch (error) {
    if (one("#key").hidden) say(error.message);
  }
}

one("#key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", new FormData(event.target).get("key").trim());
  begin();
});

const drop = one("#drop");
const input = one("#drop input");
input.addEventListener("change", () => input.files.length && take(input.files[0]));
for (const name of ["dragenter", "dragover"])
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  if (file) take(file);
});

one("#ask").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});

one("#why").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = question();
  form.set("id", new FormData(event.target).get("id"));
  form.delete("top");
  try {
    fill(await (await ask("/page/why", { method: "POST", body: form })).text());
    say("");
    one("#whynot").scrollIntoView({ block: "start", behavior: "smooth" });
    drawMaps(asked);
  } catch (error) {
    say(error.message);
  }
});

one("#enrol").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  form.set("time", zoned(form.get("time")));
  for (const name of ["person", "camera", "time"]) if (!form.get(name)) form.delete(name);
  form.set("crops", crop);
  try {
    const kept = await (await ask("/enrol", { method: "POST", body: form })).json();
    await refresh();
    say(`Enrolled as crop ${kept.ids[0]}.`, "good");
  } catch (error) {
    say(error.message);
  }
});

document.addEventListener("click", (event) => {
  const { forget: person, crops, close } = event.target.dataset;
  if (close) one(`#${close}`).replaceChildren();
  if (person === undefined) return;
  one("#sure-name").textContent = person;
  const many = Number(crops);
  one("#sure-says").textContent =
    `${many === 1 ? "The crop" : `All ${many.toLocaleString()} crops`} of this person, and any picture of ` +
    "them, are removed from the gallery and from its files. This cannot be undone.";
  const sure = one("#sure");
  sure.dataset.person = person;
  sure.returnValue = "no";
  sure.showModal();
});

one("#sure").addEventListener("close", async (event) => {
  if (event.target.returnValue !== "yes") return;
  const form = new FormData();
  form.set("person", event.target.dataset.person);
  try {
    const gone = await (await ask("/forget", { method: "POST", body: form })).json();
    for (const shown of ["#answers", "#whynot"]) one(shown).replaceChildren(); // no picture stays in view
    await refresh();
    const said =
      `${gone.person} is forgotten: ${gone.crops} crop${gone.crops === 1 ? "" : "s"} removed.` +
      gone.notes.map((note) => ` ${note[0].toUpperCase()}${note.slice(1)}.`).join("");
    say(said, "good");
    if (crop) search().then(() => say(said, "good"));
  } catch (error) {
    say(error.message);
  }
});

begin();
