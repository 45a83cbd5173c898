/** @typedef {import("../../shared/page/page.js").Page} Page */

export const PDF = "application/pdf";
let pictures = 0;

/**
 * A page of a PDF, drawn by the server. It is not loaded by its address, because that would send no credentials.
 *
 * @param {Page} page
 * @param {object} options
 * @param {string} options.documentId
 * @param {number} options.number From 1.
 * @param {Record<string, string>} [options.mark] The passage to mark: `chunk_id`, and `start` and `end` in its text.
 */
export function pagePicture({ element, say, request, problemNotice }, { documentId, number, mark = {} }) {
  const caption = say(element("figcaption", { className: "hint", id: `documents-picture-${(pictures += 1)}` }), {
    en: `Page ${number}`,
    zh: `第 ${number} 页`,
  });
  const image = element("img", { alt: "", hidden: true });
  image.setAttribute("aria-labelledby", caption.id);
  const larger = say(element("button", { type: "button", ariaPressed: "false", hidden: true, onclick: enlarge }), {
    en: "Larger",
    zh: "放大",
  });
  const state = element("p", { className: "hint", role: "status" });
  const paper = element("div", { className: "paper" }, image);
  const node = element("figure", { className: "picture" }, caption, state, paper, larger);
  load();

  async function load() {
    say(state, { en: "Drawing the page…", zh: "正在绘制页面……" });
    try {
      const query = new URLSearchParams(mark);
      const response = await request(`documents/${documentId}/pages/${number}.png?${query}`);
      image.src = await dataUrl(await response.blob());
      image.hidden = larger.hidden = false;
      say(state, { en: "", zh: "" });
    } catch (error) {
      state.textContent = "";
      paper.replaceChildren(
        problemNotice(error, () => {
          paper.replaceChildren(image);
          load();
        }),
      );
    }
  }

  function enlarge() {
    larger.ariaPressed = String(paper.classList.toggle("large"));
    if (!paper.hasAttribute("tabindex")) paper.tabIndex = 0; // so that the keyboard scrolls it
  }

  return { node };
}

/**
 * The Content-Security-Policy permits pictures from `data:` only, and none from `blob:`.
 *
 * @param {Blob} blob
 * @returns {Promise<string>}
 */
function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
