// Start, rate page after page, end. The server says what comes next; nothing here knows the systems.
const $ = (id) => document.getElementById(id);
const NAME = "listening-test-name", DRAFT = "listening-test-draft";
let listener = "", trial = null, players = [], started = 0, spent = 0, sending = false;

async function ask(path, body) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body),
    });
  } catch {
    throw new Error("The server does not answer. Your ratings are still here: try again.");
  }
  const answer = await response.json().catch(() => ({error: `The server said ${response.status}.`}));
  if (!response.ok) throw Object.assign(new Error(answer.error), {status: response.status});
  return answer;
}

function view(id) {
  for (const main of ["start", "test", "end"]) $(main).hidden = main !== id;
  window.scrollTo(0, 0);
}

function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

// A player: one button, one seek bar. `onHeard` gets the seconds that were played, each once.
function makePlayer(box, label, sound, heardBefore, onHeard) {
  box.replaceChildren($("player-template").content.cloneNode(true));
  const [button, seek, time, audio] = box.children;
  const part = box.parentElement;
  seek.setAttribute("aria-label", `Position in ${label}`);
  seek.max = sound.duration;
  audio.src = sound.url;
  let heard = heardBefore;
  const show = () => {
    const playing = !audio.paused;
    button.setAttribute("aria-pressed", playing);
    button.setAttribute("aria-label", `${playing ? "Pause" : "Play"} ${label}`);
    seek.value = audio.currentTime;
    seek.setAttribute("aria-valuetext", `${Math.round(audio.currentTime)} seconds`);
    time.textContent = `${clock(audio.currentTime)} / ${clock(sound.duration)}`;
  };
  const count = () => {
    let played = 0;
    for (let i = 0; i < audio.played.length; i++) played += audio.played.end(i) - audio.played.start(i);
    if (played > heard) onHeard(heard = played);
  };
  const frame = () => { show(); count(); if (!audio.paused) requestAnimationFrame(frame); };
  const player = {
    get heard() { return heard; },
    stop() { audio.pause(); },
    release() { audio.pause(); audio.removeAttribute("src"); audio.load(); },
    toggle() {
      if (!audio.paused) return audio.pause();
      for (const other of players) if (other !== player) other.stop();
      audio.play().catch(() => { if (part.isConnected) fail("This clip cannot be played: reload the page."); });
    },
  };
  button.addEventListener("click", player.toggle);
  seek.addEventListener("input", () => { audio.currentTime = Number(seek.value); show(); });
  audio.addEventListener("play", frame);
  for (const event of ["pause", "ended", "seeked", "timeupdate"]) audio.addEventListener(event, () => { show(); count(); });
  show();
  return player;
}

function makeClip(clip, index, draft) {
  const card = $("clip-template").content.cloneNode(true).firstElementChild;
  const name = `clip ${clip.letter}`;
  card.setAttribute("aria-label", name);
  card.querySelector("h2").textContent = clip.letter;
  const heardLine = card.querySelector(".heard");
  const unlock = () => {
    heardLine.textContent = "";
    for (const slider of card.querySelectorAll(".question input")) slider.disabled = false;
  };
  const onHeard = (seconds) => { if (seconds >= clip.needed) unlock(); };
  const player = makePlayer(card.querySelector(".player"), name, clip, draft.heard?.[index] ?? 0, onHeard);
  player.letter = clip.letter;
  player.needed = clip.needed;
  heardLine.textContent = `Play at least ${Math.ceil(clip.needed)} s of it, then rate it.`;
  onHeard(player.heard);
  for (const question of card.querySelectorAll(".question")) {
    const slider = question.querySelector("input"), output = question.querySelector("output");
    const {question: key, title} = question.dataset;
    slider.id = `${key}-${index}`;
    question.querySelector("label").htmlFor = slider.id;
    slider.setAttribute("aria-label", `${title}, ${name}`);
    slider.dataset.rated = "false";
    slider.setAttribute("aria-valuetext", "not rated");
    const rate = () => {
      slider.dataset.rated = "true";
      slider.removeAttribute("aria-valuetext");
      output.textContent = slider.value;
      question.classList.remove("missing");
      keep();
    };
    const before = draft.ratings?.[key]?.[index];
    if (before) { slider.value = before; rate(); }
    // A click on where it stands, or Enter, is a rating of 50 too.
    for (const event of ["input", "click"]) slider.addEventListener(event, rate);
    slider.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") rate(); });
  }
  return [card, player];
}

