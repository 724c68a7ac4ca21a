// The replay viewer: steps through the recorded run that stands on a rule's page as text.
//
// It reads nothing but the page. Each row of a story is a step; this adds a control to the story,
// and says by classes which row is `now`, which are `later`, and which line of the code is `running`.
// How that looks is told by viewer.css. Without this script the page shows the whole run.
(() => {
  "use strict";
  performance.mark("replay-begins");

  const element = (tag, attributes = {}, ...content) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...content);
    return made;
  };

  const text = (node) => (node ? node.textContent.replace(/\s+/g, " ").trim() : "");

  // What a mark shows, without the words for those who can't see it.
  const marked = (mark) => mark.lastChild.textContent.trim();

  const made = ".took-effect, .too-often, .logged";

  // A step for each row: what it says, where it stands in the code, and where its thread begins,
  // that is the row that wrote the entry it reads, or brought about the same effect before.
  const stepsOf = (story) => {
    const steps = [];
    let writers = new Map();
    const effects = new Map();
    for (const part of story.children) {
      if (part.matches(".invocation")) writers = new Map(); // a journal of its own
      if (!part.matches(".attempt")) continue;
      const heading = text(part.querySelector(".attempt-head, summary"));
      part.querySelectorAll("li").forEach((row, at) => {
        const said = text(row.querySelector(".what"));
        const mark = row.querySelector(".mark");
        const links = [...row.querySelectorAll(".at a")];
        const step = {
          row,
          part,
          mark,
          said: at ? said : `${heading}. ${said}`,
          spoken: mark ? text(mark.querySelector(".spoken")).replace(/^– /, "") : "",
          lines: links.map((a) => document.getElementById(a.hash.slice(1))).filter(Boolean),
          from: null,
          kind: "",
        };
        if (mark) {
          const value = marked(mark);
          if (mark.matches(".written")) {
            writers.set(value, step);
          } else if (mark.matches(".read, .refused")) {
            step.from = writers.get(value.match(/\d+/)?.[0]) ?? null;
            step.kind = mark.matches(".read") ? "read" : "refused";
          } else {
            const name = text(row.querySelector(".what code"));
            if (mark.matches(".too-often, .known")) {
              step.from = effects.get(name) ?? null;
              step.kind = mark.matches(".known") ? "known" : "too-often";
            }
            if (mark.matches(made)) effects.set(name, step);
          }
        }
        steps.push(step);
      });
    }
    return steps;
  };

  class Replay {
    constructor(story, name) {
      this.story = story;
      this.steps = stepsOf(story);
      this.opened = null; // an attempt that was folded away, and opened for a step in it
      this.build(name);
      this.show(this.steps.length);
      // It is told of the first layout too: asking for places before that would hold up the page.
      new ResizeObserver(() => this.draw()).observe(story);
    }

    build(name) {
      const last = this.steps.length;
      const button = (label, shown, act) => {
        const made = element("button", { type: "button", "aria-label": label }, shown);
        made.addEventListener("click", act);
        return made;
      };
      this.slider = element("input", {
        type: "range", min: 1, max: last, step: 1, value: last, "aria-label": `Step of the run: ${name}`,
      });
      this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
      this.start = button("From the start", "From the start", () => this.go(1));
      this.start.className = "start";
      this.back = button("Previous step", "←", () => this.go(this.at - 1));
      this.next = button("Next step", "→", () => this.go(this.at + 1));
      this.count = element("span", { class: "count", "aria-hidden": "true" });
      this.code = element("p", { class: "code", "aria-hidden": "true" });
      this.live = element("p", { class: "spoken", "aria-live": "polite" });
      this.control = element(
        "div",
        { class: "replay", role: "group", "aria-label": `Replay: ${name}` },
        element("div", { class: "bar" }, this.back, this.slider, this.next, this.count, this.start),
        this.code,
        this.live,
      );
      this.control.addEventListener("keydown", (event) => this.key(event));
      this.thread = element("span", { class: "thread", "aria-hidden": "true" });
      this.story.prepend(this.control);
      this.story.append(this.thread);
    }

    // The slider knows its keys itself; the buttons beside it follow the same ones.
    key(event) {
      if (event.target === this.slider || event.ctrlKey || event.altKey || event.metaKey) return;
      const to = { ArrowLeft: this.at - 1, ArrowRight: this.at + 1, Home: 1, End: this.steps.length };
      if (!(event.key in to)) return;
      event.preventDefault();
      this.go(to[event.key]);
    }

    // A step that the reader asked for: it is brought into view, and may move.
    go(to) {
      this.story.classList.add("moving");
      this.show(Math.min(Math.max(to, 1), this.steps.length));
      this.draw();
      this.steps[this.at - 1].row.scrollIntoView({ block: "nearest", behavior: "instant" });
    }

    show(at) {
      const step = this.steps[at - 1];
      const last = this.steps.length;
      this.at = at;
      this.fold(step.part);
      this.steps.forEach((each, index) => {
        each.row.classList.toggle("now", each === step);
        each.row.classList.toggle("later", index >= at);
        each.row.classList.toggle("origin", each === step.from);
        if (each === step) each.row.setAttribute("aria-current", "step");
        else each.row.removeAttribute("aria-current");
      });
      for (const part of this.story.querySelectorAll(".attempt")) {
        const first = this.steps.findIndex((each) => each.part === part);
        part.classList.toggle("later", first >= at);
      }
      const lines = new Set(step.lines);
      for (const each of this.steps) {
        for (const line of each.lines) line.classList.toggle("running", lines.has(line));
      }
      this.code.replaceChildren(...(step.lines.length ? copied(step.lines[0]) : []));
      this.live.textContent = [step.said, step.spoken].filter(Boolean).join(": ");
      this.slider.value = at;
      this.slider.setAttribute("aria-valuetext", `step ${at} of ${last}`);
      this.count.textContent = `step ${at} of ${last}`;
      this.back.setAttribute("aria-disabled", at === 1);
      this.next.setAttribute("aria-disabled", at === last);
    }

    // Attempts that are folded away open while a step in them is shown.
    fold(part) {
      if (this.opened && this.opened !== part) {
        this.opened.open = false;
        this.opened = null;
      }
      if (part.matches("details") && !part.open) {
        part.open = true;
        this.opened = part;
      }
    }

    // The thread leads from the mark that a step goes back to, down its lane, to the step's own.
    draw() {
      const { from, mark, kind } = this.steps[this.at - 1];
      const [above, below] = [from?.mark, mark].map((each) => each?.getBoundingClientRect());
      const drawn = above?.height && below?.height; // neither is folded away
      this.thread.className = drawn ? `thread drawn ${kind}` : "thread";
      if (!drawn) return;
      const box = this.story.getBoundingClientRect();
      const place = {
        "--x": (above.left + above.right) / 2 - box.left, // the lower one may be on its way
        "--y": above.bottom - box.top,
        "--length": Math.max(below.top - above.bottom, 0),
      };
      for (const [name, value] of Object.entries(place)) {
        this.thread.style.setProperty(name, `${value}px`);
      }
    }
  }

  // A line of the code once more, beside the control: the listing may be out of sight.
  const copied = (line) => {
    const copy = line.cloneNode(true);
    copy.removeAttribute("id");
    copy.className = "";
    const number = copy.firstChild;
    number.textContent = `${parseInt(number.textContent)}`.padStart(3) + "  ";
    if (number.nextSibling) {
      const texts = document.createTreeWalker(copy, NodeFilter.SHOW_TEXT);
      texts.nextNode(); // the number
      const code = texts.nextNode();
      if (code) code.textContent = code.textContent.trimStart();
    }
    return [copy];
  };

  const step = (run) => {
    const story = run.querySelector(".story");
    if (story?.querySelector(".steps li")) new Replay(story, text(run.querySelector(".verdict .label")));
  };
  document.querySelectorAll(".happened > .run").forEach(step);
  document.addEventListener("guide:story", (event) => step(event.detail)); // a live run, at its end
  performance.mark("replay-ready");
  performance.measure("replay", "replay-begins", "replay-ready");
})();
