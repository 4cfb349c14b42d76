// Runs once in the component's element. `props.value` is a list of takes, the newest first, and
// perhaps one file to be saved. Every text is set as text: none of it can become markup.
const find = (selector) => element.querySelector(selector);
const list = find(".cards");
const empty = find(".no-takes");
const cards = new Map();
const chosen = { A: null, B: null };
let heard = "A";

const address = (path) => "gradio_api/file=" + path.split("/").map(encodeURIComponent).join("/");
const clock = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds || 0));
  return Math.floor(whole / 60) + ":" + String(whole % 60).padStart(2, "0");
};

function make(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

function button(text, name, act) {
  const made = make("button", name, text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

function bars(outline) {
  const space = "http://www.w3.org/2000/svg";
  const drawn = document.createElementNS(space, "svg");
  drawn.setAttribute("viewBox", `0 0 ${Math.max(1, outline.length)} 100`);
  drawn.setAttribute("preserveAspectRatio", "none");
  drawn.setAttribute("aria-hidden", "true");
  outline.forEach((peak, i) => {
    const bar = document.createElementNS(space, "rect");
    const height = Math.max(3, peak);
    bar.setAttribute("x", i + 0.15);
    bar.setAttribute("y", 50 - height / 2);
    bar.setAttribute("width", 0.7);
    bar.setAttribute("height", height);
    drawn.append(bar);
  });
  return drawn;
}

function stopOthers(audio) {
  for (const other of document.querySelectorAll("audio")) {
    if (other !== audio && !other.paused) other.pause();
  }
}

function player(take) {
  const row = make("div", "player");
  const audio = make("audio");
  audio.preload = "none";
  audio.src = address(take.music);
  const play = button("▶", "play", () => (audio.paused ? audio.play() : audio.pause()));
  play.setAttribute("aria-label", "Play");
  const wave = make("div", "wave");
  wave.tabIndex = 0;
  wave.setAttribute("role", "slider");
  wave.setAttribute("aria-label", "Position");
  wave.setAttribute("aria-valuemin", "0");
  wave.setAttribute("aria-valuemax", String(take.duration));
  const time = make("span", "time", clock(take.duration));
  const drawn = bars(take.outline);
  wave.append(drawn);
  const show = () => {
    const share = audio.currentTime / take.duration;
    drawn.querySelectorAll("rect").forEach((bar, i) => {
      bar.classList.toggle("played", i < share * take.outline.length);
    });
    wave.setAttribute("aria-valuenow", audio.currentTime.toFixed(1));
    wave.setAttribute("aria-valuetext", `${clock(audio.currentTime)} of ${clock(take.duration)}`);
    time.textContent = audio.currentTime ? clock(audio.currentTime) : clock(take.duration);
  };
  show();
  const seek = (seconds) => {
    audio.currentTime = Math.min(Math.max(0, seconds), take.duration);
    show();
  };
  wave.addEventListener("click", (event) => {
    const box = wave.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * take.duration);
  });
  wave.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) seek(audio.currentTime + step);
    else if (event.key === " ") play.click();
    else return;
    event.preventDefault();
  });
  audio.addEventListener("play", () => {
    stopOthers(audio);
    pause();
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "Pause");
  });
  audio.addEventListener("pause", () => {
    play.textContent = "▶";
    play.setAttribute("aria-label", "Play");
  });
  audio.addEventListener("timeupdate", show);
  row.append(play, wave, time, audio);
  return row;
}

function facts(take) {
  const more = make("details", "facts");
  more.append(make("summary", "", "Settings"));
  const names = make("dl");
  for (const [name, value] of take.facts) {
    const words = make("dd", "", value);
    words.dir = "auto";
    names.append(make("dt", "", name), words);
  }
  more.append(names);
  return more;
}

function actions(take) {
  const row = make("div", "actions");
  const wav = make("a", "act", "wav");
  wav.href = address(take.music);
  wav.download = take.music.split("/").pop();
  const saves = make("span", "group");
  saves.append(make("span", "group-name", "Download"), wav);
  for (const format of ["flac", "mp3"]) {
    saves.append(button(format, "act", () => trigger("fetch", { id: take.id, format: format })));
  }
  const goes = make("span", "group");
  goes.append(
    button("Use these settings", "act", () => trigger("settings", { id: take.id })),
    button("Continue this one", "act", () => trigger("extend", { id: take.id })),
  );
  const sides = make("span", "group");
  for (const side of ["A", "B"]) {
    const as = button("As " + side, "act side-" + side, () => choose(side, take));
    as.title = "Compare: hear this take as " + side;
    sides.append(as);
  }
  const drop = button("Remove", "act drop", () => trigger("drop", { id: take.id }));
  row.append(saves, goes, sides, drop);
  return row;
}

function card(take) {
  const made = make("article", "take");
  made.dataset.id = take.id;
  made.setAttribute("aria-label", take.title);
  const title = make("h4", "", take.text.trim() || "Free music, without a text");
  title.dir = "auto";
  const when = new Date(take.created).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const seed = (take.facts.find((fact) => fact[0] === "seed") || ["", ""])[1];
  const model = (take.facts.find((fact) => fact[0] === "model") || ["", ""])[1];
  const line = make("p", "line", `${take.duration.toFixed(1)} s · seed ${seed} · ${model} · ${when}`);
  const picture = make("img", "picture");
  picture.loading = "lazy";
  picture.alt = "Mel spectrogram over seconds and Hz";
  picture.src = address(take.picture);
  made.append(title, line, player(take), picture, actions(take), facts(take));
  return made;
}

