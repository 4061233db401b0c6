"use strict";
for (const section of document.querySelectorAll("[data-cases]")) {
  const rows = [...section.querySelectorAll("tbody tr")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const search = section.querySelector("input");
  const outcome = section.querySelector("select");
  const count = section.querySelector("output");
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = outcome.value;
    let shown = 0;
    rows.forEach((row, place) => {
      const fits =
        (!wanted || row.dataset.outcomes.split(" ").includes(wanted)) &&
        words.every((word) => texts[place].includes(word));
      row.hidden = !fits;
      shown += fits;
    });
    count.textContent = shown === rows.length ? `${shown} cases` : `${shown} of ${rows.length} cases`;
  };
  search.addEventListener("input", apply);
  outcome.addEventListener("change", apply);
  section.querySelector("tbody").addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row && !String(window.getSelection())) row.classList.toggle("open");
  });
  section.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  section.querySelector("form").hidden = false;
  apply();
}
