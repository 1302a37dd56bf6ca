// Scripts with their words coloured, and commands with a button that copies them.

import { el, say } from "./dom.js";

const WORDS = new RegExp([
  "(?<comment>\\/\\/[^\\n]*|\\/\\*[\\s\\S]*?\\*\\/)",
  "(?<string>\"(?:\\\\.|[^\"\\\\])*\"|`(?:\\\\.|[^`\\\\])*`|'(?:\\\\.|[^'\\\\])')",
  "(?<number>\\b0x[0-9a-fA-F_]+\\b|\\b\\d[\\d_]*(?:\\.\\d+)?(?:[eE][+-]?\\d+)?\\b)",
  "(?<keyword>\\b(?:let|const|fn|if|else|for|in|while|loop|do|until|return|break|continue|throw|try|catch|import|export|as|switch|private|true|false|this|global)\\b)",
  "(?<call>\\b[A-Za-z_]\\w*(?=\\())",
].join("|"), "g");

/** Colours the words of a script. */
export function highlight(code) {
  const text = code.textContent;
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(WORDS)) {
    const [kind] = Object.entries(match.groups).find(([, word]) => word !== undefined);
    parts.push(text.slice(from, match.index), el("span", { class: kind }, match[0]));
    from = match.index + match[0].length;
  }
  code.replaceChildren(...parts, text.slice(from));
}

/** Adds a button that copies a command. */
export function copyable(pre) {
  const text = pre.textContent.trim();
  const button = el("button", { type: "button", class: "copy", click: async () => {
    try {
      await navigator.clipboard.writeText(text);
      say("Copied.");
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(pre.querySelector("code"));
      say("Selected: copy it with the keyboard.");
      button.textContent = "Selected";
    }
  } }, "Copy");
  pre.after(button);
}
