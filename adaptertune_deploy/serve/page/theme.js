// Light or dark: the system's, or what a person chose here. Runs before the first paint.
"use strict";

(() => {
  const KEY = "atd-theme";

  function stored() {
    try {
      return localStorage.getItem(KEY) || "system";
    } catch {
      return "system"; // storage can be forbidden
    }
  }

  function apply(theme) {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }

  apply(stored());
  addEventListener("DOMContentLoaded", () => {
    for (const choice of document.querySelectorAll("#theme input")) {
      choice.checked = choice.value === stored();
      choice.addEventListener("change", () => {
        apply(choice.value);
        try {
          localStorage.setItem(KEY, choice.value);
        } catch {
          // it holds until the page is left
        }
      });
    }
  });
})();
