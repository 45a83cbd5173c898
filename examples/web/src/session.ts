/**
 * The sign-in: two tokens, kept in localStorage so that a reload and other tabs stay signed in.
 *
 * Scripts of this origin can read localStorage. A site that shows foreign HTML would rather keep the refresh token in an
 * HttpOnly cookie of a server of its own.
 */
import { Client } from "@langchain/langgraph-sdk";
import { useSyncExternalStore } from "react";

export const API_URL: string = import.meta.env.VITE_API_URL ?? "http://127.0.0.1:8004";

interface Tokens {
  access_token: string;
  refresh_token: string;
}

const KEY = "session";
const listeners = new Set<() => void>();

export async function register(email: string, name: string, password: string): Promise<void> {
  await checked(await post("/auth/register", { email, name, password }));
  await signIn(email, password);
}

export async function signIn(email: string, password: string): Promise<void> {
  // The form of OAuth 2, unlike every other body of this API.
  const form = new URLSearchParams({ username: email, password });
  const response = await checked(await fetch(`${API_URL}/auth/token`, { method: "POST", body: form }));
  store(await response.json());
}

export async function signOut(): Promise<void> {
  const tokens = stored();
  store(null);
  if (tokens) await post("/auth/logout", { refresh_token: tokens.refresh_token });
}

/** Whether somebody is signed in, in this or another tab. */
export function useSignedIn(): boolean {
  return useSyncExternalStore(subscribe, () => localStorage.getItem(KEY) !== null);
}

/** `fetch` with the access token. An expired one is exchanged, and the request sent again. */
export const authorizedFetch: typeof fetch = async (input, init) => {
  const tokens = stored();
  const response = await send(input, init, tokens);
  if (response.status !== 401 || !tokens) return response;
  const fresh = await refresh(tokens);
  return fresh ? send(input, init, fresh) : response;
};

/** LangGraph's own client. One object: `useStream` starts anew whenever it gets another one. */
export const client = new Client({
  apiUrl: API_URL,
  apiKey: null,
  callerOptions: { fetch: authorizedFetch, maxRetries: 1 },
});

/** The `detail` of the API's errors, which are `application/problem+json`. */
export async function checked(response: Response): Promise<Response> {
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Error(problem.errors?.[0]?.detail ?? problem.detail ?? `The server answered ${response.status}.`);
}

async function refresh(used: Tokens): Promise<Tokens | null> {
  // A refresh token is good for one use; a second use is taken for theft and ends the sign-in. So one request at a time,
  // over all tabs, and the others take what the first one got.
  return navigator.locks.request(KEY, async () => {
    const tokens = stored();
    if (tokens?.access_token !== used.access_token) return tokens;
    const response = await post("/auth/refresh", { refresh_token: used.refresh_token });
    if (response.status === 401) store(null);
    if (!response.ok) return null;
    store(await response.json());
    return stored();
  });
}

function send(input: RequestInfo | URL, init: RequestInit | undefined, tokens: Tokens | null): Promise<Response> {
  const headers = new Headers(init?.headers);
  if (tokens) headers.set("Authorization", `Bearer ${tokens.access_token}`);
  return fetch(input, { ...init, headers });
}

function post(path: string, body: unknown): Promise<Response> {
  const headers = { "Content-Type": "application/json" };
  return fetch(API_URL + path, { method: "POST", headers, body: JSON.stringify(body) });
}

function stored(): Tokens | null {
  return JSON.parse(localStorage.getItem(KEY) ?? "null");
}

function store(tokens: Tokens | null): void {
  if (tokens) localStorage.setItem(KEY, JSON.stringify(tokens));
  else localStorage.removeItem(KEY);
  listeners.forEach((listener) => listener());
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  window.addEventListener("storage", listener); // of the other tabs
  return () => {
    listeners.delete(listener);
    window.removeEventListener("storage", listener);
  };
}
