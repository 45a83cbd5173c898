/** The suffixes of files that can be read, and that of archives of them. */
export const ACCEPTED = [
  ...[".pdf", ".docx", ".pptx", ".xlsx", ".odt", ".rtf", ".epub", ".eml"],
  ...[".csv", ".html", ".htm", ".md", ".markdown", ".txt", ".text"],
];
export const ARCHIVE = ".zip";