const sliders = () => [...document.querySelectorAll("#clips .question input")];
const clipPlayers = () => players.filter((player) => player.letter);
const seconds = () => spent + (performance.now() - started) / 1000;

function given() {
  const ratings = {};
  for (const slider of sliders()) {
    const [key] = slider.id.split("-");
    (ratings[key] ??= []).push(slider.dataset.rated === "true" ? Number(slider.value) : null);
  }
  return {ratings, heard: clipPlayers().map((player) => player.heard), seconds: seconds()};
}

// A reload must not cost what was rated on this page so far.
function keep() {
  if (trial) sessionStorage.setItem(DRAFT, JSON.stringify({trial: trial.id, ...given()}));
}

function draftOf(id) {
  try {
    const draft = JSON.parse(sessionStorage.getItem(DRAFT));
    return draft?.trial === id ? draft : {};
  } catch { return {}; }
}

function fail(message) { $("error").textContent = message; }

function show(state) {
  for (const player of players) player.release();
  players = [];
  listener = state.listener;
  localStorage.setItem(NAME, listener);
  trial = null;
  if (!state.trial) {
    $("end-text").textContent = state.total
      ? `All ${state.total === 1 ? "is" : `${state.total} pages are`} done, ${listener}. Your ratings are stored; you can close this page.`
      : "There is nothing to rate: ask whoever runs the test.";
    view("end");
    $("end-title").focus();
    return;
  }
  const draft = draftOf(state.trial.id), {text, melody, clips} = state.trial;
  $("place").textContent = `Page ${state.done + 1} of ${state.total}`;
  $("who").textContent = listener;
  $("progress").value = state.done;
  $("progress").max = state.total;
  $("asked").hidden = text === null && melody === null;
  $("text-part").hidden = text === null;
  $("text").textContent = text ?? "";
  $("melody-part").hidden = melody === null;
  view("test");
  if (melody) players.push(makePlayer($("melody"), "the melody", melody, 0, () => {}));
  $("melody").className = "player";
  const made = clips.map((clip, index) => makeClip(clip, index, draft));
  $("clips").replaceChildren(...made.map(([card]) => card));
  players.push(...made.map(([, player]) => player));
  $("next").textContent = state.done + 1 === state.total ? "Finish" : "Next";
  fail("");
  trial = state.trial;
  spent = draft.seconds ?? 0;
  started = performance.now();
  $("place").focus();
}

// What is missing is said and shown, first what was not heard.
function missing() {
  const unheard = clipPlayers().filter((player) => player.heard < player.needed);
  if (unheard.length) return `Listen to ${unheard.map((player) => player.letter).join(", ")} first.`;
  const open = sliders().filter((slider) => slider.dataset.rated !== "true");
  for (const slider of open) slider.closest(".question").classList.add("missing");
  open[0]?.focus();
  return open.length ? `Move ${open.length === 1 ? "the slider that is" : `the ${open.length} sliders that are`} marked.` : "";
}

async function next() {
  if (sending) return;
  const lack = missing();
  fail(lack);
  if (lack) return;
  sending = $("next").disabled = true;
  try {
    show(await ask("/api/ratings", {listener, trial: trial.id, ...given()}));
  } catch (error) {
    if (error.status === 409) await start(listener); else fail(error.message);
  } finally {
    sending = $("next").disabled = false;
  }
}

async function start(name) {
  try {
    show(await ask("/api/state", {listener: name}));
  } catch (error) {
    view("start");
    $("name").value = name;
    $("start-error").textContent = error.message;
  }
}

$("start-form").addEventListener("submit", (event) => {
  event.preventDefault();
  $("start-error").textContent = "";
  start($("name").value);
});
$("next").addEventListener("click", next);
$("other").addEventListener("click", () => {
  localStorage.removeItem(NAME);
  sessionStorage.removeItem(DRAFT);
  $("name").value = "";
  view("start");
  $("name").focus();
});
document.addEventListener("keydown", (event) => {
  if ($("test").hidden || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const key = event.key.toUpperCase();
  const player = players.find((one) => (one.letter ?? "M") === key);
  if (player) { event.preventDefault(); player.toggle(); }
});
window.addEventListener("pagehide", keep);
const known = localStorage.getItem(NAME);
if (known) start(known);
