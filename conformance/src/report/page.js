// Without this script everything is there; with it, it can be filtered, and links open what they lead to.
for (const form of document.querySelectorAll("form.filter")) {
  const rows = [...document.querySelectorAll("." + form.dataset.of)];
  const text = new Map(rows.map(row => [row, (row.id + " " + row.textContent).toLowerCase()]));
  const apply = () => {
    const words = form.querySelector("[type=search]").value.toLowerCase().split(" ");
    const wanted = new Set([...form.querySelectorAll("[type=checkbox]:checked")].map(box => box.value));
    for (const row of rows) {
      const grade = row.classList[1];
      row.hidden = !wanted.has(grade) || !words.every(word => text.get(row).includes(word));
    }
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", event => event.preventDefault());
  form.hidden = false;
}
const open = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  target.hidden = false;
  if (target.tagName === "DETAILS") target.open = true;
  target.scrollIntoView();
};
addEventListener("hashchange", open);
open();
