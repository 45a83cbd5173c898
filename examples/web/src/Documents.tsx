import { type ChangeEvent, useState } from "react";
import { API_URL, authorizedFetch, checked } from "./session";

/** Adds a document to those that the assistant searches. */
export function Documents() {
  const [status, setStatus] = useState("");

  async function upload(event: ChangeEvent<HTMLInputElement>) {
    const file = event.target.files?.[0];
    event.target.value = ""; // the same file may be chosen again
    if (!file) return;
    try {
      setStatus(`${file.name} is being read …`);
      const form = new FormData();
      form.append("file", file);
      const response = await authorizedFetch(`${API_URL}/documents`, { method: "POST", body: form });
      const { id } = await (await checked(response)).json();
      setStatus(`${file.name} ${await outcome(id)}`);
    } catch (error) {
      setStatus(error instanceof Error ? error.message : String(error));
    }
  }

  return (
    <p className="documents">
      <label>
        Add a document <input type="file" onChange={(event) => void upload(event)} />
      </label>{" "}
      <span role="status">{status}</span>
    </p>
  );
}

async function outcome(id: string): Promise<string> {
  for (;;) {
    const response = await checked(await authorizedFetch(`${API_URL}/documents/${id}`));
    const { status, error } = await response.json();
    if (status === "ready") return "is ready.";
    if (status === "failed") return `could not be read: ${error}`;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}
