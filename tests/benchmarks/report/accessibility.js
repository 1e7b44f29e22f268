// Run in the page by test_report_accessibility.py: what axe would look for first. Each function returns a list of faults.

({
  namesAndOrder() {
    const seen = (e) => e.checkVisibility();
    const referred = (e) =>
      (e.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "");
    const name = (e) =>
      [
        e.getAttribute("aria-label") ?? "",
        ...referred(e),
        ...[...(e.labels ?? [])].map((label) => label.textContent),
        e.textContent,
        e.title,
      ]
        .join("")
        .trim();
    const wrong = [];
    const named =
      "a, button, select, input, summary, [tabindex='0'], [role=listbox], [role=region], dialog[open], article, nav";
    for (const e of document.querySelectorAll(named)) {
      if (seen(e) && !name(e)) wrong.push("no name: " + e.outerHTML.slice(0, 120));
    }
    const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
    for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) wrong.push("id twice: " + id);
    let level = 0;
    for (const e of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
      if (!seen(e)) continue;
      const now = Number(e.tagName[1]);
      if (now > level + 1) wrong.push(`h${now} after h${level}: ${e.textContent}`);
      level = now;
    }
    if ([...document.querySelectorAll("h1")].filter(seen).length !== 1) wrong.push("not one h1");
    for (const e of document.querySelectorAll("table"))
      if (!e.caption?.textContent) wrong.push("table without caption");
    for (const e of document.querySelectorAll("svg")) {
      if (!e.closest("[aria-hidden=true]") && !e.querySelector("title"))
        wrong.push("svg without name: " + e.outerHTML.slice(0, 80));
    }
    for (const e of document.querySelectorAll("[aria-activedescendant]")) {
      if (!document.getElementById(e.getAttribute("aria-activedescendant")))
        wrong.push("the active descendant is not there");
    }
    for (const e of document.querySelectorAll("[role=option]")) {
      if (!e.closest("[role=listbox]") || !e.hasAttribute("aria-selected") || !e.hasAttribute("aria-setsize"))
        wrong.push("bad option");
    }
    return wrong;
  },

  // Contrast of every visible text with what is behind it (WCAG 2.2, 1.4.3): how many texts, and those below 4.5.
  contrast() {
    const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d", {
      willReadFrequently: true,
    });
    const rgba = (color) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      return [r, g, b, a / 255];
    };
    const channel = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    const behind = (e) => {
      const drawn = e.closest(".block")?.querySelector("rect"); // what a text of a drawing stands on
      const layers = drawn ? [rgba(getComputedStyle(drawn).fill)] : [];
      for (; e && layers[0]?.[3] !== 1; e = e.parentElement) {
        const color = rgba(getComputedStyle(e).backgroundColor);
        layers.push(color);
        if (color[3] === 1) break;
      }
      return layers
        .reverse()
        .reduce((under, [r, g, b, a]) => [r, g, b].map((v, k) => v * a + under[k] * (1 - a)), [255, 255, 255]);
    };
    const poor = new Set();
    let checked = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const e = walker.currentNode.parentElement;
      const skipped = "script, style, title, desc, option, .hidden, .skip, :disabled";
      if (!walker.currentNode.textContent.trim() || !e.checkVisibility() || e.closest(skipped)) continue;
      const style = getComputedStyle(e);
      const [front, back] = [luminance(rgba(e.closest("svg") ? style.fill : style.color)), luminance(behind(e))];
      const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
      checked++;
      if (ratio < 4.5)
        poor.add(
          `${ratio.toFixed(2)} ${e.tagName} ${e.getAttribute("class")}: ${walker.currentNode.textContent.slice(0, 40)}`,
        );
    }
    return [checked, [...poor]];
  },

  // What has the focus, and how that shows.
  focused() {
    const e = document.activeElement;
    return [e.name || e.id || e.textContent.slice(0, 20), getComputedStyle(e).outlineStyle];
  },
});
