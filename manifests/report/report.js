"use strict";
// Each clip is one video of all its attributes, so they cannot drift apart; here they only get buttons and sliders.
(() => {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const all = document.querySelector(".transport.all");
  const clips = [...document.querySelectorAll(".clip")].filter((clip) => clip.querySelector("video")).map((clip) => {
    const video = clip.querySelector("video");
    const frames = Number(video.dataset.frames);
    const fps = Number(video.dataset.fps);
    return { video, frames, fps, button: clip.querySelector(".play"), slider: clip.querySelector("input"),
      output: clip.querySelector("output") };
  });
  if (!clips.length) return;

  const frameOf = (clip) => Math.min(clip.frames - 1, Math.floor(clip.video.currentTime * clip.fps + 1e-3));
  const show = (clip, frame) => { clip.video.currentTime = (frame + 0.5) / clip.fps; };
  const draw = (clip) => {
    const frame = frameOf(clip);
    clip.slider.value = frame;
    clip.output.textContent = `${frame + 1} / ${clip.frames}`;
    clip.button.classList.toggle("playing", !clip.video.paused);
  };
  const toggle = (clip) => { if (clip.video.paused) clip.video.play(); else clip.video.pause(); };

  for (const clip of clips) {
    clip.button.addEventListener("click", () => toggle(clip));
    clip.video.addEventListener("click", () => toggle(clip));
    clip.slider.addEventListener("input", () => { clip.video.pause(); show(clip, Number(clip.slider.value)); });
    for (const name of ["play", "pause", "seeked", "loadeddata"]) clip.video.addEventListener(name, () => draw(clip));
    clip.video.addEventListener("loadeddata", () => { clip.video.dataset.state = "ready"; });
    clip.video.addEventListener("error", () => {
      clip.video.dataset.state = "unplayable";
      clip.output.textContent = "this browser plays no H.264";
    });
  }

  const [button, slider, speed] = ["button", "input", "select"].map((tag) => all.querySelector(tag));
  const playing = () => clips.some((clip) => !clip.video.paused);
  const playAll = (on) => clips.forEach((clip) => { if (on) clip.video.play(); else clip.video.pause(); });
  all.hidden = false;
  button.addEventListener("click", () => playAll(!playing()));
  slider.addEventListener("input", () => {
    playAll(false);
    for (const clip of clips) show(clip, Math.round((slider.value / 1000) * (clip.frames - 1)));
  });
  speed.addEventListener("change", () => clips.forEach((clip) => { clip.video.playbackRate = Number(speed.value); }));
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select, button, summary")) return;
    if (event.key === " ") { event.preventDefault(); playAll(!playing()); }
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) {
      playAll(false);
      for (const clip of clips) show(clip, (frameOf(clip) + step + clip.frames) % clip.frames);
    }
  });

  const tick = () => {
    for (const clip of clips) if (!clip.video.paused) draw(clip);
    button.classList.toggle("playing", playing());
    const first = clips[0];
    if (playing()) slider.value = (1000 * frameOf(first)) / Math.max(first.frames - 1, 1);
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const { target: video, isIntersecting } = entry;
      if (!isIntersecting) { video.wasPlaying = !video.paused; video.pause(); }
      else if (video.wasPlaying ?? !still) video.play().catch(() => {});
    }
  }, { threshold: 0.2 });
  clips.forEach((clip) => { draw(clip); seen.observe(clip.video); });
})();
