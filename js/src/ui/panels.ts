// The panels of a view: all of them, or those that were chosen.

import { type Model, names } from "../host/model";
import { CumulativePanel } from "../panels/cumulative";
import { ExtremesPanel } from "../panels/extremes";
import { HistoryPanel } from "../panels/history";
import { LayersPanel } from "../panels/layers";
import type { Host, Panel } from "../panels/panel";
import { ProjectionsPanel } from "../panels/projections";
import { SpectrumPanel } from "../panels/spectrum";

/** Every panel, in the order in which they stand. */
const PANELS: Record<string, new (host: Host) => Panel> = {
  spectrum: SpectrumPanel,
  cumulative: CumulativePanel,
  projections: ProjectionsPanel,
  history: HistoryPanel,
  extremes: ExtremesPanel,
  layers: LayersPanel,
};

export class Panels {
  readonly all: Panel[];
  /** These two stand in one place, where both are there. */
  readonly extremes: ExtremesPanel | undefined;
  readonly layers: LayersPanel | undefined;

  constructor(model: Model, host: Host) {
    const chosen = names(model, "panels");
    this.all = (chosen.length > 0 ? chosen : Object.keys(PANELS)).flatMap((name) => {
      const made = PANELS[name];
      return made ? [new made(host)] : [];
    });
    this.extremes = this.all.find((panel) => panel instanceof ExtremesPanel);
    this.layers = this.all.find((panel) => panel instanceof LayersPanel);
  }
}
