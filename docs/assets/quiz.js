// The quiz: one don't at a time, in an order of chance; the reader presses the guilty line.
//
// The score is kept in this browser, and nowhere else. Without this script the page is a list.
(() => {
  "use strict";
  const questions = [...document.querySelectorAll(".question")];
  if (!questions.length) return;
  const KEPT = "guide.quiz";
  const kept = () => {
    try {
      return JSON.parse(localStorage.getItem(KEPT)) ?? {};
    } catch {
      return {};
    }
  };
  const keep = (score) => {
    try {
      localStorage.setItem(KEPT, JSON.stringify(score));
    } catch {
      // A browser that keeps nothing: the score lasts as long as the page.
    }
  };

  const element = (tag, attributes = {}, ...content) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...content);
    return made;
  };

  let score = { asked: 0, right: 0, ...kept() };
  const told = element("p", { class: "score" });
  const result = element("p", { class: "result", role: "status" });
  const next = element("button", { type: "button", class: "next" }, "Next");
  const again = element("button", { type: "button", class: "again" }, "Forget the score");
  const bar = element("div", { class: "quiz" }, told, again);
  const below = element("div", { class: "quiz" }, next, result);
  questions[0].before(bar);
  questions.at(-1).after(below);

  const tell = () => {
    told.textContent = score.asked ? `${score.right} of ${score.asked} found at the first try.` : "Press the line that did it.";
    again.hidden = !score.asked;
  };

  // Fisher and Yates; chance is no matter of replay here.
  const order = questions.map((_, at) => at);
  for (let at = order.length - 1; at > 0; at -= 1) {
    const other = Math.floor(Math.random() * (at + 1));
    [order[at], order[other]] = [order[other], order[at]];
  }

  let at = -1;
  let tries = 0;
  const show = () => {
    at = (at + 1) % order.length;
    tries = 0;
    questions.forEach((question, number) => {
      question.hidden = number !== order[at];
      question.querySelector(".answer").open = false;
      question.querySelector(".answer").hidden = number === order[at];
      for (const line of question.querySelectorAll(".l")) line.classList.remove("right", "wrong");
    });
    questions[order[at]].querySelector("h2").textContent = `Question ${at + 1} of ${order.length}`;
    result.textContent = "";
  };

  // The numbers of its lines are those of the file, of which the first lines aren't shown.
  const guiltyLines = (question) => {
    const lines = question.querySelectorAll(".l");
    return question.dataset.guilty.split(" ").map((number) => lines[number - question.dataset.first]);
  };

  const answer = (question, line) => {
    const guilty = guiltyLines(question);
    if (!question.querySelector(".answer").hidden || line.classList.contains("wrong")) return;
    tries += 1;
    const right = guilty.includes(line);
    line.classList.add(right ? "right" : "wrong");
    if (!right) {
      result.textContent = tries === 1 ? "Not this one. Look again." : "Nor this one.";
      if (tries < 3) return;
    }
    if (right) result.textContent = tries === 1 ? "That’s the one." : "Found it.";
    else result.textContent = "It was another one.";
    for (const each of guilty) each.classList.add("right");
    score = { asked: score.asked + 1, right: score.right + (right && tries === 1) };
    keep(score);
    tell();
    const said = question.querySelector(".answer");
    said.hidden = false;
    said.open = true;
  };

  for (const question of questions) {
    for (const line of question.querySelectorAll(".l")) {
      if (!line.textContent.trim()) continue;
      line.tabIndex = 0;
      line.setAttribute("role", "button");
      line.addEventListener("click", () => answer(question, line));
      line.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        answer(question, line);
      });
    }
    question.querySelector(".listing").removeAttribute("tabindex");
  }
  next.addEventListener("click", () => {
    show();
    questions[order[at]].querySelector(".l[tabindex]").focus();
  });
  again.addEventListener("click", () => {
    score = { asked: 0, right: 0 };
    keep(score);
    tell();
  });
  tell();
  show();
})();
