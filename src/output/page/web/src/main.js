// A run's page draws itself; the pages of a server follow what the server says.

import { dataOf, drawAll, dress } from "./draw.js";
import { live } from "./live.js";
import { view } from "./view.js";

const does = document.documentElement.dataset.does;
if (does === "live") live();
else if (does === "view") view();
else {
  drawAll(document, dataOf(document));
  dress(document);
}
document.documentElement.dataset.ready = "yes";
