/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("./document-state.js").Document} Document
 */

/**
 * The form for the address of a document, which the server downloads.
 *
 * @param {Page} page
 * @param {{collectionId: () => string, onStored: (documents: Document[]) => void,
 *   announce: (text: import("../../shared/page/language.js").Text) => void}} options
 */
export function uploadUrl({ element, say, field, request, problemNotice }, { collectionId, onStored, announce }) {
  const address = field({
    id: "documents-url",
    control: element("input", { type: "url", required: true, maxLength: 2000, placeholder: "https://" }),
    label: { en: "Address of a document or web page", zh: "文档或网页的地址" },
    check: ({ value }) =>
      /^https?:\/\/\S+$/i.test(value.trim())
        ? null
        : { en: "Please write an address that begins with https:// or http://.", zh: "请填写以 https:// 或 http:// 开头的地址。" },
  });
  const button = say(element("button", { type: "submit" }), { en: "Download it", zh: "下载" });
  const trouble = element("div");
  const form = element("form", { noValidate: true }, address.node, button, trouble);
  form.addEventListener("submit", submit);
  const summary = say(element("summary"), { en: "Add a document from the web", zh: "从网址添加文档" });
  const node = element("details", { className: "from-url" }, summary, form);

  /** @param {Event} [event] */
  async function submit(event) {
    event?.preventDefault();
    if (!address.validate()) return address.control.focus();
    const collection = collectionId();
    const body = { url: address.control.value.trim(), ...(collection && { collection_id: collection }) };
    trouble.replaceChildren();
    button.disabled = true;
    say(button, { en: "Downloading…", zh: "正在下载……" });
    try {
      const stored = await (await request("documents/from-url", { method: "POST", body })).json();
      address.control.value = "";
      announce({ en: `${stored.filename} is stored.`, zh: `${stored.filename} 已保存。` });
      onStored([stored]);
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, submit));
    } finally {
      button.disabled = false;
      say(button, { en: "Download it", zh: "下载" });
    }
  }

  return { node };
}