// Two takes at one position, of which one is heard.
const bar = find(".ab");
const sounds = { A: new Audio(), B: new Audio() };
for (const side of ["A", "B"]) sounds[side].dataset.side = side;
const longest = () => Math.max(chosen.A ? chosen.A.duration : 0, chosen.B ? chosen.B.duration : 0);
const playing = () => !sounds.A.paused || !sounds.B.paused;

function pause() {
  sounds.A.pause();
  sounds.B.pause();
  showBar();
}

function position() {
  return Math.max(sounds.A.currentTime || 0, sounds.B.currentTime || 0);
}

function place(seconds) {
  for (const side of ["A", "B"]) {
    if (chosen[side]) sounds[side].currentTime = Math.min(seconds, chosen[side].duration);
  }
}

function hear(side) {
  const now = sounds[heard].currentTime || 0;
  heard = side;
  for (const one of ["A", "B"]) sounds[one].muted = one !== heard;
  // Two players drift apart by some ms: the one that is heard now takes the other's place.
  if (chosen[side] && Math.abs(sounds[side].currentTime - now) > 0.03 && now < chosen[side].duration) {
    sounds[side].currentTime = now;
  }
  showBar();
}

function choose(side, take) {
  pause();
  chosen[side] = take;
  sounds[side].src = address(take.music);
  const other = side === "A" ? "B" : "A";
  if (chosen[other] && chosen[other].id === take.id) chosen[other] = null;
  place(0);
  hear(heard);
  bar.scrollIntoView({ block: "nearest" });
}

function end() {
  pause();
  chosen.A = chosen.B = null;
  showBar();
}

function showBar() {
  const both = chosen.A && chosen.B;
  bar.hidden = !chosen.A && !chosen.B;
  for (const side of ["A", "B"]) {
    const name = find(`.ab-side[data-side="${side}"]`);
    name.querySelector("span").textContent = chosen[side] ? chosen[side].title : "choose a take below";
    name.setAttribute("aria-pressed", String(heard === side));
    name.disabled = !both;
    for (const one of cards.values()) {
      const is = chosen[side] !== null && one.dataset.id === chosen[side].id;
      const as = one.querySelector(".side-" + side);
      as.classList.toggle("on", is);
      as.setAttribute("aria-pressed", String(is));
    }
  }
  find(".ab-hint").textContent = both ? "one is heard; key X switches" : "choose two takes";
  find(".ab-play").disabled = find(".ab-swap").disabled = find(".ab-seek").disabled = !both;
  find(".ab-play").textContent = playing() ? "❚❚" : "▶";
  find(".ab-play").setAttribute("aria-label", playing() ? "Pause both" : "Play both");
  find(".ab-seek").setAttribute("aria-valuetext", `${clock(position())} of ${clock(longest())}`);
  find(".ab-swap").textContent = "Hear " + (heard === "A" ? "B" : "A");
  find(".ab-seek").max = longest() || 1;
  find(".ab-seek").value = position();
  find(".ab-time").textContent = clock(position());
}

async function playBoth() {
  stopOthers(null);
  if (position() >= longest() - 0.05) place(0);
  const now = sounds[heard].currentTime || 0;
  place(now);
  const starts = ["A", "B"].filter((side) => now < chosen[side].duration);
  await Promise.allSettled(starts.map((side) => sounds[side].play()));
  showBar();
}

find(".ab-play").addEventListener("click", () => (playing() ? pause() : playBoth()));
find(".ab-swap").addEventListener("click", () => hear(heard === "A" ? "B" : "A"));
find(".ab-close").addEventListener("click", end);
find(".ab-seek").addEventListener("input", (event) => {
  place(Number(event.target.value));
  showBar();
});
for (const side of element.querySelectorAll(".ab-side")) {
  side.addEventListener("click", () => hear(side.dataset.side));
}
for (const side of ["A", "B"]) {
  sounds[side].addEventListener("timeupdate", showBar);
  sounds[side].addEventListener("ended", showBar);
}
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest && event.target.closest("input:not([type=range]), textarea, select");
  const other = event.ctrlKey || event.metaKey || event.altKey;
  if (event.key?.toLowerCase() === "x" && !typing && !other && chosen.A && chosen.B) {
    hear(heard === "A" ? "B" : "A");
  }
});

function save(file) {
  const link = make("a");
  link.href = address(file.fetched);
  link.download = file.name;
  document.body.append(link);
  link.click();
  link.remove();
}

function show() {
  const value = Array.isArray(props.value) ? props.value : [];
  const takes = value.filter((item) => item.id);
  const kept = new Set(takes.map((take) => take.id));
  for (const [id, made] of cards) {
    if (kept.has(id)) continue;
    made.querySelector("audio").pause();
    made.remove();
    cards.delete(id);
    for (const side of ["A", "B"]) if (chosen[side] && chosen[side].id === id) end();
  }
  takes.forEach((take, i) => {
    let made = cards.get(take.id);
    if (!made) {
      made = card(take);
      cards.set(take.id, made);
    }
    if (list.children[i] !== made) list.insertBefore(made, list.children[i] || null);
  });
  empty.hidden = takes.length > 0;
  showBar();
  // Where all is in one column the takes are far below the button that made them.
  const narrow = window.innerWidth < 800;
  for (const item of value) {
    if (item.fresh && narrow && list.firstChild) list.firstChild.scrollIntoView({ block: "start" });
    if (item.fetched) save(item);
  }
}

watch("value", show);
show();
