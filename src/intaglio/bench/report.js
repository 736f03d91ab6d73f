"use strict";
(() => {
  const root = document.documentElement;
  const theme = document.getElementById("theme");
  theme.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  const holder = document.getElementById("scenes-data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const by = (id) => document.getElementById(id);
  const stage = by("stage"), range = by("divider");
  const sides = {
    left: { img: by("over"), tag: by("tag-l"), pick: by("pick-l"), facts: by("facts-l"), warn: by("warn-l") },
    right: { img: by("under"), tag: by("tag-r"), pick: by("pick-r"), facts: by("facts-r"), warn: by("warn-r") },
  };
  let scene = 0;
  const rate = () => document.querySelector('input[name="rate"]:checked').value;

  function divide() {
    stage.style.setProperty("--at", `${range.value / 10}%`);
    range.setAttribute("aria-valuetext", `${Math.round(range.value / 10)} percent ${sides.left.pick.value}`);
  }

  function side(s) {
    const here = data[scene], name = s.pick.value;
    const shot = name === "original" ? here.original : here.rates[rate()][name];
    s.img.src = shot.src;
    s.img.alt = `${here.picture}, ${name === "original" ? "the original" : `by ${name}`}`;
    s.tag.textContent = name;
    s.facts.replaceChildren(...shot.facts.map(([term, value]) => {
      const row = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = `${term} `;
      dd.textContent = value;
      row.append(dt, dd);
      return row;
    }));
    s.warn.textContent = shot.warn || "";
  }

  function show() {
    stage.style.aspectRatio = `${data[scene].width} / ${data[scene].height}`;
    side(sides.left);
    side(sides.right);
    document.querySelectorAll(".scenes button").forEach((b, i) => b.setAttribute("aria-pressed", String(i === scene)));
    divide();
  }

  range.addEventListener("input", divide);
  for (const s of Object.values(sides)) s.pick.addEventListener("change", show);
  document.querySelectorAll('input[name="rate"]').forEach((r) => r.addEventListener("change", show));
  document.querySelectorAll(".scenes button").forEach((b, i) => b.addEventListener("click", () => {
    scene = i;
    show();
  }));
  show();
})();
