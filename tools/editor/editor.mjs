// The editor of the live pages: CodeMirror with Python, the marks of what was changed, and no more.
//
// Built by `npm run build` into docs/assets/vendor/editor.js, which is loaded when Edit is pressed.

import { defaultKeymap, history, historyKeymap, indentLess, indentMore } from "@codemirror/commands";
import { python } from "@codemirror/lang-python";
import { HighlightStyle, bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { EditorState, StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView, drawSelection, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";

// The site's own colours, by its own classes: see code.py.
const colours = HighlightStyle.define([
  { tag: tags.comment, class: "c" },
  { tag: [tags.string, tags.special(tags.string)], class: "s" },
  { tag: [tags.number, tags.bool, tags.null], class: "m" },
  { tag: [tags.keyword, tags.operatorKeyword, tags.controlKeyword, tags.definitionKeyword, tags.moduleKeyword], class: "k" },
  { tag: [tags.function(tags.definition(tags.variableName)), tags.definition(tags.className), tags.meta], class: "f" },
]);

const marks = StateEffect.define();

// Lines that differ from the original, and the one that an error names.
const marked = StateField.define({
  create: () => Decoration.none,
  update(decorations, transaction) {
    for (const effect of transaction.effects) {
      if (!effect.is(marks)) continue;
      const { changed, error } = effect.value;
      const lines = [];
      for (let number = 1; number <= transaction.state.doc.lines; number += 1) {
        const names = [changed.has(number) && "cm-changed", number === error && "cm-error"].filter(Boolean);
        if (names.length) {
          lines.push(Decoration.line({ class: names.join(" ") }).range(transaction.state.doc.line(number).from));
        }
      }
      return Decoration.set(lines);
    }
    return decorations.map(transaction.changes);
  },
  provide: (field) => EditorView.decorations.from(field),
});

// Opens an editor in an element.
//
// Tab is left alone: it leads out of the editor, as everywhere; Ctrl-] and Ctrl-[ indent.
export function open(parent, { code, label, changed }) {
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: code,
      extensions: [
        lineNumbers(),
        history(),
        drawSelection(),
        indentOnInput(),
        bracketMatching(),
        highlightActiveLine(),
        indentUnit.of("    "),
        python(),
        syntaxHighlighting(colours),
        marked,
        keymap.of([
          { key: "Mod-]", run: indentMore },
          { key: "Mod-[", run: indentLess },
          ...defaultKeymap,
          ...historyKeymap,
        ]),
        EditorView.contentAttributes.of({ "aria-label": label, spellcheck: "false", tabindex: "0" }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) changed(update.state.doc.toString());
        }),
      ],
    }),
  });
  return {
    code: () => view.state.doc.toString(),
    replace: (text) => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } }),
    mark: (lines, error) => view.dispatch({ effects: marks.of({ changed: new Set(lines), error }) }),
    focus: () => view.focus(),
    close: () => view.destroy(),
  };
}
