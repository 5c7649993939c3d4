"use strict";
{
  const EVERY = 5000;
  const KEY = "retrytasks.refresh";
  const PARTS = [".rt-overview", "#changelist-form .paginator"];
  // What the user is at work in is left alone.
  const IN_USE = "input, select, textarea, button, .rt-overview *, #changelist-form *";
  const TICKED = "input.action-select:checked, #action-toggle:checked";

  function isInUse(checkbox) {
    const focused = document.activeElement;
    return (
      document.hidden ||
      !checkbox.checked ||
      !document.getSelection().isCollapsed ||
      document.querySelector(TICKED) !== null ||
      (focused !== checkbox && focused !== null && focused.matches(IN_USE))
    );
  }

  async function fetched() {
    const response = await fetch(location.href, { headers: { "X-Requested-With": "fetch" } });
    if (!response.ok || response.redirected) {
      throw new Error(`${response.status} ${response.url}`);
    }
    return new DOMParser().parseFromString(await response.text(), "text/html");
  }

  // The admin's script knows the checkboxes that were there when the page was loaded: they stay.
  function replaceRow(row, given) {
    const [old, fresh] = [row, given].map((tr) => tr.querySelector("input.action-select"));
    if (old && fresh) {
      old.value = fresh.value;
      old.setAttribute("aria-label", fresh.getAttribute("aria-label") || "");
      fresh.replaceWith(old);
    }
    row.replaceWith(given);
  }

  function replaceAll(page) {
    const [old, fresh] = [document, page].map((of) => [
      ...of.querySelectorAll("#result_list tbody tr"),
    ]);
    if (old.length !== fresh.length) {
      location.reload();
      return;
    }
    old.forEach((row, index) => replaceRow(row, fresh[index]));
    for (const part of PARTS) {
      const [there, given] = [document, page].map((of) => of.querySelector(part));
      if (there && given) {
        there.replaceWith(given);
      }
    }
  }

  async function refresh(checkbox) {
    if (isInUse(checkbox)) {
      return;
    }
    try {
      const page = await fetched();
      if (!isInUse(checkbox)) {
        replaceAll(page);
      }
    } catch (error) {
      console.warn("not refreshed:", error);
    }
  }

  function addCheckbox(place) {
    const label = document.createElement("label");
    const checkbox = document.createElement("input");
    checkbox.type = "checkbox";
    checkbox.checked = localStorage.getItem(KEY) === "on";
    checkbox.addEventListener("change", () => {
      localStorage.setItem(KEY, checkbox.checked ? "on" : "off");
    });
    label.append(checkbox, " ", place.dataset.label);
    place.append(label);
    const again = () =>
      setTimeout(async () => {
        await refresh(checkbox);
        again();
      }, EVERY);
    again();
  }

  const place = document.getElementById("rt-refresh");
  if (place) {
    addCheckbox(place);
  }

  function addCopyButton(pre) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button rt-copy";
    button.textContent = pre.dataset.rtCopy;
    button.addEventListener("click", () => navigator.clipboard.writeText(pre.textContent));
    pre.before(button);
  }

  // Browsers have no clipboard for pages that come over plain HTTP.
  if (navigator.clipboard) {
    document.querySelectorAll("[data-rt-copy]").forEach(addCopyButton);
  }
}
