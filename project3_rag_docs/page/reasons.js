/** @typedef {import("../../shared/page/language.js").Text} Text */

/**
 * The server's sentences about files, in Chinese: why one cannot be read, or what of it.
 *
 * @type {[RegExp, string][]}
 */
const SENTENCES = [
  [/Reading the document takes too long\. Split it, or save it in a simpler format\./, "读取文档用时过长。请拆分，或另存为更简单的格式。"],
  [/Reading the document takes too much memory\. Split it\./, "读取文档占用内存过多，请拆分后再上传。"],
  [/The document crashes the program that reads it\./, "文档使读取程序崩溃。"],
  [/There is no text in the document\./, "文档中没有文字。"],
  [/The PDF has no text in it; it may be scanned images\./, "PDF 中没有文字，可能是扫描的图片。"],
  [/The text of the PDF cannot be read: its fonts do not say which characters they show\./, "无法读取 PDF 的文字：字体没有说明所显示的字符。"],
  [/The (?:Office file|PDF|[\w ]+) is protected by a password\. Save it without one\./, "文件有密码保护，请另存为没有密码的文件。"],
  [/The file is protected by a password\./, "文件有密码保护。"],
  [/The PDF has more than ([\d,]+) pages\./, "PDF 超过 $1 页。"],
  [/The document has more than ([\d,]+) characters of text\. Split it\./, "文档文字超过 $1 个字符，请拆分后再上传。"],
  [/The PDF cannot be read; it is damaged or incomplete\./, "无法读取 PDF：文件损坏或不完整。"],
  [/The [\w ]+ cannot be read; it is damaged or incomplete\./, "无法读取文件：文件损坏或不完整。"],
  [/The [\w ]+ is nested too deeply\./, "文件的嵌套层次过深。"],
  [/The [\w ]+ has more than ([\d,]+) parts\./, "文件的组成部分超过 $1 个。"],
  [/The [\w ]+ is larger than ([\d,]+) MiB when it is unpacked\./, "文件解压后超过 $1 MiB。"],
  [/The EPUB file is protected against copying\./, "EPUB 文件有防复制保护。"],
  [/The text encoding is unknown, or the file mixes several\. Save it as UTF-8\./, "文字编码未知或混用了多种编码，请另存为 UTF-8。"],
  [/An internal error occurred while the document was read\./, "读取文档时发生内部错误。"],
  [/The document could not be embedded: /, "无法为文档生成向量："],
  [/Upload the file again to resume\./, "请再次上传此文件以继续。"],
  [/(\d+) of (\d+) pages are images, in which no text was recognised: ([\d, …]+)\./, "共 $2 页，其中 $1 页是未识别出文字的图片：$3。"],
  [/(\d+) of (\d+) pages cannot be read: their fonts do not say which characters they show: ([\d, …]+)\./, "共 $2 页，其中 $1 页因字体没有说明字符而无法读取：$3。"],
  [/(\d+) of (\d+) pages were read by OCR: ([\d, …]+)\./, "共 $2 页，其中 $1 页由 OCR 识别：$3。"],
  [/([\d,]+) chapters are missing in the file\./, "文件缺少 $1 章。"],
  [/Attachments are not read: (.*?)\.$/, "未读取附件：$1。"],
  [/The file is empty\./, "文件是空的。"],
  [/The file is damaged\./, "文件已损坏。"],
  [/The file is larger than ([\d,]+) MiB\./, "文件超过 $1 MiB。"],
  [/This is a link or a device, not a file\./, "这是链接或设备，不是文件。"],
  [/The file is packed [^.]*\./, "不支持文件的压缩方式。"],
  [/Files with the suffix (\S+) are not supported\./, "不支持扩展名为 $1 的文件。"],
  [/Supported formats: ([^.]*)\./, "支持的格式：$1。"],
  [/The file is named like a text file, but its content is not text\./, "文件名像文本文件，内容却不是文本。"],
  [/The file is named (\S+), but its content has another format\./, "文件扩展名为 $1，内容却是另一种格式。"],
  [/The file has the Office format of before 2007 \(doc, ppt, xls\)\. Save it as docx, pptx or xlsx\./, "这是 2007 年以前的 Office 格式（doc、ppt、xls），请另存为 docx、pptx 或 xlsx。"],
  [/([\d,]+) of your documents wait already\. Try again when some of them are ready\./, "已有 $1 个文档在排队，请等其中一些处理完后再试。"],
];

/**
 * Return the server's sentences in both languages. One that is unknown stays English.
 *
 * @param {string} sentences
 * @returns {Text}
 */
export function reasonText(sentences) {
  return { en: sentences, zh: SENTENCES.reduce((text, [pattern, zh]) => text.replace(pattern, zh), sentences) };
}
