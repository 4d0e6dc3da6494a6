(() => {
  "use strict";

  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const fonts = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif';
  const PAPER_WIDTH = 680; // of A4 within its margins, in pixels
  const SHORT = 14; // characters that stand on one line of a cell

  // What a browser may refuse to keep, as it does for some files.
  const kept = (write) => { try { return write(window.sessionStorage); } catch { return null; } };

  let printing = false;

  const theme = () => printing ? "light" : root.dataset.theme || (dark.matches ? "dark" : "light");

  const chosen = kept((store) => store.getItem("autofreeze-theme"));
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;

  const read = (element) => JSON.parse(element.textContent);

  // Colours: names of the palette stand under keys of colours alone.

  const COLOUR = /(color|colors|colorscale|colorway)$/;
  let palettes;

  function dressed(value, colours, under) {
    if (typeof value === "string") return under && Object.hasOwn(colours, value) ? colours[value] : value;
    if (Array.isArray(value)) {
      if (!under && typeof value[0] !== "object") return value;
      return value.map((one) => dressed(one, colours, under));
    }
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, one]) => [key, dressed(one, colours, COLOUR.test(key))]));
  }

  // Figures

  function base(colours, width) {
    const narrow = width < 560;
    const axis = {
      automargin: true, gridcolor: colours["token:grid"], linecolor: colours["token:muted"],
      zerolinecolor: colours["token:grid"], tickcolor: colours["token:muted"],
      title: { standoff: 8, font: { size: narrow ? 11 : 13 } },
    };
    return {
      font: { family: fonts, size: narrow ? 11 : 13, color: colours["token:ink"] },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: narrow ? { l: 44, r: 8, t: 24, b: 40 } : { l: 60, r: 16, t: 28, b: 48 },
      xaxis: axis, yaxis: axis,
      legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0, xanchor: "left" },
      hoverlabel: {
        bgcolor: colours["token:paper"], bordercolor: colours["token:muted"],
        font: { family: fonts, size: 13, color: colours["token:ink"] }, align: "left", namelength: -1,
      },
      colorway: [0, 1, 2, 3, 4, 5, 6, 7].map((number) => colours["token:series" + number]),
      dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom",
      annotationdefaults: { font: { color: colours["token:ink"] }, arrowcolor: colours["token:muted"] },
      shapedefaults: { line: { color: colours["token:muted"] } },
    };
  }

  const config = (id) => ({
    responsive: true, displaylogo: false, displayModeBar: "hover", plotlyServerURL: "",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { filename: id, format: "svg" },
  });

  const specs = new Map();

  function draw(plot) {
    const id = plot.dataset.figure;
    if (!specs.has(id)) specs.set(id, read(document.getElementById(id + "-data")));
    const colours = palettes[theme()];
    const { traces, layout } = dressed(specs.get(id), colours, false);
    const width = printing ? PAPER_WIDTH : plot.clientWidth;
    const full = { ...layout, template: { layout: base(colours, width) }, autosize: !printing };
    full.height = plot.offsetHeight;
    if (printing) full.width = width;
    plot.classList.add("drawn");
    return window.Plotly.react(plot, traces, full, config(id));
  }

  const plots = () => [...document.querySelectorAll(".graph")];
  const drawn = () => plots().filter((plot) => plot.classList.contains("drawn"));

  function watch() {
    const watcher = new IntersectionObserver((entries) => {
      for (const entry of entries.filter((one) => one.isIntersecting)) {
        watcher.unobserve(entry.target);
        if (!entry.target.classList.contains("drawn")) draw(entry.target);
      }
    }, { rootMargin: "300px 0px" });
    plots().forEach((plot) => watcher.observe(plot));
  }

  // Light and dark

  function wireTheme() {
    const button = document.getElementById("theme");
    const show = () => {
      button.textContent = theme() === "dark" ? "Light page" : "Dark page";
      drawn().forEach(draw);
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = theme() === "dark" ? "light" : "dark";
      kept((store) => store.setItem("autofreeze-theme", root.dataset.theme));
      show();
    });
    dark.addEventListener("change", show);
    show();
  }

  // Paper

  function wirePrinting() {
    window.addEventListener("beforeprint", () => {
      printing = true;
      if (window.Plotly) plots().forEach(draw);
    });
    window.addEventListener("afterprint", () => {
      printing = false;
      drawn().forEach(draw);
    });
  }

  // Tables: rows as [text, key, strong], those of the markup or those kept beside it.

  const collator = new Intl.Collator("en", { numeric: true });

  function rowsOf(table, box) {
    const held = box.querySelector("script.rows");
    if (held) {
      return read(held).map((row) => row.map((cell) =>
        typeof cell === "string" ? { text: cell, key: cell } : { text: cell[0], key: cell[1] ?? cell[0], strong: cell[2], href: cell[3] }));
    }
    return [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => ({
      cell,
      text: cell.textContent,
      key: "number" in cell.dataset ? Number(cell.dataset.number) : cell.dataset.text ?? cell.textContent,
    })));
  }

  const missing = (cell) => cell.key === "" || cell.key === "–";

  function order(column, sign) {
    return (one, other) => {
      const [a, b] = [one[column], other[column]];
      if (missing(a) || missing(b)) return missing(a) - missing(b);
      const numbers = (typeof a.key === "number") - (typeof b.key === "number");
      if (numbers) return -numbers;
      return sign * (typeof a.key === "number" ? a.key - b.key : collator.compare(a.key, b.key));
    };
  }

  function built(cell, header) {
    const made = document.createElement("td");
    const inside = cell.href ? made.appendChild(document.createElement("a")) : made;
    inside.textContent = cell.text;
    if (cell.href) inside.href = cell.href;
    made.classList.toggle("short", cell.text.length <= SHORT);
    made.classList.toggle("n", header.classList.contains("n"));
    made.classList.toggle("strong", Boolean(cell.strong));
    return made;
  }

  function wireTable(box) {
    const table = box.querySelector("table");
    const headers = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    const more = box.querySelector(".more");
    let shown = body.rows.length;
    let rows;
    let sorted;

    // Read when they are first asked for: a long table would keep the page from its first figure.
    const all = () => rows ??= rowsOf(table, box);

    function fill() {
      body.replaceChildren(...(sorted ?? all()).slice(0, shown).map((row) => {
        const line = document.createElement("tr");
        line.append(...row.map((cell, column) => cell.cell ?? built(cell, headers[column])));
        return line;
      }));
    }

    if (shown > 1) {
      headers.forEach((header, column) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = header.textContent;
        header.replaceChildren(button);
        header.setAttribute("aria-sort", "none");
        button.addEventListener("click", () => {
          const ascending = header.getAttribute("aria-sort") !== "ascending";
          headers.forEach((other) => other.setAttribute("aria-sort", "none"));
          header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
          sorted = [...all()].sort(order(column, ascending ? 1 : -1));
          fill();
        });
      });
    }
    if (more) {
      const button = more.querySelector("button");
      button.hidden = false;
      button.addEventListener("click", () => { shown = all().length; fill(); more.remove(); box.querySelector(".wide").focus(); });
    }
  }

  // Contents: folded on a narrow screen, and where the reader is.

  function wireContents() {
    const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
    const details = document.querySelector(".contents details");
    if (window.matchMedia("(max-width: 63.99rem)").matches) details.open = false;
    const watcher = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const link = links.get(entry.target.id);
        link?.classList.toggle("here", entry.isIntersecting);
        if (entry.isIntersecting) link?.setAttribute("aria-current", "true");
        else link?.removeAttribute("aria-current");
      }
    }, { rootMargin: "-20% 0px -75% 0px" });
    document.querySelectorAll("main > section").forEach((section) => watcher.observe(section));
  }

  document.addEventListener("DOMContentLoaded", () => {
    palettes = read(document.getElementById("colours"));
    wireTheme();
    wireContents();
    document.querySelectorAll(".table").forEach(wireTable);
    if (window.Plotly) watch();
    wirePrinting();
  });
})();
