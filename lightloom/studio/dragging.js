// The page's own script: dark colours, and a new object that is dragged over the picture or moved by the arrow keys.
// A mark follows; where it ends, the picture gets a click, which is what the page listens to.
() => {
  document.body.classList.add("dark");
  const PUSH = 8; // pixels of the picture that an arrow key moves by
  const PUSHES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const mark = Object.assign(document.createElement("div"), { id: "mark", hidden: true });
  document.body.append(mark);
  let held = null, place = null, waiting = 0; // held: what was pressed; place: (x, y) as shares of the picture
  let size = [1, 1]; // of the picture; one that is not loaded yet does not say it, and is as large as the last

  const picture = () => document.querySelector("#canvas img");
  const objectInHand = () => Boolean(document.querySelector("#asset")?.offsetParent);

  // Where the picture itself is shown: gradio fits it into its element and does not enlarge it.
  const shown = () => {
    const image = picture(), box = image.getBoundingClientRect();
    if (image.naturalWidth) size = [image.naturalWidth, image.naturalHeight];
    const scale = Math.min(box.width / size[0], box.height / size[1], 1);
    const width = size[0] * scale, height = size[1] * scale;
    return { left: box.left + (box.width - width) / 2, top: box.top + (box.height - height) / 2, width, height, scale };
  };
  const within = (value) => Math.min(Math.max(value, 0), 0.999);
  const client = (box) => [box.left + place[0] * box.width, box.top + place[1] * box.height];

  const moveTo = (x, y) => {
    const box = shown();
    place = [within((x - box.left) / box.width), within((y - box.top) / box.height)];
    const side = Math.min(box.width, box.height) * (Number(document.querySelector("#size input")?.value) || 25) / 100;
    const [left, foot] = client(box);
    Object.assign(mark.style, {
      left: `${left - side / 2}px`, top: `${foot - side}px`, width: `${side}px`, height: `${side}px`,
    });
    mark.hidden = false;
  };
  const loaded = () => Boolean(picture()?.complete && picture().naturalWidth);
  const drop = () => {
    mark.hidden = true;
    if (!loaded()) { waiting = setTimeout(drop, 50); return; } // a new picture is on its way
    const [clientX, clientY] = client(shown());
    picture().dispatchEvent(new MouseEvent("click", { bubbles: true, clientX, clientY }));
  };

  document.addEventListener("dragstart", (event) => event.target === picture() && event.preventDefault());
  document.addEventListener("pointerdown", (event) => {
    held = event.button === 0 && event.target === picture() && objectInHand() ? event.target : null;
    if (held) moveTo(event.clientX, event.clientY);
  });
  document.addEventListener("pointermove", (event) => held && moveTo(event.clientX, event.clientY));
  document.addEventListener("pointercancel", () => { held = null; mark.hidden = true; });
  document.addEventListener("pointerup", (event) => {
    if (!held) return;
    const same = event.target === held && event.target === picture() && loaded(); // not when a new picture came meanwhile
    held = null;
    moveTo(event.clientX, event.clientY);
    const [x, y] = client(shown());
    mark.hidden = true;
    const clicks = same && Math.hypot(event.clientX - x, event.clientY - y) < 1;
    if (!clicks) drop(); // the browser's own click would miss the picture
  });
  document.addEventListener("keydown", (event) => {
    const push = PUSHES[event.key];
    const elsewhere = event.target.closest("input, textarea, [role=tab], [role=listbox]");
    if (!push || !place || elsewhere || !picture() || !objectInHand()) return;
    event.preventDefault();
    const box = shown(), [x, y] = client(box);
    moveTo(x + push[0] * PUSH * box.scale, y + push[1] * PUSH * box.scale);
    clearTimeout(waiting);
    waiting = setTimeout(drop, 500);
  });
}
