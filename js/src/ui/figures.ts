// What a view is told once: its figures, their colours and its words.

import type { Style, Words } from "../data/scene";
import { attribute } from "../host/dom";
import { json, type Model, text } from "../host/model";
import { surroundingTheme, type Theme } from "../host/theme";

export interface Figures {
  figures: Record<string, unknown>;
  style: Style;
  words: Words;
}

export function figuresOf(model: Model): Figures {
  return json(model, "_figures", { figures: {}, style: {} as Style, words: {} as Words });
}

/** Give a view the theme that is asked for, or that of what surrounds it, and its colours. */
export function restyle(root: HTMLElement, model: Model, { themes }: Style): Theme {
  const wanted = text(model, "theme", "auto");
  const theme = wanted === "light" || wanted === "dark" ? wanted : surroundingTheme();
  attribute(root, "data-theme", theme);
  for (const [role, color] of Object.entries(themes?.[theme]?.roles ?? {})) {
    root.style.setProperty(`--fsw-${role.toLowerCase()}`, color);
  }
  return theme;
}
