// Keeps the selections of a page in its URL after the #, so that they can be linked to and undone with the back
// button.
"use strict";
window.deepinside = {
  data: {},
  place: {
    read() {
      return new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    },
    // `lasting`: a new entry in the history, as for a choice; else the present one is changed, as while one drags
    write(changes, lasting) {
      const now = this.read();
      for (const [key, value] of Object.entries(changes)) {
        if (value === "" || value === null) now.delete(key);
        else now.set(key, value);
      }
      const words = "#" + now.toString();
      if (words === location.hash || (words === "#" && !location.hash)) return;
      if (lasting) location.hash = words;
      else history.replaceState(null, "", words);
    },
  },
};
