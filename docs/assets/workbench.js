// The workbench: on a rule's page each half of the pair can be run, edited, copied and passed on.
//
// Runs are asked of the server that served the page, if it is `mkdocs serve`: it put a token into the
// page. On a published site there is none, and the buttons give way to a line that says how to have one.
// What happens in a run is shown as the recorded one is, by the same rows and the same viewer.
(() => {
  "use strict";

  const token = document.querySelector('meta[name="guide-live"]')?.content ?? "";
  const script = document.currentScript;
  const root = new URL("../", script.src); // of the site
  const rule = document.querySelector("h1 .rule-id")?.textContent.trim();
  if (!rule) return;

  const element = (tag, attributes = {}, ...content) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null) made.setAttribute(name, value);
    }
    made.append(...content);
    return made;
  };

  const button = (label, act, attributes = {}) => {
    const made = element("button", { type: "button", ...attributes }, label);
    made.addEventListener("click", act);
    return made;
  };

  // Says something to who can't see what changed.
  const spoken = element("p", { class: "spoken", role: "status" });
  document.body.append(spoken);
  const announce = (words) => {
    spoken.textContent = "";
    requestAnimationFrame(() => (spoken.textContent = words));
  };

  // What stands in a listing, without its gutter.
  const codeOf = (listing) =>
    [...listing.querySelectorAll(".l:not(.gap)")]
      .map((line) => [...line.childNodes].slice(1).map((node) => node.textContent).join(""))
      .join("");

  const copy = async (text, what) => {
    try {
      await navigator.clipboard.writeText(text);
      announce(`${what} copied`);
    } catch {
      announce(`${what} could not be copied: the browser does not let this page`); // it is not on https
    }
  };

  // The lines of a text that another one lacks: by their longest common subsequence.
  const changedLines = (text, original) => {
    const [now, was] = [text.split("\n"), original.split("\n")];
    const table = Array.from({ length: now.length + 1 }, () => new Uint16Array(was.length + 1));
    for (let i = now.length - 1; i >= 0; i -= 1) {
      for (let j = was.length - 1; j >= 0; j -= 1) {
        table[i][j] = now[i] === was[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
      }
    }
    const changed = [];
    for (let i = 0, j = 0; i < now.length; ) {
      if (j < was.length && now[i] === was[j]) [i, j] = [i + 1, j + 1];
      else if (j < was.length && table[i][j + 1] > table[i + 1][j]) j += 1;
      else changed.push((i += 1));
    }
    return changed;
  };

  // A file that runs by itself: it brings what it needs, serves, and tells the server where it is.
  const standalone = (code) =>
    [
      "# /// script",
      '# requires-python = ">=3.11"',
      '# dependencies = ["restate-sdk==1.3.0", "hypercorn==0.18.0", "httpx==0.28.1", "pydantic"]',
      "# ///",
      `# ${rule}. Start a server (npx @restatedev/restate-server), then: uv run this file.`,
      code.trimEnd(),
      "",
      "",
      'if __name__ == "__main__":',
      "    import asyncio",
      "",
      "    import hypercorn.asyncio",
      "    from hypercorn.config import Config",
      "",
      "    async def main() -> None:",
      "        config = Config()",
      '        config.bind = ["127.0.0.1:9080"]',
      "        serving = asyncio.create_task(hypercorn.asyncio.serve(app, config))",
      '        async with httpx.AsyncClient(base_url="http://127.0.0.1:9070") as admin:',
      '            here = {"uri": "http://127.0.0.1:9080", "force": True}',
      '            (await admin.post("/deployments", json=here)).raise_for_status()',
      "        await serving",
      "",
      "    asyncio.run(main())",
      "",
    ]
      .join("\n")
      .replace("    import hypercorn.asyncio", code.includes("import httpx") ? "    import hypercorn.asyncio" : "    import httpx\n    import hypercorn.asyncio");

  const LARGEST = 64 * 1024; // of what a run takes; a longer text is no snippet

  // Edited code in an address: deflated, in the fragment, which no server ever sees.
  const packed = async (text) => {
    const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("deflate-raw"));
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  };
  const unpacked = async (text) => {
    const bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    const code = await new Response(stream).text();
    if (code.length > LARGEST) throw new Error("too long");
    return code;
  };

  // The events of a run, as they come.
  async function* events(request, signal) {
    const answer = await fetch("/-/run", {
      method: "POST",
      headers: { "content-type": "application/json", "x-guide-token": token },
      body: JSON.stringify(request),
      signal,
    });
    if (!answer.ok) {
      const { error } = await answer.json().catch(() => ({ error: `The server says ${answer.status}.` }));
      throw new Error(error);
    }
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) yield JSON.parse(line);
    }
  }

  const HARM = {
    there: ["✗", "The harm is still there"],
    gone: ["✓", "The harm is gone"],
    other: ["✗", "Something else is wrong"],
  };

  class Half {
    constructor(side) {
      this.side = side;
      this.variant = side.classList.contains("do") ? "do" : "dont";
      this.name = this.variant === "do" ? "Do" : "Don’t";
      this.listing = side.querySelector(".listing");
      this.original = codeOf(this.listing);
      this.run = document.querySelector(`.happened > .run.${this.variant}`);
      this.editor = null;
      this.running = null;
      this.build();
    }

    build() {
      this.runButton = button("Run", () => this.toggleRun(), { class: "act" });
      this.editButton = button("Edit", () => this.toggleEdit(), { "aria-expanded": "false" });
      const label = `${this.name}: copy, edit${token ? ", run" : ""}`;
      this.tools = element(
        "div",
        { class: "tools", role: "group", "aria-label": label },
        button("Copy", () => copy(this.code(), `${this.variant}.py`)),
        this.editButton,
        ...(token ? [this.runButton] : []),
      );
      this.side.querySelector("figcaption").append(this.tools);
      this.outcome = element("p", { class: "outcome", role: "status" });
      this.listing.after(this.outcome);
    }

    code() {
      return this.editor ? this.editor.code() : this.original;
    }

    async toggleEdit(code = this.original) {
      if (this.editor) return this.closeEditor();
      this.editButton.disabled = true;
      try {
        const { open } = await import(new URL("assets/vendor/editor.js", root));
        this.box = element("div", { class: "editor" });
        this.listing.hidden = true;
        this.listing.before(this.box);
        this.editor = open(this.box, {
          code,
          label: `${this.name}: ${this.variant}.py, edited. Tab leaves the editor.`,
          changed: () => this.mark(null),
        });
        this.more = element(
          "div",
          { class: "tools", role: "group", "aria-label": "The edited code" },
          button("Reset", () => this.editor.replace(this.original)),
          button("Download", () => this.download()),
          button("Copy link", () => this.share()),
          element("small", {}, "Tab leaves the editor; Ctrl-] indents."),
        );
        this.box.after(this.more);
        this.mark(null);
        this.editButton.textContent = "Close";
        this.editButton.setAttribute("aria-expanded", "true");
        this.editor.focus();
      } finally {
        this.editButton.disabled = false;
      }
    }

    closeEditor() {
      this.editor.close();
      this.editor = null;
      this.box.remove();
      this.more.remove();
      this.listing.hidden = false;
      this.editButton.textContent = "Edit";
      this.editButton.setAttribute("aria-expanded", "false");
      this.say("", "");
    }

    mark(error) {
      this.editor?.mark(changedLines(this.editor.code(), this.original), error);
    }

    download() {
      const file = new Blob([standalone(this.code())], { type: "text/x-python" });
      const link = element("a", {
        href: URL.createObjectURL(file),
        download: `${rule.toLowerCase()}_${this.variant}.py`,
      });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }

    async share() {
      const address = new URL(location.href);
      address.hash = `edit=${this.variant}:${await packed(this.code())}`;
      history.replaceState(null, "", address);
      await copy(address.href, "The link");
    }

    say(kind, ...words) {
      this.outcome.className = `outcome ${kind}`;
      this.outcome.replaceChildren(...words);
    }

    toggleRun() {
      if (this.running) this.running.abort();
      else this.start();
    }

    async start() {
      const request = { rule, variant: this.variant };
      if (this.editor && this.editor.code() !== this.original) request.code = this.editor.code();
      this.running = new AbortController();
      this.runButton.textContent = "Stop";
      this.say("", "Running …");
      this.mark(null);
      const live = new Live(this, request.code !== undefined);
      try {
        for await (const event of events(request, this.running.signal)) {
          if (event.kind === "verdict") this.judge(event, request.code !== undefined);
          else if (event.kind === "error") this.fail(event);
          live.take(event);
        }
        if (this.outcome.textContent === "Running …") this.say("bad", "The run ended without a verdict.");
      } catch (error) {
        this.say("bad", error.name === "AbortError" ? "Stopped." : `It could not be run: ${error.message}`);
        live.end();
      } finally {
        this.running = null;
        this.runButton.textContent = "Run";
      }
    }

    judge(event, edited) {
      const [sign, said] = HARM[event.harm];
      const harmless = event.harm === "gone";
      const words = edited || this.variant === "dont" ? said : harmless ? "It holds" : said;
      this.say(harmless ? "good" : "bad", `${sign} `, element("strong", {}, `${words}.`), ` ${event.text}`);
    }

    fail(event) {
      this.say("bad", "✗ ", element("strong", {}, "It fails."), element("pre", { tabindex: "0" }, event.text));
      if (event.line) this.mark(event.line);
    }
  }

  // A run as it happens, in the place of the recorded one; at its end it is shown as that is.
  class Live {
    constructor(half, edited) {
      const { run } = half;
      this.half = half;
      this.edited = edited;
      run.querySelector(":scope > .live")?.remove();
      this.recorded = run.querySelector(":scope > .recorded");
      if (!this.recorded) {
        this.recorded = element("div", { class: "recorded" });
        this.recorded.append(...run.childNodes);
        run.append(this.recorded);
      }
      this.recorded.hidden = true;
      const what = edited ? "Live: your edited code, on this machine" : "Live, on this machine";
      this.back = button("Show the recorded run", () => {
        this.box.remove();
        this.recorded.hidden = false;
      });
      this.verdict = element("p", { class: "verdict" }, element("strong", {}, "Running …"));
      this.story = element("section", { class: "story" }, element("p", { class: "lanes", "aria-hidden": "true" }, element("span", {}, "journal"), element("span", {}, "outside")));
      this.box = element("div", { class: "live" }, element("p", { class: "liveness" }, element("span", {}, what), " ", this.back), this.verdict, this.story);
      run.append(this.box);
      this.attempts = 0;
    }

    take(event) {
      if (event.kind === "attempt") this.attempt();
      else if (["moment", "effect", "call", "answer"].includes(event.kind)) this.row(event);
      else if (event.kind === "verdict") this.show(event);
      else if (event.kind === "error") this.end("It fails.");
    }

    attempt() {
      this.attempts += 1;
      this.steps = element("ol", { class: "steps" });
      const head = element("p", { class: "attempt-head" }, element("strong", {}, `Attempt ${this.attempts}`));
      this.story.append(element("div", { class: "attempt" }, head, this.steps));
    }

    row(event) {
      if (!this.steps) {
        this.steps = element("ol", { class: "steps" });
        this.story.append(element("div", { class: "attempt" }, this.steps));
      }
      const at = element("span", { class: "at" });
      if (event.line) at.append(this.line(event.line));
      this.steps.append(element("li", { class: event.kind === "effect" ? "effect" : "step" }, at, element("span", { class: "what" }, event.text)));
    }

    // The listing has no lines of edited code to lead to.
    line(number) {
      if (this.edited) return `${number}`;
      return element("a", { href: `#${rule.toLowerCase()}-${this.half.variant}-l${number}` }, `${number}`);
    }

    show(event) {
      // Made by our own server from a trace, in which every text is escaped.
      const made = new DOMParser().parseFromString(event.html, "text/html");
      if (this.edited) for (const link of made.querySelectorAll(`a[href^="#"]`)) link.replaceWith(link.textContent);
      const sign = this.half.side.querySelector(".label").cloneNode(true);
      this.verdict.replaceChildren(sign, " ", element("strong", {}, event.title), " ", element("span", { class: "measured" }, event.short), " ", element("span", { class: "sentence" }, event.text));
      this.story.replaceWith(...made.body.childNodes);
      document.dispatchEvent(new CustomEvent("guide:story", { detail: this.box }));
    }

    end(words = "Stopped.") {
      this.verdict.replaceChildren(element("strong", {}, words));
    }
  }

  const halves = [...document.querySelectorAll(".pair > .side")].map((side) => new Half(side));

  if (!token) {
    const how = element("p", { class: "tools" }, element("small", {}, "To run them here: ", element("code", {}, "make serve"), ", in a checkout of the guide."));
    document.querySelector(".pair")?.after(how);
  }

  document.querySelector("details.more > .listing.diff")?.before(
    element("div", { class: "tools" }, button("Copy the diff", () => {
      const diff = document.querySelector(".listing.diff").textContent;
      copy(diff, "The diff");
    })),
  );

  // A link that somebody shared: the code is shown, and nothing is run.
  const shared = async () => {
    const [, variant, text] = location.hash.match(/^#edit=(do|dont):(.*)$/) ?? [];
    if (!variant) return;
    const half = halves.find((each) => each.variant === variant);
    try {
      if (text.length > LARGEST) throw new Error("too long");
      const code = await unpacked(text);
      if (half.editor) half.editor.replace(code);
      else await half.toggleEdit(code);
      half.side.scrollIntoView({ block: "start" });
      half.say("", "Code from a link, written by whoever made it. Read it before you run it.");
    } catch {
      half.say("bad", "The link is damaged: its code can’t be read.");
    }
  };
  addEventListener("hashchange", shared);
  shared();
})();
